"""How much an artist is ready to give away, over all its runs."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fedstyle_secure.config import PrivacySection
from fedstyle_secure.errors import BudgetError, ConfigError, PrivacyError
from fedstyle_secure.privacy.accounting import epsilon, rdp_epsilon
from fedstyle_secure.privacy.events import Event
from fedstyle_secure.privacy.ledger import Entry, costs
from fedstyle_secure.privacy.units import Unit


@dataclass(frozen=True)
class Budget:
    """A limit on everything that an artist ever releases.

    Attributes:
        epsilon: Limit on the composed epsilon, > 0; infinite: none.
        delta: At which delta, in (0, 1).
        unit: For which unit.

    Example:
        >>> from fedstyle_secure.privacy.events import SampledGaussian
        >>> budget = Budget(epsilon=1.0, delta=1e-5, unit="artwork")
        >>> budget.covers([SampledGaussian(4.0, 1.0, 1)]), budget.covers([SampledGaussian(4.0, 1.0, 2)])
        (True, False)
    """

    epsilon: float
    delta: float
    unit: Unit

    def __post_init__(self) -> None:
        if not self.epsilon > 0 or not 0 < self.delta < 1:
            raise PrivacyError(f"no budget: epsilon {self.epsilon} at delta {self.delta}")

    def left(self, spent: float) -> float:
        """What is left after a composed epsilon; a guide, as epsilons do not add up. Infinite: no limit."""
        return max(self.epsilon - spent, 0.0) if math.isfinite(self.epsilon) else math.inf

    def covers(self, events: Sequence[Event] | None) -> bool:
        """Whether events composed cost no more than the limit; None, no guarantee, costs more than any."""
        if math.isinf(self.epsilon):
            return True
        # RDP's bound takes a millisecond; the tighter ones are worth their time near the limit only.
        return events is not None and (
            rdp_epsilon(events, self.delta) <= self.epsilon or epsilon(events, self.delta) <= self.epsilon
        )

    def require(self, before: Sequence[Entry], new: Sequence[Entry]) -> None:
        """Check that new releases fit beside earlier ones.

        Raises:
            BudgetError: They do not.
        """
        if not self.covers(costs([*before, *new], self.unit)):
            raise BudgetError(
                f"round {new[0].round}: the releases so far and these together cost more than epsilon "
                f"{self.epsilon:g} at delta {self.delta:g} per {self.unit}"
            )


def budget_of(settings: PrivacySection) -> Budget:
    """The budget that the settings give an artist."""
    limit = math.inf if settings.budget_epsilon == "none" else settings.budget_epsilon
    return Budget(limit, settings.delta, settings.unit)


def warn_of_budgets(budget: Budget, planned: Sequence[Event], earlier: Mapping[str, Sequence[Entry]]) -> None:
    """Log which artists will decline before the run's end, so that no budget is hit by surprise.

    Args:
        budget: Every artist's.
        planned: What an artist who takes part in everything releases in the run.
        earlier: What artists released for other runs.

    Raises:
        ConfigError: The plan costs more than the budget even for one who never released anything.
    """
    if math.isinf(budget.epsilon):
        return
    if not budget.covers(planned):
        raise ConfigError(
            f"privacy.budget_epsilon = {budget.epsilon:g} does not cover what the run plans to release; "
            "lower privacy.target_epsilon to it, or raise it"
        )
    short = [
        artist
        for artist, entries in earlier.items()
        if not budget.covers(None if (spent := costs(entries, budget.unit)) is None else [*spent, *planned])
    ]
    if short:
        logging.getLogger("fedstyle_secure").warning(
            "privacy.budget_epsilon = %g: %d of %d artists have released too much before to take part in "
            "every round; they will decline, and the rounds go on without them: %s",
            budget.epsilon,
            len(short),
            len(earlier),
            ", ".join(short[:10]) + (", ..." if len(short) > 10 else ""),
        )
