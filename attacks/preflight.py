"""Before an attack counts: does the description replay, and can the attack win at all?

An attack on an update that was made in another way than believed fails for that reason alone, and its
failure says nothing about privacy.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.stats import chi2
from torch import Tensor

from attacks.errors import AttackError
from attacks.observation import LocalTraining, Observation, State
from attacks.optimiser_search import other_optimiser
from attacks.replay import simulate
from attacks.results import Attack, Budget, Evaluator, Evidence, Result, Truth

TOLERANCE = 1e-6
"""Largest relative difference between the observed update and its replay, beyond float32's rounding."""

SAYS_NOTHING = 0.1
"""Relative rounding above which an error within it tells right pictures from others no more."""

_FALSE_ALARM = 1e-6
"""Of either end of the residual's length under the stated noise."""
_DEVIATIONS = 5.0
"""Of the residual along the replay. Twice as many must be a quarter of the replay, which is how far the
updates of other pictures of the same kind lie away at least; else noise hides them."""

_MOMENTA = (0.5, 0.8, 0.9, 0.95, 0.99)
_MOST_STEPS = 20
_MOST_FLIPPED = 6
_SIMPLER = 0.05
"""A simpler explanation is kept unless another leaves less than this share of its error."""

_TOO_LARGE = (
    "unknown: the update or its replay is too large to be compared (learning rate, loss or pictures?)"
)


@dataclass(frozen=True)
class Replay:
    """Whether the true pictures reproduce an observed update.

    Attributes:
        verdict: `holds`: the description may be believed. `differs`: it is wrong. `says nothing`: rounding or
            noise is so large that other pictures would pass as well.
        error: L2 norm of observed minus replayed over that of the observed, over the trained tensors;
            infinite where one of them is too large to be compared.
        tolerance: The largest error that passes: 1e-6, the rounding of what was sent, and the stated noise.
        mismatch: What in the description is wrong, by name, or why nothing is said; empty where it holds.
        left: The error that remains once that is mended.
    """

    verdict: Literal["holds", "differs", "says nothing"]
    error: float
    tolerance: float
    mismatch: str
    left: float

    @property
    def holds(self) -> bool:
        """Whether the verdict is `holds`."""
        return self.verdict == "holds"


def replay(observation: Observation, pictures: Tensor, targets: Tensor, number: int = 0) -> Replay:
    """Do the client's training again and compare; where it differs, try what may have been different.

    For an audit, where the pictures are known; no attack may call this. Under stated noise two things must
    fit: the residual's length, which is that of Gaussian noise (chi distribution), and the residual along
    the replay, N(0, deviation), which a wrong replay is far from although its length drowns. A mismatch is
    named only where mending it alone, or it and a factor, makes the replay hold or leaves under a twentieth
    of the error. Buffers are compared by themselves.

    Args:
        observation: What was seen and how it is believed to have come about.
        pictures: The true pictures (n, *picture_shape) or (n, views, *picture_shape), in [0, 1] and in
            the order that the client used.
        targets: Their targets (n, ...).
        number: The round.

    Example:
        >>> from attacks.observation import cross_entropy
        >>> _ = torch.manual_seed(0)
        >>> model, x, y = torch.nn.Linear(3, 2), torch.rand(1, 3), torch.tensor([1])
        >>> gradients = torch.autograd.grad(cross_entropy(model(x), y).mean(), list(model.parameters()))
        >>> update = {"weight": -0.1 * gradients[0], "bias": -0.1 * gradients[1]}
        >>> weights, right, wrong = model.state_dict(), LocalTraining(0.1), LocalTraining(0.2)
        >>> replay(Observation(model, weights, (3,), (update,), right, cross_entropy), x, y).verdict
        'holds'
        >>> replay(Observation(model, weights, (3,), (update,), wrong, cross_entropy), x, y).verdict
        'differs'
    """
    if observation.training is None or not observation.updates:
        raise AttackError("replay needs an observed update and a description of the training")
    search = _Search(observation, pictures, targets, number)
    if search.length == 0:
        raise AttackError(f"update of round {number}: every trained tensor is zero")
    plain = search.simulated()
    error, tolerance = search.error(plain), search.tolerance()
    if not (math.isfinite(error) and math.isfinite(tolerance)):
        return Replay("differs", math.inf, TOLERANCE, _TOO_LARGE, math.inf)
    if not search.fits(plain):
        less = search.less_noise(plain)
        name, left = (less, error) if less else search.explain(tolerance, error)
        if not less and left > SAYS_NOTHING and search.noise_dominates() and not name.startswith("unknown"):
            name = f"perhaps {name}; under this noise other causes look alike"
        return Replay("differs", error, tolerance, name, left)
    if nothing := search.says_nothing(plain):
        return Replay("says nothing", error, tolerance, nothing, error)
    if buffer := search.other_buffer():
        return Replay("differs", error, tolerance, buffer, error)
    return Replay("holds", error, tolerance, "", error)


@dataclass(frozen=True)
class Control:
    """Whether an attack wins where it must.

    Attributes:
        won: Whether it did. If not, its failure elsewhere is `inconclusive`.
        result: By how much.
        evidence: What it found.
    """

    won: bool
    result: Result
    evidence: Evidence


def positive_control(
    attack: Attack,
    observation: Observation,
    pictures: Tensor,
    targets: Tensor,
    evaluator: Evaluator,
    at_least: float,
    budget: Budget,
    seed: int,
) -> Control:
    """Run the attack on an undefended update of pictures that the auditor chose.

    Same model, weights and loss; one step on these pictures, no clip, no noise.

    Args:
        attack: The attack.
        observation: The observation whose setting is copied.
        pictures: The auditor's own pictures (n, *picture_shape), in [0, 1].
        targets: Their targets (n, ...).
        evaluator: Measures the evidence; larger is better for the attack.
        at_least: The value that counts as a win, set before.
        budget: As for the attack that is to be judged.
        seed: Of the attack.
    """
    evidence = attack.run(undefended(observation, pictures, targets), budget, seed)
    result = evaluator(evidence, Truth(pictures=pictures, targets=targets))
    return Control(result.value >= at_least, result, evidence)


def undefended(observation: Observation, pictures: Tensor, targets: Tensor) -> Observation:
    """The same setting with one plain step on given pictures: no clip, no noise, targets known if before.

    Args:
        observation: Model, weights, loss and learning rate.
        pictures: (n, *picture_shape), in [0, 1].
        targets: (n, ...).
    """
    if observation.training is None:
        raise AttackError("a positive control needs a description of the training")
    plain = replace(
        observation.training,
        steps=1, epochs=1, batch_size=len(pictures), momentum=0.0, clip_norm=None, noise_std=0.0, views=1,
        optimizer="sgd", nesterov=False, weight_decay=0.0, schedule=(),
    )  # fmt: skip
    update = simulate(observation, pictures, targets, plain)
    return replace(
        observation,
        updates=(update,),
        later_weights=(),
        training=plain,
        targets=None if observation.targets is None else targets,
    )


class _Search:
    """Looks for the one change of the description that makes the replay hold."""

    def __init__(self, observation: Observation, pictures: Tensor, targets: Tensor, number: int) -> None:
        assert observation.training is not None
        self.observation, self.training = observation, observation.training
        self.pictures, self.targets, self.number = pictures, targets, number
        self.observed = {n: observation.updates[number][n] for n in observation.trainable}
        self.length = _norm(self.observed)
        self.rounding: float = _rounding(observation, number) * self.training.steps**0.5
        self.numbers = sum(t.numel() for t in self.observed.values())
        self.noise = self.training.update_noise
        if self.training.optimizer != "sgd":
            # Adam divides by gradients: what rounding moves in a tiny one, it moves in the weights.
            eps = torch.finfo(observation.dtype).eps
            pair = [simulate(observation, pictures, targets, None, number, nudge=n) for n in (0.0, 4 * eps)]
            self.rounding += _norm({name: pair[0][name] - pair[1][name] for name in self.observed})

    def simulated(
        self,
        training: LocalTraining | None = None,
        pictures: Tensor | None = None,
        inputs: Callable[[Tensor], Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """The replayed update of the trained tensors; buffers would drown them in any sum of squares."""
        given = self.pictures if pictures is None else pictures
        found = simulate(self.observation, given, self.targets, training, self.number, inputs)
        return {name: found[name] for name in self.observed}

    def error(self, update: State, factor: float = 1.0) -> float:
        return _norm({n: t.double() - factor * update[n] for n, t in self.observed.items()}) / self.length

    def best_factor(self, update: State) -> float:
        """The factor on the replay that comes nearest to what was observed."""
        along = sum(float((t.double() * update[n]).sum()) for n, t in self.observed.items())
        return along / max(_norm(update) ** 2, 1e-300)

    def tolerance(self) -> float:
        """What rounding and the stated noise may add to the error."""
        noise: float = self.noise * float(chi2.isf(_FALSE_ALARM, self.numbers)) ** 0.5
        return max(TOLERANCE, (self.rounding + noise) / self.length)

    def fits(self, update: State) -> bool:
        """Whether what is left of the observed is rounding and the stated noise."""
        # What overflowed has no error and fits nothing.
        if not self.error(update) <= self.tolerance():
            return False
        if not self.noise_dominates():
            return True
        return abs(self._along(update)) <= _DEVIATIONS * self.noise and not self.less_noise(update)

    def less_noise(self, update: State) -> str:
        """Says so where the residual is shorter than the stated noise would be."""
        least = self.noise * float(chi2.ppf(_FALSE_ALARM, self.numbers)) ** 0.5
        if not self.noise_dominates() or self.error(update) * self.length >= least - self.rounding:
            return ""
        return "noise_std: the update holds less noise than stated"

    def says_nothing(self, update: State) -> str:
        """Why a fit proves nothing, or an empty string."""
        rounding = self.rounding / self.length
        if rounding > SAYS_NOTHING and self.error(update) > SAYS_NOTHING:
            return f"rounding alone is {rounding:.2g} of the update, so that other pictures would pass too"
        if self.noise_dominates() and _norm(update) < 4 * 2 * _DEVIATIONS * self.noise:
            return (
                f"the replay is {_norm(update) / self.noise:.2g} deviations of the noise long, "
                "so that other pictures would pass as well"
            )
        return ""

    def other_buffer(self) -> str:
        """Names a buffer that differs, or an empty string."""
        update = simulate(self.observation, self.pictures, self.targets, None, self.number)
        weights = self.observation.weights_of(self.number)
        for name, seen in self.observation.updates[self.number].items():
            if name in self.observed or not seen.is_floating_point():
                continue
            # Moments of layers behind noisy or rounded weights move with these: only gross errors count.
            room = 0.01 * float(seen.norm()) + 1e-5 * float(weights[name].norm()) + 1e-6
            if self.noise == 0 and float((seen - update[name]).norm()) > room:
                return f"buffers: {name!r} moved otherwise than replayed"
        return ""

    def noise_dominates(self) -> bool:
        """Whether the stated noise is so much larger than rounding that its statistics can be tested."""
        return bool(self.noise * self.numbers**0.5 > 10 * self.rounding)

    def _along(self, update: State) -> float:
        """The residual's component along the replay: a matched filter."""
        inner = sum(
            float(((t.double() - update[n]) * update[n].double()).sum()) for n, t in self.observed.items()
        )
        return inner / max(_norm(update), 1e-300)

    def explain(self, tolerance: float, error: float) -> tuple[str, float]:
        """The name of the best explanation and the error it leaves."""
        if self._is_random():
            if self.fits(self.simulated(replace(self.training, mode="eval"))):
                return "mode: the model was in eval mode", self.error(
                    self.simulated(replace(self.training, mode="eval"))
                )
            return "mode: the model draws at random in train mode (dropout), so that nothing replays", error
        found: list[tuple[str, float]] = []
        for name, update in self._hypotheses():
            found.append((name, self.error(update)))
            if self.fits(update) and not self.says_nothing(update):
                scaled = self._scaled() if name.startswith("steps") else ("", math.inf)
                if scaled[1] <= tolerance:
                    return f"{name}, or {scaled[0]}", found[-1][1]
                return found[-1]
        best = min(found, key=lambda pair: pair[1])
        scaled = self._scaled()
        best = scaled if scaled[1] <= tolerance or scaled[1] < _SIMPLER * best[1] else best
        if best[1] > tolerance:
            for alternative in (self._clip(), self._flips(), self._decay()):
                if alternative is not None and alternative[1] < _SIMPLER * best[1]:
                    best = alternative
        if best[1] > tolerance:
            largest = max(float(t.abs().max()) for t in self.observed.values() if t.numel())
            name, left = other_optimiser(lambda t: self.error(self.simulated(t)), self.training, largest)
            if left < _SIMPLER * best[1]:
                best = (name, left)
        if best[1] > tolerance:
            for name, update in self._hypotheses():
                factor = self.best_factor(update)
                left = self.error(update, factor)
                if left < _SIMPLER * best[1]:
                    best = (f"{name}, and {_factor_words(factor)}", left)
        if best[1] <= max(tolerance, _SIMPLER * error):
            return best
        noise = self._noise()
        if noise is not None:
            return noise, error
        return (
            f"unknown: no single change explains it; the nearest, {best[0]!r}, leaves {best[1]:.2g} "
            "(other pictures, targets, loss, augmentation or optimiser?)",
            best[1],
        )

    def _hypotheses(self) -> Iterator[tuple[str, dict[str, Tensor]]]:
        t, plain = self.training, self.simulated()
        yield "sign: the update is before minus after", {n: -u for n, u in plain.items()}
        other: Literal["mean", "sum"] = "sum" if t.reduction == "mean" else "mean"
        if t.batch_size > 1:
            # The two are the same function of the pictures.
            factor = t.batch_size if other == "sum" else 1 / t.batch_size
            yield (
                f"reduction: the loss was a {other}, or {_factor_words(factor)}",
                self.simulated(replace(t, reduction=other)),
            )
        mode: Literal["train", "eval"] = "eval" if t.mode == "train" else "train"
        yield f"mode: the model was in {mode} mode", self.simulated(replace(t, mode=mode))
        slots = t.steps // t.epochs
        for epochs in range(1, _MOST_STEPS // slots + 1):
            if epochs != t.epochs:
                steps = epochs * slots
                longer = replace(t, steps=steps, epochs=epochs, schedule=())
                yield f"steps: {steps} local steps", self.simulated(longer)
        if t.steps > 1 and t.optimizer == "sgd":
            for momentum in sorted({0.0, *_MOMENTA} - {t.momentum}):
                yield (
                    f"momentum: {momentum}",
                    self.simulated(replace(t, momentum=momentum, nesterov=t.nesterov and momentum > 0)),
                )
        if t.clip_norm is not None:
            yield "clip_norm: nothing was clipped", self.simulated(replace(t, clip_norm=None))
        if len(self.observation.picture_shape) == 3:
            for name, moved in _augmented(self.pictures):
                yield f"augmentation: the pictures were {name}", self.simulated(pictures=moved)
            for name, mapped in _normalised(self.observation):
                yield f"normalisation: inputs were {name}", self.simulated(inputs=mapped)
        if t.steps == 1 and t.optimizer == "sgd":
            adam = {n: t.learning_rate * plain[n].sign() for n in self.observation.trainable}
            yield "optimiser: Adam, whose first step is the gradient's sign", {**plain, **adam}

    def _scaled(self) -> tuple[str, float]:
        """A wrong learning rate or loss scale, found along a line where there are several steps."""
        t = self.training
        factor = self.best_factor(self.simulated())
        if factor <= 0:
            return _factor_words(factor), self.error(self.simulated(), factor)
        if t.steps > 1 or t.clip_norm is not None:

            def error_at(log_rate: float) -> float:
                rate = t.learning_rate * float(np.exp(log_rate))
                return self.error(self.simulated(replace(t, learning_rate=rate)))

            around = float(np.log(factor))
            line = minimize_scalar(
                error_at, bounds=(around - 1.5, around + 1.5), method="bounded", options={"xatol": 1e-9}
            )
            factor = float(np.exp(line.x))
            return _factor_words(factor), float(line.fun)
        words = _factor_words(factor)
        if len(self.pictures) == 1 and factor < 1:
            clip = factor * _norm(self.simulated()) / t.learning_rate
            words += f", or the picture's gradient was clipped to {clip:.4g}"
        return words, self.error(self.simulated(), factor)

    def _clip(self) -> tuple[str, float] | None:
        """A per-picture clip that is not in the description, or has another norm."""
        t = self.training
        if len(self.pictures) == 1 and t.clip_norm is None and t.steps == 1:
            return None  # the same as a factor
        rows = self._picture_updates()
        lengths = rows.norm(dim=1) / t.learning_rate * (t.batch_size if t.reduction == "mean" else 1)

        def error_at(log_clip: float) -> float:
            clip = float(np.exp(log_clip))
            if t.steps > 1:
                return self.error(self.simulated(replace(t, clip_norm=clip)))
            clipped = (clip / lengths).clamp(max=1) @ rows
            return float((clipped - _flat(self.observed, self.observation.trainable)).norm()) / self.length

        # Between two lengths the error is smooth in the clip; above the longest it does not change.
        ends = lengths.clamp(min=1e-12).log().sort().values.tolist()
        ends = [ends[0] - 10, *(ends if t.steps == 1 else [ends[0], ends[-1] + 1])]
        best = (float("inf"), 0.0)
        for low, high in itertools.pairwise(ends):
            if high - low < 1e-9:
                continue
            line = minimize_scalar(error_at, bounds=(low, high), method="bounded", options={"xatol": 1e-10})
            best = min(best, (float(line.fun), float(line.x)))
        clip = float(np.exp(best[1]))
        left = self.error(self.simulated(replace(t, clip_norm=clip)))
        return f"clip_norm: every picture's gradient was clipped to {clip:.3g}", left

    def _picture_updates(self) -> Tensor:
        """What each picture alone adds to the first step's update, without a clip, float64 (n, p)."""
        t = replace(
            self.training, steps=1, epochs=1, clip_norm=None, momentum=0.0, nesterov=False, schedule=()
        )
        one = [
            simulate(self.observation, x, y, t, self.number)
            for x, y in zip(self.pictures.split(1), self.targets.split(1), strict=True)
        ]
        return torch.stack([_flat(update, self.observation.trainable) for update in one])

    def _flips(self) -> tuple[str, float] | None:
        """Some pictures mirrored and others not, as random augmentation does."""
        n = len(self.pictures)
        if len(self.observation.picture_shape) != 3 or not 1 < n <= _MOST_FLIPPED:
            return None
        best = None
        for chosen in itertools.product((False, True), repeat=n):
            moved = self.pictures.clone()
            moved[list(chosen)] = moved[list(chosen)].flip(-1)
            left = self.error(self.simulated(pictures=moved))
            if best is None or left < best[1]:
                best = (f"augmentation: {sum(chosen)} of {n} pictures were mirrored", left)
        return best

    def _decay(self) -> tuple[str, float] | None:
        """Weight decay in the optimiser, for a single step."""
        if self.training.steps != 1 or not self.training.plain:
            return None
        weights, plain = self.observation.weights_of(self.number), self.simulated()
        names = self.observation.trainable
        residual = _flat(self.observed, names) - _flat(plain, names)
        weight = _flat(weights, names)
        decay = -float(residual @ weight / weight.square().sum()) / self.training.learning_rate
        if decay <= 0:
            return None
        moved = {n: plain[n] - self.training.learning_rate * decay * weights[n] for n in names}
        return f"weight decay: {decay:.3g}", self.error({**plain, **moved})

    def _noise(self) -> str | None:
        """Noise that is not in the description: as large in every tensor."""
        if self.training.optimizer != "sgd":
            return None
        plain = self.simulated()
        residual = [(self.observed[n] - plain[n]).double() for n in self.observation.trainable]
        large = [r.square().mean().sqrt().item() for r in residual if r.numel() >= 64]
        if not large or max(large) > 1.3 * min(large):
            return None
        deviation = float(np.median(large)) / self.training.learning_rate / math.hypot(*self.training.echoes)
        return f"noise_std: about {deviation:.3g} on a step's gradient is not stated"

    def _is_random(self) -> bool:
        first, second = self.simulated(), self.simulated()
        return any(not torch.equal(first[n], second[n]) for n in first)


def _rounding(observation: Observation, number: int) -> float:
    """Length of one rounding of what was sent, over the trained tensors.

    The client adds to weights in their own dtype. Where all that was sent, or all weights after, are numbers
    that bfloat16 or float16 holds exactly, they were rounded to that too.
    """
    weights, update = observation.weights_of(number), observation.updates[number]
    names = observation.trainable
    before = {n: weights[n].double() for n in names}
    after = {n: (weights[n] + update[n]).double() for n in names}
    sent = {n: update[n].double() for n in names}
    total = (torch.finfo(observation.dtype).eps * _norm(before)) ** 2
    # The sum of weights and difference is known to a rounding or two only.
    for values, slack in ((sent, 0.0), (after, 4 * torch.finfo(observation.dtype).eps)):
        for dtype in (torch.float16, torch.bfloat16):
            if all(
                ((t.to(dtype).double() - t).abs() <= slack * (t.abs() + before[n].abs())).all()
                for n, t in values.items()
            ):
                total += (torch.finfo(dtype).eps * _norm(values)) ** 2
                if dtype is torch.float16:
                    total += sum(t.numel() for t in values.values()) * torch.finfo(dtype).tiny ** 2 / 2**20
                break
    return math.sqrt(total)


def _flat(update: State, names: tuple[str, ...]) -> Tensor:
    return torch.cat([update[name].double().flatten() for name in names])


def _factor_words(factor: float) -> str:
    if factor < 0:
        return f"sign: the update is before minus after, and learning rate or loss scale by {-factor:.4g}"
    return f"learning rate or loss scale: {factor:.4g} times what is stated"


def _augmented(pictures: Tensor) -> Iterator[tuple[str, Tensor]]:
    yield "mirrored left to right", pictures.flip(-1)
    yield "mirrored top to bottom", pictures.flip(-2)
    if pictures.shape[-1] == pictures.shape[-2]:
        for turns in (1, 2, 3):
            yield f"turned by {90 * turns} degrees", pictures.rot90(turns, (-2, -1))


def _normalised(observation: Observation) -> Iterator[tuple[str, Callable[[Tensor], Tensor]]]:
    if observation.normalisation is not None:
        yield "pictures in [0, 1]", lambda pictures: pictures
    yield "pictures in [-1, 1]", lambda pictures: 2 * pictures - 1
    yield "pictures in [0, 255]", lambda pictures: 255 * pictures


def _norm(update: State) -> float:
    return float(torch.stack([t.double().square().sum() for t in update.values()]).sum().sqrt())
