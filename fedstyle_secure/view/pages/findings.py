"""A run's findings, some or all of them, and one with its curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fedstyle_secure.audit.curves import CurveFile, curve_file
from fedstyle_secure.audit.findings import LEVELS, Finding
from fedstyle_secure.report.page.pieces import Range, Sign
from fedstyle_secure.report.page.words import ORDER, worst
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.view.pages.curve import CurvePlot, plotted
from fedstyle_secure.view.pages.run import Audited

MOST_ROWS = 200
"""Rows of a table on one page; filters show the others."""


@dataclass(frozen=True)
class Filter:
    """Which findings are asked for; "" is all.

    Attributes:
        view: Key of a view.
        verdict: A verdict, or `alarm`.
        attack: Name of an attack.
        target: `over all` artists together, or `single` ones.
    """

    view: str = ""
    verdict: str = ""
    attack: str = ""
    target: str = ""

    def takes(self, finding: Finding) -> bool:
        """Whether a finding is asked for."""
        return (
            self.view in ("", finding.view)
            and self.verdict in ("", worst([finding]))
            and self.attack in ("", finding.attack)
            and self.target in ("", "over all" if finding.target == "all" else "single")
        )


@dataclass(frozen=True)
class FindingRow:
    """A finding in a table.

    Attributes:
        place: In `findings.json`, from 0.
        finding: As it is.
        view: The view's name.
        sign: Its verdict, or an alarm.
        scale: Drawn, where it lies between none and all.
    """

    place: int
    finding: Finding
    view: str
    sign: Sign
    scale: Range | None


@dataclass(frozen=True)
class FindingsPage:
    """Findings that a filter takes.

    Attributes:
        asked: The filter.
        views: Names by key, for the filter.
        verdicts: For the filter, the worst first.
        attacks: Names, for the filter.
        rows: The worst verdicts first, and `MOST_ROWS` at most.
        found: How many the filter takes.
        of: How many there are.
    """

    asked: Filter
    views: Mapping[str, str]
    verdicts: Sequence[Sign]
    attacks: Sequence[str]
    rows: Sequence[FindingRow]
    found: int
    of: int


@dataclass(frozen=True)
class FindingPage:
    """One finding.

    Attributes:
        row: The finding.
        explains: What the attack does, in a sentence, or "".
        level: What it would leak, in words.
        plot: Its curve, or None where the audit kept no figures of one.
        picture: Name of its drawn curve, or "".
        before, after: Places of the findings next to it, or None.
    """

    row: FindingRow
    explains: str
    level: str
    plot: CurvePlot | None
    picture: str
    before: int | None
    after: int | None


def findings_page(audited: Audited, asked: Filter) -> FindingsPage:
    """The findings that a filter takes, and what else could be asked."""
    taken = [i for i, finding in enumerate(audited.findings) if asked.takes(finding)]
    taken.sort(key=lambda i: ORDER.index(worst([audited.findings[i]])))
    there = {worst([finding]) for finding in audited.findings}
    return FindingsPage(
        asked=asked,
        views=audited.views,
        verdicts=[sign for sign in ORDER if sign in there],
        attacks=list(dict.fromkeys(finding.attack for finding in audited.findings)),
        rows=[_row(audited, i) for i in taken[:MOST_ROWS]],
        found=len(taken),
        of=len(audited.findings),
    )


def finding_page(run: RunFolder, audited: Audited, place: int, at: int | None) -> FindingPage:
    """One finding, its curve read at a corner.

    Args:
        run: Whose.
        audited: Its audit.
        place: Of the finding, within the list.
        at: Corner of the curve; None: at a false-positive rate of its own, or a twentieth. One that the curve
            does not have is the nearest that it has.

    Raises:
        AuditError: The figures of its curve are damaged.
    """
    finding, vouched = audited.findings[place], audited.about["files"]
    explains = [a["explains"] for a in audited.about["attacks"] if a["name"] == finding.attack]
    plot = None
    if finding.curve and finding.target == "all" and curve_file(finding.curve) in vouched:
        file = CurveFile.read(run.audit_folder / curve_file(finding.curve))
        rate = 0.05 if finding.fpr is None else finding.fpr
        plot = plotted(file, file.run.best_at(rate) if at is None else at)
    return FindingPage(
        row=_row(audited, place),
        explains=explains[0] if explains else "",
        level=LEVELS[finding.level],
        plot=plot,
        picture=finding.curve if finding.curve in vouched else "",
        before=place - 1 if place else None,
        after=place + 1 if place + 1 < len(audited.findings) else None,
    )


def _row(audited: Audited, place: int) -> FindingRow:
    finding = audited.findings[place]
    name = audited.views.get(finding.view, finding.view)
    return FindingRow(place, finding, name, worst([finding]), Range.of(finding))
