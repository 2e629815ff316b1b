"""The report of a run or of a sweep in every format, written beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from typing import Literal as Choice

from fedstyle_secure.audit.findings import COLUMNS, Finding
from fedstyle_secure.audit.own import is_own_audit
from fedstyle_secure.errors import ConfigError, RunError
from fedstyle_secure.report.held import Held
from fedstyle_secure.report.own.formats import own_makers
from fedstyle_secure.report.page.html import to_html
from fedstyle_secure.report.page.output import as_bytes, csv_text, json_text, write
from fedstyle_secure.report.page.pdf import to_data, to_pdf
from fedstyle_secure.report.page.pieces import Blank, Document, Para, plain
from fedstyle_secure.report.page.policy import policy_sign, the_policy
from fedstyle_secure.report.run import answers, checklist, first_page, trust
from fedstyle_secure.report.run.alternatives import alternatives
from fedstyle_secure.report.run.compliance import COMPLIANCE, CRATE, SBOM, crate, require_compliance, sbom
from fedstyle_secure.report.run.document import document
from fedstyle_secure.report.run.dpia import dpia, to_json, to_markdown
from fedstyle_secure.report.run.facts import Facts, read_facts
from fedstyle_secure.report.sweep import formats as sweep_formats
from fedstyle_secure.report.sweep.document import sweep_document
from fedstyle_secure.report.sweep.facts import read_sweep
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.sweep.runner import is_sweep

Format = Choice["html", "pdf", "json", "csv"]

FORMATS: tuple[Format, ...] = ("html", "pdf", "json", "csv")

RUN_REPORT = (
    "report.html", "report.pdf", "report.json", "findings.csv", "dpia.md", "dpia.json", SBOM, CRATE,
)  # fmt: skip
"""Every file that a run's report may have."""

Makers = Sequence[tuple[str, Callable[[], str | bytes]]]
"""Names of files, and what makes their content."""


def report(
    path: Path | str,
    formats: Sequence[str] = FORMATS,
    out: Path | str | None = None,
    date: str | None = None,
    opener: str | None = None,
    studios: Path | None = None,
    held: Held | None = None,
    sweep: Path | str | None = None,
) -> list[Path]:
    """Check the folder of a finished run, a sweep or an own audit, and write its report.

    Args:
        path: The folder; what is in it is told by the mark that a run or a sweep leaves there, or the
            files of an audit by `attacks`.
        formats: Which of `FORMATS`; of a run also `sbom` and `crate`, with the extra `compliance`. Of a run
            `dpia.md` and `dpia.json`, its part of an impact assessment, are always written; a sweep has none.
        out: Where to; None is `report` in the folder.
        date: The day that the report says it was made on, `YYYY-MM-DD`; None is today, UTC. Reports of
            one folder and one date are equal byte for byte.
        opener: Of a run: the opener's public key; None: the studios', or else the one that the run states.
        studios: Of a run: where the artists' own ledgers lie; None: where the run says.
        held: Of a run or own audit: what a policy asked of it (`policy.own.hold`); None: nobody set one.
        sweep: Of a run: the folder of a sweep of the same system and configuration, whose other settings the
            first page names as measured alternatives.

    Returns:
        The files that were written.

    Raises:
        RunError: There is neither a finished run nor a sweep.
        AuditError: A file is missing, edited or of another run, or a sweep is not finished; names it.
        ConfigError: A format or the date is none, or the extra is missing.
    """
    allowed = (*FORMATS, *(COMPLIANCE if RunFolder(Path(path)).begun else ()))
    unknown = [name for name in formats if name not in allowed]
    if unknown or not formats:
        raise ConfigError(f"format {unknown[0] if unknown else ''!r} is none of {', '.join(allowed)}")
    if set(formats) & set(COMPLIANCE):
        require_compliance()
    day, folder = _day(date), Path(path)
    if RunFolder(folder).begun:
        facts = read_facts(folder, opener or (held.opener if held else None), studios)
        facts = facts.with_more(policy=None if held is None else held.to_dict())
        if sweep is not None:
            facts = facts.with_more(alternatives=alternatives(facts, read_sweep(sweep)))
        made = _of_run(facts, formats, day)
    elif sweep is not None:
        raise ConfigError(
            f"{folder}: is no run, and only a run's report names alternatives; leave the sweep out"
        )
    elif is_sweep(folder) and held is not None:
        raise ConfigError(f"{folder}: a policy is for one run or one own audit; a sweep is many")
    elif (is_sweep(folder) or is_own_audit(folder)) and (opener or studios):
        raise ConfigError(
            f"{folder}: every run of a sweep has an opener and studios of its own, and an own audit has "
            "none; name none"
        )
    elif is_sweep(folder):
        made = _made(_of_sweep(folder, formats, day))
    elif is_own_audit(folder):
        own = own_makers(folder, day, held)
        made = _made([own[name] for name in FORMATS if name in formats])
    else:
        raise RunError(
            f"{folder}: no run here and no sweep; give the folder of a finished run, which `fedstyle runs` "
            "lists, of a sweep, which `fedstyle sweep` makes, or of an audit by `attacks`"
        )
    # Everything is made before anything is written: a failure leaves the last report as it was.
    target = folder / "report" if out is None else Path(out)
    target.mkdir(parents=True, exist_ok=True)
    return [write(target / name, content) for name, content in made]


def _made(makers: Makers) -> list[tuple[str, str | bytes]]:
    return [(name, make()) for name, make in makers]


def _of_run(facts: Facts, formats: Sequence[str], day: str) -> list[tuple[str, str | bytes]]:
    page = document(facts, day)
    html, digest = to_html(page)
    assessment = dpia(facts, day)
    makers: Mapping[str, tuple[str, Callable[[], str | bytes]]] = {
        "html": ("report.html", lambda: html),
        "pdf": ("report.pdf", lambda: to_pdf(page, digest)),
        "json": ("report.json", lambda: json_text(_values(facts, page, digest))),
        "csv": ("findings.csv", lambda: _csv(facts.findings)),
        "sbom": (SBOM, lambda: sbom(facts, day)),
    }
    made = _made([makers[name] for name in makers if name in formats])
    made += [("dpia.md", to_markdown(assessment)), ("dpia.json", json_text(to_json(assessment, facts)))]
    if "crate" in formats:
        made.append((CRATE, crate(facts, day, [(name, as_bytes(content)) for name, content in made])))
    return made


def _of_sweep(folder: Path, formats: Sequence[str], day: str) -> Makers:
    facts = read_sweep(folder)
    page = sweep_document(facts, day)
    html, digest = to_html(page)
    makers: Mapping[str, tuple[str, Callable[[], str | bytes]]] = {
        "html": ("report.html", lambda: html),
        "pdf": ("report.pdf", lambda: to_pdf(page, digest)),
        "json": ("report.json", lambda: json_text(sweep_formats.values(facts, page, digest))),
        "csv": ("points.csv", lambda: sweep_formats.points_csv(facts)),
    }
    return [makers[name] for name in FORMATS if name in formats]


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
        "answer": _answer(facts),
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
        "findings": [finding.to_row() for finding in facts.findings],
        "page": [to_data(section) for section in page.sections],
    }


def _answer(facts: Facts) -> dict[str, str]:
    """Page one's answer."""
    sign, line = first_page.the_answer(facts)
    return {
        "verdict": sign,
        "words": plain(line),
        "policy": policy_sign(facts),
        "policy_words": plain(the_policy(facts, any(f.verdict == "leaks" for f in facts.findings))),
    }


def _csv(findings: Sequence[Finding]) -> str:
    """A row a finding."""
    return csv_text(list(COLUMNS), [finding.to_row() for finding in findings])
