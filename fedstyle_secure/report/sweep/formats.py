"""A sweep's report for machines: JSON with sources, and the combinations as CSV."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedstyle_secure.report.page.output import csv_text
from fedstyle_secure.report.page.pdf import to_data
from fedstyle_secure.report.page.pieces import Answers, Document, Figure, Piece, plain
from fedstyle_secure.report.sweep.facts import SweepFacts
from fedstyle_secure.report.sweep.points import figures, value_of


def values(facts: SweepFacts, page: Document, digest: str) -> dict[str, Any]:
    """The answers, the combinations with the source of every figure, and the whole page with its sources."""
    return {
        "format": 1,
        "date": page.date,
        "self_hash": digest,
        **facts.own,
        "answers": [
            {"question": question, "words": plain(line)}
            for section in page.sections
            for block in section.blocks
            if isinstance(block, Answers)
            for question, _, line in block.rows
        ],
        "missing": [{key: facts.rows[i][key] for key in ("cell", "state", "error")} for i in facts.lost],
        "alarms": {facts.rows[i]["cell"]: run.alarms for i, run in facts.runs.items() if run.alarms},
        "points": [
            {"cells": [facts.rows[i]["cell"] for i in one.places]}
            | {name: _cited(facts, piece) for name, piece in figures(facts, one).items()}
            for one in facts.combinations
        ],
        "page": [to_data(section) for section in page.sections],
    }


def _cited(facts: SweepFacts, piece: Piece | None) -> Mapping[str, Any] | None:
    if not isinstance(piece, Figure):
        return None
    return {"value": value_of(facts, piece), "source": piece.source, "rule": piece.rule}


def points_csv(facts: SweepFacts) -> str:
    """A row a combination: mean, smallest and largest over its seeds, and the worst measurement of each kind.

    Columns are those of `results.csv` with the rule that made one value of several behind a dot. An empty
    cell is a figure that there is not.
    """
    rows = [
        {name: value_of(facts, piece) for name, piece in figures(facts, one).items()}
        for one in facts.combinations
    ]
    return csv_text(list(rows[0]), rows)
