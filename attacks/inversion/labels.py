"""Which classes or styles a batch had, from the update alone."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import torch
from scipy.optimize import nnls
from torch import Tensor
from torch.func import functional_call

from attacks.errors import AttackError
from attacks.inversion.analytic import linear_layers
from attacks.observation import Capability, Observation, State
from attacks.replay import simulate
from attacks.results import Budget, Evidence, generator

_PROBES = 64


@dataclass(frozen=True)
class LabelInference:
    """Class counts of a softmax head with a bias: iDLG (Zhao et al. 2020) with counts.

    The gradient of the head's bias is the mean over the batch of p - onehot(y), so that
    counts = B * (mean p - gradient). The mean p is taken over public pictures, or over uniform noise
    where there are none; near an untrained head both are good. An update has the opposite sign to a
    gradient. For several local steps this takes the mean gradient and is approximate; so it is where a
    clip shrank the gradient.

    Scores are the estimated counts (k,) before rounding; the features are the rounded counts (1, k),
    which add up to the number of pictures. The objective is the largest distance to a whole number.
    """

    @property
    def name(self) -> str:
        return "label inference"

    @property
    def requires(self) -> frozenset[Capability]:
        return frozenset({Capability.SEES_UPDATE, Capability.KNOWS_TRAINING, Capability.KNOWS_BATCH_SIZE})

    def run(self, observation: Observation, budget: Budget, seed: int) -> Evidence:
        """Solve; the seed draws the noise that stands in for a public set.

        Raises:
            AttackError: The model does not end in a linear layer with a trained bias.
        """
        started = time.perf_counter()
        layers, training = linear_layers(observation), observation.training
        if not observation.updates or training is None or not layers or layers[-1].bias is None:
            raise AttackError(f"{self.name}: the model has no last linear layer with a trained bias")
        update = observation.updates[0][layers[-1].bias].double()
        gradient = -update / (training.learning_rate * sum(training.echoes))
        if training.reduction == "sum":
            gradient = gradient / training.batch_size
        estimate = training.pictures * (self._mean_probability(observation, len(update), seed) - gradient)
        counts = whole_counts(estimate, training.pictures)
        return Evidence(
            self.name, float((estimate - estimate.round()).abs().max()), converged=True,
            features=counts[None].float(), scores=estimate.float(), seconds=time.perf_counter() - started,
            notes=("no public set: the head's mean output is that on noise",)
            if observation.public_pictures is None else (),
        )  # fmt: skip

    def _mean_probability(self, observation: Observation, classes: int, seed: int) -> Tensor:
        pictures = observation.public_pictures
        if pictures is None:
            pictures = torch.rand(_PROBES, *observation.picture_shape, generator=generator(seed))
        with torch.no_grad():
            inputs = observation.inputs(pictures[:_PROBES])
            # Copies: a batch norm in train mode moves its buffers.
            weights = {name: tensor.clone() for name, tensor in observation.weights.items()}
            logits = functional_call(observation.model, weights, (inputs,))
        if not isinstance(logits, Tensor) or logits.shape != (len(inputs), classes):
            raise AttackError(f"{self.name}: the model's output is not the head's {classes} classes")
        return logits.double().softmax(1).mean(0)


@dataclass(frozen=True, eq=False)
class TargetInference:
    """Counts of any kind of target, for a model without a classifier head too.

    Public pictures are trained on with every possible target; the observed update is then a mixture of
    these mean updates with weights >= 0 (non-negative least squares, Lawson and Hanson 1974). It holds as
    far as the update of a picture depends on its target more than on the picture.

    Scores are the estimated shares (k,) of the choices times the number of pictures; the features are
    whole counts (1, k).

    Attributes:
        choices: Every target that is possible (k, ...), as the loss wants them.
        parameters: Which tensors to compare; empty for all that trained. The last layers tell most.
    """

    choices: Tensor
    parameters: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return "target inference"

    @property
    def requires(self) -> frozenset[Capability]:
        return frozenset(
            {
                Capability.SEES_UPDATE,
                Capability.KNOWS_TRAINING,
                Capability.KNOWS_BATCH_SIZE,
                Capability.HAS_PUBLIC_SET,
            }
        )

    def run(self, observation: Observation, budget: Budget, seed: int) -> Evidence:
        """Solve; `budget.steps` is the number of public pictures that are trained on with each target."""
        started = time.perf_counter()
        public, training = observation.public_pictures, observation.training
        if public is None or training is None or not observation.updates:
            raise AttackError(f"{self.name}: needs an update and public pictures")
        names = self.parameters or observation.trainable
        order = torch.randperm(len(public), generator=generator(seed))
        chosen = public[order[: max(budget.steps, 1)]]
        columns = []
        for target in self.choices:
            targets = target.expand(len(chosen), *target.shape)
            columns.append(_flat(_one_step(observation, chosen, targets), names))
        basis = torch.stack(columns, dim=1)
        observed = _flat(observation.updates[0], names)
        weights, rest = nnls(basis.numpy(), observed.numpy())
        total = weights.sum()
        if total == 0:
            raise AttackError(f"{self.name}: no choice of target explains any of the update")
        estimate = torch.from_numpy(weights / total * training.pictures)
        return Evidence(
            self.name, float(rest / observed.norm()), converged=True, scores=estimate.float(),
            features=whole_counts(estimate, training.pictures)[None].float(),
            seconds=time.perf_counter() - started,
        )  # fmt: skip


def whole_counts(estimate: Tensor, total: int) -> Tensor:
    """The whole numbers >= 0 that add up to `total` and are nearest to the estimate, int64 (k,).

    One picture after the other goes to the class whose estimate is furthest above what it has got; that
    is the exact minimiser of the squared distance.

    Example:
        >>> whole_counts(torch.tensor([1.7, 0.4, 0.9]), total=3)
        tensor([2, 0, 1])
    """
    counts = torch.zeros(len(estimate), dtype=torch.int64)
    for _ in range(total):
        counts[int((estimate - counts).argmax())] += 1
    return counts


def _one_step(observation: Observation, pictures: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """The mean update of single pictures, each clipped like the victim's, by one step over all of them."""
    training = observation.training
    assert training is not None
    one = replace(training, steps=1, epochs=1, batch_size=len(pictures), momentum=0.0, views=1)
    return simulate(observation, pictures, targets, replace(one, reduction="mean"))


def _flat(update: State, names: tuple[str, ...]) -> Tensor:
    return torch.cat([update[name].double().flatten() for name in names])
