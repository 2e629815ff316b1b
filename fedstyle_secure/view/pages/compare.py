"""Two runs side by side: what they were set to, how they came out, and what attacks found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from fedstyle_secure.audit.findings import Finding
from fedstyle_secure.registry import words_named
from fedstyle_secure.report.page.pieces import Sign
from fedstyle_secure.report.page.words import worst
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.view.pages.run import Audited, audit_of
from fedstyle_secure.view.pages.runs import epsilons


@dataclass(frozen=True)
class Pair:
    """A thing and what each of two runs says of it; None: it does not say.

    Attributes:
        told: What it is.
        values: The first run's and the second's.
    """

    told: str
    values: tuple[Any, Any]


@dataclass(frozen=True)
class Attacked:
    """An attack in two runs, in the views in which it found the same.

    Attributes:
        views: Their names.
        attack: Its name.
        quantity: What was measured.
        findings: Each run's, or None.
        signs: Their verdicts, or None.
        places: Each finding's place in its run's list, or None.
    """

    views: Sequence[str]
    attack: str
    quantity: str
    findings: tuple[Finding | None, Finding | None]
    signs: tuple[Sign | None, Sign | None]
    places: tuple[int | None, int | None]

    @property
    def differs(self) -> bool:
        """Whether both audits looked, and the verdicts are not the same."""
        return None not in self.signs and self.signs[0] != self.signs[1]


@dataclass(frozen=True)
class ComparePage:
    """Two runs.

    Attributes:
        settings: Those that differ.
        alike: How many settings do not differ.
        figures: Of utility, that either has.
        epsilon: By unit; None where a run is not finished.
        attacks: Over all artists, what either audit measured; the ones whose verdicts differ first.
        audited: Whether each has an audit.
    """

    settings: Sequence[Pair]
    alike: int
    figures: Sequence[Pair]
    epsilon: Sequence[Pair]
    attacks: Sequence[Attacked]
    audited: tuple[bool, bool]


def compare_page(one: RunFolder, other: RunFolder) -> ComparePage:
    """Two runs, finished or not, of whatever systems."""
    flats = (one.config().to_flat(), other.config().to_flat())
    keys = list(dict.fromkeys([*flats[0], *flats[1]]))
    pairs = [Pair(key, (flats[0].get(key), flats[1].get(key))) for key in keys]
    differ = [pair for pair in pairs if pair.values[0] != pair.values[1]]
    summaries = tuple(run.summary() if run.finished else None for run in (one, other))
    figures: dict[str, list[Any]] = {}
    for side, summary in enumerate(summaries):
        for figure in words_named(summary["system"]).figures if summary else ():
            value = summary["utility"].get(figure.key) if summary else None
            if value is not None:
                figures.setdefault(figure.told, [None, None])[side] = value
    stated = tuple(epsilons(summary) if summary else None for summary in summaries)
    audits = (audit_of(one), audit_of(other))
    return ComparePage(
        settings=differ,
        alike=len(pairs) - len(differ),
        figures=[Pair(told, (a, b)) for told, (a, b) in figures.items()],
        epsilon=[
            Pair(f"per {unit}", (_stated(stated[0], unit), _stated(stated[1], unit)))
            for unit in ("artwork", "artist")
        ],
        attacks=_attacks(*audits),
        audited=(audits[0] is not None, audits[1] is not None),
    )


def _stated(epsilon: dict[str, float | None] | None, unit: str) -> tuple[bool, float | None]:
    """Whether a run states anything, and its epsilon; None: no guarantee."""
    return (False, None) if epsilon is None else (True, epsilon[unit])


def _attacks(one: Audited | None, other: Audited | None) -> list[Attacked]:
    sides = [_over_all(one), _over_all(other)]
    names = {**(one.views if one else {}), **(other.views if other else {})}
    found: dict[str, Attacked] = {}
    for key in dict.fromkeys([*sides[0], *sides[1]]):
        entries = [side.get(key) for side in sides]
        pair = (entries[0][1] if entries[0] else None, entries[1][1] if entries[1] else None)
        if all(finding is None or finding.value is None for finding in pair):
            continue
        view, attack, quantity = key
        # What several views hold is measured once, and stands in a row of each.
        same = repr((attack, quantity, *(finding and (finding.value, finding.reason) for finding in pair)))
        views = [*(found[same].views if same in found else ()), names.get(view, view)]
        places = (entries[0] and entries[0][0], entries[1] and entries[1][0])
        first = found.get(
            same, Attacked((), attack, quantity, pair, (_sign(pair[0]), _sign(pair[1])), places)
        )
        found[same] = replace(first, views=views)
    return sorted(found.values(), key=lambda row: not row.differs)


def _over_all(audited: Audited | None) -> dict[tuple[str, str, str], tuple[int, Finding]]:
    """An audit's findings over all artists, with their places."""
    findings = audited.findings if audited else ()
    return {
        (finding.view, finding.attack, finding.quantity): (i, finding)
        for i, finding in enumerate(findings)
        if finding.target == "all"
    }


def _sign(finding: Finding | None) -> Sign | None:
    return None if finding is None else worst([finding])
