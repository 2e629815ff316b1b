"""Which of some candidate pictures a diffusion model's gradient is of."""

from __future__ import annotations

from torch import Tensor

from attacks.diffusion.gradients import GradientOf, checked_gradient
from attacks.diffusion.model import checked_pictures
from attacks.errors import AttackError
from attacks.inversion.candidates import candidate_scores
from attacks.inversion.objectives import Kind, UpdateDistance


def explaining(
    observed: Tensor,
    candidates: Tensor,
    gradient_of: GradientOf,
    distance: Kind = "cosine",
    deviation: float = 0.0,
) -> Tensor:
    """How well each candidate explains an observed gradient, float64 (n,), as `rank_of_target` takes it.

    Where times and noises are known, `gradient_of` uses them; where they are not, it averages over many draws
    of the adversary's own, and finds the better, the more draws the victim took the mean over.

    Args:
        observed: (p,), of one picture, or the mean of several; an update has the opposite sign.
        candidates: (n, c, h, w), two or more, in the model's range.
        gradient_of: Of one picture (1, c, h, w), clipped as the victim clips where that is known.
        distance: As for `UpdateDistance`; the cosine does not see a clip of one picture's gradient.
        deviation: Of the known noise on each number, >= 0; for `likelihood`.

    Example:
        >>> import torch
        >>> candidates = torch.eye(3).view(3, 1, 1, 3)
        >>> explaining(torch.tensor([0.1, 2.0, 0.0]), candidates, lambda x: x.flatten()).argmax().item()
        1
    """
    checked_pictures(candidates)
    if len(candidates) < 2:
        raise AttackError("one candidate is no choice: there must be two or more")
    observed = checked_gradient(observed)

    def flat(picture: Tensor) -> Tensor:
        found = gradient_of(picture[None])
        if not isinstance(found, Tensor) or found.shape != observed.shape:
            given = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise AttackError(f"gradient_of gives {given}, and what was observed is {tuple(observed.shape)}")
        if not found.isfinite().all():
            raise AttackError("a candidate's gradient is not finite")
        return found.detach()

    seen = UpdateDistance(distance, {"gradient": observed}, {"gradient": 1.0}, deviation)
    return candidate_scores(seen, list(candidates), lambda one: {"gradient": flat(one).to(observed)})
