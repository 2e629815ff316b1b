"""Losses, PIA and SecMI against the papers' formulas in loops, whatever the order and the company."""

import math
from functools import partial

import numpy as np
import pytest
import torch

from attacks.diffusion.draws import Draws
from attacks.diffusion.model import Denoiser
from attacks.diffusion.signals import denoising_losses, proximal_errors, step_errors
from attacks.errors import AttackError

KINDS = ["epsilon", "sample", "v_prediction"]


def noise_by_hand(model, x, time):
    """eps(x, t) of one picture (c, h, w), as each sort of prediction defines it."""
    a = float(model.schedule.alphas_cumprod[time])
    told = model.predict(x[None], torch.tensor([time]))[0]
    if model.schedule.prediction_type == "epsilon":
        return told
    if model.schedule.prediction_type == "sample":
        return (x - math.sqrt(a) * told) / math.sqrt(1 - a)
    return math.sqrt(a) * told + math.sqrt(1 - a) * x


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_losses_are_those_of_a_loop(tiny, normal_pictures, kind):
    (model, _), pictures = tiny(kind), normal_pictures(3, 0)
    draws = Draws.make(model.schedule, (3, 4, 4), 2, 0)
    found = denoising_losses(model, pictures, draws, batch=2)
    for row, x in enumerate(pictures):
        for column, (time, noise) in enumerate(zip(draws.times.tolist(), draws.noises, strict=True)):
            a = float(model.schedule.alphas_cumprod[time])
            noisy = math.sqrt(a) * x + math.sqrt(1 - a) * noise
            v = math.sqrt(a) * noise - math.sqrt(1 - a) * x
            wanted = {"epsilon": noise, "sample": x, "v_prediction": v}[kind]
            told = model.predict(noisy[None], torch.tensor([time]))[0]
            assert found[row, column] == pytest.approx(float((told - wanted).square().mean()), rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("normalised", [False, True])
@torch.no_grad()
def test_proximal_errors_are_those_of_the_paper(tiny, normal_pictures, kind, normalised):
    (model, _), pictures = tiny(kind), normal_pictures(3, 0)
    found = proximal_errors(model, pictures, time=30, normalised=normalised)
    for row, x in enumerate(pictures):
        first = noise_by_hand(model, x, 0)
        if normalised:
            first = first / first.abs().sum() * first.numel() * math.sqrt(2 / math.pi)
        a = float(model.schedule.alphas_cumprod[30])
        second = noise_by_hand(model, math.sqrt(a) * x + math.sqrt(1 - a) * first, 30)
        wanted = float((first - second).abs().pow(4).sum() ** 0.25) / 48**0.25
        assert found[row] == pytest.approx(wanted, rel=2e-3)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_step_errors_are_those_of_the_paper(tiny, normal_pictures, kind):
    (model, _), pictures = tiny(kind), normal_pictures(3, 0)
    kept = model.schedule.alphas_cumprod

    def moved(x, time, to):
        noise = noise_by_hand(model, x, time)
        picture = (x - math.sqrt(1 - float(kept[time])) * noise) / math.sqrt(float(kept[time]))
        return math.sqrt(float(kept[to])) * picture + math.sqrt(1 - float(kept[to])) * noise

    found = step_errors(model, pictures, time=20, stride=10)
    for row, x in enumerate(pictures):
        there = moved(moved(x, 0, 10), 10, 20)
        back = moved(moved(there, 20, 30), 30, 20)
        assert found[row] == pytest.approx(float((back - there).square().mean()), rel=2e-3)


def signals(schedule):
    draws = Draws.make(schedule, (3, 4, 4), 3, 0)
    return [
        partial(denoising_losses, draws=draws),
        partial(proximal_errors, time=30),
        partial(step_errors, time=20),
    ]


def test_errors_depend_on_neither_order_nor_company_nor_batch(tiny, normal_pictures):
    (model, _), pictures = tiny(), normal_pictures(7, 0)
    order = torch.randperm(7, generator=torch.Generator().manual_seed(0))
    for signal in signals(model.schedule):
        whole = signal(model, pictures)
        assert np.allclose(signal(model, pictures[order]), whole[order.numpy()], rtol=1e-4)
        assert np.allclose(signal(model, pictures[2:3]), whole[2:3], rtol=1e-4)
        assert np.allclose(signal(model, pictures, batch=1), whole, rtol=1e-4)
        assert np.array_equal(signal(model, pictures), whole), "the same twice"


def test_a_model_in_half_precision_is_asked_in_it_and_read_in_more(tiny, normal_pictures):
    (model, _), pictures = tiny(), normal_pictures(4, 0)
    seen = set()

    def halved(noisy, time):
        seen.add(noisy.dtype)
        return model.predict(noisy.float(), time).half()

    for signal in signals(model.schedule):
        found = signal(Denoiser(halved, model.schedule), pictures.half())
        assert found.dtype == np.float64
        assert np.allclose(found, signal(model, pictures), rtol=0.05, atol=2e-3)
    assert seen == {torch.float16}


def test_a_model_that_breaks_down_is_named_with_the_picture(tiny, normal_pictures):
    (model, _), pictures = tiny(), normal_pictures(4, 0)

    def broken(noisy, time):
        told = model.predict(noisy, time)
        told[-1] = math.nan
        return told

    for signal in signals(model.schedule):
        with pytest.raises(AttackError, match="picture 3 is not finite"):
            signal(Denoiser(broken, model.schedule), pictures)


def test_a_constant_picture_is_one_like_any_other(tiny):
    model, _ = tiny()
    for signal in signals(model.schedule):
        found = signal(model, torch.zeros(2, 3, 4, 4))
        assert np.isfinite(found).all()
        assert np.array_equal(found[0], found[1])


def test_what_does_not_fit_is_refused(tiny, normal_pictures):
    (model, _), pictures = tiny(), normal_pictures(2, 0)
    with pytest.raises(AttackError, match="draws are for pictures"):
        denoising_losses(model, pictures, Draws.make(model.schedule, (3, 8, 8), 1, 0))
    for time, stride in ((25, 10), (90, 10), (100, 50)):
        with pytest.raises(AttackError, match="multiple of the stride"):
            step_errors(model, pictures, time, stride)
