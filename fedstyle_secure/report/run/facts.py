"""What a report may say: everything read from a finished run's folder, after the folder was checked."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from fedstyle_secure.audit.exposed_works import read_exposed
from fedstyle_secure.audit.findings import Finding, intended, read_about, read_findings
from fedstyle_secure.audit.integrity import Checked, check_audit, check_finished
from fedstyle_secure.config import Config
from fedstyle_secure.errors import AuditError
from fedstyle_secure.files import file_sha256, read_json
from fedstyle_secure.privacy.events import event_from_dict
from fedstyle_secure.privacy.units import Unit
from fedstyle_secure.registry import words_named
from fedstyle_secure.report.page.pieces import Piece
from fedstyle_secure.report.page.say import Speaker
from fedstyle_secure.report.page.sources import escape
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.secure_sum.manifest import Manifest
from fedstyle_secure.secure_sum.profiles import MAX_MODULUS_BITS
from fedstyle_secure.secure_sum.transcript import read as read_transcript
from fedstyle_secure.studios import withdrawals
from fedstyle_secure.words import Words

_SECURITY_BITS = 128
"""The level that `MAX_MODULUS_BITS` stands for: Homomorphic Encryption Standard 2018, table 1."""

_TOOLS = ("fedstyle-secure", "jinja2", "typst")


@dataclass(frozen=True)
class Facts(Speaker):
    """A checked run.

    Attributes:
        run: Its folder.
        config: Its settings.
        manifest, summary, ledger: The files of that name.
        metrics: A dictionary a round.
        audit: `audit/audit.json`, or None: no audit was run.
        findings: In the order of `audit/findings.json`.
        own: Everything that is not in a file of the run: hashes, versions of the tools that wrote the report,
            the encoder's size, and what was checked. It becomes part of `report.json`.
        files: What figures cite, by file name.
    """

    run: RunFolder
    config: Config
    manifest: Mapping[str, Any]
    summary: Mapping[str, Any]
    ledger: Mapping[str, Any]
    metrics: Sequence[Mapping[str, Any]]
    audit: Mapping[str, Any] | None
    findings: tuple[Finding, ...]
    own: Mapping[str, Any]
    files: Mapping[str, Any]

    @property
    def exposed(self) -> Mapping[str, Any]:
        """By file: the works that stand out to an attack; {} for audits that kept none."""
        return {name: found for name, found in self.files.items() if name.startswith("exposed_")}

    @property
    def name(self) -> str:
        """The name of the run's folder."""
        return self.run.path.resolve().name

    @property
    def words(self) -> Words:
        """What the run's system calls its parts."""
        return words_named(self.config.run.system)

    @property
    def artists(self) -> list[tuple[int, str]]:
        """Private artists, each with its place in the manifest's list."""
        rows = self.manifest["gallery"]["artists"]
        return [(i, row["artist"]) for i, row in enumerate(rows) if not row["public"]]

    @cached_property
    def trained(self) -> list[tuple[int, str]]:
        """Of `artists`, those who released anything for this run: who withdrew before it began did not. Of an
        artist whose ledger cannot be read nobody can tell, and it counts."""
        found = {
            artist
            for artist, entries in self.ledger.items()
            if entries is None or any(entry["run"] == self.run.identity for entry in entries)
        }
        return [(i, artist) for i, artist in self.artists if artist in found]

    @property
    def over_sites(self) -> bool:
        """Whether artists were on machines of their own, so that their works were never counted."""
        return "federation" in self.manifest

    @property
    def refused(self) -> Sequence[Mapping[str, Any]]:
        """Works whose use was not allowed; none where nobody was asked."""
        refused: Sequence[Mapping[str, Any]] = self.manifest["gallery"].get("refused", ())
        return refused

    @property
    def views(self) -> list[tuple[int, Mapping[str, Any]]]:
        """The audit's adversary views, each with its place in the audit's list."""
        return list(enumerate(self.audit["views"])) if self.audit else []

    @property
    def alarms(self) -> list[int]:
        """Places of findings above their bound."""
        return [i for i, finding in enumerate(self.findings) if finding.alarm]

    @property
    def dp(self) -> bool:
        """Whether every release has noise."""
        return self.config.privacy.dp == "on" and self.config.privacy.noise_multiplier != 0

    @cached_property
    def shares(self) -> str:
        """Pointer to the parameters of a release whose noise is shared, `honest` and `cohort` among them; ""
        where there is none, or where shares left one by one, so that the ledger has no guarantee for them."""
        unit = self.config.privacy.unit
        for artist, entries in self.ledger.items():
            for i, entry in enumerate(entries or ()):
                for key in ("shared", "noise"):
                    if isinstance(entry["parameters"].get(key), dict) and self.covered(entry, unit):
                        return self.ledger_pointer(artist, i, "parameters")
        return ""

    def covered(self, entry: Mapping[str, Any], unit: Unit) -> bool:
        """Whether a release of the ledger guarantees a unit anything: a cost without noise is none."""
        cost = entry[f"{unit}_cost"]
        return cost is not None and not event_from_dict(cost).noiseless

    def called(self, artist: str) -> Piece:
        """A private artist's name, cited."""
        for i, row in enumerate(self.summary["privacy"]["per_artist"]):
            if row["artist"] == artist:
                return self.sources.text(f"summary.json#/privacy/per_artist/{i}/artist")
        return artist

    def withdrawn(self, i: int) -> Piece:
        """When the artist of a row of `summary.json` withdrew, as its own ledger says today; whether it did
        before the run ended, where that ledger is not here."""
        row = self.summary["privacy"]["per_artist"][i]
        if row["artist"] in self.own["withdrawn"]:
            return self.sources.text(f"report.json#/withdrawn/{escape(row['artist'])}")
        if row["artist"] not in self.own["withdrawal_unknown"]:
            return "no"
        return "before the run ended" if row["withdrawn"] else "not known"

    @property
    def last_release(self) -> str:
        """Pointer to when the last release of the run left; "" where no ledger can be read."""
        last = [
            (entry["at"], self.ledger_pointer(artist, i, "at"))
            for artist, entries in self.ledger.items()
            for i, entry in enumerate(entries or ())
            if entry["run"] == self.run.identity
        ]
        return max(last)[1] if last else ""

    @property
    def held(self) -> str:
        """What an audit gave its adversaries, in words: what they really hold, or more."""
        assert self.audit is not None
        lacking = self.audit["settings"]["without"]
        if not lacking:
            return "really holds"
        return f"would hold if the run lacked what it does not lack ({', '.join(lacking).replace('_', ' ')})"

    def with_more(self, **more: Any) -> Facts:
        """The same with more to say that is in no file of the run; it becomes part of `report.json`."""
        own = {**self.own, **more}
        return replace(self, own=own, files={**self.files, "report.json": own})

    def ledger_pointer(self, artist: str, *rest: str | int) -> str:
        """Where an artist's releases are."""
        return "/".join([f"ledger.json#/{escape(artist)}", *(escape(part) for part in rest)])


def read_facts(run: Path | str, opener: str | None = None, studios: Path | None = None) -> Facts:
    """Read and check a finished run's folder.

    Args:
        run: The folder.
        opener: The opener's public key, which whoever checks got from the opener; None: the studios', or else
            the one that the run states.
        studios: Where the artists' own ledgers lie; None: where the run says, if they are there.

    Raises:
        RunError: There is no finished run.
        AuditError: A file is missing, edited, or of another run; names it.
    """
    folder = RunFolder(Path(run))
    checked = check_finished(folder, opener, studios)
    config, summary, manifest = folder.config(), folder.summary(), folder.manifest()
    ledger, metrics = read_json(folder.ledger_file, dict, AuditError), folder.metrics()
    try:
        audit, findings = _audit(folder, checked)
    except (KeyError, TypeError, AttributeError) as error:
        raise AuditError(f"{folder.path}: a file lacks what it should hold: {error}") from None
    transcript = folder.transcript_file
    lines = transcript.read_text(encoding="utf-8").splitlines() if transcript.is_file() else []
    manifests = read_transcript(transcript).manifests if lines else ()
    own = _own(folder, audit, checked, ledger) | {"scheme": _scheme(manifests)}
    own |= _withdrawals(folder, ledger, studios) | {"policy": None, "alternatives": None}
    findings = _consented(audit, findings, [*own["withdrawn"], *_gone(summary)])
    files = {
        "config.toml": config.model_dump(mode="json"),
        "manifest.json": manifest,
        "summary.json": summary,
        "ledger.json": ledger,
        "metrics.jsonl": metrics,
        "transcript.jsonl": lines,
        "findings.json": [finding.to_dict() for finding in findings],
        "audit.json": audit,
        "report.json": own,
    }
    if audit is not None:
        home = folder.path / "audit"
        kept = [name for name in audit["files"] if name.startswith("exposed_")]
        files |= {name: read_exposed(home / name) for name in kept}
    return Facts(folder, config, manifest, summary, ledger, metrics, audit, findings, own, files)


def _audit(folder: RunFolder, checked: Checked) -> tuple[Mapping[str, Any] | None, tuple[Finding, ...]]:
    path = folder.path / "audit" / "audit.json"
    if not path.exists():
        stray = next(iter(sorted(path.parent.glob("*"))), None) if path.parent.is_dir() else None
        if stray is not None:
            raise AuditError(f"{path}: is missing, so nothing vouches for {stray.name}; audit the run again")
        return None, ()
    audit = read_about(path)
    check_audit(folder, audit, checked.sums)
    findings = tuple(read_findings(path.parent / "findings.json"))
    keys = {view["key"] for view in audit["views"]}
    for i, finding in enumerate(findings):
        if finding.view not in keys:
            raise AuditError(f"{path}: finding {i} has the view {finding.view!r}, which is not listed")
        for name in (*finding.pictures, *filter(None, [finding.curve])):
            if name not in audit["files"]:
                raise AuditError(
                    f"{path.parent / name}: finding {i} names it, and audit.json has no hash of it"
                )
    return audit, findings


def _gone(summary: Mapping[str, Any]) -> list[str]:
    """Who had withdrawn when the run ended."""
    return [row["artist"] for row in summary["privacy"]["per_artist"] if row["withdrawn"]]


def _consented(
    audit: Mapping[str, Any] | None, findings: Sequence[Finding], withdrawn: Sequence[str]
) -> tuple[Finding, ...]:
    """Findings as they are to be told today: what was `by design` leaks once an artist has withdrawn."""
    if audit is None:
        return tuple(findings)
    purposes = {attack["name"]: attack.get("purpose", "") for attack in audit["attacks"]}
    gone = [artist for artist in dict.fromkeys(withdrawn) if artist in audit["artists"]]
    return tuple(
        intended(f, purposes[f.attack], gone) if gone and purposes.get(f.attack) else f for f in findings
    )


def _own(
    folder: RunFolder, audit: Mapping[str, Any] | None, checked: Checked, ledger: Mapping[str, Any]
) -> dict[str, Any]:
    hashes = {name: digest for name, digest in checked.sums.items() if "/" not in name}
    hashes["SHA256SUMS"] = file_sha256(folder.sums_file)
    if audit is not None:
        hashes["audit/audit.json"] = file_sha256(folder.path / "audit" / "audit.json")
        hashes["audit/findings.json"] = file_sha256(folder.path / "audit" / "findings.json")
    return {
        "run": folder.identity,
        "made_with": {name: metadata.version(name) for name in _TOOLS},
        "hashes": hashes,
        "encoder_values": _model_values(folder.product_file),
        "checked": {
            "artists_ledgers": len(checked.own),
            "artists": checked.artists,
            "opener": checked.opener,
            "opener_by": checked.opener_by,
        },
        "since": {
            artist: {
                "releases": own.releases - len(ledger[artist]),
                **{f"epsilon_{unit}": _finite(value) for unit, value in own.epsilon.items()},
            }
            for artist, own in checked.own.items()
            if own.releases > len(ledger[artist])
        },
    }


def _withdrawals(folder: RunFolder, artists: Iterable[str], studios: Path | None) -> dict[str, Any]:
    """Who has withdrawn by now, and when; and of whom nobody here can tell, as its own ledger is not here."""
    known = withdrawals(folder, artists, studios) or {}
    return {
        "withdrawn": {artist: at for artist, at in known.items() if at},
        "withdrawal_unknown": [artist for artist in artists if artist not in known],
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _model_values(path: Path) -> int:
    """Weights and buffers of the model, fixed and trained."""
    try:
        with safe_open(path, framework="numpy") as file:
            names = [name for name in file.keys() if not name.startswith("public/")]  # noqa: SIM118
            return sum(math.prod(file.get_slice(name).get_shape()) for name in names)
    except (OSError, SafetensorError) as error:
        raise AuditError(f"{path}: cannot be read: {error}") from None


def _scheme(manifests: Sequence[Manifest]) -> dict[str, int] | None:
    """Parameters of the profile that the first opening was signed under; None where nothing was opened."""
    if not manifests:
        return None
    profile = manifests[0].layout.profile
    return {
        "degree": profile.degree,
        "modulus_bits": sum(profile.coefficient_bits),
        "modulus_bits_allowed": MAX_MODULUS_BITS,
        "security_bits": _SECURITY_BITS,
    }
