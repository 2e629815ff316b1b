"""What one gets without looking is what it says, and the blind observation knows nothing."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from attacks.baselines import (
    all_blind,
    blind_guesses,
    constant_colour,
    nearest_public,
    prior_only,
    swapped,
    without_signal,
)
from attacks.errors import AttackError
from attacks.evaluation import reconstruction
from attacks.inversion.optimisation import adaptive_inversion
from attacks.metrics import mean_square, psnr
from attacks.observation import Observation
from attacks.results import Budget, Evidence, Truth


def test_guesses_are_grey_and_the_public_sets_means(observe, smooth_pictures, mlp):
    pictures, public = smooth_pictures(2), smooth_pictures(9, seed=1)
    seen = observe(mlp(), pictures, torch.tensor([1, 2]))
    assert set(blind_guesses(seen, 2)) == {"grey"}
    guesses = blind_guesses(replace(seen, public_pictures=public), 2)
    assert (guesses["grey"] == 0.5).all()
    assert torch.allclose(guesses["mean picture"][1], public.mean(0))
    assert torch.allclose(guesses["mean colour"][0, :, 3, 7], public.mean((0, 2, 3)))
    # Of all single guesses the mean has the least squared error over the public set.
    mean = guesses["mean picture"][:1].expand_as(public)
    assert (
        mean_square(mean, public).mean()
        < mean_square(guesses["mean colour"][:1].expand_as(public), public).mean()
    )


def test_the_nearest_public_picture_is_the_nearest(smooth_pictures):
    public, truths = smooth_pictures(30, seed=1), smooth_pictures(4)
    found = nearest_public(truths, public)
    for truth, near in zip(truths, found, strict=True):
        distances = mean_square(public, truth.expand_as(public))
        assert torch.equal(near, public[distances.argmin()])
    assert torch.equal(nearest_public(public[[7]], public)[0], public[7])


def test_no_constant_is_better_than_the_truths_own_colour(smooth_pictures):
    truths = smooth_pictures(3)
    best = psnr(constant_colour(truths), truths)
    for colour in torch.rand(20, 3, generator=torch.Generator().manual_seed(0)):
        assert (psnr(colour[None, :, None, None].expand_as(truths), truths) <= best).all()


class Scaled(nn.Module):
    """With a trained scalar, whose update has nothing but a size and a sign."""

    def __init__(self, model):
        super().__init__()
        self.model, self.scale = model, nn.Parameter(torch.tensor(1.5))

    def forward(self, x):
        return self.scale * self.model(x)


def test_nothing_of_updates_and_prototypes_is_left(observe, smooth_pictures, convnet):
    """Cosines of random directions in 500 and more dimensions stay within five deviations. Of the sizes
    nothing is left either: an update ten times as long gives the same blind one, bit by bit."""
    seen = observe(Scaled(convnet(norm=True)), smooth_pictures(4), torch.arange(4), mode="train")
    seen = replace(seen, prototypes={"ink": torch.randn(3, 600, generator=torch.Generator().manual_seed(1))})
    blind = without_signal(seen, 0)
    for name in ("model.3.weight", "model.6.weight"):
        a, b = seen.updates[0][name].flatten(), blind.updates[0][name].flatten()
        assert len(a) > 500
        assert abs(float(torch.cosine_similarity(a, b, 0))) < 5 / len(a) ** 0.5
        assert 0.1 < float(a.norm() / b.norm()) < 10
    a, b = seen.prototypes["ink"], blind.prototypes["ink"]
    assert torch.cosine_similarity(a, b).abs().max() < 5 / 600**0.5
    assert torch.allclose(b.norm(dim=1), torch.ones(3))
    assert all(torch.equal(seen.weights[n], blind.weights[n]) for n in seen.weights)
    # Every tensor by another factor, so that neither lengths nor ratios of lengths survive.
    louder = {
        n: (k + 2) * t if t.is_floating_point() else t for k, (n, t) in enumerate(seen.updates[0].items())
    }
    other = without_signal(replace(seen, updates=(louder,), prototypes={"ink": 7 * a}), 0)
    assert seen.updates[0]["scale"].ndim == 0
    for name, tensor in blind.updates[0].items():
        assert torch.equal(tensor, other.updates[0][name])
    assert torch.equal(b, other.prototypes["ink"])


def test_a_swap_is_what_public_pictures_would_have_sent(observe, smooth_pictures, convnet):
    """Against a client that trained on the one public picture: the same update, with or without targets
    known, and with its own noise of the stated size."""
    public, target = smooth_pictures(1, seed=5), torch.tensor([3])
    seen = observe(convnet(), smooth_pictures(1), target, public_pictures=public, clip_norm=0.5)
    expected = observe(convnet(), public, target, clip_norm=0.5).updates[0]
    found = swapped(replace(seen, targets=target), 0).updates[0]
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-4, atol=1e-7)
    drawn = {s: swapped(seen, s).updates[0]["5.bias"].argmax().item() for s in range(30)}
    assert len(set(drawn.values())) > 5
    noisy = replace(seen, targets=target, training=replace(seen.training, noise_std=0.1))
    rest = torch.cat([(t - expected[n]).flatten() for n, t in swapped(noisy, 0).updates[0].items()])
    # 2,100 numbers: the deviation is known to 1.6 %.
    assert float(rest.std()) == pytest.approx(0.1 * 0.1, rel=0.08)


def test_a_swapped_prototype_is_the_mean_of_as_many_public_embeddings(smooth_pictures, mlp):
    model, public = mlp(), smooth_pictures(5, seed=5)
    seen = Observation(
        model, model.state_dict(), (3, 16, 16), prototypes={"ink": torch.ones(2, 10)},
        counts={"ink": torch.tensor([5, 1])}, embed=model, public_pictures=public,
    )  # fmt: skip
    found = swapped(seen, 0).prototypes["ink"]
    assert torch.allclose(found[0], model(public).mean(0), atol=1e-5)
    assert (found[1] - model(public)).abs().amax(1).min() < 1e-5
    assert swapped(replace(seen, public_pictures=None), 0) is None
    assert swapped(replace(seen, embed=None), 0) is None


def test_the_best_blind_guess_is_at_least_what_the_prior_alone_would_name(observe, smooth_pictures, convnet):
    """The advantage of an attack must not come from a baseline that its own prior beats."""
    public, truths = smooth_pictures(60, seed=9), smooth_pictures(4, seed=4)
    seen = observe(convnet(), truths[:1], torch.tensor([3]), public_pictures=public, noise_std=1e-4)
    seen = replace(seen, targets=torch.tensor([3]))
    blind = all_blind(adaptive_inversion(), seen, Budget(60), 0)
    assert set(blind) == {"prior only", "grey", "mean colour", "mean picture"}
    nothing = Evidence("x", 0.0, True)
    found = reconstruction(nothing, Truth(truths[:1]), blind)
    every = {name: float(psnr(p[:1], truths[:1])) for name, p in blind.items()}
    every["own mean colour"] = float(psnr(constant_colour(truths[:1]), truths[:1]))
    assert found.baseline == pytest.approx(max(every.values()))
    assert found.method.endswith(max(every, key=every.__getitem__))
    notes = prior_only(adaptive_inversion(), seen, Budget(2), 0).notes
    assert notes[-1] == "blind: an observation of public pictures"


def test_features_have_no_blind_pictures(observe):
    seen = observe(nn.Linear(8, 3), torch.rand(1, 8), torch.tensor([1]))
    with pytest.raises(AttackError, match="sees features"):
        blind_guesses(seen, 1)
