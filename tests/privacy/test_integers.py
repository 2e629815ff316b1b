"""Integer noise: the exact distributions, from the bytes that were given, and a true bound on the rest."""

import math
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import special, stats

from fedstyle_secure.errors import PrivacyError
from fedstyle_secure.privacy.integers import (
    WIDEST,
    _table,
    discrete_gaussian,
    reach,
    sampling_distance,
    skellam,
    stochastic_round,
    tail,
)

DRAW = {"gaussian": discrete_gaussian, "skellam": lambda shape, s, read: skellam(shape, s * s, read)}


def byte_source(seed):
    return np.random.default_rng(seed).bytes


def gaussian_pmf(values, sigma):
    """Definition 1 of Canonne, Kamath and Steinke 2020; the normaliser by direct summation."""
    support = np.arange(-math.ceil(40 * sigma), math.ceil(40 * sigma) + 1)
    return np.exp(-(values**2) / (2 * sigma**2)) / math.fsum(np.exp(-(support**2) / (2 * sigma**2)))


def skellam_pmf(values, variance):
    """Skellam 1946, with scipy's scaled Bessel function."""
    return special.ive(np.abs(values), variance)


PMF = {"gaussian": gaussian_pmf, "skellam": lambda values, s: skellam_pmf(values, s * s)}


def chi_square(samples, pmf, deviation):
    """p-value of the samples against the probabilities, in bins that expect 20 samples or more."""
    # About 120 bins of equal width over six deviations on either side.
    width = max(1, round(deviation / 10))
    edges = np.arange(-math.ceil(6 * deviation), math.ceil(6 * deviation) + width, width)
    probability = pmf(np.arange(edges[0], edges[-1]), deviation).reshape(-1, width).sum(axis=1)
    keep = probability * len(samples) >= 20
    observed = np.histogram(samples, bins=edges - 0.5)[0][keep]
    # All values that are in no kept bin count as one more bin, where that is likely enough to count.
    rest = 1 - probability[keep].sum()
    expected = probability[keep] * len(samples)
    if rest * len(samples) >= 5:
        observed = np.append(observed, len(samples) - observed.sum())
        expected = np.append(expected, rest * len(samples))
    statistic = ((observed - expected) ** 2 / expected).sum()
    return stats.chi2.sf(statistic, len(expected))


@pytest.mark.parametrize("sampler", ["gaussian", "skellam"])
@pytest.mark.parametrize("deviation", [0.3, 0.5, 1.0, 2.7, 41.0, 1000.0, 5000.0])
def test_samples_follow_the_exact_probabilities(sampler, deviation):
    # Fourteen chi-square tests at a false-alarm rate of 1e-5 each, seed fixed: 1.4e-4 together.
    samples = DRAW[sampler]((1_000_000,), deviation, byte_source(7))
    assert samples.dtype == np.int64
    assert chi_square(samples, PMF[sampler], deviation) > 1e-5


def test_the_chi_square_test_sees_a_continuous_gaussian_that_is_rounded_off():
    # The planted bug: floor instead of a discrete Gaussian has a mean of -1/2.
    rounded = np.floor(np.random.default_rng(0).normal(0, 41.0, 1_000_000))
    assert chi_square(rounded, gaussian_pmf, 41.0) < 1e-5
    # And a deviation that is 1 % too small.
    assert chi_square(discrete_gaussian((1_000_000,), 40.6, byte_source(1)), gaussian_pmf, 41.0) < 1e-5


@pytest.mark.parametrize("sampler", ["gaussian", "skellam"])
@pytest.mark.parametrize("deviation", [1.0, 30.0, 5000.0])
def test_the_deviation_is_the_stated_one(sampler, deviation):
    # The relative deviation of an empirical deviation is 1 / sqrt(2e6) = 7e-4, a little more for Skellam
    # noise of variance 1: 1 % is beyond ten of them.
    samples = DRAW[sampler]((1_000_000,), deviation, byte_source(3))
    assert abs(samples.std() / deviation - 1) < 0.01
    assert abs(samples.mean()) < 6 * deviation / 1000


def exact_gaussian(k, sigma):
    with localcontext() as context:
        context.prec = 80
        return (-(Decimal(k) ** 2) / (2 * Decimal(sigma) ** 2)).exp()


def exact_skellam(k, sigma):
    """I_k(v) by its power series (Abramowitz and Stegun 9.6.10)."""
    with localcontext() as context:
        context.prec = 80
        half, total = Decimal(sigma) ** 2 / 2, Decimal(0)
        for m in range(120):
            total += half ** (2 * m + k) / (math.factorial(m) * math.factorial(m + k))
        return total


@pytest.mark.parametrize(("sampler", "exact"), [("gaussian", exact_gaussian), ("skellam", exact_skellam)])
@pytest.mark.parametrize("sigma", [0.25, 1.0, 3.5])
def test_the_stated_distance_bounds_the_true_one(sampler, exact, sigma):
    """80 digits and another formula beside the table's integers."""
    table = _table(sampler, sigma, sigma * sigma)
    thresholds = [(int(h) << 64) + int(low) for h, low in zip(table.high, table.low, strict=True)]
    got = np.diff([0, *thresholds, 1 << 128])
    far = 40 + 20 * math.ceil(sigma)
    with localcontext() as context:
        context.prec = 80
        upper = [exact(k, sigma) for k in range(far + 1)]
        weights = {k: upper[abs(k)] for k in range(-far, far + 1)}
        total = sum(weights.values())
        cells = dict(enumerate((Decimal(int(g)) / (1 << 128) for g in got), start=table.lowest))
        distance = sum(abs(weights[k] / total - cells.get(k, 0)) for k in weights) / 2
    assert 0 < distance <= Decimal(sampling_distance(sampler, sigma))
    assert sampling_distance(sampler, sigma) < 1e-35
    # The bound is of the right size too, and the table is symmetric.
    assert sampling_distance(sampler, sigma) < 100 * distance
    assert np.array_equal(got, got[::-1])


@pytest.mark.parametrize("sampler", ["gaussian", "skellam"])
def test_the_second_word_decides_a_tie(sampler):
    """The first word equals a threshold's; below its second word the sample is one smaller."""
    table = _table(sampler, 2.0, 4.0)
    i = len(table.high) // 2 + 1
    assert 0 < table.low[i] < 2**64 - 1

    def source(second):
        words = iter([table.high[i], np.uint64(second)])
        return lambda n: next(words).tobytes()

    at = table.lowest + i + 1
    assert DRAW[sampler]((1,), 2.0, source(table.low[i])) == [at]
    assert DRAW[sampler]((1,), 2.0, source(int(table.low[i]) - 1)) == [at - 1]
    # The farthest thresholds share a first word: the second one reaches them all.
    last = iter([np.uint64(2**64 - 1), np.uint64(2**64 - 1)])
    assert DRAW[sampler]((1,), 2.0, lambda n: next(last).tobytes()) == [-table.lowest]
    assert DRAW[sampler]((1,), 2.0, lambda n: bytes(n)) == [table.lowest]


@pytest.mark.parametrize("sampler", ["gaussian", "skellam"])
@pytest.mark.parametrize("deviation", [0.5, 1.0, 3.0, 20.0])
def test_the_tail_bound_holds_and_is_close(sampler, deviation):
    for bound in (0, 1, math.ceil(3 * deviation), math.ceil(8 * deviation)):
        far = np.arange(bound + 1, bound + 200 + 40 * math.ceil(deviation))
        true = 2 * PMF[sampler](far, deviation).sum()
        stated = tail(sampler, deviation, bound)
        assert true <= stated
        if bound >= 3 * deviation and deviation >= 3:
            assert stated <= 1000 * true
    t = reach(sampler, deviation, 50)
    assert tail(sampler, deviation, t) <= 2.0**-49 < tail(sampler, deviation, t - 1)


def below(n, read):
    """Uniform integer in [0, n) by rejection."""
    bits = (n - 1).bit_length()
    while True:
        value = int.from_bytes(read(-(-bits // 8)), "little") >> (-bits % 8) if bits else 0
        if value < n:
            return value


def bernoulli_exp(gamma, read):
    """True with probability exp(-gamma): algorithm 1 of Canonne, Kamath and Steinke 2020."""
    if gamma > 1:
        return all(bernoulli_exp(Fraction(1), read) for _ in range(math.floor(gamma))) and bernoulli_exp(
            gamma - math.floor(gamma), read
        )
    k = 1
    while below(gamma.denominator * k, read) < gamma.numerator:
        k += 1
    return k % 2 == 1


def naive_discrete_gaussian(variance, read):
    """Algorithms 2 and 3 of the same paper, with rational numbers throughout."""
    t = math.isqrt(math.floor(variance)) + 1
    while True:
        u = below(t, read)
        if not bernoulli_exp(Fraction(u, t), read):
            continue
        v = 0
        while bernoulli_exp(Fraction(1), read):
            v += 1
        negative, y = below(2, read), u + t * v
        if negative and y == 0:
            continue
        y = -y if negative else y
        if bernoulli_exp((abs(y) - variance / t) ** 2 / (2 * variance), read):
            return y


def test_the_table_and_exact_rejection_agree():
    # Two-sample chi-square at a false-alarm rate of 1e-5, seeds fixed.
    naive = np.array(
        [naive_discrete_gaussian(Fraction(9, 4), byte) for byte in [byte_source(5)] for _ in range(8000)]
    )
    fast = discrete_gaussian((80_000,), 1.5, byte_source(6))
    bins = np.arange(-4, 6) - 0.5
    counts = np.stack([np.histogram(np.clip(x, -4, 4), bins)[0] for x in (naive, fast)])
    assert stats.chi2_contingency(counts).pvalue > 1e-5


def test_skellam_agrees_with_a_difference_of_poisson_variables():
    # As above.
    rng = np.random.default_rng(8)
    naive = rng.poisson(1.3, 100_000) - rng.poisson(1.3, 100_000)
    fast = skellam((100_000,), 2.6, byte_source(9))
    bins = np.arange(-6, 8) - 0.5
    counts = np.stack([np.histogram(np.clip(x, -6, 6), bins)[0] for x in (naive, fast)])
    assert stats.chi2_contingency(counts).pvalue > 1e-5


def test_samples_do_not_depend_on_each_other():
    # The correlation of 2e5 pairs has deviation 1/sqrt(2e5); 5 deviations alarm falsely in 6e-7.
    samples = discrete_gaussian((2, 200_000), 3.0, byte_source(2))
    for a, b in ((samples[0, :-1], samples[0, 1:]), (samples[0], samples[1])):
        assert abs(np.corrcoef(a, b)[0, 1]) < 5 / np.sqrt(len(a))


@pytest.mark.parametrize("sampler", ["gaussian", "skellam"])
def test_same_bytes_give_same_noise_and_other_bytes_other_noise(sampler):
    draw = DRAW[sampler]
    assert np.array_equal(draw((5, 3), 9.0, byte_source(3)), draw((5, 3), 9.0, byte_source(3)))
    assert not np.array_equal(draw((5, 3), 9.0, byte_source(3)), draw((5, 3), 9.0, byte_source(4)))


def test_default_source_ignores_every_seed():
    draws = []
    for _ in range(2):
        np.random.seed(0)  # noqa: NPY002 - the point is that this has no effect
        draws.append(discrete_gaussian((64,), 100.0))
    assert not np.array_equal(*draws)


@pytest.mark.parametrize("draw", [discrete_gaussian, skellam])
def test_no_noise_reads_no_entropy(draw):
    def refuse(n):
        raise AssertionError("read")

    assert np.array_equal(draw((2, 3), 0.0, refuse), np.zeros((2, 3)))
    assert draw((0,), 1.0, refuse).shape == (0,)


@pytest.mark.parametrize("draw", [discrete_gaussian, skellam])
@pytest.mark.parametrize("amount", [-1.0, math.nan, math.inf, 2 * WIDEST, 1e-3])
def test_noise_that_cannot_be_drawn_is_refused(draw, amount):
    with pytest.raises(PrivacyError, match="must"):
        draw((4,), amount)


def test_a_source_that_runs_dry_is_refused():
    with pytest.raises(PrivacyError, match="7 of 32 bytes"):
        discrete_gaussian((4,), 1.0, lambda n: bytes(7))


@given(values=arrays(np.float64, 20, elements=st.floats(-(2.0**52), 2.0**52)), seed=st.integers(0, 2**32 - 1))
def test_stochastic_rounding_takes_a_neighbour(values, seed):
    rounded = stochastic_round(values, byte_source(seed))
    assert ((rounded == np.floor(values)) | (rounded == np.ceil(values))).all()


def test_stochastic_rounding_is_unbiased():
    # A mean of 4e5 flips has a deviation of at most 0.5 / sqrt(4e5) = 8e-4; 5 of them alarm in 6e-7 each.
    for value in (0.1, -0.25, 3.9, -7.5, 1e-3):
        rounded = stochastic_round(np.full(400_000, value), byte_source(11))
        assert abs(rounded.mean() - value) < 0.004


def test_stochastic_rounding_of_tiny_values_and_extreme_bytes():
    values = np.array([-1e-20, 1e-20, -0.0, 0.0, 5.0, -5.0, -1e-300])
    assert np.array_equal(stochastic_round(values, lambda n: b"\xff" * n), [0, 0, 0, 0, 5, -5, 0])
    # The lowest word rounds away from zero only what has a fraction above 2^-64.
    assert np.array_equal(stochastic_round(np.array([0.5, -0.5, 2.0]), bytes), [1, -1, 2])


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 2.0**53])
def test_values_that_cannot_be_rounded_are_refused(bad):
    with pytest.raises(PrivacyError, match="finite"):
        stochastic_round(np.array([0.0, bad]))
