"""What a policy asked, and what of it was met: `policy` asks, a report prints it, `check` exits by it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fedstyle_secure.files import file_sha256


@dataclass(frozen=True)
class Check:
    """One thing that a policy asks, and whether the run meets it.

    Attributes:
        policy: The policy's file.
        line: Line in it, from 1.
        key: Which of its keys.
        subject: What was looked at.
        problem: Why it is not met, in a sentence; "" where it is.
        about: What it is about, where several checks ask the same of it; "": the subject.
        view: Adversary view that it is of those, or "".
        case: Which it is of those: an artist, or a target with a figure.
    """

    policy: Path
    line: int
    key: str
    subject: str
    problem: str = ""
    about: str = ""
    view: str = ""
    case: str = ""

    def __str__(self) -> str:
        return f"{self.policy}:{self.line}: {self.key}: {self.subject}: {self.problem or 'met'}"


@dataclass(frozen=True)
class Held:
    """A policy that a run, or an own audit, was held against.

    Attributes:
        policy: Its file.
        checks: Everything that it asks, met or not.
        opener: The opener's key that it names, or None.
    """

    policy: Path
    checks: Sequence[Check]
    opener: str | None = None

    @property
    def verdict(self) -> Literal["met", "not met"]:
        """Whether everything is met."""
        return "not met" if any(check.problem for check in self.checks) else "met"

    def to_dict(self) -> dict[str, Any]:
        """For `report.json`: `keys` has a row for each key of the policy that was asked, in the file's order,
        with its line, how many checks it made, how many failed, and the first that did."""
        rows: dict[tuple[int, str], list[Check]] = {}
        for check in self.checks:
            rows.setdefault((check.line, check.key), []).append(check)
        keys = []
        for (line, key), asked in sorted(rows.items()):
            failed = [check for check in asked if check.problem]
            first = {"subject": failed[0].subject, "problem": failed[0].problem} if failed else None
            keys.append(
                {"line": line, "key": key, "asked": len(asked), "failed": len(failed), "first": first}
            )
        return {
            "file": self.policy.name, "sha256": file_sha256(self.policy), "verdict": self.verdict,
            "asked": len(self.checks), "failed": sum(bool(check.problem) for check in self.checks),
            "keys": keys,
        }  # fmt: skip
