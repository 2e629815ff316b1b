"""Labels and styles come out of an update: exactly where they are single, nearly where they repeat."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from torch import nn

from attacks.errors import AttackError
from attacks.inversion.labels import LabelInference, TargetInference, whole_counts
from attacks.results import Budget

RUN = (Budget(), 0)


def counts_of(targets, classes=10):
    return torch.bincount(targets, minlength=classes)


@pytest.mark.parametrize("settings", [{}, {"reduction": "sum"}, {"learning_rate": 3.0}], ids=str)
def test_single_labels_of_an_untrained_head_are_exact(settings, observe, smooth_pictures, mlp):
    """Thirty batches of one to ten different labels."""
    for seed in range(30):
        draws = torch.Generator().manual_seed(seed)
        targets = torch.randperm(10, generator=draws)[: seed % 10 + 1]
        pictures = smooth_pictures(len(targets), seed=seed)
        found = LabelInference().run(observe(mlp(seed=seed), pictures, targets, **settings), *RUN)
        assert torch.equal(found.features[0].long(), counts_of(targets))


def test_repeated_labels_are_found_nine_times_in_ten_and_far_beyond_guessing(observe, smooth_pictures, mlp):
    """Forty batches of 16. A label is found as often as both multisets have it; a random multiset of 16
    shares about 11 of 16, which is the binomial baseline (false alarm under 0.001 by the exact test)."""
    found, guessed, total = 0, 0, 0
    for seed in range(40):
        draws = torch.Generator().manual_seed(seed)
        targets = torch.randint(10, (16,), generator=draws)
        evidence = LabelInference().run(
            observe(
                mlp(seed=seed),
                smooth_pictures(16, seed=seed),
                targets,
                public_pictures=smooth_pictures(32, seed=99),
            ),
            *RUN,
        )
        random = counts_of(torch.randint(10, (16,), generator=draws))
        truth = counts_of(targets)
        found += int(torch.minimum(evidence.features[0].long(), truth).sum())
        guessed += int(torch.minimum(random, truth).sum())
        total += 16
    assert found / total > 0.9
    assert binomtest(found, total, guessed / total, alternative="greater").pvalue < 0.001


def test_a_flipped_update_gives_other_labels(observe, smooth_pictures, mlp):
    targets = torch.tensor([2, 5, 7])
    observation = observe(mlp(), smooth_pictures(3), targets)
    flipped = replace(observation, updates=({n: -t for n, t in observation.updates[0].items()},))
    assert torch.equal(LabelInference().run(observation, *RUN).features[0].long(), counts_of(targets))
    assert not torch.equal(LabelInference().run(flipped, *RUN).features[0].long(), counts_of(targets))


def test_several_local_steps_still_show_the_labels(observe, smooth_pictures, mlp):
    targets = torch.tensor([2, 5, 7, 8])
    observation = observe(mlp(), smooth_pictures(4), targets, steps=4, epochs=4, learning_rate=0.02)
    assert torch.equal(LabelInference().run(observation, *RUN).features[0].long(), counts_of(targets))


class Contrast(nn.Module):
    """An encoder without a classifier head."""

    def __init__(self, size, dim=16):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(size, 64), nn.GELU(), nn.Linear(64, dim))

    def forward(self, x):
        return nn.functional.normalize(self.body(x), dim=1)


def test_styles_of_an_encoder_without_a_head_are_found(observe, smooth_pictures):
    anchors = nn.functional.normalize(torch.randn(6, 16, generator=torch.Generator().manual_seed(1)), dim=1)

    def loss(embeddings, targets):
        return nn.functional.cross_entropy(embeddings @ anchors.T / 0.1, targets, reduction="none")

    public = smooth_pictures(40, seed=50)
    hits, guessed = 0, 0
    for seed in range(10):
        draws = torch.Generator().manual_seed(seed)
        targets, random = (torch.randint(6, (8,), generator=draws) for _ in range(2))
        observation = observe(
            Contrast(768), smooth_pictures(8, seed=seed), targets, loss=loss, public_pictures=public
        )
        evidence = TargetInference(torch.arange(6)).run(observation, Budget(steps=40), 0)
        hits += int(torch.minimum(evidence.features[0].long(), counts_of(targets, 6)).sum())
        guessed += int(torch.minimum(counts_of(random, 6), counts_of(targets, 6)).sum())
    assert binomtest(hits, 80, guessed / 80, alternative="greater").pvalue < 0.001


def test_whole_counts_are_the_nearest():
    rng = np.random.default_rng(0)
    for _ in range(50):
        total = int(rng.integers(1, 5))
        estimate = torch.from_numpy(rng.normal(0.7, 1, 3))
        best = min(
            (np.square(np.array([a, b, total - a - b]) - estimate.numpy()).sum(), (a, b, total - a - b))
            for a in range(total + 1)
            for b in range(total + 1 - a)
        )
        assert tuple(whole_counts(estimate, total).tolist()) == best[1]


def test_models_that_hold_no_labels_are_refused(observe, smooth_pictures):
    model = nn.Sequential(nn.Flatten(), nn.Linear(768, 10, bias=False))
    observation = observe(model, smooth_pictures(1), torch.tensor([1]))
    with pytest.raises(AttackError, match="no last linear layer with a trained bias"):
        LabelInference().run(observation, *RUN)
    with pytest.raises(AttackError, match="public pictures"):
        TargetInference(torch.arange(10)).run(observation, *RUN)


@pytest.mark.parametrize("settings", [{"steps": 4}, {"steps": 4, "momentum": 0.9}], ids=str)
def test_steps_and_their_echoes_are_divided_out(settings, observe, smooth_pictures, mlp):
    """A small rate, so that four steps are four times one: the estimates before rounding are within 0.2."""
    targets = torch.tensor([2, 5, 7, 8])
    steps = {"epochs": settings["steps"], "learning_rate": 1e-3, **settings}
    seen = observe(mlp(), smooth_pictures(4), targets, public_pictures=smooth_pictures(32, seed=9), **steps)
    scores = LabelInference().run(seen, *RUN).scores
    assert (scores - counts_of(targets)).abs().max() < 0.2
