"""A model under attack: what it predicts, and the schedule that this is to be read by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.diffusion.schedule import Schedule
from attacks.errors import AttackError

Predict = Callable[[Tensor, Tensor], Tensor]
"""From noisy pictures (b, c, h, w) and their times int64 (b,) to a prediction (b, c, h, w).

Conditions (a class, a prompt) are the caller's: bind those that an adversary would ask for.
"""


@dataclass(frozen=True, eq=False)
class Denoiser:
    """A diffusion model as an attack sees it.

    Attributes:
        predict: The network, in the mode in which it is to be asked.
        schedule: Its noise, and what its predictions mean.

    Example:
        >>> schedule = Schedule(torch.tensor([0.9, 0.1]), "epsilon")
        >>> silent = Denoiser(lambda noisy, time: torch.zeros_like(noisy), schedule)
        >>> silent.noise(torch.ones(2, 3, 4, 4), torch.tensor([0, 1])).abs().max().item()
        0.0
    """

    predict: Predict
    schedule: Schedule

    def told(self, noisy: Tensor, time: Tensor) -> Tensor:
        """What it predicts, (b, c, h, w), float32 at least.

        Raises:
            AttackError: What it gives is not of the pictures' shape.
        """
        told = self.predict(noisy, time)
        if not isinstance(told, Tensor) or told.shape != noisy.shape or not told.is_floating_point():
            given = f"{told.dtype} {tuple(told.shape)}" if isinstance(told, Tensor) else type(told).__name__
            raise AttackError(f"predict must give floats {tuple(noisy.shape)}, as it is given, not {given}")
        return told.to(torch.promote_types(told.dtype, torch.float32))

    def noise(self, noisy: Tensor, time: Tensor) -> Tensor:
        """The noise that it sees in noisy pictures, (b, c, h, w)."""
        return self.schedule.noise(self.told(noisy, time), noisy, time)


def with_and_without(
    predict: Predict, schedule: Schedule, switch: Callable[[bool], object]
) -> tuple[Denoiser, Denoiser]:
    """A model with its adapter and the same model without: the target, and the reference that calibrates it.

    The best reference for an adapter that somebody has published is the model that it sits on, which anyone
    has. Both predictions go through the same weights, so that they must be asked one at a time.

    Args:
        predict: The model that holds the adapter.
        schedule: Of its noise.
        switch: Puts the adapter on (True) or off (False), such as peft's `enable_adapter_layers` and
            `disable_adapter_layers`; it is called before each prediction, and the adapter is left on.

    Example:
        >>> scale = [1.0]
        >>> switch = lambda on: scale.__setitem__(0, float(on))
        >>> schedule = Schedule(torch.tensor([0.9, 0.1]), "epsilon")
        >>> tuned, plain = with_and_without(lambda x, t: scale[0] * x, schedule, switch)
        >>> x, t = torch.ones(1, 1, 1, 1), torch.tensor([0])
        >>> tuned.told(x, t).item(), plain.told(x, t).item(), scale
        (1.0, 0.0, [1.0])
    """

    def tuned(noisy: Tensor, time: Tensor) -> Tensor:
        switch(True)
        return predict(noisy, time)

    def plain(noisy: Tensor, time: Tensor) -> Tensor:
        switch(False)
        try:
            return predict(noisy, time)
        finally:
            switch(True)

    return Denoiser(tuned, schedule), Denoiser(plain, schedule)


def checked_pictures(pictures: Tensor) -> Tensor:
    """Pictures (n, c, h, w), one or more, floating and finite, in whatever range the model takes them.

    Raises:
        AttackError: Otherwise; says which.
    """
    if not isinstance(pictures, Tensor) or pictures.ndim != 4 or 0 in pictures.shape:
        given = tuple(pictures.shape) if isinstance(pictures, Tensor) else type(pictures).__name__
        raise AttackError(f"pictures must be (n, c, h, w), one or more, not {given}")
    if not pictures.is_floating_point():
        raise AttackError(f"pictures must be floats, as the model takes them, not {pictures.dtype}")
    bad = ~pictures.isfinite().flatten(1).all(1)
    if bad.any():
        raise AttackError(f"picture {int(bad.int().argmax())} is not finite")
    return pictures
