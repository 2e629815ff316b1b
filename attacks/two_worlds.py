"""Lower bounds on epsilon from independent scores of canaries that were in and of canaries that were out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from scipy.special import betainc, ndtr, ndtri
from scipy.stats import beta, norm

from attacks.bounds import (
    Bonferroni,
    Bound,
    Explicit,
    ExplicitRank,
    Frontier,
    Strategy,
    Terms,
    bound_of,
    split_rng,
)
from attacks.errors import AttackError
from attacks.ranges import whole, wholes
from attacks.roc import OperatingPoints, checked_scores, lower_bounds, operating_points, rank_ladder
from attacks.tradeoff import gaussian_epsilon_of, gaussian_limit

_APART = "in and out scores are independent draws from two fixed distributions"
_GAUSSIAN = "the mechanism is no easier to attack than some Gaussian mechanism"

_BEYOND = 1e-10
"""Probability of each tail that the quadrature leaves out and counts against the bound."""

_PANEL = 4.0
"""Square root of members per non-member for which a panel of 100 nodes is enough."""


def clopper_pearson_epsilon(
    scores_in: np.ndarray, scores_out: np.ndarray, terms: Terms, strategy: Strategy
) -> Bound:
    """Bound from the two error rates alone (Jagielski, Ullman and Oprea 2020; Nasr et al. 2021).

    From TPR >= a and FPR <= b: eps >= ln((a - delta) / b) and eps >= ln((1 - b - delta) / (1 - a)). Both
    follow from the same two one-sided bounds, each at half the error.

    Args:
        scores_in: Scores (n_in,) of canaries that were in, larger is more likely in.
        scores_out: Scores (n_out,) of canaries that were out.
        terms: Delta, adjacency, unit, confidence.
        strategy: `Explicit`, `ExplicitRank`, `Split` or `Bonferroni`.

    Example:
        >>> terms = Terms(delta=1e-5, adjacency="add-remove", unit="artwork")
        >>> bound = clopper_pearson_epsilon(np.ones(500), np.zeros(500), terms, ExplicitRank(1))
        >>> bound.kind, round(bound.epsilon, 2)
        ('lower_bound', 4.91)
    """
    epsilon = _two_worlds(scores_in, scores_out, terms, strategy, epsilon_from_rates)
    return bound_of("Clopper-Pearson", epsilon, terms, strategy, scores_in, scores_out, _APART)


def gaussian_epsilon(
    scores_in: np.ndarray, scores_out: np.ndarray, terms: Terms, strategy: Strategy
) -> Bound:
    """Bound for Gaussian mechanisms, all rounds composed (Nasr et al. 2023).

    At a score fixed beforehand (`Explicit`, `Split`): mu >= Phi^-1(TPR) - Phi^-1(FPR) at the bounds of both
    rates, each at half the error. At ranks (`ExplicitRank`, `Bonferroni`): the largest mu under which so many
    hits above the threshold are too unlikely, see `rank_p_value`; one test in place of two bounds, so that
    the whole error is spent on it. Not above zero means epsilon 0.
    Much tighter than `clopper_pearson_epsilon`, and true only for what is no easier to attack than
    Gaussian noise.

    Args:
        scores_in: Scores (n_in,) of canaries that were in, larger is more likely in.
        scores_out: Scores (n_out,) of canaries that were out.
        terms: Delta > 0, adjacency, unit, confidence.
        strategy: `Explicit`, `ExplicitRank`, `Split` or `Bonferroni`.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> terms = Terms(delta=1e-5, adjacency="add-remove", unit="artwork")
        >>> bound = gaussian_epsilon(rng.normal(1, 1, 500), rng.normal(0, 1, 500), terms, Bonferroni(25))
        >>> 0 < bound.epsilon < 4.38  # What noise of the sensitivity's size costs in truth.
        True
    """
    if isinstance(strategy, ExplicitRank | Bonferroni):
        members, non_members = checked_scores(scores_in, scores_out)
        ranks = _ranks(len(non_members), strategy)
        mu = _refuted_mu(members, non_members, ranks, terms.error / len(ranks))
    else:
        mu = _two_worlds(scores_in, scores_out, terms, strategy, _mu_from_rates)
    epsilon = gaussian_epsilon_of(mu, terms.delta)
    assumption = f"{_APART}; {_GAUSSIAN}"
    return bound_of("Gaussian trade-off", epsilon, terms, strategy, scores_in, scores_out, assumption)


def rank_p_value(
    hits: np.ndarray, n_in: int, ranks: np.ndarray, n_out: int, limit: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Probability (k,), at most, of so many members above a non-member's rank under a limit of the TPR.

    The FPR U above the r-th largest of n_out scores is Beta(r, n_out - r + 1), and the hits are then binomial
    with probability limit(U) at most: the mean of that tail over U, by Gauss and Legendre's rule.

    Args:
        hits: int (k,), members above the threshold, 0 to n_in.
        n_in: Members, >= 1.
        ranks: int (k,), 1 to n_out, fixed beforehand.
        n_out: Non-members, >= 1.
        limit: Highest TPR at FPR, any shape, nondecreasing.
    """
    whole("n_in", n_in, 1)
    whole("n_out", n_out, 1)
    hits, ranks = wholes("hits", hits, 0, n_in), wholes("ranks", ranks, 1, n_out)
    return _mean_tail(hits, n_in, *_fpr_nodes(ranks, n_out, n_in), limit)


def _mean_tail(
    hits: np.ndarray,
    n_in: int,
    fpr: np.ndarray,
    shares: np.ndarray,
    limit: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """P[binomial(n_in, limit(U)) >= hits], (k,), over the nodes (k, q) of U with their shares."""
    least = np.maximum(hits, 1)[:, None]
    tails = betainc(least, n_in - least + 1, limit(fpr))
    return np.where(hits > 0, np.minimum((shares * tails).sum(1) + 2 * _BEYOND, 1.0), 1.0)


def _fpr_nodes(ranks: np.ndarray, n_out: int, n_in: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and shares (k, q) of Beta(r, n_out - r + 1), over normal quantiles, where it is near normal.

    What is integrated steps from 0 to 1 within sqrt(n_out / n_in) of the Beta's deviation, so that members in
    greater number need more nodes.
    """
    own, other = ranks[:, None], n_out - ranks[:, None] + 1
    low, high = ndtri(beta.ppf(_BEYOND, own, other)), np.minimum(ndtri(beta.isf(_BEYOND, own, other)), 8.2)
    panels = int(np.ceil(np.sqrt(n_in / n_out) / _PANEL))
    nodes, weights = np.polynomial.legendre.leggauss(100)
    nodes = ((2 * np.arange(panels)[:, None] + 1 - panels + nodes) / panels).reshape(-1)
    weights = np.tile(weights / panels, panels)
    z = (low + high) / 2 + (high - low) / 2 * nodes
    fpr = ndtr(z)
    return fpr, weights * (high - low) / 2 * np.exp(beta.logpdf(fpr, own, other) + norm.logpdf(z))


def _ranks(n_out: int, strategy: ExplicitRank | Bonferroni) -> np.ndarray:
    if isinstance(strategy, Bonferroni):
        return rank_ladder(n_out, strategy.points)
    if not 1 <= strategy.rank <= n_out:
        raise AttackError(f"rank must be 1 to {n_out}, the scores out, not {strategy.rank}")
    return np.array([strategy.rank])


def _refuted_mu(members: np.ndarray, non_members: np.ndarray, ranks: np.ndarray, error: float) -> float:
    """Largest mu that some rank refutes; 0 where none does."""
    thresholds = np.sort(non_members)[::-1][ranks - 1]
    hits = len(members) - np.searchsorted(np.sort(members), thresholds, side="right")

    fpr, shares = _fpr_nodes(ranks, len(non_members), len(members))

    def refuting(mu: float) -> np.ndarray:
        return _mean_tail(hits, len(members), fpr, shares, partial(gaussian_limit, mu=mu)) <= error

    low, high = 0.0, 1.0
    if not (found := refuting(low)).any():
        return 0.0
    while found.any():
        hits, fpr, shares = hits[found], fpr[found], shares[found]
        if (found := refuting(high)).any():
            low, high = high, 2 * high
    while high - low > 1e-6 * max(1.0, low):
        middle = (low + high) / 2
        if (found := refuting(middle)).any():
            hits, fpr, shares, low = hits[found], fpr[found], shares[found], middle
        else:
            high = middle
    return low


def _two_worlds(
    scores_in: np.ndarray,
    scores_out: np.ndarray,
    terms: Terms,
    strategy: Strategy,
    from_rates: Callable[[OperatingPoints, Terms], np.ndarray],
) -> float:
    """The best of what `from_rates` makes of the rates at the thresholds of a strategy."""
    members, non_members = checked_scores(scores_in, scores_out)
    if isinstance(strategy, Frontier):
        raise AttackError("Frontier is for one-run estimates; use Bonferroni")
    if isinstance(strategy, ExplicitRank | Bonferroni):
        rates = operating_points(members, non_members, _ranks(len(non_members), strategy), terms.error)
    elif isinstance(strategy, Explicit):
        rates = rates_at(members, non_members, np.array([strategy.threshold]), terms)
    else:
        rng = split_rng(strategy)
        (choose_in, members), (choose_out, non_members) = (
            _halves(scores, strategy.fraction, rng) for scores in (members, non_members)
        )
        candidates = np.unique(np.concatenate([choose_in, choose_out]))
        chosen = from_rates(rates_at(choose_in, choose_out, candidates, terms), terms).argmax()
        rates = rates_at(members, non_members, candidates[[chosen]], terms)
    return float(from_rates(rates, terms).max())


def rates_at(
    members: np.ndarray, non_members: np.ndarray, thresholds: np.ndarray, terms: Terms
) -> OperatingPoints:
    """Bounds at thresholds that do not depend on these scores, each pair by itself at the terms' error."""
    hits, alarms = (
        len(s) - np.searchsorted(np.sort(s), thresholds, side="right") for s in (members, non_members)
    )
    each = terms.error / 2
    quiet = lower_bounds(len(non_members) - alarms, len(non_members), each)
    return OperatingPoints(thresholds, lower_bounds(hits, len(members), each), 1 - quiet)


def epsilon_from_rates(rates: OperatingPoints, terms: Terms) -> np.ndarray:
    """float64 (k,), >= 0."""
    tpr, fpr = rates.tpr_low, rates.fpr_high
    above = np.maximum(tpr - terms.delta, 0)
    below = np.maximum(1 - fpr - terms.delta, 0)
    with np.errstate(divide="ignore"):
        found: np.ndarray = np.maximum(np.maximum(np.log(above / fpr), np.log(below / (1 - tpr))), 0.0)
        return found


def _mu_from_rates(rates: OperatingPoints, terms: Terms) -> np.ndarray:
    """float64 (k,), >= 0: a curve on the wrong side of the diagonal shows nothing."""
    with np.errstate(invalid="ignore"):
        mu = ndtri(rates.tpr_low) - ndtri(rates.fpr_high)
    found: np.ndarray = np.maximum(np.nan_to_num(mu, nan=0.0), 0.0)
    return found


def _halves(scores: np.ndarray, fraction: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    order, cut = rng.permutation(len(scores)), round(len(scores) * fraction)
    if not 1 <= cut < len(scores):
        raise AttackError(f"{len(scores)} scores are too few to split at {fraction}")
    return scores[order[:cut]], scores[order[cut:]]
