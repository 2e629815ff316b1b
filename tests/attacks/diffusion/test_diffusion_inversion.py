"""Gradients by hand, pictures out of them, and candidates told apart until noise of DP's size is on them."""

import numpy as np
import pytest
import torch

from attacks.diffusion.candidates import explaining
from attacks.diffusion.draws import Draws
from attacks.diffusion.gradients import DiffusionGradient
from attacks.diffusion.inversion import DiffusionInversion
from attacks.diffusion.model import Denoiser
from attacks.errors import AttackError
from attacks.evaluation import reconstruction
from attacks.identification import identification_rate, rank_of_target
from attacks.inversion.restarts import Descent
from attacks.metrics import psnr
from attacks.results import Budget, Truth


@pytest.fixture
def step(tiny):
    def build(kind="v_prediction") -> DiffusionGradient:
        return DiffusionGradient(*tiny(kind))

    return build


@pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction"])
def test_the_gradient_is_that_of_torch_on_one_draw_at_a_time(step, normal_pictures, kind):
    made, pictures = step(kind), normal_pictures(2, 0)
    schedule, draws = made.model.schedule, Draws.make(made.model.schedule, (3, 4, 4), 3, 0)
    total = torch.zeros(sum(made.sizes))
    for x in pictures:
        for time, noise in zip(draws.times, draws.noises, strict=True):
            at = time[None]
            told = made.model.predict(schedule.noised(x[None], noise[None], at).float(), at)
            loss = (told - schedule.wanted(x[None], noise[None], at)).square().mean() / 6
            total += torch.cat([g.flatten() for g in torch.autograd.grad(loss, made.parameters)])
    found = made.under(draws)(pictures)
    assert torch.allclose(found, total, atol=1e-6)
    assert not found.requires_grad, "only where pictures are searched for"
    assert not any(p.grad is not None for p in made.parameters)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_with_known_draws_the_picture_comes_back(step, smooth_pictures, kind):
    made, truth = step(kind), smooth_pictures(1, side=8)
    known = made.under(Draws.make(made.model.schedule, (3, 8, 8), 2, 7))
    attack = DiffusionInversion(sizes=made.sizes, power=0.5)
    found = attack.known(known(2 * truth - 1), known, (1, 3, 8, 8), Budget(steps=60), seed=0)
    result = reconstruction(found, Truth(pictures=truth), {"grey": torch.full_like(truth, 0.5)})
    assert result.value >= 30
    assert result.baseline < 16


def test_a_clipped_gradient_is_no_shelter_from_the_cosine(step, smooth_pictures):
    made, truth = step(), smooth_pictures(1, side=8)
    known = made.under(Draws.make(made.model.schedule, (3, 8, 8), 2, 7))
    gradient = known(2 * truth - 1)
    attack = DiffusionInversion(distance="cosine", sizes=made.sizes, power=0.5)
    found = attack.known(gradient / (3 * gradient.norm()), known, (1, 3, 8, 8), Budget(steps=80), seed=0)
    assert psnr(found.pictures, truth).item() >= 20


def test_two_pictures_come_back_at_once(step, smooth_pictures):
    made, truth = step(), smooth_pictures(2, side=8)
    draws = Draws.make(made.model.schedule, (3, 8, 8), 4, 7)
    noises, times = draws.noises.view(2, 2, 3, 8, 8), draws.times.view(2, 2)

    def known(x):
        return made.at(x, noises, times)

    attack = DiffusionInversion(sizes=made.sizes, power=0.5)
    found = attack.known(known(2 * truth - 1), known, (2, 3, 8, 8), Budget(steps=100), seed=0)
    assert reconstruction(found, Truth(pictures=truth)).value >= 20


def unknown(step, truth, budget, **how):
    made = step("epsilon")
    gradient = made.under(Draws.make(made.model.schedule, (3, 8, 8), 1, 7))(2 * truth - 1)
    attack = DiffusionInversion(sizes=made.sizes, power=0.5, smoothness=1e-2, **how)
    return attack.unknown(gradient, made.at, (1, 3, 8, 8), 1, 100, budget, seed=0)


@pytest.mark.slow
def test_with_unknown_draws_part_of_it_comes_back(step, smooth_pictures):
    """Picture, noise and time together: beyond grey by 5 dB, far from what known draws give."""
    truth = smooth_pictures(1, side=8)
    found = unknown(step, truth, Budget(steps=150, restarts=8))
    assert psnr(found.pictures, truth).item() > psnr(torch.full_like(truth, 0.5), truth).item() + 5


@pytest.mark.parametrize("relax_times", [False, True])
def test_a_search_that_was_cut_short_says_so_and_is_one_for_a_seed(step, smooth_pictures, relax_times):
    truth = smooth_pictures(1, side=8)
    found, same = (unknown(step, truth, Budget(12, 2), relax_times=relax_times) for _ in "12")
    assert torch.equal(found.pictures, same.pictures)
    assert found.history[-1] < found.history[0]
    assert not found.converged
    assert any("not converged" in note for note in found.notes)


def test_times_that_are_not_relaxed_reach_the_network_whole_and_cover_the_schedule(step):
    made, seen = step(), set()

    def gradient_at(pictures, noises, times):
        assert times.dtype == torch.int64
        seen.add(int(times) // 25)
        return made.at(pictures, noises, times)

    gradient = made.under(Draws.make(made.model.schedule, (3, 8, 8), 1, 0))(torch.zeros(1, 3, 8, 8))
    attack = DiffusionInversion(descent=Descent("adam"))
    attack.unknown(gradient, gradient_at, (1, 3, 8, 8), 1, 100, Budget(steps=1, restarts=4), seed=0)
    assert seen == {0, 1, 2, 3}


def ranks_under_noise(made, candidates, deviations):
    """Of every candidate in turn, five times each: known draws, clipped to 1, noise on every number."""
    known = made.under(Draws.make(made.model.schedule, (3, 8, 8), 1, 0))
    gradients = {one.numpy().tobytes(): known(one[None]) for one in candidates}
    units = [gradient / gradient.norm() for gradient in gradients.values()]
    draws, found = torch.Generator().manual_seed(0), {}
    for deviation in deviations:
        ranks = []
        for target, unit in list(enumerate(units)) * 5:
            seen = unit + deviation * torch.randn(unit.shape, generator=draws)
            scores = explaining(seen, candidates, lambda x: gradients[x.numpy().tobytes()])
            ranks.append(rank_of_target(scores, target))
        found[deviation] = np.array(ranks)
    return found


def test_pictures_are_named_among_a_hundred_where_nothing_is_defended(step, smooth_pictures):
    """Times and noises of each trial are its own; ten trials."""
    made, candidates, ranks = step(), 2 * smooth_pictures(100, side=8) - 1, []
    for target in range(10):
        known = made.under(Draws.make(made.model.schedule, (3, 8, 8), 1, 100 + target))
        ranks.append(rank_of_target(explaining(known(candidates[target, None]), candidates, known), target))
    found = identification_rate("a", np.array(ranks), 100)
    assert found.value == 1.0
    assert found.low > 50 * found.baseline


def test_noise_brings_that_down_to_chance(step, smooth_pictures):
    """A noise multiplier of 1 leaves something of a single picture; one of 100 leaves nothing.

    100 trials among 20: 95 % intervals, of which the last must hold the chance of 5 %.
    """
    found = ranks_under_noise(step(), 2 * smooth_pictures(20, side=8) - 1, (0.0, 1.0, 100.0))
    rates = [identification_rate("a", ranks, 20) for ranks in found.values()]
    assert [rate.value for rate in rates] == sorted((rate.value for rate in rates), reverse=True)
    assert rates[0].value == 1.0
    assert rates[1].value < 0.5
    assert rates[2].low <= 0.05 <= rates[2].high


def test_own_draws_stand_for_unknown_ones(step, smooth_pictures):
    """The victim took the mean over 16; the adversary's 16 are others. 5 targets among 30."""
    made, candidates = step(), 2 * smooth_pictures(30, side=8) - 1
    own, ranks = made.under(Draws.make(made.model.schedule, (3, 8, 8), 16, 5)), []
    for target in range(5):
        victim = made.under(Draws.make(made.model.schedule, (3, 8, 8), 16, 100 + target))
        ranks.append(
            rank_of_target(explaining(victim(candidates[target : target + 1]), candidates, own), target)
        )
    assert sum(rank == 1 for rank in ranks) >= 4


def test_scores_do_not_depend_on_the_order_of_candidates(step, smooth_pictures):
    made, candidates = step(), 2 * smooth_pictures(6, side=8) - 1
    known = made.under(Draws.make(made.model.schedule, (3, 8, 8), 2, 0))
    observed, order = known(candidates[:1]), torch.tensor([3, 0, 5, 1, 2, 4])
    scores = explaining(observed, candidates, known)
    assert torch.allclose(explaining(observed, candidates[order], known), scores[order], atol=1e-6)


def test_doubles_identify_nobody(step, smooth_pictures):
    made, candidates = step(), 2 * smooth_pictures(3, side=8) - 1
    known = made.under(Draws.make(made.model.schedule, (3, 8, 8), 2, 0))
    twice = torch.cat([candidates, candidates[:1]])
    assert rank_of_target(explaining(known(candidates[:1]), twice, known), 0) == 2


def test_parameters_in_half_precision_or_without_use_are_no_obstacle(tiny, normal_pictures):
    model, parameters = tiny()
    unused = torch.zeros(3, requires_grad=True)
    made = DiffusionGradient(model, (*parameters, unused))
    draws = Draws.make(model.schedule, (3, 4, 4), 1, 0)
    assert made.under(draws)(normal_pictures(1, 0))[-3:].tolist() == [0, 0, 0]
    scale = torch.ones(1, dtype=torch.float16, requires_grad=True)
    half = DiffusionGradient(Denoiser(lambda x, t: scale * x.half(), model.schedule), (scale,))
    known, pictures = half.under(draws), normal_pictures(3, 0).half()
    seen = known(pictures[:1])
    assert seen.dtype == torch.float16
    distances = explaining(seen, pictures, known, "euclidean")
    assert distances.argmax() == 0
    found = DiffusionInversion().known(seen, lambda x: known(x), (1, 3, 4, 4), Budget(steps=3), 0)
    assert found.pictures.dtype == torch.float32


def test_what_makes_no_gradient_is_refused(step, tiny, normal_pictures):
    made, x = step(), normal_pictures(2, 0)
    known = made.under(Draws.make(made.model.schedule, (3, 4, 4), 1, 0))
    with pytest.raises(AttackError, match="require a gradient"):
        DiffusionGradient(made.model, ())
    silent = Denoiser(lambda noisy, time: noisy, made.model.schedule)
    loose = DiffusionGradient(silent, (torch.zeros(1, requires_grad=True),))
    with pytest.raises(AttackError, match="does not depend"):
        loose.at(x, torch.zeros(2, 1, 3, 4, 4), torch.zeros(2, 1, dtype=torch.int64))
    with pytest.raises(AttackError, match="pictures, noises and times"):
        made.at(x, torch.zeros(2, 1, 3, 8, 8), torch.zeros(2, 1, dtype=torch.int64))
    with pytest.raises(AttackError, match="two or more"):
        explaining(known(x), x[:1], known)
    with pytest.raises(AttackError, match="observed gradient"):
        explaining(known(x) / 0, x, known)
    with pytest.raises(AttackError, match="observed is"):
        explaining(known(x)[1:], x, known)
    with pytest.raises(AttackError, match="zero in every tensor"):
        explaining(0 * known(x), x, known)
    with pytest.raises(AttackError, match="candidate's gradient"):
        explaining(known(x), x, lambda one: known(one) / 0)


def test_what_cannot_be_searched_for_is_refused(step, normal_pictures):
    made = step()
    known, attack = made.under(Draws.make(made.model.schedule, (3, 4, 4), 1, 0)), DiffusionInversion()
    observed = known(normal_pictures(1, 0))
    with pytest.raises(AttackError, match="shape"):
        attack.known(observed, known, (3, 4, 4), Budget(), 0)
    with pytest.raises(AttackError, match="finite"):
        attack.known(observed / 0, known, (1, 3, 4, 4), Budget(), 0)
    with pytest.raises(AttackError, match="zero in every tensor"):
        attack.known(0 * observed, known, (1, 3, 4, 4), Budget(), 0)
    with pytest.raises(AttackError, match="what was observed"):
        attack.known(observed[:-1], known, (1, 3, 4, 4), Budget(), 0)
    with pytest.raises(AttackError, match="sizes add up"):
        DiffusionInversion(sizes=[3]).known(observed, known, (1, 3, 4, 4), Budget(), 0)
    with pytest.raises(AttackError, match="no start"):
        attack.known(observed, lambda x: known(x) * float("nan"), (1, 3, 4, 4), Budget(), 0)
    with pytest.raises(AttackError, match="low"):
        DiffusionInversion(low=1.0, high=0.0)
    with pytest.raises(AttackError, match="distance"):
        DiffusionInversion(distance="likelihood")
