"""A whitening that makes pictures' features comparable, learned from public and procedural pictures only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fedstyle_secure.privacy.alone import one_at_a_time

_CUT = 2.5
"""Deviations at which standardised features are cut."""

_SMALLEST = 1e-3
"""Added to each feature's deviation."""

LARGEST_MEAN = 1e3
"""Beyond any mean of features: of textures the largest are skewnesses, at most the root of a map's size."""


@dataclass(frozen=True)
class Whitening:
    """A fixed map from features to unit vectors in which what varies within any artist counts less.

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
        is longer than 1, as gains are at most 1; features are logarithms, shares and cubes of a few, or cut
        at the largest mean.
        """
        length = np.sqrt(np.square(self.projection.astype(np.float64)).sum(axis=1))
        steepest, widest = 1.001 / _SMALLEST, 1.001 * _CUT
        holds = {
            f"mean: from -{LARGEST_MEAN:g} to {LARGEST_MEAN:g}": np.abs(self.mean) <= LARGEST_MEAN,
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
    *,
    widths: Sequence[int],
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
        widths: How the D0 features fall into groups, one after the other; groups count alike.
    """
    mean, deviation = features.mean(0), features.std(0)
    if practice is not None:
        # A feature that is constant in the public set (chroma of engravings) must not explode elsewhere.
        deviation = np.maximum(deviation, 0.1 * practice.std(0))
    weight = np.repeat(1 / np.sqrt(widths), widths)
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
