"""Texture features: how a picture is drawn, as a fixed vector; and a whitening that makes them comparable.

Nothing here is learned from private pictures. The features are hand-made statistics in the line of
Portilla & Simoncelli 2000; `fit_whitening` looks at public and procedural pictures only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from fedstyle_secure.privacy.alone import one_at_a_time
from fedstyle_secure.systems.style import filters

# Every picture is brought to this side first, so that filters mean the same in all of them.
WORKING_SIZE = 96

_CENTRES = tuple(0.33 / 1.8**i for i in range(5))
_FINE, _ORIENTATIONS = 2, 8
_CHROMA_CENTRES = tuple(0.36 / 1.9**i for i in range(4))
_SECOND_CENTRES = (0.25, 0.125, 0.0625)
_QUANTILES = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)
_HUES = 12

_CUT = 2.5
"""Deviations at which standardised features are cut."""

_SMALLEST = 1e-3
"""Added to each feature's deviation."""

_LARGEST_MEAN = 1e3
"""Beyond any mean of features: the largest are skewnesses, of at most the root of a map's size."""

_FineCoarse = tuple[Tensor, Tensor]


def texture_features(pictures: np.ndarray) -> npt.NDArray[np.float32]:
    """Measure pictures, each by itself.

    Args:
        pictures: uint8, shape (n, s, s, 3), RGB, any s from 32.

    Returns:
        float32, shape (n, D0): the groups of `feature_groups`, one after the other; always finite.
    """
    if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[3] != 3:
        raise ValueError(f"pictures must be uint8 (n, s, s, 3), not {pictures.dtype} {pictures.shape}")
    with torch.no_grad():
        rows = [torch.cat([values for _, values in _groups(one[None])], 1).numpy() for one in pictures]
    width = sum(part.stop - part.start for part in feature_groups().values())
    return np.concatenate(rows).astype(np.float32) if rows else np.zeros((0, width), np.float32)


@lru_cache(maxsize=1)
def feature_groups() -> dict[str, slice]:
    """Columns of `texture_features` by group, in order."""
    groups, start = {}, 0
    with torch.no_grad():
        for name, values in _groups(np.zeros((1, WORKING_SIZE, WORKING_SIZE, 3), np.uint8)):
            groups[name] = slice(start, start + values.shape[1])
            start += values.shape[1]
    return groups


@lru_cache(maxsize=1)
def _banks() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Fine and coarse luminance filters, chroma filters, and filters for amplitude maps of 24 pixels."""
    return (
        filters.log_gabor(WORKING_SIZE + 32, _CENTRES[:_FINE], _ORIENTATIONS),
        filters.log_gabor(WORKING_SIZE // 2 + 16, tuple(2 * c for c in _CENTRES[_FINE:]), _ORIENTATIONS),
        filters.log_gabor(WORKING_SIZE // 2 + 16, _CHROMA_CENTRES, 4),
        filters.log_gabor(WORKING_SIZE // 4 + 8, _SECOND_CENTRES, 4),
    )


def _groups(pictures: np.ndarray) -> Iterator[tuple[str, Tensor]]:
    """The feature groups of a few pictures: (name, float32 (n, width))."""
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
    yield "scattering", _second_order(maps, second_bank)
    yield from _colour_groups(rgb, colours, paper, ink)
    for step in (1, 2, 3):
        yield f"patterns_{step}", filters.local_patterns(luminance, step)
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


@dataclass(frozen=True)
class Whitening:
    """A fixed map from texture features to unit vectors in which what varies within any artist counts less.

    Attributes:
        mean: float32 (D0,), subtracted.
        scale: float32 (D0,), multiplied: one over deviation, over the root of the group's size.
        limit: float32 (D0,), scaled features are cut at plus and minus this.
        projection: float32 (d, D0), whitening and choice of the d strongest directions in one.
    """

    mean: npt.NDArray[np.float32]
    scale: npt.NDArray[np.float32]
    limit: npt.NDArray[np.float32]
    projection: npt.NDArray[np.float32]

    def implausible(self) -> str | None:
        """Which array no `fit_whitening` gives, and what it would have to be; None: all are plausible.

        A scale is at most 1 over the smallest deviation, a limit at most the cut, and no row of a projection
        is longer than 1, as gains are at most 1; features are logarithms, shares and cubes of a few.
        """
        length = np.sqrt(np.square(self.projection.astype(np.float64)).sum(axis=1))
        steepest, widest = 1.001 / _SMALLEST, 1.001 * _CUT
        holds = {
            f"mean: from -{_LARGEST_MEAN:g} to {_LARGEST_MEAN:g}": np.abs(self.mean) <= _LARGEST_MEAN,
            f"scale: above 0, at most {1 / _SMALLEST:g}": (self.scale > 0) & (self.scale <= steepest),
            f"limit: above 0, at most {_CUT:g}": (self.limit > 0) & (self.limit <= widest),
            "projection: rows of length at most 1": length <= 1.001,
        }
        return next((rule for rule, kept in holds.items() if not kept.all()), None)

    def apply(self, features: np.ndarray) -> npt.NDArray[np.float32]:
        """Features (n, D0) to unit vectors, float32 (n, d), each by itself; features equal to the mean stay
        zero."""
        mean, scale, limit, projection = (
            torch.from_numpy(array).clone() for array in (self.mean, self.scale, self.limit, self.projection)
        )

        def apply(one: Tensor) -> Tensor:
            z = ((one - mean) * scale).clamp(-limit, limit) @ projection.T
            unit: Tensor = z / z.norm(dim=1, keepdim=True).clamp_min(1e-6)
            return unit

        return one_at_a_time(apply, torch.from_numpy(np.asarray(features, np.float32))).numpy()


def fit_whitening(
    features: np.ndarray,
    artists: np.ndarray,
    practice: np.ndarray | None = None,
    practice_artists: np.ndarray | None = None,
    dims: int = 192,
    ridge: float = 0.05,
    cut: float = _CUT,
) -> Whitening:
    """Whiten by the covariance within artists plus a ridge (WCCN, Hatch et al. 2006), then keep `dims` axes.

    The covariance is that of the public set plus that of practice pictures, both around their own
    artist's mean. It leaves most of the D0 directions empty: the ridge passes those unchanged instead of
    blowing them up. The axes kept are the strongest of all these pictures after whitening.

    Args:
        features: (n, D0), the public set; also gives mean and deviation of each feature.
        artists: (n,), who made each; at least one artist has two pictures.
        practice: (m, D0), procedural pictures, optional; they show directions that few pictures cannot.
        practice_artists: (m,).
        dims: Largest number of dimensions; fewer where there are fewer pictures.
        ridge: Added to all eigenvalues, as a share of the largest.
        cut: Standardised features are cut at this many deviations.
    """
    mean, deviation = features.mean(0), features.std(0)
    if practice is not None:
        # A feature that is constant in the public set (chroma of engravings) must not explode elsewhere.
        deviation = np.maximum(deviation, 0.1 * practice.std(0))
    width = [part.stop - part.start for part in feature_groups().values()]
    weight = np.repeat(1 / np.sqrt(width), width)
    scale, limit = weight / (deviation + _SMALLEST), cut * weight
    sets = [(features, artists)]
    if practice is not None and practice_artists is not None:
        sets.append((practice, practice_artists))
    scaled = [np.clip((rows - mean) * scale, -limit, limit) for rows, _ in sets]
    inner = np.concatenate([_within(z, who) for z, (_, who) in zip(scaled, sets, strict=True)])
    _, roots, axes = np.linalg.svd(inner, full_matrices=False)
    share = roots**2 / max(roots[0] ** 2, 1e-12)
    gains = np.sqrt(ridge / (share + ridge))

    def whiten(z: np.ndarray) -> np.ndarray:
        whitened: np.ndarray = z + ((z @ axes.T) * (gains - 1)) @ axes
        return whitened

    z = whiten(np.concatenate(scaled))
    z = z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-6)
    strongest = np.linalg.svd(z, full_matrices=False)[2][:dims]
    arrays = (mean, scale, limit, whiten(strongest))
    return Whitening(*(array.astype(np.float32) for array in arrays))


def _within(z: np.ndarray, artists: np.ndarray) -> np.ndarray:
    """Rows minus their artist's mean, over the root of their number: the covariance is rows' times rows."""
    _, member = np.unique(artists, return_inverse=True)
    sums = np.zeros((member.max() + 1, z.shape[1]))
    np.add.at(sums, member, z)
    rows: np.ndarray = (z - (sums / np.bincount(member)[:, None])[member]) / np.sqrt(len(z))
    return rows
