"""Filters and picture statistics that a style is read from: all fixed, none learned, pure functions.

Pictures are float32 torch tensors in [0, 1] of shape (n, 3, s, s); maps are (n, s, s); frequencies are in
cycles per pixel. Every function treats each picture on its own: a batch equals one picture at a time.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

# Rows: luminance (BT.601), red against green, yellow against blue.
_OPPONENT = ((0.299, 0.587, 0.114), (0.5, -0.5, 0.0), (0.25, 0.25, -0.5))

# Lengths in pixels that `ink_runs` looks for; each is at most twice the one before, see there.
RUN_LENGTHS = (2, 3, 4, 6, 9, 14, 24)

# A log-Gabor's bandwidth as the ratio sigma / centre frequency: about 1.7 octaves.
_BANDWIDTH = 0.6


def whiten_paper(pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Divide out the colour of the light or paper and stretch the contrast (white-patch Retinex, Land 1977).

    Paper is the 97th percentile of each channel after a 3x3 mean, ink the darkest channel's 1st. Where
    ink is black, a tint (one gain per channel) is removed exactly, but for rounding and clipped pixels.

    Returns:
        Pictures with paper at 1 and ink at 0, clamped to [-0.1, 1.15]; paper (n, 3); ink (n, 1).
    """
    darkest, paper = quantiles(functional.avg_pool2d(pictures, 3).flatten(2), (0.01, 0.97))
    ink = darkest.amin(1, keepdim=True)
    gain = (paper - ink).clamp_min(0.12)
    return ((pictures - ink[..., None, None]) / gain[..., None, None]).clamp(-0.1, 1.15), paper, ink


def quantiles(values: Tensor, levels: tuple[float, ...]) -> Tensor:
    """What `torch.quantile` gives over the last dimension, to the bit, without sorting everything.

    Args:
        values: float32 (..., n), finite.
        levels: k of them, in [0, 1].

    Returns:
        (k, ...).
    """
    places = torch.tensor(levels, dtype=values.dtype) * (values.shape[-1] - 1)
    below, above = places.floor().long(), places.ceil().long()
    kept = torch.cat([below, above]).unique().numpy()
    parts = torch.from_numpy(np.partition(values.numpy(), kept, axis=-1))
    return torch.lerp(parts[..., below], parts[..., above], places - below).movedim(-1, 0)


def opponent(pictures: Tensor) -> Tensor:
    """Luminance, red-green and yellow-blue: (n, 3, s, s)."""
    return torch.einsum("kc,nchw->nkhw", torch.tensor(_OPPONENT), pictures)


@lru_cache(maxsize=8)
def log_gabor(size: int, centres: tuple[float, ...], orientations: int) -> Tensor:
    """One-sided log-Gabor filters in the Fourier domain (Field 1987), orientation varying fastest.

    Args:
        size: Side of the Fourier grid in pixels.
        centres: Centre frequencies.
        orientations: Filters per frequency; number o passes waves along the angle o * pi / orientations.

    Returns:
        float32 (len(centres) * orientations, size, size); a sinusoid of amplitude a at a filter's centre
        comes out with modulus a.
    """
    fy, fx = torch.fft.fftfreq(size)[:, None], torch.fft.fftfreq(size)[None, :]
    radius = torch.sqrt(fx**2 + fy**2)
    radius[0, 0] = 1.0
    angle = torch.atan2(fy, fx)
    spread = 0.65 * math.pi / orientations
    bank = []
    for centre in centres:
        radial = torch.exp(-(torch.log(radius / centre) ** 2) / (2 * math.log(_BANDWIDTH) ** 2))
        radial[0, 0] = 0.0
        for o in range(orientations):
            turn = angle - o * math.pi / orientations
            turn = torch.atan2(torch.sin(turn), torch.cos(turn))
            bank.append(radial * torch.exp(-(turn**2) / (2 * spread**2)))
    return 2.0 * torch.stack(bank)


def energies(maps: Tensor, bank: Tensor) -> Tensor:
    """Local amplitude at each filter: (n, s, s) and a bank on a grid of s + 2 * margin to (n, k, s, s).

    The maps are continued by reflection into the margin, so that the picture's edges are no strokes.
    """
    size = maps.shape[-1]
    margin = (bank.shape[-1] - size) // 2
    spectrum = torch.fft.fft2(functional.pad(maps[:, None], (margin,) * 4, mode="reflect"))
    return _amplitude(spectrum * bank, margin, size)


def coarse_energies(maps: Tensor, bank: Tensor) -> Tensor:
    """As `energies`, computed at half the resolution: (n, s, s) to (n, k, s / 2, s / 2).

    The upper half of the spectrum is cut off, so only filters well below 0.25 cycles per pixel fit; the
    bank's grid has the half resolution and twice the frequency.
    """
    size, grid = maps.shape[-1] // 2, bank.shape[-1]
    margin = (grid - size) // 2
    spectrum = torch.fft.fft2(functional.pad(maps, (2 * margin,) * 4, mode="reflect"))
    keep = torch.cat([torch.arange(grid // 2), torch.arange(2 * grid - grid // 2, 2 * grid)])
    spectrum = spectrum[:, keep][:, :, keep] / 4
    return _amplitude(spectrum[:, None] * bank, margin, size)


def _amplitude(spectra: Tensor, margin: int, size: int) -> Tensor:
    """Modulus of the inverse transform without its margin."""
    inside = slice(margin, margin + size)
    parts = torch.view_as_real(torch.fft.ifft2(spectra)[..., inside, inside])
    return (parts[..., 0] ** 2 + parts[..., 1] ** 2).sqrt()


def moments(maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, standard deviation and skewness over the last two dimensions."""
    flat = maps.flatten(-2)
    mean = flat.mean(-1)
    centred = flat - mean[..., None]
    square = centred * centred
    deviation = square.mean(-1).sqrt() + 1e-4
    return mean, deviation, (square * centred).mean(-1) / deviation**3


def correlations(maps: Tensor) -> Tensor:
    """Pairwise correlations of k maps of a picture (Portilla & Simoncelli 2000).

    (n, k, h, w) to (n, k(k-1)/2). A small constant below lets correlations of flat maps fade to 0.
    """
    flat = maps.flatten(2)
    flat = flat - flat.mean(2, keepdim=True)
    flat = flat / (flat.norm(dim=2, keepdim=True) + 1e-3)
    rows, columns = torch.triu_indices(maps.shape[1], maps.shape[1], 1)
    pairs: Tensor = (flat @ flat.transpose(1, 2))[:, rows, columns]
    return pairs


@lru_cache(maxsize=1)
def _uniform_patterns() -> Tensor:
    """float32 (256, 59): which of the 58 uniform local binary patterns, or the rest, a code is."""
    member = torch.zeros(256, 59)
    found = 0
    for code in range(256):
        bits = [code >> i & 1 for i in range(8)]
        if sum(bits[i] != bits[i - 1] for i in range(8)) <= 2:
            member[code, found] = 1.0
            found += 1
        else:
            member[code, 58] = 1.0
    return member


def local_patterns(luminance: Tensor, step: int) -> Tensor:
    """Square roots of the histograms of local ternary patterns (Tan & Triggs 2010), uniform codes.

    Args:
        luminance: (n, s, s).
        step: The map is first averaged over step x step pixels.

    Returns:
        (n, 118): neighbours brighter by more than 0.03, then darker by more than 0.03.
    """
    pooled = functional.avg_pool2d(luminance[:, None], step)[:, 0]
    n, height, width = len(pooled), pooled.shape[1] - 2, pooled.shape[2] - 2
    centre = pooled[:, 1:-1, 1:-1]
    brighter = torch.zeros_like(centre, dtype=torch.uint8)
    darker = torch.zeros_like(brighter)
    for bit, (i, j) in enumerate(((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0))):
        difference = pooled[:, i : i + height, j : j + width] - centre
        brighter += (difference > 0.03).to(torch.uint8) << bit
        darker += (difference < -0.03).to(torch.uint8) << bit
    offset = 256 * torch.arange(n)[:, None, None]
    parts = []
    for codes in (brighter, darker):
        counts = torch.bincount((codes + offset).flatten(), minlength=256 * n).view(n, 256)
        parts.append((counts.float() @ _uniform_patterns() / (height * width)).sqrt())
    return torch.cat(parts, 1)


def run_shares(mask: Tensor) -> Tensor:
    """How long the horizontal runs of a mask are: (n, h, w) bool to (n, 7).

    Entry i: starts of RUN_LENGTHS[i] set pixels in a row, as a share of the set pixels. A window of 2m
    pixels or fewer is set where two overlapping windows of m are.
    """
    area = mask.shape[1] * mask.shape[2]
    total = mask.sum((1, 2)) / area + 0.01
    window, have, out = mask, 1, []
    for length in RUN_LENGTHS:
        more = length - have
        window, have = window[:, :, : window.shape[2] - more] & window[:, :, more:], length
        out.append(window.sum((1, 2)) / area / total)
    return torch.stack(out, 1)


def ink_runs(luminance: Tensor) -> Tensor:
    """Widths of strokes and of the gaps between them, along rows and columns: (n, s, s) to (n, 58).

    Ink is what is darker than the middle between the 5th and 95th percentile, and, in a second reading, than
    its neighbourhood of 15 pixels by 0.04.
    """
    low, high = quantiles(luminance.flatten(1), (0.05, 0.95))
    around = functional.avg_pool2d(functional.pad(luminance[:, None], (7,) * 4, mode="reflect"), 15, 1)[:, 0]
    ink = torch.stack([luminance < ((low + high) / 2)[:, None, None], luminance < around - 0.04], 1)
    both = torch.stack([ink, ~ink], 2)
    masks = torch.cat([both, both.transpose(-2, -1)], 2)
    shares = run_shares(masks.flatten(0, 2)).view(*masks.shape[:2], -1)
    return torch.cat([shares, ink.float().mean((-2, -1))[..., None]], 2).flatten(1)
