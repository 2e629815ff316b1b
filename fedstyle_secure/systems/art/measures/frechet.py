"""How far apart two sets of pictures are: the Frechet distance of their places, with floor and ceiling.

Every estimate is too large, and by more the fewer pictures there are: two draws of one distribution do not
lie at nothing. So both sides have as many pictures, figures are compared at the same number only, and the
ceiling says what real pictures get (Heusel et al. 2017; Chong & Forsyth 2020 on the bias).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import qr, svdvals
from scipy.stats import bootstrap


@dataclass(frozen=True)
class Distance:
    """A Frechet distance, in squared deviations of the judge's places.

    Attributes:
        value: >= 0, but for rounding.
        low: Lower end of its bootstrap interval.
        high: Upper end.
        confidence: Of the interval, which is of the figure at this `n`, bias and all.
        n: Pictures on either side.
    """

    value: float
    low: float
    high: float
    confidence: float
    n: int


@dataclass(frozen=True)
class Scale:
    """A model's distance from real pictures between what is had for nothing and what cannot be beaten.

    Attributes:
        floor: Of pictures made without what is measured, such as by the backbone without an adapter.
        model: Of the model's own pictures.
        ceiling: Of other real pictures.
    """

    floor: Distance
    model: Distance
    ceiling: Distance

    @property
    def covered(self) -> float | None:
        """Share of the way from floor to ceiling: 1 is as near as real pictures, 0 is for nothing, below it
        is worse; None where there is no way, as the floor is as near as real pictures."""
        way = self.floor.value - self.ceiling.value
        return (self.floor.value - self.model.value) / way if way > 0 else None


def frechet_distance(one: np.ndarray, other: np.ndarray) -> float:
    """|m - m'|^2 + tr(S + S' - 2 (S S')^(1/2)) of two sets' means and covariances (Dowson & Landau 1982).

    The last trace is the sum of the singular values of F F'^T, where S = F^T F: the matrix root itself, which
    is ill-conditioned where there are fewer pictures than dimensions, is never taken.

    Args:
        one: (n, d), n >= 2.
        other: (m, d), m >= 2.

    Raises:
        ValueError: A set is too small, or has other dimensions.

    Example:
        >>> points = np.array([[0.0, 0.0], [2.0, 0.0]])
        >>> round(frechet_distance(points, 2 * points + [[0.0, 3.0]]), 6)  # 1 + 9 + 2
        12.0
    """
    if one.ndim != 2 or other.ndim != 2 or one.shape[1] != other.shape[1] or min(len(one), len(other)) < 2:
        raise ValueError(f"two sets (n, d), n >= 2, with one d, not {one.shape} and {other.shape}")
    roots = [_root(np.asarray(points, np.float64)) for points in (one, other)]
    means = float(np.square(one.mean(axis=0) - other.mean(axis=0)).sum())
    spreads = sum(float(np.square(root).sum()) for root in roots)
    return means + spreads - 2 * float(svdvals(roots[0] @ roots[1].T).sum())


def _root(points: np.ndarray) -> np.ndarray:
    """F (k, d) with F^T F the covariance of points (n, d), k at most d."""
    centred = (points - points.mean(axis=0)) / np.sqrt(len(points) - 1)
    root: np.ndarray = qr(centred, mode="r")[0][: min(points.shape)]
    return root


def distance(
    one: np.ndarray,
    other: np.ndarray,
    n: int | None = None,
    *,
    confidence: float = 0.95,
    draws: int = 200,
    seed: int = 0,
) -> Distance:
    """The Frechet distance of as many places from either set, with a bootstrap interval (Efron 1979).

    Pictures that are drawn anew repeat, which adds to the bias of every draw; so the draws say how far the
    figure spreads, and are moved to lie around it.

    Args:
        one: float (n, d), places of pictures.
        other: float (m, d).
        n: Pictures of each that count, drawn by the seed; None: as many as the smaller set has.
        confidence: Of the interval.
        draws: Of the bootstrap.
        seed: Of all draws.

    Raises:
        ValueError: A set has fewer pictures than that, or fewer than two.
    """
    n = min(len(one), len(other)) if n is None else n
    if not 2 <= n <= min(len(one), len(other)):
        raise ValueError(f"n = {n}: valid is 2 to {min(len(one), len(other))}, the smaller set")
    rng = np.random.default_rng(seed)
    a, b = (points[rng.permutation(len(points))[:n]] for points in (one, other))
    value = frechet_distance(a, b)
    drawn = bootstrap(
        (np.arange(n), np.arange(n)),
        lambda i, j: frechet_distance(a[i], b[j]),
        n_resamples=draws,
        vectorized=False,
        method="percentile",
        rng=rng,
    ).bootstrap_distribution
    ends = np.quantile(drawn - drawn.mean(), [(1 - confidence) / 2, (1 + confidence) / 2])
    low, high = (value + ends).tolist()
    return Distance(value, max(0.0, low), high, confidence, n)


def scale(
    made: np.ndarray, without: np.ndarray, real: np.ndarray, others: np.ndarray, *, confidence: float = 0.95
) -> Scale:
    """A model's distance from real pictures with floor and ceiling, all at the same number of pictures.

    Args:
        made: float (n, d), places of the model's pictures.
        without: float (m, d), of pictures made without what is measured.
        real: float (k, d), of held-out real pictures.
        others: float (l, d), of other held-out real pictures of the same artists.
        confidence: Of the intervals.
    """
    n = min(map(len, (made, without, real, others)))
    floor, model, ceiling = (distance(real, s, n, confidence=confidence) for s in (without, made, others))
    return Scale(floor, model, ceiling)
