"""The positive control of an attack on a model: the same model, made to know some non-members by heart."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from attacks.auditing.data import Records
from attacks.auditing.signals import Reader, agreement, called, embedded
from attacks.errors import AttackError, one_line
from attacks.ranges import whole

_MOST = 64
"""Records that are learnt by heart."""

_ENOUGH = 1e-3
"""Of the first loss; below it they are known."""

_SLOW, _FAST = 1e-3, 1e-2
"""Rates of the first and the last step: what does not learn at the one learns at the other."""


def knowing_by_heart(
    model: nn.Module, reader: Reader, records: Records, seed: int, steps: int = 200
) -> nn.Module:
    """A copy of the model that was trained on records until it knows them, in float32.

    Normalisation keeps its running statistics and dropout is off, so that nothing but the weights moves.

    Args:
        model: Left as it is.
        reader: How its loss is read.
        records: At most 64 are learnt, the first ones.
        seed: Of an encoder's views.
        steps: Of Adam over all of these records at once, >= 1.

    Raises:
        AttackError: The model cannot be copied, or has nothing that trains.
    """
    whole("steps", steps, 1)
    try:
        copied = copy.deepcopy(model).float().eval()
    except (RuntimeError, TypeError, AttributeError) as error:
        raise AttackError(f"the model cannot be copied: {one_line(error)}") from None
    weights = [p for p in copied.parameters() if p.is_floating_point()]
    if not weights:
        raise AttackError("the model has no weights that could learn anything by heart")
    for weight in weights:
        weight.requires_grad_(True)
    few = Records(records.inputs[:_MOST], None if records.targets is None else records.targets[:_MOST])
    optimizer = torch.optim.Adam(weights, lr=_SLOW)
    draws = torch.Generator().manual_seed(seed)
    first = math.nan
    with torch.enable_grad():
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = _SLOW * (_FAST / _SLOW) ** (step / steps)
            loss = _loss(copied, reader, few, draws)
            if not loss.requires_grad:
                raise AttackError("the model's answer does not hang on its weights")
            if math.isnan(first):
                first = float(loss.detach())
            if not math.isfinite(now := float(loss.detach())) or now <= _ENOUGH * first:
                break
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    for weight in weights:
        weight.requires_grad_(False)
    return copied


def _loss(model: nn.Module, reader: Reader, records: Records, draws: torch.Generator) -> Tensor:
    if reader.views is not None:
        pair = [embedded(model, reader.views, records.inputs, draws, "control") for _ in range(2)]
        return 1 - agreement(torch.stack(pair, 1)).mean()
    outputs = called(model, records.inputs, "control")
    return reader.losses(outputs, records.inputs, records.targets).mean()
