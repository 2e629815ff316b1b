"""The two closed forms against each other, against loops, and against their own expected loss."""

import math

import pytest
import torch

from attacks.diffusion.draws import Draws
from attacks.diffusion.ideal import memoriser, normal_law
from attacks.diffusion.signals import denoising_losses
from attacks.errors import AttackError


@pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction"])
def test_a_memoriser_tells_the_posterior_mean_of_a_loop_over_works(schedule, normal_pictures, kind):
    works, noisy, plan = normal_pictures(5, 0).double(), normal_pictures(3, 1).double(), schedule(kind)
    time = torch.tensor([5, 50, 95])
    model = memoriser(works, plan)
    pictures = plan.picture(model.told(noisy, time), noisy, time)
    for b in range(3):
        keep, add = (float(part[b]) for part in plan.parts(time))
        logs = [-float((noisy[b] - keep * work).square().sum()) / (2 * add**2) for work in works]
        shares = [math.exp(one - max(logs)) for one in logs]
        mean = sum(share * work for share, work in zip(shares, works, strict=True)) / sum(shares)
        assert torch.allclose(pictures[b], mean, atol=1e-8)


def test_one_blurred_work_is_a_normal_law(schedule, normal_pictures):
    work, noisy, time = normal_pictures(1, 0), normal_pictures(4, 1), torch.tensor([1, 30, 60, 99])
    blurred = memoriser(work, schedule(), bandwidth=0.7)
    law = normal_law(work[0], 0.49 * torch.eye(48), schedule())
    assert torch.allclose(blurred.told(noisy, time), law.told(noisy, time), atol=1e-5)


def test_no_model_beats_the_normal_law_by_more_than_it_should(schedule):
    """Its expected squared error of the picture at each time is the mean of l s^2 / (a^2 l + s^2) over axes.

    4,000 pictures of 12 pixels: four standard errors of the mean are under 5 %.
    """
    draws = torch.Generator().manual_seed(0)
    spread = torch.linspace(0.1, 2, 12).double()
    axes = torch.linalg.qr(torch.randn(12, 12, generator=draws).double())[0]
    pictures = torch.randn(4000, 12, generator=draws).double() * spread.sqrt() @ axes.T
    plan = schedule("sample")
    law = normal_law(torch.zeros(3, 2, 2), axes * spread @ axes.T, plan)
    # Each picture with a noise of its own: a thousand draws would be as good, and slower.
    for time in (10, 50, 90):
        at, noise = torch.full((4000,), time), torch.randn(4000, 3, 2, 2, generator=draws).double()
        noisy = plan.noised(pictures.view(-1, 3, 2, 2), noise, at)
        error = float((law.told(noisy, at).flatten(1) - pictures).square().mean())
        keep, add = (float(part[0]) for part in plan.parts(at))
        expected = float((spread * add**2 / (keep**2 * spread + add**2)).mean())
        assert error == pytest.approx(expected, rel=0.05)


def test_a_memoriser_has_next_to_no_loss_on_its_works_and_much_on_others(schedule, normal_pictures):
    works, plan = normal_pictures(20, 0), schedule()
    losses = denoising_losses(
        memoriser(works[:10], plan), works, Draws.make(plan, (3, 4, 4), 4, 0, (0.1, 0.5))
    )
    assert losses[:10].max() < 1e-3 < 0.1 < losses[10:].min()


def test_what_is_no_law_is_refused(schedule):
    mean = torch.zeros(1, 2, 2)
    with pytest.raises(AttackError, match="covariance"):
        normal_law(mean, torch.eye(3), schedule())
    with pytest.raises(AttackError, match="symmetric"):
        normal_law(mean, -torch.eye(4), schedule())
    with pytest.raises(AttackError, match="symmetric"):
        normal_law(mean, torch.eye(4).roll(1, 0), schedule())
