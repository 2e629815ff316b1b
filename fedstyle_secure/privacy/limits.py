"""What an artist's own policy lets out of its gate in a run, whatever the run's settings say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum

from fedstyle_secure.errors import BudgetError, PolicyDeclined
from fedstyle_secure.privacy.budget import Budget
from fedstyle_secure.privacy.ledger import Entry

_DAY = timedelta(days=1)


class Reason(IntEnum):
    """What of a policy forbids something. Numbers are for the artist's own log: none of them leaves."""

    SYSTEM = 1
    PURPOSE = 2
    UNIT = 3
    NO_GUARANTEE = 4
    NOISE = 5
    EPSILON_RUN = 6
    EPSILON_LIFETIME = 7
    CLIP = 8
    ROUNDS = 9
    RELEASES_A_DAY = 10
    CLEAR = 11
    COHORT = 12
    CONTRIBUTORS = 13
    COLLUDERS = 14
    CANARIES = 15
    RECORD = 16
    KIND = 17


@dataclass(frozen=True)
class Limits:
    """Limits of one artist in one run.

    Attributes:
        policy: The policy's digest, which every entry of the ledger bears.
        run: What all releases of the run may cost together.
        lifetime: What all releases of all runs may cost together.
        releases_a_day: Most releases within any 24 hours, over all runs.
        kinds: Most releases of each kind in the run; of a kind that is not there: none.
        named: Kinds that leave under the artist's name: one too many is left out, and the rest of its round
            goes on, as of an artist who does not publish. One too many of any other kind is refused with
            everything of its round.

    Example:
        >>> budget = Budget(8.0, 1e-5, "artwork")
        >>> limits = Limits("", budget, budget, 40, {"update": 16, "card": 0}, frozenset({"card"}))
        >>> limits.withholds((), "run", "card"), limits.withholds((), "run", "update")
        (True, False)
    """

    policy: str
    run: Budget
    lifetime: Budget
    releases_a_day: int
    kinds: Mapping[str, int]
    named: frozenset[str] = field(default=frozenset())

    def withholds(self, before: Sequence[Entry], run: str, kind: str) -> bool:
        """Whether a release of a kind is left out of its round.

        Args:
            before: All releases so far.
            run: Identity of the run.
            kind: Of the release.
        """
        return kind in self.named and self._made(before, run, kind) >= self.kinds.get(kind, 0)

    def require(self, before: Sequence[Entry], new: Sequence[Entry]) -> None:
        """Check that the releases of a round fit beside earlier ones.

        Args:
            before: All releases so far, of all runs.
            new: Those of the round, of one run and of one time.

        Raises:
            PolicyDeclined: A kind is not to leave, or not so often, or too many leave in a day.
            BudgetError: They would cost more than the policy allows.
        """
        run, number = new[0].run, new[0].round
        for entry in new:
            most = self.kinds.get(entry.kind, 0)
            if self._made(before, run, entry.kind) >= most:
                raise PolicyDeclined(
                    Reason.KIND, f"round {number}: {most} releases of {entry.kind!r} are allowed in this run"
                )
        # The run first: a round that is beyond both is beyond what the run may cost.
        for budget, whose, what in (
            (self.run, [e for e in before if e.run == run], "privacy.max_epsilon_run"),
            (self.lifetime, before, "privacy.max_epsilon_lifetime"),
        ):
            try:
                budget.require(whose, new)
            except BudgetError as error:
                raise BudgetError(f"{error} ({what} of the artist's policy)") from None
        recent = sum(_within_a_day(entry.at, new[0].at) for entry in before) + len(new)
        if recent > self.releases_a_day:
            raise PolicyDeclined(
                Reason.RELEASES_A_DAY,
                f"round {number}: {recent} releases within 24 hours; privacy.max_releases_a_day = "
                f"{self.releases_a_day}",
            )

    @staticmethod
    def _made(before: Sequence[Entry], run: str, kind: str) -> int:
        return sum((entry.run, entry.kind) == (run, kind) for entry in before)


def _within_a_day(then: str, now: str) -> bool:
    """Whether a time lies less than a day back, or ahead, or is none: a clock that was set back frees
    nothing."""
    try:
        return datetime.fromisoformat(then) > datetime.fromisoformat(now) - _DAY
    except (ValueError, TypeError):
        return True
