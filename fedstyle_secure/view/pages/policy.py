"""A run held against the policy that the page was started with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fedstyle_secure.errors import FedStyleError

if TYPE_CHECKING:
    from fedstyle_secure.report.held import Check


@dataclass(frozen=True)
class PolicyPage:
    """What a policy says of a run.

    Attributes:
        policy: The policy's file.
        checks: Everything that it asks.
        problem: Why it could not be asked, or "".
    """

    policy: Path
    checks: Sequence[Check]
    problem: str

    @property
    def failed(self) -> Sequence[Check]:
        """What is not met."""
        return [check for check in self.checks if check.problem]


def policy_page(run: Path, policy: Path, studios: Path | None) -> PolicyPage:
    """Check a run and hold it against a policy, as `fedstyle check` does.

    Args:
        run: The run's folder.
        policy: The policy's file.
        studios: The artists' own ledgers; None: they do not lie where the page may read them.
    """
    # Takes seconds to load, which no other page needs.
    from fedstyle_secure.policy.own import all_checks

    if studios is None:
        problem = (
            "the artists' studios do not lie in this folder; `fedstyle check` can be told where they are"
        )
        return PolicyPage(policy, (), problem)
    try:
        return PolicyPage(policy, all_checks(run, policy, studios=studios), "")
    except FedStyleError as error:
        return PolicyPage(policy, (), str(error))
