"""What a report on an own audit may say: its two files, after they were checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from fedstyle_secure.audit.findings import Finding
from fedstyle_secure.audit.own import VIEW, OwnAudit, read_own_audit
from fedstyle_secure.report.page.say import Speaker

_TOOLS = ("fedstyle-secure", "jinja2", "typst")


@dataclass(frozen=True)
class OwnFacts(Speaker):
    """A checked own audit.

    Attributes:
        own_audit: What was read.
        own: Everything that is in neither file; it becomes part of `report.json`.
        files: What figures cite, by file name.
    """

    own_audit: OwnAudit
    own: Mapping[str, Any]
    files: Mapping[str, Any]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """In the order of `findings.json`."""
        return self.own_audit.findings

    @property
    def alarms(self) -> list[int]:
        """Places of findings above what was claimed."""
        return [i for i, finding in enumerate(self.findings) if finding.alarm]

    @property
    def checks(self) -> list[Mapping[str, Any]]:
        """What had to hold."""
        return list(self.own_audit.about["checks"])

    @property
    def claim(self) -> Mapping[str, Any] | None:
        """What was claimed; `epsilon` is None where that was nothing."""
        claim: Mapping[str, Any] | None = self.own_audit.about["claim"]
        return claim

    def with_more(self, **more: Any) -> OwnFacts:
        """The same with more to say that is in neither file; it becomes part of `report.json`."""
        own = {**self.own, **more}
        return replace(self, own=own, files={**self.files, "report.json": own})

    @property
    def audit(self) -> Mapping[str, Any]:
        """As a run's `audit.json` names views and attacks."""
        names = dict.fromkeys(finding.attack for finding in self.findings)
        return {
            "views": [{"key": VIEW}],
            "attacks": [{"key": name.lower().replace(" ", "_"), "name": name} for name in names],
        }


def read_own_facts(folder: Path | str) -> OwnFacts:
    """Read and check an own audit's folder. Raises AuditError naming a file."""
    read = read_own_audit(Path(folder))
    own = {
        "made_with": {name: metadata.version(name) for name in _TOOLS},
        "hashes": dict(read.hashes),
        "policy": None,
    }
    files = {
        "audit.json": read.about,
        "findings.json": [finding.to_dict() for finding in read.findings],
        "report.json": own,
    }
    return OwnFacts(read, own, files)
