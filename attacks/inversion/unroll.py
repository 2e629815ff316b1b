"""The client's training as a function of its pictures that can be differentiated and batched.

Inversion of several local steps needs the gradient of the whole trajectory (Dimitrov et al. 2022,
arXiv 2206.04055, unroll it likewise). `attacks.replay` does the same plainly and slowly; a test compares.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, replace_all_batch_norm_modules_, vmap

from attacks.errors import AttackError
from attacks.observation import Observation, losses_of
from attacks.optimisers import require_plain

Update = dict[str, Tensor]
WithAside = Callable[[Update], tuple[Tensor, Tensor]]
"""Of some weights: a number, and something found on the way."""


class UnrolledClient:
    """One round of the observed client, without its noise.

    Pure: maps pictures to the update of every trained parameter, and may run under `torch.func` transforms.
    Augmented views of a picture are drawn by the client and unknown here, so each picture stands for all of
    its views.

    Attributes:
        model: A copy of the model that functional transforms accept.
    """

    def __init__(self, observation: Observation, number: int = 0) -> None:
        """Fix the round.

        Args:
            observation: With a description of the training.
            number: Which of the observed rounds.

        Raises:
            AttackError: Nothing trained, or a layer draws at random in train mode and nothing can replay.
        """
        training, loss = observation.training, observation.loss
        if training is None or loss is None or not observation.updates:
            raise AttackError("inversion needs an observed update and a description of the training")
        require_plain(training, "inversion")
        self._training, self._loss, self._observation = training, loss, observation
        self.model = _functional(observation.model)
        weights = observation.weights_of(number)
        trained = set(observation.trainable)
        own = {name for name, _ in self.model.named_parameters()}
        own |= {name for name, _ in self.model.named_buffers()}
        self._start = {n: t for n, t in weights.items() if n in trained}
        self._fixed = {n: t for n, t in weights.items() if n in own - trained}

    def update(self, pictures: Tensor, targets: Tensor, plain: bool = False) -> Update:
        """Weights after minus before.

        Args:
            pictures: (training.pictures, *picture_shape), in [0, 1].
            targets: (training.pictures, ...).
            plain: As for `gradient`; not under transforms then.
        """
        training = self._training
        inputs = self._observation.inputs(pictures)
        rate, moved, velocity = training.learning_rate, Update(), Update()
        for step in range(training.steps):
            batch = training.batch(step)
            weights = {name: t + moved[name] for name, t in self._start.items()} if step else self._start
            gradient = self._step_gradient(weights, inputs[batch], targets[batch], plain)
            if training.momentum and step:
                gradient = {n: training.momentum * velocity[n] + g for n, g in gradient.items()}
            velocity = gradient
            moved = {
                n: torch.sub(moved[n], g, alpha=rate) if step else -rate * g for n, g in gradient.items()
            }
        return moved

    def _step_gradient(self, weights: Update, inputs: Tensor, targets: Tensor, plain: bool) -> Update:
        training = self._training
        divisor = training.batch_size if training.reduction == "mean" else 1
        if training.clip_norm is None or len(inputs) == 1:
            whole, _ = gradient(lambda w: (self._summed_loss(w, inputs, targets), inputs), weights, plain)
            if training.clip_norm is None:
                return whole if divisor == 1 else {n: g / divisor for n, g in whole.items()}
            rows = {n: g[None] for n, g in whole.items()}
        else:
            rows = vmap(grad(self._summed_loss), in_dims=(None, 0, 0))(
                weights, inputs[:, None], targets[:, None]
            )
        squares = torch.stack([g.flatten(1).square().sum(1) for g in rows.values()]).sum(0)
        factors = (training.clip_norm / squares.clamp(min=1e-24).sqrt()).clamp(max=1) / divisor
        return {n: (factors @ g.flatten(1)).view(g.shape[1:]) for n, g in rows.items()}

    def _summed_loss(self, weights: Update, inputs: Tensor, targets: Tensor) -> Tensor:
        outputs = functional_call(self.model, {**self._fixed, **weights}, (inputs,))
        return losses_of(self._loss, outputs, targets).sum()


def gradient(function: WithAside, weights: Update, plain: bool) -> tuple[Update, Tensor]:
    """Gradient of a function of weights, itself differentiable, and what the function found on the way.

    Args:
        function: Of the weights.
        weights: By name; what the function does not use has a gradient of zeros.
        plain: By autograd alone, which takes less time than `torch.func.grad`, but does not run under
            `torch.func` transforms.
    """
    if not plain:
        apart: tuple[dict[str, Tensor], Tensor] = grad(function, has_aux=True)(weights)
        return apart
    further = torch.is_grad_enabled()
    with torch.enable_grad():
        tracked = {n: t if t.requires_grad else t.detach().requires_grad_(True) for n, t in weights.items()}
        value, aside = function(tracked)
        found = torch.autograd.grad(
            value, list(tracked.values()), create_graph=further, materialize_grads=True
        )
    return dict(zip(tracked, found, strict=True)), aside


def _functional(model: nn.Module) -> nn.Module:
    """A copy that functional transforms accept: batch norm in train mode keeps no running statistics."""
    for name, layer in model.named_modules():
        if layer.training and isinstance(layer, nn.modules.dropout._DropoutNd) and layer.p > 0:
            raise AttackError(f"layer {name!r} draws at random in train mode, so that nothing replays")
    copied = copy.deepcopy(model)
    if copied.training:
        replace_all_batch_norm_modules_(copied)
    return copied
