"""From a ledger to figures: what each release cost, what all cost together, what is left."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fedstyle_secure.privacy.accounting import epsilon, grid_epsilon, merge, rdp_epsilon
from fedstyle_secure.privacy.events import Event
from fedstyle_secure.privacy.ledger import Entry, costs
from fedstyle_secure.privacy.units import Unit


@dataclass(frozen=True)
class Line:
    """Equal releases in a row, with their cost.

    Attributes:
        entries: The releases: same run, kind, mechanism and parameters.
        rdp: Epsilon of these alone by RDP; infinite: no guarantee.
        grid: Epsilon of these alone by PRV, or PLD; infinite where neither accountant knows the mechanism.
        total: Epsilon of everything up to here.
    """

    entries: tuple[Entry, ...]
    rdp: float
    grid: float
    total: float


class Accountant:
    """Epsilon of histories at one delta, each distinct history worked out once.

    Artists of a run mostly have the same history, so that a thousand of them cost as much as one.

    Example:
        >>> Accountant(delta=1e-5).spent([], "artwork")
        0.0
    """

    def __init__(self, delta: float) -> None:
        """Args: delta: In (0, 1)."""
        self.delta = delta
        self._known: dict[tuple[str, tuple[Event, ...]], float] = {}

    def spent(self, entries: Sequence[Entry], unit: Unit) -> float:
        """Epsilon of releases together; infinite where one gives the unit no guarantee."""
        return self._figure("total", epsilon, entries, unit)

    def lines(self, entries: Sequence[Entry], unit: Unit, *, each: bool) -> Iterator[Line]:
        """The releases in order.

        Args:
            entries: A ledger's releases.
            unit: Of privacy.
            each: A line a release; else a line for equal ones in a row.
        """
        done = 0
        groups = (
            ([entry] for entry in entries)
            if each
            else (list(group) for _, group in itertools.groupby(entries, key=_alike))
        )
        for group in groups:
            done += len(group)
            yield Line(
                entries=tuple(group),
                rdp=self._figure("rdp", rdp_epsilon, group, unit),
                grid=self._figure("grid", grid_epsilon, group, unit),
                total=self.spent(entries[:done], unit),
            )

    def _figure(
        self,
        name: str,
        compute: Callable[[Sequence[Event], float], float],
        entries: Sequence[Entry],
        unit: Unit,
    ) -> float:
        events = costs(entries, unit)
        if events is None:
            return math.inf
        key = (name, merge(events))
        if key not in self._known:
            self._known[key] = compute(events, self.delta)
        return self._known[key]


def unguarded(entries: Sequence[Entry], unit: Unit) -> str:
    """Why releases together give a unit no guarantee, as a sentence's end; "" where they give it one.

    Args:
        entries: A ledger's releases.
        unit: Of privacy.

    Example:
        >>> unguarded([], "artist")
        ''
    """
    bare = [entry for entry in entries if not _covers(entry, unit)]
    if not bare:
        return ""
    other: Unit = "artist" if unit == "artwork" else "artwork"
    meant = all(_covers(entry, other) for entry in bare)
    why = f"were made for the unit {other}" if meant else "have no noise that covers it"
    runs = ", ".join(dict.fromkeys(entry.run[:8] for entry in bare))
    kinds = ", ".join(dict.fromkeys(entry.kind for entry in bare))
    return f"{len(bare)} of {len(entries)} releases ({kinds}; of run {runs}) {why}"


def _covers(entry: Entry, unit: Unit) -> bool:
    cost = entry.cost(unit)
    return cost is not None and not cost.noiseless


def _alike(entry: Entry) -> tuple[Any, ...]:
    return (entry.run, entry.kind, entry.mechanism, repr(sorted(entry.parameters.items())))
