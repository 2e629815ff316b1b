"""Small networks that other processes can import, for the tests of shadow models."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from attacks.membership.farm import sgd, train_farm
from attacks.membership.shadows import Recipe, balanced_sets
from attacks.observation import cross_entropy

RECIPE = Recipe(
    "net", set_size=20, epochs=3, batch_size=8, learning_rate=0.2, momentum=0.9, weight_decay=1e-3
)


def head(seed: int) -> nn.Module:
    return _drawn(nn.Linear(6, 3), seed)


def convnet(seed: int, width: int = 8) -> nn.Module:
    """With what a head may not have: dropout, and the buffers of a BatchNorm."""
    return _drawn(
        nn.Sequential(
            nn.Conv2d(1, width, 3, stride=2, padding=1),
            nn.BatchNorm2d(width),
            nn.GELU(),
            nn.Dropout(0.2),
            nn.Flatten(),
            nn.Linear(16 * width, 3),
        ),
        seed,
    )


def growing(seed: int) -> nn.Module:
    return convnet(seed, 8 + seed)


def restless(seed: int, calls: list[int] = []) -> nn.Module:  # noqa: B006
    calls.append(seed)
    return convnet(len(calls))


def squared(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - nn.functional.one_hot(targets, 3)).square().sum(1)


def traced_sgd(
    model: nn.Module, loss, inputs: Tensor, targets: Tensor, recipe: Recipe, column: int, folder: str
) -> None:
    """Leaves behind which process trained, and on what."""
    np.save(Path(folder) / f"{column}.npy", inputs.numpy())
    (Path(folder) / f"{os.getpid()}.pid").touch()
    sgd(model, loss, inputs, targets, recipe, column)


def dying(model: nn.Module, loss, inputs: Tensor, targets: Tensor, recipe: Recipe, column: int) -> None:
    if column >= 2:
        os._exit(9)
    sgd(model, loss, inputs, targets, recipe, column)


def candidates() -> tuple[Tensor, Tensor, np.ndarray]:
    """40 pictures, their labels, and the sets of 8 models."""
    draws = torch.Generator().manual_seed(0)
    pictures = torch.randn(40, 1, 8, 8, generator=draws)
    return (
        pictures,
        torch.randint(0, 3, (40,), generator=draws),
        balanced_sets(40, 8, 20, np.random.default_rng(0)),
    )


def train_and_stall(cache: str, folder: str) -> None:
    """Train in two processes, and after two models say so and wait for ever."""

    def stall(done: int, of: int) -> None:
        if done >= 2:
            print(done, of, flush=True)
            sys.stdin.read()

    train_farm(
        convnet,
        cross_entropy,
        *candidates(),
        RECIPE,
        cache,
        partial(traced_sgd, folder=folder),
        processes=2,
        progress=stall,
    )


def _drawn(model: nn.Module, seed: int) -> nn.Module:
    draws = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.copy_(0.3 * torch.randn(tensor.shape, generator=draws))
    return model
