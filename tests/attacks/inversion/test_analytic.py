"""A linear layer's inputs come back exactly, degrade with noise, and never from anything but the update."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from attacks.baselines import blind_guesses, prior_only, without_signal
from attacks.errors import AttackError
from attacks.intervals import median_interval
from attacks.inversion.analytic import (
    AnalyticInversion,
    SpanMatch,
    gradient_rank,
    leading_row,
    linear_layers,
    posterior_mean,
    row_space,
    separate_inputs,
    single_input,
)
from attacks.matching import match
from attacks.metrics import mean_square, psnr
from attacks.observation import Observation
from attacks.results import Budget
from fedstyle_secure.systems.style.losses import PrototypeContrast

RUN = (Budget(), 0)


def test_one_picture_through_an_mlp_comes_back_above_60_db(observe, smooth_pictures, mlp, normalisation):
    pictures = smooth_pictures(1)
    for settings in ({}, {"reduction": "sum"}, {"clip_norm": 0.1}, {"steps": 1, "learning_rate": 3.0}):
        observation = observe(mlp(), pictures, torch.tensor([3]), normalisation=normalisation, **settings)
        evidence = AnalyticInversion().run(observation, *RUN)
        assert float(psnr(evidence.pictures, pictures)[0]) > 60
        assert evidence.objective < 1e-6


def test_the_penultimate_feature_of_a_conv_net_comes_back(observe, smooth_pictures, convnet):
    pictures, model = smooth_pictures(1), convnet()
    evidence = AnalyticInversion().run(observe(model, pictures, torch.tensor([3])), *RUN)
    truth = model[:-1](pictures).detach()
    assert evidence.pictures is None
    assert float(torch.cosine_similarity(evidence.features, truth)) > 0.9999
    assert torch.allclose(evidence.features, truth, rtol=1e-3, atol=1e-4)


class Head(nn.Module):
    """The form of the texture encoder: a linear map without bias, then unit length."""

    def __init__(self, dim):
        super().__init__()
        self.head = nn.Linear(dim, dim, bias=False)
        nn.init.eye_(self.head.weight)

    def forward(self, x):
        return nn.functional.normalize(self.head(x), dim=1)


def contrast(dim, anchors=7):
    rows = nn.functional.normalize(
        torch.randn(anchors, dim, generator=torch.Generator().manual_seed(2)), dim=1
    )
    loss = PrototypeContrast(lambda: rows, 0.1, 0.1)
    return lambda outputs, targets: loss(outputs, targets)


def features(n, dim, seed=0):
    rows = torch.randn(n, dim, generator=torch.Generator().manual_seed(seed))
    return nn.functional.normalize(rows, dim=1)


@pytest.mark.parametrize("known", [True, False])
def test_a_head_without_bias_gives_the_feature_back_and_the_target_its_sign(known, observe):
    dim = 48
    for seed in range(10):
        x, target = features(1, dim, seed), torch.tensor([[seed % 7, -1]])
        observation = observe(Head(dim), x, target, loss=contrast(dim), learning_rate=0.6)
        if known:
            observation = replace(observation, targets=target)
        evidence = AnalyticInversion().run(observation, *RUN)
        cosine = float(torch.cosine_similarity(evidence.features, x))
        assert abs(cosine) > 0.9999
        assert cosine > 0 or not known
        assert ("sign by the known target" in evidence.notes[1]) == known


def test_candidates_of_a_batch_are_found_in_the_row_space(observe):
    dim, x = 48, features(6, 48)
    targets = torch.stack([torch.arange(6) % 3, torch.full((6,), -1)], dim=1)
    observation = observe(Head(dim), x, targets, loss=contrast(dim))
    candidates = torch.cat([x, features(94, dim, seed=1)])
    evidence = SpanMatch(candidates).run(observation, *RUN)
    assert set(evidence.scores.topk(6).indices.tolist()) == set(range(6))
    assert evidence.scores[:6].min() > 0.999
    blind = prior_only(SpanMatch(candidates), observation, *RUN)
    assert blind.scores[:6].min() < 0.9


def test_total_least_squares_beats_the_best_row_and_the_weighted_ratio_under_noise():
    draws = torch.Generator().manual_seed(0)
    x, d = torch.rand(300, generator=draws), torch.randn(64, generator=draws)
    errors, stated = {"ours": [], "row": [], "ratio": []}, []
    for _ in range(20):
        w = torch.outer(d, x) + 0.5 * torch.randn(64, 300, generator=draws)
        b = d + 0.5 * torch.randn(64, generator=draws)
        found, (row_found, rest, variance) = single_input(w, b), leading_row(w, b)
        assert 0 < rest < 1
        stated.append(variance / float(row_found[-1]) ** 2 / float((found - x).square().mean()))
        row = int(b.abs().argmax())
        for name, guess in (("ours", found), ("row", w[row] / b[row]), ("ratio", (b @ w) / (b @ b))):
            errors[name].append(float((guess - x).square().mean()))
    assert np.median(errors["ours"]) < 0.6 * np.median(errors["ratio"])
    assert np.median(errors["ours"]) < 0.3 * np.median(errors["row"])
    assert 0.7 < np.median(stated) < 1.4


def test_pictures_that_are_alone_in_neurons_are_found_and_mixtures_are_not():
    draws = torch.Generator().manual_seed(0)
    x = torch.rand(3, 40, generator=draws)
    passed = torch.zeros(12, 3)
    passed[0:3, 0] = torch.tensor([1.0, -2, 0.5])
    passed[3:5, 1] = torch.tensor([0.3, 0.7])
    passed[5:] = torch.randn(7, 3, generator=draws)
    found = separate_inputs(passed @ x, passed.sum(1))
    assert [support for _, support in found] == [3, 2]
    assert torch.allclose(found[0][0].float(), x[0], atol=1e-4)
    assert torch.allclose(found[1][0].float(), x[1], atol=1e-4)


def test_some_of_a_batch_comes_back_through_a_relu_layer(observe, smooth_pictures, mlp, normalisation):
    pictures = smooth_pictures(3, seed=3)
    observation = observe(mlp(hidden=512), pictures, torch.tensor([1, 2, 3]), normalisation=normalisation)
    evidence = AnalyticInversion().run(observation, *RUN)
    order = match(evidence.pictures, pictures, mean_square)
    best = max(
        float(psnr(evidence.pictures[g][None], pictures[t][None])[0])
        for t, g in enumerate(order)
        if g is not None
    )
    assert best > 40


def test_psnr_falls_with_the_noise_down_to_the_blind_guess(observe, smooth_pictures, mlp):
    """Clip to 1 and noise on a step's gradient; medians and their 95 % intervals over 15 pictures."""
    medians, intervals, blind = [], [], []
    levels = (0.0, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
    for level in levels:
        values = []
        for k in range(15):
            picture = smooth_pictures(1, seed=100 + k)
            observation = observe(
                mlp(seed=k), picture, torch.tensor([k % 10]), clip_norm=1.0, noise_std=level, noise_seed=k
            )
            evidence = AnalyticInversion().run(observation, *RUN)
            values.append(float(psnr(evidence.pictures[:1], picture)[0]))
            if level == 0:
                blind.append(float(psnr(blind_guesses(observation, 1)["grey"], picture)[0]))
        medians.append(float(np.median(values)))
        intervals.append(median_interval(np.array(values)))
    assert medians[0] > 60
    for above, below in pairwise(intervals):
        assert below[0] <= above[1]
    assert medians[1] > medians[2] > medians[3]
    assert medians[-1] < np.median(blind) + 1


def test_a_public_set_takes_noise_away_and_leaves_what_is_exact(observe, smooth_pictures, mlp):
    public, picture = smooth_pictures(80, seed=7), smooth_pictures(1, seed=3)
    gains = []
    for noise in (0.0, 1e-3, 1e-2, 1.0):
        seen = observe(mlp(), picture, torch.tensor([3]), clip_norm=1.0, noise_std=noise)
        values = [
            float(psnr(AnalyticInversion().run(o, *RUN).pictures, picture)[0])
            for o in (seen, replace(seen, public_pictures=public))
        ]
        gains.append(values[1] - values[0])
    assert values[1] == pytest.approx(float(psnr(public.mean(0, keepdim=True), picture)[0]), abs=1)
    assert gains[0] == pytest.approx(0, abs=1)
    assert gains[1] > -0.5
    assert min(gains[2:]) > 2


def test_the_posterior_mean_is_the_gaussian_one():
    """One axis with a large mean fixes the scale; on the others it is the textbook's."""
    draws = torch.Generator().manual_seed(0)
    spread = torch.tensor([2.0, 1.0, 0.3, 0.01]).double()
    mean = torch.tensor([1.0, 1.0, 1.0, 1000.0]).double()
    public = torch.randn(4000, 4, generator=draws).double() * spread + mean
    x = torch.tensor([2.0, -1.0, 3.0, 1000.0]).double()
    row = torch.cat([x, torch.ones(1)])
    expected = mean + (x - mean) * spread**2 / (spread**2 + 0.5)
    assert torch.allclose(posterior_mean(row, 0.5, public), expected, atol=0.1)
    assert torch.allclose(posterior_mean(0.5 * row, 0.0, public), x)
    assert torch.allclose(posterior_mean(0.5 * row, 1e-12, public), x, atol=1e-4)
    assert torch.allclose(posterior_mean(1e-6 * row, 1.0, public), public.mean(0), rtol=0.01, atol=0.3)


def test_psnr_falls_with_the_batch(observe, smooth_pictures, mlp):
    """The mean over the batch of what is assigned to each picture, over eight batches of each size."""
    means = []
    for size in (1, 4, 16):
        values = []
        for k in range(8):
            pictures = smooth_pictures(size, seed=10 * k + size)
            observation = observe(mlp(hidden=128, seed=k), pictures, torch.arange(size) % 10)
            evidence = AnalyticInversion().run(observation, *RUN)
            for truth, guess in enumerate(match(evidence.pictures, pictures, mean_square)):
                shown = (
                    torch.full_like(pictures[:1], 0.5) if guess is None else evidence.pictures[guess][None]
                )
                values.append(float(psnr(shown, pictures[truth][None])[0]))
        means.append(np.mean(values))
    assert means[0] > means[1] + 5
    assert means[1] > means[2]


def test_nothing_but_the_update_is_looked_at(observe, smooth_pictures, mlp):
    """The truth is wiped after the update was made, and the model's own weights are too."""
    pictures, model = smooth_pictures(1), mlp()
    observation = observe(model, pictures, torch.tensor([3]))
    first = AnalyticInversion().run(observation, *RUN)
    pictures.zero_()
    for p in model.parameters():
        p.data.zero_()
    second = AnalyticInversion().run(observation, *RUN)
    assert torch.equal(first.pictures, second.pictures)
    assert first.objective == second.objective


def test_a_blind_run_gives_nothing_and_is_the_same_for_the_same_seed(observe, smooth_pictures, mlp):
    pictures = smooth_pictures(1)
    observation = observe(mlp(), pictures, torch.tensor([3]))
    blind = prior_only(AnalyticInversion(), observation, *RUN)
    assert float(psnr(blind.pictures, pictures)[0]) < 15
    again = without_signal(observation, 0).updates[0]
    for name, tensor in without_signal(observation, 0).updates[0].items():
        assert torch.equal(tensor, again[name])
    assert not torch.equal(without_signal(observation, 1).updates[0]["1.weight"], again["1.weight"])


def test_row_space_is_orthonormal_and_no_larger_than_what_is_there():
    x = features(4, 20)
    weight = torch.randn(30, 4, generator=torch.Generator().manual_seed(0)) @ x
    basis = row_space(weight, 9)
    assert basis.shape == (4, 20)
    assert torch.allclose(basis @ basis.T, torch.eye(4, dtype=torch.float64), atol=1e-9)
    assert torch.allclose((x.double() @ basis.T) @ basis, x.double(), atol=1e-6)


def test_a_dead_or_missing_layer_is_named(observe, smooth_pictures, mlp, convnet):
    observation = observe(mlp(), smooth_pictures(1), torch.tensor([3]))
    with pytest.raises(AttackError, match=r"no linear layer 'conv' trained; there are '1', '3'"):
        AnalyticInversion("conv").run(observation, *RUN)
    update = {n: t if n.startswith("3") else torch.zeros_like(t) for n, t in observation.updates[0].items()}
    with pytest.raises(AttackError, match="received no gradient"):
        AnalyticInversion("1").run(replace(observation, updates=(update,)), *RUN)
    only_prototypes = Observation(observation.model, observation.weights, (3, 16, 16))
    with pytest.raises(AttackError, match="no linear layer of the model trained"):
        AnalyticInversion().run(only_prototypes, *RUN)
    with pytest.raises(AttackError, match="no inputs of a layer"):
        SpanMatch(torch.rand(5, 3)).run(observe(convnet(), smooth_pictures(1), torch.tensor([3])), *RUN)


def nearest(evidence, pictures):
    """PSNR of each reconstruction to the truth that it is nearest to."""
    return torch.stack([psnr(p.expand_as(pictures), pictures).max() for p in evidence.pictures])


def test_agreement_is_called_proof_of_nothing_where_the_gradients_behind_have_rank_one(
    observe, smooth_pictures, mlp
):
    """Two classes: neurons that the same pictures pass agree on a mixture. Ten classes: they seldom do."""
    pictures, targets = smooth_pictures(4, seed=3), torch.arange(4) % 2
    two = AnalyticInversion().run(observe(mlp(classes=2), pictures, targets), *RUN)
    assert nearest(two, pictures).min() < 30
    assert "they may be mixtures" in two.notes[1]
    seen = observe(mlp(classes=10, hidden=512), smooth_pictures(3, seed=3), torch.tensor([1, 2, 3]))
    first, head = linear_layers(seen)
    assert (gradient_rank(seen, first), gradient_rank(seen, head)) == (3, 1)
    ten = AnalyticInversion().run(seen, *RUN)
    assert "have rank 3" in ten.notes[1]
    assert nearest(ten, smooth_pictures(3, seed=3)).min() > 40


def test_a_layer_as_wide_as_a_picture_that_sees_something_else_gives_no_picture(observe, smooth_pictures):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 12, 3, 2, 1), nn.GELU(), nn.Flatten(), nn.Linear(768, 10))
    picture = smooth_pictures(1)
    evidence = AnalyticInversion().run(observe(model, picture, torch.tensor([3])), *RUN)
    assert evidence.pictures is None
    truth = model[:3](picture).detach()
    assert float(torch.cosine_similarity(evidence.features, truth)) > 0.9999
