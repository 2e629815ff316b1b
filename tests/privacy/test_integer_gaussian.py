"""Noise on integers: what it stands for, its shares, and the bytes that it is drawn from."""

import math

import numpy as np
import pytest
from scipy import integrate, stats

from fedstyle_secure.errors import PrivacyError
from fedstyle_secure.privacy.integers import (
    SMOOTH,
    WIDEST,
    _parts,
    discrete_gaussian,
    drawn_deviation,
    integer_gaussian,
    sampling_distance,
)


def byte_source(seed):
    return np.random.default_rng(seed).bytes


def pmf(width, reach):
    """Of a discrete Gaussian, on -reach ... reach, by direct summation."""
    values = np.arange(-reach, reach + 1)
    weights = np.exp(-(values**2) / (2 * width**2))
    return weights / weights.sum()


def test_the_noise_is_a_continuous_gaussian_that_was_rounded_at_random():
    """Peikert 2010, theorem 3.1, by numerical integration: the claim that its cost is the Gaussian's."""
    std, rounding = 3.0, np.arange(-80, 81)

    def reached(k):
        def density(x):
            weights = np.exp(-((rounding - x) ** 2) / (2 * SMOOTH**2))
            return stats.norm.pdf(x, 0, std) * np.exp(-((k - x) ** 2) / (2 * SMOOTH**2)) / weights.sum()

        return integrate.quad(density, -40, 40, epsabs=1e-14, limit=200)[0]

    stated = dict(zip(range(-80, 81), pmf(drawn_deviation(std), 80), strict=True))
    assert [reached(k) for k in (0, 1, 5, -12)] == pytest.approx(
        [stated[k] for k in (0, 1, 5, -12)], rel=1e-9
    )
    # Without the rounding's own variance it would be too little noise: the test can see that.
    assert reached(0) != pytest.approx(pmf(std, 80)[80], rel=1e-2)


@pytest.mark.parametrize("shares", [2, 7])
def test_shares_add_up_to_the_noise_that_is_stated(shares):
    one = pmf(drawn_deviation(60.0, shares), 1200)
    total = one
    for _ in range(shares - 1):
        total = np.convolve(total, one)
    centre = len(total) // 2
    stated = pmf(drawn_deviation(60.0), 500)
    assert total[centre - 500 : centre + 501] == pytest.approx(stated, rel=1e-7, abs=1e-14)


def test_a_wide_gaussian_is_made_of_two_narrower_ones():
    """Micciancio and Walter 2017: exact where the fine one is smooth on the coarse one's steps, else not."""

    def made(times, coarse, fine):
        grid = np.zeros(2 * 600 + 1)
        places = times * np.arange(-150, 151) + 600
        inside = (places >= 0) & (places < len(grid))
        grid[places[inside]] = pmf(coarse, 150)[inside]
        return np.convolve(grid, pmf(fine, 200), mode="same")[400:801]

    wide = math.hypot(3 * 20.0, SMOOTH * 3)
    assert made(3, 20.0, SMOOTH * 3) == pytest.approx(pmf(wide, 600)[400:801], rel=1e-6, abs=1e-9)
    rough = math.hypot(3 * 20.0, 0.5 * 3)
    assert made(3, 20.0, 0.5 * 3) != pytest.approx(pmf(rough, 600)[400:801], rel=1e-2, abs=1e-9)


@pytest.mark.parametrize("width", [9e3, 1.7 * 2.0**30, WIDEST])
def test_parts_have_the_stated_variance_and_no_less(width):
    parts = _parts(width)
    variance = sum((times * own) ** 2 for times, own in parts)
    assert 1 <= variance / width**2 <= 1 + 1e-13
    for i, (times, _) in enumerate(parts[:-1]):
        # What is added below is smooth on the steps above.
        rest = math.sqrt(sum((t * w) ** 2 for t, w in parts[i + 1 :]))
        assert rest >= SMOOTH * times * (1 - 1e-12)
    assert sampling_distance("gaussian", width) < 2e-33


def test_samples_follow_the_normal_law_where_integers_are_fine():
    # Kolmogorov-Smirnov at a false-alarm rate of 1e-4, seed fixed; integers are 1e-9 of the deviation apart.
    std = 3.0 * 2**30
    samples = integer_gaussian((200_000,), std, byte_source(1))
    assert samples.dtype == np.int64
    assert stats.kstest(samples / std, "norm").pvalue > 1e-4
    assert abs(samples.std() / std - 1) < 0.01
    assert stats.kurtosistest(samples).pvalue > 1e-4
    # Every integer is reached, not only multiples of the coarse steps.
    assert len(set((samples % 1000).tolist())) == 1000


def test_samples_do_not_depend_on_each_other():
    # The correlation of 1e5 pairs has deviation 1/sqrt(1e5); 5 deviations alarm falsely in 6e-7.
    samples = integer_gaussian((100_000,), 2.0**30, byte_source(2))
    half = len(samples) // 2
    for a, b in ((samples[:-1], samples[1:]), (samples[:half], samples[half:])):
        assert abs(np.corrcoef(a, b)[0, 1]) < 5 / np.sqrt(len(a))


def test_default_source_ignores_every_seed():
    import torch

    draws = []
    for _ in range(2):
        np.random.seed(0)  # noqa: NPY002 - the point is that this has no effect
        torch.manual_seed(0)
        draws.append(integer_gaussian((64,), 2.0**30))
    assert not np.array_equal(*draws)


def test_same_bytes_give_same_noise_and_other_bytes_other_noise():
    one, same, other = (integer_gaussian((5, 3), 2.0**30, byte_source(seed)) for seed in (3, 3, 4))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_zero_deviation_reads_no_entropy():
    def refuse(n):
        raise AssertionError("read")

    assert np.array_equal(integer_gaussian((4,), 0.0, refuse), np.zeros(4))


@pytest.mark.parametrize("std", [-1.0, float("nan"), float("inf"), 2 * WIDEST])
def test_bad_deviation_is_refused(std):
    with pytest.raises(PrivacyError, match="sigma of a discrete Gaussian"):
        discrete_gaussian((4,), std)
