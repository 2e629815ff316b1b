"""One cell of a sweep: its folder, whether it is done, and doing it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedstyle_secure.audit.findings import Finding, read_about, read_findings
from fedstyle_secure.audit.integrity import check_audit, check_finished
from fedstyle_secure.audit.settings import AuditSettings
from fedstyle_secure.errors import AuditError, RunError
from fedstyle_secure.files import write_text
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.sweep.grid import Cell
from fedstyle_secure.sweep.work import ERROR, Work, audited

CODE = "code.sha256"
"""File in a cell's folder that says which program's sources made it."""


@dataclass(frozen=True)
class CellFolder:
    """Paths of a cell: its run, and the studios of its artists.

    Every cell has studios of its own, as a sweep tries out what one run costs. What all of them cost together
    is worked out from all their ledgers.
    """

    path: Path
    cell: Cell

    @property
    def run(self) -> RunFolder:
        """The run's folder."""
        return RunFolder(self.path / "run")

    @property
    def studios(self) -> Path:
        """The artists' own folders."""
        return self.path / "studios"

    @property
    def error(self) -> str:
        """Why the last try failed; "" where it did not."""
        try:
            return (self.path / ERROR).read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return ""

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do. Its files' hashes are not looked at; `verify` does that.

        Raises:
            AuditError: What is there was made with other settings.
        """
        if not self.run.finished:
            return False
        self._require()
        if self.cell.audit is None or not audited(self.run):
            return self.cell.audit is None
        self._require_audit(self.cell.audit)
        return True

    def verify(self) -> None:
        """Check a finished cell file by file, as an audit and a report check a run.

        Raises:
            AuditError: A file is missing, edited or another run's, or contradicts another; names it.
        """
        try:
            checked = check_finished(self.run)
        except RunError as error:
            raise AuditError(f"{self.run.path}: {error}") from None
        if self.cell.audit is None:
            return
        path = self.run.audit_folder / "audit.json"
        about = self.audit()[0]
        try:
            check_audit(self.run, about, checked.sums)
        except (KeyError, TypeError, AttributeError) as error:
            raise AuditError(f"{path}: lacks what it should hold: {error}") from None

    def begin(self, code: str) -> None:
        """Make the folder, and note in it which program goes to work there."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_text(self.path / CODE, code + "\n")

    @property
    def pictures(self) -> str:
        """Hash of a finished cell's pictures. Raises AuditError where its manifest has none."""
        path = self.run.manifest_file
        try:
            return str(self.run.manifest()["gallery"]["digest"])
        except (RunError, KeyError, TypeError) as error:
            raise AuditError(f"{path}: has no hash of the gallery: {error}") from None

    @property
    def stated(self) -> tuple[Path, ...]:
        """The files that a finished cell's row rests on, and those with hashes of all its other files."""
        names = ("config.toml", "manifest.json", "ledger.json", "summary.json", self.run.sums_file.name)
        audit = ("audit/audit.json", "audit/findings.json") if self.cell.audit is not None else ()
        return tuple(path for name in names + audit if (path := self.run.path / name).exists())

    @property
    def work(self) -> Work:
        """What a worker needs to know."""
        audit = "" if self.cell.audit is None else self.cell.audit.model_dump_json()
        settings = self.cell.config.to_flat() | {"run.studios": str(self.studios)}
        return str(self.path), settings, audit

    def summary(self) -> dict[str, Any]:
        """The run's summary. Raises RunError where it is not finished."""
        return self.run.summary()

    def audit(self) -> tuple[Mapping[str, Any], list[Finding]]:
        """What `audit.json` says, and all findings; ({}, []) where the cell is not audited.

        Raises:
            AuditError: A file is missing or damaged.
        """
        if self.cell.audit is None:
            return {}, []
        folder = self.run.audit_folder
        return read_about(folder / "audit.json"), read_findings(folder / "findings.json")

    def _require(self) -> None:
        """A folder's name says what is in it; where it does not, somebody edited it."""
        asked, there = self.cell.config.to_flat(), self.run.config().to_flat()
        for key, value in asked.items():
            if key not in self.cell.config.places and there[key] != value:
                raise AuditError(f"{self.run.path}: was run with {key} = {there[key]!r}, not {value!r}")

    def _require_audit(self, asked: AuditSettings) -> None:
        """An audit that somebody made anew with other settings, a what-if among them, is not the cell's."""
        path = self.run.audit_folder / "audit.json"
        there = self.audit()[0].get("settings", {})
        for key, value in asked.model_dump(mode="json", exclude={"processes"}).items():
            if key not in there or there[key] != value:
                raise AuditError(
                    f"{path}: was made with {key} = {there.get(key)!r}, not {value!r}; take the audit's "
                    "folder away, and `fedstyle sweep --resume` makes it anew"
                )
