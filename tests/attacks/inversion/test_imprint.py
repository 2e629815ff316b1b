"""The imprint takes as many pictures as theory says, says why when it takes none, and is refused."""

from dataclasses import replace

import pytest
import torch
from scipy.stats import binom

from attacks.errors import AttackError
from attacks.inversion.imprint import (
    Imprinted,
    ImprintRecovery,
    bin_occupancy,
    imprint_layer,
    quantile_thresholds,
)
from attacks.matching import match
from attacks.metrics import mean_square, psnr
from attacks.observation import Observation
from attacks.results import Budget

RUN = (Budget(), 0)


def imprinted(convnet, public, bins, normalisation=None):
    bare = Observation(
        convnet(), convnet().state_dict(), (3, 16, 16), normalisation=normalisation, public_pictures=public
    )
    return Imprinted(convnet(), quantile_thresholds(bare, bins), 768)


def recovered(evidence, pictures, at_least=40.0):
    if evidence.pictures is None:
        return 0
    order = match(evidence.pictures, pictures, mean_square)
    values = [
        float(psnr(evidence.pictures[g][None], pictures[t][None])[0])
        for t, g in enumerate(order)
        if g is not None
    ]
    return sum(v > at_least for v in values)


def test_hits_follow_the_binomial_law(observe, smooth_pictures, convnet, normalisation):
    """n = 8 pictures, k = 16 bins, 30 batches: a picture is alone with probability p = (1 - 1/k)^(n - 1),
    less the share 1/(2k) below the first threshold. Hits in a batch depend on each other, so the interval
    is that of 240 draws widened to 0.0001 on either side; seeds are fixed."""
    public = smooth_pictures(400, seed=1)
    model = imprinted(convnet, public, 16, normalisation)
    hits, lucky = 0, 0
    for seed in range(30):
        pictures = smooth_pictures(8, seed=1000 + seed)
        observation = observe(
            model, pictures, torch.arange(8), normalisation=normalisation, public_pictures=public
        )
        evidence = ImprintRecovery().run(observation, *RUN)
        count = recovered(evidence, pictures)
        alone = bin_occupancy(observation, pictures)[1:]
        # A picture that shares its bin with one whose gradient is tiny comes back too.
        lucky += count - int((alone == 1).sum())
        assert count >= int((alone == 1).sum())
        hits += count
    assert lucky <= 6
    chance = (1 - 1 / 32) * (1 - 1 / 16) ** 7
    assert binom.ppf(1e-4, 240, chance) <= hits <= binom.ppf(1 - 1e-4, 240, chance)


def test_an_honest_model_gives_no_hits_and_says_so(observe, smooth_pictures, mlp, convnet):
    for model in (mlp(), convnet()):
        evidence = ImprintRecovery().run(observe(model, smooth_pictures(2), torch.tensor([1, 2])), *RUN)
        assert evidence.pictures is None
        assert "honest" in evidence.notes[0]


def test_no_hits_come_with_a_reason(observe, smooth_pictures, convnet):
    pictures, targets = smooth_pictures(2), torch.tensor([1, 2])

    def notes(thresholds, shown=pictures, wanted=targets, **settings):
        model = Imprinted(convnet(), thresholds, 768)
        evidence = ImprintRecovery().run(observe(model, shown, wanted, **settings), *RUN)
        return " ".join(evidence.notes)

    assert "no neuron fired" in notes(torch.linspace(5, 6, 8))
    assert "above the last threshold" in notes(torch.linspace(-6, -5, 8))
    many = smooth_pictures(30)
    assert "several pictures share each bin" in notes(torch.tensor([-1.0, 9.0]), many, torch.arange(30) % 10)
    noisy = notes(torch.linspace(0.2, 0.8, 8), clip_norm=1.0, noise_std=0.05)
    assert "noise" in noisy


def test_bins_are_counted_as_they_are(observe, smooth_pictures, convnet):
    pictures = smooth_pictures(6)
    means = pictures.flatten(1).mean(1).sort().values
    cuts = torch.tensor([float(means[0] - 0.01), float(means[2] + means[3]) / 2, float(means[5] + 1)])
    observation = observe(Imprinted(convnet(), cuts, 768), pictures, torch.arange(6))
    assert bin_occupancy(observation, pictures).tolist() == [0, 3, 3, 0]


def test_the_imprint_leaves_the_model_usable(smooth_pictures, convnet):
    pictures, model = smooth_pictures(8), convnet()
    wrapped = Imprinted(model, torch.linspace(0, 1, 32), 768)
    assert (wrapped(pictures) - model(pictures)).abs().max() < 0.05


def test_thresholds_are_ascending_and_even(smooth_pictures, convnet):
    public = smooth_pictures(400)
    bare = Observation(convnet(), convnet().state_dict(), (3, 16, 16), public_pictures=public)
    cuts = quantile_thresholds(bare, 10)
    assert (cuts.diff() > 0).all()
    shares = torch.bincount(torch.bucketize(public.flatten(1).mean(1), cuts), minlength=11) / 400
    assert shares[1:10].min() > 0.08
    assert shares[1:10].max() < 0.12
    with pytest.raises(AttackError, match="2 bins"):
        quantile_thresholds(bare, 1)
    with pytest.raises(AttackError, match="ascending"):
        Imprinted(convnet(), torch.tensor([0.5, 0.5]), 768)
    with pytest.raises(AttackError, match="no imprint layer"):
        bin_occupancy(bare, public)
    assert imprint_layer(bare) is None


def test_bins_that_hold_only_rounding_are_empty(observe, smooth_pictures, convnet):
    """Weights after minus before leaves a unit in the last place in bins that no picture is in: 64 bins that
    eight pictures cannot fill, and as many occupied as pictures fall into."""
    public = smooth_pictures(400, seed=1)
    model, pictures = imprinted(convnet, public, 64), smooth_pictures(8, seed=3)
    observation = observe(model, pictures, torch.arange(8), public_pictures=public)
    update = dict(observation.updates[0])
    bias = observation.weights["measure.bias"]
    # A unit in the last place of the largest bias, up and down from neuron to neuron.
    ulp = torch.finfo(torch.float32).eps * bias.abs().max()
    update["measure.bias"] = update["measure.bias"] + ulp * (torch.arange(64) % 2)
    evidence = ImprintRecovery().run(replace(observation, updates=(update,)), *RUN)
    occupied = int((bin_occupancy(observation, pictures)[1:] > 0).sum())
    assert evidence.notes[0].startswith(f"{occupied} of 64 bins are occupied")


def test_the_strongest_hit_comes_first(observe, smooth_pictures, convnet):
    public = smooth_pictures(400, seed=1)
    model, pictures = imprinted(convnet, public, 64), smooth_pictures(6, seed=3)
    seen = observe(model, pictures, torch.arange(6), public_pictures=public)
    evidence = ImprintRecovery().run(seen, *RUN)
    sizes = evidence.scores.sort(descending=True).values[: len(evidence.pictures)]
    means = evidence.pictures.flatten(1).mean(1)
    bins = torch.searchsorted((-seen.weights["measure.bias"]).sort().values, means * 1e-2)
    assert len(means) >= 3
    assert torch.allclose(evidence.scores[bins - 1], sizes, rtol=1e-4)
