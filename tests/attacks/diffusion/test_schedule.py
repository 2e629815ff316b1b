"""The algebra of schedules against loops over pixels, and three sorts of predictions that say the same."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attacks.diffusion.draws import Draws
from attacks.diffusion.model import Denoiser, checked_pictures, with_and_without
from attacks.diffusion.schedule import Schedule
from attacks.errors import AttackError

KINDS = ("epsilon", "sample", "v_prediction")
KEPT = torch.tensor([0.999, 0.9, 0.5, 0.1, 0.001], dtype=torch.float64)


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_noising_and_what_is_wanted_are_those_of_a_loop_over_pixels():
    pictures, noise, time = normal(3, 2, 2, 2), normal(3, 2, 2, 2, seed=1), torch.tensor([0, 2, 4])
    for kind in KINDS:
        schedule = Schedule(KEPT, kind)
        noisy, wanted = schedule.noised(pictures, noise, time), schedule.wanted(pictures, noise, time)
        for b, c, h, w in torch.cartesian_prod(*(torch.arange(k) for k in (3, 2, 2, 2))).tolist():
            a = float(KEPT[int(time[b])])
            x, e = float(pictures[b, c, h, w]), float(noise[b, c, h, w])
            assert math.isclose(float(noisy[b, c, h, w]), math.sqrt(a) * x + math.sqrt(1 - a) * e)
            told = {"epsilon": e, "sample": x, "v_prediction": math.sqrt(a) * e - math.sqrt(1 - a) * x}[kind]
            assert math.isclose(float(wanted[b, c, h, w]), told)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(KINDS), st.integers(0, 4), st.integers(0, 4), st.integers(0, 2**31))
def test_all_sorts_of_predictions_come_to_the_same_noise_picture_and_step(kind, time, to, seed):
    """A model that is right for one pair of noise and picture, whatever it predicts."""
    picture, noise = normal(1, 3, 2, 2, seed=seed), normal(1, 3, 2, 2, seed=seed + 1)
    at, later, schedule = torch.tensor([time]), torch.tensor([to]), Schedule(KEPT, kind)
    noisy, told = schedule.noised(picture, noise, at), schedule.wanted(picture, noise, at)
    assert torch.allclose(schedule.noise(told, noisy, at), noise, atol=1e-9)
    assert torch.allclose(schedule.picture(told, noisy, at), picture, atol=1e-9)
    assert torch.allclose(schedule.told(picture, noisy, at), told, atol=1e-9)
    moved = schedule.moved(told, noisy, at, later)
    assert torch.allclose(moved, schedule.noised(picture, noise, later), atol=1e-9)


def test_times_between_steps_meet_those_at_steps_and_can_be_differentiated():
    schedule = Schedule(KEPT, "epsilon")
    whole = schedule.parts(torch.arange(5))
    between = schedule.parts(torch.arange(5.0))
    assert all(torch.equal(a, b) for a, b in zip(whole, between, strict=True))
    time = torch.tensor([1.25], dtype=torch.float64, requires_grad=True)
    kept = schedule.parts(time)[0] ** 2
    assert math.isclose(float(kept.detach()), 0.9 - 0.25 * 0.4)
    kept.sum().backward()
    assert math.isclose(float(time.grad), 0.5 - 0.9, rel_tol=1e-9)


def test_half_precision_pictures_are_read_in_float32():
    schedule = Schedule(KEPT, "v_prediction")
    half, time = normal(2, 3, 2, 2, dtype=torch.float32).half(), torch.tensor([1, 3])
    assert schedule.noised(half, half, time).dtype == torch.float32
    assert schedule.noise(half, half, time).dtype == torch.float32
    assert schedule.picture(half, half, time).dtype == torch.float32


def test_where_nothing_is_left_of_a_picture_none_can_be_told():
    """Schedules that end in pure noise (Lin et al. 2024) have no picture to be divided out at the end."""
    ends, x = torch.tensor([1.0, 0.5, 0.0]), torch.zeros(1, 1, 1, 1)
    with pytest.raises(AttackError, match="time 2 a noisy picture holds no picture"):
        Schedule(ends, "epsilon").picture(x, x, torch.tensor([2]))
    with pytest.raises(AttackError, match="time 0 a noisy picture holds no noise"):
        Schedule(ends, "sample").noise(x, x, torch.tensor([0]))
    assert Schedule(ends, "v_prediction").picture(x, x, torch.tensor([2])).item() == 0


def test_what_is_no_schedule_or_time_is_refused():
    for kept in (torch.ones(3, 1), torch.ones(1), torch.tensor([1, 0]), torch.tensor([0.5, 0.6])):
        with pytest.raises(AttackError, match="alphas_cumprod"):
            Schedule(kept, "epsilon")
    for bad in (-0.1, 1.1, math.nan):
        with pytest.raises(AttackError, match="alphas_cumprod"):
            Schedule(torch.tensor([bad, 0.0]), "epsilon")
    with pytest.raises(AttackError, match="prediction_type"):
        Schedule(KEPT, "eps")
    x, schedule = torch.zeros(2, 3, 2, 2), Schedule(KEPT, "epsilon")
    for time in (torch.tensor([0, 5]), torch.tensor([-1, 0]), torch.tensor([[0], [1]])):
        with pytest.raises(AttackError, match="times must be"):
            schedule.noised(x, x, time)
    for wrong, time in ((x[0], torch.tensor([0, 1])), (x, torch.tensor([0]))):
        with pytest.raises(AttackError, match="a time for each"):
            schedule.noised(wrong, wrong, time)


def test_draws_are_a_function_of_the_seed_and_cover_their_span():
    schedule = Schedule(torch.linspace(0.99, 0.01, 1000), "epsilon")
    one, same, other = (Draws.make(schedule, (3, 4, 4), 20, seed) for seed in (0, 0, 1))
    assert torch.equal(one.times, same.times)
    assert torch.equal(one.noises, same.noises)
    assert not torch.equal(one.noises, other.noises)
    assert (one.times // 50).tolist() == list(range(20)), "one in each stretch"
    inside = Draws.make(schedule, (3, 4, 4), 7, 0, span=(0.2, 0.3)).times
    assert inside.min() >= 200
    assert inside.max() < 300
    with pytest.raises(AttackError, match="span"):
        Draws.make(schedule, (3, 4, 4), 7, 0, span=(0.3, 0.3))
    with pytest.raises(AttackError, match="shape"):
        Draws.make(schedule, (4, 4), 7, 0)
    with pytest.raises(AttackError, match="noises"):
        Draws(one.times, one.noises[:3])
    with pytest.raises(AttackError, match="int64"):
        Draws(one.times.float(), one.noises)
    with pytest.raises(AttackError, match="finite"):
        Draws(one.times, one.noises / 0)


def test_a_model_that_gives_something_else_is_refused():
    schedule, x, time = Schedule(KEPT, "epsilon"), torch.zeros(2, 3, 4, 4), torch.tensor([0, 1])
    for wrong in (lambda x, t: x[:1], lambda x, t: (x,), lambda x, t: x.long()):
        with pytest.raises(AttackError, match="predict must give"):
            Denoiser(wrong, schedule).told(x, time)
    assert Denoiser(lambda x, t: x.half(), schedule).told(x, time).dtype == torch.float32


def test_pictures_that_are_none_are_refused():
    x = torch.zeros(2, 3, 4, 4)
    for wrong, said in ((x[0], "n, c, h, w"), (x[:0], "one or more"), (x.numpy(), "ndarray")):
        with pytest.raises(AttackError, match=said):
            checked_pictures(wrong)
    with pytest.raises(AttackError, match="uint8"):
        checked_pictures(x.byte())
    bad = x.clone()
    bad[1, 0, 0, 0] = math.nan
    with pytest.raises(AttackError, match="picture 1 is not finite"):
        checked_pictures(bad)


def test_the_adapter_is_on_again_even_where_the_model_fails():
    on = [True]

    def predict(x, time):
        if time[0] == 1:
            raise RuntimeError("out of memory")
        return x if on[0] else 0 * x

    tuned, plain = with_and_without(
        predict, Schedule(KEPT, "epsilon"), lambda wanted: on.__setitem__(0, wanted)
    )
    x = torch.ones(1, 1, 2, 2)
    assert plain.told(x, torch.tensor([0])).sum() == 0
    assert tuned.told(x, torch.tensor([0])).sum() == 4
    with pytest.raises(RuntimeError, match="out of memory"):
        plain.told(x, torch.tensor([1]))
    assert on == [True]
