"""The procedural gallery: reproducible, content apart from style, colour apart from the artist."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from fedstyle_secure.errors import ConfigError, GalleryError
from fedstyle_secure.galleries.atelier import SCHOOL_NAMES, Atelier
from fedstyle_secure.galleries.atelier.brushes import Sites, cells, grid, noise, stamp, streaks
from fedstyle_secure.galleries.atelier.hands import HABITS, draw_hand
from fedstyle_secure.galleries.atelier.paints import POOL, draw_paints
from fedstyle_secure.galleries.atelier.schools import OVERSAMPLE, SCHOOLS, paint
from fedstyle_secure.galleries.atelier.subjects import SUBJECTS, draw_scene

EVEN = np.full(POOL, 1.0 / POOL)


def rng(*key: int) -> np.random.Generator:
    return np.random.default_rng(list(key))


def light(pictures: np.ndarray) -> np.ndarray:
    """float64 lightness in [0, 1] of uint8 pictures (..., 3)."""
    return pictures @ np.array([0.299, 0.587, 0.114]) / 255.0


def texture(pictures: np.ndarray) -> np.ndarray:
    """Log energies of 24 Gabor filters in lightness, after its mean and deviation are taken away: (n, 48)."""
    grey = light(pictures)
    grey = (grey - grey.mean((1, 2), keepdims=True)) / (grey.std((1, 2), keepdims=True) + 1e-6)
    spectrum = np.fft.fft2(grey)
    fx, fy = np.meshgrid(*[np.fft.fftfreq(pictures.shape[1])] * 2)
    out = []
    for frequency in (0.1, 0.18, 0.32):
        for angle in np.arange(8) * np.pi / 8:
            u, v = fx * np.cos(angle) + fy * np.sin(angle), fy * np.cos(angle) - fx * np.sin(angle)
            gain = np.exp(-((u - frequency) ** 2 + v**2) / (2 * (0.3 * frequency) ** 2))
            energy = np.abs(np.fft.ifft2(spectrum * gain))
            out += [np.log(energy.mean((1, 2)) + 1e-4), np.log(energy.std((1, 2)) + 1e-4)]
    return np.stack(out, axis=1)


def colours(pictures: np.ndarray) -> np.ndarray:
    """Square roots of the joint 8x8x8 histogram and of 16 bins a channel: (n, 512 + 48)."""
    rows = []
    for p in pictures:
        coarse = (p >> 5).astype(int) @ np.array([64, 8, 1])
        rows.append(
            [np.bincount(coarse.ravel(), minlength=512)]
            + [np.bincount(p[..., c].ravel() >> 4, minlength=16) for c in range(3)]
        )
    return np.sqrt(np.array([np.concatenate(r) for r in rows]) / pictures[0, ..., 0].size)


def top1(features: np.ndarray, artist: np.ndarray, test: np.ndarray, strengths: tuple[float, ...]) -> float:
    """The best test accuracy of a logistic regression over a few regularisations: kind to the features."""
    from sklearn.linear_model import LogisticRegression

    scores = []
    for c in strengths:
        model = LogisticRegression(C=c, max_iter=2000).fit(features[~test], artist[~test])
        scores.append(float((model.predict(features[test]) == artist[test]).mean()))
    return max(scores)


@pytest.fixture(scope="module")
def crowd() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pictures, artist number and split of sixteen artists."""
    gallery = Atelier(artists=16, pictures=40, public=0, seed=5)
    portfolios = [gallery.portfolio(name) for name in gallery.artists]
    pictures = np.concatenate([p.pictures for p in portfolios])
    return pictures, np.repeat(np.arange(16), 40), np.concatenate([p.test for p in portfolios])


class TestNames:
    def test_every_school_comes_before_any_comes_twice(self) -> None:
        gallery = Atelier(artists=len(SCHOOL_NAMES) + 2, pictures=2, public=0)
        assert gallery.artists[: len(SCHOOL_NAMES)] == tuple(f"{s}-1" for s in SCHOOL_NAMES)
        assert gallery.artists[len(SCHOOL_NAMES) :] == tuple(f"{s}-2" for s in SCHOOL_NAMES[:2])

    def test_public_artists_spread_over_schools(self) -> None:
        public = Atelier(artists=1, public=len(SCHOOL_NAMES)).public_artists
        assert set(public) == {f"public-{s}-1" for s in SCHOOL_NAMES}
        assert {name.removeprefix("public-").removesuffix("-1") for name in public[:8]} != set(
            SCHOOL_NAMES[:8]
        )

    def test_many_names_are_unique(self) -> None:
        gallery = Atelier(artists=500, public=300)
        assert len(set(gallery.artists + gallery.public_artists)) == 800

    def test_a_misspelt_name_is_answered_with_the_nearest(self) -> None:
        with pytest.raises(GalleryError, match=r"'mosiac-1'.*'mosaic-1'"):
            Atelier(artists=14).portfolio("mosiac-1")

    def test_an_artist_beyond_the_last_is_unknown(self) -> None:
        with pytest.raises(GalleryError):
            Atelier(artists=3, public=0).portfolio("poster-1")


class TestArguments:
    @pytest.mark.parametrize(
        ("name", "value", "range_"),
        [
            ("artists", 0, "1 to"),
            ("artists", 2.5, "whole number"),
            ("artists", True, "whole number"),
            ("pictures", 1, "2 to"),
            ("public", -1, "0 to"),
            ("size", 31, "32 to 256"),
            ("size", 257, "32 to 256"),
            ("seed", -1, "0 to"),
            ("test_fraction", 1.0, "below 1"),
            ("test_fraction", -0.1, "at least 0"),
            ("test_fraction", float("nan"), "at least 0"),
        ],
    )
    def test_out_of_range(self, name: str, value: float, range_: str) -> None:
        with pytest.raises(ConfigError, match=rf"{name}.*{range_}"):
            Atelier(**{name: value})  # type: ignore[arg-type]

    def test_a_split_that_leaves_nothing_to_train_on(self) -> None:
        with pytest.raises(ConfigError, match="test_fraction"):
            Atelier(pictures=2, test_fraction=0.9)


class TestPortfolio:
    def test_columns(self) -> None:
        gallery = Atelier(artists=3, pictures=5, size=32)
        portfolio = gallery.portfolio("mosaic-1")
        assert portfolio.pictures.shape == (5, 32, 32, 3)
        assert portfolio.names == ("0000", "0001", "0002", "0003", "0004")
        assert portfolio.labels == ("mosaic",) * 5
        assert portfolio.sha256[3] == hashlib.sha256(portfolio.pictures[3].tobytes()).hexdigest()
        assert len(set(portfolio.sha256)) == 5

    def test_a_public_artist_has_the_schools_style_and_other_pictures(self) -> None:
        gallery = Atelier(artists=1, pictures=2, public=1, size=32)
        private, public = gallery.portfolio("impasto-1"), gallery.portfolio("public-impasto-1")
        assert public.labels == private.labels
        assert not set(public.sha256) & set(private.sha256)

    def test_pictures_depend_on_nothing_but_seed_artist_number_and_size(self) -> None:
        few = Atelier(artists=2, pictures=3, public=1, size=32, seed=9)
        many = Atelier(artists=30, pictures=6, public=9, size=32, seed=9, test_fraction=0.5)
        for name in (*few.artists, *few.public_artists):
            assert few.portfolio(name).sha256 == many.portfolio(name).sha256[:3]

    def test_another_seed_paints_other_pictures(self) -> None:
        one, two = (Atelier(artists=1, pictures=2, size=32, seed=s).portfolio("impasto-1") for s in (0, 1))
        assert not set(one.sha256) & set(two.sha256)

    @pytest.mark.long
    @pytest.mark.parametrize("fraction", [0.0, 0.1, 0.25, 1 / 3, 0.6, 0.7])
    def test_a_picture_more_moves_no_other_to_the_other_side(self, fraction: float) -> None:
        before = np.zeros(0, bool)
        for pictures in range(2, 24):
            test = Atelier(1, pictures, 0, 32, test_fraction=fraction).portfolio("impasto-1").test
            np.testing.assert_array_equal(test[: len(before)], before)
            before = test
        assert before.sum() == round(fraction * 23)

    @settings(max_examples=25, deadline=None)
    @given(
        artists=st.integers(1, 40),
        pictures=st.integers(2, 4),
        public=st.integers(0, 20),
        size=st.integers(32, 70),
        seed=st.integers(0, 2**63 - 1),
        test_fraction=st.floats(0.0, 0.6),
        which=st.integers(0, 1000),
    )
    def test_any_small_gallery(
        self, artists: int, pictures: int, public: int, size: int, seed: int, test_fraction: float, which: int
    ) -> None:
        gallery = Atelier(artists, pictures, public, size, seed, test_fraction)
        assert (len(gallery.artists), len(gallery.public_artists)) == (artists, public)
        every = gallery.artists + gallery.public_artists
        portfolio = gallery.portfolio(every[which % len(every)])
        assert portfolio.pictures.shape == (pictures, size, size, 3)
        assert portfolio.test.sum() == round(test_fraction * pictures)
        # Nothing blank, nothing clipped away.
        assert (light(portfolio.pictures).std(axis=(1, 2)) > 0.03).all()

    @pytest.mark.long
    @pytest.mark.parametrize("size", [32, 256])
    def test_every_school_at_the_extreme_sizes(self, size: int) -> None:
        gallery = Atelier(artists=len(SCHOOLS), pictures=2, public=0, size=size)
        for name in gallery.artists:
            pictures = gallery.portfolio(name).pictures
            assert (light(pictures).std(axis=(1, 2)) > 0.05).all(), name


class TestContent:
    def test_kinds_do_not_depend_on_the_artist(self) -> None:
        kinds = [draw_scene(rng(k), 32).kind for k in range(300)]
        counts = [kinds.count(name) for name, _ in SUBJECTS]
        assert min(counts) > 25

    def test_a_scene_is_well_formed(self) -> None:
        for k in range(40):
            scene = draw_scene(rng(3, k), 64)
            assert 0.02 <= scene.tone.min() <= scene.tone.max() <= np.float32(0.98)
            assert scene.labels.max() < scene.regions
            for label in np.unique(scene.labels):
                assert len(np.unique(scene.slots[scene.labels == label])) == 1
            assert np.isfinite(scene.flow).all()

    @pytest.mark.parametrize("school", range(len(SCHOOLS)), ids=SCHOOL_NAMES)
    def test_every_school_shows_the_scene_it_was_given(self, school: int) -> None:
        """Low frequencies of a picture match its own scene better than other scenes of the same kinds."""
        scenes = [draw_scene(rng(7, k), 128) for k in range(12)]
        hand = draw_hand(0, school, 0)
        painted = np.array(
            [paint(school, s, draw_paints(rng(8, k), EVEN), hand, rng(9, k)) for k, s in enumerate(scenes)]
        )
        # A coarse grid in the inner part: some schools leave a border of bare paper.
        shown = np.array([ndimage.gaussian_filter(light(p), 5)[8:-7:6, 8:-7:6].ravel() for p in painted])
        meant = np.array([ndimage.gaussian_filter(s.tone, 10)[16:-14:12, 16:-14:12].ravel() for s in scenes])
        match = np.corrcoef(shown, meant)[:12, 12:]
        own, other = np.diag(match).mean(), match[~np.eye(12, dtype=bool)].mean()
        assert own > 0.5
        assert own > other + 0.25

    def test_the_same_scene_looks_different_in_two_schools(self) -> None:
        scene = draw_scene(rng(7, 1), 128)
        paints, hand = draw_paints(rng(8, 1), EVEN), draw_hand(0, 0, 0)
        one, two = (paint(k, scene, paints, hand, rng(1)) for k in (0, 1))
        assert np.abs(one.astype(int) - two.astype(int)).mean() > 15


class TestHands:
    def test_two_artists_of_a_school_differ_in_every_habit(self) -> None:
        for school in range(len(SCHOOLS)):
            for member in range(6):
                one, two = draw_hand(3, school, member), draw_hand(3, school, member + 1)
                for habit in HABITS:
                    # Distance around the unit circle: the sequence wraps at 1.
                    apart = abs(getattr(one, habit) - getattr(two, habit))
                    assert min(apart, 1.0 - apart) > 0.25

    def test_palette_tastes_are_slight(self) -> None:
        tilts = np.array([draw_hand(0, s, m).tilt for s in range(len(SCHOOLS)) for m in range(3)])
        np.testing.assert_allclose(tilts.sum(axis=1), 1.0)
        # Any two artists share at least two thirds of their palettes.
        shared = np.minimum(tilts[:, None], tilts[None]).sum(axis=2)
        assert shared.min() > 0.66

    @pytest.mark.long
    def test_an_expert_tells_hands_of_one_school_apart(self) -> None:
        n = len(SCHOOL_NAMES)
        gallery = Atelier(artists=2 * n, pictures=30, public=0, seed=4)
        right = []
        for school in (0, 3, 6, 9, 12):
            pair = [gallery.portfolio(gallery.artists[school + k * n]) for k in (0, 1)]
            features = texture(np.concatenate([p.pictures for p in pair]))
            features = (features - features.mean(0)) / features.std(0)
            test = np.concatenate([p.test for p in pair])
            right.append(top1(features, np.repeat([0, 1], 30), test, (0.01, 0.1)))
        assert np.mean(right) > 0.75


class TestStyleIsNotColour:
    def test_texture_names_the_artist_and_colour_does_not(
        self, crowd: tuple[np.ndarray, np.ndarray, np.ndarray]
    ) -> None:
        pictures, artist, test = crowd
        features = texture(pictures)
        features = (features - features[~test].mean(0)) / features[~test].std(0)
        by_texture = top1(features, artist, test, (0.1, 1.0))
        by_colour = top1(colours(pictures), artist, test, (1.0, 10.0))
        assert by_texture >= 0.8
        assert by_colour <= 0.4
        assert by_texture - by_colour >= 0.3

    def test_brightness_and_contrast_vary_within_every_artist(
        self, crowd: tuple[np.ndarray, np.ndarray, np.ndarray]
    ) -> None:
        pictures, artist, _ = crowd
        mean, spread = light(pictures).mean((1, 2)), light(pictures).std((1, 2))
        for feature in (mean, spread):
            within = np.array([feature[artist == a].std() for a in range(16)])
            between = np.array([feature[artist == a].mean() for a in range(16)]).std()
            assert between < np.median(within)


class TestCache:
    def gallery(self, folder: Path | None, **change: int) -> Atelier:
        return Atelier(**{"artists": 2, "pictures": 3, "public": 1, "size": 32, **change}, cache=folder)

    def test_round_trip(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = tmp_path / "deep" / "cache"
        fresh = self.gallery(folder).portfolio("impasto-1")
        assert fresh.digest() == self.gallery(None).portfolio("impasto-1").digest()

        def forbidden(*_: object) -> None:
            raise AssertionError("painted although cached")

        monkeypatch.setattr("fedstyle_secure.galleries.atelier.paint", forbidden)
        assert self.gallery(folder).portfolio("impasto-1").digest() == fresh.digest()

    def test_a_file_for_each_setting_and_nothing_left_behind(self, tmp_path: Path) -> None:
        for change in ({}, {"seed": 1}, {"pictures": 4}, {"size": 33}):
            self.gallery(tmp_path, **change).portfolio("impasto-1")
        self.gallery(tmp_path).portfolio("public-impasto-1")
        # Other artists and another split use what is there.
        self.gallery(tmp_path, artists=5).portfolio("impasto-1")
        assert len(list(tmp_path.iterdir())) == 5
        assert all(path.suffix == ".safetensors" for path in tmp_path.iterdir())


class TestBrushes:
    def test_a_stamp_covers_what_its_ellipse_covers(self) -> None:
        x, y = grid(64)
        at = Sites(np.float32([0.4]), np.float32([0.55]))
        marks = stamp(64, at, 0.6, 0.5, 0.2)
        c, n = np.cos(0.6), np.sin(0.6)
        u, v = ((x - 0.4) * c + (y - 0.55) * n) / 0.25, ((y - 0.55) * c - (x - 0.4) * n) / 0.1
        exact = u**2 + v**2 <= 1.0
        # Pixels cut by the rim may fall either way; the inside has no holes, the outside no specks.
        assert marks.covered[u**2 + v**2 < 0.75].all()
        assert abs(int(marks.covered.sum()) - int(exact.sum())) < 0.2 * exact.sum()
        assert np.abs(marks.u - u)[marks.covered].max() < 0.15

    def test_the_last_mark_lies_on_top(self) -> None:
        at = Sites(np.full(50, 0.5, np.float32), np.full(50, 0.5, np.float32))
        marks = stamp(48, at, np.linspace(0, 3, 50), 0.5, 0.5)
        assert marks.owner[24, 24] == 49
        assert set(np.unique(marks.owner)) <= set(range(-1, 50))

    def test_no_marks_leave_the_ground(self) -> None:
        empty = Sites(np.zeros(0, np.float32), np.zeros(0, np.float32))
        assert not stamp(32, empty, np.zeros(0, np.float32), 0.2, 0.1).covered.any()

    def test_cells_belong_to_their_nearest_site(self) -> None:
        x, y = grid(64)
        found = cells(rng(1), 6, 0.9, x, y)
        distance = np.hypot(x[..., None] - found.x, y[..., None] - found.y)
        chosen = np.take_along_axis(distance, found.owner[..., None].astype(int), axis=2)[..., 0]
        # A search of the eight neighbouring cells may miss a nearer site in rare corners, by very little.
        assert (chosen <= distance.min(axis=2) + 1e-6).mean() > 0.98
        assert (found.gap >= 0).all()

    def test_noise_is_about_unit_and_smooth(self) -> None:
        fields = np.array([noise(rng(k), 64, 4) for k in range(60)])
        assert 0.7 < fields.std() < 1.3
        assert np.abs(np.diff(fields, axis=1)).max() < 0.6

    def test_streaks_run_along_their_angle(self) -> None:
        along = streaks(rng(2), 96, 0.0, 30, 3)
        assert np.abs(np.diff(along, axis=1)).mean() * 4 < np.abs(np.diff(along, axis=0)).mean()


def test_finished_pictures_are_smaller_than_their_scene() -> None:
    scene = draw_scene(rng(1), OVERSAMPLE * 48)
    assert paint(0, scene, draw_paints(rng(2), EVEN), draw_hand(0, 0, 0), rng(3)).shape == (48, 48, 3)
