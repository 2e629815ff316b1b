"""Gradient inversion by optimisation: it wins where nothing is defended, and says how it ended."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from attacks.baselines import prior_only
from attacks.errors import AttackError
from attacks.inversion.optimisation import (
    GradientInversion,
    adaptive_inversion,
    bottleneck_inversion,
    deep_leakage,
    improved_deep_leakage,
    inverting_gradients,
)
from attacks.inversion.priors import DeepImage, PublicSpectrum
from attacks.inversion.race import strong_inversion
from attacks.inversion.restarts import Descent
from attacks.matching import arranged
from attacks.metrics import mean_square, psnr
from attacks.observation import Capability, LocalTraining, Normalisation, Observation
from attacks.replay import simulate
from attacks.results import Budget, generator
from fedstyle_secure.systems.style.cnn import CnnEncoder
from fedstyle_secure.systems.style.losses import PrototypeContrast

ONE = torch.tensor([3])


@pytest.fixture(autouse=True)
def _one_thread():
    """Many small steps: threads that wait for each other cost more than they do."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def watch(observe):
    """What the platform sees, with the targets known."""

    def build(model, pictures, targets, **settings):
        return replace(observe(model, pictures, targets, **settings), targets=targets)

    return build


def constant(truths):
    return truths.mean((2, 3), keepdim=True).expand_as(truths)


def wide(convnet):
    """Enough gradients for every pixel, without a prior."""
    model = convnet()
    model[0], model[2], model[5] = nn.Conv2d(3, 24, 3, 2, 1), nn.Conv2d(24, 24, 3, 2, 1), nn.Linear(384, 10)
    return model


def quality(evidence, truths):
    """PSNR of each picture after matching."""
    return psnr(arranged(evidence.pictures, truths, mean_square), truths)


METHODS = {
    "Inverting Gradients": (inverting_gradients(smoothness=1e-3), 600),
    "DLG": (deep_leakage(10), 400),
    "iDLG": (improved_deep_leakage(), 400),
    "strong": (strong_inversion(public=False), 200),
}


@pytest.mark.long
@pytest.mark.parametrize("name", METHODS)
def test_an_undefended_picture_comes_back(name, convnet, watch, smooth_pictures):
    """At least 24 dB and 8 dB above the truth's own mean colour. DLG and iDLG do not know the label."""
    attack, steps = METHODS[name]
    truth = smooth_pictures(1)
    seen = watch(wide(convnet) if "DLG" in name else convnet(), truth, ONE)
    if "DLG" in name:
        seen = replace(seen, targets=None)
    evidence = attack.run(seen, Budget(steps=steps), 0)
    assert quality(evidence, truth).item() > max(24, psnr(constant(truth), truth).item() + 8)


def test_a_deep_image_finds_the_picture_too(convnet, watch, smooth_pictures):
    truth = smooth_pictures(1)
    seen = watch(convnet(), truth, ONE)
    canvas, descent = DeepImage(width=16, doublings=2), Descent("adam", 0.01)
    attack = GradientInversion("deep image", power=1.0, canvas=canvas, descent=descent)
    evidence = attack.run(seen, Budget(steps=300), 0)
    assert quality(evidence, truth).item() > psnr(constant(truth), truth).item() + 5


def test_the_truth_has_an_objective_of_zero(convnet, watch, smooth_pictures):
    """Else the attack would optimise another thing than it observed."""
    truth = smooth_pictures(4)
    for settings in ({}, {"steps": 2, "batch_size": 2, "momentum": 0.9}, {"clip_norm": 0.1}):
        seen = watch(convnet(), truth, torch.arange(4), **settings)
        for kind in ("cosine", "euclidean"):
            attack = GradientInversion("exact", distance=kind, canvas=_At(truth), descent=Descent(rate=1e-9))
            assert attack.run(seen, Budget(), 0).objective < 1e-8


class _At:
    """A canvas that starts at given pictures."""

    def __init__(self, pictures):
        self._pictures = pictures

    def start(self, shape, draws):
        return self._pictures.flatten().clone()

    def pictures(self, point, shape):
        return point.view(shape)


@pytest.mark.long
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"steps": 2, "batch_size": 2, "learning_rate": 0.5},
        {"steps": 3, "epochs": 3, "momentum": 0.9, "learning_rate": 0.5},
        {"clip_norm": 0.05},
        {"reduction": "sum"},
    ],
    ids=["batch", "two steps", "three epochs", "clip", "sum"],
)
def test_a_batch_comes_back_through_what_the_client_did(settings, convnet, watch, smooth_pictures):
    """Four pictures; each at least 5 dB above the truth's own mean colour after matching."""
    truth, targets = smooth_pictures(4), torch.tensor([1, 4, 6, 9])
    seen = watch(wide(convnet), truth, targets, **settings)
    evidence = strong_inversion(public=False).run(seen, Budget(steps=250), 0)
    gained = quality(evidence, truth) - psnr(constant(truth), truth)
    assert gained.min().item() > 5


def test_a_clip_that_the_attack_does_not_know_of_costs_it_dearly(convnet, watch, smooth_pictures):
    """So that simulating it is what makes the attack adaptive: pictures' gradients differ in length."""
    truth, targets = smooth_pictures(4), torch.tensor([1, 4, 6, 9])
    truth[0] = 0.5 + 0.05 * (truth[0] - 0.5)
    seen = watch(convnet(), truth, targets, clip_norm=0.5)
    attack = replace(bottleneck_inversion(public=False), distance="euclidean", canvas=_At(truth))
    naive = replace(seen, training=replace(seen.training, clip_norm=None))
    start = replace(attack, descent=Descent(rate=1e-9), smoothness=0.0, anneal=(1.0,), priors=())
    assert start.run(seen, Budget(), 0).objective < 1e-8
    assert start.run(naive, Budget(), 0).objective > 1e-3


@pytest.mark.long
def test_the_encoder_with_norms_pooling_and_no_classes_gives_its_picture_away(smooth_pictures):
    """The project's own encoder and loss: at least 2.5 dB above the best baseline, and named among 50."""
    torch.manual_seed(0)
    encoder = CnnEncoder(16, "all").eval()
    anchors = nn.functional.normalize(torch.randn(6, 16), dim=1)
    loss = PrototypeContrast(lambda: anchors, 0.1, 0.1)
    candidates, public = smooth_pictures(50, side=32, seed=1), smooth_pictures(60, side=32, seed=2)
    truth = candidates[:1]
    seen = observation_of(encoder, loss, truth, torch.tensor([[2, -1]]), public)
    attack = strong_inversion()
    found = attack.run(seen, Budget(steps=250), 0).pictures
    blind = prior_only(attack, seen, Budget(steps=60), 0).pictures
    rivals = [psnr(x, truth).item() for x in (constant(truth), public.mean(0, keepdim=True), blind)]
    assert psnr(found, truth).item() > max(rivals) + 2.5
    distances = mean_square(found.expand_as(candidates), candidates)
    assert distances.argmin() == 0


def test_an_unknown_style_is_inferred_and_costs_nothing_behind_a_bottleneck(smooth_pictures):
    """Bit by bit the same pictures as with the target: what is before the projection needs none."""
    torch.manual_seed(0)
    encoder = CnnEncoder(16, "all").eval()
    anchors = nn.functional.normalize(torch.randn(6, 16), dim=1)
    loss = PrototypeContrast(lambda: anchors, 0.1, 0.1)
    public = smooth_pictures(20, side=32, seed=2)
    known = observation_of(
        encoder, loss, smooth_pictures(1, side=32, seed=1), torch.tensor([[2, -1]]), public
    )
    choices = torch.stack([torch.arange(6), torch.full((6,), -1)], dim=1)
    told = bottleneck_inversion().run(known, Budget(4), 0)
    guessed = replace(bottleneck_inversion(), choices=choices).run(replace(known, targets=None), Budget(4), 0)
    assert torch.equal(told.pictures, guessed.pictures)
    assert any("inferred" in note for note in guessed.notes)


def observation_of(model, loss, pictures, targets, public, **settings):
    """What the platform sees of one plain step, by the plain replay."""
    training = LocalTraining(0.5, batch_size=len(pictures), mode="eval", **settings)
    blank = {name: torch.ones_like(p) for name, p in model.named_parameters()}
    seen = Observation(
        model=model, weights=model.state_dict(), picture_shape=tuple(pictures.shape[1:]), updates=(blank,),
        training=training, loss=loss, normalisation=Normalisation((0.5,) * 3, (0.5,) * 3),
        targets=targets, public_pictures=public,
    )  # fmt: skip
    return replace(seen, updates=(simulate(seen, pictures, targets),))


def test_the_same_seed_gives_the_same_pictures_and_another_seed_others(convnet, watch, smooth_pictures):
    seen = watch(convnet(), smooth_pictures(1), ONE)
    a, b, c = (strong_inversion(public=False).run(seen, Budget(6, 2), seed) for seed in (1, 1, 2))
    assert torch.equal(a.pictures, b.pictures)
    assert a.objective == b.objective
    assert not torch.equal(a.pictures, c.pictures)


def test_erasing_the_truth_after_the_update_changes_nothing(convnet, watch, smooth_pictures):
    truth = smooth_pictures(1)
    seen = watch(convnet(), truth, ONE)
    before = inverting_gradients().run(seen, Budget(20, 3), 0)
    truth.zero_()
    after = inverting_gradients().run(seen, Budget(20, 3), 0)
    assert torch.equal(before.pictures, after.pictures)


@pytest.mark.parametrize("method", ["signed-adam", "adam", "lbfgs"])
def test_restarts_together_end_where_they_end_alone(method, convnet, watch, smooth_pictures):
    """Each restart as if it ran by itself: the same objectives to 1e-4, and the same best one."""
    seen = watch(convnet(), smooth_pictures(1), ONE)
    attack = replace(inverting_gradients(), descent=Descent(method, 0.05, box=(0.0, 1.0)))
    together = attack.run(seen, Budget(25, 5), 0)
    alone = [
        replace(attack, canvas=_At(start)).run(seen, Budget(25), 0).objective
        for start in _starts(attack, seen, 5)
    ]
    torch.testing.assert_close(-together.scores, torch.tensor(alone), rtol=0, atol=1e-4)
    assert together.objective == pytest.approx(min(alone), abs=1e-4)


def _starts(attack, seen, restarts):
    draws = generator(0)
    return [attack.canvas.start((1, *seen.picture_shape), draws) for _ in range(restarts)]


def test_a_valley_too_narrow_for_the_first_move_is_still_gone_down():
    """A stage begins without a history, and the way down may be a ten-thousandth of the usual first move."""

    def valley(points):
        return 5e8 * points[:, 0].square() + points[:, 1].square()

    found = Descent().minimise(valley, torch.tensor([[1e-6, 1.0]]), Budget(60))
    assert found.values.item() < 1e-6


def test_more_restarts_are_never_worse(convnet, watch, smooth_pictures):
    seen = watch(convnet(), smooth_pictures(1), ONE)
    one, four = (inverting_gradients().run(seen, Budget(30, r), 0).objective for r in (1, 4))
    assert four <= one + 1e-6


@pytest.mark.long
def test_too_few_steps_are_not_called_converged(convnet, watch, smooth_pictures):
    seen = watch(convnet(), smooth_pictures(1), ONE)
    attack = strong_inversion(public=False)
    early = attack.run(seen, Budget(6), 0)
    assert not early.converged
    assert any("not converged" in note for note in early.notes)
    assert attack.run(seen, Budget(400), 0).converged


def test_rest_far_from_the_update_is_not_called_converged(convnet, watch, smooth_pictures):
    """A prior so strong that the picture stays flat: the run rests, and has not found what was there."""
    seen = watch(convnet(), smooth_pictures(1), ONE)
    evidence = inverting_gradients(smoothness=100.0).run(seen, Budget(200), 0)
    assert not evidence.converged
    assert any("not converged" in note for note in evidence.notes)


def test_history_falls_and_progress_counts_to_the_end(convnet, watch, smooth_pictures):
    told = []
    seen = watch(convnet(), smooth_pictures(1), ONE)
    attack = replace(strong_inversion(public=False), progress=lambda *what: told.append(what))
    evidence = attack.run(seen, Budget(9), 0)
    assert [step for step, _, _ in told] == list(range(1, 10))
    assert {steps for _, steps, _ in told} == {9}
    assert told[-1][2] == 0
    assert all(left > 0 for step, _, left in told if step < 9)
    assert all(a >= b for a, b in zip(evidence.history, evidence.history[1:4], strict=False))


def test_a_time_limit_stops_the_run_and_is_not_convergence(convnet, watch, smooth_pictures):
    seen = watch(convnet(), smooth_pictures(1), ONE)
    evidence = inverting_gradients().run(seen, Budget(10**6, seconds=1e-9), 0)
    assert len(evidence.history) == 1
    assert not evidence.converged


@pytest.mark.long
def test_noise_brings_the_attack_down_to_its_prior(convnet, watch, smooth_pictures):
    """Quality over six pictures falls with the noise and ends where the prior alone is, within 1.5 dB: the
    standard error of the difference of such means is about 0.5 dB."""
    public, truths = smooth_pictures(60, seed=9), smooth_pictures(6, seed=1)
    attack, found = adaptive_inversion(), []
    for noise in (1e-4, 3e-2, 10.0):
        values = []
        for truth in truths.split(1):
            seen = watch(convnet(), truth, ONE, public_pictures=public, clip_norm=1.0, noise_std=noise)
            values.append(quality(attack.run(seen, Budget(60), 0), truth).item())
        found.append(sum(values) / len(values))
    blind = psnr(public.mean(0).expand_as(truths), truths).mean().item()
    assert found[0] > found[1] > found[2] - 0.5
    assert found[0] > blind + 5
    assert abs(found[2] - blind) < 1.5


def test_what_an_attack_needs_and_what_is_missing_is_said(convnet, watch, smooth_pictures):
    seen = watch(convnet(), smooth_pictures(1), ONE)
    assert Capability.HAS_PUBLIC_SET in strong_inversion().requires
    assert Capability.KNOWS_DEFENCE in adaptive_inversion().requires
    with pytest.raises(AttackError, match="learns from public pictures"):
        strong_inversion().run(seen, Budget(5), 0)
    with pytest.raises(AttackError, match="noise_std is 0"):
        replace(adaptive_inversion(), learned=()).run(seen, Budget(), 0)
    with pytest.raises(AttackError, match="has 2 stages"):
        bottleneck_inversion(public=False).run(seen, Budget(1), 0)
    with pytest.raises(AttackError, match="has 2 stages"):
        strong_inversion(public=False).run(seen, Budget(1), 0)


def test_a_learned_prior_is_learned_from_the_public_set_alone(convnet, watch, smooth_pictures):
    public = smooth_pictures(30, seed=5)
    given = []

    def learn(pictures):
        given.append(pictures)
        return PublicSpectrum.learn(pictures)

    seen = watch(convnet(), smooth_pictures(1), ONE, public_pictures=public)
    GradientInversion("learned", learned=((1e-3, learn),)).run(seen, Budget(2), 0)
    assert len(given) == 1
    assert torch.equal(given[0], public)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_noise_of_several_steps_is_in_the_likelihood(momentum, convnet, watch, smooth_pictures):
    """At the truth a likelihood is half a unit a number of the update: 2,138 squares of standard normals,
    whose mean has a deviation of 3 %; 15 % is five of those."""
    truth = smooth_pictures(1)
    settings = {"steps": 4, "epochs": 4, "momentum": momentum, "noise_std": 1e-3, "learning_rate": 0.01}
    seen = watch(convnet(), truth, ONE, **settings)
    attack = replace(
        adaptive_inversion(), learned=(), priors=(), canvas=_At(truth), descent=Descent(rate=1e-9)
    )
    numbers = sum(t.numel() for t in seen.updates[0].values())
    assert attack.run(seen, Budget(), 0).objective * 768 == pytest.approx(numbers / 2, rel=0.15)


def test_a_minimum_that_explains_nothing_is_not_called_converged(convnet, watch, smooth_pictures):
    """The descent itself is at rest, as nothing moves: only the distance says that this is not the truth."""
    seen = watch(convnet(), smooth_pictures(1), ONE)
    flat = torch.full((1, 3, 16, 16), 0.5)
    attack = replace(inverting_gradients(), canvas=_At(flat), descent=Descent("adam", 1e-12))
    evidence = attack.run(seen, Budget(30), 0)
    assert not evidence.converged
    assert "at rest at" in evidence.notes[-1]
    at_truth = replace(attack, smoothness=0.0, canvas=_At(smooth_pictures(1)))
    assert at_truth.run(seen, Budget(30), 0).converged


def test_a_double_model_is_attacked_in_double(convnet, watch, smooth_pictures):
    truth = smooth_pictures(1)
    seen = watch(convnet().double(), truth.double(), ONE, public_pictures=smooth_pictures(20, seed=9))
    evidence = strong_inversion().run(seen, Budget(60, 2), 0)
    assert evidence.pictures.dtype == torch.float32
    assert quality(evidence, truth).item() > psnr(constant(truth), truth).item() + 5
