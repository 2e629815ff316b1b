"""Noise: the right distribution, from the bytes it was given and from nothing else."""

import numpy as np
import pytest
from scipy import stats

from fedstyle_secure.privacy.noise import gaussian


def byte_source(seed):
    rng = np.random.default_rng(seed)
    return lambda n: rng.bytes(n)


def test_samples_are_standard_normal():
    # Kolmogorov-Smirnov at a false-alarm rate of 1e-4, seed fixed.
    samples = gaussian((200_000,), 3.0, byte_source(1))
    assert stats.kstest(samples / 3.0, "norm").pvalue > 1e-4
    assert abs(samples.std() / 3.0 - 1) < 0.01
    assert stats.kurtosistest(samples).pvalue > 1e-4


def test_samples_do_not_depend_on_each_other():
    # The correlation of 1e5 pairs has deviation 1/sqrt(1e5); 5 deviations alarm falsely in 6e-7.
    samples = gaussian((100_000,), 1.0, byte_source(2))
    half = len(samples) // 2
    for a, b in ((samples[:-1], samples[1:]), (samples[:half], samples[half:])):
        assert abs(np.corrcoef(a, b)[0, 1]) < 5 / np.sqrt(len(a))


def test_same_bytes_give_same_noise_and_other_bytes_other_noise():
    assert np.array_equal(gaussian((5, 3), 1.0, byte_source(3)), gaussian((5, 3), 1.0, byte_source(3)))
    assert not np.array_equal(gaussian((5, 3), 1.0, byte_source(3)), gaussian((5, 3), 1.0, byte_source(4)))


def test_default_source_ignores_every_seed():
    import torch

    draws = []
    for _ in range(2):
        np.random.seed(0)  # noqa: NPY002 - the point is that this has no effect
        torch.manual_seed(0)
        draws.append(gaussian((64,), 1.0))
    assert not np.array_equal(*draws)


def test_extreme_bytes_stay_finite():
    for byte in (b"\x00", b"\xff"):
        assert np.isfinite(gaussian((7,), 1.0, lambda n, byte=byte: byte * n)).all()


def test_zero_deviation_reads_no_entropy():
    def refuse(n):
        raise AssertionError("read")

    assert np.array_equal(gaussian((4,), 0.0, refuse), np.zeros(4))


@pytest.mark.parametrize("std", [-1.0, float("nan"), float("inf")])
def test_bad_deviation_is_refused(std):
    with pytest.raises(ValueError, match="std"):
        gaussian((4,), std)
