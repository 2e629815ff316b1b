"""Canaries: contributions that an auditor plants and then looks for, on plain arrays.

Who is in is decided by fair coins from the operating system, thrown before training; the bounds in `epsilon`
stand on that.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from attacks.errors import AttackError
from attacks.ranges import real, whole, wholes

Bytes = Callable[[int], bytes]
"""Random bytes, as many as asked for."""


@dataclass(frozen=True, eq=False)
class DiracCanaries:
    """Gradients that are zero but for one coordinate of their own (Nasr et al. 2023).

    The strongest canary there is for a clipped sum: each moves it by the whole clip norm, in a direction
    that no other canary touches.

    Attributes:
        coordinates: int64 (m,), all different, in [0, dimension).
        norm: Length of each, the clip norm C.
        dimension: Values in a gradient.

    Example:
        >>> canaries = DiracCanaries(np.array([1, 3]), norm=2.0, dimension=4)
        >>> total = canaries.total(np.array([True, False]))
        >>> total.tolist()
        [0.0, 2.0, 0.0, 0.0]
        >>> canaries.scores(total[None]).tolist()  # The first one is in.
        [1.0, 0.0]
    """

    coordinates: np.ndarray
    norm: float
    dimension: int

    def __post_init__(self) -> None:
        whole("dimension", self.dimension, 1)
        real("norm", self.norm, "(0, inf)")
        wholes("coordinates", self.coordinates, 0, self.dimension - 1)
        if len(np.unique(self.coordinates)) < len(self.coordinates):
            raise AttackError("coordinates must be all different")

    @classmethod
    def draw(cls, count: int, dimension: int, norm: float, rng: np.random.Generator) -> DiracCanaries:
        """Choose coordinates.

        Args:
            count: Canaries, 1 to dimension.
            dimension: Values in a gradient.
            norm: > 0.
            rng: Chooses; which coordinates they are need not be secret.
        """
        whole("dimension", dimension, 1)
        whole("count of Dirac canaries", count, 1, dimension)
        return cls(rng.permutation(dimension)[:count], norm, dimension)

    def gradients(self) -> np.ndarray:
        """All canaries, float64 (m, dimension)."""
        found = np.zeros((len(self.coordinates), self.dimension))
        found[np.arange(len(self.coordinates)), self.coordinates] = self.norm
        return found

    def total(self, inside: np.ndarray) -> np.ndarray:
        """Sum (dimension,) of those that are in, bool (m,)."""
        if inside.shape != self.coordinates.shape or inside.dtype != bool:
            raise AttackError(f"inside must be bool {self.coordinates.shape}, not {inside.dtype}")
        found = np.zeros(self.dimension)
        found[self.coordinates[inside]] = self.norm
        return found

    def scores(self, sums: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        """How much of each canary the released sums hold, (m,); larger is more likely in.

        Args:
            sums: Noisy sums of clipped gradients, one a round, float (t, dimension); a mean or an update
                first times whatever it was divided by.
            weights: Of the rounds, float (t,): 1 / variance of their noise where it differs; None for equal.
        """
        sums = np.asarray(sums, np.float64)
        if sums.ndim != 2 or sums.shape[1] != self.dimension or not np.isfinite(sums).all():
            raise AttackError(f"sums must be finite (rounds, {self.dimension}), not {sums.shape}")
        weights = np.ones(len(sums)) if weights is None else np.asarray(weights, np.float64)
        if weights.shape != sums.shape[:1] or not (weights >= 0).all() or not weights.sum() > 0:
            raise AttackError(f"weights must be >= 0 and not all zero, ({len(sums)},)")
        found: np.ndarray = weights @ sums[:, self.coordinates] / (weights.sum() * self.norm)
        return found


def random_directions(count: int, dimension: int, norm: float, rng: np.random.Generator) -> np.ndarray:
    """Canary updates of random direction and fixed length, (count, dimension) (Andrew et al. 2023).

    Args:
        count: >= 1.
        dimension: >= 2.
        norm: > 0.
        rng: Draws.

    Example:
        >>> drawn = random_directions(3, 8, 2.0, np.random.default_rng(0))
        >>> np.linalg.norm(drawn, axis=1).round(6).tolist()
        [2.0, 2.0, 2.0]
    """
    whole("count", count, 1)
    whole("dimension", dimension, 2)
    real("norm", norm, "(0, inf)")
    drawn = rng.standard_normal((count, dimension))
    found: np.ndarray = norm * drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return found


def cosines(canaries: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Cosine (k,) of each canary (k, d) with the released change of the model (d,).

    Example:
        >>> cosines(np.eye(2), np.array([3.0, 4.0])).round(6).tolist()
        [0.6, 0.8]
    """
    canaries, change = np.asarray(canaries, np.float64), np.asarray(change, np.float64)
    if canaries.ndim != 2 or change.shape != canaries.shape[1:]:
        raise AttackError(
            f"canaries must be (k, d) and the change (d,), not {canaries.shape}, {change.shape}"
        )
    lengths = np.linalg.norm(canaries, axis=1) * np.linalg.norm(change)
    if not ((lengths > 0) & np.isfinite(lengths)).all():
        raise AttackError("a cosine needs canaries and a change that are finite and not zero")
    found: np.ndarray = canaries @ change / lengths
    return found


def mislabelled(targets: np.ndarray, classes: int, rng: np.random.Generator) -> np.ndarray:
    """Another label for each, int (n,), uniform over the wrong ones.

    Args:
        targets: int (n,) in [0, classes), n >= 1.
        classes: >= 2.
        rng: Draws.

    Example:
        >>> mislabelled(np.array([0, 0, 1]), 2, np.random.default_rng(0)).tolist()  # The other of two.
        [1, 1, 0]
    """
    targets = np.asarray(targets)
    if targets.ndim != 1 or not len(targets):
        raise AttackError(f"targets must be (n,) with n >= 1, not {targets.shape}")
    whole("classes", classes, 2)
    if targets.dtype.kind not in "iu" or targets.min() < 0 or targets.max() >= classes:
        raise AttackError(f"targets must be whole numbers from 0 to {classes - 1} with 2 classes or more")
    return (targets + rng.integers(1, classes, len(targets))) % classes


def fair_coins(count: int, source: Bytes = os.urandom) -> np.ndarray:
    """Who is in, bool (count,): independent fair coins.

    Args:
        count: >= 1.
        source: Random bytes; the operating system's unless a test replaces it.

    Example:
        >>> fair_coins(8, source=lambda n: bytes([0b10110001] * n)).astype(int).tolist()
        [1, 0, 1, 1, 0, 0, 0, 1]
    """
    whole("coins: count", count, 1)
    drawn = np.frombuffer(source(-(-count // 8)), np.uint8)
    return np.unpackbits(drawn, count=count).astype(bool)
