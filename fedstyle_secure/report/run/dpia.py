"""What a run contributes to a data protection impact assessment, under the headings of the EDPB's template.

Template 1.0 for consultation, adopted 10 March 2026, published 14 April 2026. Its numbering may change, so
headings carry none. What a person has to decide is left blank.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fedstyle_secure.report.page.pdf import to_data
from fedstyle_secure.report.page.pieces import (
    Answers,
    Blank,
    Block,
    Bullets,
    Definitions,
    Document,
    Entry,
    Line,
    Para,
    Picture,
    Ref,
    Section,
    Table,
    plain,
)
from fedstyle_secure.report.run import answers, checklist, closing, costs, findings, trust
from fedstyle_secure.report.run.facts import Facts


def dpia(facts: Facts, date: str) -> Document:
    """The assessment's headings with what the run knows, and blanks for the rest."""
    return Document(
        title="Contribution to a data protection impact assessment",
        subtitle=["Run ", Ref(facts.name, "name")],
        date=date,
        alarms=findings.alarms(facts),
        sections=[
            Section(key, title, blocks) for key, title, blocks in [*_processing(facts), *_risks(facts)]
        ],
    )


Part = tuple[str, str, list[Block]]
"""A section's key, its heading, and what stands below it."""


def _processing(facts: Facts) -> list[Part]:
    """What is done, with what and on which grounds."""
    entry = {one.number: one for _, group in checklist.entries(facts) for one in group}

    def of(*numbers: int) -> list[Block]:
        return [block for number in numbers for block in entry[number].blocks]

    who = _blanks(
        "Controllers",
        "Processors and sub-processors",
        "Name of the processing",
        "Planning",
        "Reasons for this assessment",
    )
    purposes = _blanks("Purposes", "Secondary uses", "Storage, sharing, deletion")
    grounds = _blanks("Legal basis of each purpose", "Information to artists")
    lawful = "Lawfulness, rights, protection by design and by default, security"
    need = _blanks("Why less intrusive means do not reach the purpose")
    return [
        ("overview", "Overview of the processing", who),
        ("sheet", "Technical sheet", [*answers.asked(facts), *closing.provenance(facts)]),
        ("description", "Systematic description", [*of(6, 3), *purposes]),
        ("means", "Means, assets and architecture", [*trust.model(facts), *of(21, 22)]),
        ("lawfulness", lawful, [*grounds, *of(7, 8, 10, 12, 16, 23, 25)]),
        ("necessity", "Necessity and proportionality", [*of(37), *need]),
    ]


def _risks(facts: Facts) -> list[Part]:
    """What may happen, and what is decided about it."""
    told = (
        "Measured with the measures of this run in place. What the risks are without any measure, another "
        "run shows: one without noise and encryption, audited alike."
    )
    measured = [answers.five_lines(facts), *findings.matrix(facts), *trust.coverage(facts)]
    inherent = [Para([told], "note"), *measured, *_blanks("Threats, likelihood, severity")]
    residual = [*costs.spending(facts), *closing.limits(facts), *_blanks("Residual likelihood and severity")]
    advice = "Advice of the data protection officer, views of data subjects"
    decision = _blanks("Approve, approve with conditions, reject, or refer", "Name, date, signature")
    return [
        ("risk", "Inherent risks", inherent),
        ("plan", "Action plan", _blanks("Further measures, owner, date")),
        ("residual", "Residual risks", residual),
        ("views", advice, _blanks("Advice", "Views of artists or their representatives")),
        ("decision", "Formal decision", decision),
    ]


def _blanks(*labels: str) -> list[Block]:
    return [Para([Blank(label)]) for label in labels]


def to_markdown(document: Document) -> str:
    """A document as Markdown; the date stands on a line of its own."""
    lines = [f"# {document.title}", "", plain(document.subtitle), "", f"Made on {document.date}", ""]
    for block in document.alarms:
        lines += _block(block)
    for section in document.sections:
        lines += [f"{'#' * section.level} {section.title}", ""]
        for block in section.blocks:
            lines += _block(block)
    return "\n".join(lines).rstrip() + "\n"


def to_json(document: Document, facts: Facts) -> dict[str, Any]:
    """A document as JSON values; figures keep their sources."""
    return {"format": 1, "date": document.date, "run": facts.run.identity, **to_data(document)}


def _block(block: Block) -> list[str]:
    if isinstance(block, Para):
        return [_text(block.line), ""]
    if isinstance(block, Bullets):
        return [*(f"- {_text(item)}" for item in block.items), ""]
    if isinstance(block, Answers):
        rows = [
            f"- **{question}** {'' if badge is None else badge.verdict + '. '}{_text(line)}"
            for question, badge, line in block.rows
        ]
        return [*rows, ""]
    if isinstance(block, Definitions):
        return [*(f"- **{_text(word)}**: {_text(meaning)}" for _, word, meaning in block.rows), ""]
    if isinstance(block, Table):
        return _table(block)
    if isinstance(block, Picture):
        return [f"(picture: {_text(block.caption)})", ""]
    assert isinstance(block, Entry)
    inner = [line for one in block.blocks for line in _block(one)]
    return [f"**{block.title}** ({block.asked_by})", "", *inner]


def _table(table: Table) -> list[str]:
    head = [_text(cell) for cell in table.head]
    rows = [[_text(cell) for cell in row] for row in table.rows]
    caption = [_text(table.caption), ""] if table.caption else []
    return [*caption, _row(head), _row(["---"] * len(head)), *(_row(row) for row in rows), ""]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _text(line: Line) -> str:
    """Plain text in which nothing is markup: texts of the run could hold any character."""
    text = " ".join(plain(line).split())
    for sign in ("\\", "`", "*", "<", ">", "|", "[", "]", "#"):
        text = text.replace(sign, f"\\{sign}")
    return text
