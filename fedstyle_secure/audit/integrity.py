"""Whether a run's folder is the one that was trained and audited: signatures, hashes, chains, file by file.

An audit and a report begin with this, so that neither vouches for what somebody edited in between. Hashes
that lie in the folder find accidents and careless edits; who can write the whole folder can write new ones.
What the opener signed at the run's end nobody can write but the opener: with its public key from elsewhere,
no file that the run stated can be another. A run that sums nothing under encryption has no opener: against
edits of its whole folder the hash of `SHA256SUMS` is kept elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from fedstyle_secure.audit.agreement import (
    layouts_of,
    private_artists,
    require_planned,
    require_recorded,
    require_summary,
    require_terms,
    stated_plan,
)
from fedstyle_secure.audit.settings import AuditSettings
from fedstyle_secure.config import Config
from fedstyle_secure.errors import AuditError, FedStyleError, PrivacyError, first_problem
from fedstyle_secure.federation.results import statement
from fedstyle_secure.files import file_sha256, read_json
from fedstyle_secure.galleries.canaries import CanaryNote
from fedstyle_secure.privacy.ledger import Entry, Ledger, entry_from_dict
from fedstyle_secure.privacy.statement import Accountant
from fedstyle_secure.privacy.units import Unit
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.secure_sum.journal import Journal
from fedstyle_secure.secure_sum.manifest import Manifest
from fedstyle_secure.studios import beside, has_studios, known_studios, opener_home, studio_home, studios_root
from fedstyle_secure.system import system_bound
from fedstyle_secure.transcripts import Checked as Signed
from fedstyle_secure.transcripts import Source
from fedstyle_secure.transcripts import check as check_transcript

RUN_FILES = (
    "config.toml",
    "manifest.json",
    "summary.json",
    "ledger.json",
    "metrics.jsonl",
    "fixed.safetensors",
    "product.safetensors",
)
"""Files without which a finished run is not whole."""

_UNITS: tuple[Unit, ...] = ("artwork", "artist")


class _ViewRow(BaseModel):
    key: str
    name: str
    who: str
    holds: list[str]
    lacks: list[str]


class _CitedRow(BaseModel):
    authors: str
    title: str
    year: int
    at: str
    place: str
    use: str


class _AttackRow(BaseModel):
    key: str
    name: str
    explains: str
    category: str
    level: str
    purpose: str = ""
    cites: list[_CitedRow] = []


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
        own: Artists whose own ledger was compared, and what it holds now.
        artists: How many private artists the run has.
        opener: The public key under which all that the opener signed was checked; None where it signed
            nothing, as nothing is summed under encryption.
        opener_by: Who says that it is the opener's; None where there is none.
    """

    sums: Mapping[str, str]
    own: Mapping[str, Own]
    artists: int
    opener: str | None
    opener_by: Source | None


def check_finished(run: RunFolder, opener: str | None = None, studios: Path | None = None) -> Checked:
    """Check that a finished run's files are whole and unedited, and that they agree with one another.

    What the opener signed is checked before anything that it signed for is read any further.

    Args:
        run: The run.
        opener: The opener's public key, which whoever checks got from the opener; None: the studios', or else
            the one that the run states.
        studios: Where the artists' own ledgers lie; None: where the run says, if they are there.

    Raises:
        RunError: There is no finished run.
        AuditError: A file is missing, edited, of another run, or contradicts another; names it.
    """
    config, summary = run.config(), run.summary()
    sums = _check_sums(run)
    try:
        signed = _check_signed(run, config, sums, opener, studios)
        manifest = run.manifest()
        _same(run.config_file, manifest["config_sha256"], "manifest.json")
        _same(run.product_file, summary["product_sha256"], "summary.json")
        if config.run.seed != manifest["seed"]:
            raise AuditError(f"{run.manifest_file}: seed {manifest['seed']} is not that of config.toml")
        artists = private_artists(manifest)
        plan = stated_plan(run, config, manifest)
        layouts = layouts_of(run, config, plan, manifest)
        manifests = signed.manifests if signed else ()
        require_terms(run, layouts, manifests)
        histories = _histories(run, read_json(run.ledger_file, dict, AuditError), artists)
        for artist, entries in histories.items():
            if entries is not None:
                require_planned(run, layouts, artist, entries)
                _require_received(run, artist, entries, manifests)
        own = _check_own(run, config, histories, studios)
        require_recorded(run, plan, histories)
        withdrawn = {row["artist"]: row["withdrawn"] for row in summary["privacy"]["per_artist"]}
        note = CanaryNote.of(config, len(artists))
        if set(withdrawn) != set(artists):
            odd = min(set(withdrawn) ^ set(artists))
            raise AuditError(
                f"{run.summary_file}: artist {odd!r} is not in both summary.json and ledger.json"
            )
        require_summary(run, statement(run, system_bound(config), plan, histories, withdrawn, note), summary)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise AuditError(f"{run.path}: a file lacks what it should hold: {error}") from None
    except AuditError:
        raise
    except (FedStyleError, ValueError, ArithmeticError) as error:
        raise AuditError(f"{run.path}: {error}") from None
    return Checked(
        sums, own, len(artists), signed.opener if signed else None, signed.source if signed else None
    )


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


def _check_signed(
    run: RunFolder, config: Config, sums: Mapping[str, str], opener: str | None, studios: Path | None
) -> Signed | None:
    """What the opener signed, once all of it holds: openings, settings, and every file at the run's end."""
    path = run.transcript_file
    if not config.secure_sum.enabled:
        if path.exists() or opener is not None:
            raise AuditError(
                f"{path}: by config.toml nothing is summed under encryption, so an opener signs nothing"
            )
        root = _studios(run, config, studios)
        if root is not None and _was_asked(opener_home(root), run):
            raise AuditError(
                f"{run.config_file}: says that nothing is summed under encryption, and the opener beside the "
                "run was asked to sign for it"
            )
        return None
    signed = check_transcript(run, opener, studios)
    if signed.problems:
        raise AuditError(f"{path}: {signed.problems[0]}")
    assert signed.closing is not None
    stated = {name: digest for name, digest in sums.items() if name != path.name}
    for name in sorted({*stated, *signed.closing.files}):
        if stated.get(name) != signed.closing.files.get(name):
            raise AuditError(
                f"{run.path / name}: was edited since the run ended: the opener signed another hash of it"
            )
    return signed


def _was_asked(home: Path, run: RunFolder) -> bool:
    """Whether an opener's own journal knows a run."""
    records = Journal(home / "journal.jsonl").refresh()
    return any(record.get("run") == run.identity for record in records)


def _histories(
    run: RunFolder, ledger: Mapping[str, Any], artists: Sequence[str]
) -> dict[str, tuple[Entry, ...] | None]:
    """Every artist's releases; None where no figure can stand on its ledger."""
    if set(artists) != set(ledger):
        odd = min(set(artists) ^ set(ledger))
        raise AuditError(f"{run.ledger_file}: artist {odd!r} is not in both ledger.json and manifest.json")
    return {artist: _entries(run, artist, values) for artist, values in ledger.items()}


def _require_received(
    run: RunFolder, artist: str, entries: Sequence[Entry], manifests: Sequence[Manifest]
) -> None:
    """Every round in which the platform got a release, by its own metrics or by what the opener signed."""
    got = {line["round"] for line in run.metrics() if artist in line["released_by"]}
    got |= {manifest.round for manifest in manifests if artist in manifest.artists}
    if not got <= {entry.round for entry in entries if entry.run == run.identity}:
        raise AuditError(
            f"{run.ledger_file}: artist {artist!r}: lacks a round in which the platform got a release"
        )


def _check_own(
    run: RunFolder,
    config: Config,
    histories: Mapping[str, tuple[Entry, ...] | None],
    studios: Path | None,
) -> dict[str, Own]:
    """The artists' own chained ledgers, where they are there: each must begin with the run's copy."""
    root = _studios(run, config, studios)
    if root is None:
        return {}
    accountant = Accountant(config.privacy.delta)
    found: dict[str, Own] = {}
    for artist, entries in histories.items():
        if entries is None:
            continue
        path = studio_home(root, config.gallery, artist) / "ledger.jsonl"
        if entries and not path.exists():
            raise AuditError(f"{path}: is missing, and artist {artist!r} released something for {run.path}")
        try:
            own = Ledger(path).entries
        except PrivacyError as error:
            raise AuditError(f"{path}: {error}") from None
        ours = [entry for entry in own if entry.run == run.identity]
        if own[: len(entries)] != entries or ours != [e for e in entries if e.run == run.identity]:
            raise AuditError(
                f"{run.ledger_file}: artist {artist!r}: is not what the artist's own ledger holds"
            )
        found[artist] = Own(len(own), {unit: accountant.spent(own, unit) for unit in _UNITS})
    return found


def _studios(run: RunFolder, config: Config, named: Path | None) -> Path | None:
    """The run's studios; None where they are not there."""
    if named is not None:
        return known_studios(run, named)
    said, near = studios_root(config, run), beside(run)
    if said != near and has_studios(run, near):
        raise AuditError(
            f"{near}: are the run's studios, and its own files point elsewhere, to {said}; name the right "
            "ones with --studios"
        )
    return said if has_studios(run, said) else None


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
        raise AuditError(f"{folder / 'audit.json'}: {first_problem(error)}") from None
    _check_settings(folder / "audit.json", audit)
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
        raise AuditError(f"{path}: settings.{first_problem(error)}") from None
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
