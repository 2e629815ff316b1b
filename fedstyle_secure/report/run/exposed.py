"""Works and artists that stand out: what the worst attack is surest of, and how its scores lie."""

from __future__ import annotations

from fedstyle_secure.audit.exposed_works import exposed_file, histogram_file
from fedstyle_secure.audit.findings import MEMBERSHIP
from fedstyle_secure.report.page.pieces import Block, Line, Para, Picture, Table
from fedstyle_secure.report.page.words import ORDER, worst
from fedstyle_secure.report.run.answers import margin
from fedstyle_secure.report.run.facts import Facts
from fedstyle_secure.report.run.findings import NO_AUDIT, per_artist

_WORKS, _ARTISTS = 10, 8
"""Rows that the body shows; the annex has all artists, and the audit's folder more works."""


def most_exposed(facts: Facts) -> list[Block]:
    """A histogram of the worst membership attack's scores, the works that it is surest of, the artists."""
    if facts.audit is None:
        return [NO_AUDIT]
    i = telling(facts)
    blocks: list[Block] = []
    if i is not None:
        blocks += [*_histogram(facts, i), *_works(facts, i)]
    return [*blocks, *per_artist(facts, _ARTISTS)]


def telling(facts: Facts) -> int | None:
    """The worst membership finding over all artists whose scores are kept."""
    found = [
        i
        for i, f in enumerate(facts.findings)
        if f.metric == MEMBERSHIP and f.target == "all" and f.curve and f.value is not None
        and exposed_file(f.curve) in facts.exposed
    ]  # fmt: skip
    if not found:
        return None
    return min(found, key=lambda i: (ORDER.index(worst([facts.findings[i]])), -margin(facts.findings[i]), i))


def _histogram(facts: Facts, i: int) -> list[Block]:
    name = histogram_file(facts.findings[i].curve)
    assert facts.audit is not None
    if name not in facts.audit["files"]:
        return []
    caption = facts.say(
        "Scores of “{attack}”: works that were used over works that were held out. Where both heaps lie on "
        "each other, the attack cannot tell which is which; where they part, it can.",
        at=f"findings.json#/{i}",
    )
    alt = "Histogram of the attack's scores, used works over held-out ones; the table below has the figures."
    return [Picture(facts.run.path / "audit" / name, alt, caption)]


def _works(facts: Facts, i: int) -> list[Block]:
    finding = facts.findings[i]
    name = exposed_file(finding.curve)
    at, found = f"{name}#", facts.exposed[name]
    if not found["works"]:
        return []
    chance = "" if finding.verdict == "leaks" else (
        " This attack does not tell used works from held-out ones: which works come first here is chance."
    )  # fmt: skip
    caption: Line = facts.say(
        "The works that “{attack}” is surest of, among {members:whole} that were used. A work is as exposed "
        "as few of the {held:whole} held-out ones score as high.{chance}",
        at=f"findings.json#/{i}",
        members=f"{at}/members",
        held=f"{at}/held_out",
        chance=chance,
    )
    rows = [
        facts.row(
            "{artist} | {work} | {place:whole} | {as_high:whole}",
            at=f"{at}/works/{k}",
            artist=facts.sources.text(f"{at}/works/{k}/artist"),
            work=facts.sources.text(f"{at}/works/{k}/work") if row["work"] else "name kept back",
        )
        for k, row in enumerate(found["works"][:_WORKS])
    ]
    head = facts.row(
        "Artist | Work | Its place among the artist's training works | Held-out works that score as high"
    )
    blocks: list[Block] = [Table("works", caption, head, rows, frozenset({2, 3}))]
    if any(not row["work"] for row in found["works"][:_WORKS]):
        told = "Names of works are kept back with their pictures (show_pictures of the audit)."
        blocks.append(Para([told], "note"))
    return blocks
