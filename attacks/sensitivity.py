"""Does one picture ever move a clipped sum further than the bound that the noise is scaled to?

Differential privacy stands on that bound. A loss that contrasts pictures within a batch, or a layer with
batch statistics, breaks it without any error; this probe finds that by trying (Kong et al. 2023,
arXiv 2310.03104, for why such losses do).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

Adjacency = Literal["add-remove", "replace"]

_SLACK = 1e-4
"""Relative room for float32 sums."""


@dataclass(frozen=True)
class SensitivityReport:
    """What the trials found.

    Attributes:
        bound: The stated L2 bound.
        worst: The largest distance that one picture moved the sum.
        trials: Number of neighbouring pairs that were tried.
        holds: Whether no trial went beyond the bound.
        adjacency: Which neighbours were tried.
    """

    bound: float
    worst: float
    trials: int
    holds: bool
    adjacency: Adjacency


def probe_sensitivity(
    clipped_sum: Callable[[np.ndarray], np.ndarray],
    pool: np.ndarray,
    bound: float,
    adjacency: Adjacency,
    rng: np.random.Generator,
    trials: int = 300,
    batch_size: int = 8,
) -> SensitivityReport:
    """Try neighbouring batches and measure how far the sum moves.

    A third of the trials uses pictures as they are, a third exaggerates the picture that changes
    (scaled up to 100 times, negated, or constant), and a third searches: it starts from the worst
    batch so far and keeps changing it.

    Args:
        clipped_sum: Maps a batch (b, ...) to the flat sum before noise.
        pool: Inputs (n, ...) to draw from, n > batch_size.
        bound: Stated L2 bound for this adjacency.
        adjacency: `add-remove` compares a batch with the same without one picture, `replace` with the
            same with another picture in one place.
        rng: Draws the trials.
        trials: Number of pairs.
        batch_size: Pictures of a batch, >= 2.

    Returns:
        The report; `holds` is False as soon as one pair moved further than the bound.

    Raises:
        ValueError: The pool is too small, the adjacency unknown, or there is nothing to try.
    """
    if len(pool) <= batch_size or batch_size < 2:
        raise ValueError(f"pool of {len(pool)} is too small for batches of {batch_size}")
    if adjacency not in ("add-remove", "replace"):
        raise ValueError(f"adjacency must be 'add-remove' or 'replace', not {adjacency!r}")
    if trials < 1:
        raise ValueError(f"no trial is no evidence: trials must be >= 1, not {trials}")
    worst, worst_batch = 0.0, pool[:batch_size]
    for trial in range(trials):
        drawn = rng.choice(len(pool), size=batch_size + 1, replace=False)
        batch, other = pool[drawn[:-1]].copy(), pool[drawn[-1]]
        if trial % 3 == 1:
            batch[0] = _exaggerated(batch[0], rng)
            other = _exaggerated(other, rng)
        elif trial % 3 == 2:
            batch = worst_batch.copy()
            batch[rng.integers(1, batch_size)] = pool[drawn[0]]
            if rng.random() < 0.5:
                batch[0] = _exaggerated(pool[drawn[1]], rng)
        neighbour = batch[1:] if adjacency == "add-remove" else np.concatenate([other[None], batch[1:]])
        moved = float(np.linalg.norm(clipped_sum(batch) - clipped_sum(neighbour)))
        if not np.isfinite(moved):
            moved = np.inf
        if moved > worst:
            worst, worst_batch = moved, batch
    return SensitivityReport(bound, worst, trials, worst <= bound * (1 + _SLACK), adjacency)


def _exaggerated(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    kind = rng.integers(3)
    if kind == 0:
        return picture * np.asarray(10 ** rng.uniform(-2, 2), picture.dtype)
    if kind == 1:
        return -picture
    return np.full_like(picture, rng.normal())
