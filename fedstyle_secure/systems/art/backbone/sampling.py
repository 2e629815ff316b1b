"""From noise to pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import DPMSolverMultistepScheduler
from torch import Tensor

from fedstyle_secure.devices import device_of
from fedstyle_secure.systems.art.backbone.latent import code_shape, drawings
from fedstyle_secure.systems.art.backbone.network import CHANNELS, Denoiser

_TOGETHER = 64
"""Pictures that are made at once."""

Prediction = Callable[[Tensor, Tensor], Tensor]
"""From noisy pictures, as a model takes them (b, c, h, w), and a time int64 (b,) to what is predicted of
them."""


@dataclass(frozen=True)
class Drawing:
    """How pictures are made.

    Attributes:
        steps: Of the solver (DPM-Solver++, Lu et al. 2022).
        guidance: How much further than asked: 1 is as asked (Ho & Salimans 2022).
    """

    steps: int = 16
    guidance: float = 2.0


def asked(model: Denoiser, conditions: Tensor, guidance: float) -> Prediction:
    """A prediction for conditions int64 (b,), led away from that for none of them."""
    none = torch.full_like(conditions, model.nothing)

    def predict(noisy: Tensor, time: Tensor) -> Tensor:
        told: Tensor = model(noisy, time, conditions)
        if guidance == 1 or bool((conditions == none).all()):
            return told
        plain: Tensor = model(noisy, time, none)
        return plain + guidance * (told - plain)

    return predict


def drawn(model: Denoiser, conditions: Sequence[int], how: Drawing, seed: int) -> np.ndarray:
    """Pictures of conditions, uint8 (n, s, s, 3).

    Args:
        model: What makes them.
        conditions: One a picture, of `model.names`, or `model.nothing`.
        how: Steps and guidance.
        seed: Of the noise; the i-th picture's is the same whatever the others are.
    """
    if not len(conditions):
        return np.zeros((0, model.size, model.size, CHANNELS), np.uint8)
    every = torch.tensor(list(conditions), dtype=torch.int64).to(device_of(model)).split(_TOGETHER)
    noise = first_noise(model, len(conditions), seed).split(_TOGETHER)
    return np.concatenate(
        [solve(model, asked(model, c, how.guidance), n, how.steps) for c, n in zip(every, noise, strict=True)]
    )


def first_noise(model: Denoiser, number: int, seed: int) -> Tensor:
    """What `number` pictures begin as, at least one, float32 (n, c, h, w), where the model lies."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.stack([torch.randn(code_shape(model), generator=generator) for _ in range(number)])
    return noise.to(device_of(model))


@torch.no_grad()
def solve(model: Denoiser, predict: Prediction, noise: Tensor, steps: int) -> np.ndarray:
    """Pictures uint8 (b, s, s, 3) from noise (b, c, h, w), by a second-order solver."""
    solver = DPMSolverMultistepScheduler.from_config(
        model.scheduler.config, algorithm_type="dpmsolver++", timestep_spacing="trailing"
    )
    solver.set_timesteps(steps, device=noise.device)
    now = noise * solver.init_noise_sigma
    for time in solver.timesteps:
        at = time.expand(len(now))
        now = solver.step(predict(solver.scale_model_input(now, time), at), time, now).prev_sample
    return drawings(model, now).cpu().numpy()
