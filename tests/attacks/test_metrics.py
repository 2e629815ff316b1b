"""The figures agree with naive references and never let one exact picture hide the others."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attacks.errors import AttackError
from attacks.matching import arranged, match
from attacks.metrics import PSNR_CAP, gmsd, mean_square, psnr, psnr_affine, ssim


def naive_ssim(x, y):
    """Wang et al. 2004, eq. 13, one window at a time; double loops over positions and channels."""
    at = np.arange(11) - 5
    window = np.exp(-(at[:, None] ** 2 + at[None, :] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    c1, c2 = (0.01 * 1) ** 2, (0.03 * 1) ** 2
    values = []
    for a, b in zip(x, y, strict=True):
        for i in range(a.shape[0] - 10):
            for j in range(a.shape[1] - 10):
                p, q = a[i : i + 11, j : j + 11], b[i : i + 11, j : j + 11]
                mp, mq = (window * p).sum(), (window * q).sum()
                vp, vq = (window * (p - mp) ** 2).sum(), (window * (q - mq) ** 2).sum()
                cov = (window * (p - mp) * (q - mq)).sum()
                values.append((2 * mp * mq + c1) * (2 * cov + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2)))
    return float(np.mean(values))


def naive_gmsd(x, y):
    """Xue et al. 2014 on one luminance picture, pixel by pixel."""

    def gradients(p):
        h, w = p.shape[0] // 2, p.shape[1] // 2
        small = np.zeros((h + 2, w + 2))
        for i in range(h):
            for j in range(w):
                small[i + 1, j + 1] = p[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean()
        found = np.zeros((h, w))
        for i in range(h):
            for j in range(w):
                part = small[i : i + 3, j : j + 3]
                across = (part[:, 0] - part[:, 2]).sum() / 3
                down = (part[0] - part[2]).sum() / 3
                found[i, j] = np.hypot(across, down)
        return found

    a, b = gradients(x), gradients(y)
    c = 170 / 255**2
    return float(((2 * a * b + c) / (a**2 + b**2 + c)).std())


def pair(seed, noise, side=20, channels=3):
    draws = np.random.default_rng(seed)
    coarse = torch.from_numpy(draws.random((1, channels, 5, 5)))
    truth = torch.nn.functional.interpolate(coarse, (side, side + 4), mode="bilinear")
    other = (truth + noise * torch.from_numpy(draws.normal(size=truth.shape))).clamp(0, 1)
    return other, truth


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 0.5), st.sampled_from([1, 3]))
def test_ssim_and_gmsd_agree_with_their_definitions(seed, noise, channels):
    a, b = pair(seed, noise, channels=channels)
    assert float(ssim(a, b)[0]) == pytest.approx(naive_ssim(a[0].numpy(), b[0].numpy()), abs=1e-6)
    weights = np.array([0.299, 0.587, 0.114]) if channels == 3 else np.ones(1)
    grey = [np.tensordot(weights, p[0].numpy(), 1) for p in (a, b)]
    assert float(gmsd(a, b)[0]) == pytest.approx(naive_gmsd(*grey), abs=1e-6)


@pytest.mark.parametrize("offset", [0.1, 0.01, 0.001])
def test_psnr_of_a_constant_offset_is_known(offset):
    truth = torch.full((1, 3, 12, 12), 0.5, dtype=torch.float64)
    assert float(psnr(truth + offset, truth)[0]) == pytest.approx(-20 * np.log10(offset))


def test_known_values_of_ssim_and_gmsd():
    flat, other = torch.full((1, 1, 16, 16), 0.5), torch.full((1, 1, 16, 16), 0.7)
    # Constant pictures: only the luminance term remains.
    assert float(ssim(flat, other)[0]) == pytest.approx((2 * 0.35 + 1e-4) / (0.25 + 0.49 + 1e-4), abs=1e-6)
    a, b = pair(0, 0.2)
    assert float(ssim(b, b)[0]) == pytest.approx(1)
    assert float(gmsd(b, b)[0]) == 0
    assert gmsd(a, b) > 0.05


def test_one_exact_picture_does_not_hide_the_others():
    a, b = pair(0, 0.3)
    values = psnr(torch.cat([b, a]), torch.cat([b, b]))
    assert float(values[0]) == PSNR_CAP
    assert float(values[1]) < 20
    assert torch.isfinite(values.mean())


def test_the_affine_fit_undoes_gain_and_offset_of_each_channel_and_nothing_else():
    _, truth = pair(3, 0)
    gains, offsets = torch.tensor([0.5, -0.3, 0.8]), torch.tensor([0.2, 0.6, 0.1])
    changed = truth * gains[:, None, None] + offsets[:, None, None]
    assert float(psnr_affine(changed, truth)[0]) == PSNR_CAP
    assert float(psnr(changed, truth)[0]) < 20
    flat = torch.full_like(truth, 0.3)
    colour = truth.mean((2, 3), keepdim=True).expand_as(truth)
    assert float(psnr_affine(flat, truth)[0]) == pytest.approx(float(psnr(colour, truth)[0]))
    mixed = truth.flip(1)
    assert float(psnr_affine(mixed, truth)[0]) < 40


def test_a_shuffled_perfect_batch_is_perfect_and_a_bad_one_stays_bad():
    truths = torch.cat([pair(seed, 0)[1] for seed in range(5)])
    order = torch.tensor([3, 0, 4, 1, 2])
    guesses = truths[order]
    found = arranged(guesses, truths, mean_square)
    assert torch.equal(found, truths)
    assert (psnr(found, truths) == PSNR_CAP).all()
    assert torch.allclose(ssim(found, truths), torch.ones(5, dtype=torch.float64))
    guesses[0] = 0.5
    values = psnr(arranged(guesses, truths, mean_square), truths)
    assert (values == PSNR_CAP).sum() == 4
    assert values[3] < 30


def test_matching_is_optimal_and_takes_more_or_fewer_guesses():
    draws = torch.Generator().manual_seed(0)
    truths, guesses = torch.rand(4, 3, generator=draws), torch.rand(4, 3, generator=draws)

    def cost(a, b):
        return (a - b).abs().sum(1)

    def total(order):
        return sum(float((guesses[g] - truths[t]).abs().sum()) for t, g in enumerate(order))

    best = min(itertools.permutations(range(4)), key=total)
    assert match(guesses, truths, cost) == list(best)
    more = torch.cat([torch.full((3, 3), 9.0), truths])
    assert match(more, truths, cost) == [3, 4, 5, 6]
    assert match(truths[[2]], truths, cost) == [None, None, 0, None]
    assert match(truths[:0], truths, cost) == [None] * 4
    filled = arranged(truths[[2]], truths, cost)
    assert torch.equal(filled[2], truths[2])
    assert (filled[[0, 1, 3]] == 0.5).all()


def test_what_is_not_in_the_unit_range_or_shape_is_refused():
    a, b = pair(0, 0.1)
    with pytest.raises(AttackError, match="undo the normalisation"):
        psnr(a * 2 - 1, b)
    with pytest.raises(AttackError, match="undo the normalisation"):
        ssim(a, b * 255)
    with pytest.raises(AttackError, match="undo the normalisation"):
        psnr(torch.full_like(b, float("nan")), b)
    with pytest.raises(AttackError, match="both be"):
        psnr(a[:, :1], b)
    with pytest.raises(AttackError, match="11x11"):
        ssim(a[..., :8, :8], b[..., :8, :8])
    with pytest.raises(AttackError, match="6x6"):
        gmsd(a[..., :4, :4], b[..., :4, :4])
    with pytest.raises(AttackError, match="no truths"):
        match(a, b[:0], mean_square)
    with pytest.raises(AttackError, match="do not fit"):
        match(a[..., :8], b, mean_square)


def test_a_picture_without_pixels_has_no_psnr():
    with pytest.raises(AttackError, match="none of them 0"):
        psnr(torch.zeros(1, 3, 0, 4), torch.zeros(1, 3, 0, 4))
