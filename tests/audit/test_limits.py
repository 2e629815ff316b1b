"""Limits of attacks: closed forms, and never below what an optimal attack reaches."""

import numpy as np
import pytest
from scipy.stats import norm

from fedstyle_secure.audit.limits import NO_GUARANTEE, Limit, planned
from fedstyle_secure.config import Config
from fedstyle_secure.privacy.distributed import DistributedSum
from fedstyle_secure.privacy.events import DiscreteLaplace, DistributedNoise, SampledGaussian
from fedstyle_secure.system import plan_of


@pytest.mark.parametrize(("noise", "steps"), [(1.0, 1), (2.0, 4), (0.5, 1), (4.0, 9)])
@pytest.mark.parametrize("hops", [1, 2])
def test_gaussian_limits_have_their_closed_form(noise, steps, hops):
    """Phi(Phi^-1(chance) + mu), mu = hops * sqrt(steps) / noise; AUC Phi(mu / sqrt 2)."""
    mu = hops * np.sqrt(steps) / noise
    limit = Limit([SampledGaussian(noise, 1.0, steps)], hops)
    for chance in (0.001, 0.01, 0.1, 0.5, 0.9):
        exact = norm.cdf(norm.ppf(chance) + mu)
        assert exact - 1e-9 <= limit.success(chance) <= exact + 2e-3
    exact = norm.cdf(mu / np.sqrt(2))
    assert exact <= limit.auc() <= exact + 2e-3


def test_one_count_has_its_closed_form():
    """Discrete Laplace of parameter a on a count that moves by one is exactly a-DP."""
    a, chance = 0.7, 0.01
    limit = Limit([DiscreteLaplace(a)])
    assert limit.success(chance) == pytest.approx(np.exp(a) * chance, rel=0.02)
    assert limit.success(chance) >= np.exp(a) * chance * (1 - 1e-6)


def test_what_the_pld_accountant_does_not_know_is_limited_by_rdp():
    shared = DistributedSum(
        size=1000, clip_norm=1.0, scale=1024.0, noise_multiplier=2.0, honest=8, sampler="gaussian",
        rotation="00" * 32,
    )  # fmt: skip
    limit = Limit([DistributedNoise(shared, 1, 8)])
    exact = norm.cdf(norm.ppf(0.01) + 0.5)
    assert exact <= limit.success(0.01) <= 3 * exact
    assert norm.cdf(0.5 / np.sqrt(2)) <= limit.auc() < 0.85


def test_without_noise_there_is_no_limit_and_without_releases_nothing_is_learned():
    limit = Limit([SampledGaussian(1.0), SampledGaussian(0.0)])
    assert limit.none
    assert limit.success(0.1) is None
    assert limit.auc() is None
    assert limit.curve(np.array([0.1])) is None
    assert Limit([]).success(0.01) == 0.01
    assert Limit([]).auc() == pytest.approx(0.5, abs=1e-3)


def test_with_next_to_no_noise_everything_is_possible():
    limit = Limit([SampledGaussian(1e-3)])
    assert not limit.none
    assert limit.success(0.01) == 1.0
    assert limit.auc() == 1.0
    assert limit.pair() is None


def test_the_drawn_pair_is_one_that_holds():
    """Its TPR limit at any FPR lies on or above the exact curve."""
    limit = Limit([SampledGaussian(1.5, 1.0, 3)], hops=2)
    epsilon, delta = limit.pair()
    rates = np.linspace(0.001, 0.9, 30)
    assert (np.minimum(np.exp(epsilon) * rates + delta, 1.0) >= limit.curve(rates) - 1e-9).all()


def test_releases_count_by_kind_and_up_to_a_round():
    config = Config().override(
        ["privacy.noise_multiplier=2", "run.rounds=3", "cards.releases=2", "metrics.releases=1"]
    )
    plan = plan_of(config, 16)
    event = {name: kind.mechanism.event("artwork") for name, kind in plan.kinds.items()}
    names = ("update", "scatter", "card", "prototypes", "metrics")
    update, scatter, card, prototypes, metrics = (event[name] for name in names)
    assert planned(plan, ("card",)) == [card, card]
    assert planned(plan, ("card", "update"), last=3) == [update, update, card]
    assert planned(plan, last=0) == [card, prototypes]
    assert planned(plan, last=1) == [scatter, card, prototypes]
    assert planned(plan) == [update] * 3 + [scatter] + [card] * 2 + [prototypes, metrics]
    assert planned(plan, ()) == []


def test_without_second_moments_training_begins_a_round_earlier():
    config = Config().override(["privacy.noise_multiplier=2", "run.rounds=3", "privacy.noise=own"])
    plan = plan_of(config, 16)
    update, card = (plan.kinds[name].mechanism.event("artwork") for name in ("update", "card"))
    assert planned(plan, ("card", "scatter", "update"), last=1) == [update, card]


def test_a_share_that_leaves_in_clear_is_covered_by_nothing():
    """Where the unit is the artist, what counts is an artwork all the same: two hops of a sum."""
    settings = ["privacy.unit=artist", "privacy.noise_multiplier=2", "run.rounds=3"]
    sealed = plan_of(Config().override(settings), 16)
    assert planned(sealed, ("card",), last=1) == [DistributedNoise(sealed.shared.noise, 2, 16)] * 2
    clear = plan_of(Config().override([*settings, "secure_sum.enabled=false"]), 16)
    assert planned(clear) == [NO_GUARANTEE] * 4
    assert Limit(planned(clear), 2).auc() is None
    off = plan_of(Config().override(["privacy.dp=off"]), 16)
    assert Limit(planned(off)).none
