"""Texture features: how a picture is drawn, as a fixed vector.

Nothing here is learned. The features are hand-made statistics in the line of Portilla & Simoncelli 2000.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from fedstyle_secure.textures import filters

# Every picture is brought to this side first, so that filters mean the same in all of them.
WORKING_SIZE = 96

_CENTRES = tuple(0.33 / 1.8**i for i in range(5))
_FINE, _ORIENTATIONS = 2, 8
_CHROMA_CENTRES = tuple(0.36 / 1.9**i for i in range(4))
_SECOND_CENTRES = (0.25, 0.125, 0.0625)
_QUANTILES = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)
_HUES = 12

_FineCoarse = tuple[Tensor, Tensor]


def texture_features(pictures: np.ndarray, without: Collection[str] = ()) -> npt.NDArray[np.float32]:
    """Measure pictures, each by itself.

    Args:
        pictures: uint8, shape (n, s, s, 3), RGB, any s from 32.
        without: Groups that are left out. Of "scattering" and "runs" this saves a quarter of the time.

    Returns:
        float32, shape (n, D0): the groups of `feature_groups`, one after the other; always finite.
    """
    if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[3] != 3:
        raise ValueError(f"pictures must be uint8 (n, s, s, 3), not {pictures.dtype} {pictures.shape}")
    width = sum(part.stop - part.start for name, part in feature_groups().items() if name not in without)
    # Into one piece of memory: rows of their own, between what each picture leaves free, held three times it.
    found = np.empty((len(pictures), width), np.float32)
    with torch.no_grad():
        for place, picture in zip(found, pictures, strict=True):
            place[:] = _row(picture, without)[0]
    return found


def _row(picture: np.ndarray, without: Collection[str]) -> np.ndarray:
    found = _groups(picture[None], without)
    return torch.cat([values for name, values in found if name not in without], 1).numpy()


@lru_cache(maxsize=1)
def feature_groups() -> dict[str, slice]:
    """Columns of `texture_features` by group, in order."""
    groups, start = {}, 0
    with torch.no_grad():
        for name, values in _groups(np.zeros((1, WORKING_SIZE, WORKING_SIZE, 3), np.uint8)):
            groups[name] = slice(start, start + values.shape[1])
            start += values.shape[1]
    return groups


def group_widths() -> tuple[int, ...]:
    """Columns of each of the `feature_groups`."""
    return tuple(part.stop - part.start for part in feature_groups().values())


@lru_cache(maxsize=1)
def _banks() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Fine and coarse luminance filters, chroma filters, and filters for amplitude maps of 24 pixels."""
    return (
        filters.log_gabor(WORKING_SIZE + 32, _CENTRES[:_FINE], _ORIENTATIONS),
        filters.log_gabor(WORKING_SIZE // 2 + 16, tuple(2 * c for c in _CENTRES[_FINE:]), _ORIENTATIONS),
        filters.log_gabor(WORKING_SIZE // 2 + 16, _CHROMA_CENTRES, 4),
        filters.log_gabor(WORKING_SIZE // 4 + 8, _SECOND_CENTRES, 4),
    )


def _groups(pictures: np.ndarray, without: Collection[str] = ()) -> Iterator[tuple[str, Tensor]]:
    """The feature groups of a few pictures: (name, float32 (n, width)). Only the dearest of those that are
    left out are not measured."""
    rgb = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 255
    if rgb.shape[-1] != WORKING_SIZE:
        size = (WORKING_SIZE, WORKING_SIZE)
        rgb = functional.interpolate(rgb, size, mode="bicubic", antialias=True, align_corners=False)
        rgb = rgb.clamp(0, 1)
    normal, paper, ink = filters.whiten_paper(rgb)
    colours = filters.opponent(normal)
    luminance = colours[:, 0]
    fine_bank, coarse_bank, chroma_bank, second_bank = _banks()
    fine = filters.energies(luminance, fine_bank)
    coarse = filters.coarse_energies(luminance, coarse_bank)
    maps = torch.cat([functional.avg_pool2d(fine, 2), coarse], 1)
    half = functional.avg_pool2d(colours[:, 1:], 2)
    chroma = torch.cat([filters.energies(half[:, i], chroma_bank) for i in range(2)], 1)
    yield from _energy_groups((fine, coarse), maps)
    yield from _chroma_groups(maps, chroma)
    if "scattering" not in without:
        yield "scattering", _second_order(maps, second_bank)
    yield from _colour_groups(rgb, colours, paper, ink)
    for step in (1, 2, 3):
        yield f"patterns_{step}", filters.local_patterns(luminance, step)
    if "runs" not in without:
        yield "runs", filters.ink_runs(luminance)
    yield "border", _border(colours, maps)


def _log(values: Tensor) -> Tensor:
    return torch.log(values + 1e-3)


def _energy_groups(amplitudes: _FineCoarse, maps: Tensor) -> Iterator[tuple[str, Tensor]]:
    """What line and tone do at 5 scales and 8 orientations; `maps` are all amplitudes at half resolution."""
    mean, deviation, skewness = (
        torch.cat(parts, 1) for parts in zip(*(filters.moments(a) for a in amplitudes), strict=True)
    )
    yield "energy_mean", _log(mean)
    yield "energy_deviation", _log(deviation)
    yield "energy_skewness", skewness
    # Relative to the picture's own level: what is left when contrast is another.
    yield "energy_relative", _log(mean) - _log(mean).mean(1, keepdim=True)
    by_scale = mean.view(len(mean), len(_CENTRES), _ORIENTATIONS)
    shares = by_scale / (by_scale.sum(2, keepdim=True) + 1e-3)
    yield (
        "energy_isotropy",
        torch.cat(
            [
                _log(by_scale.mean(2)),
                by_scale.std(2) / (by_scale.mean(2) + 1e-3),
                torch.fft.rfft(shares, dim=2).abs()[:, :, 1:].flatten(1),
            ],
            1,
        ),
    )
    yield "energy_correlation", filters.correlations(maps)


def _chroma_groups(maps: Tensor, chroma: Tensor) -> Iterator[tuple[str, Tensor]]:
    """How colour is laid on, and whether it keeps to the lines."""
    n, side = len(chroma), chroma.shape[-1]
    mean, deviation, _ = filters.moments(chroma)
    yield "chroma_mean", _log(mean)
    yield "chroma_deviation", _log(deviation)
    tone = maps.view(n, len(_CENTRES), _ORIENTATIONS, side, side).mean(2)[:, :4]
    both = torch.cat([tone, chroma.view(n, 8, 4, side, side).mean(2)], 1)
    yield "chroma_correlation", filters.correlations(both)


def _second_order(maps: Tensor, bank: Tensor) -> Tensor:
    """Energies of energies (scattering, Bruna & Mallat 2013): 4 scales x 4 orientations, 12 filters each."""
    n, side = len(maps), WORKING_SIZE // 4
    chosen = maps.view(n, len(_CENTRES), _ORIENTATIONS, 2 * side, 2 * side)[:, :4, ::2].flatten(0, 2)
    first = functional.avg_pool2d(chosen[:, None], 2)[:, 0]
    second = filters.energies(first, bank).mean((2, 3))
    return torch.log(second / (first.mean((1, 2))[:, None] + 1e-2) + 1e-2).view(n, -1)


def _colour_groups(rgb: Tensor, colours: Tensor, paper: Tensor, ink: Tensor) -> Iterator[tuple[str, Tensor]]:
    """The palette, on paper made white and as it is; hues weighted by their strength; paper and ink."""
    for name, values in (("palette", colours), ("palette_raw", rgb)):
        sample = values[:, :, ::2, ::2].flatten(2)
        yield name, filters.quantiles(sample, _QUANTILES).permute(1, 2, 0).flatten(1)
    yield "paper", torch.cat([paper, ink, paper - paper.mean(1, keepdim=True)], 1)
    red, yellow = colours[:, 1, ::2, ::2].flatten(1), colours[:, 2, ::2, ::2].flatten(1)
    strength, step = torch.sqrt(red**2 + yellow**2 + 1e-6), 2 * torch.pi / _HUES
    turn = torch.atan2(yellow, red)[..., None] - step * torch.arange(_HUES)
    turn = torch.remainder(turn + torch.pi, 2 * torch.pi) - torch.pi
    hues = ((1 - turn.abs() / step).clamp_min(0) * strength[..., None]).mean(1)
    yield "hue", torch.cat([hues.sqrt(), hues / (hues.sum(1, keepdim=True) + 0.02)], 1)


def _border(colours: Tensor, maps: Tensor) -> Tensor:
    """How the outer twelfth differs from the rest (vignettes, frames): mean and deviation of 6 maps."""
    strength = torch.sqrt(colours[:, 1:2] ** 2 + colours[:, 2:] ** 2 + 1e-6)
    by_scale = maps.view(len(maps), len(_CENTRES), _ORIENTATIONS, *maps.shape[2:]).mean(2)
    side = maps.shape[-1]
    values = torch.cat([functional.avg_pool2d(torch.cat([colours, strength], 1), 2), by_scale[:, [0, 2]]], 1)
    edge = torch.ones(side, side, dtype=torch.bool)
    edge[side // 12 : -(side // 12), side // 12 : -(side // 12)] = False
    outer, inner = values[:, :, edge], values[:, :, ~edge]
    return torch.cat([outer.mean(2) - inner.mean(2), outer.std(2) - inner.std(2)], 1)
