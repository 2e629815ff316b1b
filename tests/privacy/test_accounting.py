"""Accounting: never below dp-accounting's PLD, close to it, and calibrated to the target."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedstyle_secure.errors import PrivacyError
from fedstyle_secure.privacy.accounting import calibrate, epsilon, merge, rdp_epsilon
from fedstyle_secure.privacy.mechanisms import Event

DELTA = 1e-5

HISTORIES = [
    (Event(1.0, 1.0, 1),),
    (Event(1.1, 0.02, 500),),
    (Event(2.5, 1.0, 2), Event(1.4, 0.5, 16), Event(6.0, 1.0, 1)),
    (Event(4.0, 1.0, 10), Event(1.1, 0.02, 100)),
]


def pld_epsilon(events, delta):
    from dp_accounting import dp_event
    from dp_accounting.pld import PLDAccountant

    accountant = PLDAccountant()
    for event in events:
        gaussian = dp_event.GaussianDpEvent(event.noise_multiplier)
        accountant.compose(dp_event.PoissonSampledDpEvent(event.sampling_rate, gaussian), event.steps)
    return accountant.get_epsilon(delta)


@pytest.mark.parametrize("events", HISTORIES)
def test_agrees_with_dp_accounting(events):
    ours, theirs = epsilon(events, DELTA), pld_epsilon(events, DELTA)
    assert theirs * 0.999 <= ours <= theirs * 1.02
    assert ours <= rdp_epsilon(events, DELTA)


def test_ends_of_the_range():
    assert epsilon((), DELTA) == 0.0
    assert epsilon((Event(0.0, 0.5, 1), Event(1.0, 1.0, 1)), DELTA) == math.inf
    assert epsilon((Event(5.0, 1.0, 1),), 0.09) >= 0.0
    assert 1.0 < epsilon((Event(5.0, 1.0, 1),), 1e-15) < 5.0


events = st.builds(
    Event, st.sampled_from([0.8, 1.5, 3.0]), st.sampled_from([0.1, 0.5, 1.0]), st.integers(1, 20)
)


@settings(max_examples=4, deadline=None)
@given(st.lists(events, min_size=1, max_size=2), events)
def test_every_release_costs_and_order_does_not_matter(history, one_more):
    total = epsilon((*history, one_more), DELTA)
    assert total >= epsilon(history, DELTA) - 1e-2
    assert total == epsilon((one_more, *reversed(history)), DELTA)


@given(st.lists(events, max_size=6))
def test_merging_keeps_the_steps_of_each_mechanism(history):
    merged = merge(history)
    assert len({(e.noise_multiplier, e.sampling_rate) for e in merged}) == len(merged)
    assert sum(e.steps for e in merged) == sum(e.steps for e in history)
    assert merge(merged) == merged


@pytest.mark.parametrize("target", [0.05, 1.0, 8.0])
def test_calibration_lands_just_below_the_target(target):
    def events_at(scale):
        return (Event(2 * scale, 1.0, 2), Event(1.5 * scale, 0.5, 16))

    scale = calibrate(events_at, target, DELTA)
    assert target * 0.99 <= epsilon(events_at(scale), DELTA) <= target


def test_calibration_of_what_has_no_noise_is_refused():
    with pytest.raises(PrivacyError, match="epsilon 1"):
        calibrate(lambda scale: (Event(0.0, 1.0, 1),), 1.0, DELTA)
