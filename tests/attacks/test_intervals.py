"""Intervals cover what they say they cover."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from attacks.errors import AttackError
from attacks.intervals import clopper_pearson, median_interval, paired_difference


def test_clopper_pearson_has_its_closed_ends_and_published_values():
    assert clopper_pearson(0, 20) == (0.0, pytest.approx(1 - 0.025 ** (1 / 20)))
    assert clopper_pearson(20, 20) == (pytest.approx(0.025 ** (1 / 20)), 1.0)
    # 1 of 1000 non-members: the interval of a false positive rate of 0.1 %.
    assert clopper_pearson(1, 1000) == (pytest.approx(2.53e-5, rel=0.01), pytest.approx(0.00556, rel=0.01))


@given(st.integers(1, 60), st.data())
def test_its_ends_are_where_the_binomial_tails_are_half_the_error(n, data):
    k = data.draw(st.integers(0, n))
    confidence = data.draw(st.sampled_from([0.8, 0.95, 0.999]))
    low, high = clopper_pearson(k, n, confidence)
    tail = (1 - confidence) / 2
    if k:
        assert binom.sf(k - 1, n, low) == pytest.approx(tail, rel=1e-6)
    if k < n:
        assert binom.cdf(k, n, high) == pytest.approx(tail, rel=1e-6)
    assert low <= k / n <= high


@pytest.mark.parametrize("p", [0.01, 0.3, 0.5, 0.93])
def test_it_covers_at_least_what_it_says_exactly_computed(p):
    n = 25
    covered = sum(
        binom.pmf(k, n, p) for k in range(n + 1) if clopper_pearson(k, n)[0] <= p <= clopper_pearson(k, n)[1]
    )
    assert covered >= 0.95


@pytest.mark.long
def test_the_paired_difference_covers_over_random_worlds():
    """2000 draws at 95 %; with true coverage 0.95 a count under 1860 has probability below 1e-5."""
    rng, covered = np.random.default_rng(0), 0
    for _ in range(2000):
        only_a, only_b = rng.dirichlet([1, 1, 2])[:2]
        drawn = rng.choice(3, size=12, p=[only_a, only_b, 1 - only_a - only_b])
        found = paired_difference(drawn == 0, drawn == 1)
        covered += found.low <= only_a - only_b <= found.high
    assert covered >= 1860


def test_the_paired_test_is_mcnemars():
    attack = np.array([1] * 9 + [0] * 1, bool)
    found = paired_difference(attack, np.zeros(10, bool))
    assert found.value == 0.9
    assert found.p_value == pytest.approx(0.5**9)
    assert found.low > 0
    same = paired_difference(attack, attack)
    assert (same.value, same.p_value) == (0, 1)
    assert same.low < 0 < same.high
    reverse = paired_difference(np.zeros(10, bool), attack)
    assert (reverse.low, reverse.high) == (pytest.approx(-found.high), pytest.approx(-found.low))


@pytest.mark.parametrize("n", [6, 10, 31])
def test_the_medians_interval_covers_exactly(n):
    """Its coverage is P[k <= number below the median <= n - k], known for any continuous distribution."""
    values = np.arange(n)
    low, high = median_interval(values)
    k = int(low) + 1
    assert high == n - k
    assert 1 - 2 * binom.cdf(k - 1, n, 0.5) >= 0.95
    assert 1 - 2 * binom.cdf(k, n, 0.5) < 0.95


def test_too_few_values_bound_no_median():
    assert median_interval(np.array([1.0, 2.0, 3.0])) == (-np.inf, np.inf)


def test_bad_numbers_are_refused():
    for hits, n in ((5, 4), (-1, 4), (0, 0)):
        with pytest.raises(AttackError, match="must be a whole number"):
            clopper_pearson(hits, n)
    with pytest.raises(AttackError, match="confidence"):
        clopper_pearson(1, 2, 1.0)
    with pytest.raises(AttackError, match="paired"):
        paired_difference(np.ones(3), np.ones(4))
    with pytest.raises(AttackError, match="median"):
        median_interval(np.array([]))


def test_each_share_of_the_paired_difference_takes_half_of_the_error():
    """Against its definition: Clopper-Pearson bounds at 97.5 % of 9 of 20 and of 2 of 20."""
    attack, rival = np.arange(20) < 9, np.arange(20) >= 18
    found = paired_difference(attack, rival)
    more, less = clopper_pearson(9, 20, 0.975), clopper_pearson(2, 20, 0.975)
    assert (found.low, found.high) == pytest.approx((more[0] - less[1], more[1] - less[0]))


def test_what_is_no_number_is_no_win():
    with pytest.raises(AttackError, match="wins or losses"):
        paired_difference(np.array([np.nan, 1.0]), np.array([0, 0]))
    with pytest.raises(AttackError, match="wins or losses"):
        paired_difference(np.array([1, 1]), np.array([0, 5]))
    with pytest.raises(AttackError, match="without NaN"):
        median_interval(np.array([np.nan] * 10 + [1.0] * 10))
