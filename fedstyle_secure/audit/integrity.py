"""Whether a run's folder is the one that was trained and audited: hashes, chains and sums, file by file.

An audit and a report begin with this, so that neither vouches for what somebody edited in between. Hashes
that lie in the folder find accidents and careless edits. Who can write the whole folder can write new ones:
against that a report is signed, or its hash, or that of `SHA256SUMS`, is kept elsewhere.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from fedstyle_secure.audit.settings import AuditSettings
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
    settings: dict[str, Any]
    views: list[_ViewRow]
    attacks: list[_AttackRow]
    inputs: dict[str, str]
    files: dict[str, str]


@dataclass(frozen=True)
class Own:
    """An artist's own ledger as it is now; it may have grown since the run.

    Attributes:
        releases: How many it holds.
        epsilon: Of all of them together, by unit; infinite: no guarantee.
    """

    releases: int
    epsilon: Mapping[Unit, float]


@dataclass(frozen=True)
class Checked:
    """What a finished run's folder was compared with.

    Attributes:
        sums: SHA-256 of the run's files, 64 hexadecimal digits, by path within its folder.
        own: Artists whose own ledger lay beside the run, and what it holds now.
        signed: Whether the opener's key lay beside the run, so that signatures could be checked.
    """

    sums: Mapping[str, str]
    own: Mapping[str, Own]
    signed: bool


def check_finished(run: RunFolder) -> Checked:
    """Check that a finished run's files are whole and unedited, and that they agree with one another.

    Raises:
        RunError: There is no finished run.
        AuditError: A file is missing, edited, of another run, or contradicts another; names it.
    """
    config, summary = run.config(), run.summary()
    sums = _check_sums(run)
    try:
        manifest = run.manifest()
        _same(run.config_file, manifest["config_sha256"], "manifest.json")
        _same(run.encoder_file, summary["encoder_sha256"], "summary.json")
        if config.run.seed != manifest["seed"]:
            raise AuditError(f"{run.manifest_file}: seed {manifest['seed']} is not that of config.toml")
        _check_summary(run, config, summary["privacy"])
        own = _check_ledgers(run, config, summary, read_json(run.ledger_file))
        return Checked(sums, own, _check_openings(run, config))
    except (KeyError, TypeError, AttributeError) as error:
        raise AuditError(f"{run.path}: a file lacks what it should hold: {error}") from None
    except (RunError, ValueError) as error:
        raise AuditError(f"{run.path}: {error}") from None


def _check_sums(run: RunFolder) -> dict[str, str]:
    """The hashes that were written when the run ended, checked."""
    for name in RUN_FILES:
        if not (run.path / name).is_file():
            raise AuditError(f"{run.path / name}: is missing; the run's folder is not whole")
    where = run.sums_file
    if where.is_symlink() or not where.is_file():
        raise AuditError(f"{where}: is missing; without it nothing says what the run's files held at its end")
    sums: dict[str, str] = {}
    for number, line in enumerate(where.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        match = re.fullmatch("([0-9a-f]{64})  (.+)", line)
        if match is None or match[2] in sums:
            raise AuditError(f"{where}: line {number} is no hash of a further file")
        sums[match[2]] = match[1]
    for name in RUN_FILES:
        if name not in sums:
            raise AuditError(f"{where}: has no hash of {name}")
    for name, digest in sums.items():
        _same(_inside(run.path, name), digest, where.name)
    for path in run.evidence():
        if path.relative_to(run.path).as_posix() not in sums:
            raise AuditError(f"{path}: was not there when the run ended; {where.name} has no hash of it")
    return sums


def _check_summary(run: RunFolder, config: Config, privacy: Mapping[str, Any]) -> None:
    """Whether the summary states what the settings say, and as its largest figures the largest it lists."""
    for key, stated in (("delta", config.privacy.delta), ("unit", config.privacy.unit)):
        if privacy[key] != stated:
            raise AuditError(
                f"{run.summary_file}: {key} {privacy[key]!r} is not that of config.toml, {stated!r}"
            )
    for unit in _UNITS:
        each = [row[f"epsilon_{unit}"] for row in privacy["per_artist"]]
        largest = None if None in each else max(each, default=0.0)
        if unit == "artist" and config.privacy.unit != "artist":
            largest = None
        if privacy[f"epsilon_{unit}_max"] != largest:
            raise AuditError(
                f"{run.summary_file}: epsilon_{unit}_max is {privacy[f'epsilon_{unit}_max']}, and the "
                f"artists' figures make it {largest}"
            )


def _check_ledgers(
    run: RunFolder, config: Config, summary: Mapping[str, Any], ledger: Mapping[str, Any]
) -> dict[str, Own]:
    """Whether the ledgers add up to the summary, and are how the artists' own chained ledgers begin."""
    rows = {row["artist"]: row for row in summary["privacy"]["per_artist"]}
    if set(rows) != set(ledger):
        odd = min(set(rows) ^ set(ledger))
        raise AuditError(f"{run.ledger_file}: artist {odd!r} is not in both ledger.json and summary.json")
    accountant = Accountant(config.privacy.delta)
    found: dict[str, Own] = {}
    metrics = run.metrics()
    for artist, values in ledger.items():
        entries = _entries(run, artist, values)
        if entries is None:
            _no_figure(run, artist, rows[artist])
            continue
        got = {line["round"] for line in metrics if artist in line["released_by"]}
        if not got <= {entry.round for entry in entries if entry.run == run.identity}:
            raise AuditError(
                f"{run.ledger_file}: artist {artist!r}: lacks a round in which the platform got a release"
            )
        _adds_up(run, artist, entries, rows[artist], accountant)
        now = _own_entries(run, config, artist, entries)
        if now is not None:
            found[artist] = Own(len(now), {unit: accountant.spent(now, unit) for unit in _UNITS})
    return found


def _check_openings(run: RunFolder, config: Config) -> bool:
    """Whether the opener's signed transcript, where the run sums under encryption, could be checked."""
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


def check_audit(run: RunFolder, audit: Mapping[str, Any], sums: Mapping[str, str]) -> None:
    """Check that an audit is this run's, that it read what is there, and that its folder holds its files.

    Args:
        run: A finished run that was checked.
        audit: What `audit/audit.json` says.
        sums: SHA-256 of the run's files by path.

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
    _check_settings(folder / "audit.json", audit)
    if audit["format"] != 1:
        raise AuditError(f"{folder / 'audit.json'}: format {audit['format']!r} is not known; this reads 1")
    if audit["run"] != run.identity:
        raise AuditError(
            f"{folder / 'audit.json'}: is the audit of run {str(audit['run'])[:32]}, this is {run.identity}"
        )
    for name in sorted({*sums, *audit["inputs"]}):
        if sums.get(name) != audit["inputs"].get(name):
            raise AuditError(
                f"{folder / 'audit.json'}: {name!r} is not the file that the audit read; audit the run again"
            )
    if "findings.json" not in audit["files"]:
        raise AuditError(f"{folder / 'audit.json'}: has no hash of findings.json")
    for name, digest in audit["files"].items():
        _same(_inside(folder, name), digest, "audit/audit.json")
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_dir() or name == "audit.json" or name in audit["files"]):
            raise AuditError(f"{path}: is no file of this audit; take it away, or audit the run again")


def _check_settings(path: Path, audit: Mapping[str, Any]) -> None:
    for name in AuditSettings.model_fields:
        if name not in audit["settings"]:
            raise AuditError(f"{path}: settings.{name} is missing")
    try:
        settings = AuditSettings.model_validate(audit["settings"])
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(("settings", *(str(part) for part in problem["loc"])))
        raise AuditError(f"{path}: {key}: {problem['msg']}") from None
    if audit["preset"] != settings.label:
        raise AuditError(
            f"{path}: preset {audit['preset']!r} is not what its settings are: {settings.label!r}"
        )


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


def _own_entries(
    run: RunFolder, config: Config, artist: str, entries: tuple[Entry, ...]
) -> tuple[Entry, ...] | None:
    """What the artist's own ledger holds, if it is beside the run; it must begin with the run's copy."""
    path = studio_home(studios_root(config, run), config.gallery, artist) / "ledger.jsonl"
    if not path.exists():
        return None
    try:
        own = Ledger(path).entries
    except PrivacyError as error:
        raise AuditError(f"{path}: {error}") from None
    ours = [entry for entry in own if entry.run == run.identity]
    if own[: len(entries)] != entries or ours != [entry for entry in entries if entry.run == run.identity]:
        raise AuditError(f"{run.ledger_file}: artist {artist!r}: is not what the artist's own ledger holds")
    return own


def read_json(path: Path) -> Any:
    """A JSON file. Raises AuditError naming it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AuditError(f"{path}: cannot be read: {error}") from None
