"""Checks that ask the same of the same thing, told as one: over views, rates and artists."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fedstyle_secure.policy.checks import some
from fedstyle_secure.report.held import Check


@dataclass(frozen=True)
class Point:
    """What a line of a policy asks of one thing.

    Attributes:
        checks: At least one: the same line and key, about the same.
    """

    checks: tuple[Check, ...]

    @property
    def policy(self) -> Path:
        """The policy's file."""
        return self.checks[0].policy

    @property
    def line(self) -> int:
        """Line in it, from 1."""
        return self.checks[0].line

    @property
    def key(self) -> str:
        """Which of its keys."""
        return self.checks[0].key

    @property
    def subject(self) -> str:
        """What was looked at."""
        return self.checks[0].about or self.checks[0].subject

    @property
    def problem(self) -> str:
        """Every problem once, with where it is; "" where all is met."""
        alike: dict[str, list[Check]] = {}
        for check in self.checks:
            if check.problem:
                alike.setdefault(check.problem, []).append(check)
        return "; ".join(problem + _where(checks) for problem, checks in alike.items())

    def __str__(self) -> str:
        return f"{self.policy}:{self.line}: {self.key}: {self.subject}: {self.problem or 'met'}"


def points(checks: Iterable[Check]) -> list[Point]:
    """The same as fewer lines, in the order of the first of each."""
    alike: dict[tuple[int, str, str], list[Check]] = {}
    for check in checks:
        alike.setdefault((check.line, check.key, check.about or check.subject), []).append(check)
    return [Point(tuple(same)) for same in alike.values()]


def _where(checks: Sequence[Check]) -> str:
    """` (views: cases; ...)` of checks with the same problem; cases of the same views stand together."""
    views: dict[str, list[str]] = {}
    for check in checks:
        if check.case:
            views.setdefault(check.case, []).append(check.view)
    cases: dict[str, list[str]] = {}
    for case, whose in views.items():
        cases.setdefault(", ".join(filter(None, whose)), []).append(case)
    told = [f"{whose}: {some(those)}" if whose else some(those) for whose, those in cases.items()]
    return f" ({'; '.join(told)})" if told else ""
