"""One figure in place of many curves: what each attack reached, by guessing, undefended, and at most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fedstyle_secure.audit.findings import Finding
from fedstyle_secure.report.page.pieces import Badge, Block, Line, Mark, Para, Range, Sign, Table
from fedstyle_secure.report.page.say import Speaker, listed
from fedstyle_secure.report.page.words import METRIC_WORDS

_DRAWN = 7
"""Attacks that the figure has; the rest is in the tables."""


def attack_figure(
    facts: Speaker, findings: Sequence[Finding], heads: Sequence[int], explained: Mapping[str, Line]
) -> list[Block]:
    """A row an attack, in the order given; nothing where none has a figure between none and all.

    Args:
        facts: Whose `findings.json` holds the findings.
        findings: In that file's order.
        heads: Places of the findings to be drawn, one an attack.
        explained: What each attack asks, in a sentence; by its name.
    """
    drawn = {i: found for i in heads if (found := attack_range(findings[i])) is not None}
    if not drawn:
        return []
    shown, left = list(drawn)[:_DRAWN], list(drawn)[_DRAWN:]
    marks = [("undefended", any(drawn[i].undefended is not None for i in shown)), ("measured", True)]
    marks += [("baseline", any(drawn[i].baseline is not None for i in shown))]
    marks += [("bound", any(drawn[i].bound is not None for i in shown))]
    told: dict[str, Line] = {
        "undefended": [Mark("undefended"), "with nothing defended"],
        "measured": [Mark("measured"), "measured here, with its margin of chance"],
        "baseline": [Mark("baseline"), "by guessing"],
        "bound": [Mark("bound"), "the most that the guarantee allows"],
    }
    caption: Line = [
        "How often each attack is right, from never at the left end to always at the right end: ",
        *listed((told[name] for name, there in marks if there), ", "),
        ".",
    ]
    head = facts.row("Attack, and what it asks | How far it gets | Verdict")
    rows = [_row(facts, findings[i], i, drawn[i], explained.get(findings[i].attack, [])) for i in shown]
    metrics = dict.fromkeys(findings[i].metric for i in shown)
    counted = listed(([METRIC_WORDS[metric]] for metric in metrics if metric in METRIC_WORDS), "; ")
    note = facts.say("What counts as right: {counted}.", counted=counted)
    if left:
        more = " ".join(f"findings.json#/{i}/attack" for i in left)
        note += facts.say(" More attacks that ran, in the tables: {more:whole count}.", more=more)
    return [Table("figure", caption, head, rows, wide=frozenset({0})), Para(note, "note")]


def attack_range(finding: Finding) -> Range | None:
    """A finding as a large drawing; None where it does not lie between none and all."""
    low, value, high = finding.low, finding.value, finding.high
    if value is None or min(value if low is None else low, value) < 0:
        return None
    if max(value if high is None else high, value) > 1:
        return None
    baseline, bound, undefended = (
        x if x is not None and 0 <= x <= 1 else None
        for x in (finding.baseline, finding.bound, finding.control)
    )
    ends = (value if low is None else low, value, value if high is None else high)
    bad = finding.alarm or finding.verdict == "leaks"
    return Range(*ends, baseline, bound, bad, undefended, large=True)


def _row(facts: Speaker, finding: Finding, i: int, drawn: Range, explained: Line) -> list[Line]:
    sign: Sign = "alarm" if finding.alarm else finding.verdict
    return facts.row(
        "{attack}<\n{explained}> | {drawn}<undefended {control:rate}, >measured {value:rate}<, guessing "
        "{baseline:rate}><, allowed {bound:rate}> | {verdict}",
        at=f"findings.json#/{i}",
        explained=explained,
        drawn=drawn,
        verdict=Badge(sign),
    )
