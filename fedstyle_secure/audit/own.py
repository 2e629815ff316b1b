"""The folder of an audit that `attacks` made of somebody's own model, update or scores, read and checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from attacks.auditing.files import FORMAT, KIND
from attacks.references import METHODS
from fedstyle_secure.audit.findings import PROVEN, Category, Finding, Level
from fedstyle_secure.errors import AuditError, first_problem
from fedstyle_secure.files import file_sha256, read_json

VIEW = "holder"
"""Whoever holds what was audited."""

_CLASSES: Mapping[str, tuple[Level, Category]] = {"reconstruction PSNR": ("L4", "reconstruction")}


class _Told(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class _Check(_Told):
    name: str
    holds: bool | None
    says: str


class _Claim(_Told):
    epsilon: float | None = Field(ge=0)
    delta: float = Field(ge=0, lt=1)
    adjacency: str
    unit: str


class _About(_Told):
    format: int
    kind: str
    subject: str
    about: dict[str, Any]
    claim: _Claim | None
    checks: list[_Check]
    files: dict[str, str]


_FINDING = TypeAdapter(Finding)


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
        stated = _About.model_validate(about).files
    except ValidationError as error:
        raise AuditError(f"{path}: does not hold what it should: {first_problem(error)}") from None
    for name in stated:
        _require_whole(folder, name, stated[name])
    if "findings.json" not in stated:
        raise AuditError(f"{path}: has no hash of findings.json")
    rows = read_json(folder / "findings.json", list, AuditError)
    seed = about["about"].get("seed", 0)
    try:
        findings = tuple(_finding(row, seed) for row in rows)
    except ValidationError as error:
        told = f"{folder / 'findings.json'}: does not hold what it should: {first_problem(error)}"
        raise AuditError(told) from None
    except (KeyError, TypeError) as error:
        raise AuditError(f"{folder / 'findings.json'}: a row lacks what it should hold: {error}") from None
    return OwnAudit(folder, about, findings, {**stated, "audit.json": file_sha256(path)})


def _require_whole(folder: Path, name: str, digest: str) -> None:
    if Path(name).name != name or not (folder / name).is_file():
        raise AuditError(f"{folder / name}: is missing")
    if file_sha256(folder / name) != digest:
        raise AuditError(f"{folder / name}: was changed after the audit was written")


def _finding(row: Mapping[str, Any], seed: int) -> Finding:
    level, category = _CLASSES.get(row["metric"], ("L1", "membership inference"))
    drawn = row["value"] is not None and row["metric"] not in (PROVEN, *_CLASSES)
    whole = dict(
        view=VIEW, target="all", unit="record", seed=seed, level=level, category=category,
        curve="roc.svg" if drawn else "", **row,
    )  # fmt: skip
    # As JSON: a list may stand for a tuple there, and a text for no number.
    return _FINDING.validate_json(json.dumps(whole), strict=True)
