"""The linear head of an encoder: what of it trains, and what a private sum of second moments makes of it.

The fewer values train, the less of a noise of fixed size lands in them: a head that moves only inside K
public directions has K (K + 1) / 2 of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

HEAD_PUBLIC = ("head.base", "head.directions")
"""What a directed head has that does not train: public, and set anew once sums are out."""

_RIDGE = 2.0
"""Weight of the identity beside second moments of mean eigenvalue 1. Between 1 and 4 it made no difference
on procedural artists."""


class DirectedHead(nn.Module):
    """x to x B (1 + P S P'), with a public square B, K public directions P, and a symmetric K x K matrix S
    that trains and begins as zeros.

    Only the symmetric part of the weights counts, so that a gradient is symmetric by itself.
    """

    def __init__(self, dim: int, rank: int) -> None:
        """
        Args:
            dim: Of inputs and outputs.
            rank: Directions K, 1 to dim.
        """
        super().__init__()
        self.register_buffer("base", torch.eye(dim))
        self.register_buffer("directions", torch.eye(dim)[:, :rank].clone())
        self.core = nn.Parameter(torch.zeros(rank, rank))

    @property
    def in_features(self) -> int:
        """Dimensions of an input."""
        return int(self.get_buffer("base").shape[0])

    def forward(self, inputs: Tensor) -> Tensor:
        """float32 (n, dim) to (n, dim)."""
        turned, directions = inputs @ self.get_buffer("base"), self.get_buffer("directions")
        moved = (turned @ directions) @ ((self.core + self.core.T) / 2)
        return turned + moved @ directions.T


def head_of(dim: int, rank: int) -> DirectedHead | nn.Linear:
    """A head that begins as the identity and trains inside `rank` directions; 0: as a whole."""
    if rank:
        return DirectedHead(dim, min(rank, dim))
    whole = nn.Linear(dim, dim, bias=False)
    nn.init.eye_(whole.weight)
    return whole


def directions_of(vectors: np.ndarray, base: np.ndarray, rank: int) -> np.ndarray:
    """The directions that public vectors lie in most, after the base: leading eigenvectors of their second
    moment.

    Args:
        vectors: float (m, d), cards or prototypes.
        base: float (d, d).
        rank: How many, 1 to d.

    Returns:
        float32 (d, rank), orthonormal columns.

    Example:
        >>> directions_of(np.array([[0.0, 3.0], [0.0, -1.0]]), np.eye(2), 1).round(3).tolist()
        [[0.0], [1.0]]
    """
    turned = np.asarray(vectors, np.float64) @ base
    turned /= np.maximum(np.linalg.norm(turned, axis=1, keepdims=True), 1e-12)
    _, found = np.linalg.eigh(turned.T @ turned)
    leading = found[:, ::-1][:, :rank]
    # An eigenvector's sign means nothing: its largest value is made positive, so that machines agree.
    signs = np.sign(leading[np.abs(leading).argmax(axis=0), np.arange(rank)])
    return np.asarray(leading * signs, np.float32)


def second_moment_row(vector: np.ndarray) -> np.ndarray:
    """A vector's direction as one row of a sum of second moments: the upper triangle of u u', off the
    diagonal times sqrt(2), which has length 1.

    Args:
        vector: float (d,); zeros give zeros.

    Returns:
        float64 (d (d + 1) / 2,).

    Example:
        >>> second_moment_row(np.array([3.0, 4.0])).round(3).tolist()
        [0.36, 0.679, 0.64]
    """
    unit = np.asarray(vector, np.float64)
    unit = unit / max(float(np.sqrt(np.add.reduce(unit * unit))), 1e-12)
    rows, columns = np.triu_indices(len(unit))
    weights = np.where(rows == columns, 1.0, np.sqrt(2.0))
    return np.asarray(unit[rows] * unit[columns] * weights)


@dataclass(frozen=True, eq=False)
class Residuals:
    """Each picture's row of the sum of second moments: what is left of it without a part of its anchor.

    Attributes:
        vectors: float (n, d).
        anchors: float (n, d), public: each picture's card or prototype.
        pull: Of the anchor that is taken off.
    """

    vectors: np.ndarray
    anchors: np.ndarray
    pull: float

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d (d + 1) / 2)."""
        count, dim = self.vectors.shape
        return count, dim * (dim + 1) // 2

    def __iter__(self) -> Iterator[np.ndarray]:
        for vector, anchor in zip(self.vectors, self.anchors, strict=True):
            yield second_moment_row(vector - self.pull * anchor)


def second_moment(row: np.ndarray, dim: int) -> np.ndarray:
    """The symmetric matrix, float64 (d, d), that a sum of `second_moment_row`s stands for."""
    rows, columns = np.triu_indices(dim)
    weights = np.where(rows == columns, 1.0, 1 / np.sqrt(2.0))
    found = np.zeros((dim, dim))
    found[rows, columns] = found[columns, rows] = np.asarray(row, np.float64) * weights
    return found


def denoised(moment: np.ndarray, deviation: float) -> np.ndarray:
    """A noisy second moment with the noise taken off its eigenvalues, as far as they stand out of it.

    Noise of deviation s in each value of the row is a symmetric Gaussian matrix with eigenvalues up to
    e = s sqrt(2 d) (Wigner); an eigenvalue l above it becomes sqrt(l^2 - e^2), and all others share what is
    left of the trace.

    Args:
        moment: float64 (d, d), symmetric.
        deviation: s, >= 0.

    Example:
        >>> denoised(np.diag([30.0, 1.0, 2.0, 1.0]), deviation=1.0).diagonal().round(2).tolist()
        [29.87, 1.38, 1.38, 1.38]
    """
    values, vectors = np.linalg.eigh(moment)
    edge = deviation * np.sqrt(2 * len(values))
    above = values > edge
    kept = np.where(above, np.sqrt(np.maximum(values**2 - edge**2, 0.0)), 0.0)
    if not above.all():
        kept[~above] = max(float(np.trace(moment) - kept.sum()), 0.0) / (~above).sum()
    return np.asarray((vectors * kept) @ vectors.T)


def whitening_base(moment: np.ndarray) -> np.ndarray:
    """The map that makes the directions in which pictures of one artist differ as short as those in which
    they do not: the regularised inverse root of their second moment, of largest factor 1.

    Args:
        moment: float64 (d, d), symmetric, positive semidefinite.

    Returns:
        float32 (d, d), symmetric; the identity where the moment is zero.
    """
    values, vectors = np.linalg.eigh(moment)
    mean = float(values.mean())
    if not mean > 0:
        return np.eye(len(values), dtype=np.float32)
    factors = (np.maximum(values, 0.0) / mean + _RIDGE) ** -0.5
    return np.asarray((vectors * (factors / factors.max())) @ vectors.T, np.float32)
