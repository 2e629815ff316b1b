"""What artists of a run have given away and what is left of their budgets, as `fedstyle ledger` has it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fedstyle_secure.accounts import Account
from fedstyle_secure.config import Config
from fedstyle_secure.privacy.units import Unit


@dataclass(frozen=True)
class LedgerRow:
    """An artist's account.

    Attributes:
        place: In the run's list, from 0.
        account: As it is.
        releases: How many.
        epsilon: Of everything, in the run's unit; None: no guarantee.
        other: The same in the other unit.
        left: Of the budget; None: none is set.
        share: Of the budget that is spent, in [0, 1], for a bar; None where none is set.
    """

    place: int
    account: Account
    releases: int
    epsilon: float | None
    other: float | None
    left: float | None
    share: float | None


@dataclass(frozen=True)
class LedgersPage:
    """All artists of a run.

    Attributes:
        unit: Of privacy, the run's.
        delta: At which delta.
        budget: `privacy.budget_epsilon`, or None.
        rows: One an artist.
        live: Whether all are the artists' own ledgers as they are now.
        lifetime: Whether all runs of an artist are in its figures.
    """

    unit: str
    delta: float
    budget: float | None
    rows: Sequence[LedgerRow]
    live: bool
    lifetime: bool


def ledgers_page(config: Config, found: Sequence[Account]) -> LedgersPage:
    """Accounts as rows."""
    limit = config.privacy.budget_epsilon
    budget = None if limit == "none" else float(limit)
    rows = [_row(place, account, budget) for place, account in enumerate(found)]
    return LedgersPage(
        unit=config.privacy.unit,
        delta=config.privacy.delta,
        budget=budget,
        rows=rows,
        live=all(account.live for account in found),
        lifetime=all(account.lifetime for account in found),
    )


def _row(place: int, account: Account, budget: float | None) -> LedgerRow:
    other: Unit = "artist" if account.unit == "artwork" else "artwork"
    spent = account.spent[account.unit]
    return LedgerRow(
        place=place,
        account=account,
        releases=sum(len(line.entries) for line in account.lines),
        epsilon=_finite(spent),
        other=_finite(account.spent[other]),
        left=None if budget is None else _finite(account.left),
        share=None if budget is None else min(spent / budget, 1.0),
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
