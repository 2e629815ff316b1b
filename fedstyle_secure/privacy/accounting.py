"""Epsilon of many releases together, and the noise that a target epsilon asks for."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

import numpy as np

from fedstyle_secure.errors import PrivacyError
from fedstyle_secure.privacy.mechanisms import Event

_PRV_ERROR = 0.01
"""Numerical error that PRV adds to epsilon; smaller takes longer."""


def merge(events: Iterable[Event]) -> tuple[Event, ...]:
    """Add up the steps of equal mechanisms; composition does not depend on their order."""
    steps: Counter[tuple[float, float]] = Counter()
    for event in events:
        steps[event.noise_multiplier, event.sampling_rate] += event.steps
    return tuple(Event(sigma, rate, count) for (sigma, rate), count in sorted(steps.items()))


def epsilon(events: Sequence[Event], delta: float) -> float:
    """Epsilon of all events composed, for adding or removing one artwork.

    The smaller of two upper bounds: PRV (Gopi, Lee and Wutschitz 2021) and RDP (Mironov 2017), both
    from Opacus. The PRV bound includes its numerical error.

    Args:
        events: What was released. None costs 0; one without noise costs infinity.
        delta: In (0, 1).
    """
    merged = merge(events)
    if not merged:
        return 0.0
    if any(event.noise_multiplier == 0 for event in merged):
        return math.inf
    bound = rdp_epsilon(merged, delta)
    # PRV's grid grows with epsilon; beyond this the figure is no guarantee anyone would act on.
    if bound <= 200:
        # At extreme deltas PRV's arithmetic refuses; then RDP's bound stands alone.
        with suppress(ValueError, RuntimeError):
            bound = min(bound, _prv_epsilon(merged, delta))
    return max(bound, 0.0)


def rdp_epsilon(events: Sequence[Event], delta: float) -> float:
    """As `epsilon`, by RDP alone (integer and fractional orders of Opacus)."""
    from opacus.accountants.analysis import rdp

    # Opacus' default orders end at 63; small losses have their best order above that.
    orders = [1 + x / 10.0 for x in range(1, 100)] + [*range(11, 64), 80, 128, 256, 512, 1024]
    total = sum(
        rdp.compute_rdp(
            q=event.sampling_rate, noise_multiplier=event.noise_multiplier, steps=event.steps, orders=orders
        )
        for event in events
    )
    with _quiet():
        bound, _ = rdp.get_privacy_spent(orders=orders, rdp=total, delta=delta)
    return float(bound)


def _prv_epsilon(events: Sequence[Event], delta: float) -> float:
    from opacus.accountants import PRVAccountant

    accountant = PRVAccountant()
    accountant.history = [(event.noise_multiplier, event.sampling_rate, event.steps) for event in events]
    with _quiet():
        return float(accountant.get_epsilon(delta, eps_error=_PRV_ERROR))


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence two warnings about bounds that are true all the same: the best order lies at the end of
    Opacus' list, and without sampling the privacy loss is bounded below by log(0)."""
    with warnings.catch_warnings(), np.errstate(divide="ignore"):
        warnings.filterwarnings("ignore", "Optimal order is the", UserWarning)
        yield


def calibrate(
    events_at: Callable[[float], Sequence[Event]],
    target_epsilon: float,
    delta: float,
    tolerance: float = 0.005,
) -> float:
    """A noise scale whose composed epsilon lies within `tolerance` below the target.

    Args:
        events_at: Events of the whole run at a noise scale; epsilon must fall as the scale grows.
        target_epsilon: Upper limit of the composed epsilon, > 0.
        delta: In (0, 1).
        tolerance: Allowed gap below the target, as a share of it.

    Raises:
        PrivacyError: No scale reaches the target.
    """
    aim = target_epsilon * (1 - tolerance / 2)
    low, high, scale = 0.0, math.inf, 1.0
    for _ in range(100):
        spent = epsilon(events_at(scale), delta)
        if target_epsilon * (1 - tolerance) <= spent <= target_epsilon:
            return scale
        if spent > target_epsilon:
            low = scale
        else:
            high = scale
        # Epsilon falls roughly as 1 / scale, which lands close at once; the bracket catches the rest.
        guess = scale * (spent / aim if math.isfinite(spent) else 2.0)
        middle = (low + high) / 2 if math.isfinite(high) else 2 * low
        scale = guess if low < guess < high else middle
    raise PrivacyError(f"no noise scale reaches epsilon {target_epsilon:g} at delta {delta:g}")
