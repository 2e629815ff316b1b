"""Which of some candidates an update is of: each one's own update is made and held against what was seen.

Whoever can write the candidates down (every word of a vocabulary, rendered; every picture of a book) needs no
reconstruction. With known Gaussian noise, the likelihood is what nobody can beat who knows all candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from attacks.errors import AttackError
from attacks.inversion.objectives import UpdateDistance
from attacks.inversion.unroll import Update

Candidate = TypeVar("Candidate")


def candidate_scores(
    distance: UpdateDistance, candidates: Sequence[Candidate], update_of: Callable[[Candidate], Update]
) -> Tensor:
    """Minus each candidate's distance, float64 (n,): larger is more likely, as `rank_of_target` takes it.

    Args:
        distance: To the observed update: `cosine` where neither clip nor step size is known, `likelihood`
            where the noise is.
        candidates: One or more.
        update_of: The update that a candidate alone would give, clipped as the victim clips, by the names of
            the observed one.

    Example:
        >>> seen = UpdateDistance("cosine", {"w": torch.tensor([2.0, 0.1])}, {"w": 1.0})
        >>> candidate_scores(seen, [0.0, 1.5], lambda a: {"w": torch.tensor([a, 1.0])}).argmax()
        tensor(1)
    """
    if not candidates:
        raise AttackError("there are no candidates")
    return torch.stack([-distance(update_of(one)).detach().double() for one in candidates])


def best_of_each(scores: Tensor, owners: Sequence[int]) -> Tensor:
    """The best score of each owner's candidates, (owners,): a word may be rendered in several faces.

    Args:
        scores: (n,).
        owners: Whose each candidate is, n numbers from 0 without a gap.

    Example:
        >>> best_of_each(torch.tensor([0.1, 0.9, 0.4]), owners=[0, 0, 1])
        tensor([0.9000, 0.4000])
    """
    whose = torch.tensor(owners, dtype=torch.int64)
    if whose.shape != scores.shape or not len(whose) or whose.min() < 0 or len(whose.unique()) <= whose.max():
        raise AttackError("owners must be a number for each score, from 0 and without a gap")
    empty = scores.new_full((int(whose.max()) + 1,), -torch.inf)
    return empty.scatter_reduce(0, whose, scores, "amax")
