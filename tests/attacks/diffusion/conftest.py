"""A small schedule, a tiny network, and pictures as models take them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from attacks.diffusion.model import Denoiser
from attacks.diffusion.schedule import Schedule

STEPS = 100


@pytest.fixture
def schedule() -> Callable[..., Schedule]:
    """A cosine schedule of 100 steps, for one sort of prediction."""

    def build(kind="v_prediction") -> Schedule:
        return Schedule(torch.cos(torch.linspace(0.02, 1.55, STEPS, dtype=torch.float64)) ** 2, kind)

    return build


class TinyNet(nn.Module):
    """Three convolutions that are told the time; takes times between steps."""

    def __init__(self, width: int = 12, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.told = nn.Linear(2, width)
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.last = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, noisy: Tensor, time: Tensor) -> Tensor:
        angle = 3 * time.to(noisy.dtype)[:, None] / STEPS
        shift = self.told(torch.cat([angle.sin(), angle.cos()], 1))[:, :, None, None]
        x = nn.functional.silu(self.first(noisy) + shift)
        return self.last(nn.functional.silu(self.second(x) + x))


@pytest.fixture
def tiny(schedule) -> Callable[..., tuple[Denoiser, tuple[Tensor, ...]]]:
    """A model of 2,007 weights, untrained, and its parameters."""

    def build(kind="v_prediction", seed=0) -> tuple[Denoiser, tuple[Tensor, ...]]:
        net = TinyNet(seed=seed)
        return Denoiser(net, schedule(kind)), tuple(net.parameters())

    return build


@pytest.fixture
def normal_pictures() -> Callable[..., Tensor]:
    """Independent pictures of normal pixels, (n, 3, 4, 4), from a seed."""

    def build(n: int, seed: int, side: int = 4) -> Tensor:
        return torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(seed))

    return build
