"""Shrinkage: closed-form ends, and a lower error than the noisy vector itself."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedstyle_secure.privacy.shrinkage import signal_share


def test_known_values():
    assert signal_share(np.array([3.0, 4.0]), 0.0) == 1.0
    assert signal_share(np.array([3.0, 4.0]), 1.0) == pytest.approx(1 - 2 / 25)
    assert signal_share(np.zeros(5), 1.0) == 0.0
    assert np.allclose(signal_share(np.array([[3.0, 4.0], [0.1, 0.1]]), 1.0), [1 - 2 / 25, 0.0])


@given(st.floats(0, 10), st.floats(0, 10))
def test_more_noise_never_means_more_trust(a, b):
    vector = np.array([1.0, -2.0, 0.5])
    low, high = sorted((a, b))
    assert 0.0 <= signal_share(vector, high) <= signal_share(vector, low) <= 1.0


@pytest.mark.parametrize("length", [0.0, 3.0, 30.0])
def test_the_error_is_lower_than_without_shrinking(length):
    rng = np.random.default_rng(0)
    signal = np.zeros(50)
    signal[0] = length
    noisy = signal + rng.normal(size=(2000, 50))
    shrunk = signal_share(noisy, 1.0)[:, None] * noisy
    assert np.square(shrunk - signal).sum() < np.square(noisy - signal).sum()
