"""Mechanisms: they bound what they say they bound, and add the noise that they account for."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fedstyle_secure.errors import PrivacyError
from fedstyle_secure.privacy.mechanisms import DpSgd, Event, GaussianSum

rows = arrays(np.float64, (6, 4), elements=st.floats(-1e6, 1e6))


@given(rows=rows, clip=st.floats(1e-3, 1e3))
def test_one_row_moves_a_sum_by_at_most_the_sensitivity(rows, clip):
    mechanism = GaussianSum(clip, 1.0)
    removed = np.linalg.norm(mechanism.exact(rows) - mechanism.exact(rows[1:]))
    replaced = np.linalg.norm(mechanism.exact(rows) - mechanism.exact(np.concatenate([-rows[:1], rows[1:]])))
    assert removed <= mechanism.sensitivity("add-remove") * (1 + 1e-9)
    assert replaced <= mechanism.sensitivity("replace") * (1 + 1e-9)


def test_a_row_that_is_not_finite_counts_as_zero():
    mechanism = GaussianSum(1.0, 0.0)
    good = np.array([[0.6, 0.0], [0.0, 0.8]])
    bad = np.array([[np.nan, 0.1], [np.inf, 0.0]])
    assert np.allclose(mechanism.exact(np.concatenate([good, bad])), mechanism.exact(good))


@pytest.mark.parametrize("shape", [(4,), (2, 3, 4), ()])
def test_a_sum_takes_one_row_a_picture(shape):
    with pytest.raises(PrivacyError, match="one row a picture"):
        GaussianSum(1.0, 1.0).exact(np.zeros(shape))


def test_the_noise_has_the_stated_deviation():
    rng = np.random.default_rng(0)
    mechanism = GaussianSum(2.0, 1.5)
    noise = mechanism.apply(np.zeros((3, 100_000)), rng.bytes)
    # The deviation of 1e5 samples has relative deviation 0.0022; 2 % alarms falsely below 1e-18.
    assert abs(noise.std() / 3.0 - 1) < 0.02


def test_events_are_what_was_done():
    assert GaussianSum(1.0, 2.0).events() == (Event(2.0, 1.0, 1),)
    assert DpSgd(1.0, 2.0, 0.1, 5, 8.0).events() == (Event(2.0, 0.1, 5),)


@pytest.mark.parametrize(
    "make",
    [
        lambda: GaussianSum(0.0, 1.0),
        lambda: GaussianSum(math.inf, 1.0),
        lambda: GaussianSum(1.0, -1.0),
        lambda: GaussianSum(1.0, math.nan),
        lambda: DpSgd(1.0, 1.0, 0.0, 1, 1.0),
        lambda: DpSgd(1.0, 1.0, 1.1, 1, 1.0),
        lambda: DpSgd(1.0, 1.0, 0.5, 0, 1.0),
        lambda: DpSgd(1.0, 1.0, 0.5, 1, 0.0),
        lambda: DpSgd(math.inf, 1.0, 0.5, 1, 1.0),
    ],
)
def test_a_mechanism_without_a_guarantee_cannot_be_made(make):
    with pytest.raises(PrivacyError):
        make()
