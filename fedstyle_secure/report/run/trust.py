"""Who holds what, and which classes of attack were tried on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from fedstyle_secure.audit.findings import Category
from fedstyle_secure.report.page.pieces import Badge, Block, Break, Line, Para, Piece, Ref, Table
from fedstyle_secure.report.page.words import CATEGORIES
from fedstyle_secure.report.run.answers import worst
from fedstyle_secure.report.run.facts import Facts
from fedstyle_secure.report.run.findings import NO_AUDIT


def model(facts: Facts) -> list[Block]:
    """The adversary views: who each is, what it holds and what it lacks, derived from the settings."""
    if facts.audit is None:
        return [NO_AUDIT]
    rows: list[list[Line]] = []
    for i, view in facts.views:
        at = f"audit.json#/views/{i}"
        rows.append(
            [
                [facts.sources.text(f"{at}/name")],
                [facts.sources.text(f"{at}/who")],
                _sentences(facts, f"{at}/holds", view["holds"]),
                _sentences(facts, f"{at}/lacks", view["lacks"]),
            ]
        )
    caption: Line = [
        "Who holds what under this run's settings. Derived from the configuration; what an audit assumes "
        "to be missing is named beside its preset."
    ]
    head: list[Line] = [["View"], ["Who"], ["Holds"], ["Does not hold"]]
    return [Table("trust", caption, head, rows, wide=frozenset({1, 2, 3}))]


def _sentences(facts: Facts, at: str, told: Sequence[str]) -> Line:
    """Each sentence once: several things may be held or lacked for one reason."""
    line: list[Piece] = []
    for i in [i for i, sentence in enumerate(told) if sentence not in told[:i]]:
        line += [Break()] * bool(line) + ["· ", facts.sources.text(f"{at}/{i}")]
    return line or ["nothing"]


def coverage(facts: Facts) -> list[Block]:
    """The six attack classes of the EDPB, what was executed of each and what was not."""
    rows: list[list[Line]] = []
    for category in get_args(Category):
        ours = [i for i, finding in enumerate(facts.findings) if finding.category == category]
        ran = {facts.findings[i].attack: i for i in reversed(ours) if facts.findings[i].verdict != "not run"}
        missing = {
            (facts.findings[i].attack, facts.findings[i].reason): i
            for i in reversed(ours)
            if facts.findings[i].attack not in ran
        }
        tried: list[Piece] = []
        for i in sorted(ran.values()):
            tried += [Break()] * bool(tried) + [facts.sources.text(f"findings.json#/{i}/attack")]
        left: list[Piece] = []
        for i in sorted(missing.values()):
            left += [Break()] * bool(left) + [facts.sources.text(f"findings.json#/{i}/attack"), ": "]
            left += [facts.sources.text(f"findings.json#/{i}/reason")]
        verdict = worst(facts.findings[i] for i in ours)
        none = "no attack of this class is in the audit" if facts.audit else "no audit was run"
        rows.append(
            [
                [category],
                [CATEGORIES[category]],
                [Badge(verdict)],
                tried or ["not run"],
                left or (["nothing"] if tried else [none]),
            ]
        )
    head: list[Line] = [
        ["Class"],
        ["In plain words"],
        ["Worst verdict"],
        ["Run, in some view at least"],
        ["Not run in any view, and why"],
    ]
    caption: Line = [
        "The classes of attack that ",
        Ref("EDPB Opinion 28/2024, paragraph 55"),
        ", names, as far as they were tried.",
    ]
    told = "Passing known attacks is evidence against those attacks only."
    return [Table("coverage", caption, head, rows, wide=frozenset({1, 3, 4})), Para([told], "note")]


def classes(facts: Facts) -> list[dict[str, str | list[int]]]:
    """The coverage for machines: each class, its worst verdict, and the places of its findings."""
    rows: list[dict[str, str | list[int]]] = []
    for category in get_args(Category):
        ours = [i for i, finding in enumerate(facts.findings) if finding.category == category]
        rows.append({"class": category, "verdict": worst(facts.findings[i] for i in ours), "findings": ours})
    return rows
