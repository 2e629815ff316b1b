"""Where the attacks come from: the paper of each that ran, and what of it."""

from __future__ import annotations

from fedstyle_secure.report.page.papers import paper_line
from fedstyle_secure.report.page.pieces import Block, Break, Line, Para, Ref, Table
from fedstyle_secure.report.page.say import listed
from fedstyle_secure.report.run.facts import Facts
from fedstyle_secure.report.run.findings import NO_AUDIT


def bibliography(facts: Facts) -> list[Block]:
    """A row for each attack that ran."""
    if facts.audit is None:
        return [NO_AUDIT]
    ran = {f.attack for f in facts.findings if f.value is not None}
    rows = [
        [[facts.sources.text(f"audit.json#/attacks/{j}/name")], _papers(facts, j)]
        for j, attack in enumerate(facts.audit["attacks"])
        if attack["name"] in ran
    ]
    if not rows:
        return [Para(["No attack ran."], "note")]
    caption: Line = ["The papers that the attacks follow, with the place in them, where there is one."]
    told = facts.say(
        "“Guarantee allows” follows {balle} and {hayes}, with the exact trade-off curve of the ledger's "
        "releases in place of its estimate.",
        balle=Ref("Balle, Cherubin and Hayes 2022 (arXiv 2201.04845)", "name"),
        hayes=Ref("Hayes, Mahloujifar and Balle 2023 (arXiv 2302.07225, theorem 2)", "name"),
    )
    return [
        Table("papers", caption, [["Attack"], ["Paper, and what of it"]], rows, wide=frozenset({1})),
        Para(told),
    ]


def _papers(facts: Facts, j: int) -> Line:
    assert facts.audit is not None
    cites = facts.audit["attacks"][j].get("cites", ())
    if not cites:
        return ["no paper: made for this audit"]
    return listed((paper_line(cited) for cited in cites), Break())
