"""Accounting: never below dp-accounting's PLD, close to it, and calibrated to the target."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedstyle_secure.config import Config
from fedstyle_secure.errors import PrivacyError
from fedstyle_secure.privacy import accounting
from fedstyle_secure.privacy.accounting import (
    calibrate,
    epsilon,
    grid_epsilon,
    merge,
    pld_epsilon,
    rdp_epsilon,
)
from fedstyle_secure.privacy.distributed import DistributedSum
from fedstyle_secure.privacy.events import (
    DiscreteLaplace,
    DistributedNoise,
    SampledGaussian,
    event_from_dict,
    event_to_dict,
)
from fedstyle_secure.system import plan_of

DELTA = 1e-5
SHARE = DistributedSum(1000, 1.0, 1024.0, 1.16, 900, "gaussian", "00" * 16)

GAUSSIANS = [
    (SampledGaussian(1.0),),
    (SampledGaussian(1.1, 0.02, 500),),
    (SampledGaussian(30.0, 1.0, 4),),
    (SampledGaussian(2.5, 1.0, 2), SampledGaussian(1.4, 0.5, 16), SampledGaussian(6.0)),
    (SampledGaussian(4.0, 1.0, 10), SampledGaussian(1.1, 0.02, 100)),
]
"""DP-SGD, prototypes and cards."""

MIXED = [
    (DiscreteLaplace(0.1, 2),),
    (SampledGaussian(1.4, 0.5, 16), SampledGaussian(6.0), DiscreteLaplace(0.2, 2)),
    # Several runs with another noise each, and counts in each of them.
    tuple(
        event
        for sigma in (1.1, 1.3, 2.0)
        for event in (SampledGaussian(sigma, 0.1, 50), SampledGaussian(5 * sigma), DiscreteLaplace(0.1, 2))
    ),
]


def by_dp_accounting(events, delta):
    """Written out again, event by event, from dp-accounting's own parts."""
    from dp_accounting import dp_event
    from dp_accounting.pld import PLDAccountant

    accountant = PLDAccountant()
    for event in events:
        if isinstance(event, DiscreteLaplace):
            accountant.compose(dp_event.DiscreteLaplaceDpEvent(event.parameter, 1), event.steps)
        else:
            gaussian = dp_event.GaussianDpEvent(event.noise_multiplier)
            accountant.compose(dp_event.PoissonSampledDpEvent(event.sampling_rate, gaussian), event.steps)
    return accountant.get_epsilon(delta)


def by_opacus(events, delta):
    from opacus.accountants import PRVAccountant

    accountant = PRVAccountant()
    accountant.history = [(e.noise_multiplier, e.sampling_rate, e.steps) for e in events]
    with np.errstate(divide="ignore"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Optimal order")
        return accountant.get_epsilon(delta, eps_error=0.001)


@pytest.mark.parametrize("events", [*GAUSSIANS, *MIXED])
def test_agrees_with_dp_accounting_and_is_never_below_it(events):
    ours, theirs = epsilon(events, DELTA), by_dp_accounting(events, DELTA)
    # The same additions in another order may differ in the last bits.
    assert theirs * (1 - 1e-9) <= ours <= theirs * 1.02
    assert ours <= rdp_epsilon(events, DELTA)


@pytest.mark.parametrize("events", GAUSSIANS)
def test_agrees_with_opacus(events):
    assert epsilon(events, DELTA) == pytest.approx(by_opacus(events, DELTA), rel=0.02)


@pytest.mark.parametrize("compute", [epsilon, rdp_epsilon, grid_epsilon])
def test_ends_of_the_range(compute):
    assert compute((), DELTA) == 0.0
    for silent in (SampledGaussian(0.0), DiscreteLaplace(math.inf)):
        assert compute((silent, SampledGaussian(1.0)), DELTA) == math.inf
    assert compute((SampledGaussian(5.0),), 0.09) >= 0.0


def test_at_extreme_deltas_a_bound_is_left():
    assert 1.0 < epsilon((SampledGaussian(5.0),), 1e-15) < 5.0


def test_the_gdp_approximation_is_below_the_bound_and_not_ours():
    """The figure of Opacus' GDP accountant, 2.02, is less than what PLD proves necessary, 2.29."""
    from opacus.accountants import GaussianAccountant

    with pytest.warns(UserWarning, match="underestimate"):
        accountant = GaussianAccountant()
    accountant.history = [(1.1, 0.02, 500)]
    events = (SampledGaussian(1.1, 0.02, 500),)
    assert accountant.get_epsilon(DELTA) < 0.9 * epsilon(events, DELTA)


def test_shares_of_noise_are_composed_by_rdp_with_everything_else():
    event = DistributedNoise(SHARE, 1, 1000)
    assert epsilon((event,), DELTA) == pytest.approx(4.0, rel=0.13)  # 1.16 -> 4 by the tighter conversion
    assert epsilon((event,), DELTA) == rdp_epsilon((event,), DELTA)
    assert grid_epsilon((event,), DELTA) == pld_epsilon((event,), DELTA) == math.inf
    together = epsilon((event, SampledGaussian(3.0)), DELTA)
    assert (
        epsilon((event,), DELTA)
        < together
        < epsilon((event,), DELTA) + epsilon((SampledGaussian(3.0),), DELTA)
    )


def test_what_a_sampler_lacks_is_taken_from_delta():
    event = DistributedNoise(SHARE, 1, 1000)
    spent = rdp_epsilon((event,), DELTA)
    assert 0 < event.slack(spent) < 1e-6
    assert rdp_epsilon((event,), event.slack(1.0)) == math.inf
    # With next to nothing left beside the slack, epsilon is what so small a delta costs.
    tight = 1.001 * event.slack(1.1 * spent)
    assert rdp_epsilon((event,), tight) > spent


def test_a_larger_epsilon_takes_more_from_delta():
    """The slack holds up to the epsilon it is taken with: what costs more is charged the larger one."""
    events = (DistributedNoise(SHARE, 2, 1000, 3),)
    spent = rdp_epsilon(events, DELTA)
    assert spent > 16
    assert events[0].slack(spent) > events[0].slack(16.0)
    assert rdp_epsilon(events, events[0].slack(spent)) == math.inf


def test_randomised_response_is_what_discrete_laplace_looks_like_to_one_change():
    """The loss of a count that moves by one is +a or -a; summed over the pmf, without the closed form."""
    a, alpha = 0.7, 5.0
    k = np.arange(-200, 201)
    pmf = (1 - math.exp(-a)) / (1 + math.exp(-a)) * np.exp(-a * np.abs(k))
    shifted = (1 - math.exp(-a)) / (1 + math.exp(-a)) * np.exp(-a * np.abs(k - 1))
    naive = math.log((pmf**alpha * shifted ** (1 - alpha)).sum()) / (alpha - 1)
    assert DiscreteLaplace(a).rdp([alpha])[0] == pytest.approx(naive, rel=1e-9)


gaussians = st.builds(
    SampledGaussian, st.sampled_from([0.8, 1.5, 3.0]), st.sampled_from([0.1, 0.5, 1.0]), st.integers(1, 20)
)
anything = st.one_of(
    gaussians,
    st.builds(DiscreteLaplace, st.sampled_from([0.05, 0.5, 2.0]), st.integers(1, 4)),
    st.builds(
        DistributedNoise, st.just(SHARE), st.sampled_from([1, 2]), st.sampled_from([1000]), st.integers(1, 3)
    ),
)


@pytest.mark.long
@settings(max_examples=15, deadline=None)
@given(st.lists(anything, max_size=6), anything, st.randoms())
def test_by_rdp_every_release_costs_and_neither_order_nor_merging_matters(history, one_more, random):
    total = rdp_epsilon((*history, one_more), DELTA)
    before = rdp_epsilon(history, DELTA)
    assert total > before or before == math.inf
    shuffled = [*history, one_more]
    random.shuffle(shuffled)
    assert rdp_epsilon(shuffled, DELTA) == pytest.approx(total, rel=1e-12)
    assert rdp_epsilon(merge(shuffled), DELTA) == pytest.approx(total, rel=1e-12)


@pytest.mark.long
@settings(max_examples=3, deadline=None)
@given(st.lists(gaussians, min_size=1, max_size=2), gaussians)
def test_every_release_costs_and_order_does_not_matter(history, one_more):
    total = epsilon((*history, one_more), DELTA)
    # Both sides carry PRV's numerical error, at most a hundredth of the figure.
    assert total >= epsilon(history, DELTA) * 0.99
    assert total == epsilon((one_more, *reversed(history)), DELTA)


@given(st.lists(anything, max_size=8))
def test_merging_keeps_the_steps_of_each_mechanism(history):
    merged = merge(history)
    assert sum(e.steps for e in merged) == sum(e.steps for e in history)
    assert merge(merged) == merged
    assert merge(reversed(history)) == merged


@given(anything)
def test_events_survive_json(event):
    import json

    assert event_from_dict(json.loads(json.dumps(event_to_dict(event)))) == event


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"type": "Magic", "steps": 1},
        {"type": "SampledGaussian", "noise_multiplier": -1.0, "sampling_rate": 1.0, "steps": 1},
        {"type": "SampledGaussian", "noise_multiplier": 1.0, "sampling_rate": 1.0, "steps": 0},
        {"type": "SampledGaussian", "noise_multiplier": 1.0, "sampling": 1.0},
    ],
)
def test_what_is_no_event_is_refused(values):
    with pytest.raises(PrivacyError):
        event_from_dict(values)


def test_three_hundred_equal_entries_are_one_computation(monkeypatch):
    """300 entries of three kinds cost as much as three: the accountant sees three."""
    seen = []
    real = SampledGaussian.rdp
    monkeypatch.setattr(SampledGaussian, "rdp", lambda self, orders: seen.append(self) or real(self, orders))
    history = [SampledGaussian(1.5, 0.3), SampledGaussian(8.0), SampledGaussian(20.0)] * 100
    rdp_epsilon(history, DELTA)
    assert sorted(e.steps for e in seen) == [100, 100, 100]


@pytest.mark.long
@pytest.mark.parametrize("target", [0.05, 1.0, 8.0])
def test_calibration_lands_just_below_the_target(target):
    def events_at(scale):
        return (
            SampledGaussian(2 * scale, 1.0, 2),
            SampledGaussian(1.5 * scale, 0.5, 16),
            DiscreteLaplace(0.1 / scale, 2),
        )

    scale = calibrate(events_at, target, DELTA)
    assert target * 0.99 <= epsilon(events_at(scale), DELTA) <= target


def test_calibration_of_what_has_no_noise_is_refused():
    with pytest.raises(PrivacyError, match="epsilon 1"):
        calibrate(lambda scale: (SampledGaussian(0.0),), 1.0, DELTA)


SEARCHES = [
    (rate, rounds, target)
    for rate in (0.001, 0.01, 0.1, 1.0)
    for rounds in (1, 4, 64)
    for target in (0.05, 0.5, 8.0, 100.0, 250.0, 1000.0)
]
QUICK = {(0.1, 4, 8.0), (0.001, 1, 250.0), (0.001, 1, 1000.0), (0.01, 4, 250.0), (1.0, 1, 1000.0)}


@pytest.mark.long
@pytest.mark.parametrize(
    ("rate", "rounds", "target"),
    [pytest.param(*s, marks=[] if s in QUICK else pytest.mark.slow) for s in SEARCHES],
)
def test_the_search_for_a_plans_noise_ends_soon_at_any_rate_length_and_target(
    monkeypatch, rate, rounds, target
):
    """A search without a bracket swung for 100 evaluations at rate 0.1, 4 rounds, epsilon 8, and gave up."""
    values = {"training.sampling_rate": rate, "run.rounds": rounds, "privacy.target_epsilon": target}
    config = Config.from_flat({**values, "privacy.noise": "own"})
    seen = []
    monkeypatch.setattr(accounting, "epsilon", lambda *given: seen.append(given) or epsilon(*given))
    spent = epsilon(plan_of(config, 16).events(), config.privacy.delta)
    assert target * 0.995 <= spent <= target
    assert len(seen) <= 14


@settings(max_examples=60, deadline=None)
@given(
    slope=st.floats(0.05, 4),
    at_one=st.floats(1e-6, 1e9),
    jump=st.floats(1, 3),
    blind=st.floats(0, 1e3),
    target=st.floats(0.05, 1000),
)
def test_the_search_ends_whatever_falls(slope, at_one, jump, blind, target):
    """Powers of any slope that jump over the target by any factor, infinite below some scale."""
    seen = []

    def falls(scale, delta):
        seen.append(scale)
        smooth = at_one * scale**-slope
        return math.inf if scale < blind else smooth * (jump if smooth > target else 1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accounting, "epsilon", falls)
        root = max((at_one / target) ** (1 / slope), blind)
        if not 1e-17 < root < 1e17:
            return
        scale = calibrate(lambda scale: scale, target, DELTA)
        assert falls(scale, DELTA) <= target
        # None below it would do, but for a millionth and for the tolerance.
        assert falls(scale * (1 - 3e-6), DELTA) > target * 0.995 or falls(scale, DELTA) >= target * 0.995
        assert len(seen) <= 60
