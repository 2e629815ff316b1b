"""Canaries: records that an auditor plants in a run to look for them afterwards.

Each is in or out by a fair coin of its own, thrown before anything is released, so that a guess about it that
is right too often proves a privacy loss (Steinke, Nasr and Jagielski 2023). Which ones are in is known to the
artists that hold them and to the auditor; the platform is told how many there are, and of which kind.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fedstyle_secure.config import Config
from fedstyle_secure.errors import ConfigError, RunError
from fedstyle_secure.files import PRIVATE, write_text
from fedstyle_secure.galleries.base import Gallery, Portfolio
from fedstyle_secure.registry import load

Kind = Literal["gradient", "mislabelled", "foreign", "artist"]
"""`gradient`: a gradient of the clip norm's length along one coordinate, with no picture to it (Nasr et al.
2023). `mislabelled`: a public artist's picture under a private artist's name. `foreign`: a picture of a
stranger who is in no gallery. `artist`: a whole artist whose vector has the clip's length along one
coordinate, or is zeros."""

PICTURES = ("mislabelled", "foreign")
"""Kinds that are pictures."""

_VERSION = 1
_LARGEST_PAINTED = 256

# No gallery's seed is so large, so these strangers are nobody else.
_FOREIGN_SEED = 2**62


@dataclass(frozen=True)
class CanaryNote:
    """What anybody may know of a run's canaries: not which ones are in.

    Attributes:
        number: How many have a coin.
        kind: Of which kind; None where there are none.
        most_per_artist: The most that one artist of the gallery has; 0 where canaries are artists themselves.
    """

    number: int
    kind: Kind | None
    most_per_artist: int

    @classmethod
    def of(cls, config: Config, artists: int) -> CanaryNote:
        """Args: config: The settings. artists: Private artists of the gallery."""
        kind, number = canary_kind(config), config.audit.canaries
        return cls(number, kind, 0 if kind in (None, "artist") else -(-number // artists))

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def canary_kind(config: Config) -> Kind | None:
    """The kind of a run's canaries; None where there are none.

    Raises:
        ConfigError: The settings have nothing that this kind could show in; names both keys.
    """
    audit, unit = config.audit, config.privacy.unit
    if audit.canaries == 0:
        return None
    kind: Kind
    if audit.canary_kind == "auto":
        kind = "artist" if unit == "artist" else "gradient"
    else:
        kind = audit.canary_kind
    if (kind == "artist") != (unit == "artist"):
        raise ConfigError(
            f"audit.canary_kind = {kind!r} does not go with privacy.unit = {unit!r}: a canary is one unit of "
            'privacy, so "artist" goes with "artist" and the other kinds with "artwork"'
        )
    trains = config.training.local_steps > 0
    if kind == "gradient" and not trains:
        raise ConfigError(
            "audit.canary_kind = 'gradient' needs training.local_steps > 0: nothing else has gradients"
        )
    if kind == "foreign" and config.gallery.size > _LARGEST_PAINTED:
        raise ConfigError(
            f"audit.canary_kind = 'foreign' paints up to {_LARGEST_PAINTED} pixels, and gallery.size is "
            f"{config.gallery.size}; use 'mislabelled'"
        )
    return kind


def canary_artists(config: Config, artists: tuple[str, ...]) -> tuple[str, ...]:
    """Names of a run's canary artists, none of them in `artists`; empty for other kinds of canary."""
    if canary_kind(config) != "artist":
        return ()
    prefix = "canary"
    while any(artist.startswith(f"{prefix}-") for artist in artists):
        prefix += "-canary"
    return tuple(f"{prefix}-{i + 1}" for i in range(config.audit.canaries))


def roster(config: Config, gallery: Gallery) -> tuple[str, ...]:
    """Who takes part in a run: the gallery's private artists, then canary artists.

    An artist's place here is its Flower partition id.
    """
    taken = (*gallery.artists, *gallery.public_artists)
    return gallery.artists + canary_artists(config, taken)


@dataclass(frozen=True)
class Canary:
    """One canary: whose it is (a canary artist's own), and whether it is in."""

    artist: str
    inside: bool


@dataclass(frozen=True)
class Canaries:
    """All canaries of a run. The index of one says which coordinate or picture it is.

    Attributes:
        kind: Of which kind.
        each: By index.
    """

    kind: Kind
    each: tuple[Canary, ...]

    @classmethod
    def draw(cls, config: Config, gallery: Gallery, read: Callable[[int], bytes] = os.urandom) -> Canaries:
        """Throw the coins; canary i belongs to artist i modulo the number of artists.

        Args:
            config: The settings, with canaries.
            gallery: The run's gallery.
            read: Random bytes; the operating system's unless a test replaces it.
        """
        kind, number = canary_kind(config), config.audit.canaries
        if kind is None:
            raise ConfigError("audit.canaries = 0: there is nothing to draw")
        owners = canary_artists(config, (*gallery.artists, *gallery.public_artists)) or gallery.artists
        bits = np.unpackbits(np.frombuffer(read(-(-number // 8)), np.uint8), count=number).tolist()
        return cls(kind, tuple(Canary(owners[i % len(owners)], bool(bit)) for i, bit in enumerate(bits)))

    def of(self, artist: str, *, inside_only: bool) -> tuple[int, ...]:
        """Indices of an artist's canaries."""
        mine = (i for i, canary in enumerate(self.each) if canary.artist == artist)
        return tuple(i for i in mine if self.each[i].inside or not inside_only)

    def save(self, path: Path) -> None:
        """Write them, readable by the owner only."""
        values = {"version": _VERSION, "kind": self.kind, "canaries": [asdict(c) for c in self.each]}
        write_text(path, json.dumps(values) + "\n", mode=PRIVATE)

    @classmethod
    def load(cls, path: Path, config: Config, gallery: Gallery) -> Canaries:
        """Read them.

        Raises:
            RunError: The file is missing, damaged, or another run's; names it.
        """
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            each = tuple(Canary(str(c["artist"]), c["inside"]) for c in values["canaries"])
            found, version = cls(values["kind"], each), values["version"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{path}: cannot be read: {error!r}") from None
        expected = cls.draw(config, gallery, read=bytes)
        same = [c.artist for c in each] == [c.artist for c in expected.each] and found.kind == expected.kind
        if version != _VERSION or not same or not all(isinstance(c.inside, bool) for c in each):
            raise RunError(f"{path}: does not hold the canaries that the run's settings say")
        return found


def coordinates(seed: int, count: int, dimension: int) -> np.ndarray:
    """The canaries' coordinates by index, int64 (count,), all different: public, and another draw a run.

    Args:
        seed: The run's.
        count: Canaries.
        dimension: Values in what they are part of.

    Raises:
        ConfigError: There are more canaries than coordinates.
    """
    if count > dimension:
        raise ConfigError(
            f"audit.canaries = {count}, but there are {dimension} coordinates, and each needs one of its own"
        )
    digest = hashlib.sha256(f"{seed}\ncanaries\n{dimension}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest, "little"))
    return rng.permutation(dimension)[:count].astype(np.int64)


class CanaryPictures:
    """The pictures that canaries are, those that are out too."""

    def __init__(self, config: Config, gallery: Gallery) -> None:
        """
        Args:
            config: The settings, with canaries of a kind that is pictures.
            gallery: The run's gallery; its public artists lend the pictures of kind `mislabelled`.
        """
        self._config = config
        self._gallery = gallery

    def __getitem__(self, index: int) -> np.ndarray:
        """uint8 (height, width, 3).

        Raises:
            ConfigError: There are fewer public pictures than canaries.
        """
        if canary_kind(self._config) == "mislabelled":
            picture: np.ndarray = self._public[self._order[index]]
        else:
            picture = self._stranger(index).pictures[0]
        return picture

    def label(self, index: int, usual: str) -> str:
        """What a picture is labelled: what its own gallery says where such labels are kept, else `usual`."""
        kept = self._config.gallery.strangers_keep_labels and canary_kind(self._config) == "foreign"
        return self._stranger(index).labels[0] if kept else usual

    def _stranger(self, index: int) -> Portfolio:
        return self._strangers.portfolio(self._strangers.artists[index])

    @cached_property
    def _strangers(self) -> Gallery:
        """One artist a canary."""
        settings, seed = self._config.gallery, _FOREIGN_SEED + self._config.run.seed
        strangers: Gallery = load(settings.strangers)(settings, self._config.audit.canaries, seed)
        return strangers

    @cached_property
    def _public(self) -> np.ndarray:
        lent = [self._gallery.portfolio(artist).pictures for artist in self._gallery.public_artists]
        pictures = np.concatenate(lent) if lent else np.zeros((0, 1, 1, 3), np.uint8)
        if len(pictures) < self._config.audit.canaries:
            raise ConfigError(
                f"audit.canaries = {self._config.audit.canaries}, but audit.canary_kind = 'mislabelled' "
                f"takes public pictures, and the gallery has {len(pictures)}"
            )
        return pictures

    @cached_property
    def _order(self) -> np.ndarray:
        return coordinates(self._config.run.seed, self._config.audit.canaries, len(self._public))


class PlantedGallery(Gallery):
    """A gallery with the canaries that are in: what artists train on. Utility is measured without them."""

    def __init__(self, config: Config, gallery: Gallery, canaries: Canaries) -> None:
        """
        Args:
            config: The settings.
            gallery: What the artists own.
            canaries: Drawn.
        """
        self._config = config
        self._gallery = gallery
        self._canaries = canaries
        self.artists = roster(config, gallery)
        self.public_artists = gallery.public_artists
        self.skipped = gallery.skipped

    def portfolio(self, artist: str) -> Portfolio:
        """An artist's portfolio with its canaries as its last training pictures; a canary artist has none."""
        if artist not in self._gallery.artists and artist in self.artists:
            none = np.zeros((0, *self._config.gallery.shape, 3), np.uint8)
            return Portfolio(artist, none, np.zeros(0, bool), (), (), ())
        portfolio = self._gallery.portfolio(artist)
        inside = self._canaries.of(artist, inside_only=True)
        if self._canaries.kind not in PICTURES or artist not in self._gallery.artists or not inside:
            return portfolio
        pictures = CanaryPictures(self._config, self._gallery)
        usual = portfolio.train_labels[0]
        return with_pictures(portfolio, {i: (pictures[i], pictures.label(i, usual)) for i in inside})


def with_pictures(portfolio: Portfolio, planted: Mapping[int, tuple[np.ndarray, str]]) -> Portfolio:
    """A portfolio with more training pictures, as works of the same artist.

    Args:
        portfolio: Of the artist.
        planted: By canary's index: uint8 (height, width, 3), and the label.
    """
    pictures = np.stack([picture for picture, _ in planted.values()])
    return replace(
        portfolio,
        pictures=np.concatenate([portfolio.pictures, pictures]),
        test=np.concatenate([portfolio.test, np.zeros(len(pictures), bool)]),
        # No file of a gallery has a name with this sign in it.
        names=(*portfolio.names, *(f"canary\0{i}" for i in planted)),
        sha256=(*portfolio.sha256, *(hashlib.sha256(p.tobytes()).hexdigest() for p in pictures)),
        labels=(*portfolio.labels, *(label for _, label in planted.values())),
        canaries=len(pictures),
    )
