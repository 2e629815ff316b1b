"""The client's training as a function of its pictures that can be differentiated and batched.

Inversion of several local steps needs the gradient of the whole trajectory (Dimitrov et al. 2022,
arXiv 2206.04055, unroll it likewise). `attacks.replay` does the same plainly and slowly; a test compares.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, replace_all_batch_norm_modules_, vmap

from attacks.errors import AttackError
from attacks.observation import Observation, losses_of
from attacks.optimisers import require_plain

Update = dict[str, Tensor]


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

    def update(self, pictures: Tensor, targets: Tensor) -> Update:
        """Weights after minus before.

        Args:
            pictures: (training.pictures, *picture_shape), in [0, 1].
            targets: (training.pictures, ...).
        """
        training = self._training
        inputs = self._observation.inputs(pictures)
        moved = {name: torch.zeros_like(t) for name, t in self._start.items()}
        velocity = moved
        for step in range(training.steps):
            batch = training.batch(step)
            weights = {name: t + moved[name] for name, t in self._start.items()}
            gradient = self._step_gradient(weights, inputs[batch], targets[batch])
            if training.momentum:
                gradient = {n: training.momentum * velocity[n] + g for n, g in gradient.items()}
                velocity = gradient
            moved = {n: moved[n] - training.learning_rate * g for n, g in gradient.items()}
        return moved

    def _step_gradient(self, weights: Update, inputs: Tensor, targets: Tensor) -> Update:
        training = self._training
        divisor = training.batch_size if training.reduction == "mean" else 1
        if training.clip_norm is None:
            return {n: g / divisor for n, g in grad(self._summed_loss)(weights, inputs, targets).items()}
        if len(inputs) == 1:
            rows = {n: g[None] for n, g in grad(self._summed_loss)(weights, inputs, targets).items()}
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


def _functional(model: nn.Module) -> nn.Module:
    """A copy that functional transforms accept: batch norm in train mode keeps no running statistics."""
    for name, layer in model.named_modules():
        if layer.training and isinstance(layer, nn.modules.dropout._DropoutNd) and layer.p > 0:
            raise AttackError(f"layer {name!r} draws at random in train mode, so that nothing replays")
    copied = copy.deepcopy(model)
    if copied.training:
        replace_all_batch_norm_modules_(copied)
    return copied
