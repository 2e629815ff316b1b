"""What texture features answer to, and what they ignore."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedstyle_secure.textures import filters
from fedstyle_secure.textures.statistics import feature_groups, texture_features


def grating(cycles: float, degrees: float, size: int = 96, amplitude: float = 0.25) -> np.ndarray:
    """A sinusoid with `cycles` periods per picture whose gradient points at `degrees`: float (size, size)."""
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    turn = np.deg2rad(degrees)
    return 0.5 + amplitude * np.sin(2 * np.pi * cycles * (x * np.cos(turn) + y * np.sin(turn)))


def grey(plane: np.ndarray) -> np.ndarray:
    """float (s, s) in [0, 1] to uint8 (1, s, s, 3)."""
    return np.repeat(np.round(plane * 255).astype(np.uint8)[None, :, :, None], 3, 3)


def drawings(n: int, seed: int = 0, size: int = 96) -> np.ndarray:
    """Smooth coloured blobs with black lines, from black ink to white paper: uint8 (n, size, size, 3)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    out = np.ones((n, size, size, 3))
    for picture in out:
        for _ in range(6):
            cy, cx, r = rng.uniform(0, 1, 3)
            distance = np.hypot(y - cy, x - cx) - 0.3 * r
            picture[distance < 0] = rng.uniform(0.2, 1, 3)
            picture[np.abs(distance) < 0.02] = 0
        picture[:8] = 1
        picture[-8:] = 0
    return np.round(out * 255).astype(np.uint8)


def group(features: np.ndarray, name: str) -> np.ndarray:
    return features[:, feature_groups()[name]]


class TestFilters:
    @pytest.mark.parametrize("orientation", range(8))
    @pytest.mark.parametrize("scale", range(5))
    def test_a_grating_is_loudest_in_the_filter_made_for_it(self, scale: int, orientation: int) -> None:
        cycles = 96 * 0.33 / 1.8**scale
        energy = group(texture_features(grey(grating(cycles, orientation * 22.5))), "energy_mean")[0]
        assert np.unravel_index(energy.argmax(), (5, 8)) == (scale, orientation)

    def test_modulus_is_the_amplitude_of_the_wave_at_full_and_at_half_resolution(self) -> None:
        plane = torch.from_numpy(grating(96 / 12, 0.0)).float()[None]
        fine = filters.energies(plane, filters.log_gabor(128, (1 / 12,), 8))
        coarse = filters.coarse_energies(plane, filters.log_gabor(64, (1 / 6,), 8))
        assert fine[0, 0, 24:-24, 24:-24].numpy() == pytest.approx(0.25, abs=0.02)
        assert coarse[0, 0, 12:-12, 12:-12].numpy() == pytest.approx(0.25, abs=0.02)

    def test_correlation_of_a_map_with_its_multiple_and_its_negative(self) -> None:
        a = torch.rand(1, 1, 9, 9, generator=torch.Generator().manual_seed(0))
        found = filters.correlations(torch.cat([a, 3 * a + 1, -a], 1))[0].numpy()
        assert found == pytest.approx([1, -1, -1], abs=0.01)

    def test_moments_agree_with_their_definitions(self) -> None:
        values = np.random.default_rng(0).gamma(2.0, size=(1, 1, 40, 40))
        mean, deviation, skewness = (float(m) for m in filters.moments(torch.from_numpy(values)))
        flat = values.ravel()
        assert mean == pytest.approx(flat.mean())
        assert deviation == pytest.approx(flat.std(), rel=1e-3)
        assert skewness == pytest.approx(((flat - flat.mean()) ** 3).mean() / flat.std() ** 3, rel=1e-3)

    @pytest.mark.parametrize("width", [1, 3, 7, 15, 30])
    def test_runs_measure_the_width_of_a_bar(self, width: int) -> None:
        mask = torch.zeros(1, 60, 60, dtype=torch.bool)
        mask[:, :, 10 : 10 + width] = True
        area, total = 3600, 60 * width / 3600 + 0.01
        naive = [60 * max(0, width - length + 1) / area / total for length in filters.RUN_LENGTHS]
        assert filters.run_shares(mask)[0].numpy() == pytest.approx(naive, abs=1e-6)

    def test_local_patterns_agree_with_a_loop(self) -> None:
        plane = np.random.default_rng(1).random((12, 12)).astype(np.float32)
        around = ((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0))
        uniform = [c for c in range(256) if bin(c ^ ((c >> 1) | (c & 1) << 7)).count("1") <= 2]
        counts = np.zeros((2, 59))
        for i in range(10):
            for j in range(10):
                steps = [float(plane[i + a, j + b] - plane[i + 1, j + 1]) for a, b in around]
                for side, sign in enumerate((1, -1)):
                    code = sum((sign * step > 0.03) << bit for bit, step in enumerate(steps))
                    counts[side, uniform.index(code) if code in uniform else 58] += 1
        found = filters.local_patterns(torch.from_numpy(plane)[None], 1)[0].numpy()
        assert found**2 == pytest.approx((counts / 100).ravel(), abs=1e-6)

    def test_quantiles_are_torchs_to_the_bit(self) -> None:
        rng = np.random.default_rng(0)
        for n in (1, 2, 3, 64, 1024):
            for decimals in (1, 7):  # Many ties, and none.
                values = torch.from_numpy(rng.random((2, 3, n)).astype(np.float32).round(decimals))
                levels = (0.0, 0.01, 0.5, *rng.random(4).tolist(), 1.0)
                expected = torch.quantile(values, torch.tensor(levels), dim=2)
                assert torch.equal(filters.quantiles(values, levels), expected)


class TestFeatures:
    def test_groups_cover_all_columns_once(self) -> None:
        columns = [c for part in feature_groups().values() for c in range(part.start, part.stop)]
        assert columns == list(range(texture_features(drawings(1)).shape[1]))

    def test_groups_that_are_left_out_change_no_other(self) -> None:
        pictures = drawings(2)
        whole, part = texture_features(pictures), texture_features(pictures, without=("scattering", "hue"))
        kept = [whole[:, at] for name, at in feature_groups().items() if name not in ("scattering", "hue")]
        assert np.array_equal(part, np.concatenate(kept, 1))
        assert texture_features(pictures[:0], without=("runs",)).shape[1] == whole.shape[1] - 58

    def test_a_batch_equals_one_by_one_and_itself_again(self) -> None:
        pictures = drawings(11)
        whole = texture_features(pictures)
        alone = np.concatenate([texture_features(p[None]) for p in pictures])
        assert whole == pytest.approx(alone, abs=2e-3)
        assert np.array_equal(whole, texture_features(pictures))
        assert whole.dtype == np.float32

    @pytest.mark.parametrize("size", [32, 64, 96, 256])
    @pytest.mark.parametrize("value", [0, 128, 255])
    def test_a_constant_picture_is_finite(self, size: int, value: int) -> None:
        assert np.isfinite(texture_features(np.full((1, size, size, 3), value, np.uint8))).all()

    def test_no_pictures_give_no_rows(self) -> None:
        assert (
            texture_features(np.zeros((0, 64, 64, 3), np.uint8)).shape
            == texture_features(drawings(2))[:0].shape
        )

    @pytest.mark.parametrize("bad", [np.zeros((1, 64, 64, 3)), np.zeros((64, 64, 3), np.uint8)])
    def test_other_arrays_are_refused(self, bad: np.ndarray) -> None:
        with pytest.raises(ValueError, match="uint8"):
            texture_features(bad)

    def test_a_paper_tint_moves_texture_little_and_paper_much(self) -> None:
        pictures = drawings(12)
        tinted = np.round(pictures * np.array([0.95, 0.85, 0.6])).astype(np.uint8)
        before, after = texture_features(pictures), texture_features(tinted)
        spread = before.std(0) + 0.01
        moved = np.abs(after - before) / spread
        for name in ("energy_mean", "palette", "hue", "patterns_1", "runs", "chroma_correlation"):
            assert np.median(group(moved, name)) < 0.1, name
        for name in ("paper", "palette_raw"):
            assert np.median(group(moved, name)) > 0.3, name

    def test_the_same_picture_at_another_size_is_nearer_than_another_picture(self) -> None:
        large = texture_features(drawings(8, size=192))
        small = texture_features(drawings(8, size=96))
        both = np.concatenate([large, small])
        z = (both - both.mean(0)) / (both.std(0) + 1e-3)
        nearest = ((z[:8, None] - z[None, 8:]) ** 2).sum(2).argmin(1)
        assert nearest.tolist() == list(range(8))
