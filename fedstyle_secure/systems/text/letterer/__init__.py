"""The letterer: an embedded gallery of procedural lettering, made from a seed.

Every artist has a hand (the strokes of an own pen, or a font), ink and paper, and words of its own that
nobody has written before; see `hands`, `papers` and `words`. Private artists letter otherwise than the public
ones, as a platform knows few sorts of lettering: what was learned on public crops reads private ones worse.
"""

from __future__ import annotations

import hashlib
from importlib.metadata import version
from pathlib import Path

import numpy as np

from fedstyle_secure.cache import key_of, remembered
from fedstyle_secure.errors import ConfigError, GalleryError
from fedstyle_secure.galleries.assemble import chosen, unknown_artist
from fedstyle_secure.galleries.base import Gallery, Portfolio
from fedstyle_secure.systems.text.crops import HEIGHT, WIDTH
from fedstyle_secure.systems.text.letterer.hands import draw_hand
from fedstyle_secure.systems.text.letterer.papers import draw_paper
from fedstyle_secure.systems.text.letterer.words import draw_vocabulary, draw_word
from fedstyle_secure.systems.text.letterer.writing import write

SOURCES = (Path(__file__).parent,)
"""What a crop's pixels follow from."""

_HAND, _PAPER, _VOCABULARY, _WORD, _WRITING = 31, 32, 33, 34, 35


class Letterer(Gallery):
    """A gallery of procedural lettering; any number of artists and crops from one seed.

    A crop depends on (seed, artist, crop number) only, never on how many there are.

    Attributes:
        artists: Private artists, `letterer-1` and so on.
        public_artists: Others, `public-letterer-1` and so on.
    """

    def __init__(
        self,
        artists: int = 8,
        pictures: int = 500,
        public: int = 12,
        seed: int = 0,
        test_fraction: float = 0.25,
        cache: Path | None = None,
    ) -> None:
        """Name the artists; crops are written when a portfolio is asked for.

        Args:
            artists: Private artists, 1 to 100000.
            pictures: Crops an artist, 2 to 10000.
            public: Public artists, 0 to 100000.
            seed: 0 to 2**63 - 1.
            test_fraction: Share of each portfolio held out, [0, 1), each crop by its own content.
            cache: Folder for one file an artist, or None to write anew each time.

        Raises:
            ConfigError: An argument is out of range.
        """
        limits = (
            ("artists", artists, 1, 100_000), ("pictures", pictures, 2, 10_000),
            ("public", public, 0, 100_000), ("seed", seed, 0, 2**63 - 1),
        )  # fmt: skip
        for name, value, low, high in limits:
            if not low <= value <= high:
                raise ConfigError(f"{name} of the letterer must be from {low} to {high}, not {value!r}")
        if not 0.0 <= test_fraction < 1.0:
            raise ConfigError(
                f"test_fraction of the letterer must be at least 0 and below 1, not {test_fraction!r}"
            )
        self._pictures, self._seed, self._test_fraction, self._cache = pictures, seed, test_fraction, cache
        self.artists = tuple(f"letterer-{i + 1}" for i in range(artists))
        self.public_artists = tuple(f"public-letterer-{i + 1}" for i in range(public))
        self._index = {name: (i, False) for i, name in enumerate(self.artists)}
        self._index.update((name, (i, True)) for i, name in enumerate(self.public_artists))

    def portfolio(self, artist: str) -> Portfolio:
        """Write, or read from the cache, one artist's portfolio.

        Labels are the words as written; names are the crops' numbers (`0007`).

        Raises:
            GalleryError: There is no such artist, or every crop of it is held out.
        """
        if artist not in self._index:
            raise unknown_artist(artist, self._index)
        index, public = self._index[artist]
        words = self._words(index, public)
        paper = draw_paper(self._rng(_PAPER, index, public))
        pictures = paper.coloured(self._greys(artist, index, public, words))
        digests = tuple(hashlib.sha256(picture.tobytes()).hexdigest() for picture in pictures)
        test = np.array([chosen(digest, self._test_fraction, self._seed, "test") for digest in digests])
        if test.all():
            raise GalleryError(
                f"artist {artist!r}: each of its {len(test)} crops is held out, and none is left to train "
                "on; lower gallery.test_fraction, or raise gallery.pictures"
            )
        names = tuple(f"{k:04d}" for k in range(self._pictures))
        return Portfolio(artist, pictures, test, names, digests, words)

    def _rng(self, what: int, index: int, public: bool, picture: int = 0) -> np.random.Generator:
        """A stream of its own for each (purpose, artist, crop)."""
        return np.random.Generator(
            np.random.PCG64(np.random.SeedSequence([self._seed, what, int(public), index, picture]))
        )

    def _words(self, index: int, public: bool) -> tuple[str, ...]:
        vocabulary = draw_vocabulary(self._rng(_VOCABULARY, index, public))
        return tuple(draw_word(vocabulary, self._rng(_WORD, index, public, k)) for k in range(self._pictures))

    def _greys(self, artist: str, index: int, public: bool, words: tuple[str, ...]) -> np.ndarray:
        """Written, or kept from another time: uint8 (pictures, 32, 128)."""

        def make() -> dict[str, np.ndarray]:
            return {"greys": self._write(index, public, words)}

        if self._cache is None:
            return make()["greys"]
        key = key_of(SOURCES, version("matplotlib"), HEIGHT, self._seed, artist, self._pictures)
        return remembered(self._cache, artist, key, make)["greys"]

    def _write(self, index: int, public: bool, words: tuple[str, ...]) -> np.ndarray:
        hand = draw_hand(self._rng(_HAND, index, public), index, public)
        paper = draw_paper(self._rng(_PAPER, index, public))
        out = np.empty((len(words), HEIGHT, WIDTH), np.uint8)
        for k, word in enumerate(words):
            rng = self._rng(_WRITING, index, public, k)
            out[k] = paper.crop(write(hand, word, rng), rng)
        return out
