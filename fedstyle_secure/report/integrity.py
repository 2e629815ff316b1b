"""Whether a run's folder is the one that was trained and audited: hashes, chains and sums, file by file.

Hashes that lie in the folder find accidents and careless edits. Who can write the whole folder can write new
ones: against that a report is signed, or its hash is kept elsewhere.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from fedstyle_secure.config import Config
from fedstyle_secure.errors import AuditError, PrivacyError, RunError
from fedstyle_secure.privacy.ledger import Entry, Ledger, entry_from_dict
from fedstyle_secure.privacy.statement import Accountant
from fedstyle_secure.privacy.units import Unit
from fedstyle_secure.runs import RunFolder, file_sha256
from fedstyle_secure.studios import IDENTITY, opener_home, studio_home, studios_root
from fedstyle_secure.transcripts import check as check_transcript

RUN_FILES = (
    "config.toml",
    "manifest.json",
    "summary.json",
    "ledger.json",
    "metrics.jsonl",
    "encoder.safetensors",
    "prototypes.npz",
)
"""Files without which a finished run is not whole."""

VOUCHED = ("config.toml", "manifest.json", "summary.json", "ledger.json")
"""Files that an audit must have read, as its findings and bounds follow from them."""

_UNITS: tuple[Unit, ...] = ("artwork", "artist")

_AGREES = 1e-3
"""How far an epsilon may lie from the summary's: accountants of other versions differ in their numerics."""


class _ViewRow(BaseModel):
    key: str
    name: str
    who: str
    holds: list[str]
    lacks: list[str]


class _AttackRow(BaseModel):
    key: str
    name: str
    explains: str
    category: str
    level: str


class _AuditFile(BaseModel):
    """What `audit/audit.json` must hold; it may hold more."""

    model_config = ConfigDict(strict=True)

    format: int
    run: str
    preset: str
    seed: int
    began: str
    wall_s: float
    versions: dict[str, str]
    show_pictures: bool
    artists: list[str]
    views: list[_ViewRow]
    attacks: list[_AttackRow]
    inputs: dict[str, str]
    files: dict[str, str]


def check_run(
    run: RunFolder, config: Config, manifest: Mapping[str, Any], summary: Mapping[str, Any]
) -> None:
    """Check that the run's files are there and are those that its manifest and summary name.

    Raises:
        AuditError: Names the file.
    """
    for name in RUN_FILES:
        if not (run.path / name).is_file():
            raise AuditError(f"{run.path / name}: is missing; the run's folder is not whole")
    _same(run.config_file, manifest["config_sha256"], "manifest.json")
    _same(run.encoder_file, summary["encoder_sha256"], "summary.json")
    if config.run.seed != manifest["seed"]:
        raise AuditError(f"{run.manifest_file}: seed {manifest['seed']} is not that of config.toml")


def check_ledger(
    run: RunFolder, config: Config, summary: Mapping[str, Any], ledger: Mapping[str, Any]
) -> int:
    """Check that the ledgers add up to the summary, and are how the artists' own chained ledgers begin.

    Returns:
        How many of the artists' own ledgers lay beside the run and were compared.

    Raises:
        AuditError: They do not; names the file and the artist.
    """
    rows = {row["artist"]: row for row in summary["privacy"]["per_artist"]}
    if set(rows) != set(ledger):
        odd = min(set(rows) ^ set(ledger))
        raise AuditError(f"{run.ledger_file}: artist {odd!r} is not in both ledger.json and summary.json")
    accountant, compared = Accountant(config.privacy.delta), 0
    for artist, values in ledger.items():
        entries = _entries(run, artist, values)
        if entries is None:
            _no_figure(run, artist, rows[artist])
            continue
        _adds_up(run, artist, entries, rows[artist], accountant, summary["privacy"])
        compared += _begins_own(run, config, artist, entries)
    return compared


def check_openings(run: RunFolder, config: Config) -> bool:
    """Check the opener's signed transcript, where the run sums under encryption.

    Returns:
        Whether the opener's key lay beside the run, so that signatures could be checked.

    Raises:
        AuditError: A line does not verify; names it.
    """
    if not config.secure_sum.enabled:
        return False
    opened = any(line["sum"] and line["sum"]["artists"] for line in run.metrics())
    if opened and not run.transcript_file.is_file():
        raise AuditError(f"{run.transcript_file}: is missing, and sums were opened")
    if not (opener_home(studios_root(config, run)) / IDENTITY).exists():
        return False
    try:
        problems = check_transcript(run).problems
    except (RunError, ValueError) as error:
        raise AuditError(f"{run.transcript_file}: cannot be checked: {error}") from None
    if problems:
        raise AuditError(f"{run.transcript_file}: {problems[0]}")
    return True


def check_audit(run: RunFolder, audit: Mapping[str, Any]) -> None:
    """Check that an audit is this run's, that what it read is unchanged, and that its folder holds its files.

    Raises:
        AuditError: Names the file.
    """
    folder = run.path / "audit"
    try:
        _AuditFile.model_validate(audit)
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(str(part) for part in problem["loc"])
        raise AuditError(f"{folder / 'audit.json'}: {key}: {problem['msg']}") from None
    if audit["format"] != 1:
        raise AuditError(f"{folder / 'audit.json'}: format {audit['format']!r} is not known; this reads 1")
    if audit["run"] != run.identity:
        raise AuditError(
            f"{folder / 'audit.json'}: is the audit of run {str(audit['run'])[:32]}, this is {run.identity}"
        )
    for name in VOUCHED:
        if name not in audit["inputs"]:
            raise AuditError(f"{folder / 'audit.json'}: has no hash of {name}, which its findings rest on")
    for name, digest in audit["inputs"].items():
        _same(_inside(run.path, name), digest, "audit/audit.json")
    if "findings.json" not in audit["files"]:
        raise AuditError(f"{folder / 'audit.json'}: has no hash of findings.json")
    for name, digest in audit["files"].items():
        _same(_inside(folder, name), digest, "audit/audit.json")
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_dir() or name == "audit.json" or name in audit["files"]):
            raise AuditError(f"{path}: is no file of this audit; take it away, or audit the run again")


def _inside(folder: Path, name: str) -> Path:
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts or not pure.parts:
        raise AuditError(f"{folder}: {name!r} names no file of the folder")
    return folder / pure


def _same(path: Path, digest: str, where: str) -> None:
    if path.is_symlink() or not path.is_file():
        raise AuditError(f"{path}: is missing; {where} has its hash")
    if file_sha256(path) != digest:
        raise AuditError(f"{path}: was edited, or is another run's: it has not the hash that {where} has")


def _entries(run: RunFolder, artist: str, values: Any) -> tuple[Entry, ...] | None:
    if values is None:
        return None
    try:
        return tuple(entry_from_dict(entry) for entry in values)
    except (KeyError, TypeError, ValueError, PrivacyError) as error:
        raise AuditError(
            f"{run.ledger_file}: artist {artist!r}: no ledger of this version: {error}"
        ) from None


def _no_figure(run: RunFolder, artist: str, row: Mapping[str, Any]) -> None:
    if any(row[f"epsilon_{unit}"] is not None for unit in ("artwork", "artist")):
        raise AuditError(f"{run.summary_file}: artist {artist!r} has an epsilon but no ledger")


def _adds_up(
    run: RunFolder,
    artist: str,
    entries: tuple[Entry, ...],
    row: Mapping[str, Any],
    accountant: Accountant,
    privacy: Mapping[str, Any],
) -> None:
    ours = [entry for entry in entries if entry.run == run.identity]
    for unit in _UNITS:
        for key, some in ((f"epsilon_{unit}", ours), (f"lifetime_epsilon_{unit}", entries)):
            found = accountant.spent(some, unit)
            stated = math.inf if row[key] is None else row[key]
            if not (found == stated or math.isclose(found, stated, rel_tol=_AGREES)):
                raise AuditError(
                    f"{run.ledger_file}: artist {artist!r}: its releases cost {key} = {found:.4f}, and "
                    f"summary.json says {stated:.4f}; one of them was edited"
                )
    largest = privacy["epsilon_artwork_max"]
    spent = row["epsilon_artwork"]
    if largest is not None and (spent is None or spent > largest):
        raise AuditError(f"{run.summary_file}: epsilon_artwork_max is below that of artist {artist!r}")


def _begins_own(run: RunFolder, config: Config, artist: str, entries: tuple[Entry, ...]) -> bool:
    """Whether the artist's own ledger is beside the run; it must begin with the run's copy of it."""
    path = studio_home(studios_root(config, run), config.gallery, artist) / "ledger.jsonl"
    if not path.exists():
        return False
    try:
        own = Ledger(path).entries
    except PrivacyError as error:
        raise AuditError(f"{path}: {error}") from None
    if own[: len(entries)] != entries:
        raise AuditError(f"{run.ledger_file}: artist {artist!r}: is not what the artist's own ledger holds")
    return True


def read_json(path: Path) -> Any:
    """A JSON file. Raises AuditError naming it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AuditError(f"{path}: cannot be read: {error}") from None
