"""What of a run may go to a tracker: numbers by name, a few facts, and files that readers of its report see.

A name in a tracker's key cannot be taken back, so what is told artist by artist goes in files only.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fedstyle_secure.audit.findings import Finding
from fedstyle_secure.errors import AuditError
from fedstyle_secure.fairness import BY_ARTIST
from fedstyle_secure.files import read_json
from fedstyle_secure.report.formats import RUN_REPORT
from fedstyle_secure.report.run.facts import Facts

_BY_ARTIST = (BY_ARTIST, "fairness", "per_artist")
"""Keys below which a line of metrics and a summary have artists' names."""

_FACTS = ("system", "privacy.unit", "privacy.adjacency", "privacy.sampling", "product_sha256")


def of_round(line: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a line of metrics, `rounds/` before their names; nothing told artist by artist."""
    return {f"rounds/{_plain(name)}": value for name, value in _numbers(line) if name != "round"}


def of_summary(summary: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a summary, `summary/` before their names, in the same way."""
    return {f"summary/{_plain(name)}": value for name, value in _numbers(summary)}


def of_findings(findings: Iterable[Finding], keys: Mapping[str, str]) -> dict[str, float]:
    """Figures over all artists: `audit/VIEW/ATTACK/QUANTITY`, with interval and the guarantee's limit.

    Args:
        findings: Of an audit.
        keys: Keys of its attacks by their names.
    """
    found: dict[str, float] = {}
    for row in findings:
        if row.target != "all":
            continue
        name = f"audit/{row.view}/{keys[row.attack]}/{_plain(row.quantity)}"
        ends = {"": row.value, "/low": row.low, "/high": row.high, "/bound": row.bound}
        found |= {f"{name}{end}": float(value) for end, value in ends.items() if value is not None}
    return found


def facts_of(summary: Mapping[str, Any]) -> dict[str, str]:
    """What tells runs apart: the system, the guarantee's terms, and the product's hash."""
    return {name: str(_at(summary, name)) for name in _FACTS}


def files_of(facts: Facts) -> dict[str, Path]:
    """Files by the names that they get: metrics, summary, findings, and the report if there is one.

    Raises:
        AuditError: The report is of other files than those that are there now, or nothing says of which.
    """
    run = facts.run
    found = {path.name: path for path in (run.metrics_file, run.summary_file)}
    if facts.audit is not None:
        found["findings.json"] = run.audit_folder / "findings.json"
    folder = run.path / "report"
    report = {f"report/{name}": folder / name for name in RUN_REPORT if (folder / name).is_file()}
    if report:
        _require_own(folder / "report.json", facts)
    return found | report


def _require_own(path: Path, facts: Facts) -> None:
    again = "`fedstyle report` makes it anew"
    if not path.is_file():
        raise AuditError(f"{path}: is missing, so nothing says what the report is of; {again}")
    told = read_json(path, dict, AuditError)
    if any(told.get(key) != facts.own[key] for key in ("run", "hashes", "withdrawn")):
        raise AuditError(f"{path}: the report is not of the files that lie here now; {again}")


def _numbers(values: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Finite numbers and yes or no, at any depth, by their keys joined with dots."""
    for key, value in values.items():
        if isinstance(value, Mapping) and key not in _BY_ARTIST:
            yield from ((f"{key}.{name}", number) for name, number in _numbers(value))
        elif isinstance(value, int | float) and math.isfinite(value):
            yield key, float(value)


def _plain(name: str) -> str:
    """Only what each of the trackers takes for a name."""
    return re.sub(r"[^\w./-]+", "_", name, flags=re.ASCII)


def _at(values: Any, name: str) -> Any:
    for key in name.split("."):
        values = values[key]
    return values
