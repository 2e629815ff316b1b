"""Limits against published values, an accountant, and mechanisms that attain them."""

from functools import partial

import numpy as np
import pytest
from dp_accounting import dp_event
from dp_accounting.pld import PLDAccountant
from scipy.stats import beta, norm

from attacks.errors import AttackError
from attacks.roc import rank_ladder
from attacks.tradeoff import (
    check_limit,
    dp_limit,
    gaussian_delta,
    gaussian_epsilon_of,
    gaussian_limit,
    gaussian_mu_of,
)


@pytest.mark.parametrize(
    ("mu", "delta", "epsilon"),
    [(1, 1e-6, 4.887), (2, 1e-6, 10.997), (4, 1e-6, 26.357), (1, 1e-5, 4.38), (2, 1e-5, 10.0)],
)
def test_gaussian_epsilon_is_the_published_one(mu, delta, epsilon):
    assert gaussian_epsilon_of(mu, delta) == pytest.approx(epsilon, rel=2e-3)
    assert gaussian_mu_of(gaussian_epsilon_of(mu, delta), delta) == pytest.approx(mu, rel=1e-6)


@pytest.mark.parametrize("mu", [0.3, 1.0, 3.0])
def test_gaussian_epsilon_is_the_accountants(mu):
    accountant = PLDAccountant().compose(dp_event.GaussianDpEvent(1 / mu))
    assert gaussian_epsilon_of(mu, 1e-5) == pytest.approx(accountant.get_epsilon(1e-5), rel=1e-3)


def test_gaussian_delta_is_the_largest_gap_of_a_threshold():
    t = np.linspace(-8, 12, 200_001)
    for mu, epsilon in ((1, 0.5), (2, 3.0), (0.5, 0.0)):
        gap = norm.sf(t - mu) - np.exp(epsilon) * norm.sf(t)
        assert gaussian_delta(epsilon, mu) == pytest.approx(gap.max(), rel=1e-6)


def test_gaussian_values_survive_far_tails():
    assert gaussian_delta(0.0, 0.0) == 0
    assert gaussian_epsilon_of(0.0, 1e-5) == 0
    assert gaussian_epsilon_of(1e-9, 1e-5) == 0
    assert gaussian_delta(300.0, 1.0) == 0
    # eps ~ mu^2 / 2 + mu * Phi^-1(1 - delta) for a large mu.
    assert gaussian_epsilon_of(50.0, 1e-5) == pytest.approx(1250 + 50 * norm.isf(1e-5), rel=1e-3)
    assert 1e-300 < gaussian_delta(36.0, 1.0) < 1e-200


def test_randomised_response_attains_the_limit_of_pure_dp():
    epsilon = 1.3
    truth = np.exp(epsilon) / (1 + np.exp(epsilon))
    assert dp_limit(1 - truth, epsilon, 0.0) == pytest.approx(truth)
    grid = np.linspace(0, 1, 101)
    corners = np.interp(grid, [0, 1 - truth, 1], [0, truth, 1])
    assert dp_limit(grid, epsilon, 0.0) == pytest.approx(corners)
    assert dp_limit(np.zeros(1), epsilon, 0.05) == pytest.approx(0.05)
    assert dp_limit(grid, 800.0, 0.0)[1:] == pytest.approx(1)


def test_the_gaussian_curve_touches_every_limit_of_its_own():
    fpr = np.linspace(0, 1, 20_001)
    curve = gaussian_limit(fpr, 1.5)
    assert (curve[0], curve[-1]) == (0, 1)
    assert curve == pytest.approx(norm.sf(norm.isf(fpr) - 1.5))
    for epsilon in (0.2, 1.0, 4.0):
        room = dp_limit(fpr, epsilon, gaussian_delta(epsilon, 1.5)) - curve
        assert room.min() == pytest.approx(0, abs=1e-5)
        assert room.min() > -1e-9


def test_a_limit_that_holds_is_rarely_called_broken_and_a_false_one_is():
    """200 Gaussian curves exactly on their limit, 5 % allowed each: over 22 has probability below 1e-3."""
    rng = np.random.default_rng(0)
    honest = sum(
        check_limit(rng.normal(1, 1, 500), rng.normal(0, 1, 500), partial(gaussian_limit, mu=1.0)).broken
        for _ in range(200)
    )
    assert honest <= 22
    broken = check_limit(rng.normal(2, 1, 500), rng.normal(0, 1, 500), partial(gaussian_limit, mu=1.0))
    assert broken.broken
    assert broken.excess > 0
    assert broken.tpr > gaussian_limit(broken.fpr, 1.0)
    limit = partial(dp_limit, epsilon=1.0, delta=1e-5)
    assert not check_limit(rng.normal(0, 1, 500), rng.normal(2, 1, 500), limit).broken
    assert check_limit(np.arange(100) + 100.0, np.arange(100.0), limit).broken


def test_the_excess_is_that_of_exact_bounds_at_the_divided_error():
    """Every member above every non-member: by hand, TPR >= a^(1/n), FPR from a beta, a = 5 % / (2 points)."""
    limit = partial(dp_limit, epsilon=0.5, delta=0.0)
    for points in (1, 4):
        found = check_limit(np.arange(60) + 100.0, np.arange(40.0), limit, points=points)
        each = 0.05 / (2 * points)
        ranks = rank_ladder(40, points)
        excess = each ** (1 / 60) - limit(beta.isf(each, ranks, 41 - ranks))
        assert found.excess == pytest.approx(excess.max(), rel=1e-9)
        assert found.tpr == pytest.approx(each ** (1 / 60))
        assert found.broken
    # A curve just above the limit is broken, one just below is not: nothing is held back.
    for shift in (-1e-6, 1e-6):
        at = found.tpr - shift
        near = check_limit(np.arange(60) + 100.0, np.arange(40.0), lambda fpr, at=at: np.full_like(fpr, at))
        assert near.broken is (near.tpr > at)
        assert near.excess == pytest.approx(near.tpr - at)


def test_no_guarantee_allows_everything():
    grid = np.array([0.0, 1e-9, 0.5, 1.0])
    assert (dp_limit(grid, np.inf, 0.0) == 1).all()
    assert (gaussian_limit(grid, np.inf) == 1).all()
    assert (gaussian_delta(np.inf, 1.0), gaussian_delta(1.0, np.inf)) == (0, 1)
    assert gaussian_epsilon_of(np.inf, 1e-5) == np.inf
    assert not check_limit(
        np.arange(9) + 99.0, np.arange(9.0), partial(dp_limit, epsilon=np.inf, delta=0)
    ).broken


@pytest.mark.parametrize("wrong", [np.nan, 1.5, -0.1])
def test_a_limit_that_is_no_rate_is_refused(wrong):
    with pytest.raises(AttackError, match="limit must give a rate"):
        check_limit(np.arange(300) + 1000.0, np.arange(300.0), lambda fpr: fpr * 0 + wrong)


def test_bad_arguments_are_refused():
    with pytest.raises(AttackError, match="epsilon must be a number in"):
        gaussian_mu_of(np.inf, 1e-5)
    with pytest.raises(AttackError, match="rate"):
        dp_limit(np.array([1.1]), 1.0, 0.0)
    with pytest.raises(AttackError, match="epsilon"):
        dp_limit(np.array([0.1]), -1.0, 0.0)
    with pytest.raises(AttackError, match="mu"):
        gaussian_limit(np.array([0.1]), -1.0)
    with pytest.raises(AttackError, match="delta"):
        gaussian_epsilon_of(1.0, 0.0)
    with pytest.raises(AttackError, match="confidence"):
        check_limit(np.ones(3), np.ones(3), partial(dp_limit, epsilon=1, delta=0), confidence=1.0)
