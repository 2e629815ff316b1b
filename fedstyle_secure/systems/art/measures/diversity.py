"""How unlike each other pictures of a set are: one good picture again and again looks real in all else."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import pdist, squareform
from scipy.stats import t


@dataclass(frozen=True)
class Diversity:
    """Mean distance of two pictures of a set, in deviations of the judge's places.

    Attributes:
        value: >= 0; it does not hang on the number of pictures.
        low: Lower end of its jackknife interval.
        high: Upper end.
        confidence: Of the interval.
        n: Pictures.
    """

    value: float
    low: float
    high: float
    confidence: float
    n: int


@dataclass(frozen=True)
class Beside:
    """A set's diversity beside that of real pictures.

    Attributes:
        made: Of the model's pictures.
        real: Of real ones.
    """

    made: Diversity
    real: Diversity

    @property
    def ratio(self) -> float | None:
        """1 is as diverse as real pictures, 0 is one picture again and again; None where the real ones are
        all the same."""
        return self.made.value / self.real.value if self.real.value > 0 else None


def diversity(points: np.ndarray, confidence: float = 0.95) -> Diversity:
    """Mean Euclidean distance of pairs, with an interval by leaving out one picture at a time.

    The jackknife of a mean over pairs (Arvesen 1969); a bootstrap would draw pictures twice, which lie at
    nothing from themselves.

    Args:
        points: float (n, d), n >= 3, places of pictures.
        confidence: Of the interval.

    Raises:
        ValueError: There are fewer than three pictures.

    Example:
        >>> round(diversity(np.array([[0.0], [1.0], [2.0]])).value, 3)
        1.333
    """
    n = len(points)
    if points.ndim != 2 or n < 3:
        raise ValueError(f"a diversity needs three pictures (n, d) or more, not {points.shape}")
    pairs = pdist(points)
    total = float(pairs.sum())
    value = 2 * total / (n * (n - 1))
    left = 2 * (total - squareform(pairs).sum(axis=1)) / ((n - 1) * (n - 2))
    error = float(np.sqrt((n - 1) / n * np.square(left - left.mean()).sum()))
    reach = float(t.ppf((1 + confidence) / 2, n - 1)) * error
    return Diversity(value, max(0.0, value - reach), value + reach, confidence, n)


def beside(made: np.ndarray, real: np.ndarray, confidence: float = 0.95) -> Beside:
    """Diversity of made pictures beside that of real ones of the same artists: places float (n, d) each."""
    return Beside(diversity(made, confidence), diversity(real, confidence))
