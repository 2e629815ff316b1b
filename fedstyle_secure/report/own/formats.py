"""An own audit's report in every format, and what `attacks` calls for its pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fedstyle_secure.audit.findings import COLUMNS
from fedstyle_secure.report.held import Held
from fedstyle_secure.report.own.document import own_document
from fedstyle_secure.report.own.facts import OwnFacts, read_own_facts
from fedstyle_secure.report.page.html import to_html
from fedstyle_secure.report.page.output import csv_text, json_text, write
from fedstyle_secure.report.page.pdf import to_data, to_pdf
from fedstyle_secure.report.page.pieces import Document


def own_makers(
    folder: Path, day: str, held: Held | None = None
) -> Mapping[str, tuple[str, Callable[[], str | bytes]]]:
    """By format, the file's name and what makes its content.

    Args:
        folder: Of the audit.
        day: ISO 8601.
        held: What a policy asked of it; None: nobody set one.

    Raises:
        AuditError: A file of the folder is missing or edited; names it.
    """
    facts = read_own_facts(folder).with_more(policy=None if held is None else held.to_dict())
    page = own_document(facts, day)
    html, digest = to_html(page)
    return {
        "html": ("report.html", lambda: html),
        "pdf": ("report.pdf", lambda: to_pdf(page, digest)),
        "json": ("report.json", lambda: json_text(_values(facts, page, digest))),
        "csv": ("findings.csv", lambda: _csv(facts)),
    }


def write_pages(folder: Path) -> list[Path]:
    """Write the report beside an own audit's files, as of today: the entry point of `attacks.pages`."""
    makers = own_makers(folder, datetime.now(UTC).date().isoformat()).values()
    # Everything is made before anything is written.
    return [write(folder / name, content) for name, content in [(name, make()) for name, make in makers]]


def _values(facts: OwnFacts, page: Document, digest: str) -> dict[str, Any]:
    """For machines: what was found and checked, and the whole page with its sources."""
    return {
        "format": 1,
        "date": page.date,
        "self_hash": digest,
        **facts.own,
        "subject": facts.own_audit.about["subject"],
        "claim": facts.claim,
        "checks": facts.checks,
        "alarms": facts.alarms,
        "findings": [finding.to_row() for finding in facts.findings],
        "page": [to_data(section) for section in page.sections],
    }


def _csv(facts: OwnFacts) -> str:
    """A row a finding."""
    return csv_text(list(COLUMNS), [finding.to_row() for finding in facts.findings])
