"""Estimates of epsilon that no proof stands behind. Useful early; never a claim."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.optimize import brentq
from scipy.special import log_ndtr

from attacks.bounds import Bound, Terms
from attacks.errors import AttackError
from attacks.ranges import real, whole
from attacks.roc import checked_scores
from attacks.tradeoff import gaussian_epsilon_of, gaussian_mu_of
from attacks.two_worlds import epsilon_from_rates, rates_at


def one_shot_federated_estimate(cosines: np.ndarray, dimension: int, terms: Terms) -> Bound:
    """Estimate from canary clients in one federated run (Andrew et al. 2023, algorithm 1).

    Canary clients send random directions at the clip norm. The cosine of each with the released change of the
    model would be N(0, 1 / dimension) had it been out; epsilon lies between that and the normal distribution
    fitted to the cosines, larger of the two directions.

    Args:
        cosines: float (k,), k >= 2, of the canaries that were in.
        dimension: Number of values in the release, >= 2.
        terms: Delta > 0, adjacency, unit.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> silent = rng.normal(0, 0.1, 50)  # What cosines are that say nothing, in 100 dimensions.
        >>> terms = Terms(1e-5, "add-remove", "artist")
        >>> bound = one_shot_federated_estimate(silent + 0.5, 100, terms)
        >>> bound.kind, bound.epsilon > one_shot_federated_estimate(silent, 100, terms).epsilon
        ('estimate', True)
    """
    cosines, _ = checked_scores(cosines, np.zeros(1))
    whole("dimension", dimension, 2)
    whole("number of canaries", len(cosines), 2)
    real("delta", terms.delta, "(0, 1)")
    mean, deviation = float(cosines.mean()), float(cosines.std(ddof=1))
    # Of equal numbers, rounding alone.
    if not deviation > 1e-12 * abs(mean):
        raise AttackError("all cosines are equal: no normal distribution fits them")
    unseen = dimension**-0.5
    epsilon = 0.0 if mean <= 0 else normals_epsilon((0.0, unseen), (mean, deviation), terms.delta)
    assumption = "cosines of canaries are normal, and canaries leave each other alone; neither is proved"
    return Bound(
        "estimate",
        "one-shot federated",
        epsilon,
        terms.delta,
        None,
        "no threshold",
        terms.adjacency,
        terms.unit,
        len(cosines),
        0,
        assumption,
    )


def canife_estimate(
    rounds: Sequence[tuple[np.ndarray, np.ndarray]],
    accountant: Callable[[Sequence[float]], float],
    terms: Terms,
) -> Bound:
    """Estimate over rounds from canary updates that no honest update resembles (Maddock et al. 2023).

    Each round's epsilon is the best Clopper-Pearson figure over all thresholds, not paid for; it is turned
    into the noise multiplier of a Gaussian mechanism with that epsilon, and the caller's accountant composes
    those with the true sampling rate. Rounds that show nothing are left out of the composition.

    Args:
        rounds: For each round the scores <canary, noisy sum> (n_in,) with and (n_out,) without the canary.
        accountant: Maps noise multipliers, one a round that showed something, to epsilon at the terms' delta.
        terms: Delta > 0, adjacency, unit, confidence of each round's figure.

    Example:
        >>> rounds = [(np.ones(50), np.zeros(50))]
        >>> terms = Terms(1e-5, "add-remove", "artist")
        >>> bound = canife_estimate(rounds, lambda multipliers: 1 / multipliers[0], terms)
        >>> bound.kind, bound.epsilon > 0
        ('estimate', True)
    """
    if not rounds:
        raise AttackError("no round was observed")
    real("delta", terms.delta, "(0, 1)")
    multipliers = []
    for scores_in, scores_out in rounds:
        members, non_members = checked_scores(scores_in, scores_out)
        thresholds = np.unique(np.concatenate([members, non_members]))
        epsilon = float(epsilon_from_rates(rates_at(members, non_members, thresholds, terms), terms).max())
        if epsilon > 0:
            multipliers.append(1 / gaussian_mu_of(epsilon, terms.delta))
    total = float(accountant(multipliers)) if multipliers else 0.0
    return Bound(
        "estimate",
        "CANIFE",
        total,
        terms.delta,
        None,
        "best threshold of each round, not paid for",
        terms.adjacency,
        terms.unit,
        sum(len(scores_in) for scores_in, _ in rounds),
        sum(len(scores_out) for _, scores_out in rounds),
        "the equivalent noise multiplier of each round composes like the true one; not proved",
    )


def normals_epsilon(first: tuple[float, float], second: tuple[float, float], delta: float) -> float:
    """Smallest epsilon >= 0 at delta between two normal distributions, larger of the two directions.

    Args:
        first: Mean and deviation > 0.
        second: Mean and deviation > 0.
        delta: In (0, 1).

    Example:
        >>> round(normals_epsilon((0.0, 1.0), (1.0, 1.0), delta=1e-5), 3)
        4.377
    """
    real("delta", delta, "(0, 1)")
    for mean, deviation in (first, second):
        if not np.isfinite(mean) or not 0 < deviation < np.inf:
            raise AttackError(
                f"a normal distribution needs a mean and a deviation > 0, not {mean}, {deviation}"
            )
    (a, s), (b, t) = first, second
    if s == t:
        return gaussian_epsilon_of(abs(a - b) / s, delta)
    found = 0.0
    for one, other in ((first, second), (second, first)):
        if _normals_delta(one, other, 0.0) <= delta:
            continue
        high = 1.0
        while _normals_delta(one, other, high) > delta:
            high *= 2
        root = brentq(lambda e, p=one, q=other: _normals_delta(p, q, e) - delta, 0.0, high, xtol=1e-10)
        found = max(found, float(root))
    return found


def _normals_delta(first: tuple[float, float], second: tuple[float, float], epsilon: float) -> float:
    """P(E) - e^eps Q(E) on E = {p > e^eps q}, whose ends solve a quadratic; the deviations differ.

    From logarithms, as in `tradeoff.gaussian_delta`: far apart, e^eps is no float and Q(E) rounds to 0.
    """
    (a, s), (b, t) = first, second
    # In units of the first: log p - log q - eps = u x^2 + v x + w.
    b, t = (b - a) / s, t / s
    u, v, w = (1 - t) * (1 + t) / (2 * t**2), -b / t**2, b**2 / (2 * t**2) + float(np.log(t)) - epsilon
    root = v**2 - 4 * u * w
    if root <= 0:
        return 0.0
    # The end that is no difference of two like numbers, and the other from their product.
    far = -(v + np.copysign(np.sqrt(root), v)) / 2
    low, high = sorted((far / u, w / far)) if far else (-np.sqrt(-w / u), np.sqrt(-w / u))

    def log_inside(mean: float, deviation: float) -> float:
        near, beyond = (low - mean) / deviation, (high - mean) / deviation
        # From the nearer tail, so that a small probability does not drown in 1.
        near, beyond = (near, beyond) if near < 0 else (-beyond, -near)
        large, small = float(log_ndtr(beyond)), float(log_ndtr(near))
        return large + float(np.log1p(-np.exp(small - large))) if large > small else -np.inf

    def log_outside(mean: float, deviation: float) -> float:
        return float(np.logaddexp(log_ndtr((low - mean) / deviation), log_ndtr((mean - high) / deviation)))

    share = log_inside if u < 0 else log_outside
    of_first, of_second = share(0.0, 1.0), share(b, t)
    if of_first == -np.inf:
        return 0.0
    return float(-np.exp(of_first) * np.expm1(min(epsilon + of_second - of_first, 0.0)))
