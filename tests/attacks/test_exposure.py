"""Exposure has the distribution that it must have where nothing leaks, and finds what was memorised."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from attacks.epsilon import Terms
from attacks.errors import AttackError
from attacks.exposure import (
    exposure,
    exposure_epsilon,
    exposure_p_value,
    extrapolated_exposure,
    random_words,
    sampled_exposure,
)

TERMS = Terms(delta=0.0, adjacency="add-remove", unit="artwork")


@given(st.integers(1, 16))
def test_of_a_word_that_ranks_uniformly_x_bits_have_probability_two_to_the_minus_x(bits):
    """Over every rank of the whole space: exact."""
    space = 2**bits
    found = exposure(np.arange(1, space + 1), space)
    for x in range(bits + 1):
        assert (found >= x).sum() == space // 2**x
    assert found.max() == bits
    assert found.min() == 0


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 300), st.integers(0, 2**31))
def test_a_canary_like_its_references_has_no_more_by_sampling(m, seed):
    """Each of m + 1 values that anybody might be in turn: the share with x bits or more is at most 2^-x."""
    values = np.random.default_rng(seed).integers(0, 50, m + 1).astype(float)
    found = np.array([sampled_exposure(values[[i]], np.delete(values, i))[0] for i in range(m + 1)])
    for x in np.linspace(0.1, math.log2(m + 1) + 1, 9):
        assert (found >= x).mean() <= 2**-x + 1e-12


def test_a_word_learned_by_heart_ranks_first_and_one_like_all_others_nowhere():
    rng = np.random.default_rng(0)
    references = rng.normal(10, 1, (2, 1023))
    assert sampled_exposure(np.array([0.0, 30.0]), references).tolist() == [10.0, 0.0]
    assert sampled_exposure(np.array([5.0]), np.full(7, 5.0)).tolist() == [0.0], "ties count against it"


def test_beyond_the_sample_it_is_the_tail_of_the_normal_that_was_drawn_from():
    """Mean and deviation of 4,000 draws: three deviations out, 6 bits are right to a tenth."""
    references = np.random.default_rng(0).normal(10, 2, 4000)
    losses = np.array([4.0, 8.0, 10.0])
    wanted = -norm.logcdf((losses - 10) / 2) / math.log(2)
    assert np.allclose(extrapolated_exposure(losses, references), wanted, atol=0.6)
    assert np.isfinite(extrapolated_exposure(np.array([-200.0]), references)).all()


def test_p_values_of_many_canaries_are_no_smaller_than_they_should_be():
    """1,000 runs of 20 canaries that nobody saw; a p-value of 0.05 comes up in 5 %: under 8 %, at 4.3 sd."""
    rng = np.random.default_rng(0)
    small = 0
    for _ in range(1000):
        found = sampled_exposure(rng.normal(size=20), rng.normal(size=(20, 63)))
        small += exposure_p_value(found, bits=3.0) <= 0.05
    assert small <= 80
    assert exposure_p_value(np.full(5, 6.0), bits=6.0) == pytest.approx(2.0**-30)


def test_what_coins_and_a_mechanism_give_is_bounded_below_what_it_has():
    """Randomised response of epsilon 1 on each coin; 40 runs at 95 %: more than 7 alarms, 7e-4."""
    rng, epsilon, alarms = np.random.default_rng(0), 1.0, 0
    for _ in range(40):
        coins = rng.random(200) < 0.5
        told = np.where(rng.random(200) < 1 / (1 + math.exp(-epsilon)), coins, ~coins)
        scores = 4.0 * told + rng.random(200)
        alarms += exposure_epsilon(scores[coins], scores[~coins], TERMS).epsilon > epsilon
    assert alarms <= 7


def test_planted_words_that_leak_are_proved_and_others_are_not():
    rng = np.random.default_rng(1)
    same, other = rng.exponential(1.44, 100), rng.exponential(1.44, 100)
    assert exposure_epsilon(same + 12, other, TERMS).epsilon > 2.5
    assert exposure_epsilon(same, other, TERMS).epsilon == 0


def test_words_are_uniform_over_their_space():
    """Chi-square of 9 words by 9,000 draws; beyond 26 once in a thousand."""
    words = random_words(9000, letters=2, alphabet=3, rng=np.random.default_rng(0))
    assert words.shape == (9000, 3)
    assert (words[:, 0] == 2).all()
    counts = np.bincount(3 * (words[:, 1] - 1) + words[:, 2] - 1, minlength=9)
    assert ((counts - 1000) ** 2 / 1000).sum() < 26


def test_what_makes_no_sense_is_refused():
    with pytest.raises(AttackError, match="ranks"):
        exposure(np.array([0]), 8)
    with pytest.raises(AttackError, match="ranks"):
        exposure(np.array([9]), 8)
    with pytest.raises(AttackError, match="references"):
        sampled_exposure(np.zeros(3), np.zeros((2, 5)))
    with pytest.raises(AttackError, match="finite"):
        sampled_exposure(np.array([np.nan]), np.zeros(5))
    with pytest.raises(AttackError, match="equal"):
        extrapolated_exposure(np.zeros(1), np.ones(5))
    with pytest.raises(AttackError, match="exposures"):
        exposure_p_value(np.array([np.inf]), 1.0)
