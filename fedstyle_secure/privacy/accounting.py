"""Epsilon of many releases together, and the noise that a target epsilon asks for."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

import numpy as np

from fedstyle_secure.errors import PrivacyError
from fedstyle_secure.privacy.events import Event, SampledGaussian

_ORDERS = (*(1 + x / 10.0 for x in range(1, 100)), *range(11, 64), 80, 128, 256, 512, 1024)
"""Opacus' orders, which end at 63, and some above: small losses have their best order there."""

_PRV_ERROR = 0.005
"""Numerical error that PRV adds to epsilon, as a share of it; smaller takes longer."""

_FIRST_LIMIT = 1.0
"""Epsilon up to which samplers' slack is taken at first."""

_BEYOND_USE = 200.0
"""PRV's and PLD's grids grow with epsilon; above this the figure is no guarantee anyone would act on."""


_FARTHEST = 40.0
_SAME_SCALE = 1e-6
"""Logarithms of noise scales: how far a search goes, and two that count as one."""


def merge(events: Iterable[Event]) -> tuple[Event, ...]:
    """Add up the steps of equal mechanisms; composition does not depend on their order.

    Example:
        >>> merge([SampledGaussian(1.0, 1.0, 3), SampledGaussian(1.0, 1.0, 2)])
        (SampledGaussian(noise_multiplier=1.0, sampling_rate=1.0, steps=5),)
    """
    steps: Counter[Event] = Counter()
    for event in events:
        steps[replace(event, steps=1)] += event.steps  # type: ignore[type-var]
    return tuple(sorted((replace(one, steps=n) for one, n in steps.items()), key=repr))  # type: ignore[type-var]


def epsilon(events: Iterable[Event], delta: float) -> float:
    """Epsilon of all events composed, for adding or removing one unit.

    The smaller of two upper bounds: RDP (Mironov 2017), and PRV (Gopi, Lee and Wutschitz 2021) from
    Opacus, which includes its numerical error, where all events are subsampled Gaussians; else the PLD of
    dp-accounting where it knows all events. Never the GDP approximation, which is no bound.

    Args:
        events: What was released. None costs 0; one without noise costs infinity.
        delta: In (0, 1).

    Example:
        >>> once, often = SampledGaussian(4.0, 1.0, 1), SampledGaussian(4.0, 1.0, 16)
        >>> round(epsilon([once], 1e-5), 2), round(epsilon([often], 1e-5), 2)
        (0.93, 4.39)
    """
    merged = merge(events)
    bound = rdp_epsilon(merged, delta)
    if 0 < bound <= _BEYOND_USE:
        # At extremes the grids' arithmetic refuses, or has no room; then RDP's bound stands alone.
        with suppress(ArithmeticError, ValueError, RuntimeError, MemoryError):
            bound = min(bound, grid_epsilon(merged, delta))
    return bound


def rdp_epsilon(events: Iterable[Event], delta: float) -> float:
    """As `epsilon`, by RDP alone.

    Example:
        >>> round(rdp_epsilon([SampledGaussian(4.0, 1.0, 1)], 1e-5), 2)
        1.01
    """
    from opacus.accountants.analysis import rdp

    merged = merge(events)
    if not merged:
        return 0.0
    if any(event.noiseless for event in merged):
        return math.inf
    total = np.sum([event.rdp(_ORDERS) for event in merged], axis=0)
    limit = _FIRST_LIMIT
    while (rest := delta - sum(event.slack(limit) for event in merged)) > 0:
        with _quiet():
            bound, _ = rdp.get_privacy_spent(orders=list(_ORDERS), rdp=total, delta=rest)
        if math.isnan(bound):
            break
        if bound <= limit:
            return max(float(bound), 0.0)
        # The samplers' slack grows with the epsilon that it is used with, so it is taken anew.
        limit = 1.1 * float(bound)
    return math.inf


def grid_epsilon(events: Iterable[Event], delta: float) -> float:
    """As `epsilon`, by PRV (subsampled Gaussians) or PLD (everything else that dp-accounting knows) alone.

    Infinite where neither applies: RDP's bound is the only one then.
    """
    merged = merge(events)
    if not merged:
        return 0.0
    if any(event.noiseless for event in merged):
        return math.inf
    # What composes to no more than this by RDP's bound needs no larger slack.
    rest = delta - sum(event.slack(rdp_epsilon(merged, delta)) for event in merged)
    if not rest > 0:
        return math.inf
    gaussians = [event for event in merged if isinstance(event, SampledGaussian)]
    if len(gaussians) == len(merged):
        return max(_prv_epsilon(gaussians, rest), 0.0)
    return pld_epsilon(merged, rest)


def pld_epsilon(events: Iterable[Event], delta: float) -> float:
    """As `epsilon`, by the PLD accountant of dp-accounting alone; infinite where it knows not all events."""
    from dp_accounting import dp_event
    from dp_accounting.pld import PLDAccountant

    merged = merge(events)
    known = [event.dp_event() for event in merged]
    if any(event is None for event in known) or any(event.noiseless for event in merged):
        return math.inf
    with _quiet():
        accountant = PLDAccountant().compose(dp_event.ComposedDpEvent(known))
        return float(accountant.get_epsilon(delta))


def _prv_epsilon(events: Sequence[SampledGaussian], delta: float) -> float:
    from opacus.accountants import PRVAccountant

    accountant = PRVAccountant()
    charged = (event.charged for event in events)
    accountant.history = [(one.noise_multiplier, one.sampling_rate, one.steps) for one in charged]
    error = _PRV_ERROR * min(max(rdp_epsilon(events, delta), 0.02), 2.0)
    with _quiet():
        return float(accountant.get_epsilon(delta, eps_error=error))


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence warnings about bounds that are true all the same: the best order lies at the end of the list,
    and without sampling the privacy loss is bounded below by log(0)."""
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

    The scale is bracketed, then found by Brent's method on the logarithms, where epsilon is next to a
    straight line; where it is not, that method bisects, so it ends. Where the bound itself jumps over the
    target, the scale is the smallest, to a millionth, whose epsilon lies below.

    Args:
        events_at: Events of the whole run at a noise scale; epsilon must fall as the scale grows.
        target_epsilon: Upper limit of the composed epsilon, > 0.
        delta: In (0, 1).
        tolerance: Allowed gap below the target, as a share of it.

    Raises:
        PrivacyError: No scale reaches the target.

    Example:
        >>> scale = calibrate(lambda s: [SampledGaussian(s, 1.0, 1)], target_epsilon=1.0, delta=1e-5)
        >>> 0.99 < epsilon([SampledGaussian(scale, 1.0, 1)], 1e-5) <= 1.0
        True
    """
    from scipy.optimize import brentq

    reached: list[float] = []

    def distance(log_scale: float) -> float:
        """How far the logarithm of epsilon lies above the target's; 0 within the tolerance."""
        spent = epsilon(events_at(math.exp(log_scale)), delta)
        if spent <= target_epsilon:
            reached.append(log_scale)
        if target_epsilon * (1 - tolerance) <= spent <= target_epsilon:
            return 0.0
        return min(max(math.log(max(spent, 1e-300) / target_epsilon), -_FARTHEST), _FARTHEST)

    here = beyond = 0.0
    gap = gap_beyond = distance(here)
    stretch = 1.0
    while gap * gap_beyond > 0:
        if abs(beyond) > _FARTHEST:
            raise PrivacyError(f"no noise scale reaches epsilon {target_epsilon:g} at delta {delta:g}")
        here, gap = beyond, gap_beyond
        # Epsilon falls roughly as 1 / scale; a little more than that, so that the root lies in between.
        step = 1.05 * abs(gap) + 0.02 if abs(gap) < _FARTHEST else 1.0
        beyond, stretch = here + math.copysign(stretch * step, gap), 2 * stretch
        gap_beyond = distance(beyond)
    if gap and gap_beyond:
        brentq(distance, here, beyond, xtol=_SAME_SCALE)
    return math.exp(min(reached))
