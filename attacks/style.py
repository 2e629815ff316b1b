"""A style distance that needs no downloaded weights, and a judge that names artists by it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from attacks.errors import AttackError
from attacks.ranges import real, unit_pictures

_OCTAVES = 3
_OPPONENT = ((0.299, 0.587, 0.114), (0.5, -0.5, 0.0), (0.25, 0.25, -0.5))


def style_statistics(pictures: Tensor) -> Tensor:
    """What a picture is like, whatever it shows: float64 (n, k).

    At three octaves, the mean and deviation of every map (as AdaIN matches them, Huang and Belongie
    2017) and the Gram matrix of the deviations' correlations (Gatys et al. 2016). The maps are luminance
    and two opponent colours, and of each the size of its differences in four directions. Fixed filters
    stand in for a network, so that no victim is its own judge.

    Args:
        pictures: (n, 3, h, w) in [0, 1], h and w at least 16.
    """
    if pictures.ndim != 4 or pictures.shape[1] != 3 or min(pictures.shape[2:]) < 16:
        raise AttackError(f"style needs pictures (n, 3, h, w) from 16x16, not {tuple(pictures.shape)}")
    unit_pictures("pictures", pictures)
    opponent = torch.tensor(_OPPONENT, dtype=torch.float64)
    x = torch.einsum("oc,nchw->nohw", opponent, pictures.double())
    parts = []
    for _ in range(_OCTAVES):
        maps = torch.cat([x, *_differences(x)], dim=1).flatten(2)
        mean, deviation = maps.mean(2), maps.std(2, unbiased=False)
        centred = (maps - mean[:, :, None]) / (deviation[:, :, None] + 1e-3)
        gram = centred @ centred.transpose(1, 2) / maps.shape[2]
        upper = torch.triu_indices(gram.shape[1], gram.shape[1], 1)
        parts += [mean, (deviation + 1e-3).log(), gram[:, upper[0], upper[1]]]
        x = F.avg_pool2d(x, 2)
    return torch.cat(parts, dim=1)


def style_distance(pictures: Tensor, truths: Tensor, reference: Tensor) -> Tensor:
    """Root mean square difference (n,) of style statistics in units of their deviation in `reference`.

    There is no absolute scale: compare with the distance between other works of the same artist.

    Args:
        pictures: (n, 3, h, w) in [0, 1].
        truths: The same shape.
        reference: (m, 3, h, w) in [0, 1], m >= 2, what differences are measured against.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> pictures = torch.rand(4, 3, 16, 16)
        >>> distance = style_distance(pictures, pictures, reference=pictures)
        >>> distance.tolist()
        [0.0, 0.0, 0.0, 0.0]
    """
    if len(reference) < 2:
        raise AttackError("a style distance needs at least two reference pictures")
    deviation = style_statistics(reference).std(0)
    difference = (style_statistics(pictures) - style_statistics(truths)) / (deviation + 1e-3)
    return difference.square().mean(1).sqrt()


@dataclass(frozen=True, eq=False)
class ArtistJudge:
    """Names the artist of a set of pictures: linear discriminant analysis on style statistics.

    It is not the model under attack, and is fitted on works that no attacked update or prototype came from.

    Attributes:
        artists: Names, in the order of the scores.
        mean: (k,), subtracted.
        scale: (k,), multiplied.
        weights: (a, d), one linear score an artist.
        offsets: (a,).
        axes: (d, k), the directions kept.
    """

    artists: tuple[str, ...]
    mean: np.ndarray
    scale: np.ndarray
    axes: np.ndarray
    weights: np.ndarray
    offsets: np.ndarray

    @classmethod
    def fit(cls, works: Sequence[Tensor], artists: Sequence[str], shrinkage: float = 0.3) -> ArtistJudge:
        """Learn from works of known artists.

        Args:
            works: Pictures (n, 3, h, w) in [0, 1] of each artist, n >= 2; sizes may differ.
            artists: Their names, at least two.
            shrinkage: Share, in (0, 1], of the pooled covariance that is replaced by a multiple of the
                identity.
        """
        if len(works) != len(artists) or len(artists) < 2 or min(map(len, works)) < 2:
            raise AttackError("a judge needs at least two artists with two works each, and a name for each")
        real("shrinkage", shrinkage, "(0, 1]")
        statistics = [style_statistics(pictures).numpy() for pictures in works]
        stacked = np.concatenate(statistics)
        mean, scale = stacked.mean(0), 1 / (stacked.std(0) + 1e-3)
        z = [(rows - mean) * scale for rows in statistics]
        axes = np.linalg.svd(np.concatenate(z), full_matrices=False)[2][: len(stacked) // 4 + 1]
        z = [rows @ axes.T for rows in z]
        centres = np.stack([rows.mean(0) for rows in z])
        inner = np.concatenate([rows - centre for rows, centre in zip(z, centres, strict=True)])
        covariance = inner.T @ inner / len(inner)
        ridge = np.trace(covariance) / len(covariance)
        covariance = (1 - shrinkage) * covariance + shrinkage * ridge * np.eye(len(covariance))
        weights = np.linalg.solve(covariance, centres.T).T
        return cls(tuple(artists), mean, scale, axes, weights, -0.5 * (weights * centres).sum(1))

    def scores(self, pictures: Tensor) -> np.ndarray:
        """Scores (a,) of the artists for a set of pictures taken together; larger is more likely.

        Args:
            pictures: (n, 3, h, w) in [0, 1], n >= 1: style is a matter of a set, not of one picture.
        """
        z = (style_statistics(pictures).numpy() - self.mean) * self.scale @ self.axes.T
        return np.asarray((z @ self.weights.T + self.offsets).mean(0))

    def name(self, pictures: Tensor) -> str:
        """The artist whose score is highest."""
        return self.artists[int(self.scores(pictures).argmax())]


def _differences(x: Tensor) -> tuple[Tensor, ...]:
    """Sizes of the differences to four neighbours, the edge's last row and column left as zero."""
    found = []
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        moved = torch.roll(x, (-down, -right), dims=(2, 3))
        difference = (moved - x).abs()
        if down:
            difference[:, :, -1] = 0
        if right:
            difference[..., -1 if right > 0 else 0] = 0
        found.append(difference)
    return tuple(found)
