"""Exact intervals and tests for the small numbers of targets that an audit has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import beta, binom

from attacks.errors import AttackError
from attacks.ranges import real, whole


@dataclass(frozen=True)
class PairedDifference:
    """How much more often an attack wins than its rival does on the same targets.

    Attributes:
        value: Share won by the attack minus share won by the rival, in [-1, 1].
        low: Lower end of the interval.
        high: Upper end of the interval.
        p_value: One-sided, of the exact McNemar test against "the attack wins no more often".
        confidence: Of the interval.
    """

    value: float
    low: float
    high: float
    p_value: float
    confidence: float


def clopper_pearson(hits: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Two-sided interval of a proportion (Clopper and Pearson 1934); never covers less than it says.

    Args:
        hits: Successes, 0 to n.
        n: Trials, >= 1.
        confidence: In (0, 1).

    Example:
        >>> [round(end, 3) for end in clopper_pearson(0, 10)]
        [0.0, 0.308]
        >>> [round(end, 3) for end in clopper_pearson(10, 10, confidence=0.995)]
        [0.549, 1.0]
    """
    real("confidence", confidence, "(0, 1)")
    whole("trials n", n, 1)
    whole("hits", hits, 0, n)
    tail = (1 - confidence) / 2
    low = 0.0 if hits == 0 else float(beta.ppf(tail, hits, n - hits + 1))
    high = 1.0 if hits == n else float(beta.isf(tail, hits + 1, n - hits))
    return low, high


def paired_difference(attack: np.ndarray, rival: np.ndarray, confidence: float = 0.95) -> PairedDifference:
    """Compare two attacks on the same targets.

    The interval is the difference of Clopper-Pearson bounds of the two shares of targets that only one
    of them won, each at half the error rate: exact in that it never covers less than it says, and so
    wider than needed. The test is McNemar's, conditional on those targets (McNemar 1947, binomial form).

    Args:
        attack: bool (n,), or 0 and 1, whether the attack won on each target.
        rival: The same of the rival, on the same targets.
        confidence: In (0, 1).

    Example:
        >>> found = paired_difference(np.ones(6, bool), np.zeros(6, bool))
        >>> found.value, found.p_value
        (1.0, 0.015625)
    """
    real("confidence", confidence, "(0, 1)")
    attack, rival = paired_outcomes(attack, rival)
    n, only_attack, only_rival = len(attack), int((attack & ~rival).sum()), int((rival & ~attack).sum())
    half = 1 - (1 - confidence) / 2
    more, less = clopper_pearson(only_attack, n, half), clopper_pearson(only_rival, n, half)
    p_value = float(binom.sf(only_attack - 1, only_attack + only_rival, 0.5))
    return PairedDifference(
        (only_attack - only_rival) / n, more[0] - less[1], more[1] - less[0], p_value, confidence
    )


def median_interval(values: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of a median from order statistics, for any distribution; infinite where n is too small.

    The ends are the k-th smallest and k-th largest value, k the largest with
    2 P[Bin(n, 1/2) < k] <= 1 - confidence (David and Nagaraja 2003, section 7.1).

    Args:
        values: (n,), n >= 1.
        confidence: In (0, 1).

    Example:
        >>> median_interval(np.arange(9.0))
        (1.0, 7.0)
        >>> median_interval(np.arange(3.0))  # Too few for any.
        (-inf, inf)
    """
    real("confidence", confidence, "(0, 1)")
    ordered = np.sort(np.asarray(values, float))
    if ordered.ndim != 1 or not len(ordered) or np.isnan(ordered).any():
        raise AttackError(f"a median needs values (n,) without NaN, not {ordered.shape}")
    k = 0
    while 2 * binom.cdf(k, len(ordered), 0.5) <= 1 - confidence:
        k += 1
    if k == 0:
        return float("-inf"), float("inf")
    return float(ordered[k - 1]), float(ordered[-k])


def paired_outcomes(attack: np.ndarray, rival: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """bool (n,) each, n >= 1, from bool or 0 and 1. Raises AttackError where they are something else."""
    attack, rival = np.asarray(attack), np.asarray(rival)
    if attack.shape != rival.shape or attack.ndim != 1 or not len(attack):
        raise AttackError(f"outcomes must be paired, (n,) each, not {attack.shape} and {rival.shape}")
    if not (np.isin(attack, (0, 1)).all() and np.isin(rival, (0, 1)).all()):
        raise AttackError("outcomes must be wins or losses, bool or 0 and 1")
    return attack.astype(bool), rival.astype(bool)
