"""The replay holds for what a client really does, and names what was described wrongly."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from attacks.baselines import without_signal
from attacks.errors import AttackError
from attacks.inversion.analytic import AnalyticInversion
from attacks.metrics import psnr
from attacks.observation import Normalisation, Observation
from attacks.preflight import positive_control, replay
from attacks.results import Budget, Result

TARGETS = torch.tensor([1, 4, 7, 2])


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"reduction": "sum"},
        {"steps": 5, "epochs": 5},
        {"steps": 4, "epochs": 2, "batch_size": 2},
        {"steps": 3, "epochs": 3, "momentum": 0.9},
        {"clip_norm": 0.5},
        {"clip_norm": 0.5, "steps": 2, "epochs": 2, "reduction": "sum"},
        {"mode": "eval"},
    ],
    ids=str,
)
def test_every_supported_client_replays(settings, observe, smooth_pictures, convnet, normalisation):
    pictures = smooth_pictures(4)
    observation = observe(convnet(), pictures, TARGETS, normalisation=normalisation, **settings)
    found = replay(observation, pictures, TARGETS)
    assert found.holds
    assert found.error <= max(1e-6, found.tolerance)
    assert found.error < 1e-4
    assert found.mismatch == ""


def test_batch_norm_replays_with_its_buffers_and_the_wrong_mode_is_named(observe, smooth_pictures, convnet):
    pictures = smooth_pictures(4)
    observation = observe(convnet(norm=True), pictures, TARGETS, mode="train")
    assert any("running_mean" in name for name in observation.updates[0])
    assert replay(observation, pictures, TARGETS).holds
    wrong = replace(observation, training=replace(observation.training, mode="eval"))
    assert replay(wrong, pictures, TARGETS).mismatch == "mode: the model was in train mode"


MISMATCHES = {
    "learning rate": ({}, {"learning_rate": 0.05}, "learning rate or loss scale: 2 times"),
    "learning rate over steps": (
        {"steps": 3, "epochs": 3}, {"learning_rate": 0.17}, "learning rate or loss scale: 0.588"),
    "learning rate with clip": ({"clip_norm": 0.3}, {"learning_rate": 0.2}, "loss scale: 0.5"),
    "reduction": (
        {"reduction": "sum"}, {"reduction": "mean"}, "a sum, or learning rate or loss scale: 4 times"),
    "learning rate like a reduction": ({}, {"learning_rate": 0.025}, "a sum, or learning rate or loss"),
    "steps": ({"steps": 7, "epochs": 7}, {"steps": 1, "epochs": 1}, "steps: 7 local steps"),
    "momentum": ({"steps": 4, "epochs": 4, "momentum": 0.9}, {"momentum": 0.0}, "momentum: 0.9"),
    "clip that was not done": ({}, {"clip_norm": 0.3}, "clip_norm: nothing was clipped"),
    "clip that is not stated": (
        # Between the shortest and the longest gradient, so that it is no common factor.
        {"clip_norm": 1.12}, {"clip_norm": None}, "clip_norm: every picture's gradient was clipped to 1.12"),
    "noise": ({"noise_std": 0.01}, {"noise_std": 0.0}, "noise_std: about 0.0099"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISMATCHES)
def test_a_wrong_description_is_detected_and_named(name, observe, smooth_pictures, convnet):
    done, believed, words = MISMATCHES[name]
    pictures = smooth_pictures(4)
    observation = observe(convnet(), pictures, TARGETS, **done)
    wrong = replace(observation, training=replace(observation.training, **believed))
    found = replay(wrong, pictures, TARGETS)
    assert not found.holds
    assert words in found.mismatch


def test_the_sign_alone_and_the_sign_with_a_wrong_rate_are_named(observe, smooth_pictures, convnet):
    pictures = smooth_pictures(4)
    observation = observe(convnet(), pictures, TARGETS)
    flipped = replace(observation, updates=({n: -t for n, t in observation.updates[0].items()},))
    assert replay(flipped, pictures, TARGETS).mismatch == "sign: the update is before minus after"
    scaled = replace(observation, updates=({n: -3 * t for n, t in observation.updates[0].items()},))
    found = replay(scaled, pictures, TARGETS).mismatch
    assert "sign" in found
    assert "3" in found


def test_mirrored_pictures_and_foreign_normalisation_are_named(
    observe, smooth_pictures, convnet, normalisation
):
    pictures = smooth_pictures(4)
    some = pictures.clone()
    some[[0, 2]] = some[[0, 2]].flip(-1)
    all_flipped = observe(convnet(), pictures.flip(-1), TARGETS)
    assert "mirrored left to right" in replay(all_flipped, pictures, TARGETS).mismatch
    assert (
        "2 of 4 pictures were mirrored"
        in replay(observe(convnet(), some, TARGETS), pictures, TARGETS).mismatch
    )
    scaled = observe(convnet(), pictures, TARGETS, normalisation=Normalisation((0.5,) * 3, (0.5,) * 3))
    wrong = replace(scaled, normalisation=normalisation)
    assert replay(wrong, pictures, TARGETS).mismatch == "normalisation: inputs were pictures in [-1, 1]"


def test_a_single_picture_cannot_tell_a_clip_from_a_factor_and_both_are_named(
    observe, smooth_pictures, convnet
):
    pictures, target = smooth_pictures(1), TARGETS[:1]
    observation = observe(convnet(), pictures, target, clip_norm=0.25)
    wrong = replace(observation, training=replace(observation.training, clip_norm=None))
    found = replay(wrong, pictures, target).mismatch
    assert "learning rate or loss scale" in found
    assert "clipped to 0.25" in found


def test_adam_weight_decay_and_dropout_are_named(observe, smooth_pictures, convnet):
    pictures = smooth_pictures(4)
    observation = observe(convnet(), pictures, TARGETS)
    update, rate = observation.updates[0], observation.training.learning_rate
    adam = replace(observation, updates=({n: 0.1 * t.sign() for n, t in update.items()},))
    assert "Adam" in replay(adam, pictures, TARGETS).mismatch
    decayed = {n: t - rate * 0.01 * observation.weights[n] for n, t in update.items()}
    assert (
        replay(replace(observation, updates=(decayed,)), pictures, TARGETS).mismatch == "weight decay: 0.01"
    )
    random = observe(convnet(dropout=0.5), pictures, TARGETS)
    found = replay(random, pictures, TARGETS)
    assert not found.holds
    assert "dropout" in found.mismatch


def test_other_pictures_are_not_explained_away(observe, smooth_pictures, convnet):
    observation = observe(convnet(), smooth_pictures(4), TARGETS)
    found = replay(observation, smooth_pictures(4, seed=9), TARGETS)
    assert not found.holds
    assert found.mismatch.startswith("unknown")


def test_stated_noise_passes_and_noise_that_is_not_there_does_not(observe, smooth_pictures, convnet):
    pictures = smooth_pictures(4)
    noisy = observe(convnet(), pictures, TARGETS, clip_norm=0.5, noise_std=0.004)
    found = replay(noisy, pictures, TARGETS)
    assert found.holds
    assert found.error > 1e-3
    quiet = observe(convnet(), pictures, TARGETS, clip_norm=0.5)
    claimed = replace(quiet, training=replace(quiet.training, noise_std=0.004))
    found = replay(claimed, pictures, TARGETS)
    assert not found.holds
    assert "less noise than stated" in found.mismatch
    half = observe(convnet(), pictures, TARGETS, clip_norm=0.5, noise_std=0.0016)
    claimed = replace(half, training=replace(half.training, noise_std=0.004))
    assert not replay(claimed, pictures, TARGETS).holds


def test_views_are_averaged_within_a_picture(observe, smooth_pictures, convnet):
    pictures = smooth_pictures(2)
    views = torch.stack([pictures, pictures.flip(-1)], dim=1)
    both = observe(convnet(), views.flatten(0, 1), TARGETS[:2].repeat_interleave(2))
    described = replace(both.training, batch_size=2, views=2)
    assert replay(replace(both, training=described), views, TARGETS[:2]).holds


def test_later_rounds_start_from_their_own_weights(observe, smooth_pictures, convnet):
    pictures = smooth_pictures(4)
    first, second = (observe(convnet(seed=s), pictures, TARGETS) for s in (0, 1))
    both = replace(first, updates=(first.updates[0], second.updates[0]), later_weights=(second.weights,))
    assert replay(both, pictures, TARGETS, number=1).holds
    assert not replay(replace(both, later_weights=(first.weights,)), pictures, TARGETS, number=1).holds


def test_a_loss_with_anchors_that_follow_the_weights_replays(observe, smooth_pictures):
    class WithAnchors(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(48, 8, bias=False)
            self.register_buffer("released", torch.randn(5, 48, generator=torch.Generator().manual_seed(1)))

        def forward(self, x):
            embed = nn.functional.normalize(self.head(x.flatten(1)), dim=1)
            return embed, nn.functional.normalize(self.head(self.released), dim=1).detach()

    def contrast(outputs, targets):
        return nn.functional.cross_entropy(outputs[0] @ outputs[1].T / 0.1, targets, reduction="none")

    torch.manual_seed(0)
    pictures, targets = smooth_pictures(3, side=4), torch.tensor([0, 4, 2])
    observation = observe(WithAnchors(), pictures, targets, loss=contrast, steps=3, epochs=3)
    assert replay(observation, pictures, targets).holds


def test_the_positive_control_wins_where_nothing_is_defended_and_fails_where_nothing_leaks(
    observe, smooth_pictures, mlp
):
    pictures = smooth_pictures(1)
    defended = observe(mlp(), pictures, TARGETS[:1], clip_norm=0.1, noise_std=1.0)

    def first_psnr(evidence, truth):
        return Result(evidence.attack, "PSNR", float(psnr(evidence.pictures[:1], truth.pictures)[0]), 1)

    own = smooth_pictures(1, seed=5)
    control = positive_control(
        AnalyticInversion(), defended, own, TARGETS[1:2], first_psnr, 40.0, Budget(), seed=0
    )
    assert control.won
    assert control.result.value > 60

    class Blind:
        name, requires = "blind", frozenset()

        def run(self, observation, budget, seed):
            return AnalyticInversion().run(without_signal(observation, seed), budget, seed)

    assert not positive_control(Blind(), defended, own, TARGETS[1:2], first_psnr, 40.0, Budget(), 0).won


def test_pictures_that_do_not_fit_are_refused(observe, smooth_pictures, convnet):
    pictures = smooth_pictures(4)
    observation = observe(convnet(), pictures, TARGETS, steps=2, batch_size=2)
    with pytest.raises(AttackError, match="picture_shape"):
        replay(observation, smooth_pictures(4, side=8), TARGETS)
    with pytest.raises(AttackError, match="4 pictures, not 3"):
        replay(observation, pictures[:3], TARGETS[:3])
    bare = Observation(observation.model, observation.weights, (3, 16, 16))
    with pytest.raises(AttackError, match="observed update"):
        replay(bare, pictures, TARGETS)


def of_type(observation, dtype):
    update = {n: t.to(dtype) for n, t in observation.updates[0].items()}
    return replace(observation, updates=(update,))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_coarse_updates_hold_for_the_right_pictures_only(dtype, observe, smooth_pictures, mlp):
    pictures = smooth_pictures(4)
    seen = of_type(observe(mlp(), pictures, TARGETS), dtype)
    found = replay(seen, pictures, TARGETS)
    assert found.holds
    assert 1e-5 < found.error < found.tolerance < 0.01
    assert replay(seen, smooth_pictures(4, seed=77), TARGETS).verdict == "differs"


def test_an_answer_that_rounding_swallowed_says_nothing(observe, smooth_pictures, mlp):
    """Weights sent back as bfloat16 after a small step: other pictures must not pass, nor the right ones."""
    pictures = smooth_pictures(4)
    for rate, verdict in ((0.1, "holds"), (0.002, "says nothing")):
        seen = observe(mlp(), pictures, TARGETS, learning_rate=rate)
        after = {n: (seen.weights[n] + t).bfloat16().float() for n, t in seen.updates[0].items()}
        coarse = replace(seen, updates=({n: t - seen.weights[n] for n, t in after.items()},))
        assert replay(coarse, pictures, TARGETS).verdict == verdict
        other = replay(coarse, smooth_pictures(4, seed=77), TARGETS)
        assert other.verdict != "holds"
        assert "rounding" in replay(coarse, pictures, TARGETS).mismatch or verdict == "holds"


@pytest.mark.long
@pytest.mark.parametrize(
    ("noise", "right", "other"),
    [(1e-3, "holds", "differs"), (1e-2, "holds", "differs"), (0.3, "says nothing", "says nothing")],
)
def test_noise_hides_other_pictures_only_where_it_is_said(noise, right, other, observe, smooth_pictures, mlp):
    """At 0.01 the residual's length is what the noise has, for right and for other pictures alike."""
    pictures = smooth_pictures(4)
    seen = observe(mlp(hidden=512), pictures, TARGETS, clip_norm=1.0, noise_std=noise)
    assert replay(seen, pictures, TARGETS).verdict == right
    found = replay(seen, smooth_pictures(4, seed=77), TARGETS)
    assert found.verdict == other
    assert found.error < found.tolerance or noise < 1e-2
    assert other != "differs" or found.mismatch.startswith(("unknown", "perhaps"))


@pytest.mark.long
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_noise_of_several_steps_adds_up_with_its_echoes(momentum, observe, smooth_pictures, mlp):
    pictures = smooth_pictures(4)
    settings = {"steps": 10, "epochs": 10, "learning_rate": 0.01, "momentum": momentum, "noise_std": 1e-2}
    seen = observe(mlp(), pictures, TARGETS, **settings)
    assert replay(seen, pictures, TARGETS).holds
    more = replace(seen, training=replace(seen.training, noise_std=1.3e-2))
    assert "less noise" in replay(more, pictures, TARGETS).mismatch
    less = replace(seen, training=replace(seen.training, noise_std=0.8e-2))
    assert not replay(less, pictures, TARGETS).holds


def test_few_parameters_are_not_taken_for_little_noise(observe, smooth_pictures):
    """Twelve numbers: the residual is short by chance. 60 clients, each a false alarm with 2e-6."""
    torch.manual_seed(0)
    tiny = nn.Sequential(nn.Flatten(), nn.AdaptiveAvgPool1d(3), nn.Linear(3, 3))
    pictures, targets = smooth_pictures(4), torch.arange(4) % 3
    for seed in range(60):
        seen = observe(tiny, pictures, targets, clip_norm=1.0, noise_std=0.1, noise_seed=seed)
        assert replay(seen, pictures, targets).verdict != "differs"


def test_the_tolerance_without_noise_is_a_millionth(observe, smooth_pictures):
    """In float64, so that rounding is far below: a description that is wrong by 1e-5 does not hold."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(768, 10)).double()
    pictures = smooth_pictures(4)
    seen = observe(model, pictures.double(), TARGETS)
    assert replay(seen, pictures, TARGETS).tolerance == 1e-6
    assert replay(seen, pictures, TARGETS).error < 1e-7
    for off, holds in ((1e-5, False), (1e-8, True)):
        rate = seen.training.learning_rate * (1 + off)
        found = replay(replace(seen, training=replace(seen.training, learning_rate=rate)), pictures, TARGETS)
        assert found.holds == holds


@pytest.mark.parametrize("rate", [1e-2, 1e-4])
def test_buffers_do_not_drown_what_trained(rate, observe, smooth_pictures, convnet):
    pictures = smooth_pictures(4)
    seen = observe(convnet(norm=True), pictures, TARGETS, learning_rate=2 * rate)
    wrong = replace(seen, training=replace(seen.training, learning_rate=rate))
    found = replay(wrong, pictures, TARGETS)
    assert found.error == pytest.approx(0.5, rel=1e-2)
    assert "learning rate or loss scale: 2 times" in found.mismatch
    moved = dict(seen.updates[0])
    moved["1.running_mean"] = 2 * moved["1.running_mean"]
    found = replay(replace(seen, updates=(moved,)), pictures, TARGETS)
    assert found.mismatch == "buffers: '1.running_mean' moved otherwise than replayed"


def test_dropout_that_was_off_is_named_as_the_mode(observe, smooth_pictures, convnet):
    pictures = smooth_pictures(4)
    seen = observe(convnet(dropout=0.5), pictures, TARGETS, mode="eval")
    believed = replace(seen, training=replace(seen.training, mode="train"))
    assert replay(believed, pictures, TARGETS).mismatch == "mode: the model was in eval mode"


def test_a_round_without_training_is_not_replayed(observe, smooth_pictures, convnet):
    seen = observe(convnet(), smooth_pictures(4), TARGETS)
    nothing = {n: torch.zeros_like(t) for n, t in seen.updates[0].items()}
    both = replace(seen, updates=(*seen.updates, nothing), later_weights=(seen.weights,))
    with pytest.raises(AttackError, match="round 1: every trained tensor is zero"):
        replay(both, smooth_pictures(4), TARGETS, number=1)
