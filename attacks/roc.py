"""ROC curves that are right where scores tie, with intervals, and a word where non-members are too few.

A larger score always means "more likely a member". No function here turns a score round.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri
from scipy.stats import beta, rankdata

from attacks.errors import AttackError
from attacks.intervals import clopper_pearson
from attacks.ranges import real, whole, wholes

_WIDEST = 2.0
"""A true-positive rate is called reliable while its false-positive rate is known within this factor."""


_EDGE = 1e-9


@dataclass(frozen=True, eq=False)
class RocCurve:
    """Corners of the curve, from (0, 0) to (1, 1); members are those with score >= threshold.

    Attributes:
        fpr: float64 (k,), nondecreasing.
        tpr: float64 (k,), nondecreasing.
        thresholds: float64 (k,), decreasing; the first is infinite.
    """

    fpr: np.ndarray
    tpr: np.ndarray
    thresholds: np.ndarray

    def at(self, fpr: np.ndarray) -> np.ndarray:
        """Largest TPR of a threshold whose FPR does not exceed `fpr`; without interpolation."""
        return self.tpr[np.searchsorted(self.fpr, fpr, side="right") - 1]


@dataclass(frozen=True)
class RatePoint:
    """The true-positive rate at a bounded false-positive rate.

    Attributes:
        value: TPR at the lowest threshold whose measured FPR is at most `asked`.
        low: Lower end of its interval.
        high: Upper end of its interval.
        confidence: Of both intervals, each by itself.
        asked: The FPR that was asked for.
        fpr: The FPR that this threshold has on the non-members at hand.
        fpr_low: Lower end of the interval of the true FPR (Clopper-Pearson).
        fpr_high: Upper end of that interval.
        reliable: Whether `fpr_high` is at most twice what was asked.
        note: Why not, and how many non-members would do; empty where reliable.
    """

    value: float
    low: float
    high: float
    confidence: float
    asked: float
    fpr: float
    fpr_low: float
    fpr_high: float
    reliable: bool
    note: str


@dataclass(frozen=True, eq=False)
class OperatingPoints:
    """One-sided bounds that hold all at once, at thresholds fixed by their rank among the non-members.

    Attributes:
        thresholds: float64 (k,); members are those with score > threshold.
        tpr_low: float64 (k,), lower bounds of the true TPR.
        fpr_high: float64 (k,), upper bounds of the true FPR.
    """

    thresholds: np.ndarray
    tpr_low: np.ndarray
    fpr_high: np.ndarray


def checked_scores(members: np.ndarray, non_members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64 (n,), at least one each, finite.

    Raises:
        AttackError: Otherwise; names which.
    """
    found = []
    for name, given in (("members", members), ("non-members", non_members)):
        scores = np.asarray(given, np.float64)
        if scores.ndim != 1 or not len(scores):
            raise AttackError(f"scores of the {name} must be (n,) with n >= 1, not {scores.shape}")
        if not np.isfinite(scores).all():
            raise AttackError(f"scores of the {name}: {int((~np.isfinite(scores)).sum())} are not finite")
        found.append(scores)
    return found[0], found[1]


def roc_curve(members: np.ndarray, non_members: np.ndarray) -> RocCurve:
    """The curve over all distinct scores; tied scores move together, as one slanted step.

    Args:
        members: Scores (n_in,), larger is more likely a member.
        non_members: Scores (n_out,).

    Example:
        >>> curve = roc_curve(np.array([2.0, 3.0]), np.array([1.0, 2.0]))
        >>> curve.at(np.array([0.0, 0.5])).tolist()
        [0.5, 1.0]
    """
    members, non_members = checked_scores(members, non_members)
    thresholds = np.unique(np.concatenate([members, non_members]))[::-1]
    tpr, fpr = (
        (len(s) - np.searchsorted(np.sort(s), thresholds, side="left")) / len(s)
        for s in (members, non_members)
    )
    return RocCurve(np.r_[0.0, fpr], np.r_[0.0, tpr], np.r_[np.inf, thresholds])


def auc(members: np.ndarray, non_members: np.ndarray) -> float:
    """P[member above non-member] + P[tie] / 2: the Mann-Whitney statistic, and the curve's trapezoid area.

    Example:
        >>> auc(np.array([2.0, 3.0]), np.array([1.0, 2.0]))  # A tie counts half.
        0.875
    """
    members, non_members = checked_scores(members, non_members)
    ranks = rankdata(np.concatenate([members, non_members]))[: len(members)]
    n_in, n_out = len(members), len(non_members)
    return float((ranks.sum() - n_in * (n_in + 1) / 2) / (n_in * n_out))


def auc_interval(
    members: np.ndarray, non_members: np.ndarray, confidence: float = 0.95
) -> tuple[float, float]:
    """Score interval of the AUC under the largest variance that any pair of distributions can have.

    That variance is A (1 - A) / min(n_in, n_out) (Birnbaum and Klose 1957; for large n). Wider than needed,
    but not a point at AUC 1, where DeLong's and the bootstrap's intervals are.

    Example:
        >>> [round(end, 3) for end in auc_interval(np.arange(1.0, 41), np.arange(40.0))]
        [0.375, 0.67]
    """
    area, n = auc(members, non_members), min(len(members), len(non_members))
    z2 = _normal_quantile(confidence) ** 2 / n
    middle, spread = area + z2 / 2, np.sqrt(z2 * (area * (1 - area) + z2 / 4))
    return max(0.0, float((middle - spread) / (1 + z2))), min(1.0, float((middle + spread) / (1 + z2)))


def newcombe_interval(
    members: np.ndarray, non_members: np.ndarray, confidence: float = 0.95
) -> tuple[float, float]:
    """Score interval of the AUC (Newcombe 2006, method 5), widened where the scores show that it must be.

    Hanley and McNeil's variance (1982), with both sample sizes at their mean, solved for the AUC that would
    lie z deviations away. That variance is too small where the fewer scores scatter more; so it is multiplied
    by DeLong's (1988) over itself at the AUC found, where that is above 1. Narrower than `auc_interval`, and
    like it no point at AUC 1.

    Example:
        >>> [round(end, 3) for end in newcombe_interval(np.arange(1.0, 41), np.arange(40.0))]
        [0.4, 0.646]
    """
    members, non_members = checked_scores(members, non_members)
    area, n_in, n_out = auc(members, non_members), len(members), len(non_members)
    z, n = _normal_quantile(confidence), (n_in + n_out) / 2

    def variance(true: float) -> float:
        spread = 1 + (n - 1) * ((1 - true) / (2 - true) + true / (1 + true))
        return true * (1 - true) * spread / (n_in * n_out)

    wider = 1.0
    if _EDGE < area < 1 - _EDGE and min(n_in, n_out) > 1:
        wider = max(1.0, _delong_variance(members, non_members) / variance(area))

    def apart(true: float) -> float:
        return (area - true) ** 2 - z**2 * wider * variance(true)

    # At 0 and 1 the variance vanishes, and with it the difference: those are no solutions.
    low = 0.0 if area <= _EDGE else float(brentq(apart, 0.0, area - _EDGE))
    high = 1.0 if area >= 1 - _EDGE else float(brentq(apart, area + _EDGE, 1.0))
    return low, high


def _delong_variance(members: np.ndarray, non_members: np.ndarray) -> float:
    """Of the AUC: the variance of each score's share of the others beaten, half for ties, over its number."""
    total = 0.0
    for scores, others in ((members, non_members), (non_members, members)):
        ordered = np.sort(others)
        beaten = (
            np.searchsorted(ordered, scores, side="left") + np.searchsorted(ordered, scores, side="right")
        ) / (2 * len(ordered))
        total += float(beaten.var(ddof=1)) / len(scores)
    return total


def null_deviation(n_in: int, n_out: int) -> float:
    """Standard deviation of the AUC of scores that say nothing, without ties (Mann and Whitney 1947)."""
    whole("members n_in", n_in, 1)
    whole("non-members n_out", n_out, 1)
    return float(np.sqrt((n_in + n_out + 1) / (12 * n_in * n_out)))


def bootstrap_interval(
    statistic: Callable[[np.ndarray, np.ndarray], float],
    members: np.ndarray,
    non_members: np.ndarray,
    rng: np.random.Generator,
    confidence: float = 0.95,
    repeats: int = 1000,
) -> tuple[float, float]:
    """Percentile interval (Efron 1981); members and non-members are drawn apart.

    Too narrow for few scores, and a point where the classes are apart: `auc_interval` and
    Clopper-Pearson are not.

    Args:
        statistic: Maps scores (n_in,) and (n_out,) to a number, such as `auc`.
        members: Scores (n_in,).
        non_members: Scores (n_out,).
        rng: Draws the samples.
        confidence: In (0, 1).
        repeats: Samples, >= 100.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> low, high = bootstrap_interval(auc, rng.normal(1, 1, 30), rng.normal(0, 1, 30), rng, repeats=100)
        >>> low < high
        True
    """
    members, non_members = checked_scores(members, non_members)
    _normal_quantile(confidence)
    whole("bootstrap: repeats", repeats, 100)
    drawn = [
        statistic(rng.choice(members, len(members)), rng.choice(non_members, len(non_members)))
        for _ in range(repeats)
    ]
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def tpr_at_fpr(
    members: np.ndarray, non_members: np.ndarray, fpr: float, confidence: float = 0.95
) -> RatePoint:
    """True-positive rate at a false-positive rate of at most `fpr`, both with Clopper-Pearson intervals.

    The threshold comes from the non-members alone, so that the interval of the TPR is exact for it.

    Raises:
        AttackError: Fewer than 1 / fpr non-members: the rate asked for lies below one of them.

    Example:
        >>> point = tpr_at_fpr(np.arange(100.0) + 50, np.arange(100.0), fpr=0.05)
        >>> point.value, point.fpr, point.reliable
        (0.55, 0.05, False)
    """
    members, non_members = checked_scores(members, non_members)
    n_in, n_out = len(members), len(non_members)
    real("fpr", fpr, "(0, 1)")
    allowed = int(np.floor(fpr * n_out * (1 + 1e-12)))
    if allowed < 1:
        raise AttackError(
            f"TPR at FPR {fpr:g} needs at least {int(np.ceil(1 / fpr - 1e-9))} non-members, not {n_out}"
        )
    # The first score that would be one too many: whoever is above it is taken.
    cut = np.sort(non_members)[::-1][allowed]
    hits, alarms = int((members > cut).sum()), int((non_members > cut).sum())
    low, high = clopper_pearson(hits, n_in, confidence)
    fpr_low, fpr_high = clopper_pearson(alarms, n_out, confidence)
    reliable = fpr_high <= _WIDEST * fpr
    note = (
        ""
        if reliable
        else f"{n_out} non-members leave the FPR anywhere in [{fpr_low:.2g}, {fpr_high:.2g}]; "
        f"about {_enough(fpr, confidence)} would hold it within twice {fpr:g}"
    )
    return RatePoint(
        hits / n_in, low, high, confidence, fpr, alarms / n_out, fpr_low, fpr_high, reliable, note
    )


def log_log_points(curve: RocCurve, floor: float, points: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """FPR from `floor` to 1 in equal steps of its logarithm, and the TPR there: what a log-log plot shows.

    Args:
        curve: The curve.
        floor: Smallest FPR, in (0, 1); below 1 / n_out there is nothing to see.
        points: >= 2.
    """
    real("floor", floor, "(0, 1)")
    whole("points", points, 2)
    fpr = np.geomspace(floor, 1.0, points)
    return fpr, curve.at(fpr)


def rank_ladder(n: int, points: int | None) -> np.ndarray:
    """Ranks among n scores, fixed before any score is seen: all 1 to n, or `points` of them.

    The few are equally far apart in normal quantiles, so that both tails and the middle are covered.
    """
    whole("scores n", n, 1)
    if points is not None:
        whole("points", points, 1)
    if points is None or points >= n:
        return np.arange(1, n + 1)
    ends = ndtri(1 / (n + 1)), ndtri(n / (n + 1))
    steps = np.linspace(*ends, points) if points > 1 else np.zeros(1)
    return np.unique(np.clip(np.rint((n + 1) * ndtr(steps)), 1, n).astype(int))


def operating_points(
    members: np.ndarray, non_members: np.ndarray, ranks: np.ndarray, error: float
) -> OperatingPoints:
    """Bounds of TPR and FPR at the non-members' order statistics.

    Above the k-th largest of n_out independent scores lies a share of the non-members' distribution that is
    Beta(k, n_out - k + 1), or stochastically less where scores tie; the threshold does not depend on the
    members, so that theirs is Clopper and Pearson's (1934). Both are exact at any sample size.

    Args:
        members: Scores (n_in,), independent of each other.
        non_members: Scores (n_out,), independent of each other and of the members'.
        ranks: int (k,), each 1 to n_out, fixed before the scores were seen.
        error: Probability, in (0, 1), that any of the 2 k bounds is false.
    """
    members, non_members = checked_scores(members, non_members)
    n_in, n_out = len(members), len(non_members)
    ranks = wholes("ranks", ranks, 1, n_out)
    whole("number of ranks", len(ranks), 1)
    real("error", error, "(0, 1)")
    each = error / (2 * len(ranks))
    thresholds = np.sort(non_members)[::-1][ranks - 1]
    hits = n_in - np.searchsorted(np.sort(members), thresholds, side="right")
    tpr_low = lower_bounds(hits, n_in, each)
    return OperatingPoints(thresholds, tpr_low, beta.isf(each, ranks, n_out - ranks + 1))


def lower_bounds(hits: np.ndarray, n: np.ndarray | int, error: float | np.ndarray) -> np.ndarray:
    """One-sided Clopper-Pearson lower bounds of proportions, float64 (k,), each false with `error`.

    Args:
        hits: int (k,), each 0 to its trials.
        n: Trials, int or (k,).
        error: In (0, 1), float or (k,).
    """
    hits = wholes("hits", hits, 0)
    if (hits > n).any():
        raise AttackError("hits must be no more than their trials")
    for one in np.atleast_1d(error):
        real("error", one, "(0, 1)")
    return np.where(hits > 0, beta.ppf(error, np.maximum(hits, 1), n - hits + 1), 0.0)


def _enough(fpr: float, confidence: float) -> int:
    """Non-members for which the exact interval of the FPR ends at twice the FPR, to two digits."""
    n = int(np.ceil(1 / fpr))
    while clopper_pearson(int(fpr * n), n, confidence)[1] > _WIDEST * fpr:
        n = int(n * 1.1) + 1
    return round(n, 1 - int(np.floor(np.log10(n))))


def _normal_quantile(confidence: float) -> float:
    real("confidence", confidence, "(0, 1)")
    return float(ndtri((1 + confidence) / 2))
