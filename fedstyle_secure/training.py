"""Training a run, and what can be done with a finished one. The command line mirrors these functions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fedstyle_secure.config import Config
from fedstyle_secure.errors import ConfigError, GalleryError, RunError, resumable
from fedstyle_secure.files import read_arrays
from fedstyle_secure.idle import idle
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.studios import has_released, studios_root, withdrawals
from fedstyle_secure.style.retrieval import Match, rank_artists

Engine = Literal["local", "ray"]
OnRound = Callable[[dict[str, Any], int], None]


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


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        folder: Where it lies.
        summary: Utility, privacy and cost, as in `summary.json`.
    """

    folder: RunFolder
    summary: dict[str, Any]

    @classmethod
    def open(cls, path: Path | str) -> Run:
        """Open a finished run. Raises RunError if there is none."""
        folder = RunFolder(Path(path))
        return cls(folder, folder.summary())

    def cards(self, studios: Path | None = None) -> Cards:
        """The cards that may be served: of artists who, by their own ledgers, have not withdrawn since.

        Args:
            studios: Where the artists' own ledgers lie; None: where the run says, if they are there.

        Raises:
            RunError: These are not the run's studios.
        """
        with np.load(self.folder.prototypes_file, allow_pickle=False) as stored:
            names, rows = tuple(str(a) for a in stored["artists"]), stored["cards"]
        told = withdrawals(self.folder, names, studios)
        known = dict.fromkeys(names, "") if told is None else told
        kept = [i for i, artist in enumerate(names) if known.get(artist) == ""]
        return Cards(
            artists=tuple(names[i] for i in kept),
            rows=rows[kept],
            withdrawn={artist: at for artist, at in known.items() if at},
            unknown=tuple(artist for artist in names if artist not in known),
            checked=told is not None,
        )

    def search(self, picture: Path | str, top: int = 5, studios: Path | None = None) -> list[Match]:
        """The artists nearest in style to a picture file, of those whose cards may be served.

        Args:
            picture: JPEG, PNG, WebP or TIFF.
            top: How many artists, >= 1.
            studios: Where the artists' own ledgers lie; None: where the run says, if they are there.

        Raises:
            GalleryError: The picture cannot be read.
            RunError: No artist of this run has a card that may be served, or its files are damaged.
        """
        from fedstyle_secure.galleries.pictures import decode_picture, read_picture_bytes
        from fedstyle_secure.style.encoders import encoder_from_arrays

        cards = self.cards(studios)
        if not cards.artists:
            gone = "no artist published a card"
            if cards.withdrawn or cards.unknown:
                gone = "every artist with a card has withdrawn, or has no ledger that says otherwise"
            raise RunError(f"{self.folder.path}: {gone}, so nobody can be found by name")
        config = self.folder.config()
        try:
            pixels = decode_picture(read_picture_bytes(Path(picture)), config.gallery.size)
        except GalleryError as error:
            raise GalleryError(f"{picture}: {error}") from None
        arrays, _ = read_arrays(self.folder.encoder_file)
        encoder = encoder_from_arrays(config.style, arrays)
        query, placed = encoder.embed_pictures(pixels[None])[0], encoder.place(cards.rows).numpy()
        return rank_artists(query, cards.artists, placed, top)


def train(
    config: Config,
    out: Path | str,
    engine: Engine = "local",
    *,
    resume: bool = False,
    force: bool = False,
    on_round: OnRound | None = None,
) -> Run:
    """Train a run from public learning to the summary.

    Args:
        config: The settings.
        out: The run's folder.
        engine: `local` runs Flower's apps in this process, `ray` in Flower's simulation.
        resume: Go on with an interrupted run of the same settings.
        force: Delete a run that is there.
        on_round: Called with the metrics of each round and the number of rounds in all.

    Raises:
        ConfigError: A setting does not fit, or the engine's package is missing.
        GalleryError: The gallery cannot be used.
        RunError: The folder holds a run, another process is writing it, or the machine failed (its disk is
            full, say): names what, where, and how to go on.
        PrivacyError: The guarantee cannot be met.
        FederationError: Too few artists answered.
    """
    from fedstyle_secure.style.encoders import require_learnable

    folder = RunFolder(Path(out).resolve())
    paths = {"run.folder": str(folder.path)}
    if config.gallery.path:
        paths["gallery.path"] = str(Path(config.gallery.path).resolve())
    if config.run.studios:
        paths["run.studios"] = str(Path(config.run.studios).resolve())
    config = Config.from_flat(config.to_flat() | paths)
    if resume and force:
        raise ConfigError("--resume goes on with a run and --force deletes it: choose one")
    if resume and not folder.begun:
        raise RunError(f"{folder.path}: no run here to go on with")
    if resume and folder.finished:
        folder.require(config)
        return Run.open(folder.path)
    require_learnable(config.style, config.gallery)
    for sentence in idle(config):
        logging.getLogger("fedstyle_secure").warning(sentence)
    fresh = not resume
    with resumable(folder.path, "the run goes on with `fedstyle train --resume`"):
        folder.begin(config, resume=resume, force=force)
        try:
            if engine == "local":
                _train_here(config, on_round)
            else:
                from fedstyle_secure.federation.ray import train_with_ray

                train_with_ray(config, folder, on_round)
        except (OSError, MemoryError):
            raise
        except Exception:
            # A run that failed before any release left nothing worth keeping, and would block the next try.
            if fresh and not _left_traces(config, folder):
                folder.remove()
            raise
    return Run.open(folder.path)


def _left_traces(config: Config, folder: RunFolder) -> bool:
    return (folder.path / "flower.log").exists() or has_released(
        studios_root(config, folder), folder.identity
    )


def _train_here(config: Config, on_round: OnRound | None) -> None:
    from flwr.app import Context, RecordDict

    from fedstyle_secure.federation.apps import make_client_app, make_server_app
    from fedstyle_secure.federation.local import LocalGrid
    from fedstyle_secure.galleries.canaries import roster
    from fedstyle_secure.galleries.opening import open_gallery

    nodes = len(roster(config, open_gallery(config.gallery))) + config.secure_sum.enabled
    with _quiet_flower():
        grid = LocalGrid(make_client_app(), nodes, config.to_flat())
        context = Context(
            run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config=dict(config.to_flat())
        )
        make_server_app(on_round)(grid, context)


@contextmanager
def _quiet_flower() -> Iterator[None]:
    """Flower logs every round; here the metrics and the progress bar say the same."""
    logger = logging.getLogger("flwr")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)
