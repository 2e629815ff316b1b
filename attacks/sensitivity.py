"""Does one picture ever move a clipped sum further than the bound that the noise is scaled to?

Differential privacy stands on that bound. A loss that contrasts pictures within a batch, or a layer with
batch statistics, breaks it without any error; this probe finds that by trying (Kong et al. 2023,
arXiv 2310.03104, for why such losses do).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from attacks.errors import AttackError
from attacks.observation import Loss
from attacks.ranges import real, whole

Adjacency = Literal["add-remove", "replace"]

Watched = Callable[[np.ndarray], Mapping[str, np.ndarray]]
"""Maps a batch (b, ...) to values of each of its pictures, (b, ...) by name, in the order they are made."""

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
        mixing: Where the bound is broken: the first layer, or the loss, of which a picture's value hangs on
            another picture. None where nothing was watched, or nothing watched mixes pictures: then the fault
            is the clip's.
    """

    bound: float
    worst: float
    trials: int
    holds: bool
    adjacency: Adjacency
    mixing: str | None = None


def probe_sensitivity(
    clipped_sum: Callable[[np.ndarray], np.ndarray],
    pool: np.ndarray,
    bound: float,
    adjacency: Adjacency,
    rng: np.random.Generator,
    trials: int = 300,
    batch_size: int = 8,
    watched: Watched | None = None,
) -> SensitivityReport:
    """Try neighbouring batches and measure how far the sum moves.

    The picture that changes stands anywhere in the batch, and every other batch is smaller than `batch_size`,
    down to a single picture: a clip that forgets the last row, or what lies beyond a first part of the batch,
    is found. A third of the trials uses pictures as they are, a third exaggerates the picture that changes
    (scaled up to 100 times, negated, or constant), and a third searches: it starts from the worst full pair
    so far and keeps changing it.

    Args:
        clipped_sum: Maps a batch (b, ...) of any b >= 1 to the flat sum before noise. The sum of no picture
            is taken to be zero.
        pool: Inputs (n, ...) to draw from, n > batch_size.
        bound: Stated L2 bound for this adjacency, > 0.
        adjacency: `add-remove` compares a batch with the same without one picture, `replace` with the
            same with another picture in one place.
        rng: Draws the trials.
        trials: Number of pairs, >= 1.
        batch_size: Pictures of the largest batch, >= 2.
        watched: Values on the way to the sum, such as `picture_values`; names what mixes pictures where the
            bound is broken.

    Returns:
        The report; `holds` is False as soon as one pair moved further than the bound.

    Raises:
        AttackError: The pool is too small, the bound is none, the adjacency unknown, or there is nothing to
            try.

    Example:
        >>> def clipped(batch):
        ...     lengths = np.linalg.norm(batch, axis=1, keepdims=True)
        ...     return (batch / np.maximum(lengths, 1)).sum(0)
        >>> pool, rng = np.random.default_rng(0).normal(size=(20, 4)), np.random.default_rng(1)
        >>> probe_sensitivity(clipped, pool, 1.0, "add-remove", rng, trials=30).holds
        True
        >>> probe_sensitivity(lambda batch: batch.sum(0), pool, 1.0, "add-remove", rng, trials=30).holds
        False
    """
    whole("batch_size", batch_size, 2)
    if len(pool) <= batch_size:
        raise AttackError(f"pool of {len(pool)} is too small for batches of {batch_size}")
    if adjacency not in ("add-remove", "replace"):
        raise AttackError(f"adjacency must be 'add-remove' or 'replace', not {adjacency!r}")
    real("bound", bound, "(0, inf)")
    whole("trials", trials, 1)
    start = _Pair(pool[:batch_size], pool[batch_size], 0)
    worst, worst_pair = 0.0, start
    # In a small batch there is little that a search could change.
    worst_full, full_pair = 0.0, start
    for trial in range(trials):
        if trial % 3 == 2:
            pair = _searched(full_pair, pool, rng)
        else:
            # Two of a kind in turn, so that exaggerated pictures meet full batches and smaller ones.
            size = batch_size if trial // 3 % 2 else int(rng.integers(1, batch_size + 1))
            drawn = rng.choice(len(pool), size=size + 1, replace=False)
            pair = _Pair(pool[drawn[:-1]].copy(), pool[drawn[-1]], int(rng.integers(size)))
            if trial % 3 == 1:
                pair.batch[pair.place] = _exaggerated(pair.batch[pair.place], rng)
                pair = _Pair(pair.batch, _exaggerated(pair.other, rng), pair.place)
        neighbour = pair.neighbour(adjacency)
        without = clipped_sum(neighbour) if len(neighbour) else 0.0
        moved = float(np.linalg.norm(clipped_sum(pair.batch) - without))
        if not np.isfinite(moved):
            moved = np.inf
        if moved > worst:
            worst, worst_pair = moved, pair
        if moved > worst_full and len(pair.batch) == batch_size:
            worst_full, full_pair = moved, pair
    holds = worst <= bound * (1 + _SLACK)
    mixing = None if holds or watched is None else _first_mixing(watched, worst_pair, adjacency)
    return SensitivityReport(bound, worst, trials, holds, adjacency, mixing)


def picture_values(model: nn.Module, loss: Loss, inputs: Tensor, targets: Tensor) -> dict[str, np.ndarray]:
    """What every layer says of each picture, in the order in which they are called, and the losses last.

    Modules without children that give one row a picture; the model stays in its mode.

    Args:
        model: Maps inputs to outputs.
        loss: Maps outputs and targets to losses (b,).
        inputs: (b, ...).
        targets: (b, ...).

    Returns:
        By name, arrays (b, ...).
    """
    found: dict[str, np.ndarray] = {}

    def keeper(name: str) -> Callable[[nn.Module, object, object], None]:
        def keep(module: nn.Module, given: object, output: object) -> None:
            if isinstance(output, Tensor) and output.ndim and len(output) == len(inputs):
                found.setdefault(name, output.detach().cpu().numpy())

        return keep

    leaves = [
        (name, module) for name, module in model.named_modules() if not any(True for _ in module.children())
    ]
    hooks = [module.register_forward_hook(keeper(name or "model")) for name, module in leaves]
    state = {name: tensor.clone() for name, tensor in model.named_buffers()}
    try:
        with torch.no_grad():
            losses = loss(model(inputs), targets)
            # Looking must not move running statistics.
            for name, tensor in model.named_buffers():
                tensor.copy_(state[name])
    finally:
        for hook in hooks:
            hook.remove()
    return {**found, "loss": losses.detach().cpu().numpy()}


@dataclass(frozen=True, eq=False)
class _Pair:
    """Batch (b, ...), the picture that may take the place of one of its own, and which place that is."""

    batch: np.ndarray
    other: np.ndarray
    place: int

    def neighbour(self, adjacency: Adjacency) -> np.ndarray:
        if adjacency == "add-remove":
            return np.delete(self.batch, self.place, axis=0)
        found = self.batch.copy()
        found[self.place] = self.other
        return found


def _searched(worst: _Pair, pool: np.ndarray, rng: np.random.Generator) -> _Pair:
    """The worst pair with one of the pictures that stay exchanged, and perhaps the one that changes."""
    batch = worst.batch.copy()
    batch[rng.choice(np.delete(np.arange(len(batch)), worst.place))] = pool[rng.integers(len(pool))]
    if rng.random() < 0.5:
        batch[worst.place] = _exaggerated(pool[rng.integers(len(pool))], rng)
    return _Pair(batch, worst.other, worst.place)


def _first_mixing(watched: Watched, pair: _Pair, adjacency: Adjacency) -> str | None:
    """The first watched value of a picture that stayed which is not the same in both batches."""
    neighbour = pair.neighbour(adjacency)
    if not len(neighbour):
        return None
    before, after = watched(pair.batch), watched(neighbour)
    for name, values in before.items():
        rest = np.delete(values, pair.place, axis=0)
        other = after[name] if adjacency == "add-remove" else np.delete(after[name], pair.place, axis=0)
        room = _SLACK * max(float(np.abs(rest).max(initial=0.0)), 1e-30)
        if rest.shape != other.shape or not (np.abs(rest - other) <= room).all():
            return name
    return None


def _exaggerated(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    kind = rng.integers(3)
    if kind == 2:
        return np.full_like(picture, rng.normal())
    other: np.ndarray = -picture if kind else picture * np.asarray(10 ** rng.uniform(-2, 2), picture.dtype)
    return other
