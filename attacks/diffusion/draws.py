"""Times and noises at which pictures are tried: the same for every picture and for every model.

Luck with the noise is most of what a diffusion loss is made of. Where all pictures and all models are asked
the same questions, that luck cancels, and a score depends on neither the order nor the company of pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.diffusion.schedule import Schedule
from attacks.errors import AttackError
from attacks.ranges import real, whole


@dataclass(frozen=True, eq=False)
class Draws:
    """Fixed times and noises.

    Attributes:
        times: int64 (k,).
        noises: floating (k, c, h, w).
    """

    times: Tensor
    noises: Tensor

    def __post_init__(self) -> None:
        if self.times.ndim != 1 or self.times.dtype != torch.int64 or not len(self.times):
            raise AttackError(
                f"times of draws must be int64 (k,), not {self.times.dtype} {tuple(self.times.shape)}"
            )
        if self.noises.ndim != 4 or len(self.noises) != len(self.times):
            raise AttackError(
                f"noises of {len(self.times)} draws must be (k, c, h, w), not {tuple(self.noises.shape)}"
            )
        if not self.noises.is_floating_point() or not self.noises.isfinite().all():
            raise AttackError("noises of draws must be finite floats")

    @classmethod
    def make(
        cls,
        schedule: Schedule,
        shape: tuple[int, ...],
        count: int,
        seed: int,
        span: tuple[float, float] = (0.0, 1.0),
    ) -> Draws:
        """Draw by a seed: the j-th time lies in the j-th of `count` equal stretches of the schedule.

        Args:
            schedule: Whose times these are.
            shape: Of a picture, (c, h, w).
            count: Draws, >= 1; 24 were enough to tell an adapter's members.
            seed: >= 0; the same one gives the same draws.
            span: Share of the schedule that is drawn from, two numbers in [0, 1], the smaller first.

        Example:
            >>> schedule = Schedule(torch.linspace(0.99, 0.01, 100), "epsilon")
            >>> draws = Draws.make(schedule, (3, 8, 8), count=4, seed=0)
            >>> (draws.times // 25).tolist(), tuple(draws.noises.shape)
            ([0, 1, 2, 3], (4, 3, 8, 8))
        """
        whole("count", count, 1)
        whole("seed", seed, 0)
        for end in span:
            real("an end of span", end, "[0, 1]")
        if len(span) != 2 or not span[0] < span[1]:
            raise AttackError(f"span must be two shares, the smaller first, not {span}")
        if len(shape) != 3:
            raise AttackError(f"shape must be a picture's, (c, h, w), not {tuple(shape)}")
        draws = torch.Generator().manual_seed(seed)
        places = (torch.arange(count) + torch.rand(count, generator=draws, dtype=torch.float64)) / count
        low, high = span
        times = ((low + (high - low) * places) * schedule.steps).long().clamp(max=schedule.steps - 1)
        return cls(times, torch.randn(count, *shape, generator=draws))
