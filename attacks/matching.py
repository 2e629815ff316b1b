"""Which reconstruction stands for which picture, where a batch comes back in any order."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from attacks.errors import AttackError

Cost = Callable[[Tensor, Tensor], Tensor]
"""Maps pairs (n, ...) and (n, ...) to costs (n,); chosen before any result is seen."""


def match(guesses: Tensor, truths: Tensor, cost: Cost) -> list[int | None]:
    """The assignment with the least total cost (Kuhn 1955, the Hungarian method).

    More guesses than truths help the attack: the best are taken, and the rest cost nothing. Say how many
    guesses there were beside any figure that comes from here.

    Args:
        guesses: (g, ...).
        truths: (n, ...), n >= 1.
        cost: For example `attacks.metrics.mean_square`.

    Returns:
        For every truth the index of its guess, each at most once; None where there are too few guesses.

    Example:
        >>> guesses, truths = torch.tensor([[0.0], [5.0]]), torch.tensor([[4.0], [1.0], [9.0]])
        >>> match(guesses, truths, lambda a, b: (a - b).square().sum(1))
        [1, 0, None]
    """
    if not len(truths):
        raise AttackError("nothing to match: there are no truths")
    if guesses.shape[1:] != truths.shape[1:]:
        raise AttackError(f"guesses {tuple(guesses.shape)} do not fit truths {tuple(truths.shape)}")
    found: list[int | None] = [None] * len(truths)
    if not len(guesses):
        return found
    table = torch.stack([cost(guesses, truth.expand_as(guesses)) for truth in truths])
    if not table.isfinite().all():
        raise AttackError("a cost is not finite")
    for row, column in zip(*linear_sum_assignment(table.numpy().astype(np.float64)), strict=True):
        found[row] = int(column)
    return found


def arranged(guesses: Tensor, truths: Tensor, cost: Cost, missing: float = 0.5) -> Tensor:
    """The guesses in the truths' order, (n, ...); `missing` fills the place of a truth without a guess.

    Example:
        >>> guesses, truths = torch.tensor([[0.0]]), torch.tensor([[1.0], [0.1]])
        >>> arranged(guesses, truths, lambda a, b: (a - b).square().sum(1)).flatten().tolist()
        [0.5, 0.0]
    """
    rows = [truth.new_full(truth.shape, missing) for truth in truths]
    for row, column in enumerate(match(guesses, truths, cost)):
        if column is not None:
            rows[row] = guesses[column]
    return torch.stack(rows)
