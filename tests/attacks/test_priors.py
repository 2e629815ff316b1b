"""What the adversary believes of pictures: closed forms, learned priors, canvases, hidden gain."""

import pytest
import torch
from torch.func import vmap

from attacks.errors import AttackError
from attacks.inversion.priors import (
    DeepImage,
    OutOfRange,
    Pixels,
    PublicContrast,
    PublicSpectrum,
    TotalVariation,
    calibrated_gain,
)

GREY = torch.full((3, 1, 1), 0.5)


def noise(n=8, side=16, seed=0):
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(seed))


def test_total_variation_of_a_ramp_and_of_a_flat_picture():
    ramp = (torch.arange(16.0) / 20).expand(1, 3, 16, 16)
    assert TotalVariation()(ramp).item() == pytest.approx(1 / 20, rel=0.03)
    assert TotalVariation()(torch.full((1, 3, 8, 8), 0.3)).item() == 0


def test_coupled_edges_cost_least_in_one_place_and_greys_what_they_cost_uncoupled():
    """An edge of each of three colours, in one column or in three: 1 against the root of 3."""
    together, apart = torch.zeros(2, 1, 3, 8, 12)
    together[..., 6:] = 1.0
    for channel in range(3):
        apart[:, channel, :, 3 * channel + 2 :] = 1.0
    plain, coupled = TotalVariation(), TotalVariation(coupled=True)
    assert plain(apart).item() == pytest.approx(plain(together).item())
    assert coupled(together).item() == pytest.approx(plain(together).item())
    assert coupled(apart).item() == pytest.approx(3**0.5 * coupled(together).item(), rel=2e-3)


def test_out_of_range_counts_only_what_is_outside():
    assert OutOfRange()(noise()).item() == 0
    assert OutOfRange()(torch.full((1, 3, 8, 8), 1.5)).item() == pytest.approx(0.25)
    assert OutOfRange()(torch.full((1, 3, 8, 8), -0.1)).item() == pytest.approx(0.01)


def test_whitening_is_undone_by_colouring(smooth_pictures):
    spectrum, pictures = PublicSpectrum.learn(smooth_pictures(40)), smooth_pictures(4, seed=1)
    torch.testing.assert_close(spectrum.colour(spectrum.whiten(pictures)), pictures, rtol=1e-4, atol=1e-5)


def test_the_spectrum_gives_its_own_samples_one_half_and_noise_far_more(smooth_pictures):
    """One half within 5 %: the mean of 200 * 768 squares of standard normals has deviation 0.4 %."""
    spectrum = PublicSpectrum.learn(smooth_pictures(200))
    white = torch.randn(200, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert spectrum(spectrum.colour(white)).item() == pytest.approx(0.5, rel=0.05)
    assert spectrum(smooth_pictures(50, seed=1)).item() == pytest.approx(0.5, rel=0.3)
    assert spectrum(noise()).item() > 10


def test_a_spectrum_needs_two_pictures():
    with pytest.raises(AttackError, match="at least two public pictures"):
        PublicSpectrum.learn(noise(1))


def test_public_contrast_holds_the_gain(smooth_pictures):
    prior, truth = PublicContrast.learn(smooth_pictures(50), GREY), smooth_pictures(20, seed=1)
    values = {gain: prior(0.5 + gain * (truth - 0.5)).item() for gain in (0.25, 0.5, 1.0, 2.0, 4.0)}
    assert min(values, key=values.__getitem__) == 1.0


@pytest.mark.parametrize("canvas", [Pixels(), DeepImage(width=8)], ids=["pixels", "deep image"])
def test_canvases_paint_every_picture_apart_and_run_batched(canvas):
    shape, draws = (2, 3, 16, 24), torch.Generator().manual_seed(0)
    points = torch.stack([canvas.start(shape, draws) for _ in range(3)])
    together = vmap(lambda point: canvas.pictures(point, shape))(points)
    alone = torch.stack([canvas.pictures(point, shape) for point in points])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    flat = alone.flatten(0, 1).flatten(1)
    assert torch.cdist(flat, flat).fill_diagonal_(1).min() > 0.1


def test_the_same_seed_starts_the_same():
    for canvas in (Pixels(), DeepImage()):
        a, b = (canvas.start((1, 3, 16, 16), torch.Generator().manual_seed(5)) for _ in range(2))
        assert torch.equal(a, b)


def test_an_untrained_network_learns_a_picture_before_it_learns_noise(smooth_pictures):
    """What makes it a prior (Ulyanov et al. 2018, fig. 2)."""
    canvas, errors = DeepImage(width=16, doublings=2), []
    for aim in (smooth_pictures(1), noise(1)):
        point = canvas.start((1, 3, 16, 16), torch.Generator().manual_seed(0)).requires_grad_(True)
        optimizer = torch.optim.Adam([point], lr=0.01)
        for _ in range(150):
            loss = (canvas.pictures(point, (1, 3, 16, 16)) - aim).square().mean()
            (point.grad,) = torch.autograd.grad(loss, point)
            optimizer.step()
        errors.append((loss / aim.var()).item())
    assert errors[0] < 0.3 * errors[1]


def test_a_hidden_gain_is_the_public_sets(smooth_pictures):
    truth, public = smooth_pictures(5, seed=1), smooth_pictures(50)
    faded = 0.5 + 0.1 * (truth - 0.5)
    stretched = calibrated_gain(faded, public, GREY, lambda x: torch.tensor(0.0), 0.0)
    assert (stretched - truth).abs().mean() < 0.3 * (faded - truth).abs().mean()


def test_a_gain_that_the_update_shows_is_left_alone(smooth_pictures):
    truth, public = smooth_pictures(5, seed=1), smooth_pictures(50)
    faded = 0.5 + 0.1 * (truth - 0.5)
    kept = calibrated_gain(faded, public, GREY, lambda x: (x - faded).square().mean(), 1e-6)
    assert kept is faded


def test_a_deep_image_leaves_torchs_own_draws_alone():
    before = torch.get_rng_state()
    DeepImage()
    assert torch.equal(before, torch.get_rng_state())
