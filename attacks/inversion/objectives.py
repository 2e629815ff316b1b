"""How far a predicted update is from the observed one. Each maps updates to one number, smaller is nearer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import torch
from torch import Tensor

from attacks.errors import AttackError
from attacks.inversion.unroll import Update
from attacks.ranges import real, whole

Kind = Literal["cosine", "euclidean", "likelihood"]


@dataclass(frozen=True, eq=False)
class UpdateDistance:
    """A distance to one observed update.

    Attributes:
        kind: `cosine`: 1 - cosine (Geiping et al. 2020, eq. 4), in [0, 2], blind to a factor such as a
            batch-level clip. `euclidean`: squared distance over the observed update's squared length (Zhu et
            al. 2019 up to that constant). `likelihood`: minus the log-density of the observed update, a
            Gaussian around the predicted one, up to a constant: squared distance over 2 * deviation^2 *
            numbers.
        observed: Update by name of tensor.
        weights: Factor on each tensor's squares and products, >= 0, by name.
        deviation: Of the known noise on each number of the update, >= 0.
        numbers: What a likelihood is divided by, >= 1: how many numbers the pictures have, as priors do.
    """

    kind: Kind
    observed: Mapping[str, Tensor]
    weights: Mapping[str, float]
    deviation: float = 0.0
    numbers: int = 1

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise AttackError(f"distance must be one of {', '.join(get_args(Kind))}, not {self.kind!r}")
        for name, weight in self.weights.items():
            real(f"weight of tensor {name!r}", weight, "[0, inf)")
        real("deviation", self.deviation, "[0, inf)")
        whole("numbers", self.numbers, 1)
        if self.kind == "likelihood" and not self.deviation > 0:
            raise AttackError("a likelihood needs known noise: training.noise_std is 0")
        if not any(self.weights[n] > 0 and t.any() for n, t in self.observed.items()):
            raise AttackError("the observed update is zero in every tensor that the objective weighs")

    def __call__(self, predicted: Update) -> Tensor:
        """A scalar from an update of the same tensors."""
        flat = self._flat(predicted)
        if self.kind == "cosine":
            # Half the squared distance of the unit vectors: 1 - cosine would lose its digits near zero.
            length = (flat.square().sum() + 1e-30).sqrt()
            return 0.5 * (flat / length - self._unit).square().sum()
        distance = (flat - self._seen).square().sum()
        if self.kind == "euclidean":
            return distance / self._length**2
        return distance / (2 * self.deviation**2 * self.numbers)

    def at_truth(self) -> float:
        """About what the true pictures would reach under the known noise."""
        if self.kind == "likelihood":
            return sum(self.weights[n] * t.numel() for n, t in self.observed.items()) / (2 * self.numbers)
        noise = self.deviation**2 * sum(self.weights[n] * t.numel() for n, t in self.observed.items())
        share = min(noise / float(self._length) ** 2, 1.0)
        return share if self.kind == "euclidean" else 1 - (1 - share) ** 0.5

    @cached_property
    def _seen(self) -> Tensor:
        return self._flat(self.observed)

    @cached_property
    def _unit(self) -> Tensor:
        return self._seen / self._length

    @cached_property
    def _length(self) -> Tensor:
        return self._seen.square().sum().sqrt()

    def _flat(self, update: Mapping[str, Tensor]) -> Tensor:
        """All numbers in one vector, each times the root of its tensor's weight: few and long operations."""
        parts = ((self.weights[n] ** 0.5, update[n].flatten()) for n in self.observed)
        return torch.cat([part if factor == 1 else factor * part for factor, part in parts])


def tensor_weights(observed: Mapping[str, Tensor], power: float | None) -> dict[str, float]:
    """Factors by which every tensor of an update counts.

    Otherwise the tensor with the largest gradient decides nearly alone: in an encoder that is the
    projection, whose gradient for one picture is of rank one and says nothing about places.

    Args:
        observed: Update by name of tensor.
        power: A tensor of k numbers counts k^power in all; None leaves every number its own weight.
    """
    if power is None:
        return dict.fromkeys(observed, 1.0)
    squares = {n: float(t.square().sum()) for n, t in observed.items()}
    return {n: observed[n].numel() ** power / s if s > 0 else 0.0 for n, s in squares.items()}
