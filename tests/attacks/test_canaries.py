"""Canaries that are what they say, and auditors that find them in a Gaussian mechanism of known epsilon."""

import numpy as np
import pytest

from attacks.canaries import DiracCanaries, cosines, fair_coins, mislabelled, random_directions
from attacks.epsilon import Bonferroni, ExplicitRank, Terms, gaussian_epsilon, one_run_epsilon
from attacks.errors import AttackError
from attacks.tradeoff import gaussian_epsilon_of

STRICT = Terms(delta=1e-5, adjacency="add-remove", unit="artwork", confidence=0.999)
USUAL = Terms(delta=1e-5, adjacency="add-remove", unit="artwork")


def seeded(seed):
    return np.random.default_rng(seed).bytes


def audited(seed, m, multiplier, rounds, noise=1.0, clip=2.0):
    """Scores after noisy sums of full batches that hold honest gradients too; `noise` breaks it."""
    rng = np.random.default_rng(seed)
    canaries = DiracCanaries.draw(m, 2 * m, clip, rng)
    inside = fair_coins(m, seeded(seed))
    honest = clip * rng.standard_normal((rounds, 2 * m)) / np.sqrt(2 * m)
    sums = canaries.total(inside) + honest + noise * multiplier * clip * rng.standard_normal((rounds, 2 * m))
    scores = canaries.scores(sums)
    return scores[inside], scores[~inside]


def test_a_dirac_canary_has_the_norm_and_nothing_in_common_with_another():
    canaries = DiracCanaries.draw(50, 400, 1.5, np.random.default_rng(0))
    gradients = canaries.gradients()
    assert np.allclose(gradients @ gradients.T, 1.5**2 * np.eye(50))
    inside = fair_coins(50, seeded(1))
    assert (canaries.total(inside) == gradients[inside].sum(0)).all()
    assert canaries.scores(canaries.total(inside)[None]).tolist() == inside.astype(float).tolist()


def test_rounds_are_weighted_by_what_they_know():
    canaries = DiracCanaries(np.array([0, 2]), 2.0, 3)
    sums = np.array([[2.0, 9.0, 0.0], [4.0, 9.0, 2.0]])
    assert canaries.scores(sums).tolist() == [1.5, 0.5]
    assert canaries.scores(sums, np.array([3.0, 1.0])).tolist() == [1.25, 0.25]


def test_coins_are_the_bits_of_the_source():
    assert fair_coins(10, lambda n: b"\xa5\x80\xff"[:n]).tolist() == [1, 0, 1, 0, 0, 1, 0, 1, 1, 0]
    # 10 000 of the operating system's: outside 0.5 +- 0.02 with probability 6e-5.
    assert fair_coins(10_000).mean() == pytest.approx(0.5, abs=0.02)


def test_a_known_mechanism_is_bounded_from_below_and_nearly_reached():
    """Full batches, 1000 canaries, 4 rounds at multiplier 2: mu = 1. 12 runs at 1e-3 each: one above the
    truth has probability 0.012."""
    truth = gaussian_epsilon_of(1.0, 1e-5)
    gaussian, one_run = [], []
    for seed in range(12):
        scores = audited(seed, 1000, 2.0, 4)
        gaussian.append(gaussian_epsilon(*scores, USUAL, Bonferroni(5)).epsilon)
        one_run.append(one_run_epsilon(*scores, USUAL, ExplicitRank(100), "both").epsilon)
        assert gaussian_epsilon(*scores, STRICT, Bonferroni(25)).epsilon <= truth
        assert one_run_epsilon(*scores, STRICT, Bonferroni(25), "both").epsilon <= truth
    assert np.mean(gaussian) >= 0.7 * truth
    assert np.mean(one_run) >= 0.25 * truth


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_missing_noise_is_flagged(noise):
    """The claim is mu = 1; at half the noise it is 2. Power at 1e-3 with 1000 canaries is near 1."""
    claimed = gaussian_epsilon_of(1.0, 1e-5)
    for seed in range(5):
        scores = audited(seed, 1000, 2.0, 4, noise=noise)
        assert gaussian_epsilon(*scores, STRICT, Bonferroni(25)).epsilon > claimed


def test_random_directions_have_length_and_no_direction_in_common():
    canaries = random_directions(40, 5000, 3.0, np.random.default_rng(0))
    assert np.linalg.norm(canaries, axis=1) == pytest.approx(np.full(40, 3.0))
    found = cosines(canaries, canaries[7])
    assert found[7] == pytest.approx(1)
    # N(0, 1 / 5000): 39 values beyond 0.07 have probability 3e-5.
    assert np.abs(np.delete(found, 7)).max() < 0.07


def test_a_mislabelled_canary_never_keeps_its_label():
    """And takes every other one alike: 4 standard errors of a share of 1/3 in 9000."""
    targets = np.repeat([0, 1, 2, 3], 2250)
    found = mislabelled(targets, 4, np.random.default_rng(0))
    assert (found != targets).all()
    for label in range(4):
        counts = np.bincount(found[targets == label], minlength=4) / 2250
        assert np.delete(counts, label) == pytest.approx(np.full(3, 1 / 3), abs=0.04)


def test_bad_arguments_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(AttackError, match="Dirac canaries must be a whole number from 1 to 4, not 5"):
        DiracCanaries.draw(5, 4, 1.0, rng)
    with pytest.raises(AttackError, match="norm must be a number in"):
        DiracCanaries.draw(2, 4, 0.0, rng)
    canaries = DiracCanaries.draw(2, 4, 1.0, rng)
    with pytest.raises(AttackError, match=r"\(rounds, 4\)"):
        canaries.scores(np.ones(4))
    with pytest.raises(AttackError, match="weights"):
        canaries.scores(np.ones((2, 4)), np.zeros(2))
    with pytest.raises(AttackError, match="inside must be bool"):
        canaries.total(np.ones(2))
    with pytest.raises(AttackError, match="at least 2"):
        mislabelled(np.zeros(3, int), 1, rng)
    with pytest.raises(AttackError, match="n >= 1"):
        mislabelled(np.array([], int), 3, rng)
    with pytest.raises(AttackError, match="count"):
        fair_coins(0)
    for canary, change in ((np.ones((2, 3)), np.ones(4)), (np.ones(3), np.ones(3))):
        with pytest.raises(AttackError, match=r"must be \(k, d\)"):
            cosines(canary, change)
    for zero in (np.zeros(3), np.array([1.0, np.nan, 1.0])):
        with pytest.raises(AttackError, match="not zero"):
            cosines(np.ones((2, 3)), zero)
    with pytest.raises(AttackError, match="count"):
        random_directions(0, 5, 1.0, rng)
