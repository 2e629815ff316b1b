"""What differential privacy allows an attack: the highest true-positive rate at each false-positive rate.

Nothing that the guarantee covers may lie above, whatever the attack. A curve above it is a broken
guarantee; a curve far below it says nothing about safety.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtr, ndtri

from attacks.errors import AttackError
from attacks.ranges import real
from attacks.roc import operating_points, rank_ladder


@dataclass(frozen=True)
class LimitCheck:
    """Whether a measured curve lies above a limit beyond its intervals.

    Attributes:
        broken: Whether it does at any of the points, with `confidence` over all of them together.
        excess: Largest lower bound of the TPR less the limit at the upper bound of the FPR; > 0 is broken.
        fpr: The FPR bound at that point.
        tpr: The TPR bound at that point.
        points: How many points were looked at, fixed beforehand.
        confidence: That a limit which holds is not called broken.
    """

    broken: bool
    excess: float
    fpr: float
    tpr: float
    points: int
    confidence: float


def dp_limit(fpr: np.ndarray, epsilon: float, delta: float) -> np.ndarray:
    """Highest TPR under (epsilon, delta)-DP: both inequalities of Kairouz, Oh and Viswanath (2015, eq. 4).

    min(e^eps FPR + delta, 1 - e^-eps (1 - delta - FPR), 1).

    Args:
        fpr: In [0, 1], any shape.
        epsilon: >= 0; infinite is no guarantee, and allows everything.
        delta: In [0, 1].

    Example:
        >>> dp_limit(np.array([0.01, 0.5]), epsilon=1.0, delta=0.0).round(3).tolist()
        [0.027, 0.816]
    """
    fpr = _rates(fpr)
    real("epsilon", epsilon, "[0, inf)", infinite=True)
    real("delta", delta, "[0, 1]")
    if np.isinf(epsilon):
        return np.ones_like(fpr)
    with np.errstate(over="ignore", divide="ignore"):
        near = np.exp(epsilon + np.log(fpr)) + delta
    limit: np.ndarray = np.minimum(np.minimum(near, 1 - np.exp(-epsilon) * (1 - delta - fpr)), 1.0)
    return limit


def gaussian_limit(fpr: np.ndarray, mu: float) -> np.ndarray:
    """Highest TPR between N(0, 1) and N(mu, 1): Phi(Phi^-1(FPR) + mu) (Dong, Roth and Su 2022, eq. 6).

    Args:
        fpr: In [0, 1], any shape.
        mu: Sensitivity over standard deviation of the noise, >= 0; sqrt(T) times that after T rounds;
            infinite without noise.

    Example:
        >>> gaussian_limit(np.array([0.01, 0.5]), mu=1.0).round(3).tolist()
        [0.092, 0.841]
    """
    real("mu", mu, "[0, inf)", infinite=True)
    if np.isinf(mu):
        return np.ones_like(_rates(fpr))
    limit: np.ndarray = ndtr(ndtri(_rates(fpr)) + mu)
    return limit


def gaussian_delta(epsilon: float, mu: float) -> float:
    """Exact delta of the Gaussian mechanism at epsilon (Balle and Wang 2018, theorem 8).

    Phi(mu / 2 - eps / mu) - e^eps Phi(-mu / 2 - eps / mu), from logarithms, so that far tails stay exact.

    Example:
        >>> round(gaussian_delta(1.0, 1.0), 4)
        0.1269
    """
    real("epsilon", epsilon, "[0, inf)", infinite=True)
    real("mu", mu, "[0, inf)", infinite=True)
    if mu == 0 or np.isinf(epsilon):
        return 0.0
    left = float(log_ndtr(mu / 2 - epsilon / mu))
    if left == -np.inf:
        return 0.0
    ratio = epsilon + float(log_ndtr(-mu / 2 - epsilon / mu)) - left
    return float(-np.exp(left) * np.expm1(min(ratio, 0.0)))


def gaussian_epsilon_of(mu: float, delta: float) -> float:
    """Smallest epsilon of the Gaussian mechanism at delta, 0 where delta alone covers it, infinite as mu is.

    Args:
        mu: >= 0.
        delta: In (0, 1).

    Example:
        >>> round(gaussian_epsilon_of(mu=1.0, delta=1e-5), 3)
        4.377
    """
    real("mu", mu, "[0, inf)", infinite=True)
    real("delta", delta, "(0, 1)")
    if np.isinf(mu):
        return np.inf
    if gaussian_delta(0.0, mu) <= delta:
        return 0.0
    high = 1.0
    while gaussian_delta(high, mu) > delta:
        high *= 2
    return float(brentq(lambda epsilon: gaussian_delta(epsilon, mu) - delta, 0.0, high, xtol=1e-10))


def gaussian_mu_of(epsilon: float, delta: float) -> float:
    """Largest mu whose Gaussian mechanism is (epsilon, delta)-DP; the inverse of `gaussian_epsilon_of`.

    Example:
        >>> round(gaussian_mu_of(gaussian_epsilon_of(0.7, 1e-5), 1e-5), 6)
        0.7
    """
    real("delta", delta, "(0, 1)")
    real("epsilon", epsilon, "[0, inf)")
    high = 1.0
    while gaussian_delta(epsilon, high) < delta:
        high *= 2
    return float(brentq(lambda mu: gaussian_delta(epsilon, mu) - delta, 0.0, high, xtol=1e-12))


def check_limit(
    members: np.ndarray,
    non_members: np.ndarray,
    limit: Callable[[np.ndarray], np.ndarray],
    confidence: float = 0.95,
    points: int = 25,
) -> LimitCheck:
    """Does an attack's curve lie above a limit by more than chance explains?

    Thresholds are ranks among the non-members, fixed beforehand, with Bonferroni over all of them.

    Args:
        members: Scores (n_in,), independent; larger is more likely a member.
        non_members: Scores (n_out,), independent.
        limit: Highest allowed TPR, in [0, 1], at FPR (k,), nondecreasing, such as
            `partial(dp_limit, epsilon=1, delta=0)`.
        confidence: In (0, 1), over all points together.
        points: Thresholds, >= 1.

    Raises:
        AttackError: The limit gives something that is no rate: nothing would lie above it.

    Example:
        >>> from functools import partial
        >>> allowed = partial(dp_limit, epsilon=1.0, delta=0.0)
        >>> check_limit(np.ones(200), np.zeros(200), allowed).broken
        True
        >>> check_limit(np.ones(200), np.ones(200), allowed).broken
        False
    """
    real("confidence", confidence, "(0, 1)")
    ranks = rank_ladder(len(non_members), points)
    found = operating_points(members, non_members, ranks, 1 - confidence)
    allowed = np.asarray(limit(found.fpr_high), np.float64)
    if allowed.shape != found.fpr_high.shape or not ((allowed >= 0) & (allowed <= 1)).all():
        raise AttackError(f"the limit must give a rate in [0, 1] at each of {len(ranks)} FPRs, not {allowed}")
    excess = found.tpr_low - allowed
    worst = int(np.argmax(excess))
    return LimitCheck(
        broken=bool(excess[worst] > 0),
        excess=float(excess[worst]),
        fpr=float(found.fpr_high[worst]),
        tpr=float(found.tpr_low[worst]),
        points=len(ranks),
        confidence=confidence,
    )


def _rates(fpr: np.ndarray) -> np.ndarray:
    fpr = np.asarray(fpr, np.float64)
    if not ((fpr >= 0) & (fpr <= 1)).all():
        raise AttackError("a false-positive rate must be in [0, 1]")
    return fpr
