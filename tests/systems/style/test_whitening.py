"""What whitening promises, and what augmentation changes."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from fedstyle_secure.systems.style import whitening
from fedstyle_secure.systems.style.augment import augment
from fedstyle_secure.systems.style.whitening import Whitening
from fedstyle_secure.textures.statistics import feature_groups, group_widths, texture_features

fit_whitening = partial(whitening.fit_whitening, widths=group_widths())


def blots(n: int, size: int = 96) -> np.ndarray:
    """Coloured squares of 8 pixels, no two pictures alike: uint8 (n, size, size, 3)."""
    coarse = np.random.default_rng(0).integers(0, 256, (n, size // 8, size // 8, 3), np.uint8)
    return coarse.repeat(8, 1).repeat(8, 2)


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
        pictures = blots(10)
        public = texture_features(np.repeat(pictures.mean(3, keepdims=True).astype(np.uint8), 3, 3))
        z = fit_whitening(public, np.arange(10) % 3).apply(texture_features(pictures))
        assert np.isfinite(z).all()
        assert np.linalg.norm(z, axis=1) == pytest.approx(1, abs=1e-5)

    def test_identical_public_pictures_are_finite(self) -> None:
        features = np.repeat(texture_features(blots(1)), 4, 0)
        assert np.isfinite(fit_whitening(features, np.zeros(4)).apply(texture_features(blots(3)))).all()

    def test_fitting_twice_gives_the_same(self) -> None:
        features, label = self.public()
        first, second = fit_whitening(features, label), fit_whitening(features, label)
        assert np.array_equal(first.apply(features), second.apply(features))


class TestAugment:
    def test_same_generator_same_pictures_and_shape(self) -> None:
        pictures = blots(3, size=64)
        one, two = (augment(pictures, np.random.default_rng(4)) for _ in range(2))
        assert np.array_equal(one, two)
        assert one.shape == pictures.shape
        assert one.dtype == np.uint8

    def test_every_picture_is_changed_in_its_own_way(self) -> None:
        pictures = np.repeat(blots(1), 4, 0)
        changed = augment(pictures, np.random.default_rng(0))
        assert len({c.tobytes() for c in changed}) == 4

    def test_white_paper_stays_a_paper_and_black_ink_dark(self) -> None:
        white = augment(np.full((50, 32, 32, 3), 255, np.uint8), np.random.default_rng(1))
        black = augment(np.zeros((50, 32, 32, 3), np.uint8), np.random.default_rng(1))
        assert white.min() >= 255 * (1 - 0.3 - 0.3) - 1
        assert black.max() <= 255 * 0.18 * 1.5
        assert len({tuple(w[0, 0]) for w in white}) > 40
