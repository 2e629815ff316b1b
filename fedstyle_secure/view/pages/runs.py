"""The first page: which runs and sweeps there are, and how each came out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedstyle_secure.audit.findings import read_findings
from fedstyle_secure.errors import FedStyleError
from fedstyle_secure.registry import words_named
from fedstyle_secure.report.page.pieces import Sign
from fedstyle_secure.report.page.words import worst
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.view.reading import read_safely
from fedstyle_secure.view.shelf import Listing, Place, whole


@dataclass(frozen=True)
class Judged:
    """The figure that a run is judged by.

    Attributes:
        name: Of the figure, in words.
        value: A share in [0, 1].
        start: The same before any private training, or None.
    """

    name: str
    value: float
    start: float | None


@dataclass(frozen=True)
class RunRow:
    """One run.

    Attributes:
        place: Which.
        state: In words.
        system: Its system's name, or "".
        figure: What it is judged by, or None.
        epsilon: By unit, for a finished run; None: no guarantee.
        worst: Worst verdict of its audit, or None: no audit.
        problem: Why nothing is told of it, or "".
    """

    place: Place
    state: str = ""
    system: str = ""
    figure: Judged | None = None
    epsilon: Mapping[str, float | None] | None = None
    worst: Sign | None = None
    problem: str = ""


@dataclass(frozen=True)
class RunsPage:
    """The first page.

    Attributes:
        rows: Runs by name.
        sweeps: By name.
        hidden: Entries that are links.
    """

    rows: Sequence[RunRow]
    sweeps: Sequence[Place]
    hidden: int

    @property
    def judged(self) -> str:
        """What all runs are judged by, where that is one thing; "" else."""
        names = {row.figure.name for row in self.rows if row.figure}
        return names.pop() if len(names) == 1 else ""


def runs_page(listing: Listing) -> RunsPage:
    """What a folder's runs say of themselves; one that cannot be read has its problem in its row."""
    return RunsPage([_row(place) for place in listing.runs], listing.sweeps, listing.hidden)


def _row(place: Place) -> RunRow:
    try:
        whole(place.path)
        return read_safely(place.path, lambda: _told(place))
    except FedStyleError as error:
        return RunRow(place, problem=str(error))


def _told(place: Place) -> RunRow:
    run = place.run
    if not run.finished:
        return RunRow(place, run.state, run.config().run.system)
    summary = run.summary()
    return RunRow(place, run.state, summary["system"], judged(summary), epsilons(summary), worst_of(run))


def judged(summary: Mapping[str, Any]) -> Judged | None:
    """What a finished run is judged by; None where it has none of its system's headlines."""
    utility, words = summary["utility"], words_named(summary["system"])
    headline = words.headline(utility)
    if headline is None:
        return None
    start = utility.get(headline.start)
    value = _finite(utility[headline.key])
    return Judged(headline.label, value, None if start is None else _finite(start))


def epsilons(summary: Mapping[str, Any]) -> dict[str, float | None]:
    """The largest epsilon of an artist, by unit; None: no guarantee."""
    found = {unit: summary["privacy"][f"epsilon_{unit}_max"] for unit in ("artwork", "artist")}
    return {unit: None if epsilon is None else _finite(epsilon) for unit, epsilon in found.items()}


def _finite(value: Any) -> float:
    """A number. Raises ValueError, TypeError or OverflowError, so that one bad run is one bad row."""
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value!r} is no finite number")
    return number


def worst_of(run: RunFolder) -> Sign | None:
    """The worst verdict of a run's audit; None where there is none."""
    if not (run.audit_folder / "audit.json").is_file():
        return None
    return worst(read_findings(run.audit_folder / "findings.json"))
