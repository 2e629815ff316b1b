"""What a gallery is: portfolios of artworks by artist, some private, some public.

A gallery names its artists cheaply and loads one portfolio at a time, so that an artist's process
reads that artist's pictures and nobody else's.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import numpy as np

from fedstyle_secure.consent.uses import Purpose, Way
from fedstyle_secure.errors import GalleryError


@dataclass(frozen=True)
class Skipped:
    """An artwork that was left out under `gallery.on_bad = "skip"`, and why."""

    artist: str
    name: str
    reason: str


@dataclass(frozen=True)
class Refused:
    """An artwork whose use was not allowed, which is left out as if it were not there.

    Attributes:
        artist: Whose.
        name: Its name in the portfolio.
        way: Where it was said, in the words of `consent.uses.Way`.
        reason: Why, in words that hold nothing of what is private.
    """

    artist: str
    name: str
    way: Way
    reason: str


@dataclass(frozen=True)
class Portfolio:
    """The artworks of one artist.

    Attributes:
        artist: The artist's name.
        pictures: uint8, shape (n, height, width, 3), RGB.
        test: bool, shape (n,). True where the artwork is held out for measuring utility.
        names: n names, unique within the portfolio (a relative path, or `0007` for procedural pictures).
        sha256: n hex digests of the artwork's source bytes (the file, or the pixels where there is no file).
        labels: n labels, what the system knows each artwork by (style, text); "" where it is not known.
        skipped: Artworks left out, with reasons.
        refused: Artworks whose use was not allowed; nothing else of the portfolio depends on them.
        canaries: So many of the last training pictures were planted by an auditor: they train like the
            others, and count in no figure.
    """

    artist: str
    pictures: np.ndarray
    test: np.ndarray
    names: tuple[str, ...]
    sha256: tuple[str, ...]
    labels: tuple[str, ...]
    skipped: tuple[Skipped, ...] = field(default=())
    canaries: int = 0
    refused: tuple[Refused, ...] = field(default=())

    def __post_init__(self) -> None:
        n = len(self.pictures)
        if self.pictures.dtype != np.uint8 or self.pictures.ndim != 4 or self.pictures.shape[3] != 3:
            raise GalleryError(
                f"artist {self.artist!r}: pictures must be uint8 of shape (n, height, width, 3), "
                f"not {self.pictures.dtype} {self.pictures.shape}"
            )
        if not (len(self.test) == len(self.names) == len(self.sha256) == len(self.labels) == n):
            raise GalleryError(f"artist {self.artist!r}: {n} pictures, but other columns differ in length")

    @property
    def train_pictures(self) -> np.ndarray:
        """uint8, shape (n_train, height, width, 3)."""
        pictures: np.ndarray = self.pictures[~self.test]
        return pictures

    @property
    def test_pictures(self) -> np.ndarray:
        """uint8, shape (n_test, height, width, 3)."""
        pictures: np.ndarray = self.pictures[self.test]
        return pictures

    @property
    def train_labels(self) -> tuple[str, ...]:
        """Labels of the training pictures, in order."""
        return tuple(s for s, t in zip(self.labels, self.test, strict=True) if not t)

    def digest(self) -> str:
        """SHA-256 over the artworks' names, digests, split and labels."""
        h = hashlib.sha256(self.artist.encode())
        for row in zip(self.names, self.sha256, self.test.tolist(), self.labels, strict=True):
            h.update(repr(row).encode())
        return h.hexdigest()


class Gallery(ABC):
    """Where artworks come from.

    Attributes:
        artists: Private artists in a fixed order; the position is the artist's Flower partition id.
        public_artists: Artists whose pictures the platform owns; they cost no privacy.
        skipped: Artworks and artists left out while listing.
        refused: Artworks whose use was not allowed, of artists who therefore have no portfolio here.
        purpose: The use that was asked for; None where nobody was asked.
    """

    artists: tuple[str, ...]
    public_artists: tuple[str, ...]
    skipped: tuple[Skipped, ...] = ()
    refused: tuple[Refused, ...] = ()
    purpose: Purpose | None = None

    @abstractmethod
    def portfolio(self, artist: str) -> Portfolio:
        """Load one artist's portfolio.

        Raises:
            GalleryError: The artist is unknown, has too few pictures, or a picture is bad and
                `on_bad` is "refuse".
        """
