"""The atelier: an embedded gallery of procedural artists, made from a seed.

Every artist belongs to a school (what anybody sees at a glance) and has a hand (what an expert sees). What a
picture shows, how it is lit and which colours it has is drawn without regard to the artist, but for a slight
taste in palettes; see `subjects`, `paints`, `hands` and `schools`.
"""

from __future__ import annotations

import difflib
import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fedstyle_secure.cache import key_of, remembered
from fedstyle_secure.errors import ConfigError, GalleryError
from fedstyle_secure.galleries.atelier.hands import draw_hand
from fedstyle_secure.galleries.atelier.paints import draw_paints
from fedstyle_secure.galleries.atelier.schools import OVERSAMPLE, SCHOOL_NAMES, paint
from fedstyle_secure.galleries.atelier.subjects import draw_scene
from fedstyle_secure.galleries.base import Gallery, Portfolio

__all__ = ["SCHOOL_NAMES", "SOURCES", "Atelier"]

SOURCES = (Path(__file__).parent,)
"""What a picture's pixels follow from."""

# Public artists of the first few schools should not all be neighbours in the list of schools.
_PUBLIC_STRIDE = 5

_SCENE, _PAINTS, _RENDER = 21, 22, 23


def _whole(name: str, value: int, low: int, high: int) -> int:
    """The value as an int; refuse what is not a whole number in [low, high]."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or not low <= value <= high:
        raise ConfigError(f"{name} of the atelier must be a whole number from {low} to {high}, not {value!r}")
    return int(value)


def _member(index: int, public: bool) -> tuple[int, int]:
    """School and number within the school's hands; public and private artists never share a hand."""
    n = len(SCHOOL_NAMES)
    if public:
        return index * _PUBLIC_STRIDE % n, 2 * (index // n) + 1
    return index % n, 2 * (index // n)


def _name(index: int, public: bool) -> str:
    school, member = _member(index, public)
    return f"{'public-' if public else ''}{SCHOOL_NAMES[school]}-{member // 2 + 1}"


class Atelier(Gallery):
    """A gallery of procedural artists; any number of artists and pictures from one seed.

    A picture depends on (seed, artist, picture number, size) only, never on how many there are.

    Attributes:
        artists: Private artists, such as `mosaic-1`; artist i belongs to school i modulo 14.
        public_artists: Other artists of the same schools, such as `public-mosaic-1`.
    """

    def __init__(
        self,
        artists: int = 16,
        pictures: int = 60,
        public: int = 8,
        size: int = 64,
        seed: int = 0,
        test_fraction: float = 0.25,
        cache: Path | None = None,
    ) -> None:
        """Name the artists; pictures are painted when a portfolio is asked for.

        Args:
            artists: Private artists, 1 to 100000.
            pictures: Pictures an artist, 2 to 10000.
            public: Public artists, 0 to 100000.
            size: Side in pixels, 32 to 256.
            seed: 0 to 2**63 - 1.
            test_fraction: Share of each portfolio held out, [0, 1); round(test_fraction * pictures) pictures,
                evenly among their numbers.
            cache: Folder for one file per artist, or None to paint anew each time.

        Raises:
            ConfigError: An argument is out of range.
        """
        self._pictures = _whole("pictures", pictures, 2, 10_000)
        self._size = _whole("size", size, 32, 256)
        self._seed = _whole("seed", seed, 0, 2**63 - 1)
        if not 0.0 <= test_fraction < 1.0:
            raise ConfigError(
                f"test_fraction of the atelier must be at least 0 and below 1, not {test_fraction!r}"
            )
        self._test_fraction = test_fraction
        if round(test_fraction * self._pictures) >= self._pictures:
            raise ConfigError(
                f"test_fraction of the atelier leaves no picture to train on: {test_fraction!r} of {pictures}"
            )
        self._cache = cache
        self.artists = tuple(_name(i, False) for i in range(_whole("artists", artists, 1, 100_000)))
        self.public_artists = tuple(_name(i, True) for i in range(_whole("public", public, 0, 100_000)))
        self._index = {name: (i, False) for i, name in enumerate(self.artists)}
        self._index.update((name, (i, True)) for i, name in enumerate(self.public_artists))

    def portfolio(self, artist: str) -> Portfolio:
        """Paint, or read from the cache, one artist's portfolio."""
        if artist not in self._index:
            near = difflib.get_close_matches(artist, self._index, n=1, cutoff=0.0)
            raise GalleryError(f"the atelier has no artist {artist!r}; the nearest name is {near[0]!r}")
        index, public = self._index[artist]
        pixels = self._pixels(artist, index, public)
        # By its own number: one picture more moves none of the others.
        test = np.diff(np.round(self._test_fraction * np.arange(self._pictures + 1))) > 0
        return Portfolio(
            artist=artist,
            pictures=pixels,
            test=test,
            names=tuple(f"{k:04d}" for k in range(self._pictures)),
            sha256=tuple(hashlib.sha256(p.tobytes()).hexdigest() for p in pixels),
            labels=(SCHOOL_NAMES[_member(index, public)[0]],) * self._pictures,
        )

    def _rng(self, what: int, index: int, public: bool, picture: int) -> np.random.Generator:
        """A stream of its own for each (purpose, artist, picture)."""
        return np.random.Generator(
            np.random.PCG64(np.random.SeedSequence([self._seed, what, int(public), index, picture]))
        )

    def _pixels(self, artist: str, index: int, public: bool) -> npt.NDArray[np.uint8]:
        """Painted, or kept from another time."""
        if self._cache is None:
            return self._paint(index, public)
        key = key_of(SOURCES, self._seed, artist, self._pictures, self._size)
        return remembered(self._cache, artist, key, lambda: {"pixels": self._paint(index, public)})["pixels"]

    def _paint(self, index: int, public: bool) -> npt.NDArray[np.uint8]:
        """All pictures of an artist: uint8, shape (pictures, size, size, 3)."""
        school, member = _member(index, public)
        hand = draw_hand(self._seed, school, member)
        out = np.empty((self._pictures, self._size, self._size, 3), dtype=np.uint8)
        for k in range(self._pictures):
            scene = draw_scene(self._rng(_SCENE, index, public, k), OVERSAMPLE * self._size)
            paints = draw_paints(self._rng(_PAINTS, index, public, k), hand.tilt)
            out[k] = paint(school, scene, paints, hand, self._rng(_RENDER, index, public, k))
        return out
