"""Who holds what, and which classes of attack were tried on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from fedstyle_secure.audit.findings import Category
from fedstyle_secure.report.page.pieces import Badge, Block, Break, Bullets, Line, Para, Ref, Table
from fedstyle_secure.report.page.say import listed
from fedstyle_secure.report.page.words import CATEGORIES, worst
from fedstyle_secure.report.run.facts import Facts
from fedstyle_secure.report.run.findings import NO_AUDIT


def model(facts: Facts) -> list[Block]:
    """The adversary views: who each is, what it holds and what it lacks, derived from the settings."""
    if facts.audit is None:
        return [NO_AUDIT, *_shared(facts)]
    alike: dict[str, list[int]] = {}
    for i, view in facts.views:
        alike.setdefault(repr((view["holds"], view["lacks"])), []).append(i)
    rows = [
        facts.row(
            "{names} | {whos} | {held} | {lacking}",
            names=listed((facts.sources.text(f"audit.json#/views/{i}/name") for i in places), Break()),
            whos=listed((facts.sources.text(f"audit.json#/views/{i}/who") for i in places), Break()),
            held=_sentences(facts, f"audit.json#/views/{places[0]}/holds", view["holds"]),
            lacking=_sentences(facts, f"audit.json#/views/{places[0]}/lacks", view["lacks"]),
        )
        for places in alike.values()
        for view in [facts.views[places[0]][1]]
    ]
    caption: Line = [
        "Who holds what under this run's settings; those who hold the same share a row. Derived from the "
        "configuration; what an audit assumes to be missing is named beside its preset."
    ]
    head = facts.row("View | Who | Holds | Does not hold")
    return [Table("trust", caption, head, rows, wide=frozenset({1, 2, 3})), *_shared(facts)]


def _shared(facts: Facts) -> list[Block]:
    """Against whom the noise of sums holds where artists share it."""
    if not facts.shares:
        return []
    # Where the unit is the artist, the numbers lie beside and in the noise; else together.
    by_artist = facts.config.privacy.unit == "artist"
    lines: list[Line] = [
        facts.say(
            "Artists add shares of one noise to a sum that is seen opened only, and epsilon counts on the "
            "noise of {honest:whole} of them: of the smallest cohort, {cohort:whole}, less the "
            "{config.toml#/privacy/colluders:whole} whose noise others may know. It holds against everybody "
            "who sees nothing of a sum but its opening, helped by as many artists as that.",
            honest=f"{facts.shares}/{'noise' if by_artist else 'shared'}/honest",
            cohort=f"{facts.shares}/cohort" if by_artist else f"{facts.shares}/shared/cohort",
        ),
        [
            "It does not hold against platform and opener together: they can feign that an artist dropped "
            "out, and take one opening from the other. A share by itself has too little noise for any "
            "guarantee."
        ],
    ]
    if not by_artist:
        told = (
            "What artists publish under their own names has noise of its own, which holds against everybody."
        )
        lines.append([told])
    return [Bullets(lines)]


def _sentences(facts: Facts, at: str, told: Sequence[str]) -> Line:
    """Each sentence once: several things may be held or lacked for one reason."""
    places = [i for i, sentence in enumerate(told) if sentence not in told[:i]]
    lines = (facts.say("· {sentence:text}", sentence=f"{at}/{i}") for i in places)
    return listed(lines, Break()) or ["nothing"]


def coverage(facts: Facts) -> list[Block]:
    """The six attack classes of the EDPB, what was executed of each and what was not."""
    caption = facts.say(
        "The classes of attack that {opinion}, names, as far as they were tried.",
        opinion=Ref("EDPB Opinion 28/2024, paragraph 55"),
    )
    head = facts.row(
        "Class | In plain words | Worst verdict | Run, in some view at least | Not run in any view, and why"
    )
    rows = [_class(facts, category) for category in get_args(Category)]
    told = "Passing known attacks is evidence against those attacks only."
    return [Table("coverage", caption, head, rows, wide=frozenset({1, 3, 4})), Para([told], "note")]


def _class(facts: Facts, category: Category) -> list[Line]:
    """A row of one class of attack: what was run of it, and what was not."""
    ours = [i for i, finding in enumerate(facts.findings) if finding.category == category]
    ran = {facts.findings[i].attack: i for i in reversed(ours) if facts.findings[i].verdict != "not run"}
    missing = {
        (facts.findings[i].attack, facts.findings[i].reason): i
        for i in reversed(ours)
        if facts.findings[i].attack not in ran
    }
    tried = [facts.sources.text(f"findings.json#/{i}/attack") for i in sorted(ran.values())]
    left = [facts.say("{attack}: {reason}", at=f"findings.json#/{i}") for i in sorted(missing.values())]
    none = "no attack of this class is in the audit" if facts.audit else "no audit was run"
    return facts.row(
        "{name} | {words} | {verdict} | {tried} | {left}",
        name=category,
        words=CATEGORIES[category],
        verdict=Badge(worst(facts.findings[i] for i in ours)),
        tried=listed(tried, Break()) or "not run",
        left=listed(left, Break()) or ("nothing" if tried else none),
    )


def classes(facts: Facts) -> list[dict[str, str | list[int]]]:
    """The coverage for machines: each class, its worst verdict, and the places of its findings."""
    rows: list[dict[str, str | list[int]]] = []
    for category in get_args(Category):
        ours = [i for i, finding in enumerate(facts.findings) if finding.category == category]
        rows.append({"class": category, "verdict": worst(facts.findings[i] for i in ours), "findings": ours})
    return rows
