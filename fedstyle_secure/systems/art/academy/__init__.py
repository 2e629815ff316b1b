"""The academy: private procedural artists of schools that the public ones, and the backbone, do not know."""

from __future__ import annotations

import difflib
import hashlib
from pathlib import Path

import numpy as np

from fedstyle_secure.cache import key_of, remembered
from fedstyle_secure.errors import ConfigError, GalleryError
from fedstyle_secure.galleries.atelier import SOURCES as ATELIER
from fedstyle_secure.galleries.atelier import Atelier
from fedstyle_secure.galleries.atelier.hands import draw_hand
from fedstyle_secure.galleries.atelier.paints import draw_paints, reproduce
from fedstyle_secure.galleries.atelier.schools import OVERSAMPLE
from fedstyle_secure.galleries.atelier.subjects import draw_scene
from fedstyle_secure.galleries.base import Gallery, Portfolio
from fedstyle_secure.systems.art.academy.schools import SCHOOL_NAMES, SCHOOLS

__all__ = ["SCHOOL_NAMES", "SOURCES", "Academy"]

SOURCES = (*ATELIER, Path(__file__).parent)
"""What a picture's pixels follow from."""

_PICTURE = 61
_FIRST_SCHOOL = 1000
"""Hands are drawn by a school's number, and the atelier's schools begin at 0."""


class Academy(Gallery):
    """Procedural artists of `SCHOOL_NAMES` as private ones; the atelier's as public ones.

    Attributes:
        artists: Such as `neon-1`; artist i belongs to school i modulo 4.
        public_artists: The atelier's, such as `public-mosaic-1`.
    """

    def __init__(
        self,
        artists: int,
        pictures: int,
        public: int,
        size: int,
        seed: int,
        test_fraction: float,
        cache: Path | None = None,
    ) -> None:
        """Arguments as those of `Atelier`.

        Raises:
            ConfigError: An argument is out of range.
        """
        self._atelier = Atelier(
            artists=1,
            pictures=pictures,
            public=public,
            size=size,
            seed=seed,
            test_fraction=test_fraction,
            cache=None if cache is None else cache / "atelier",
        )
        if not 1 <= artists <= 100_000:
            raise ConfigError(
                f"artists of the academy must be a whole number from 1 to 100000, not {artists}"
            )
        self.public_artists = self._atelier.public_artists
        schools = len(SCHOOL_NAMES)
        self.artists = tuple(f"{SCHOOL_NAMES[i % schools]}-{i // schools + 1}" for i in range(artists))
        self._pictures, self._size, self._seed, self._cache = pictures, size, seed, cache
        self._test = np.diff(np.round(test_fraction * np.arange(pictures + 1))) > 0

    def portfolio(self, artist: str) -> Portfolio:
        """Paint, or read from the cache, one artist's portfolio."""
        if artist in self.public_artists:
            return self._atelier.portfolio(artist)
        if artist not in self.artists:
            near = difflib.get_close_matches(artist, [*self.artists, *self.public_artists], n=1, cutoff=0.0)
            raise GalleryError(f"the academy has no artist {artist!r}; the nearest name is {near[0]!r}")
        pixels = self._kept(self.artists.index(artist), artist)
        return Portfolio(
            artist=artist,
            pictures=pixels,
            test=self._test,
            names=tuple(f"{k:04d}" for k in range(self._pictures)),
            sha256=tuple(hashlib.sha256(p.tobytes()).hexdigest() for p in pixels),
            labels=(artist.rpartition("-")[0],) * self._pictures,
        )

    def _kept(self, index: int, artist: str) -> np.ndarray:
        if self._cache is None:
            return self._paint(index)
        key = key_of(SOURCES, self._seed, artist, self._pictures, self._size)
        return remembered(self._cache, artist, key, lambda: {"pixels": self._paint(index)})["pixels"]

    def _paint(self, index: int) -> np.ndarray:
        """All pictures of an artist: uint8, shape (pictures, size, size, 3)."""
        school, member = index % len(SCHOOLS), index // len(SCHOOLS)
        hand = draw_hand(self._seed, _FIRST_SCHOOL + school, member)
        wide, out = OVERSAMPLE * self._size, []
        for k in range(self._pictures):
            rng = np.random.default_rng([self._seed, _PICTURE, index, k])
            painting = SCHOOLS[school][1](draw_scene(rng, wide), draw_paints(rng, hand.tilt), hand, rng)
            parts = np.clip(painting, 0, 1).reshape(self._size, OVERSAMPLE, self._size, OVERSAMPLE, 3)
            small = reproduce(parts.mean(axis=(1, 3), dtype=np.float32), rng)
            out.append(np.rint(small * 255).astype(np.uint8))
        return np.stack(out)
