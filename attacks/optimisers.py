"""What an optimiser makes of a gradient, step by step, as torch's own do: SGD, Nesterov, Adam, AdamW."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from torch import Tensor

from attacks.errors import AttackError
from attacks.observation import LocalTraining, State


@dataclass(frozen=True, eq=False)
class Memory:
    """What an optimiser keeps between steps; empty before the first.

    Attributes:
        steps: Taken so far.
        first: SGD's velocity, or Adam's first moment.
        second: Adam's second moment.
    """

    steps: int = 0
    first: State = field(default_factory=dict)
    second: State = field(default_factory=dict)


def stepped(
    weights: State, gradients: State, memory: Memory, training: LocalTraining
) -> tuple[dict[str, Tensor], Memory]:
    """Weights after one step, and what is kept for the next.

    As in `torch.optim`: SGD after Sutskever et al. (2013), Adam after Kingma and Ba (2015), AdamW with the
    decay of Loshchilov and Hutter (2019), without AMSGrad.

    Args:
        weights: Of the tensors that train; others may come along.
        gradients: Of those that train.
        memory: Of the step before.
        training: Optimiser, rates, momentum, decay.

    Returns:
        New tensors; those of `weights` that have no gradient are left out.

    Example:
        >>> import torch
        >>> w, g = {"w": torch.tensor([1.0])}, {"w": torch.tensor([0.5])}
        >>> stepped(w, g, Memory(), LocalTraining(0.1, optimizer="adam"))[0]["w"].round(decimals=4)
        tensor([0.9000])
    """
    rate = training.learning_rate * training.rate_factor(memory.steps)
    if training.optimizer == "sgd":
        return _sgd(weights, gradients, memory, training, rate)
    return _adam(weights, gradients, memory, training, rate)


def _sgd(
    weights: State, gradients: State, memory: Memory, training: LocalTraining, rate: float
) -> tuple[dict[str, Tensor], Memory]:
    found, velocity = {}, {}
    for name, gradient in gradients.items():
        if training.weight_decay:
            gradient = gradient + training.weight_decay * weights[name]
        if training.momentum:
            before = memory.first.get(name)
            moved = gradient if before is None else training.momentum * before + gradient
            velocity[name] = moved
            gradient = gradient + training.momentum * moved if training.nesterov else moved
        found[name] = weights[name] - rate * gradient
    return found, Memory(memory.steps + 1, velocity)


def _adam(
    weights: State, gradients: State, memory: Memory, training: LocalTraining, rate: float
) -> tuple[dict[str, Tensor], Memory]:
    step, (fast, slow) = memory.steps + 1, training.betas
    found, first, second = {}, {}, {}
    for name, gradient in gradients.items():
        weight = weights[name]
        if training.weight_decay and training.optimizer == "adamw":
            weight = weight * (1 - rate * training.weight_decay)
        elif training.weight_decay:
            gradient = gradient + training.weight_decay * weight
        m, v = (1 - fast) * gradient, (1 - slow) * gradient * gradient
        if memory.steps:
            m, v = m + fast * memory.first[name], v + slow * memory.second[name]
        first[name], second[name] = m, v
        scale = v.sqrt() / math.sqrt(1 - slow**step) + training.eps
        found[name] = weight - rate / (1 - fast**step) * m / scale
    return found, Memory(step, first, second)


def require_plain(training: LocalTraining, what: str) -> None:
    """Refuse a training that something reads as SGD with momentum, and that was none.

    Args:
        training: What the client did.
        what: That reads it, for the error.

    Raises:
        AttackError: Names what differs.
    """
    if not training.plain:
        raise AttackError(
            f"{what} reads SGD with momentum, and this training had {training.differs}: "
            "`attacks.audit_update` says what can be done with it"
        )
