"""How near a reconstruction is to a picture. Everything is in [0, 1], after undoing normalisation.

Such figures correlate weakly with what a person recognises (Sun et al. 2023, arXiv 2309.13038): the
headline of an audit is identification, and these stand beside it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from attacks.errors import AttackError

PSNR_CAP = 100.0
"""Decibels of a picture that is exact, and the most that any picture counts for. An 8-bit picture that
is right after rounding has at least 54 dB, so that the cap hides nothing that a screen could show."""

_WINDOW, _SIGMA = 11, 1.5
_LUMA = (0.299, 0.587, 0.114)


def psnr(pictures: Tensor, truths: Tensor) -> Tensor:
    """Peak signal-to-noise ratio (n,) in dB for a peak of 1, at most PSNR_CAP.

    Args:
        pictures: (n, c, h, w) in [0, 1].
        truths: The same shape and range.

    Example:
        >>> black = torch.zeros(1, 3, 2, 2)
        >>> round(psnr(black + 0.1, black).item(), 3)
        20.0
        >>> psnr(black, black).item()  # The cap.
        100.0
    """
    error = mean_square(pictures, truths)
    return (-10 * torch.log10(error.clamp(min=10 ** (-PSNR_CAP / 10)))).clamp(max=PSNR_CAP)


def psnr_affine(pictures: Tensor, truths: Tensor) -> Tensor:
    """PSNR (n,) after the gain and offset of each channel that fit the truth best.

    Where norms hide gain and offset from an attack, this shows the structure it found. The fit looks at
    the truth, so it is no figure to rank by, and a constant picture already gets the truth's channel
    means for free: compare with baselines under the same fit.

    Example:
        >>> truth = torch.linspace(0, 1, 16).view(1, 1, 4, 4)
        >>> psnr_affine(truth / 2 + 0.25, truth).item()  # Gain and offset apart, it is the truth.
        100.0
    """
    _check(pictures, truths)
    x, y = pictures.double().flatten(2), truths.double().flatten(2)
    x_mean, y_mean = x.mean(2, keepdim=True), y.mean(2, keepdim=True)
    variance = (x - x_mean).square().mean(2, keepdim=True)
    covariance = ((x - x_mean) * (y - y_mean)).mean(2, keepdim=True)
    gain = torch.where(variance > 1e-12, covariance / variance.clamp(min=1e-12), 0)
    fitted = (gain * (x - x_mean) + y_mean).clamp(0, 1).view_as(truths)
    return psnr(fitted, truths.double())


def mean_square(pictures: Tensor, truths: Tensor) -> Tensor:
    """Mean squared difference (n,).

    Example:
        >>> mean_square(torch.full((1, 3, 2, 2), 0.5), torch.zeros(1, 3, 2, 2)).tolist()
        [0.25]
    """
    _check(pictures, truths)
    return (pictures.double() - truths.double()).square().flatten(1).mean(1)


def ssim(pictures: Tensor, truths: Tensor) -> Tensor:
    """Structural similarity (n,), the mean over channels (Wang et al. 2004).

    An 11x11 Gaussian window of deviation 1.5 that lies wholly inside the picture, K1 = 0.01, K2 = 0.03,
    peak 1, population covariances.

    Args:
        pictures: (n, c, h, w) in [0, 1], h and w at least 11.
        truths: The same shape and range.

    Example:
        >>> truth = torch.linspace(0, 1, 256).view(1, 1, 16, 16)
        >>> round(ssim(truth, truth).item(), 6), ssim(1 - truth, truth).item() < 0
        (1.0, True)
    """
    _check(pictures, truths)
    if min(truths.shape[2:]) < _WINDOW:
        raise AttackError(f"SSIM needs pictures of at least 11x11, not {tuple(truths.shape[2:])}")
    x, y = pictures.double().flatten(0, 1)[:, None], truths.double().flatten(0, 1)[:, None]
    mx, my = _blur(x), _blur(y)
    vx, vy, cov = _blur(x * x) - mx**2, _blur(y * y) - my**2, _blur(x * y) - mx * my
    c1, c2 = 0.01**2, 0.03**2
    score = (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    return score.mean((1, 2, 3)).view(truths.shape[:2]).mean(1)


def gmsd(pictures: Tensor, truths: Tensor) -> Tensor:
    """Gradient magnitude similarity deviation (n,); 0 is best (Xue et al. 2014, eqs. 1-6).

    Luminance (the mean where there are not three channels), averaged and halved 2x2, Prewitt gradients,
    c = 170 / 255^2.

    Args:
        pictures: (n, c, h, w) in [0, 1], h and w at least 6.
        truths: The same shape and range.

    Example:
        >>> truth = torch.linspace(0, 1, 256).view(1, 1, 16, 16)
        >>> gmsd(truth, truth).item()
        0.0
    """
    _check(pictures, truths)
    if min(truths.shape[2:]) < 6:
        raise AttackError(f"GMSD needs pictures of at least 6x6, not {tuple(truths.shape[2:])}")
    a, b = _gradient_magnitude(pictures), _gradient_magnitude(truths)
    c = 170 / 255**2
    similarity = (2 * a * b + c) / (a**2 + b**2 + c)
    return similarity.flatten(1).std(1, unbiased=False)


def luminance(pictures: Tensor) -> Tensor:
    """Pictures (n, c, h, w) to (n, 1, h, w): Rec. 601 weights of RGB, else the mean of the channels."""
    if pictures.shape[1] != 3:
        return pictures.mean(1, keepdim=True)
    return (pictures * pictures.new_tensor(_LUMA)[:, None, None]).sum(1, keepdim=True)


def _gradient_magnitude(pictures: Tensor) -> Tensor:
    halved = F.avg_pool2d(luminance(pictures.double()), 2)
    prewitt = halved.new_tensor([[1.0, 0, -1]] * 3) / 3
    kernels = torch.stack([prewitt, prewitt.T])[:, None]
    return F.conv2d(halved, kernels, padding=1).square().sum(1).sqrt()


def _blur(x: Tensor) -> Tensor:
    at = torch.arange(_WINDOW, dtype=x.dtype) - _WINDOW // 2
    window = torch.exp(-(at**2) / (2 * _SIGMA**2))
    window = window / window.sum()
    return F.conv2d(F.conv2d(x, window.view(1, 1, 1, -1)), window.view(1, 1, -1, 1))


def _check(pictures: Tensor, truths: Tensor) -> None:
    if pictures.ndim != 4 or pictures.shape != truths.shape or not truths.numel():
        raise AttackError(
            f"pictures {tuple(pictures.shape)} and truths {tuple(truths.shape)} must both be (n, c, h, w), "
            "none of them 0"
        )
    for name, given in (("pictures", pictures), ("truths", truths)):
        low, high = float(given.min()), float(given.max())
        if not (math.isfinite(low) and math.isfinite(high)) or low < -1e-6 or high > 1 + 1e-6:
            raise AttackError(
                f"{name} must be in [0, 1], not [{low:.3g}, {high:.3g}]: undo the normalisation"
            )
