"""The folder of an audit that `attacks` made of somebody's own model, update or scores, read and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attacks.auditing.files import FORMAT, KIND
from attacks.references import METHODS
from fedstyle_secure.audit.findings import PROVEN, Category, Finding, Level
from fedstyle_secure.errors import AuditError
from fedstyle_secure.files import file_sha256, read_json

VIEW = "holder"
"""Whoever holds what was audited."""

_CLASSES: Mapping[str, tuple[Level, Category]] = {"reconstruction PSNR": ("L4", "reconstruction")}


@dataclass(frozen=True)
class OwnAudit:
    """What an own audit's folder holds.

    Attributes:
        folder: The folder.
        about: `audit.json`.
        findings: `findings.json`, in its order.
        hashes: Of the folder's files, by name.
    """

    folder: Path
    about: Mapping[str, Any]
    findings: tuple[Finding, ...]
    hashes: Mapping[str, str]


def papers_of(attack: str) -> list[dict[str, str | int]]:
    """The papers that an attack of `attacks` follows, as an `audit.json` has them; [] where there is none."""
    return [cited.to_dict() for cited in METHODS.get(attack, ())]


def is_own_audit(folder: Path) -> bool:
    """Whether a folder holds such an audit, and no run."""
    return (folder / "audit.json").is_file() and (folder / "findings.json").is_file()


def read_own_audit(folder: Path) -> OwnAudit:
    """Read and check a folder.

    Raises:
        AuditError: A file is missing, edited, or of another format; names it.
    """
    path = folder / "audit.json"
    about = read_json(path, dict, AuditError)
    if (about.get("kind"), about.get("format")) != (KIND, FORMAT):
        raise AuditError(f"{path}: is no audit by `attacks` in format {FORMAT}; make it anew")
    try:
        stated = dict(about["files"])
        for name in stated:
            _require_whole(folder, name, stated[name])
        if "findings.json" not in stated:
            raise AuditError(f"{path}: has no hash of findings.json")
        rows = read_json(folder / "findings.json", list, AuditError)
        seed = int(about["about"].get("seed", 0))
        findings = tuple(_finding(row, seed) for row in rows)
        for check in about["checks"]:
            _ = check["name"], check["holds"], check["says"]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, AuditError):
            raise
        raise AuditError(f"{folder}: a file lacks what it should hold: {error}") from None
    return OwnAudit(folder, about, findings, {**stated, "audit.json": file_sha256(path)})


def _require_whole(folder: Path, name: str, digest: str) -> None:
    if Path(name).name != name or not (folder / name).is_file():
        raise AuditError(f"{folder / name}: is missing")
    if file_sha256(folder / name) != digest:
        raise AuditError(f"{folder / name}: was changed after the audit was written")


def _finding(row: Mapping[str, Any], seed: int) -> Finding:
    level, category = _CLASSES.get(row["metric"], ("L1", "membership inference"))
    drawn = row["value"] is not None and row["metric"] not in (PROVEN, *_CLASSES)
    return Finding(
        view=VIEW, target="all", unit="record", seed=seed, level=level, category=category,
        curve="roc.svg" if drawn else "", **dict(row),
    )  # fmt: skip
