"""Which attacks leaked in a sweep: by name, in how many runs, and what lay above its bound."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fedstyle_secure.audit.findings import PROVEN, Finding
from fedstyle_secure.report.page.pieces import Badge, Block, Bullets, Line, Para
from fedstyle_secure.report.page.say import listed
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
    found = leaking(facts, audited, view, "artwork").values()
    named = listed(how_often(facts, leaks, audited) for leaks in found)
    return [Badge(worst[0]), " ", *(named or ["no attack leaks"])]


def told(facts: SweepFacts, places: Iterable[int], view: str) -> tuple[object, ...]:
    """What `verdict_line` says, to be compared: the worst verdict, and where each attack leaks."""
    places = tuple(places)
    worst = worst_verdict(facts, places, f"{view}.verdict_artwork")
    found = leaking(facts, places, view, "artwork")
    runs = tuple((attack, tuple(run for run, _ in leaks)) for attack, leaks in found.items())
    return (worst and worst[0], bool(places), runs)


def how_often(facts: SweepFacts, leaks: Sequence[Place], audited: Sequence[int]) -> Line:
    """An attack, and in how many of some runs it found something."""
    return facts.say(
        "{attack:text} ({leaks:whole count} of {audited:whole count} runs)",
        attack=finding_at(facts, leaks[0], "attack"),
        leaks=" ".join(finding_at(facts, place, "verdict") for place in leaks),
        audited=facts.at(audited, "cell"),
    )


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
        told = (
            "Either the defence or the attack has a bug, or it is chance: of the "
            "{report.json#/chance/intervals:whole} intervals of this sweep, chance alone puts up to about "
            "{report.json#/chance/above:short} above the true figure. Audit that run again with more trials; "
            "until then rely on no figure below."
        )
        blocks.append(Para(facts.say(told), "alarm"))
    return blocks


def _above_bound(facts: SweepFacts, run: int, same: Sequence[int]) -> Line:
    own, at = facts.runs[run], finding_at(facts, (run, same[0]))
    keys = [view["key"] for view in (own.audit or {})["views"]]
    views = (keys.index(view) for view in dict.fromkeys(own.findings[i].view for i in same))
    home = f"{facts.rows[run]['folder']}/run/audit/audit.json#/views"
    return facts.say(
        "{alarm} Run {cell:text}, in the view of {views}: {attack}, {whom}: {metric}< of {fpr}> {value:rate} "
        "(at least {low:rate}) lies above {bound:rate}, the most that the guarantee allows.",
        at=at,
        alarm=Badge("alarm"),
        cell=facts.at([run], "cell"),
        views=listed(facts.sources.text(f"{home}/{i}/name") for i in views),
        whom="all artists" if own.findings[same[0]].target == "all" else facts.say("{target}", at=at),
    )


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
    line = facts.say(
        "**What if: **{whose} run lacks something that it has: {defences}. What leaks here says nothing "
        "about the runs as they were.",
        whose=whose,
        defences=listed(facts.sources.text(at) for at in found.values()),
    )
    return [Para(line, "alarm")]


def _lost(facts: SweepFacts) -> list[Block]:
    """Runs that are in no figure, each by name."""
    if not facts.lost:
        return []
    said = facts.say(
        "Runs that are missing from every figure below: {lost:whole count} of {all:whole count}. `fedstyle "
        "sweep --resume` tries them again.",
        lost=facts.at(facts.lost, "cell"),
        all=facts.at(range(len(facts.rows)), "cell"),
    )
    items = [facts.say("{cell:text}, {state:text}<: {error}>.", at=f"results.csv#/{i}") for i in facts.lost]
    return [Para(said, "alarm"), Bullets(items)]
