"""Whom a finished run of style search finds by a picture: only artists who may still be found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedstyle_secure.errors import ConfigError, GalleryError, RunError
from fedstyle_secure.galleries.pictures import decode_picture, read_picture_bytes
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.studios import withdrawals
from fedstyle_secure.system import State
from fedstyle_secure.systems.style.encoder import StyleEncoder
from fedstyle_secure.systems.style.retrieval import Match, rank_artists
from fedstyle_secure.systems.style.settings import StyleConfig
from fedstyle_secure.systems.style.system import StyleSystem


@dataclass(frozen=True, eq=False)
class Cards:
    """The cards of a finished run that may be served, and whose may not.

    Attributes:
        artists: Who may be found.
        rows: Their cards, (artists, dim).
        withdrawn: Who has a card in the run and withdrew, and when.
        unknown: Who has a card in the run and may not be served, as its own ledger is missing or damaged.
        checked: Whether the artists' own ledgers are here; where they are not, nobody has been left out.
    """

    artists: tuple[str, ...]
    rows: np.ndarray
    withdrawn: dict[str, str]
    unknown: tuple[str, ...]
    checked: bool


def served_cards(run: RunFolder, studios: Path | None = None) -> Cards:
    """The cards that may be served: of artists who, by their own ledgers, have not withdrawn since.

    Args:
        run: A finished run.
        studios: Where the artists' own ledgers lie; None: where the run says, if they are there.

    Raises:
        RunError: These are not the run's studios, or its files are damaged.
        ConfigError: It is a run of another system.
    """
    _system(run)
    state = State.load(run.product_file)
    names, rows = state.texts["cards"], state.public["cards"]
    told = withdrawals(run, names, studios)
    known = dict.fromkeys(names, "") if told is None else told
    kept = [i for i, artist in enumerate(names) if known.get(artist) == ""]
    return Cards(
        artists=tuple(names[i] for i in kept),
        rows=rows[kept],
        withdrawn={artist: at for artist, at in known.items() if at},
        unknown=tuple(artist for artist in names if artist not in known),
        checked=told is not None,
    )


def search(
    run: RunFolder | Path | str, picture: Path | str, top: int = 5, studios: Path | None = None
) -> list[Match]:
    """The artists nearest in style to a picture file, of those whose cards may be served.

    Args:
        run: A finished run.
        picture: JPEG, PNG, WebP or TIFF.
        top: How many artists, >= 1.
        studios: Where the artists' own ledgers lie; None: where the run says, if they are there.

    Raises:
        GalleryError: The picture cannot be read.
        RunError: No artist of this run has a card that may be served, or its files are damaged.
        ConfigError: It is a run of another system.
    """
    folder = run if isinstance(run, RunFolder) else RunFolder(Path(run))
    found = findable(folder, studios)
    return _nearest(found, embedded(found[1], Path(picture), folder.config().gallery.size), top)


def search_bytes(run: RunFolder, picture: bytes, top: int = 5, studios: Path | None = None) -> list[Match]:
    """The same to the bytes of a picture file, which lie nowhere. Args and raises as `search`."""
    # What is no picture is refused before the run is opened.
    pixels = decode_picture(picture, run.config().gallery.size)
    found = findable(run, studios)
    return _nearest(found, found[1].embed_pictures(pixels[None])[0], top)


def _nearest(found: tuple[Cards, StyleEncoder], query: np.ndarray, top: int) -> list[Match]:
    cards, encoder = found
    return rank_artists(query, cards.artists, encoder.place(cards.rows).numpy(), top)


def findable(run: RunFolder, studios: Path | None = None) -> tuple[Cards, StyleEncoder]:
    """The cards that may be served, at least one, and the encoder that places cards and pictures.

    Raises:
        RunError: The run is not finished or damaged, or no artist of it has a card that may be served.
        ConfigError: It is a run of another system.
    """
    run.summary()
    cards = served_cards(run, studios)
    if not cards.artists:
        gone = "no artist published a card"
        if cards.withdrawn or cards.unknown:
            gone = "every artist with a card has withdrawn, or has no ledger that says otherwise"
        raise RunError(f"{run.path}: {gone}, so nobody can be found by name")
    return cards, _system(run).model(State.load(run.product_file))


def embedded(encoder: StyleEncoder, picture: Path, size: int) -> np.ndarray:
    """The unit embedding of a picture file, float32 (d,).

    Args:
        encoder: Of a run.
        picture: JPEG, PNG, WebP or TIFF.
        size: Side in pixels that the encoder looks at.

    Raises:
        GalleryError: The picture cannot be read.
    """
    try:
        pixels = decode_picture(read_picture_bytes(picture), size)
    except GalleryError as error:
        raise GalleryError(f"{picture}: {error}") from None
    embedding: np.ndarray = encoder.embed_pictures(pixels[None])[0]
    return embedding


def _system(run: RunFolder) -> StyleSystem:
    config = run.config()
    if not isinstance(config, StyleConfig):
        raise ConfigError(f"{run.path}: is a run of the system {config.run.system!r}, which has no cards")
    return StyleSystem(config)
