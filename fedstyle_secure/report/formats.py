"""A run's report in every format, written beside the run."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from typing import Literal as Choice

from fedstyle_secure.audit.findings import Finding
from fedstyle_secure.errors import ConfigError
from fedstyle_secure.report import answers, checklist, trust
from fedstyle_secure.report.document import document
from fedstyle_secure.report.dpia import dpia, to_json, to_markdown
from fedstyle_secure.report.facts import Facts, read_facts
from fedstyle_secure.report.html import to_html
from fedstyle_secure.report.pdf import to_data, to_pdf
from fedstyle_secure.report.pieces import Blank, Document, Para, plain

Format = Choice["html", "pdf", "json", "csv"]

FORMATS: tuple[Format, ...] = ("html", "pdf", "json", "csv")


def report(
    run: Path | str, formats: Sequence[str] = FORMATS, out: Path | str | None = None, date: str | None = None
) -> list[Path]:
    """Check a finished run's folder, and write its report and its part of an impact assessment.

    Args:
        run: The run's folder.
        formats: Which of `FORMATS`; `dpia.md` and `dpia.json` are always written.
        out: Where to; None is `report` in the run's folder.
        date: The day that the report says it was made on, `YYYY-MM-DD`; None is today, UTC. Reports of
            one run and one date are equal byte for byte.

    Returns:
        The files that were written.

    Raises:
        RunError: There is no finished run.
        AuditError: A file of the run is missing, edited or of another run; names it.
        ConfigError: A format or the date is none.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise ConfigError(f"format {unknown[0] if unknown else ''!r} is none of {', '.join(FORMATS)}")
    day = _day(date)
    facts = read_facts(run)
    page = document(facts, day)
    html, digest = to_html(page)
    assessment = dpia(facts, day)
    makers: Mapping[str, tuple[str, Callable[[], str | bytes]]] = {
        "html": ("report.html", lambda: html),
        "pdf": ("report.pdf", lambda: to_pdf(page, digest)),
        "json": ("report.json", lambda: _json(_values(facts, page, digest))),
        "csv": ("findings.csv", lambda: _csv(facts.findings)),
    }
    chosen = [makers[name] for name in FORMATS if name in formats]
    chosen += [
        ("dpia.md", lambda: to_markdown(assessment)),
        ("dpia.json", lambda: _json(to_json(assessment, facts))),
    ]
    # Everything is made before anything is written: a failure leaves the last report as it was.
    made = [(name, make()) for name, make in chosen]
    folder = facts.run.path / "report" if out is None else Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    return [_write(folder / name, content) for name, content in made]


def _day(date: str | None) -> str:
    if date is None:
        return datetime.now(UTC).date().isoformat()
    try:
        day = datetime.strptime(date, "%Y-%m-%d").date().isoformat()
    except ValueError:
        raise ConfigError(f"date {date!r} is no day; allowed: YYYY-MM-DD") from None
    return day


def _values(facts: Facts, page: Document, digest: str) -> dict[str, Any]:
    """The report for machines: the answers, what the checklist holds, and the whole page with its sources."""
    return {
        "format": 1,
        "date": page.date,
        "self_hash": digest,
        **facts.own,
        "answers": [
            {
                "question": key,
                "verdict": answers.answer(facts, levels)[0],
                "words": plain(answers.answer(facts, levels)[1]),
            }
            for key, _, levels in answers.QUESTIONS
        ],
        "alarms": facts.alarms,
        "coverage": trust.classes(facts),
        "checklist": [
            {
                "number": entry.number,
                "group": group,
                "title": entry.title,
                "asked_by": entry.asked_by,
                "left_blank": [
                    piece.label
                    for block in entry.blocks
                    if isinstance(block, Para)
                    for piece in block.line
                    if isinstance(piece, Blank)
                ],
            }
            for group, entries in checklist.entries(facts)
            for entry in entries
        ],
        "findings": [finding.to_dict() | {"alarm": finding.alarm} for finding in facts.findings],
        "page": [to_data(section) for section in page.sections],
    }


def _json(values: Any) -> str:
    return json.dumps(values, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def _csv(findings: Sequence[Finding]) -> str:
    """A row a finding. Texts that a spreadsheet would take for a formula get an apostrophe in front."""
    file = io.StringIO()
    writer = csv.DictWriter(file, [field.name for field in fields(Finding)] + ["alarm"], lineterminator="\n")
    writer.writeheader()
    for finding in findings:
        values = finding.to_dict() | {"alarm": finding.alarm}
        writer.writerow({key: _cell(value) for key, value in values.items()})
    return file.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, list | tuple):
        value = " ".join(value)
    if isinstance(value, Mapping):
        value = json.dumps(dict(value), sort_keys=True)
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"
    return value


def _write(path: Path, content: str | bytes) -> Path:
    data = content.encode() if isinstance(content, str) else content
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    return path
