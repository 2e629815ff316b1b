"""The gradient that pictures cause in a diffusion model: what an artist sends, as a function of pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from attacks.diffusion.draws import Draws
from attacks.diffusion.model import Denoiser
from attacks.errors import AttackError

GradientOf = Callable[[Tensor], Tensor]
"""Maps pictures (n, c, h, w), in the model's range, to the gradient (p,) that they would cause; it must be
differentiable where pictures are found by descent. Whoever makes it decides about times, noises and clip."""

GradientAt = Callable[[Tensor, Tensor, Tensor], Tensor]
"""The same of pictures (n, c, h, w), noises (n, k, c, h, w) and times (n, k), for draws not known."""


def checked_gradient(gradient: Tensor) -> Tensor:
    """An observed gradient (p,), finite, in float32 at least.

    Raises:
        AttackError: It is something else.
    """
    if not isinstance(gradient, Tensor) or not gradient.is_floating_point():
        kind = gradient.dtype if isinstance(gradient, Tensor) else type(gradient).__name__
        raise AttackError(f"an observed gradient must be a tensor of floats, not {kind}")
    if gradient.ndim != 1 or not gradient.isfinite().all():
        raise AttackError(f"an observed gradient must be finite (p,), not {tuple(gradient.shape)}")
    return gradient.detach().to(torch.promote_types(gradient.dtype, torch.float32))


@dataclass(frozen=True, eq=False)
class DiffusionGradient:
    """The gradient of the mean denoising loss over pictures and draws, by the parameters that are trained.

    Attributes:
        model: Whose `predict` reads the parameters; in its type of prediction. It must not tell pictures of a
            batch by their company.
        parameters: Those that are trained, in the order of the flat gradient; each requires a gradient.

    Example:
        >>> from attacks.diffusion.schedule import Schedule
        >>> weight = torch.tensor([0.0], requires_grad=True)
        >>> schedule = Schedule(torch.tensor([1.0, 0.0]), "epsilon")
        >>> step = DiffusionGradient(Denoiser(lambda noisy, time: weight * noisy, schedule), (weight,))
        >>> draws = Draws(torch.tensor([1]), torch.ones(1, 1, 2, 2))
        >>> step.under(draws)(torch.zeros(1, 1, 2, 2))  # d/dw of (w 1 - 1)^2 at w = 0.
        tensor([-2.])
    """

    model: Denoiser
    parameters: Sequence[Tensor]

    def __post_init__(self) -> None:
        if not self.parameters or not all(p.requires_grad for p in self.parameters):
            raise AttackError("parameters must be one or more that require a gradient")

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers of each parameter, as they follow each other in the gradient."""
        return tuple(p.numel() for p in self.parameters)

    def at(self, pictures: Tensor, noises: Tensor, times: Tensor) -> Tensor:
        """The gradient (p,) of pictures with draws of their own.

        Args:
            pictures: (n, c, h, w), in the model's range.
            noises: (n, k, c, h, w).
            times: (n, k), int64, or floating where the network takes times between two steps.
        """
        n, k = times.shape
        if noises.shape != (n, k, *pictures.shape[1:]) or len(pictures) != n:
            raise AttackError(
                "pictures, noises and times must be (n, c, h, w), (n, k, c, h, w) and (n, k), not "
                f"{tuple(pictures.shape)}, {tuple(noises.shape)} and {tuple(times.shape)}"
            )
        many = pictures[:, None].expand_as(noises).flatten(0, 1)
        noise, time, schedule = noises.flatten(0, 1), times.flatten(), self.model.schedule
        wanted = any(x.requires_grad for x in (pictures, noises, times))
        # The fast kernels of attention have no second derivative.
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
            told = self.model.told(schedule.noised(many, noise, time).to(pictures.dtype), time)
            loss = (told - schedule.wanted(many, noise, time)).square().mean()
            if not loss.requires_grad:
                raise AttackError("the prediction does not depend on the parameters")
            gradients = torch.autograd.grad(
                loss, list(self.parameters), create_graph=wanted, allow_unused=True, materialize_grads=True
            )
        return torch.cat([g.flatten() for g in gradients])

    def under(self, draws: Draws) -> GradientOf:
        """The gradient as a function of pictures alone, each under these draws.

        With an adversary's own draws, many of them, it stands for the unknown ones.
        """

        def gradient(pictures: Tensor) -> Tensor:
            n = len(pictures)
            noises = draws.noises.to(pictures).expand(n, *draws.noises.shape)
            return self.at(pictures, noises, draws.times.to(pictures.device).expand(n, -1))

        return gradient
