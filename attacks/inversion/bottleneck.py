"""One picture, one step: what a linear layer gives away about everything before it.

A linear layer with bias tells its input f exactly, and the gradient that flows back into f is W^T times the
bias' gradient (Phong et al. 2017). Both are known without the labels, the loss or the learning rate. What
is left is to find the picture whose gradient of the inner product of f with that fixed vector matches:
a far smoother problem than the full one, since the loss and what follows the layer are gone.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call

from attacks.errors import AttackError
from attacks.inversion.analytic import LinearLayer, linear_layers, single_input
from attacks.inversion.unroll import UnrolledClient, Update, gradient
from attacks.observation import Observation

_EXPLAINED = 1e-2
"""Share of a layer's update that one input may leave unexplained."""
_AGREES = 1e-3


class Bottleneck:
    """The part of the model before a linear layer, with what is known at that layer.

    Attributes:
        layer: The layer.
        features: Its input (d,).
        upstream: The observed update of the tensors before the layer, by name.
    """

    def __init__(
        self, observation: Observation, model: nn.Module, layer: LinearLayer, update: Update
    ) -> None:
        """Solve for the layer's input and the gradient that flows back into it.

        Args:
            observation: Weights and normalisation.
            model: The architecture, as functional transforms accept it.
            layer: Which layer.
            update: Of every trained tensor.

        Raises:
            AttackError: The layer has no bias, got no gradient, or saw more than one input.
        """
        if layer.bias is None:
            raise AttackError(f"layer {layer.name!r} has no bias, so the size of its input is not known")
        weight, bias = update[layer.weight].double(), update[layer.bias].double()
        single = single_input(weight, bias)
        rest = float((weight - bias[:, None] * single).square().sum() / weight.square().sum())
        if rest > _EXPLAINED:
            raise AttackError(f"layer {layer.name!r}: one input leaves {rest:.1%} of its update unexplained")
        self.layer = layer
        self._observation = observation
        self._model, self._module = model, model.get_submodule(layer.name)
        self._weights = dict(observation.weights)
        self.features = single.to(update[layer.weight].dtype)
        # In units of the update, so that learning rate, sign, loss scale and a clip are in it already.
        self._cotangent = update[layer.bias] @ self._weights[layer.weight]
        used = self._used()
        self.upstream = {name: update[name] for name in observation.trainable if name in used}
        if not self.upstream or len(self.features) != self._weights[layer.weight].shape[1]:
            raise AttackError(f"layer {layer.name!r}: nothing before it trained")

    def predict(self, pictures: Tensor, plain: bool = False) -> tuple[Update, Tensor]:
        """Update of the tensors before the layer, and the layer's input (d,), for pictures (1, c, h, w).

        `plain` is as for `attacks.inversion.unroll.gradient`.
        """
        inputs = self._observation.inputs(pictures)
        moved = {name: self._weights[name] for name in self.upstream}
        return gradient(lambda weights: self._inner(weights, inputs), moved, plain)

    def _inner(self, weights: Update, inputs: Tensor) -> tuple[Tensor, Tensor]:
        seen: list[Tensor] = []
        handle = self._module.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        try:
            functional_call(self._model, {**self._weights, **weights}, (inputs,))
        finally:
            handle.remove()
        features = seen[0].flatten()
        return (features * self._cotangent).sum(), features

    def _used(self) -> set[str]:
        """Names of the trained tensors that the layer's input depends on."""
        leaves = {
            name: self._weights[name].clone().requires_grad_(True) for name in self._observation.trainable
        }
        pictures = torch.full((1, *self._observation.picture_shape), 0.5)
        inner, features = self._inner(leaves, self._observation.inputs(pictures))
        if features.numel() != self._weights[self.layer.weight].shape[1]:
            raise AttackError(f"layer {self.layer.name!r} is used on more than one vector a picture")
        if not inner.requires_grad:
            return set()
        gradients = torch.autograd.grad(inner, list(leaves.values()), allow_unused=True)
        return {name for name, g in zip(leaves, gradients, strict=True) if g is not None}


def find_bottleneck(observation: Observation, client: UnrolledClient, targets: Tensor) -> Bottleneck | None:
    """The first linear layer that everything before it passes through, or None.

    Tried on a random picture: if the layer's input and cotangent do not reproduce that picture's update of
    the tensors before it (a path around the layer, several uses of it), the layer is no bottleneck.

    Args:
        observation: One picture and one step, else there is none.
        client: The unrolled client of that round.
        targets: Any valid targets (1, ...), for the trial.
    """
    training = observation.training
    if training is None or training.steps != 1 or training.pictures != 1:
        return None
    trial = torch.rand(1, *observation.picture_shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = client.update(trial, targets)
    for layer in linear_layers(observation):
        try:
            rehearsal = Bottleneck(observation, client.model, layer, expected)
            predicted, _ = rehearsal.predict(trial)
            error = _norm({n: predicted[n] - t for n, t in rehearsal.upstream.items()})
            if error <= _AGREES * _norm(rehearsal.upstream):
                return Bottleneck(observation, client.model, layer, dict(observation.updates[0]))
        except AttackError:
            continue
    return None


def _norm(update: Update) -> float:
    return float(torch.stack([t.square().sum() for t in update.values()]).sum().sqrt())
