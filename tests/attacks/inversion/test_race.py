"""A race goes to the attack that fits the net, keeps to its seconds, and says when it failed."""

import time
from dataclasses import replace

import pytest
import torch
from torch import nn

from attacks.evaluation import reconstruction
from attacks.inversion.optimisation import GradientInversion, bottleneck_inversion, inverting_gradients
from attacks.inversion.race import InversionRace, strong_inversion
from attacks.metrics import psnr
from attacks.results import Budget, Evidence, Truth

TARGET = torch.tensor([3])


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def net(activation):
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 24, 3, 2, 1), activation(), nn.Conv2d(24, 24, 3, 2, 1), activation()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(384, 10))


@pytest.fixture
def seen_by(observe, smooth_pictures):
    """A picture, and what the platform sees of one step on it."""

    def build(activation):
        truth = smooth_pictures(1)
        return truth, replace(observe(net(activation), truth, TARGET), targets=TARGET)

    return build


def reference(model, seen, steps, seed):
    """Cosine and total variation by signed Adam, with torch's own optimiser: knows nothing of `attacks`."""
    weights = list(model.parameters())
    wanted = torch.cat([-seen.updates[0][name].flatten() for name, _ in model.named_parameters()])
    start = torch.Generator().manual_seed(seed)
    x = torch.rand(1, *seen.picture_shape, generator=start).requires_grad_(True)
    optimiser = torch.optim.Adam([x], lr=0.05)
    cuts = [steps * k // 8 for k in (3, 5, 7)]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, cuts, 0.1)
    for _ in range(steps):
        loss = nn.functional.cross_entropy(model(x), TARGET)
        found = torch.autograd.grad(loss, weights, create_graph=True)
        apart = 1 - torch.cosine_similarity(torch.cat([g.flatten() for g in found]), wanted, dim=0)
        rough = x.diff(dim=2).abs().mean() + x.diff(dim=3).abs().mean()
        x.grad = torch.autograd.grad(apart + 0.01 * rough, x)[0].sign()
        optimiser.step()
        schedule.step()
        with torch.no_grad():
            x.clamp_(0, 1)
    return x.detach()


@pytest.mark.long
@pytest.mark.parametrize("activation", [nn.ReLU, nn.GELU], ids=["relu", "gelu"])
def test_it_is_near_the_best_alone_and_not_below_an_independent_attack(activation, seen_by):
    """Equal steps. L-BFGS alone loses on ReLU, signed Adam alone on GELU."""
    truth, seen = seen_by(activation)
    race = strong_inversion(public=False)
    steps = 300
    alone = [psnr(one.run(seen, Budget(steps), 0).pictures, truth).item() for one in race.contenders]
    found = psnr(race.run(seen, Budget(steps), 0).pictures, truth).item()
    assert abs(alone[0] - alone[1]) > 2
    assert (alone[0] > alone[1]) == (activation is nn.GELU)
    assert found > max(alone) - 1
    assert found >= psnr(reference(seen.model, seen, steps, 0), truth).item()


def test_the_distance_is_one_for_all_and_the_nearest_wins(seen_by):
    """A contender that cannot move loses to one that can, wherever it stands in the list."""
    _, seen = seen_by(nn.GELU)
    stuck = replace(inverting_gradients(1e3), name="stuck")
    for order in ((stuck, bottleneck_inversion(public=False)), (bottleneck_inversion(public=False), stuck)):
        found = InversionRace("race", order).run(seen, Budget(60), 0)
        assert found.notes[0].startswith("bottleneck and L-BFGS came nearest")
        assert found.others == ("stuck",)
        assert found.attack == "race"


def test_steps_are_shared_and_none_is_lost(seen_by):
    _, seen = seen_by(nn.ReLU)
    told = []
    race = replace(strong_inversion(public=False), decisive=1e9, progress=lambda *what: told.append(what[:2]))
    race.run(seen, Budget(50), 0)
    assert told == [(step, 50) for step in range(1, 51)]


class _Fixed:
    """A canvas with one picture, whatever the point: nothing leads on from there."""

    def __init__(self, picture):
        self._picture = picture

    def start(self, shape, draws):
        return torch.zeros(2)

    def pictures(self, point, shape):
        return self._picture + 0 * point.sum()


def test_what_a_stuck_contender_leaves_goes_to_the_next(seen_by):
    """One that is near the truth and cannot move is nearest after the heat; the other has what is left."""
    truth, seen = seen_by(nn.GELU)
    near = (truth + 0.06 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)
    stuck = GradientInversion("stuck", canvas=_Fixed(near))
    race = InversionRace("race", (stuck, bottleneck_inversion(public=False)), heats=(0.05,))
    after_heat, told = race.run(seen, Budget(5), 0), []
    assert after_heat.notes[0].startswith("stuck came nearest")
    found = replace(race, progress=lambda step, of, left: told.append(step)).run(seen, Budget(200), 0)
    assert found.notes[0].startswith("bottleneck and L-BFGS came nearest")
    assert found.others == ("stuck",)
    # One step told the stuck one that it is stuck, and no step was lost.
    assert len(found.history) == 199
    assert told == list(range(1, 201))


def test_a_budget_of_seconds_plans_the_steps_and_is_kept(seen_by):
    """CPU seconds of this thread, so that other programs do not matter. Three times the second that was asked
    for is far from the 111 of 15 that a race without planning took."""
    _, seen = seen_by(nn.ReLU)
    started = time.thread_time()
    found = strong_inversion(public=False).run(seen, Budget(10**6, seconds=1.0), 0)
    assert time.thread_time() - started < 3
    assert 20 < len(found.history) < 10**5


def test_a_figure_of_an_attack_that_failed_says_so_and_names_the_other():
    truth = Truth(torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)))
    nothing = Evidence("a", 0.5, False, pictures=torch.zeros(1, 3, 16, 16), others=("b", "c"))
    said = reconstruction(nothing, truth).method
    assert "the attack failed, not the defence held: try b or c" in said
    for better in (replace(nothing, converged=True), replace(nothing, pictures=truth.pictures)):
        assert "failed" not in reconstruction(better, truth).method


def test_with_too_few_steps_for_a_race_the_first_runs_alone(seen_by):
    _, seen = seen_by(nn.ReLU)
    race = strong_inversion(public=False)
    few, alone = (one.run(seen, Budget(4), 0) for one in (race, race.contenders[0]))
    assert torch.equal(few.pictures, alone.pictures)
    assert few.notes[0] == "too few steps for a race: bottleneck and L-BFGS alone"
    assert few.others == ("plain cosine and signed Adam",)
    assert race.run(seen, Budget(5), 0).notes[0] != few.notes[0]


def test_settings_reach_every_contender():
    race = strong_inversion(public=False).each(survivors=3)
    assert [one.survivors for one in race.contenders] == [3, 3]
