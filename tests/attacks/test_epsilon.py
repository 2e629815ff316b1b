"""Bounds against published values, slow references, and mechanisms whose true epsilon is known."""

from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import linprog
from scipy.stats import beta, betabinom, binom, norm

from attacks.epsilon import (
    Bonferroni,
    Explicit,
    ExplicitRank,
    Frontier,
    Split,
    Terms,
    canife_estimate,
    clopper_pearson_epsilon,
    gaussian_epsilon,
    largest_refuted_mu,
    normals_epsilon,
    one_run_epsilon,
    one_run_gaussian_epsilon,
    one_run_p_value,
    one_shot_federated_estimate,
    rank_p_value,
)
from attacks.errors import AttackError
from attacks.tradeoff import gaussian_epsilon_of, gaussian_limit, gaussian_mu_of

TERMS = Terms(delta=1e-5, adjacency="add-remove", unit="artwork")
PURE = Terms(delta=0.0, adjacency="add-remove", unit="artwork")


def midpoint_quantiles(n):
    return norm.ppf((np.arange(n) + 0.5) / n)


@pytest.mark.parametrize(
    ("mu", "one_run", "f_dp"), [(1, 1.13346, 2.165), (2, 2.311945, 4.722), (4, 4.395568, 9.134)]
)
def test_published_one_run_figures(mu, one_run, f_dp):
    """And the bounds that look at every rank with a proof are below the truth."""
    out = midpoint_quantiles(10_000)
    terms = Terms(delta=1e-6, adjacency="add-remove", unit="example")
    assert one_run_epsilon(out + mu, out, terms, Frontier()).epsilon == pytest.approx(one_run, rel=0.03)
    assert one_run_gaussian_epsilon(out + mu, out, terms, Frontier()).epsilon == pytest.approx(f_dp, rel=0.03)
    truth = gaussian_epsilon_of(mu, 1e-6)
    proved = one_run_epsilon(out + mu, out, terms, Bonferroni()).epsilon
    assert one_run < proved < truth
    assert proved < one_run_gaussian_epsilon(out + mu, out, terms, Bonferroni()).epsilon < truth
    two_worlds = gaussian_epsilon(out + mu, out, terms, Bonferroni(25)).epsilon
    assert 0.9 * truth < two_worlds < truth
    assert clopper_pearson_epsilon(out + mu, out, terms, Bonferroni(25)).epsilon < two_worlds


def test_a_frontier_figure_is_no_bound_and_everything_says_what_it_is():
    out = midpoint_quantiles(200)
    estimate = one_run_epsilon(out + 2, out, TERMS, Frontier())
    assert (estimate.kind, estimate.confidence) == ("estimate", None)
    bound = one_run_epsilon(out + 2, out, TERMS, Bonferroni(25), "both")
    assert (bound.kind, bound.delta, bound.confidence) == ("lower_bound", 1e-5, 0.95)
    assert (bound.adjacency, bound.unit, bound.n_in, bound.n_out) == ("add-remove", "artwork", 200, 200)
    assert bound.strategy == "Bonferroni(points=25)"
    assert "fair coin" in bound.assumption
    assert "both" in bound.method
    assert "Gaussian" in gaussian_epsilon(out + 2, out, TERMS, Explicit(1.0)).assumption


def naive_p_value(m, r, v, epsilon, delta):
    q = np.exp(epsilon) / (1 + np.exp(epsilon))
    tail = sum(binom.pmf(k, r, q) for k in range(v, r + 1))
    worst = 0.0
    for i in range(1, v + 1):
        worst = max(worst, sum(binom.pmf(k, r, q) for k in range(v - i, v)) / i)
    return min(1.0, tail + 2 * m * delta * worst)


@pytest.mark.parametrize("delta", [0.0, 1e-4, 0.01])
@pytest.mark.parametrize(("r", "v"), [(1, 0), (1, 1), (20, 12), (20, 20), (60, 31)])
def test_the_p_value_is_the_theorems(r, v, delta):
    for epsilon in (0.0, 0.7, 3.0):
        expected = naive_p_value(100, r, v, epsilon, delta)
        assert one_run_p_value(100, r, v, epsilon, delta) == pytest.approx(expected, rel=1e-9)


def test_the_bound_is_where_the_p_value_crosses():
    scores_in, scores_out = np.repeat([1.0, 0.0], [28, 12]), np.repeat([1.0, 0.0], [2, 38])
    for delta in (0.0, 1e-5, 1e-4):
        terms = Terms(delta, "add-remove", "artwork")
        found = one_run_epsilon(scores_in, scores_out, terms, ExplicitRank(30)).epsilon
        assert one_run_p_value(80, 30, 28, found, delta) == pytest.approx(0.05, rel=1e-3)


@pytest.mark.parametrize(("m", "r", "v"), [(12, 10, 9), (20, 12, 11), (10, 10, 9)])
def test_the_gaussian_recursion_is_the_cheapest_distribution_of_a_linear_program(m, r, v):
    """Over all distributions of the number of right guesses, the smallest mass that obeys the inequality.

    The inequality H_(i-1) >= Phi(Phi^-1(R_i) - mu) is convex, so it is that of all its tangents.
    """
    error = 0.05
    mu = largest_refuted_mu(m, np.array([r]), np.array([v]), error)
    points = norm.cdf(np.linspace(-4, 4, 400))

    def mass(mu):
        n = np.arange(r + 1)
        rows, limits = [], []
        for i in range(1, v + 1):
            right, wrong = np.where(n >= i, n, 0) / m, np.where(n >= i - 1, r - n, 0) / m
            at = norm.ppf(points) - mu
            slope = norm.pdf(at) / norm.pdf(norm.ppf(points))
            for s, c in zip(slope, norm.cdf(at) - slope * points, strict=True):
                rows.append(s * right - wrong)
                limits.append(-c)
        tail = -np.where(n >= v, 1.0, 0.0)
        solved = linprog(np.ones(r + 1), np.vstack([*rows, tail]), [*limits, -error], method="highs")
        return solved.fun

    assert mu > 0.05
    assert mass(mu * 1.02) < 1 < mass(mu * 0.98)


def randomised_response(rng, epsilon, m):
    coins = rng.random(m) < 0.5
    truth = rng.random(m) < np.exp(epsilon) / (1 + np.exp(epsilon))
    answers = np.where(truth, coins, ~coins).astype(float)
    return answers[coins], answers[~coins]


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 2.0, 4.0])
def test_randomised_response_is_bounded_by_its_epsilon_and_nearly_reached(epsilon):
    """400 runs at 5 % of a mechanism that attains the bound: over 8.3 % has probability about 2e-3."""
    rng = np.random.default_rng(int(10 * epsilon))
    found = np.array(
        [
            one_run_epsilon(*randomised_response(rng, epsilon, 5000), PURE, Explicit(0.5), "both").epsilon
            for _ in range(400)
        ]
    )
    assert (found > epsilon).mean() <= 0.083
    assert found.mean() >= 0.9 * epsilon


AUDITORS = {
    "clopper-pearson all": partial(clopper_pearson_epsilon, terms=TERMS, strategy=Bonferroni()),
    "clopper-pearson 25": partial(clopper_pearson_epsilon, terms=TERMS, strategy=Bonferroni(25)),
    "clopper-pearson split": partial(clopper_pearson_epsilon, terms=TERMS, strategy=Split()),
    "gaussian all": partial(gaussian_epsilon, terms=TERMS, strategy=Bonferroni()),
    "gaussian 25": partial(gaussian_epsilon, terms=TERMS, strategy=Bonferroni(25)),
    "gaussian split": partial(gaussian_epsilon, terms=TERMS, strategy=Split()),
    "one run all": partial(one_run_epsilon, terms=TERMS, strategy=Bonferroni()),
    "one run both 25": partial(one_run_epsilon, terms=TERMS, strategy=Bonferroni(25), guesses="both"),
    "one run split": partial(one_run_epsilon, terms=TERMS, strategy=Split()),
    "one run pure split": partial(one_run_epsilon, terms=PURE, strategy=Split(), guesses="both"),
    "one run f-dp 25": partial(one_run_gaussian_epsilon, terms=TERMS, strategy=Bonferroni(25)),
}


@pytest.mark.long
@pytest.mark.parametrize("auditor", AUDITORS)
def test_nothing_is_claimed_where_there_is_nothing(auditor):
    """400 null runs, the threshold chosen from the scores: 5 % and 3 standard errors may claim any."""
    rng = np.random.default_rng(0)
    claims = 0
    for _ in range(400):
        scores, coins = rng.standard_normal(300), rng.random(300) < 0.5
        claims += AUDITORS[auditor](scores[coins], scores[~coins]).epsilon > 0
    assert claims / 400 <= 0.083


def test_choosing_without_paying_claims_what_is_not_there():
    """The mistake that the strategies are there for: best of all thresholds, each at the full error."""
    rng = np.random.default_rng(0)
    claims = 0
    for _ in range(60):
        scores, coins = rng.standard_normal(300), rng.random(300) < 0.5
        claims += any(
            one_run_epsilon(scores[coins], scores[~coins], PURE, ExplicitRank(k)).epsilon > 0
            for k in range(1, 300, 6)
        )
    assert claims / 60 > 0.2


@pytest.mark.parametrize(("delta", "revealed"), [(1e-3, 1), (1e-3, 40), (1e-3, 200), (5e-3, 25)])
@pytest.mark.parametrize(
    "strategy", [Bonferroni(25), Bonferroni(), Split(), Explicit(0.5), ExplicitRank(400)]
)
def test_what_delta_gives_away_is_not_taken_for_epsilon(delta, revealed, strategy):
    """An (0.5, delta)-DP mechanism that now and then reveals many coins at once. 200 runs at 5 % each: over
    21 violations has probability below 1e-3."""
    rng = np.random.default_rng(revealed)
    m, epsilon, terms = 800, 0.5, Terms(delta, "add-remove", "artwork")
    violations = 0
    for _ in range(200):
        coins = rng.random(m) < 0.5
        answers = np.where(rng.random(m) < 1 / (1 + np.exp(-epsilon)), coins, ~coins).astype(float)
        # Each coin is revealed with probability min(1, m delta / revealed) * revealed / m <= delta.
        if rng.random() < m * delta / revealed:
            chosen = rng.choice(m, revealed, replace=False)
            answers[chosen] = np.where(coins[chosen], 2.0, -1.0)
        bound = one_run_epsilon(answers[coins], answers[~coins], terms, strategy)
        violations += bound.epsilon > epsilon
    assert violations <= 21


def test_the_gaussian_bound_comes_within_a_tenth_and_stays_below():
    """100 000 scores a side. 20 runs for each mu at 5 %: over 5 above the truth has probability 3e-4."""
    rng = np.random.default_rng(0)
    for mu in (1.0, 2.0):
        truth = gaussian_epsilon_of(mu, 1e-5)
        found = np.array(
            [
                gaussian_epsilon(
                    rng.normal(mu, 1, 100_000), rng.standard_normal(100_000), TERMS, Bonferroni(25)
                ).epsilon
                for _ in range(20)
            ]
        )
        assert (found > truth).sum() <= 5
        assert found.min() > 0.9 * truth


@pytest.mark.parametrize("strategy", [Explicit(0.5), ExplicitRank(30), Split(), Bonferroni(25), Bonferroni()])
def test_reversed_and_null_scores_give_exactly_zero(strategy):
    out = midpoint_quantiles(200)
    for auditor in (clopper_pearson_epsilon, gaussian_epsilon, one_run_epsilon):
        assert auditor(out - 2, out, TERMS, strategy).epsilon == 0
        assert auditor(out, out, TERMS, strategy).epsilon == 0
        assert auditor(np.ones(50), np.ones(50), TERMS, strategy).epsilon == 0


def test_the_rank_p_value_is_beta_binomial_where_the_limit_is_the_diagonal():
    """Without privacy loss the hits above the r-th non-member are beta-binomial (n_in, r, n_out - r + 1)."""
    ranks = np.array([1, 1, 4, 20, 39, 40, 40])
    hits = np.array([0, 9, 12, 35, 60, 60, 55])
    found = rank_p_value(hits, 60, ranks, 40, lambda fpr: fpr)
    assert found == pytest.approx(betabinom.sf(hits - 1, 60, ranks, 41 - ranks), rel=1e-6, abs=1e-8)


def test_one_test_at_a_rank_spends_the_whole_error():
    """On the limit itself the p-value is the chance of so many hits: 20 000 runs know that to 0.35 %.

    And the bound is where the p-value crosses, a fifth above that of two intervals.
    """
    rng = np.random.default_rng(0)
    limit = partial(gaussian_limit, mu=1.0)
    cut = np.sort(rng.standard_normal((20_000, 150)), axis=1)[:, [75]]
    hits = (rng.normal(1, 1, (20_000, 150)) > cut).sum(1)
    at = np.arange(100, 150, 5)
    expected = (hits[:, None] >= at).mean(0)
    assert rank_p_value(at, 150, np.full(10, 75), 150, limit) == pytest.approx(expected, abs=0.014)
    pairs = []
    for _ in range(20):
        scores = rng.normal(1, 1, 150), rng.standard_normal(150)
        one = gaussian_epsilon(*scores, TERMS, ExplicitRank(75)).epsilon
        pairs.append((one, gaussian_epsilon(*scores, TERMS, Explicit(0.0)).epsilon))
        hits = np.array([(scores[0] > np.sort(scores[1])[75]).sum()])
        mu = gaussian_mu_of(one, 1e-5)
        found = rank_p_value(hits, 150, np.array([75]), 150, partial(gaussian_limit, mu=mu))
        assert found[0] == pytest.approx(0.05, rel=1e-3)
    assert np.mean(pairs, axis=0)[0] > 1.2 * np.mean(pairs, axis=0)[1]


def test_clopper_pearson_by_hand():
    scores_in, scores_out = np.repeat([1.0, 0.0], [90, 10]), np.repeat([1.0, 0.0], [5, 95])
    low, high = beta.ppf(0.025, 90, 11), beta.isf(0.025, 6, 95)
    expected = max(np.log((low - 1e-5) / high), np.log((1 - high - 1e-5) / (1 - low)))
    found = clopper_pearson_epsilon(scores_in, scores_out, TERMS, Explicit(0.5)).epsilon
    assert found == pytest.approx(expected, rel=1e-9)
    mu = norm.ppf(low) - norm.ppf(high)
    found = gaussian_epsilon(scores_in, scores_out, TERMS, Explicit(0.5)).epsilon
    assert found == pytest.approx(gaussian_epsilon_of(mu, 1e-5), rel=1e-9)
    # The other inequality: everyone out is below, and nearly everyone in is above.
    most = clopper_pearson_epsilon(np.ones(500), np.repeat([1.0, 0.0], [250, 250]), TERMS, Explicit(0.5))
    low, high = beta.ppf(0.025, 500, 1), beta.isf(0.025, 251, 250)
    assert most.epsilon == pytest.approx(np.log((1 - high - 1e-5) / (1 - low)), rel=1e-9)


def test_ceilings_of_perfect_attacks_are_the_published_ones():
    """One run, all guesses right: 3.49 at 100 canaries, 5.8 at 1000; two worlds of 100: 3.3."""
    for m, ceiling in ((100, 3.49), (1000, 5.8)):
        scores = np.ones(m // 2)
        assert one_run_epsilon(scores, -scores, PURE, Explicit(0.0), "both").epsilon == pytest.approx(
            ceiling, abs=0.02
        )
    assert clopper_pearson_epsilon(np.ones(100), np.zeros(100), PURE, Explicit(0.5)).epsilon == pytest.approx(
        3.3, abs=0.05
    )


def test_a_split_is_judged_on_what_did_not_choose():
    """Nine tenths choose: perfect scores say no more than the tenth that is left, to the digit."""
    for auditor in (clopper_pearson_epsilon, gaussian_epsilon):
        found = auditor(np.ones(1000), np.zeros(1000), TERMS, Split(0.9))
        assert found.epsilon == auditor(np.ones(100), np.zeros(100), TERMS, Explicit(0.5)).epsilon
        assert found.epsilon < 0.6 * auditor(np.ones(1000), np.zeros(1000), TERMS, Explicit(0.5)).epsilon
    # In one run too: 200 coins are left, of which every guess "in" is right.
    found = one_run_epsilon(np.ones(1000), np.zeros(1000), PURE, Split(0.9), "both").epsilon
    assert found == pytest.approx(np.log(0.05 ** (1 / 200) / -np.expm1(np.log(0.05) / 200)))
    # Scores that are all noise but for those that choose: what they choose is judged by the noise.
    rng = np.random.default_rng(0)
    scores, strategy = rng.standard_normal(400), Split(0.5, seed=3)
    halves = np.random.default_rng(3)
    choosing_in, choosing_out = halves.permutation(200)[:100], halves.permutation(200)[:100]
    scores[choosing_in] += 50
    scores[200 + choosing_out] -= 50
    for auditor in (clopper_pearson_epsilon, gaussian_epsilon):
        assert auditor(scores[:200], scores[200:], TERMS, strategy).epsilon < 0.5


@pytest.mark.parametrize("delta", [0.0, 1e-4, 1e-3])
def test_the_slack_for_delta_is_paid_from_the_error(delta):
    """By hand: i = ceil(8 m delta / 5 %) may be given away, at 2 m delta / i of the error."""
    scores_in, scores_out = np.repeat([1.0, 0.0], [390, 10]), np.repeat([1.0, 0.0], [10, 390])
    given_away = max(1, int(np.ceil(2 * 800 * delta * 4 / 0.05)))
    left = 0.05 - 2 * 800 * delta / given_away
    terms = Terms(delta, "add-remove", "artwork")
    found = one_run_epsilon(scores_in, scores_out, terms, Explicit(0.5)).epsilon
    right = 390 - given_away + 1
    share = beta.ppf(left, right, 400 - right + 1)
    assert found == pytest.approx(np.log(share / (1 - share)), rel=1e-9)
    # Three ranks share what is left.
    found = one_run_epsilon(scores_in, scores_out, terms, Bonferroni(3)).epsilon
    share = beta.ppf(left / 3, right, 400 - right + 1)
    assert found == pytest.approx(np.log(share / (1 - share)), rel=1e-9)


def test_a_tie_that_meets_from_both_ends_is_guessed_once():
    """80 in and 10 out share the middle score. Guessed both ways they would count against each other."""
    scores_in, scores_out = np.repeat([3.0, 2.0], [5, 80]), np.repeat([2.0, 1.0], [10, 5])
    found = one_run_epsilon(scores_in, scores_out, PURE, Bonferroni(), "both").epsilon
    # 95 guessed in, 85 of them rightly, and 5 out; 50 ranks.
    share = beta.ppf(0.05 / 50, 90, 11)
    assert found == pytest.approx(np.log(share / (1 - share)))


@pytest.mark.parametrize(("n_in", "n_out"), [(20_000, 20), (100_000, 100), (100, 100_000)])
def test_the_rank_p_value_is_exact_for_uneven_numbers_too(n_in, n_out):
    """Beta-binomial on the diagonal; 100 nodes alone miss it by 0.016 at a thousand members each."""
    for rank in (1, n_out // 2, n_out):
        exact = betabinom(n_in, rank, n_out + 1 - rank)
        hits = np.unique(exact.ppf([0.01, 0.1, 0.5, 0.9, 0.95, 0.99])).astype(int)
        hits = hits[hits > 0]
        found = rank_p_value(hits, n_in, np.full(len(hits), rank), n_out, lambda fpr: fpr)
        assert found == pytest.approx(exact.sf(hits - 1), abs=1e-5)


def test_ties_are_never_counted_in_favour():
    """Whoever comes first in memory, a constant score shows nothing, and a cut tie counts as wrong.

    Where the number of guesses may depend on the scores, whole ties are guessed: perfect scores lose nothing.
    """
    perfect = np.ones(500), np.zeros(500)
    free = one_run_epsilon(*perfect, TERMS, Bonferroni(25), "both").epsilon
    assert free > 0.8 * one_run_epsilon(*perfect, TERMS, Explicit(0.5), "both").epsilon
    assert one_run_epsilon(*perfect, TERMS, Bonferroni(25)).epsilon > 3
    assert one_run_epsilon(np.ones(60), np.ones(5), PURE, ExplicitRank(30)).epsilon == 0
    whole = one_run_epsilon(np.repeat([2.0, 1.0], [30, 30]), np.ones(60), PURE, ExplicitRank(30)).epsilon
    cut = one_run_epsilon(np.repeat([2.0, 1.0], [30, 30]), np.ones(60), PURE, ExplicitRank(40)).epsilon
    assert whole == pytest.approx(np.log(0.05 ** (1 / 30) / (1 - 0.05 ** (1 / 30))))
    assert cut < whole


def gap(first, second, epsilon):
    """P(E) - e^eps Q(E) over the best E, by integration."""
    (a, s), (b, t) = first, second
    points = np.linspace(-60, 60, 241)
    return sum(
        quad(
            lambda x: (
                -norm.pdf(x, a, s) * np.expm1(min(0.0, epsilon + norm.logpdf(x, b, t) - norm.logpdf(x, a, s)))
            ),
            lo,
            hi,
        )[0]
        for lo, hi in pairwise(points)
    )


@pytest.mark.long
@pytest.mark.parametrize(
    "pair",
    [
        ((0, 1), (1.5, 1.2)),
        ((0, 1), (1.5, 0.7)),
        ((0, 1), (0, 2)),
        ((0, 1), (1, 1)),
        ((-0.3, 2), (-0.3, 1)),
        ((0, 1), (50, 1.2)),
        ((5, 1.3), (-45, 1.2)),
    ],
)
def test_epsilon_between_normals_is_where_the_integral_is_delta(pair):
    epsilon = normals_epsilon(*pair, 1e-3)
    assert epsilon > 0
    assert max(gap(*pair, epsilon), gap(*pair[::-1], epsilon)) == pytest.approx(1e-3, rel=1e-3)


def test_epsilon_between_normals_of_nearly_one_deviation_is_that_of_one():
    for apart in (1.0, 300.0):
        one = gaussian_epsilon_of(apart, 1e-5)
        for t in (1 + 1e-9, 1 - 1e-9, 1 + 1e-13):
            assert normals_epsilon((0, 1), (apart, t), 1e-5) == pytest.approx(one, rel=1e-7)
            assert normals_epsilon((7, 2), (7 - 2 * apart, 2 * t), 1e-5) == pytest.approx(one, rel=1e-7)


@pytest.mark.parametrize("middle", [0.05, 0.2, 0.5, 1.0])
def test_canaries_far_from_the_noise_have_a_large_epsilon_and_no_crash(middle):
    """A million values: cosines 50 to 1000 deviations away, where e^eps is no float.

    The mean alone, with the deviation of the noise, is a Gaussian mechanism; another deviation adds to it.
    """
    drawn = np.random.default_rng(0).normal(0, 1e-3, 20)
    drawn = (drawn - drawn.mean()) / drawn.std(ddof=1)
    least = gaussian_epsilon_of(middle / 1e-3, 1e-5)
    for spread in (1 - 1e-7, 1 + 1e-7):
        found = one_shot_federated_estimate(middle + spread * 1e-3 * drawn, 10**6, TERMS).epsilon
        assert found == pytest.approx(least, rel=1e-4)
    for spread in (0.1, 10.0):
        assert one_shot_federated_estimate(middle + spread * 1e-3 * drawn, 10**6, TERMS).epsilon > least


def test_the_one_shot_estimate_finds_the_noise():
    """300 canaries of length 1 in 20 000 dimensions, within a fifth (they are noise to each other)."""
    rng = np.random.default_rng(0)
    d, k = 20_000, 300
    canaries = rng.standard_normal((k, d))
    canaries /= np.linalg.norm(canaries, axis=1, keepdims=True)
    for sigma in (0.5, 1.0):
        release = canaries.sum(0) + sigma * rng.standard_normal(d)
        cosines = canaries @ release / np.linalg.norm(release)
        estimate = one_shot_federated_estimate(cosines, d, TERMS)
        assert (estimate.kind, estimate.confidence) == ("estimate", None)
        assert estimate.epsilon == pytest.approx(gaussian_epsilon_of(1 / sigma, 1e-5), rel=0.2)
    assert one_shot_federated_estimate(-np.abs(cosines), d, TERMS).epsilon == 0
    for equal in (np.ones(5), np.full(7, 0.1)):
        with pytest.raises(AttackError, match="all cosines are equal"):
            one_shot_federated_estimate(equal, d, TERMS)


def test_canife_composes_the_rounds_that_show_something():
    rng = np.random.default_rng(0)
    told = []

    def accountant(multipliers):
        told.extend(multipliers)
        return gaussian_epsilon_of(float(np.sqrt(sum(s**-2 for s in multipliers))), 1e-5)

    silent = (np.ones(50), np.ones(50))
    estimate = canife_estimate([silent, silent], accountant, TERMS)
    assert (estimate.kind, estimate.epsilon, told) == ("estimate", 0.0, [])
    loud = (rng.normal(2, 1, 2000), rng.standard_normal(2000))
    one = canife_estimate([loud, silent], accountant, TERMS)
    assert len(told) == 1
    # One round's own figure comes back, and cannot say more than counting does.
    thresholds = np.unique(np.r_[loud[0], loud[1]])[::40]
    by_hand = max(clopper_pearson_epsilon(*loud, TERMS, Explicit(t)).epsilon for t in thresholds)
    assert by_hand <= one.epsilon <= by_hand + 0.3
    assert one.epsilon < gaussian_epsilon_of(2.0, 1e-5)
    both = canife_estimate([loud, loud], accountant, TERMS)
    assert told[1:] == told[:1] * 2
    assert both.epsilon > one.epsilon
    assert (both.n_in, both.n_out) == (4000, 4000)


def test_what_is_not_allowed_says_so():
    out = midpoint_quantiles(50)
    with pytest.raises(AttackError, match="delta must be a number in"):
        Terms(1.0, "add-remove", "artwork")
    with pytest.raises(AttackError, match="adjacency must be"):
        Terms(0.0, "add", "artwork")
    with pytest.raises(AttackError, match="unit must say"):
        Terms(0.0, "replace", " ")
    with pytest.raises(AttackError, match="confidence"):
        Terms(0.0, "replace", "artist", 95)
    with pytest.raises(AttackError, match="Frontier is for one-run"):
        gaussian_epsilon(out, out, TERMS, Frontier())
    with pytest.raises(AttackError, match="fixed beforehand"):
        one_run_gaussian_epsilon(out, out, TERMS, Split())
    with pytest.raises(AttackError, match="rank must be 1 to 50"):
        clopper_pearson_epsilon(out, out, TERMS, ExplicitRank(51))
    with pytest.raises(AttackError, match="rank must be 1 to 50"):
        one_run_epsilon(out, out, TERMS, ExplicitRank(51), "both")
    with pytest.raises(AttackError, match="guesses must be"):
        one_run_epsilon(out, out, TERMS, ExplicitRank(5), "out")
    with pytest.raises(AttackError, match="fraction"):
        one_run_epsilon(out, out, TERMS, Split(1.5))
    with pytest.raises(AttackError, match="too few to split"):
        clopper_pearson_epsilon(out[:2], out[:2], TERMS, Split(0.1))
    with pytest.raises(AttackError, match="delta must be a number in"):
        gaussian_epsilon(out, out, PURE, Explicit(0.0))
    with pytest.raises(AttackError, match="right must be a whole number from 0 to 5"):
        one_run_p_value(10, 5, 6, 1.0, 0.0)
    with pytest.raises(AttackError, match="not finite"):
        one_run_epsilon(np.array([np.inf]), out, TERMS, Explicit(0.0))
    for nowhere in (np.nan, np.inf):
        with pytest.raises(AttackError, match="threshold must be a finite number"):
            Explicit(nowhere)
    with pytest.raises(AttackError, match="deviation > 0"):
        normals_epsilon((0.0, 1.0), (1.0, 0.0), 1e-5)
    with pytest.raises(AttackError, match="no round"):
        canife_estimate([], lambda _: 0.0, TERMS)
