"""Ordinary training, without privacy: of the public start, and of what a run is compared with."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fedstyle_secure.systems.text.recogniser.ctc import TextLoss

_BATCH = 32
_LONGEST_STEP = 5.0
"""Gradients are cut to this length: the first ones of a random start are long."""

_WARM = 0.1


def fit(model: nn.Module, crops: Tensor, targets: Tensor, epochs: int, rate: float, seed: int) -> None:
    """Train what requires gradients by Adam (Kingma and Ba 2015), its rate rising and falling once.

    Args:
        model: Trained in place.
        crops: float32 (n, 1, 32, 128); none: nothing is trained.
        targets: int64 (n, ...), of `Charset.encode`.
        epochs: Passes over all crops, >= 0.
        rate: Largest step size.
        seed: Of the order.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    batches = -(-len(crops) // _BATCH)
    if not epochs * batches:
        return
    optimizer = torch.optim.Adam(parameters, rate)
    # It rises over two steps at least: over one it divides by zero, and over none by less.
    steps = max(3, epochs * batches)
    rates = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rate, total_steps=steps, pct_start=max(_WARM, 2 / steps)
    )
    loss, draws = TextLoss(), torch.Generator().manual_seed(seed)
    model.train()
    for _ in range(epochs):
        for chosen in torch.randperm(len(crops), generator=draws).split(_BATCH):
            optimizer.zero_grad()
            loss(model(crops[chosen]), targets[chosen]).mean().backward()
            nn.utils.clip_grad_norm_(parameters, _LONGEST_STEP)
            optimizer.step()
            rates.step()
