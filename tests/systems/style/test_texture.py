"""What texture features answer to, what they ignore, and what whitening promises."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from fedstyle_secure.systems.style import filters, whitening
from fedstyle_secure.systems.style.augment import augment
from fedstyle_secure.systems.style.texture import feature_groups, group_widths, texture_features
from fedstyle_secure.systems.style.whitening import Whitening

fit_whitening = partial(whitening.fit_whitening, widths=group_widths())


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


class TestWhitening:
    @staticmethod
    def public(n: int = 40, artists: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Features that vary most within artists along one common direction."""
        rng = np.random.default_rng(seed)
        width = list(feature_groups().values())[-1].stop
        label = np.arange(n) % artists
        centre, nuisance = rng.normal(size=(artists, width)), rng.normal(size=width)
        noise = rng.normal(size=(n, width))
        return (centre[label] + 3 * rng.normal(size=(n, 1)) * nuisance + noise).astype(np.float32), label

    def test_applied_rows_have_unit_length(self) -> None:
        features, label = self.public()
        z = fit_whitening(features, label).apply(features)
        assert z.dtype == np.float32
        assert np.linalg.norm(z, axis=1) == pytest.approx(1, abs=1e-5)

    @staticmethod
    def scaled(w: Whitening, features: np.ndarray) -> np.ndarray:
        return np.clip((features - w.mean) * w.scale, -w.limit, w.limit)

    def test_covariance_within_artists_is_divided_by_itself_plus_the_ridge(self) -> None:
        features, label = self.public(n=60)
        w = fit_whitening(features, label, ridge=0.05)

        def within(z: np.ndarray) -> np.ndarray:
            z = z - np.stack([z[label == a].mean(0) for a in range(4)])[label]
            return np.linalg.svd(z, compute_uv=False) ** 2

        # All 60 pictures' directions are kept, so the eigenvalues within artists can be compared in full.
        before = within(self.scaled(w, features))
        share = before / before[0]
        expected = np.sort(0.05 * share / (share + 0.05))[::-1]
        found = within(self.scaled(w, features) @ w.projection.T) / before[0]
        assert found[:50] == pytest.approx(expected[:50], rel=1e-3)

    def test_no_more_dimensions_than_asked_for_or_pictures(self) -> None:
        features, label = self.public()
        assert fit_whitening(features, label, dims=7).projection.shape == (7, features.shape[1])
        assert fit_whitening(features, label).apply(features).shape == (40, 40)

    def test_fewer_dimensions_are_the_first_of_more(self) -> None:
        features, label = self.public()
        few, many = fit_whitening(features, label, dims=5), fit_whitening(features, label, dims=9)
        assert np.array_equal(few.projection, many.projection[:5])

    def test_artists_are_further_apart_than_without_whitening(self) -> None:
        features, label = self.public()
        w = fit_whitening(features, label)
        plain = self.scaled(w, features)
        plain /= np.linalg.norm(plain, axis=1, keepdims=True)

        def margin(z: np.ndarray) -> float:
            cosines, same = z @ z.T, label[:, None] == label
            return float(cosines[same & ~np.eye(len(z), dtype=bool)].mean() - cosines[~same].mean())

        assert margin(w.apply(features)) > margin(plain) + 0.05

    def test_practice_pictures_add_their_own_directions(self) -> None:
        features, label = self.public()
        other, other_label = self.public(seed=5)
        assert fit_whitening(features, label, other, other_label).apply(features).shape == (40, 80)

    def test_grey_public_pictures_leave_colour_finite(self) -> None:
        pictures = drawings(10)
        public = texture_features(np.repeat(pictures.mean(3, keepdims=True).astype(np.uint8), 3, 3))
        z = fit_whitening(public, np.arange(10) % 3).apply(texture_features(pictures))
        assert np.isfinite(z).all()
        assert np.linalg.norm(z, axis=1) == pytest.approx(1, abs=1e-5)

    def test_identical_public_pictures_are_finite(self) -> None:
        features = np.repeat(texture_features(drawings(1)), 4, 0)
        assert np.isfinite(fit_whitening(features, np.zeros(4)).apply(texture_features(drawings(3)))).all()

    def test_fitting_twice_gives_the_same(self) -> None:
        features, label = self.public()
        first, second = fit_whitening(features, label), fit_whitening(features, label)
        assert np.array_equal(first.apply(features), second.apply(features))


class TestAugment:
    def test_same_generator_same_pictures_and_shape(self) -> None:
        pictures = drawings(3, size=64)
        one, two = (augment(pictures, np.random.default_rng(4)) for _ in range(2))
        assert np.array_equal(one, two)
        assert one.shape == pictures.shape
        assert one.dtype == np.uint8

    def test_every_picture_is_changed_in_its_own_way(self) -> None:
        pictures = np.repeat(drawings(1), 4, 0)
        changed = augment(pictures, np.random.default_rng(0))
        assert len({c.tobytes() for c in changed}) == 4

    def test_white_paper_stays_a_paper_and_black_ink_dark(self) -> None:
        white = augment(np.full((50, 32, 32, 3), 255, np.uint8), np.random.default_rng(1))
        black = augment(np.zeros((50, 32, 32, 3), np.uint8), np.random.default_rng(1))
        assert white.min() >= 255 * (1 - 0.3 - 0.3) - 1
        assert black.max() <= 255 * 0.18 * 1.5
        assert len({tuple(w[0, 0]) for w in white}) > 40
