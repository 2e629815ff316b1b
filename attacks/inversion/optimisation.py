"""Pictures out of updates by optimisation: find pictures that would have caused the same update.

From DLG (Zhu et al. 2019) and iDLG (Zhao et al. 2020) over Inverting Gradients (Geiping et al. 2020) and
unrolled local steps (Dimitrov et al. 2022) to two of our own: `bottleneck_inversion`, which uses what a
linear layer gives away, and `adaptive_inversion`, which knows the defence. `attacks.inversion.race` lets
several of them race.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import get_args

import torch
from torch import Tensor
from torch.func import vmap

from attacks.errors import AttackError
from attacks.inversion.bottleneck import Bottleneck, find_bottleneck
from attacks.inversion.labels import LabelInference, TargetInference
from attacks.inversion.objectives import Kind, UpdateDistance, tensor_weights
from attacks.inversion.priors import (
    Canvas,
    OutOfRange,
    Pixels,
    Prior,
    PublicContrast,
    PublicSpectrum,
    TotalVariation,
    calibrated_gain,
)
from attacks.inversion.restarts import Descent, Minimum, joined
from attacks.inversion.unroll import UnrolledClient, Update
from attacks.observation import Capability, Observation
from attacks.ranges import real, whole
from attacks.results import Budget, Evidence, Progress, generator

STRONGEST = "strong inversion"
"""Name of the race that every other inversion points to where it found nothing."""

_NEAR = 1e-3
"""Data distance above which a run that came to rest sits in a poor local minimum."""

_HIDDEN = 1e-2
"""Cosine distance between updates at full and at half contrast below which a norm hides the gain."""

Learned = Callable[[Tensor], Prior]
"""Learns a prior from public pictures (m, c, h, w)."""


@dataclass(frozen=True, eq=False)
class GradientInversion:
    """Gradient inversion, put together from a distance, priors, a canvas and a way down.

    All restarts run as one tensor; the best is chosen by the objective alone, which is the distance plus the
    weighted priors. Several rounds of the same pictures are not combined: the first update is attacked.

    Where the targets are not known they are optimised along as probabilities (`joint_classes`, DLG), or
    inferred first: from `choices` by what they do to public pictures, or from a softmax head's bias (iDLG).

    Attributes:
        name: Short, for tables.
        distance: As for `UpdateDistance`.
        power: As for `tensor_weights`; None weighs every number alike.
        bottleneck: Use what a linear layer gives away, where one picture and one step allow.
        feature_weight: Weight, >= 0, of the squared distance to the known features, over their squared
            length.
        smoothness: Weight of the total variation, >= 0.
        coupled: Whether that is of all colours together, as for `TotalVariation`.
        anneal: Factors on `smoothness`, >= 0, one for each stage; the steps are shared out evenly. A strong
            prior finds the shapes first, a weak one lets the data decide on the details. The last stage's
            objective is the attack's.
        priors: Further terms of the objective with their weights.
        learned: Like `priors`, learned first from the observation's public pictures.
        canvas: How pictures are written down.
        descent: The way down.
        joint_classes: Number of classes, where soft targets are optimised along; 0 otherwise.
        choices: Every possible target (k, ...), or None.
        survivors: How many of the restarts, >= 1, the best by the objective, go beyond the first stage; None
            for all.
        contrast: Weight of `PublicContrast`, >= 0, where a norm hides the gain; at the end the gain is set
            right, see `calibrated_gain`. Where the update shows the gain this does nothing.
        progress: Told of steps done, steps in all and seconds left; or None.
    """

    name: str
    distance: Kind = "cosine"
    power: float | None = None
    bottleneck: bool = False
    feature_weight: float = 0.0
    smoothness: float = 0.0
    coupled: bool = False
    anneal: Sequence[float] = (1.0,)
    priors: Sequence[tuple[float, Prior]] = ()
    learned: Sequence[tuple[float, Learned]] = ()
    canvas: Canvas = field(default_factory=Pixels)
    descent: Descent = field(default_factory=Descent)
    joint_classes: int = 0
    choices: Tensor | None = None
    survivors: int | None = None
    contrast: float = 0.0
    progress: Progress | None = None

    def __post_init__(self) -> None:
        if self.distance not in get_args(Kind):
            raise AttackError(f"distance must be one of {', '.join(get_args(Kind))}, not {self.distance!r}")
        for name in ("feature_weight", "smoothness", "contrast"):
            real(f"{self.name}: {name}", getattr(self, name), "[0, inf)")
        if not self.anneal:
            raise AttackError(f"{self.name}: anneal must be at least one factor")
        for factor in self.anneal:
            real(f"{self.name}: a factor of anneal", factor, "[0, inf)")
        whole(f"{self.name}: joint_classes", self.joint_classes, 0)
        if self.survivors is not None:
            whole(f"{self.name}: survivors", self.survivors, 1)

    @property
    def requires(self) -> frozenset[Capability]:
        needed = {Capability.SEES_UPDATE, Capability.KNOWS_TRAINING, Capability.KNOWS_BATCH_SIZE}
        if self.learned or self.contrast:
            needed.add(Capability.HAS_PUBLIC_SET)
        if self.distance == "likelihood":
            needed.add(Capability.KNOWS_DEFENCE)
        return frozenset(needed)

    def run(self, observation: Observation, budget: Budget, seed: int) -> Evidence:
        """Optimise. The seed draws the starts, one after the other: more restarts begin with the same ones.

        Raises:
            AttackError: There is no update, no public set where one is needed, or no way to know targets.
        """
        search = Search(self, observation, budget.restarts, seed)
        search.go(budget, self.progress)
        return search.evidence()


class Search:
    """One attack under way: where its restarts are, and what it would hand over now.

    Attributes:
        attack: Whose.
    """

    def __init__(self, attack: GradientInversion, observation: Observation, restarts: int, seed: int) -> None:
        """Set the attack up, at its starts.

        Args:
            attack: Its settings.
            observation: What it sees.
            restarts: How many starts.
            seed: Draws them.

        Raises:
            AttackError: As for `GradientInversion.run`.
        """
        self._started = time.perf_counter()
        self.attack, self._observation, self._restarts = attack, observation, restarts
        self._problem = _Problem(attack, observation, seed)
        self._points = self._problem.starts(restarts, generator(seed))
        self._parts: list[Minimum] = []

    def go(self, budget: Budget, progress: Progress | None = None) -> Minimum:
        """Stage after stage, each from where the last one ended.

        Args:
            budget: Its steps and seconds are shared out evenly among the stages.
            progress: Told of these steps.

        Returns:
            All these stages as one.
        """
        started, anneal, before = time.perf_counter(), self.attack.anneal, len(self._parts)
        if budget.steps < len(anneal):
            raise AttackError(
                f"{self.attack.name} has {len(anneal)} stages and needs a step for each, not {budget.steps}"
            )
        for number, factor in enumerate(anneal):
            done = number * budget.steps // len(anneal)
            share = Budget(
                (number + 1) * budget.steps // len(anneal) - done,
                seconds=None if budget.seconds is None else budget.seconds / len(anneal),
            )
            objective = partial(self._problem.objective, factor=factor)
            told = _told(progress, done, budget.steps, started)
            self._parts.append(self.attack.descent.minimise(objective, self._points, share, told))
            found = self._parts[-1]
            self._points = found.points[found.values.argsort()][: self.attack.survivors]
        return joined(self._parts[before:])

    @property
    def stuck(self) -> bool:
        """Whether all its restarts lie where no step leads on."""
        return bool(self._parts) and bool(self._parts[-1].stuck.all())

    def common(self) -> float:
        """Distance of what it would hand over, on a scale that all attacks share: see `InversionRace`."""
        return self._problem.common(self._points[0])

    def evidence(self) -> Evidence:
        """What it found so far; at least one stage must be over."""
        attack, problem, found = self.attack, self._problem, joined(self._parts)
        best = found.points[found.best]
        with torch.no_grad():
            distance, pictures = float(problem.distance(best)), problem.pictures(best)
        notes = list(problem.notes)
        if problem.hides_gain:
            pictures, distance = self._stretched(best, pictures, distance, notes)
        rested = bool(found.converged[found.best])
        notes += self._reading(found, distance, rested)
        return Evidence(
            attack.name, float(found.values[found.best]), converged=rested and distance <= problem.reachable,
            pictures=pictures.clamp(0, 1).float(), scores=-found.values,
            history=tuple(found.history.tolist()),
            seconds=time.perf_counter() - self._started, notes=tuple(notes), others=(STRONGEST,),
        )  # fmt: skip

    def _stretched(
        self, point: Tensor, pictures: Tensor, distance: float, notes: list[str]
    ) -> tuple[Tensor, float]:
        """The pictures after `calibrated_gain`, with their distance."""
        public = self._observation.public_pictures
        assert public is not None

        def of_pictures(x: Tensor) -> Tensor:
            return self._problem.distance_of(x, point)

        stretched = calibrated_gain(pictures, public, _zero(self._observation), of_pictures, distance)
        if stretched is pictures:
            return pictures, distance
        notes.append("the update does not show the contrast: it is the public set's")
        with torch.no_grad():
            return stretched, float(of_pictures(stretched))

    def _reading(self, found: Minimum, distance: float, rested: bool) -> list[str]:
        """What a reader must know of how the run ended."""
        reachable = self._problem.reachable
        notes = [f"distance {distance:.2g} after {found.steps} steps of {self._restarts} restarts"]
        if not rested:
            notes.append("not converged: the objective still fell; more steps may find more")
        elif distance > reachable:
            notes.append(
                f"not converged: at rest at {distance:.2g}, while true pictures would reach {reachable:.2g}; "
                "more restarts may find more"
            )
        return notes


def _told(tell: Progress | None, done: int, steps: int, started: float) -> Progress | None:
    """Progress of one stage, told as that of the whole."""
    if tell is None:
        return None

    def told(step: int, of: int, left: float) -> None:
        now = done + step
        tell(now, steps, (time.perf_counter() - started) / now * (steps - now))

    return told


class _Problem:
    """One observation, as a function of points."""

    def __init__(self, attack: GradientInversion, observation: Observation, seed: int) -> None:
        training = observation.training
        self._client = UnrolledClient(observation)
        assert training is not None
        if len(observation.picture_shape) != 3:
            raise AttackError(f"{attack.name}: picture_shape {observation.picture_shape} is no picture's")
        self._attack = attack
        self.shape = (training.pictures, *observation.picture_shape)
        self._dtype = observation.dtype
        self.notes: list[str] = []
        if training.views > 1:
            self.notes.append(f"each picture stands for the mean of its {training.views} unknown views")
        if len(observation.updates) > 1:
            self.notes.append(f"the first of {len(observation.updates)} updates is attacked")
        self._targets = self._known_targets(observation, seed)
        self._bottleneck = self._find_bottleneck(observation)
        observed = {n: observation.updates[0][n] for n in observation.trainable}
        deviation = training.update_noise
        self._whole = UpdateDistance("cosine", observed, tensor_weights(observed, 1.0))
        if self._bottleneck is not None:
            observed = self._bottleneck.upstream
            self.notes.append(f"everything before layer {self._bottleneck.layer.name!r} by itself")
        weights = tensor_weights(observed, attack.power)
        numbers = math.prod(self.shape)
        self._distance = UpdateDistance(attack.distance, observed, weights, deviation, numbers)
        self.reachable = _NEAR + (1 + _NEAR) * self._distance.at_truth()
        self.hides_gain = self._gain_is_hidden(observation)
        self._priors = [*attack.priors, *self._learn(observation)]

    def starts(self, restarts: int, draws: torch.Generator) -> Tensor:
        """The first points (restarts, k)."""
        return torch.stack([self._start(draws) for _ in range(restarts)])

    def objective(self, points: Tensor, factor: float = 1.0) -> Tensor:
        """Values (r,) of points (r, k), with a factor on the smoothness."""
        if len(points) == 1:
            return self._value(points[0], factor, plain=True)[None]
        return vmap(partial(self._value, factor=factor))(points)

    def distance(self, point: Tensor) -> Tensor:
        """The data term alone, of one point (k,)."""
        return self.distance_of(self.pictures(point), point)

    def common(self, point: Tensor) -> float:
        """The distance that all attacks share, of one point (k,): of the whole update, pictures in [0, 1]."""
        with torch.no_grad():
            predicted = self._client.update(self.pictures(point).clamp(0, 1), self._targets_of(point))
            return float(self._whole(predicted))

    def pictures(self, point: Tensor) -> Tensor:
        """Pictures (n, c, h, w) of one point (k,), not cut to [0, 1]."""
        return self._attack.canvas.pictures(point[: len(point) - self._soft], self.shape)

    def distance_of(self, pictures: Tensor, point: Tensor, plain: bool = False) -> Tensor:
        """The data term of pictures, with the point's soft targets where there are any."""
        if self._bottleneck is not None:
            predicted, features = self._bottleneck.predict(pictures, plain)
            known = self._bottleneck.features
            apart = (features - known).square().sum() / known.square().sum().clamp(min=1e-30)
            return self._distance(predicted) + self._attack.feature_weight * apart
        return self._distance(self._client.update(pictures, self._targets_of(point), plain))

    def _value(self, point: Tensor, factor: float, plain: bool = False) -> Tensor:
        pictures = self.pictures(point)
        value = self.distance_of(pictures, point, plain)
        if self._attack.smoothness:
            value = value + factor * self._attack.smoothness * TotalVariation(self._attack.coupled)(pictures)
        for weight, prior in self._priors:
            value = value + weight * prior(pictures)
        return value

    def _predict(self, pictures: Tensor) -> Update:
        """The update of given pictures; soft targets are taken as even."""
        if self._bottleneck is not None:
            return self._bottleneck.predict(pictures)[0]
        even = torch.zeros(self._soft, dtype=self._dtype)
        return self._client.update(pictures, self._targets_of(even))

    @property
    def _soft(self) -> int:
        return self.shape[0] * self._attack.joint_classes if self._targets is None else 0

    def _targets_of(self, point: Tensor) -> Tensor:
        if self._targets is not None:
            return self._targets
        return point[len(point) - self._soft :].view(self.shape[0], -1).softmax(1)

    def _start(self, draws: torch.Generator) -> Tensor:
        point = self._attack.canvas.start(self.shape, draws)
        return torch.cat([point, torch.randn(self._soft, generator=draws)]).to(self._dtype)

    def _known_targets(self, observation: Observation, seed: int) -> Tensor | None:
        """The targets as given or inferred; None where they are optimised along."""
        if observation.targets is not None:
            return observation.targets
        if self._attack.joint_classes:
            self.notes.append("the targets are unknown and optimised along")
            return None
        if self._attack.choices is not None:
            choices = self._attack.choices
            counts = TargetInference(choices).run(observation, Budget(steps=16), seed).features
        else:
            counts = LabelInference().run(observation, Budget(), seed).features
            assert counts is not None
            choices = torch.arange(counts.shape[1])
        assert counts is not None
        self.notes.append("the targets were inferred from the update")
        return choices.repeat_interleave(counts[0].long(), dim=0)

    def _find_bottleneck(self, observation: Observation) -> Bottleneck | None:
        if not self._attack.bottleneck or self._targets is None:
            return None
        return find_bottleneck(observation, self._client, self._targets)

    def _learn(self, observation: Observation) -> list[tuple[float, Prior]]:
        public = observation.public_pictures
        if public is None and (self._attack.learned or self._attack.contrast):
            raise AttackError(f"{self._attack.name} learns from public pictures, and there are none")
        if public is None:
            return []
        terms = [(weight, learn(public)) for weight, learn in self._attack.learned]
        if self.hides_gain:
            terms.append((self._attack.contrast, PublicContrast.learn(public, _zero(observation))))
        return terms

    def _gain_is_hidden(self, observation: Observation) -> bool:
        """Whether half the contrast leaves the update's direction as it was, tried on public pictures."""
        public, zero = observation.public_pictures, _zero(observation)
        if not self._attack.contrast or public is None:
            return False
        tried = public[torch.arange(self.shape[0]) % len(public)]
        with torch.no_grad():
            full, half = (self._predict(zero + gain * (tried - zero)) for gain in (1.0, 0.5))
        if not any(t.any() for t in full.values()):
            return False
        return float(UpdateDistance("cosine", full, tensor_weights(full, 1.0))(half)) < _HIDDEN


def _zero(observation: Observation) -> Tensor:
    """The picture value that becomes an input of zero, (c, 1, 1)."""
    return observation.denormalise(torch.zeros(observation.picture_shape[0], 1, 1, dtype=observation.dtype))


def deep_leakage(classes: int, progress: Progress | None = None) -> GradientInversion:
    """DLG (Zhu et al. 2019): pictures and soft labels together, squared distance, L-BFGS, no prior.

    Args:
        classes: Of the softmax head; the observation's loss must take probabilities, as `cross_entropy` does.
        progress: Told of the steps.
    """
    return GradientInversion(
        "DLG", distance="euclidean", canvas=Pixels(0.5), joint_classes=classes, progress=progress
    )


def improved_deep_leakage(progress: Progress | None = None) -> GradientInversion:
    """iDLG (Zhao et al. 2020): labels from the head's bias first, then as DLG."""
    return GradientInversion("iDLG", distance="euclidean", canvas=Pixels(0.5), progress=progress)


def inverting_gradients(
    smoothness: float = 1e-2, rate: float = 0.1, progress: Progress | None = None
) -> GradientInversion:
    """Inverting Gradients (Geiping et al. 2020): cosine, total variation, signed Adam, pixels in a box.

    Args:
        smoothness: Weight of the total variation, >= 0.
        rate: Adam's first step size, > 0, for pixels in [0, 1].
        progress: Told of the steps.
    """
    return GradientInversion(
        "Inverting Gradients",
        smoothness=smoothness,
        descent=Descent("signed-adam", rate, "steps", box=(0.0, 1.0)),
        progress=progress,
    )


def bottleneck_inversion(
    smoothness: float = 5e-3, public: bool = True, progress: Progress | None = None
) -> GradientInversion:
    """The strongest we know where the activations are smooth; on ReLU it ends early, see `strong_inversion`.

    Cosine over tensors that count by their size, the part before a linear layer by itself where one picture
    and one step allow, total variation, L-BFGS; from the public set a Gaussian of pictures, and the contrast
    where norms hide it. The first half of the steps chooses among the restarts, the best of which takes the
    second half.

    Args:
        smoothness: Weight of the total variation, >= 0.
        public: Whether to learn from the observation's public pictures, which must then be there.
        progress: Told of the steps.
    """
    return GradientInversion(
        "bottleneck and L-BFGS",
        power=1.0,
        bottleneck=True,
        feature_weight=1.0,
        smoothness=smoothness,
        anneal=(1.0, 0.3),
        survivors=1,
        priors=((1.0, OutOfRange()),),
        learned=((2e-4, PublicSpectrum.learn),) if public else (),
        contrast=1e-2 if public else 0.0,
        progress=progress,
    )


def adaptive_inversion(progress: Progress | None = None) -> GradientInversion:
    """Against DP-SGD: the clip is simulated, and the noise decides how much the prior counts.

    Density of the update under the known noise times a Gaussian density of pictures learned on the public
    set: the most probable pictures, as far as that prior is right. With much noise this is the prior alone.
    """
    return GradientInversion(
        "adaptive inversion",
        distance="likelihood",
        learned=((1.0, PublicSpectrum.learn),),
        priors=((1.0, OutOfRange()),),
        progress=progress,
    )
