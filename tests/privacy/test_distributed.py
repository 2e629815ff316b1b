"""Noise in shares: it bounds what it says, adds the noise it accounts for, and costs what the papers say."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opacus.accountants.analysis.rdp import get_privacy_spent
from scipy import linalg, optimize, special

from fedstyle_secure.errors import PrivacyError
from fedstyle_secure.privacy.distributed import DistributedSum, hadamard
from fedstyle_secure.privacy.integers import tail

SEED = "00112233445566778899aabbccddeeff"
ORDERS = [1 + x / 20 for x in range(1, 1000)] + list(range(51, 400))
SAMPLERS = ("gaussian", "skellam")


def mechanism(**fields):
    defaults = {
        "size": 100,
        "clip_norm": 1.0,
        "scale": 1024.0,
        "noise_multiplier": 1.16,
        "honest": 4,
        "sampler": "gaussian",
        "rotation": SEED,
    }
    return DistributedSum(**(defaults | fields))


def byte_source(seed):
    return np.random.default_rng(seed).bytes


def epsilon(rdp, orders=ORDERS, delta=1e-5):
    return float(get_privacy_spent(orders=orders, rdp=rdp, delta=delta)[0])


def continuous_multiplier(target, orders):
    """Noise of a continuous Gaussian whose RDP reaches the target epsilon."""
    return optimize.brentq(lambda z: epsilon(np.array(orders) / (2 * z * z), orders) - target, 0.8, 3)


# What a share is ---------------------------------------------------------------------------------------


@given(
    size=st.integers(1, 70),
    clip=st.floats(1e-3, 1e3),
    units=st.floats(0.1, 3000),
    length=st.floats(0, 5),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=300)
def test_a_rounded_vector_never_exceeds_its_bound(size, clip, units, length, seed):
    rng = np.random.default_rng(seed)
    # Directions of all kinds: dense, a single value, equal values.
    direction = rng.choice([rng.normal(size=size), np.eye(size)[rng.integers(size)], np.ones(size)])
    noiseless = mechanism(size=size, clip_norm=clip, scale=units / clip, noise_multiplier=0.0)
    rounded = noiseless.share(direction * clip * length, rng.bytes)
    assert rounded.dtype == np.int64
    assert sum(int(q) ** 2 for q in rounded) <= noiseless.integer_bound**2
    assert np.abs(rounded).max() <= noiseless.range


def test_the_bound_rejects_roundings_that_exceed_it():
    """Bytes that round everything up, then bytes that round nothing up."""
    noiseless = mechanism(size=64, scale=4.0, noise_multiplier=0.0)
    # In rotated coordinates each value is 4 / 8 = 1/2: rounding all of them up gives a norm of 8.
    flat = noiseless._unrotate(np.full(64, 1 / 8))
    assert noiseless.integer_bound < 8
    source = iter([bytes(512), bytes(512), b"\xff" * 512])
    assert np.array_equal(noiseless.share(flat, lambda n: next(source)), np.zeros(64))
    with pytest.raises(PrivacyError, match="stays within its bound"):
        noiseless.share(flat, bytes)


def test_half_of_all_roundings_are_kept():
    # Acceptance is at least 1 - exp(-1/2) = 0.39 (proposition 22); values at 1/2 are the worst case.
    # 4000 trials have a deviation below 0.008: 0.35 alarms falsely below 1e-6.
    noiseless = mechanism(size=64, scale=4.0, noise_multiplier=0.0)
    rng = np.random.default_rng(1)
    squared = rng.integers(0, 2, (4000, 64)).sum(axis=1)
    assert (squared <= noiseless.integer_bound**2).mean() > 0.35


@given(
    size=st.integers(1, 300),
    length=st.sampled_from([0.0, 1e-300, 0.3, 1.0, 7.0, 1e200]),
    seed=st.integers(0, 999),
)
def test_exact_clips_to_the_norm_and_keeps_the_direction(size, length, seed):
    vector = np.random.default_rng(seed).normal(size=size)
    vector /= np.linalg.norm(vector)
    clipped = mechanism(size=size).exact(vector * length)
    assert np.allclose(clipped, vector * min(length, 1.0), atol=1e-12, rtol=1e-9)
    assert np.linalg.norm(clipped) <= 1 + 1e-12


def test_a_vector_that_is_not_finite_counts_as_zeros():
    for bad in (math.nan, math.inf, -math.inf):
        vector = np.full(100, 0.1)
        vector[7] = bad
        assert not mechanism().exact(vector).any()
        assert not mechanism(noise_multiplier=0.0).share(vector).any()


def test_noise_beyond_the_range_is_refused(monkeypatch):
    noisy = mechanism(size=16)
    monkeypatch.setattr(
        "fedstyle_secure.privacy.distributed.discrete_gaussian",
        lambda shape, sigma, read: np.full(shape, noisy.range + 1),
    )
    with pytest.raises(PrivacyError, match="left the range"):
        noisy.share(np.zeros(16))


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("honest", [1, 4, 1000])
def test_the_range_holds_the_stated_tail(sampler, honest):
    noisy = mechanism(sampler=sampler, honest=honest, scale=64.0)
    noise = noisy.range - math.ceil(64.0 * min(1, 8 / math.sqrt(64)))
    assert noise >= 10 * noisy.share_deviation
    assert tail(sampler, noisy.share_deviation, noise) <= 2.0**-71
    assert 2**noisy.bits > 2 * noisy.range >= 2 ** (noisy.bits - 1)


def test_the_rotation_narrows_the_range_without_touching_the_sum():
    """131072 values: a single large value would need 1024, a rotated one needs 8 * 1024 / sqrt(131072)."""
    wide = mechanism(size=2**17, noise_multiplier=0.0)
    assert wide.range == math.ceil(8 * 1024 / math.sqrt(2**17))
    vector = np.zeros(2**17)
    vector[5] = 1.0
    decoded = wide.decode(wide.share(vector, byte_source(0)))
    # Rounding has a deviation of at most 1/2 / 1024 in each value; nothing was clamped.
    assert abs(decoded[5] - 1) < 6 * 0.5 / 1024
    assert np.delete(decoded, 5).std() < 0.6 / 1024


def test_a_vector_made_to_defeat_the_rotation_is_clamped_and_gains_nothing():
    wide = mechanism(size=4096, noise_multiplier=0.0)
    spike = np.zeros(4096)
    spike[9] = 1.0
    worst = wide._unrotate(spike)
    share = wide.share(worst, byte_source(0))
    assert np.abs(share).max() <= wide.range == 128
    assert math.sqrt(share @ share) <= wide.integer_bound


# Rotation ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 8, 64])
def test_the_fast_transform_equals_the_matrix(size):
    matrix = linalg.hadamard(size) / math.sqrt(size)
    values = np.random.default_rng(size).normal(size=size)
    assert np.allclose(hadamard(values), matrix @ values, atol=1e-12)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 12, 33])
def test_the_rotation_is_orthonormal_and_its_inverse_exact(size):
    noiseless = mechanism(size=size)
    matrix = np.stack([noiseless._rotate(row) for row in np.eye(size)])
    assert np.allclose(matrix @ matrix.T, np.eye(size), atol=1e-12)
    values = np.random.default_rng(size).normal(size=size)
    assert np.allclose(noiseless._unrotate(noiseless._rotate(values)), values, atol=1e-12)


@pytest.mark.parametrize("size", [64, 100, 127])
def test_the_rotation_spreads_every_value(size):
    """No single value stays large, the ones that only one of the two transforms reaches included."""
    noiseless = mechanism(size=size)
    half = 2 ** (size.bit_length() - 1)
    for row in np.eye(size):
        assert np.abs(noiseless._rotate(row)).max() <= 8 / math.sqrt(half)
    assert not np.allclose(
        noiseless._rotate(np.ones(size)), mechanism(size=size, rotation="ab" * 16)._rotate(np.ones(size))
    )


def test_the_signs_are_random():
    # 2^17 signs: their sum has a deviation of 362; 6 of them alarm falsely in 2e-9.
    first, _ = mechanism(size=2**17)._signs
    assert abs(first.sum()) < 6 * math.sqrt(len(first))
    assert set(first) == {-1.0, 1.0}


# Sums --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 5, 64, 100])
def test_shares_without_noise_decode_to_the_sum_of_clipped_vectors(size):
    artists, rng = 20, np.random.default_rng(size)
    noiseless = mechanism(size=size, noise_multiplier=0.0)
    vectors = rng.normal(size=(artists, size)) * 2
    total = sum(noiseless.share(v, rng.bytes) for v in vectors)
    expected = sum(noiseless.exact(v) for v in vectors)
    # A value of a share is less than one integer off, and the rotation keeps lengths.
    assert np.linalg.norm(noiseless.decode(total) - expected) <= artists * math.sqrt(size) / 1024
    # Rounding is unbiased: the error of the sum is a random walk's, with deviation 1/2 sqrt(artists) at most.
    assert (noiseless.decode(total) - expected).std() <= 1.5 * 0.5 * math.sqrt(artists) / 1024 or size < 64


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_noise_of_a_sum_has_the_stated_deviation(sampler):
    # 4 shares of 120000 values: a deviation has a relative deviation of 0.002; 2 % is ten of them.
    noisy = mechanism(size=120_000, sampler=sampler, noise_multiplier=1.3)
    read = byte_source(4)
    vector = np.random.default_rng(0).normal(size=120_000)
    shares = [noisy.share(vector, read) for _ in range(4)]
    total = sum(shares)
    noiseless = noisy.scale * 4 * noisy._rotate(noisy.exact(vector))
    assert abs((total - noiseless).std() / (1.3 * noisy.integer_bound) - 1) < 0.02
    assert abs((shares[0] - noiseless / 4).std() / noisy.share_deviation - 1) < 0.02
    error = noisy.decode(total) - 4 * noisy.exact(vector)
    assert abs(error.std() / noisy.deviation(4) - 1) < 0.02
    assert abs(noisy.deviation(4) / (1.3 * noisy.sensitivity("add-remove")) - 1) < 1e-12
    # Both halves alike: no part of the vector is left without noise.
    assert abs(error[:60_000].std() / error[60_000:].std() - 1) < 0.02


@pytest.mark.long
def test_each_value_has_noise_of_its_own():
    """Per coordinate, over 30000 releases of 4 values and 2 shares: 1.2e5 samples."""
    noisy = mechanism(size=4, scale=64.0, honest=2)
    read = byte_source(5)
    vector = np.array([0.5, -0.5, 0.5, 0.1])
    totals = np.stack([noisy.share(vector, read) + noisy.share(vector, read) for _ in range(30_000)])
    deviation = 1.16 * noisy.integer_bound
    # Rounding adds a variance of at most 2/4 to about 5700. 3e4 samples: 2 % is five deviations, four times.
    assert (np.abs(totals.std(axis=0) / deviation - 1) < 0.02).all()
    # Correlations have deviation 1/sqrt(3e4); 5.5 deviations, six pairs: 2e-7.
    correlation = np.corrcoef(totals.T) - np.eye(4)
    assert np.abs(correlation).max() < 5.5 / math.sqrt(30_000)
    # The signal is there, unbiased, beside the noise.
    signal = 2 * 64.0 * noisy._rotate(noisy.exact(vector))
    assert np.abs(totals.mean(axis=0) - signal).max() < 6 * deviation / math.sqrt(30_000)


def test_more_shares_than_honest_ones_bring_more_noise_and_fewer_less():
    noisy = mechanism(size=100_000, honest=4)
    read = byte_source(6)
    zeros = np.zeros(100_000)
    shares = [noisy.share(zeros, read) for _ in range(9)]
    for count in (2, 4, 9):
        measured = (sum(shares[:count])).std() / (1.16 * noisy.integer_bound)
        assert abs(measured / math.sqrt(count / 4) - 1) < 0.02


def test_counting_colluders_as_honest_is_seen_in_the_noise():
    """The planted bug: 8 of 16 collude and know their own noise, but `honest` says 16."""
    right, wrong = mechanism(size=100_000, honest=8), mechanism(size=100_000, honest=16)
    zeros = np.zeros(100_000)
    for noisy, held in ((right, True), (wrong, False)):
        read = byte_source(7)
        # What protects is the noise of the other eight.
        protecting = sum(noisy.share(zeros, read) for _ in range(8)).std()
        assert (protecting > 0.98 * 1.16 * noisy.integer_bound) == held
    # What the eight shares are really worth is a dearer mechanism than the one that was claimed.
    worth = replace(wrong, honest=8, noise_multiplier=wrong.noise_multiplier / math.sqrt(2))
    assert worth.share_deviation == pytest.approx(wrong.share_deviation)
    assert epsilon(worth.rdp(ORDERS, "add-remove")) > 1.4 * epsilon(wrong.rdp(ORDERS, "add-remove"))


def test_colluders_raise_the_noise_of_a_share():
    deviations = [mechanism(honest=m).share_deviation for m in (16, 12, 8, 1)]
    assert deviations == sorted(deviations)
    assert mechanism(honest=1).share_deviation == pytest.approx(4 * mechanism(honest=16).share_deviation)


def test_the_default_source_is_the_system():
    noisy = mechanism()
    assert not np.array_equal(noisy.share(np.zeros(100)), noisy.share(np.zeros(100)))


# Cost --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("multiplier", "expected"), [(4.05, 1), (2.15, 2), (1.16, 4), (0.64, 8)])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_one_release_costs_the_published_epsilon(multiplier, expected, sampler):
    # The multipliers are given to two decimals: epsilon follows to about 1 %.
    noisy = mechanism(scale=4096.0, noise_multiplier=multiplier, sampler=sampler)
    assert epsilon(noisy.rdp(ORDERS, "add-remove")) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize(
    ("units", "costs"),
    [(256.0, (4.05, 4.29, 5.07)), (1024.0, (4.00, 4.02, 4.07)), (4096.0, (4.00, 4.00, 4.00))],
)
def test_what_integers_cost_at_noise_for_epsilon_four(sampler, units, costs):
    """The noise of a continuous sum at epsilon 4, but with the bound of the rounded vectors."""
    # The published figures are of integer orders and two decimals; K styles of d values and their counts.
    orders = [*range(2, 129), 256]
    z = continuous_multiplier(4.0, orders)
    sizes = (64 * 64 + 64, 128 * 256 + 256, 512 * 256 + 512)
    for size, expected in zip(sizes, costs, strict=True):
        bound = mechanism(size=size, scale=units).integer_bound
        noisy = mechanism(
            size=size, scale=units, noise_multiplier=z * units / bound, honest=16, sampler=sampler
        )
        assert epsilon(noisy.rdp(orders, "add-remove"), orders) == pytest.approx(expected, abs=0.0051)


@pytest.mark.parametrize("multiplier", [0.64, 1.16, 2.15, 4.05])
def test_both_samplers_cost_the_same_to_two_digits(multiplier):
    for size, units in ((4160, 256.0), (131_584, 1024.0)):
        one, other = (
            epsilon(
                mechanism(
                    size=size, scale=units, noise_multiplier=multiplier, honest=16, sampler=sampler
                ).rdp(ORDERS, "add-remove")
            )
            for sampler in SAMPLERS
        )
        assert one == pytest.approx(other, rel=0.005)


def renyi(p, q, alpha):
    """Divergence of two vectors of log-probabilities."""
    return float(special.logsumexp(alpha * p + (1 - alpha) * q) / (alpha - 1))


def log_pmf(sampler, deviation, honest, reach):
    """Log-probabilities of the sum of `honest` shares on -reach..reach, by direct convolution."""
    k = np.arange(-reach, reach + 1)
    if sampler == "skellam":
        variance = honest * deviation**2
        return np.log(special.ive(np.abs(k), variance))
    one = np.exp(-(k**2) / (2 * deviation**2))
    one /= one.sum()
    total = one
    for _ in range(honest - 1):
        total = np.convolve(total, one)
    middle = len(total) // 2
    return np.log(total[middle - reach : middle + reach + 1])


def with_bound(size, bound_squared, honest, deviation, sampler):
    """A mechanism whose bound is met by integer vectors, with that much noise in a share."""
    gap = bound_squared - size / 4 - math.sqrt(size) / 2
    coarse = mechanism(size=size, scale=(math.sqrt(1 + 4 * gap) - 1) / 2 * (1 + 1e-9), noise_multiplier=0.0)
    assert coarse.integer_bound**2 == pytest.approx(bound_squared)
    assert coarse.integer_bound**2 >= bound_squared
    multiplier = deviation * math.sqrt(honest) / coarse.integer_bound
    return replace(coarse, noise_multiplier=multiplier * (1 + 1e-12), honest=honest, sampler=sampler)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("honest", [1, 2, 5])
@pytest.mark.parametrize("deviation", [0.5, 0.6, 1.0, 2.5])
@pytest.mark.parametrize(("size", "bound_squared"), [(1, 1), (1, 4), (2, 2), (2, 5), (3, 3)])
def test_the_divergence_bounds_the_true_one(sampler, honest, deviation, size, bound_squared):
    """Every integer vector within the bound, each coordinate's divergence summed up exactly."""
    noisy = with_bound(size, bound_squared, honest, deviation, sampler)
    assert noisy.share_deviation == pytest.approx(deviation)
    log = log_pmf(sampler, deviation, honest, 9 * math.ceil(deviation) + 4)
    largest = math.isqrt(bound_squared)
    orders = [1.5, 2.0, 3.0, 5.5, 8.0, 30.0]
    for adjacency, hops in (("add-remove", 1), ("replace", 2)):
        for alpha, stated in zip(orders, noisy.rdp(orders, adjacency), strict=True):
            one = [renyi(log[b:], log[: len(log) - b], alpha) for b in range(hops * largest + 1)]
            # Opposite vectors are twice a vector apart.
            worst = max(
                sum(one[hops * v] for v in q)
                for q in itertools.product(range(largest + 1), repeat=size)
                if sum(v * v for v in q) <= bound_squared
            )
            assert worst <= stated * (1 + 1e-9)


@pytest.mark.parametrize(("sampler", "honest", "deviation"), [("gaussian", 5, 0.5), ("skellam", 1, 1.0)])
def test_the_correction_for_integers_is_needed_and_there(sampler, honest, deviation):
    """With coarse noise the Gaussian formula is below the true divergence; ours is not."""
    noisy = with_bound(1, 1, honest, deviation, sampler)
    log = log_pmf(sampler, deviation, honest, 14)
    orders = np.array([1.01, 2.0, 3.0, 8.0])
    true = np.array([renyi(log[1:], log[:-1], alpha) for alpha in orders])
    plain = orders / (2 * honest * deviation**2)
    assert (plain * (1 + 1e-4) < true).any()
    assert (true <= noisy.rdp(orders, "add-remove")).all()


def naive_divergence(noisy, alpha, hops):
    """The papers' formulas, term by term: Kairouz et al. 2021 and Agarwal et al. 2021."""
    d, m, sigma, l2 = noisy.size, noisy.honest, noisy.share_deviation, hops * noisy.integer_bound
    l1 = min(math.sqrt(d) * l2, hops * noisy.integer_bound**2)
    if noisy.sampler == "gaussian":
        tau = 0.0
        for k in range(1, m):
            tau += 10 * math.exp(-2 * math.pi**2 * sigma**2 * k / (k + 1))
        x = l2 / (math.sqrt(m) * sigma)
        first = max(alpha * x**2 / 2 + tau * d, alpha / 2 * math.sqrt(x**2 + tau * d / 2) ** 2)
        return min(first, alpha / 2 * (x**2 + 2 * tau * l1 / (math.sqrt(m) * sigma) + tau**2 * d))
    mu, a = m * sigma**2, math.ceil(alpha)
    correction = min(((2 * a - 1) * l2**2 + 6 * l1) / (4 * mu**2), 3 * l1 / (2 * mu))
    return a * l2**2 / (2 * mu) + correction


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("size", [1, 16, 5000])
@pytest.mark.parametrize("units", [0.5, 3.0, 60.0])
@pytest.mark.parametrize("deviation", [0.5, 0.8, 4.0, 300.0])
def test_the_divergence_is_the_published_formula(sampler, size, units, deviation):
    bound = mechanism(size=size, scale=units, noise_multiplier=0.0).integer_bound
    noisy = mechanism(
        size=size,
        scale=units,
        sampler=sampler,
        honest=7,
        noise_multiplier=deviation * 7**0.5 / bound * (1 + 1e-9),
    )
    orders = [1.25, 2, 3.5, 20, 500]
    for hops, adjacency in ((1, "add-remove"), (2, "replace")):
        expected = [naive_divergence(noisy, alpha, hops) for alpha in orders]
        assert noisy.rdp(orders, adjacency) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_epsilon_falls_with_noise_and_grows_with_colluders_nowhere_else(sampler):
    costs = [
        epsilon(mechanism(noise_multiplier=z, sampler=sampler).rdp(ORDERS, "add-remove"))
        for z in np.geomspace(0.3, 30, 20)
    ]
    assert costs == sorted(costs, reverse=True)
    # The noise of the honest shares together is the same whatever their number: so is the cost.
    assert epsilon(mechanism(honest=64, sampler=sampler).rdp(ORDERS, "add-remove")) == pytest.approx(
        epsilon(mechanism(honest=2, sampler=sampler).rdp(ORDERS, "add-remove")), rel=1e-6
    )


def test_replacing_costs_as_much_as_twice_the_sensitivity():
    noisy = mechanism(scale=4096.0, noise_multiplier=4.0)
    assert noisy.sensitivity("replace") == 2 * noisy.sensitivity("add-remove")
    assert noisy.rdp([2, 8], "replace") == pytest.approx(
        mechanism(scale=4096.0, noise_multiplier=2.0).rdp([2, 8], "add-remove"), rel=1e-6
    )


def test_the_sensitivity_holds_for_what_leaves():
    """The decoded sum without noise moves by at most the sensitivity when an artist's vector changes."""
    noiseless = mechanism(size=33, scale=20.0, noise_multiplier=0.0)
    rng = np.random.default_rng(2)
    for _ in range(200):
        a, b = (noiseless.share(rng.normal(size=33), rng.bytes) for _ in range(2))
        assert np.linalg.norm(noiseless.decode(a)) <= noiseless.sensitivity("add-remove") * (1 + 1e-12)
        assert np.linalg.norm(noiseless.decode(a - b)) <= noiseless.sensitivity("replace") * (1 + 1e-12)


def test_no_noise_has_no_guarantee():
    assert (mechanism(noise_multiplier=0.0).rdp([1.5, 2], "add-remove") == math.inf).all()


def test_agrees_with_the_privacy_loss_distribution_of_a_discrete_gaussian():
    """One value, one share: dp-accounting's exact loss; RDP is an upper bound and not far above it."""
    from dp_accounting.pld import privacy_loss_distribution as pld

    noisy = mechanism(size=1, scale=100.0, honest=1, noise_multiplier=1.2)
    sensitivity = math.floor(noisy.integer_bound)
    exact = pld.from_discrete_gaussian_mechanism(
        noisy.share_deviation, sensitivity=sensitivity, value_discretization_interval=1e-3
    ).get_epsilon_for_delta(1e-5)
    assert exact < epsilon(noisy.rdp(ORDERS, "add-remove")) < 1.1 * exact


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_slack_of_delta_is_negligible_and_grows_with_what_it_depends_on(sampler):
    noisy = mechanism(size=131_072, honest=500, sampler=sampler)
    slack = noisy.delta_slack(1000)
    assert 0 < slack < 1e-6
    assert noisy.delta_slack(2000) == pytest.approx(2 * slack)
    assert noisy.delta_slack(1000, epsilon=8.0) == pytest.approx(
        slack * (1 + math.exp(8)) / (1 + math.exp(16)), rel=1e-9
    )
    # At least what leaves the range, in both of two neighbours.
    bound = noisy.range - math.ceil(1024 * 8 / math.sqrt(131_072))
    assert slack >= 131_072 * 1000 * tail(sampler, noisy.share_deviation, bound)
    assert mechanism(noise_multiplier=0.0).delta_slack(1000) == 0


# Refusals ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"size": 0},
        {"size": 2.5},
        {"clip_norm": 0.0},
        {"clip_norm": math.inf},
        {"clip_norm": math.nan},
        {"scale": -1.0},
        {"scale": math.inf},
        {"scale": 2.0**31},
        {"noise_multiplier": -1.0},
        {"noise_multiplier": math.nan},
        {"noise_multiplier": math.inf},
        {"noise_multiplier": 1e6},
        {"noise_multiplier": 1e-4},
        {"scale": 0.1, "honest": 10_000},
        {"honest": 0},
        {"honest": 2.5},
        {"sampler": "laplace"},
        {"rotation": ""},
        {"rotation": "00ff"},
        {"rotation": "z" * 32},
        {"rotation": None},
    ],
)
def test_a_mechanism_without_a_guarantee_cannot_be_made(fields):
    with pytest.raises(PrivacyError):
        mechanism(**fields)


def test_other_shapes_and_types_are_refused():
    noisy = mechanism()
    for shape in ((99,), (100, 1), ()):
        with pytest.raises(PrivacyError, match="100 values"):
            noisy.share(np.zeros(shape))
    for total in (np.zeros(100), np.zeros(99, np.int64)):
        with pytest.raises(PrivacyError, match="100 integers"):
            noisy.decode(total)
    with pytest.raises(PrivacyError, match="> 1"):
        noisy.rdp([1.0, 2.0], "add-remove")


# Utility -----------------------------------------------------------------------------------------------
