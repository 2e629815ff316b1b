"""One vector an artist, where the unit is the artist: update and style means under one clip.

One clip over everything is one sensitivity, whatever is in it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fedstyle_secure.privacy.mechanisms import Rows
from fedstyle_secure.style.prototypes import ROW_NORM


@dataclass(frozen=True)
class VectorLayout:
    """What lies where in an artist's vector of one round, whose L2 norm is at most 1.

    Attributes:
        update: Names and shapes of the trained tensors, by name; empty in a round without training.
        row: Length of a picture's row in a prototype sum; 0 in a round without prototypes.
        clip_norm: L2 bound on an artist's update.
        update_share: Share of the update in the squared norm where a round has both, in (0, 1).
    """

    update: tuple[tuple[str, tuple[int, ...]], ...]
    row: int
    clip_norm: float
    update_share: float

    @property
    def update_size(self) -> int:
        """Values of the update."""
        return sum(math.prod(shape) for _, shape in self.update)

    @property
    def size(self) -> int:
        """Values in all."""
        return self.update_size + self.row

    def join(self, update: Mapping[str, np.ndarray], rows: Rows) -> np.ndarray:
        """An artist's vector: its clipped update and the mean of its pictures' rows, scaled to their shares.

        Args:
            update: The trained tensors' changes; ignored in a round without training.
            rows: (n, row), each of L2 norm at most ROW_NORM; ignored in a round without prototypes.

        Returns:
            float64 (size,), of L2 norm at most 1. An artist without pictures gives zeros.
        """
        parts = []
        if self.update:
            flat = np.concatenate([np.asarray(update[n], np.float64).ravel() for n, _ in self.update])
            flat = flat if np.isfinite(flat).all() else np.zeros_like(flat)
            parts.append(flat / max(self.clip_norm, float(np.linalg.norm(flat))) * self._weights[0])
        if self.row:
            mean = sum(rows, start=np.zeros(self.row)) / max(1, rows.shape[0])
            parts.append(mean / ROW_NORM * self._weights[1])
        return np.concatenate(parts)

    def split(self, total: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """A sum of vectors as the sum of clipped updates and the sum of mean rows."""
        update, start = {}, 0
        for name, shape in self.update:
            size = math.prod(shape)
            update[name] = total[start : start + size].reshape(shape) / self._weights[0] * self.clip_norm
            start += size
        return update, total[start:] / self._weights[1] * ROW_NORM

    def scales(self) -> tuple[float, float]:
        """How much longer noise gets when a sum is split: factors for the update and for the rows."""
        return self.clip_norm / self._weights[0], ROW_NORM / self._weights[1]

    @property
    def _weights(self) -> tuple[float, float]:
        if not (self.update and self.row):
            return 1.0, 1.0
        return math.sqrt(self.update_share), math.sqrt(1 - self.update_share)


def layout_of(
    trained: Mapping[str, tuple[int, ...]], row: int, clip_norm: float, sgd: float, prototypes: float
) -> VectorLayout:
    """The layout of a round.

    Args:
        trained: Shapes of the tensors that train in this round.
        row: Length of a picture's row; 0 where no prototypes are asked for.
        clip_norm: L2 bound on an artist's update.
        sgd: Weight of the update beside that of the prototypes.
        prototypes: Weight of the prototypes.
    """
    return VectorLayout(tuple(sorted(trained.items())), row, clip_norm, sgd / (sgd + prototypes))
