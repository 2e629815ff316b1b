"""Models that are known in closed form: one that learned its works by heart, and one of a normal law.

The best possible denoiser of a set of pictures gives the mean of those that a noisy one may come from. Where
that set is the works themselves, the model has memorised them and nothing else: the positive control of every
attack here. Where it is the law that works were drawn from, the model knows nothing of one work: the null.
"""

from __future__ import annotations

import torch
from torch import Tensor

from attacks.diffusion.model import Denoiser, checked_pictures
from attacks.diffusion.schedule import Schedule
from attacks.errors import AttackError
from attacks.ranges import real

_SMALLEST = 1e-12
"""Floor of a variance, where a schedule begins without noise."""


def memoriser(works: Tensor, schedule: Schedule, bandwidth: float = 0.0) -> Denoiser:
    """The exact denoiser of pictures drawn from these works, each blurred by normal noise.

    The posterior mean given the noisy picture: a softmax over works of minus the squared distance to each,
    over twice its variance (Karras et al. 2022, eq. 57, for no blur).

    Args:
        works: (m, c, h, w), in the range of the model that it stands in for.
        schedule: Of its noise; predictions are of its type.
        bandwidth: Deviation of the blur of each pixel, >= 0; 0 is a model that knows nothing but the works.

    Example:
        >>> schedule = Schedule(torch.linspace(0.99, 0.01, 10), "sample")
        >>> works = torch.stack([torch.full((1, 2, 2), -1.0), torch.full((1, 2, 2), 1.0)])
        >>> noisy = schedule.noised(works[:1], torch.zeros(1, 1, 2, 2), torch.tensor([0]))
        >>> memoriser(works, schedule).told(noisy, torch.tensor([0])).unique().tolist()
        [-1.0]
    """
    works = checked_pictures(works)
    real("bandwidth", bandwidth, "[0, inf)")

    def predict(noisy: Tensor, time: Tensor) -> Tensor:
        keep, add = (part[:, 0, 0] for part in schedule.parts(time))
        flat, known = noisy.double().flatten(1), works.to(noisy.device).double().flatten(1)
        variance = (keep**2 * bandwidth**2 + add**2).clamp(min=_SMALLEST)
        # The noisy picture's own square is the same for every work.
        squares = keep**2 * known.square().sum(1) - 2 * keep * (flat @ known.T)
        shares = (-squares / (2 * variance)).softmax(1)
        middle = shares @ known
        pull = keep * bandwidth**2 / variance
        found = middle + pull * (flat - keep * middle)
        return schedule.told(found.view_as(noisy), noisy.double(), time).to(noisy.dtype)

    return Denoiser(predict, schedule)


def normal_law(mean: Tensor, covariance: Tensor, schedule: Schedule) -> Denoiser:
    """The exact denoiser of pictures from a normal law: mean + a C (a^2 C + s^2 I)^-1 (noisy - a mean).

    Args:
        mean: (c, h, w).
        covariance: (d, d) of the flattened picture, symmetric, no eigenvalue below zero.
        schedule: Of its noise; predictions are of its type.

    Example:
        >>> schedule = Schedule(torch.tensor([0.99, 0.5]), "sample")
        >>> law = normal_law(torch.zeros(1, 1, 2), torch.eye(2), schedule)
        >>> law.told(torch.ones(1, 1, 1, 2), torch.tensor([1])).flatten()
        tensor([0.7071, 0.7071])
    """
    d = mean.numel()
    if mean.ndim != 3 or covariance.shape != (d, d) or not mean.isfinite().all():
        raise AttackError(
            f"mean must be (c, h, w) and covariance (d, d), not {tuple(mean.shape)} and "
            f"{tuple(covariance.shape)}"
        )
    values, axes = torch.linalg.eigh(covariance.double())
    if not torch.allclose(covariance, covariance.T) or values.min() < -1e-9 * values.abs().max():
        raise AttackError("covariance must be symmetric, without an eigenvalue below zero")
    values, centre = values.clamp(min=0), mean.double().flatten()

    def predict(noisy: Tensor, time: Tensor) -> Tensor:
        keep, add = (part[:, 0, 0] for part in schedule.parts(time))
        pull = keep * values / (keep**2 * values + add**2).clamp(min=_SMALLEST)
        found = centre + ((noisy.double().flatten(1) - keep * centre) @ axes * pull) @ axes.T
        return schedule.told(found.view_as(noisy), noisy.double(), time).to(noisy.dtype)

    return Denoiser(predict, schedule)
