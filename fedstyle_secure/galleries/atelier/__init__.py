"""The atelier: an embedded gallery of procedural artists, made from a seed.

Every artist belongs to a school (what anybody sees at a glance) and has a hand (what an expert sees). What a
picture shows, how it is lit and which colours it has is drawn without regard to the artist, but for a slight
taste in palettes; see `subjects`, `paints`, `hands` and `schools`.
"""

from __future__ import annotations

import difflib
import hashlib
import io
import json
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fedstyle_secure.errors import ConfigError, GalleryError
from fedstyle_secure.files import atomic
from fedstyle_secure.galleries.atelier.hands import draw_hand
from fedstyle_secure.galleries.atelier.paints import draw_paints
from fedstyle_secure.galleries.atelier.schools import OVERSAMPLE, SCHOOL_NAMES, paint
from fedstyle_secure.galleries.atelier.subjects import draw_scene
from fedstyle_secure.galleries.base import Gallery, Portfolio

__all__ = ["SCHOOL_NAMES", "VERSION", "Atelier"]

# Part of every cache name: raise it whenever the generator would paint different pixels.
VERSION = 1

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
        pixels = self._load(artist)
        if pixels is None:
            pixels = self._paint(index, public)
            self._store(artist, pixels)
        # By its own number: one picture more moves none of the others.
        test = np.diff(np.round(self._test_fraction * np.arange(self._pictures + 1))) > 0
        return Portfolio(
            artist=artist,
            pictures=pixels,
            test=test,
            names=tuple(f"{k:04d}" for k in range(self._pictures)),
            sha256=tuple(hashlib.sha256(p.tobytes()).hexdigest() for p in pixels),
            styles=(SCHOOL_NAMES[_member(index, public)[0]],) * self._pictures,
        )

    def _rng(self, what: int, index: int, public: bool, picture: int) -> np.random.Generator:
        """A stream of its own for each (purpose, artist, picture)."""
        return np.random.Generator(
            np.random.PCG64(np.random.SeedSequence([self._seed, what, int(public), index, picture]))
        )

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

    def cache_file(self, artist: str) -> Path | None:
        """Where an artist's pictures are kept, or None without a cache."""
        if self._cache is None:
            return None
        key = json.dumps([VERSION, self._seed, artist, self._pictures, self._size])
        return Path(self._cache) / f"{artist}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz"

    def _load(self, artist: str) -> npt.NDArray[np.uint8] | None:
        """The cached pictures, or None where there is no file or a damaged one."""
        path = self.cache_file(artist)
        if path is None or not path.is_file():
            return None
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
                pixels: npt.NDArray[np.uint8] = stored["pixels"]
                digest = str(stored["sha256"])
        except Exception:
            # numpy and zipfile raise many types for a damaged file; all of them mean: paint anew.
            return None
        right = pixels.shape == (self._pictures, self._size, self._size, 3) and pixels.dtype == np.uint8
        if not right or hashlib.sha256(pixels.tobytes()).hexdigest() != digest:
            return None
        return pixels

    def _store(self, artist: str, pixels: npt.NDArray[np.uint8]) -> None:
        """Write the cache in one step, so that a reader never meets half a file."""
        path = self.cache_file(artist)
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic(path, synced=False) as file:
                np.savez(file, pixels=pixels, sha256=np.array(hashlib.sha256(pixels.tobytes()).hexdigest()))
        except OSError as error:
            # A cache only saves time: without one the pictures are painted anew.
            warnings.warn(
                f"cannot write the atelier's cache {path.parent}: {error}", RuntimeWarning, stacklevel=3
            )
