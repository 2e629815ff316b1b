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

from fedstyle_secure.errors import PrivacyError
from fedstyle_secure.privacy.ledger import Entry, Ledger, costs
from fedstyle_secure.privacy.units import Unit

NOTE = (
    "Cells are simulations: each has ledgers of its own, and its epsilon is that of one run by itself. "
    "The epsilon of the best of many runs is not the epsilon of one (Liu and Talwar 2019; Papernot and "
    "Steinke 2022)."
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
        damaged: Why no figure can be given, where a ledger cannot be read; "" else.
    """

    delta: float
    cells: int
    epsilon: Mapping[Unit, float | None]
    guaranteed: Mapping[Unit, int]
    epsilon_guaranteed: Mapping[Unit, float | None]
    damaged: str = ""

    def to_dict(self) -> dict[str, Any]:
        """For JSON, with what it means."""
        return {
            "note": NOTE,
            "method": "all releases of all cells, composed for the artist whom they cost most",
            "delta": self.delta,
            "cells": self.cells,
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
    """Compose the ledgers of all studios.

    Args:
        cells: The cells' folders, whether finished or not.
        delta: In (0, 1).
    """
    try:
        ledgers = [found for cell in cells if (found := _ledgers(cell / "studios"))]
    except PrivacyError as error:
        nothing: Mapping[Unit, float | None] = dict.fromkeys(_UNITS)
        return TuningCost(delta, 0, nothing, dict.fromkeys(_UNITS, 0), nothing, str(error))
    everything = {unit: _composed(ledgers, unit, delta) for unit in _UNITS}
    sound = {unit: [cell for cell in ledgers if _guaranteed(cell, unit)] for unit in _UNITS}
    return TuningCost(
        delta,
        len(ledgers),
        everything,
        {unit: len(sound[unit]) for unit in _UNITS},
        {unit: _composed(sound[unit], unit, delta) if sound[unit] else None for unit in _UNITS},
    )


Ledgers = dict[str, tuple[Entry, ...]]
"""Of one cell: releases by the name of an artist's folder, which tells portfolios apart."""


def _ledgers(studios: Path) -> Ledgers:
    found = {path.parent.name: Ledger(path).entries for path in sorted(studios.glob("*/ledger.jsonl"))}
    return {artist: entries for artist, entries in found.items() if entries}


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
