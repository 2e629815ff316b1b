"""One vector an artist, where the unit is the artist: everything that it releases in a round under one clip.

One clip over everything is one sensitivity, whatever is in it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fedstyle_secure.privacy.mechanisms import Rows

Tensors = tuple[tuple[str, tuple[int, ...]], ...]
"""Names and shapes, by name."""


def flatten(tensors: Tensors, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """The values of named arrays in a row."""
    return np.concatenate([np.ravel(arrays[name]) for name, _ in tensors])


def unflatten(tensors: Tensors, values: np.ndarray) -> dict[str, np.ndarray]:
    """The inverse."""
    found, start = {}, 0
    for name, shape in tensors:
        found[name] = values[start : start + math.prod(shape)].reshape(shape)
        start += math.prod(shape)
    return found


def size_of(tensors: Tensors) -> int:
    """Values in all."""
    return sum(math.prod(shape) for _, shape in tensors)


@dataclass(frozen=True)
class VectorPart:
    """What one kind adds to an artist's vector.

    Attributes:
        kind: Its name.
        tensors: Names and shapes, by name.
        bound: L2 bound on it, > 0.
        share: Of the squared norm, relative to the other parts, > 0.
    """

    kind: str
    tensors: Tensors
    bound: float
    share: float


@dataclass(frozen=True)
class VectorLayout:
    """What lies where in an artist's vector of one round, whose L2 norm is at most 1."""

    parts: Sequence[VectorPart]

    @property
    def size(self) -> int:
        """Values in all."""
        return sum(size_of(part.tensors) for part in self.parts)

    def join(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """An artist's vector: each part clipped to its bound, and scaled to its share.

        Args:
            values: By kind, float (size,). What is not finite counts as zeros.

        Returns:
            float64 (size,), of L2 norm at most 1.
        """
        joined = []
        for part in self.parts:
            flat = np.asarray(values[part.kind], np.float64)
            flat = flat if np.isfinite(flat).all() else np.zeros_like(flat)
            length = max(part.bound, float(np.linalg.norm(flat)))
            joined.append(flat / length * self._weight(part))
        return np.concatenate(joined)

    def split(self, total: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
        """A sum of vectors as the sums of their clipped parts, by kind and tensor."""
        found, start = {}, 0
        for part in self.parts:
            size = size_of(part.tensors)
            values = total[start : start + size] / self._weight(part) * part.bound
            found[part.kind] = unflatten(part.tensors, values)
            start += size
        return found

    def scale(self, kind: str) -> float:
        """How much longer noise gets in the part of a kind when a sum is split."""
        (part,) = (part for part in self.parts if part.kind == kind)
        return part.bound / self._weight(part)

    def _weight(self, part: VectorPart) -> float:
        return math.sqrt(part.share / sum(other.share for other in self.parts))


def mean_row(rows: Rows) -> np.ndarray:
    """Mean over an artist's records, float64; zeros where it has none. The order of rows may change the last
    bit of it: what bounds an artist's vector is its clip."""
    return np.asarray(sum(rows, start=np.zeros(rows.shape[1])) / max(1, rows.shape[0]))
