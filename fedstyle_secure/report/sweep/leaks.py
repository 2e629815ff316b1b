"""Which attacks leaked in a sweep: by name, in how many runs, and what lay above its bound."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fedstyle_secure.audit.findings import PROVEN, Finding
from fedstyle_secure.report.page.pieces import Badge, Block, Bullets, Line, Para, Piece, Strong
from fedstyle_secure.report.run.answers import metric
from fedstyle_secure.report.sweep.facts import SweepFacts
from fedstyle_secure.report.sweep.points import worst_verdict

Place = tuple[int, int]
"""Of a finding: its run's place in the table, and its place among the run's findings."""


def finding_at(facts: SweepFacts, place: Place, *key: str) -> str:
    """The source of a finding, or of something that it says."""
    run, i = place
    return "/".join((f"{facts.rows[run]['folder']}/run/audit/findings.json#", str(i), *key))


def leaking(facts: SweepFacts, places: Iterable[int], view: str, unit: str) -> dict[str, list[Place]]:
    """Attacks on a unit that leak in some runs, each with its first such finding in every one of them.

    What planted records prove is left out: they are the worst case, and nobody's artworks.

    Args:
        facts: A checked sweep.
        places: Rows of finished runs.
        view: A view's key; "worst" for any.
        unit: What an attack is after.
    """
    found: dict[str, list[Place]] = {}
    for run in places:
        seen: set[str] = set()
        for i, finding in enumerate(facts.runs[run].findings):
            ours = view in ("worst", finding.view) and finding.unit == unit and finding.metric != PROVEN
            if ours and finding.verdict == "leaks" and finding.attack not in seen:
                seen.add(finding.attack)
                found.setdefault(finding.attack, []).append((run, i))
    return dict(sorted(found.items(), key=lambda item: -len(item[1])))


def verdict_line(facts: SweepFacts, places: Sequence[int], view: str) -> Line:
    """The worst verdict on single artworks over some runs, and the attacks that leak, each with how often."""
    audited = facts.known(places, f"{view}.verdict_artwork")
    worst = worst_verdict(facts, audited, f"{view}.verdict_artwork")
    if worst is None:
        return ["not audited"]
    found = leaking(facts, audited, view, "artwork")
    line: list[Piece] = [Badge(worst[0]), " "]
    for number, leaks in enumerate(found.values()):
        line += [", "] * bool(number) + [facts.sources.text(finding_at(facts, leaks[0], "attack"))]
        line += [" (", *of_runs(facts, leaks, audited), ")"]
    return line if found else [*line, "no attack leaks"]


def told(facts: SweepFacts, places: Iterable[int], view: str) -> tuple[object, ...]:
    """What `verdict_line` says, to be compared: the worst verdict, and where each attack leaks."""
    places = tuple(places)
    worst = worst_verdict(facts, places, f"{view}.verdict_artwork")
    found = leaking(facts, places, view, "artwork")
    runs = tuple((attack, tuple(run for run, _ in leaks)) for attack, leaks in found.items())
    return (worst and worst[0], bool(places), runs)


def of_runs(facts: SweepFacts, leaks: Sequence[Place], audited: Sequence[int]) -> Line:
    """In how many of some runs something was found."""
    count = " ".join(finding_at(facts, place, "verdict") for place in leaks)
    return [
        facts.sources.figure(count, "whole", "count"),
        " of ",
        facts.sources.figure(facts.at(audited, "cell"), "whole", "count"),
        " runs",
    ]


def alarms(facts: SweepFacts) -> list[Block]:
    """What must be seen first: what lies above its bound, what was assumed, what is missing."""
    return [*_above_bounds(facts), *_assumed(facts), *_lost(facts)]


def _above_bounds(facts: SweepFacts) -> list[Block]:
    blocks: list[Block] = []
    for run, own in facts.runs.items():
        groups: dict[tuple[object, ...], list[int]] = {}
        for i in own.alarms:
            f: Finding = own.findings[i]
            groups.setdefault((f.attack, f.quantity, f.target, f.value, f.low), []).append(i)
        blocks += [Para(_above_bound(facts, run, same), "alarm") for same in groups.values()]
    if blocks:
        chance = facts.sources.figure("report.json#/chance/above", "short")
        intervals = facts.sources.figure("report.json#/chance/intervals", "whole")
        told: Line = [
            "Either the defence or the attack has a bug, or it is chance: of the ", intervals,
            " intervals of this sweep, chance alone puts up to about ", chance, " above the true figure. "
            "Audit that run again with more trials; until then rely on no figure below.",
        ]  # fmt: skip
        blocks.append(Para(told, "alarm"))
    return blocks


def _above_bound(facts: SweepFacts, run: int, same: Sequence[int]) -> Line:
    sources, own = facts.sources, facts.runs[run]
    first = (run, same[0])
    keys = [view["key"] for view in (own.audit or {})["views"]]
    names: list[Piece] = []
    for view in dict.fromkeys(own.findings[i].view for i in same):
        at = f"{facts.rows[run]['folder']}/run/audit/audit.json#/views/{keys.index(view)}/name"
        names += [", "] * bool(names) + [sources.text(at)]
    whom = finding_at(facts, first, "target")
    return [
        Badge("alarm"), " Run ", sources.text(facts.at([run], "cell")), ", in the view of ", *names, ": ",
        sources.text(finding_at(facts, first, "attack")), ", ",
        "all artists" if own.findings[same[0]].target == "all" else sources.text(whom), ": ",
        *metric(sources, finding_at(facts, first)), " ",
        sources.figure(finding_at(facts, first, "value"), "rate"), " (at least ",
        sources.figure(finding_at(facts, first, "low"), "rate"), ") lies above ",
        sources.figure(finding_at(facts, first, "bound"), "rate"), ", the most that the guarantee allows.",
    ]  # fmt: skip


def _assumed(facts: SweepFacts) -> list[Block]:
    """Audits that assume a defence to be missing."""
    found: dict[str, str] = {}
    bare = False
    for place, run in facts.runs.items():
        missing = (run.audit or {"settings": {"without": []}})["settings"]["without"]
        bare |= not missing
        for i, defence in enumerate(missing):
            at = f"{facts.rows[place]['folder']}/run/audit/audit.json#/settings/without/{i}"
            found.setdefault(defence, at)
    if not found:
        return []
    whose = "some audits here assume that their" if bare else "every audit here assumes that its"
    line: list[Piece] = [Strong("What if: "), f"{whose} run lacks something that it has: "]
    for number, at in enumerate(found.values()):
        line += [", "] * bool(number) + [facts.sources.text(at)]
    return [Para([*line, ". What leaks here says nothing about the runs as they were."], "alarm")]


def _lost(facts: SweepFacts) -> list[Block]:
    """Runs that are in no figure, each by name."""
    if not facts.lost:
        return []
    sources = facts.sources
    said: Line = [
        "Runs that are missing from every figure below: ",
        sources.figure(facts.at(facts.lost, "cell"), "whole", "count"), " of ",
        sources.figure(facts.at(range(len(facts.rows)), "cell"), "whole", "count"),
        ". `fedstyle sweep --resume` tries them again.",
    ]  # fmt: skip
    items: list[Line] = []
    for i in facts.lost:
        why: Line = [": ", sources.text(facts.at([i], "error"))] if facts.rows[i]["error"] else []
        items.append(
            [sources.text(facts.at([i], "cell")), ", ", sources.text(facts.at([i], "state")), *why, "."]
        )
    return [Para(said, "alarm"), Bullets(items)]
