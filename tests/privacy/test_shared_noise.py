"""Shared noise: shares add up to the one noise that the cost is stated for, and bounds never widen."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from fedstyle_secure.errors import PrivacyError
from fedstyle_secure.privacy.clipping import SHARED_GRID
from fedstyle_secure.privacy.events import SampledGaussian
from fedstyle_secure.privacy.integers import drawn_deviation
from fedstyle_secure.privacy.mechanisms import DpSgd, GaussianSum
from fedstyle_secure.privacy.shared_noise import SharedNoise

AMONG = SharedNoise(honest=8, cohort=9, artists=10, records=100)


def byte_source(seed):
    return np.random.default_rng(seed).bytes


def test_the_opened_sum_has_the_noise_that_the_ledger_states():
    """Chi-square of the honest shares' sum against the pmf, false alarms at 1e-5, seed fixed."""
    mechanism, read = GaussianSum(1.0, 1.5, AMONG), byte_source(1)
    rows = np.zeros((1, 200_000))
    total = sum(mechanism.share(rows, read=read) for _ in range(AMONG.honest))
    stated = 1.5 * SHARED_GRID
    assert abs(total.std() / stated - 1) < 0.01
    edges = stats.norm.ppf(np.linspace(0, 1, 101)) * drawn_deviation(stated)
    observed, _ = np.histogram(total, np.concatenate([[-np.inf], edges[1:-1], [np.inf]]))
    assert stats.chisquare(observed).pvalue > 1e-5
    # Planted: one share left out is too little noise, and the same test sees it.
    short, _ = np.histogram(
        sum(mechanism.share(rows, read=read) for _ in range(AMONG.honest - 1)),
        np.concatenate([[-np.inf], edges[1:-1], [np.inf]]),
    )
    assert stats.chisquare(short).pvalue < 1e-5


def test_its_cost_is_that_of_one_central_gaussian():
    assert GaussianSum(1.0, 1.5, AMONG).event("artwork") == SampledGaussian(1.5)
    assert DpSgd(2.0, 1.5, 1.0, 1, 45.0, AMONG).event("artwork") == SampledGaussian(1.5)
    assert GaussianSum(1.0, 1.5, AMONG).event("artist") is None
    one = GaussianSum(2.0, 1.5, AMONG).deviation
    assert one * math.sqrt(AMONG.honest) == pytest.approx(2.0 * 1.5, rel=1e-8)


@given(
    rows=arrays(np.float64, (5, 6), elements=st.floats(-1e3, 1e3)),
    most=st.integers(1, SHARED_GRID),
)
def test_one_record_moves_a_share_by_no_more_than_the_grid(rows, most):
    """In integers, whatever values are held to."""
    mechanism = GaussianSum(1.0, 1.5, SharedNoise(2, 2, 2, 2))
    bound = np.array([most, *[3 * SHARED_GRID] * 5])
    with_all = mechanism.share(rows, bound, byte_source(0))
    without = mechanism.share(rows[1:], bound, byte_source(0))
    moved = with_all - without
    assert int(moved @ moved) <= SHARED_GRID**2


@given(values=arrays(np.int64, 8, elements=st.integers(-(2**40), 2**40)))
def test_no_share_leaves_its_range(values):
    share = AMONG.share(values, 1.5, read=byte_source(0))
    assert np.abs(share).max() <= AMONG.range(1.5)


def test_what_is_not_for_one_alone_is_refused():
    with pytest.raises(PrivacyError, match="protects nobody by itself"):
        GaussianSum(1.0, 1.5, AMONG).apply(np.zeros((1, 3)))
    with pytest.raises(PrivacyError, match="one step of all records"):
        DpSgd(1.0, 1.5, 0.5, 1, 45.0, AMONG)
    with pytest.raises(PrivacyError, match="one step of all records"):
        DpSgd(1.0, 1.5, 1.0, 2, 45.0, AMONG)
    with pytest.raises(PrivacyError, match="too little to be shared"):
        GaussianSum(1.0, 1e-5, AMONG).share(np.zeros((1, 3)))
    with pytest.raises(PrivacyError, match="so many are not accounted for"):
        SharedNoise(1, 2, 2**20, 1).share(np.zeros(300, np.int64), 1.5)
    for bad in ((0, 2, 3, 1), (3, 2, 3, 1), (1, 1, 3, 1), (1, 4, 3, 1), (1, 2, 3, 0)):
        with pytest.raises(PrivacyError, match="cannot be"):
            SharedNoise(*bad)
