"""Lower bounds on epsilon from one training run with many canaries, each in by its own fair coin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import logit, ndtr, ndtri
from scipy.stats import binom

from attacks.bounds import (
    Bonferroni,
    Bound,
    Explicit,
    ExplicitRank,
    Frontier,
    Split,
    Strategy,
    Terms,
    bound_of,
    split_rng,
)
from attacks.errors import AttackError
from attacks.ranges import real, whole, wholes
from attacks.roc import checked_scores, lower_bounds, rank_ladder
from attacks.tradeoff import gaussian_epsilon_of

Guesses = Literal["in", "both"]
"""`in`: the highest scores are guessed in. `both`: as many of the lowest are guessed out."""

_SLACK_SHARE = 4
"""A 1 / _SLACK_SHARE part of the error pays for delta where one slack covers all thresholds."""

_COINS = "each canary was in by its own fair coin, thrown before training and unseen by it"
_GAUSSIAN = "the mechanism is no easier to attack than some Gaussian mechanism"


def one_run_epsilon(
    scores_in: np.ndarray,
    scores_out: np.ndarray,
    terms: Terms,
    strategy: Strategy,
    guesses: Guesses = "in",
) -> Bound:
    """Bound from one training run with many canaries (Steinke, Nasr and Jagielski 2023, theorem 5.2).

    Where the number of guesses is fixed beforehand (`ExplicitRank`; `Explicit` with guesses `both`) the
    p-value is that of the theorem. Where it is not (`Bonferroni`, `Split`, `Explicit` with guesses `in`), the
    canaries that delta gives away are counted once for all thresholds: they number i or more with
    probability at most 2 m delta / i (Markov), and every other guess is right with probability at most
    e^eps / (1 + e^eps). So the bound is the logit of Clopper and Pearson's lower bound of
    (right - i + 1) / guesses, with i fixed beforehand by m, delta and confidence.
    A tie that a rank cuts counts as wrong guesses in the first case, and is guessed in full in the second.

    Args:
        scores_in: Scores (n_in,) of canaries whose coin said in, larger is more likely in.
        scores_out: Scores (n_out,) of all others that had a coin.
        terms: Delta, adjacency, unit, confidence.
        strategy: Any.
        guesses: Whether the lowest scores are guessed out as well.

    Example:
        >>> terms = Terms(delta=0.0, adjacency="add-remove", unit="artwork")
        >>> bound = one_run_epsilon(np.ones(100), np.zeros(100), terms, ExplicitRank(100))
        >>> bound.kind, round(bound.epsilon, 2)
        ('lower_bound', 3.49)
        >>> same = np.arange(100.0)
        >>> one_run_epsilon(same, same, terms, ExplicitRank(100)).epsilon  # Nothing shows.
        0.0
    """
    run = _Run.of(scores_in, scores_out, guesses)
    error, m = terms.error, run.m
    if isinstance(strategy, ExplicitRank) or (isinstance(strategy, Explicit) and guesses == "both"):
        epsilon = _steinke_epsilon(m, *run.fixed(strategy), terms.delta, error)
    elif isinstance(strategy, Frontier):
        made, rights = run.frontier()
        epsilon = _steinke_best(m, made, rights, terms.delta, error / len(made))
    elif isinstance(strategy, Bonferroni):
        made, rights = run.whole(rank_ladder(run.largest, strategy.points))
        epsilon = float(_slack_epsilon(m, made, rights, terms.delta, error, len(made)).max())
    elif isinstance(strategy, Explicit):
        made, rights = run.above(strategy.threshold)
        epsilon = float(_slack_epsilon(m, made, rights, terms.delta, error, 1).max())
    else:
        choosing, judging = run.split(strategy)
        made, rights = choosing.whole(np.arange(1, choosing.largest + 1))
        chosen = _slack_epsilon(choosing.m, made, rights, terms.delta, error, 1).argmax()
        rank = max(1, round((chosen + 1) / choosing.largest * judging.largest))
        made, rights = judging.whole(np.array([rank]))
        epsilon = float(_slack_epsilon(judging.m, made, rights, terms.delta, error, 1).max())
    method = f"one run, guesses {guesses}"
    return bound_of(method, epsilon, terms, strategy, scores_in, scores_out, _COINS)


def one_run_gaussian_epsilon(
    scores_in: np.ndarray,
    scores_out: np.ndarray,
    terms: Terms,
    strategy: Strategy,
    guesses: Guesses = "in",
) -> Bound:
    """One-run bound against Gaussian trade-off curves (Mahloujifar, Melis and Chaudhuri 2024).

    Finds the largest mu whose curve makes this many right guesses too unlikely and turns it into epsilon.

    Args:
        scores_in: Scores (n_in,) of canaries whose coin said in, larger is more likely in.
        scores_out: Scores (n_out,) of all others that had a coin.
        terms: Delta > 0, adjacency, unit, confidence.
        strategy: `ExplicitRank`, `Bonferroni`, `Frontier`, or `Explicit` with guesses `both`: the theorem
            wants the number of guesses fixed.
        guesses: Whether the lowest scores are guessed out as well.

    Example:
        >>> terms = Terms(delta=1e-5, adjacency="add-remove", unit="artwork")
        >>> bound = one_run_gaussian_epsilon(np.ones(50), np.zeros(50), terms, ExplicitRank(50))
        >>> bound.epsilon > 1
        True
    """
    run = _Run.of(scores_in, scores_out, guesses)
    if isinstance(strategy, ExplicitRank) or (isinstance(strategy, Explicit) and guesses == "both"):
        made, rights = (np.array([count]) for count in run.fixed(strategy))
    elif isinstance(strategy, Frontier):
        made, rights = run.frontier()
    elif isinstance(strategy, Bonferroni):
        made, rights = run.counts(rank_ladder(run.largest, strategy.points))
    else:
        raise AttackError(
            f"one-run f-DP needs a number of guesses fixed beforehand, which {strategy} does not give: "
            "use ExplicitRank or Bonferroni"
        )
    mu = largest_refuted_mu(run.m, made, rights, terms.error / len(made))
    epsilon = gaussian_epsilon_of(mu, terms.delta)
    assumption = f"{_COINS}; {_GAUSSIAN}"
    method = f"one run f-DP, guesses {guesses}"
    return bound_of(method, epsilon, terms, strategy, scores_in, scores_out, assumption)


def one_run_p_value(m: int, guesses: int, right: int, epsilon: float, delta: float) -> float:
    """Probability under (epsilon, delta)-DP of so many right guesses or more (Steinke et al. 2023, thm 5.2).

    P[B >= v] + 2 m delta max_i P[v > B >= v - i] / i over 1 <= i <= v, B binomial(r, e^eps / (1 + e^eps)).

    Args:
        m: Canaries that had a coin.
        guesses: r, fixed beforehand, 1 to m.
        right: v, 0 to r.
        epsilon: >= 0; infinite allows everything.
        delta: In [0, 1].

    Example:
        >>> one_run_p_value(m=100, guesses=10, right=10, epsilon=0.0, delta=0.0) == 0.5**10
        True
    """
    whole("canaries m", m, 1)
    whole("guesses", guesses, 1, m)
    whole("right", right, 0, guesses)
    real("epsilon", epsilon, "[0, inf)", infinite=True)
    real("delta", delta, "[0, 1]")
    q = 1 / (1 + np.exp(-epsilon))
    tail = float(binom.sf(right - 1, guesses, q))
    if right == 0 or delta == 0:
        return min(1.0, tail)
    below = binom.pmf(np.arange(right - 1, -1, -1), guesses, q)
    densest = float((np.cumsum(below) / np.arange(1, right + 1)).max())
    return min(1.0, tail + 2 * m * delta * densest)


def largest_refuted_mu(m: int, guesses: np.ndarray, right: np.ndarray, error: float) -> float:
    """Largest mu for which some pair of counts is less likely than `error` under Gaussian trade-off mu.

    With p_n the probability of exactly n right guesses, R_i = sum over n >= i of n p_n / m and
    H_i = sum over n >= i of (r - n) p_n / m, changing one coin gives R_i <= 1 - f(H_(i-1))
    (Mahloujifar et al. 2024). From p_v = error downward this forces more and more
    mass; more than one in all refutes mu.

    Args:
        m: Canaries that had a coin.
        guesses: int (k,), each fixed beforehand, 1 to m.
        right: int (k,), each 0 to its guesses.
        error: Probability allowed to each pair, in (0, 1).
    """
    whole("canaries m", m, 1)
    guesses, right = wholes("guesses", guesses, 1, m), wholes("right", right, 0)
    if right.shape != guesses.shape or (right > guesses).any():
        raise AttackError("right must be one for each of the guesses, and no more than them")
    real("error", error, "(0, 1)")
    low, high, chosen = 0.0, 1.0, right > 0
    guesses, right = guesses[chosen], right[chosen]
    if not len(guesses) or not (refuted := _refuted(m, guesses, right, error, 0.0)).any():
        return 0.0
    while (refuted := _refuted(m, guesses, right, error, high)).any():
        guesses, right, low, high = guesses[refuted], right[refuted], high, 2 * high
    while high - low > 1e-5 * max(1.0, low):
        middle = (low + high) / 2
        refuted = _refuted(m, guesses, right, error, middle)
        if refuted.any():
            guesses, right, low = guesses[refuted], right[refuted], middle
        else:
            high = middle
    return low


def _steinke_epsilon(m: int, guesses: int, right: int, delta: float, error: float) -> float:
    """Largest epsilon whose p-value is at most `error`; 0 where there is none."""
    if one_run_p_value(m, guesses, right, 0.0, delta) > error:
        return 0.0
    # Exact without delta, and with delta never larger.
    high = float(logit(lower_bounds(np.array([right]), guesses, error))[0])
    if delta == 0:
        return high
    low = 0.0
    while high - low > 1e-7 * max(1.0, high):
        middle = (low + high) / 2
        if one_run_p_value(m, guesses, right, middle, delta) <= error:
            low = middle
        else:
            high = middle
    return low


def _steinke_best(m: int, guesses: np.ndarray, right: np.ndarray, delta: float, error: float) -> float:
    """Best `_steinke_epsilon` of several pairs; a pair whose bound without delta is no better is skipped."""
    best, without = 0.0, logit(lower_bounds(right, guesses, error))
    for k in np.argsort(-without):
        if without[k] <= best:
            break
        if one_run_p_value(m, int(guesses[k]), int(right[k]), best, delta) <= error:
            best = max(best, _steinke_epsilon(m, int(guesses[k]), int(right[k]), delta, error))
    return best


def _slack_epsilon(
    m: int, guesses: np.ndarray, right: np.ndarray, delta: float, error: float, shared_by: int
) -> np.ndarray:
    """Bounds (k,) that hold together, with one slack for all that delta gives away; see `one_run_epsilon`."""
    given_away = max(1, int(np.ceil(2 * m * delta * _SLACK_SHARE / error)))
    left = error - 2 * m * delta / given_away
    certain = np.maximum(right - (given_away - 1), 0)
    shares = lower_bounds(certain, np.maximum(guesses, 1), left / shared_by)
    found: np.ndarray = np.maximum(logit(np.maximum(shares, 0.5)), 0.0)
    return found


def _refuted(m: int, guesses: np.ndarray, right: np.ndarray, error: float, mu: float) -> np.ndarray:
    """bool (k,): pairs of counts that trade-off mu cannot explain; see `largest_refuted_mu`."""
    found, index = np.zeros(len(guesses), bool), np.arange(len(guesses))
    r, n = guesses.astype(float), right.astype(float)
    mass = np.full(len(r), error)
    correct, wrong = mass * n / m, mass * (r - n) / m
    while len(index):
        n = n - 1
        least = ndtr(ndtri(np.minimum(correct, 1.0)) - mu)
        going = (n >= 0) & (least > wrong)
        index, r, n, mass, correct, wrong, least = (
            a[going] for a in (index, r, n, mass, correct, wrong, least)
        )
        new = (least - wrong) * m / (r - n)
        mass, correct, wrong = mass + new, correct + n * new / m, least
        over = mass > 1
        found[index[over]] = True
        index, r, n, mass, correct, wrong = (a[~over] for a in (index, r, n, mass, correct, wrong))
    return found


@dataclass(frozen=True, eq=False)
class _Run:
    """Canaries of one run, highest score first; ties count only when a rank takes all of them.

    Attributes:
        scores: float64 (m,), decreasing.
        was_in: bool (m,).
        guesses: Whether the lowest are guessed out as well.
    """

    scores: np.ndarray
    was_in: np.ndarray
    guesses: Guesses

    @classmethod
    def of(cls, scores_in: np.ndarray, scores_out: np.ndarray, guesses: Guesses) -> _Run:
        if guesses not in ("in", "both"):
            raise AttackError(f"guesses must be 'in' or 'both', not {guesses!r}")
        members, non_members = checked_scores(scores_in, scores_out)
        scores = np.concatenate([members, non_members])
        was_in = np.arange(len(scores)) < len(members)
        return cls._sorted(scores, was_in, guesses)

    @classmethod
    def _sorted(cls, scores: np.ndarray, was_in: np.ndarray, guesses: Guesses) -> _Run:
        order = np.argsort(-scores, kind="stable")
        return cls(scores[order], was_in[order], guesses)

    @property
    def m(self) -> int:
        return len(self.scores)

    @property
    def largest(self) -> int:
        """The largest rank."""
        return self.m if self.guesses == "in" else max(1, self.m // 2)

    def counts(self, ranks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Guesses made at each rank, and how many are right for certain, whatever the order of ties."""
        if ranks.min() < 1 or ranks.max() > self.largest:
            raise AttackError(f"rank must be 1 to {self.largest} here, not {ranks.min()} to {ranks.max()}")
        right = self._certain(self.scores, self.was_in)[ranks]
        if self.guesses == "in":
            return ranks, right
        return 2 * ranks, right + self._certain(-self.scores[::-1], ~self.was_in[::-1])[ranks]

    def whole(self, ranks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Guesses made and right where ties that a rank cuts are guessed in full."""
        last_in = np.searchsorted(-self.scores, -self.scores[ranks - 1], side="right")
        right = np.r_[0, np.cumsum(self.was_in)][last_in]
        if self.guesses == "in":
            return last_in, right
        rising = self.scores[::-1]
        last_out = np.searchsorted(rising, rising[ranks - 1], side="right")
        # Where both ends meet in one tie, it is guessed in.
        last_out = np.minimum(last_out, self.m - last_in)
        return last_in + last_out, right + np.r_[0, np.cumsum(~self.was_in[::-1])][last_out]

    def above(self, threshold: float) -> tuple[np.ndarray, np.ndarray]:
        """The same for the guesses that a threshold makes: in above it, out below or at it if guessed."""
        over = self.scores > threshold
        right = int((over & self.was_in).sum())
        if self.guesses == "in":
            return np.array([int(over.sum())]), np.array([right])
        return np.array([self.m]), np.array([right + int((~over & ~self.was_in).sum())])

    def fixed(self, strategy: Explicit | ExplicitRank) -> tuple[int, int]:
        """Guesses and right ones of a strategy that fixes their number."""
        if isinstance(strategy, Explicit):
            made, right = self.above(strategy.threshold)
        else:
            made, right = self.counts(np.array([strategy.rank]))
        return int(made[0]), int(right[0])

    def frontier(self) -> tuple[np.ndarray, np.ndarray]:
        """Guesses and right ones at the corners of the upper hull of (out above, in above)."""
        if self.guesses == "both":
            raise AttackError("Frontier is for guesses 'in'; use Bonferroni")
        last = np.flatnonzero(np.r_[self.scores[1:] != self.scores[:-1], True])
        inside = np.r_[0, np.cumsum(self.was_in)[last]]
        outside = np.r_[0, last + 1] - inside
        corners: list[int] = []
        for k in range(len(inside)):
            while len(corners) > 1 and _not_left_turn(inside, outside, corners[-2], corners[-1], k):
                corners.pop()
            corners.append(k)
        made = (inside + outside)[corners]
        return made[made > 0], inside[corners][made > 0]

    def split(self, strategy: Split) -> tuple[_Run, _Run]:
        """The part that chooses and the part that is judged; which is which does not look at the coins."""
        order = split_rng(strategy).permutation(self.m)
        cut = round(self.m * strategy.fraction)
        if not 2 <= cut <= self.m - 2:
            raise AttackError(f"{self.m} scores are too few to split at {strategy.fraction}")
        one, other = (
            self._sorted(self.scores[part], self.was_in[part], self.guesses)
            for part in (order[:cut], order[cut:])
        )
        return one, other

    @staticmethod
    def _certain(scores: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """int (m + 1,): wanted ones among the first k, where a tie that k cuts counts as none."""
        total = np.r_[0, np.cumsum(wanted)]
        starts = np.r_[True, scores[1:] != scores[:-1]]
        whole = np.r_[starts, True]
        certain: np.ndarray = total[np.maximum.accumulate(np.where(whole, np.arange(len(whole)), 0))]
        return certain


def _not_left_turn(inside: np.ndarray, outside: np.ndarray, a: int, b: int, c: int) -> bool:
    """Whether corner b lies on or below the line from a to c."""
    return bool(
        (inside[b] - inside[a]) * (outside[c] - outside[a])
        <= (inside[c] - inside[a]) * (outside[b] - outside[a])
    )
