"""Does the client's training again, step by step: plain and slow, to check against."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import functional_call

from attacks.errors import AttackError
from attacks.observation import LocalTraining, Loss, Observation, State, difference, losses_of
from attacks.optimisers import Memory, stepped

Gradients = dict[str, Tensor]


def simulate(
    observation: Observation,
    pictures: Tensor,
    targets: Tensor,
    training: LocalTraining | None = None,
    number: int = 0,
    inputs: Callable[[Tensor], Tensor] | None = None,
    nudge: float = 0.0,
) -> dict[str, Tensor]:
    """The update that a client with these pictures would have sent, without its noise.

    Weights move in their own dtype and are subtracted at the end, so that rounding is the client's.

    Args:
        observation: Model, weights, loss and normalisation.
        pictures: (n, *picture_shape), or (n, views, *picture_shape) where a picture comes in views. Where a
            step sees all of them, n may differ from the batch size, as a Poisson sample does.
        targets: (n, ...).
        training: What the client did; None for the observation's own description.
        number: The round, whose weights are the start.
        inputs: From pictures to inputs; None for the observation's normalisation.
        nudge: Share of a tensor's largest gradient that is added to or taken from each number: what rounding
            does to it, and how much that is where Adam divides by tiny ones.

    Returns:
        After minus before, of every tensor that the observed update of that round has.

    Raises:
        AttackError: The pictures do not fit the description.

    Example:
        >>> from attacks.observation import cross_entropy
        >>> _ = torch.manual_seed(0)
        >>> model, x, y = torch.nn.Linear(3, 2), torch.rand(1, 3), torch.tensor([1])
        >>> gradients = torch.autograd.grad(cross_entropy(model(x), y).mean(), list(model.parameters()))
        >>> update = {"weight": -0.1 * gradients[0], "bias": -0.1 * gradients[1]}
        >>> seen = Observation(model, model.state_dict(), (3,), (update,), LocalTraining(0.1), cross_entropy)
        >>> torch.allclose(simulate(seen, x, y)["weight"], update["weight"], atol=1e-6)
        True
    """
    training = training or observation.training
    if training is None or observation.loss is None:
        raise AttackError("the observation describes no training, so there is nothing to replay")
    views = pictures.ndim == len(observation.picture_shape) + 2
    if tuple(pictures.shape[1 + views :]) != observation.picture_shape or len(pictures) != len(targets):
        raise AttackError(
            f"pictures {tuple(pictures.shape)} with {len(targets)} targets do not fit "
            f"picture_shape {observation.picture_shape}"
        )
    was_training = observation.model.training
    observation.model.train(training.mode == "train")
    try:
        x = (inputs or observation.inputs)(pictures).to(observation.dtype)
        before = observation.weights_of(number)
        after = _train(observation, dict(before), x if views else x[:, None], targets, training, nudge)
        wanted = observation.updates[number] if observation.updates else observation.trainable
        return difference(before, {name: after[name] for name in wanted})
    finally:
        observation.model.train(was_training)


def _train(
    observation: Observation,
    start: State,
    inputs: Tensor,
    targets: Tensor,
    training: LocalTraining,
    nudge: float,
) -> dict[str, Tensor]:
    state = {name: tensor.clone() for name, tensor in start.items()}
    memory, draws = Memory(), torch.Generator().manual_seed(0)
    whole = training.steps == training.epochs
    if not whole and len(inputs) != training.pictures:
        raise AttackError(
            f"the training saw {training.pictures} pictures, not {len(inputs)}: steps / epochs batches of "
            "batch_size; whole passes over the same pictures are epochs"
        )
    for step in range(training.steps):
        batch = slice(None) if whole else training.batch(step)
        gradients = step_gradient(observation, state, inputs[batch], targets[batch], training)
        if nudge:
            gradients = {name: _nudged(g, nudge, draws) for name, g in gradients.items()}
        moved, memory = stepped(state, gradients, memory, training)
        state |= moved
    return state


def _nudged(gradient: Tensor, nudge: float, draws: torch.Generator) -> Tensor:
    signs = torch.randint(0, 2, gradient.shape, generator=draws).to(gradient) * 2 - 1
    # What is exactly zero, as behind a dead unit, is so for everybody.
    largest = gradient.abs().max() if gradient.numel() else 0.0
    return gradient + nudge * largest * signs * (gradient != 0)


def step_gradient(
    observation: Observation, state: State, inputs: Tensor, targets: Tensor, training: LocalTraining
) -> Gradients:
    """The gradient of one local step, clipped and reduced, without noise.

    Args:
        observation: Model and loss.
        state: Every tensor of the model's `state_dict`; buffers are moved in place in train mode.
        inputs: The step's (b, views, ...), normalised.
        targets: (b, ...).
        training: Clip and reduction.
    """
    divisor = training.batch_size if training.reduction == "mean" else 1
    if training.clip_norm is None:
        return {n: g / divisor for n, g in _gradient(observation, state, inputs, targets).items()}
    total: Gradients = {}
    for one, target in zip(inputs.split(1), targets.split(1), strict=True):
        gradient = _gradient(observation, state, one, target)
        length = torch.stack([g.norm() for g in gradient.values()]).norm()
        factor = (training.clip_norm / length.clamp(min=1e-12)).clamp(max=1)
        for name, g in gradient.items():
            total[name] = total.get(name, 0) + factor * g
    return {name: g / divisor for name, g in total.items()}


def _gradient(observation: Observation, state: State, inputs: Tensor, targets: Tensor) -> Gradients:
    """Gradient of the sum over pictures of the mean over views."""
    loss: Loss | None = observation.loss
    assert loss is not None
    trained = {name: state[name].detach().requires_grad_(True) for name in observation.trainable}
    views = inputs.shape[1]
    outputs = functional_call(observation.model, {**state, **trained}, (inputs.flatten(0, 1),))
    losses = losses_of(loss, outputs, targets.repeat_interleave(views, dim=0))
    gradients = torch.autograd.grad(losses.sum() / views, list(trained.values()), allow_unused=True)
    return {
        name: torch.zeros_like(p) if gradient is None else gradient
        for (name, p), gradient in zip(trained.items(), gradients, strict=True)
    }
