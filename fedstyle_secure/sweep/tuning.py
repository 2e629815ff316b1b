"""What all cells of a sweep together would cost one artist, were their releases real ones.

The best of many runs was chosen by looking at all of them, so its own epsilon is not what choosing it costs
(Liu and Talwar, "Private selection from private candidates", STOC 2019; Papernot and Steinke,
"Hyperparameter tuning with Renyi differential privacy", ICLR 2022). Their cheaper bounds ask for a random
number of runs of one mechanism; for a fixed grid, whose figures are all printed, composition of everything is
the honest figure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedstyle_secure.config import Config
from fedstyle_secure.errors import FedStyleError, PrivacyError
from fedstyle_secure.files import read_json
from fedstyle_secure.privacy.ledger import Entry, Ledger, costs, entry_from_dict
from fedstyle_secure.privacy.units import Unit
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.studios import studio_home

_NOTE = (
    "The epsilon of the best of many runs is not the epsilon of one (Liu and Talwar 2019; Papernot and "
    "Steinke 2022). What --force deleted, or was tried in another folder, is not counted."
)
_PROCEDURAL = (
    "Cells are simulations on pictures that a program drew: each has ledgers of its own, and its epsilon is "
    "that of one run by itself."
)
_REAL = (
    "Each cell has ledgers of its own, and its epsilon is that of one run by itself. The pictures are not "
    "this program's: in truth the same artists were in all cells, so what these released adds up."
)

_UNITS: tuple[Unit, ...] = ("artwork", "artist")


@dataclass(frozen=True)
class TuningCost:
    """Every release of every cell, composed for the artist whom it costs most.

    Attributes:
        delta: At which delta: the smallest of the cells'.
        cells: Cells with a ledger, unfinished ones and those of earlier grids in the same folder too.
        epsilon: Of all, by unit; None: no guarantee.
        guaranteed: Cells whose releases all have a guarantee, by unit.
        epsilon_guaranteed: Of those alone, by unit; None where there are none.
        procedural: Whether all their pictures were drawn by a program, so that nobody paid any of it.
        damaged: Why no figure can be given, where a ledger cannot be read, is gone, or is not the one that
            the run states; "" else.
    """

    delta: float
    cells: int
    epsilon: Mapping[Unit, float | None]
    guaranteed: Mapping[Unit, int]
    epsilon_guaranteed: Mapping[Unit, float | None]
    procedural: bool
    damaged: str = ""

    @property
    def note(self) -> str:
        """What the figures leave out, in sentences."""
        return f"{_PROCEDURAL if self.procedural else _REAL} {_NOTE}"

    def to_dict(self) -> dict[str, Any]:
        """For JSON, with what it means."""
        return {
            "note": self.note,
            "method": "all releases of all cells, composed for the artist whom they cost most",
            "delta": self.delta,
            "cells": self.cells,
            "procedural": self.procedural,
            "damaged": self.damaged or None,
        } | {
            f"epsilon_{unit}": {
                "all_cells": self.epsilon[unit],
                "cells_with_a_guarantee": self.guaranteed[unit],
                "those_cells": self.epsilon_guaranteed[unit],
            }
            for unit in _UNITS
        }


def tuning_cost(cells: Iterable[Path], delta: float) -> TuningCost:
    """Compose the ledgers of all cells' runs.

    An artist is known by name, whatever seed drew its pictures: the figure is what choosing among these runs
    costs an artist who is in all of them.

    Args:
        cells: The cells' folders, whether finished or not.
        delta: In (0, 1).
    """
    cells = list(cells)
    drawn = all(_procedural(cell) for cell in cells)
    try:
        ledgers = [found for cell in cells if (found := _ledgers(cell))]
    except PrivacyError as error:
        nothing: Mapping[Unit, float | None] = dict.fromkeys(_UNITS)
        return TuningCost(delta, 0, nothing, dict.fromkeys(_UNITS, 0), nothing, drawn, str(error))
    everything = {unit: _composed(ledgers, unit, delta) for unit in _UNITS}
    sound = {unit: [cell for cell in ledgers if _guaranteed(cell, unit)] for unit in _UNITS}
    return TuningCost(
        delta,
        len(ledgers),
        everything,
        {unit: len(sound[unit]) for unit in _UNITS},
        {unit: _composed(sound[unit], unit, delta) if sound[unit] else None for unit in _UNITS},
        drawn,
    )


Ledgers = dict[str, tuple[Entry, ...]]
"""Of one cell: releases by artist."""


def _procedural(cell: Path) -> bool:
    """Whether a cell's pictures were drawn by a program; a cell that never began used none."""
    run = RunFolder(cell / "run")
    if not run.config_file.exists() and not (cell / "studios").exists():
        return True
    try:
        return run.config().gallery.source == "atelier"
    except FedStyleError:
        return False


def _ledgers(cell: Path) -> Ledgers:
    """Every artist's releases in a cell, of its own ledger and of the run's copy; either is enough.

    Raises:
        PrivacyError: A ledger is damaged or gone, or is not the one that the run states.
    """
    run, studios = RunFolder(cell / "run"), cell / "studios"
    own = {path.parent.name: Ledger(path).entries for path in sorted(studios.glob("*/ledger.jsonl"))}
    try:
        config = run.config() if run.begun and run.config_file.exists() else None
        stated = _stated(run)
        released = {artist for line in run.metrics() for artist in line["released_by"]}
    except (FedStyleError, KeyError, TypeError, AttributeError) as error:
        raise PrivacyError(f"{run.path}: what it released cannot be told: {error}") from None
    found: Ledgers = {}
    for artist in dict.fromkeys([*stated, *sorted(released)]):
        home = artist if config is None else studio_home(studios, config.gallery, artist).name
        mine, copy = own.pop(home, None), stated.get(artist)
        if mine is None and copy is None and artist in released:
            raise PrivacyError(f"{run.path}: {artist!r} released something, and no ledger says what it cost")
        if mine is not None and copy is not None and mine[: len(copy)] != copy:
            raise PrivacyError(f"{run.ledger_file}: {artist!r}: is not what {studios / home} holds")
        found[artist] = mine if mine is not None else copy or ()
    # Of runs that were killed before they stated anything.
    for home, entries in own.items():
        artist = _artist(home, config)
        if entries and found.get(artist):
            raise PrivacyError(f"{studios / home}: is a second ledger of {artist!r}")
        found[artist] = entries or found.get(artist, ())
    return {artist: entries for artist, entries in found.items() if entries}


def _stated(run: RunFolder) -> dict[str, tuple[Entry, ...] | None]:
    """The run's copy of its artists' ledgers; it writes one at its end."""
    if not run.ledger_file.exists():
        if run.finished:
            raise PrivacyError(f"{run.ledger_file}: is missing, and the run is finished")
        return {}
    values = read_json(run.ledger_file, dict, PrivacyError)
    try:
        return {
            artist: None if entries is None else tuple(entry_from_dict(entry) for entry in entries)
            for artist, entries in values.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PrivacyError(f"{run.ledger_file}: cannot be read: {error}") from None


def _artist(home: str, config: Config | None) -> str:
    """An artist's name from that of its folder, without the seed that drew its pictures."""
    if config is not None and config.gallery.source == "atelier":
        return home.removesuffix(f" {config.gallery.seed}")
    return home


def _composed(cells: Sequence[Ledgers], unit: Unit, delta: float) -> float | None:
    from fedstyle_secure.privacy.statement import Accountant

    together: dict[str, list[Entry]] = {}
    for cell in cells:
        for artist, entries in cell.items():
            together.setdefault(artist, []).extend(entries)
    accountant = Accountant(delta)
    worst = max((accountant.spent(entries, unit) for entries in together.values()), default=0.0)
    return worst if math.isfinite(worst) else None


def _guaranteed(cell: Ledgers, unit: Unit) -> bool:
    known = [costs(entries, unit) for entries in cell.values()]
    return all(events is not None and not any(event.noiseless for event in events) for events in known)
