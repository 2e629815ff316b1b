"""What an adversary has, and what it is allowed to use. The truth is not in here.

An attack gets an `Observation` and nothing else, so it cannot choose its best restart, its step size or
its stopping time by looking at the pictures it is meant to find.
"""

from __future__ import annotations

import copy
import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from attacks.errors import AttackError, one_line
from attacks.ranges import real, whole

Loss = Callable[[Any, Tensor], Tensor]
"""Maps what the model returns and the targets (b, ...) to losses (b,), one a picture."""

State = Mapping[str, Tensor]
"""Tensors by their name in the model's `state_dict`."""

_WRAPPERS = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put in front of every name."""


class Capability(StrEnum):
    """One thing an adversary may have or do."""

    SEES_UPDATE = "sees the update of one client"
    SEES_AGGREGATE = "sees only the sum or mean of several clients' updates"
    SEES_PROTOTYPE = "sees a prototype or style card"
    KNOWS_TRAINING = "knows the learning rate, local steps and loss"
    KNOWS_BATCH_SIZE = "knows how many pictures a step saw"
    KNOWS_LABELS = "knows the targets of the pictures"
    KNOWS_COUNTS = "knows how many pictures a prototype is the mean of"
    KNOWS_DEFENCE = "knows the clip norm and the noise"
    HAS_PUBLIC_SET = "has public pictures of the same kind"
    HAS_CANDIDATES = "has a list of pictures or artists that the target is among"
    CHOOSES_WEIGHTS = "chooses the weights or the architecture that the client trains"


@dataclass(frozen=True)
class ThreatModel:
    """Who the adversary is.

    Attributes:
        name: For example `platform`, `colluding artist`, `buyer`.
        capabilities: What it has, each with the reason why: the message, file or role that gives it.
        withheld: What it does not have and why not, for the refusal's text; optional.

    Example:
        >>> buyer = ThreatModel("buyer", {Capability.SEES_PROTOTYPE: "cards are published"})
        >>> buyer.refusals([Capability.SEES_UPDATE])
        {<Capability.SEES_UPDATE: 'sees the update of one client'>: 'the buyer is not given it'}
    """

    name: str
    capabilities: Mapping[Capability, str]
    withheld: Mapping[Capability, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for capability, reason in {**self.capabilities, **self.withheld}.items():
            if not reason.strip():
                raise AttackError(f"threat model {self.name!r}: say why for {capability.name}")
        if both := set(self.capabilities) & set(self.withheld):
            raise AttackError(f"threat model {self.name!r}: {min(both).name} is both given and withheld")

    def refusals(self, required: Iterable[Capability]) -> dict[Capability, str]:
        """What of `required` this adversary lacks, with reasons; empty where all is granted."""
        missing = [c for c in sorted(required) if c not in self.capabilities]
        return {c: self.withheld.get(c, f"the {self.name} is not given it") for c in missing}


@dataclass(frozen=True)
class LocalTraining:
    """What the client is known or believed to have done between receiving the weights and answering.

    A step takes the gradient of each of its pictures (the mean over a picture's views), clips it, adds
    up, adds noise, divides where `reduction` is `mean`, and moves the weights by an optimiser of
    `torch.optim` that starts empty. The pictures come in order, `batch_size` at a time, and start over at
    every epoch.

    Attributes:
        learning_rate: Step size, > 0.
        steps: All local steps together, >= 1.
        batch_size: Pictures of a step, >= 1; the expected number where batches are Poisson samples.
        epochs: Passes over the portfolio, >= 1; divides `steps`.
        momentum: Of SGD without dampening, in [0, 1); starts empty.
        reduction: `mean` divides a step's sum by `batch_size`, `sum` does not.
        clip_norm: L2 bound on a picture's gradient over all trainable tensors together; None for no clip.
        noise_std: Standard deviation per coordinate of the Gaussian noise on a step's gradient, after the
            reduction, >= 0. DP-SGD with multiplier m and clip C has m * C / batch_size here.
        mode: Whether the model was in train or eval mode.
        views: Augmented views of a picture that its gradient is the mean of, >= 1.
        optimizer: `sgd`, `adam` or `adamw`.
        nesterov: Whether SGD's momentum is Nesterov's.
        weight_decay: As `torch.optim` has it, >= 0: part of the gradient, or of AdamW's step.
        betas: Of Adam, each in [0, 1).
        eps: Of Adam, > 0.
        schedule: A factor on the learning rate for each step, > 0; none for a constant one.

    Example:
        >>> training = LocalTraining(learning_rate=0.1, steps=6, batch_size=4, epochs=3, momentum=0.5)
        >>> training.pictures, training.batch(3)
        (8, slice(4, 8, None))
    """

    learning_rate: float
    steps: int = 1
    batch_size: int = 1
    epochs: int = 1
    momentum: float = 0.0
    reduction: Literal["mean", "sum"] = "mean"
    clip_norm: float | None = None
    noise_std: float = 0.0
    mode: Literal["train", "eval"] = "train"
    views: int = 1
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    nesterov: bool = False
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    schedule: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "epochs", "views"):
            whole(f"training: {name}", getattr(self, name), 1)
        real("training: learning_rate", self.learning_rate, "(0, inf)")
        if self.steps % self.epochs:
            raise AttackError(f"training: {self.steps} steps are not whole in {self.epochs} epochs")
        real("training: momentum", self.momentum, "[0, 1)")
        if self.reduction not in ("mean", "sum"):
            raise AttackError(f"training: reduction must be 'mean' or 'sum', not {self.reduction!r}")
        if self.mode not in ("train", "eval"):
            raise AttackError(f"training: mode must be 'train' or 'eval', not {self.mode!r}")
        if self.clip_norm is not None:
            real("training: clip_norm", self.clip_norm, "(0, inf)", infinite=True)
        real("training: noise_std", self.noise_std, "[0, inf)")
        self._check_optimizer()

    def _check_optimizer(self) -> None:
        if self.optimizer not in ("sgd", "adam", "adamw"):
            raise AttackError(f"training: optimizer must be 'sgd', 'adam' or 'adamw', not {self.optimizer!r}")
        real("training: weight_decay", self.weight_decay, "[0, inf)")
        real("training: eps", self.eps, "(0, inf)")
        if not isinstance(self.betas, tuple) or len(self.betas) != 2:
            raise AttackError(f"training: betas must be two numbers, not {self.betas!r}")
        for beta in self.betas:
            real("training: betas", beta, "[0, 1)")
        for factor in self.schedule:
            real("training: schedule", factor, "(0, inf)")
        if self.schedule and len(self.schedule) != self.steps:
            raise AttackError(f"training: schedule has {len(self.schedule)} factors for {self.steps} steps")
        if self.nesterov and not self.momentum:
            raise AttackError("training: nesterov needs a momentum")
        if self.optimizer != "sgd" and (self.momentum or self.noise_std):
            raise AttackError(
                f"training: {self.optimizer} takes betas and no momentum, and what it makes of noise_std is "
                "not known"
            )

    @property
    def differs(self) -> str:
        """What sets the optimiser apart from SGD with momentum, in words; empty where nothing does."""
        found: list[str] = [] if self.optimizer == "sgd" else [self.optimizer]
        found += ["Nesterov's momentum"] if self.nesterov else []
        found += [f"weight decay {self.weight_decay:g}"] if self.weight_decay else []
        found += ["a schedule"] if len(set(self.schedule)) > 1 else []
        return " and ".join(found)

    @property
    def plain(self) -> bool:
        """Whether the optimiser was SGD with or without momentum, at one rate."""
        return not self.differs and set(self.schedule) <= {1.0}

    def rate_factor(self, step: int) -> float:
        """What the learning rate of step 0, 1, ... is multiplied by."""
        return self.schedule[step] if self.schedule else 1.0

    @property
    def pictures(self) -> int:
        """How many different pictures the client trained on."""
        return self.steps // self.epochs * self.batch_size

    @property
    def echoes(self) -> tuple[float, ...]:
        """How often the gradient of each step counts in the update: through momentum, 1 + m + m^2 + ..., each
        power at the rate of its own step. Of SGD, and without what weight decay takes back."""
        found = []
        for step in range(self.steps):
            powers = range(self.steps - step)
            counts = [self.momentum**power for power in powers]
            if self.nesterov:
                counts = [self.momentum ** (power + 1) + (power == 0) for power in powers]
            found.append(sum(count * self.rate_factor(step + k) for k, count in enumerate(counts)))
        return tuple(found)

    @property
    def update_noise(self) -> float:
        """Deviation of the noise on each number of the update, as far as noise does not move gradients."""
        return self.learning_rate * self.noise_std * math.hypot(*self.echoes)

    def batch(self, step: int) -> slice:
        """Which of the pictures step 0, 1, ... saw."""
        slot = step % (self.steps // self.epochs)
        return slice(slot * self.batch_size, (slot + 1) * self.batch_size)


@dataclass(frozen=True)
class Normalisation:
    """How pictures in [0, 1] become the model's inputs: (picture - mean) / deviation, channel by channel.

    Attributes:
        mean: One value a channel.
        deviation: One value a channel, > 0.

    Example:
        >>> norm = Normalisation((0.5,), (0.25,))
        >>> norm.normalise(torch.tensor([[[1.0]]])).item(), norm.denormalise(torch.tensor([[[2.0]]])).item()
        (2.0, 1.0)
    """

    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    def __post_init__(self) -> None:
        finite = all(math.isfinite(x) for x in (*self.mean, *self.deviation))
        if len(self.mean) != len(self.deviation) or not self.mean or not finite or min(self.deviation) <= 0:
            raise AttackError("normalisation: needs as many finite deviations > 0 as means, one a channel")

    def normalise(self, pictures: Tensor) -> Tensor:
        """Pictures (..., c, h, w) in [0, 1] to inputs of the same shape."""
        mean, deviation = self._tensors(pictures)
        return (pictures - mean) / deviation

    def denormalise(self, inputs: Tensor) -> Tensor:
        """Inputs (..., c, h, w) to pictures of the same shape; not cut to [0, 1]."""
        mean, deviation = self._tensors(inputs)
        return inputs * deviation + mean

    def _tensors(self, like: Tensor) -> tuple[Tensor, Tensor]:
        return like.new_tensor(self.mean)[:, None, None], like.new_tensor(self.deviation)[:, None, None]


@dataclass(frozen=True, eq=False)
class Observation:
    """What the adversary holds. Checked when it is made; the model and all tensors are copies.

    The model computes in float32 or float64, and tensors of other floating types are brought to its own; what
    they were rounded to before stays in their values. Tensors that the model ties together go by the name of
    the first. Where several rounds were seen, some of their updates may be zero, but not all.

    A model whose loss contrasts against anchors that move with the weights returns them beside the
    embeddings, `(embeddings, anchors.detach())`: the loss gets whatever the model returns.

    Attributes:
        model: Architecture, used through `torch.func.functional_call` only, so that its own weights do not
            matter. Parameters that require gradients are those that trained.
        weights: The global weights that the client got: every tensor of the model's `state_dict`.
        updates: One for each observed round: weights after minus weights before, of every parameter that
            trained; buffers may come along. Empty where only prototypes were seen.
        training: What the client did; None where only prototypes were seen.
        loss: Losses (b,) from the model's output and the targets; None where only prototypes were seen.
        picture_shape: Shape of one picture, (c, h, w), or (d,) where what trains sees features.
        normalisation: From pictures to inputs; None where the model takes pictures or features as they are.
        later_weights: The global weights of the rounds after the first, one for each further update.
        targets: What the adversary knows of the targets, (training.pictures, ...), or None.
        prototypes: Released vectors (t, d) by name of artist or style, one row a release, oldest first.
        counts: How many pictures each release is the mean of, int64 (t,), with the prototypes' names.
        prototype_noise: Known deviation of the noise on each coordinate of a released vector, >= 0.
        embed: Maps pictures (b, *picture_shape) to what prototypes are means of, (b, d).
        public_pictures: Pictures (m, *picture_shape), in [0, 1] where they are pictures.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> model, x, y = nn.Linear(3, 2), torch.rand(1, 3), torch.tensor([1])
        >>> gradients = torch.autograd.grad(cross_entropy(model(x), y).mean(), list(model.parameters()))
        >>> update = {"weight": -0.1 * gradients[0], "bias": -0.1 * gradients[1]}
        >>> seen = Observation(model, model.state_dict(), (3,), (update,), LocalTraining(0.1), cross_entropy)
        >>> Capability.SEES_UPDATE in seen.held(), Capability.KNOWS_LABELS in seen.held()
        (True, False)
    """

    model: nn.Module
    weights: State
    picture_shape: tuple[int, ...]
    updates: tuple[State, ...] = ()
    training: LocalTraining | None = None
    loss: Loss | None = None
    normalisation: Normalisation | None = None
    later_weights: tuple[State, ...] = ()
    targets: Tensor | None = None
    prototypes: State | None = None
    counts: State | None = None
    prototype_noise: float = 0.0
    embed: Callable[[Tensor], Tensor] | None = None
    public_pictures: Tensor | None = None

    def __post_init__(self) -> None:
        try:
            model = copy.deepcopy(self.model)
        except (RuntimeError, TypeError, AttributeError) as error:
            raise AttackError(f"model: it cannot be copied: {one_line(error)}") from None
        if self.training is not None:
            model.train(self.training.mode == "train")
        self._set("model", model)
        self._check_updates()
        self._check_prototypes()
        self._check_pictures()

    @classmethod
    def from_safetensors(
        cls,
        weights: Path | str,
        updates: Sequence[Path | str],
        holds: Literal["after", "difference"],
        **fields: Any,
    ) -> Observation:
        """Read global weights and answers from safetensors files.

        Args:
            weights: File of the global weights.
            updates: One file a round, oldest first.
            holds: Whether those files hold the weights after training or already the differences.
            **fields: The observation's other fields.

        Raises:
            AttackError: A file is missing, cut short or no safetensors file; or as for the constructor.
        """
        if holds not in ("after", "difference"):
            raise AttackError(f"holds must be 'after' or 'difference', not {holds!r}")
        before = _read(weights)
        answers = [_read(path) for path in updates]
        if holds == "after":
            starts = [before, *fields.get("later_weights", ())]
            if len(starts) != len(answers):
                raise AttackError(f"{len(answers)} answers need {len(answers) - 1} later_weights")
            answers = [difference(*pair) for pair in zip(starts, answers, strict=True)]
        return cls(weights=before, updates=tuple(answers), **fields)

    @property
    def trainable(self) -> tuple[str, ...]:
        """Names of the parameters that trained, in the model's order."""
        return tuple(name for name, p in self.model.named_parameters() if p.requires_grad)

    @property
    def dtype(self) -> torch.dtype:
        """What the model computes in: float32 or float64."""
        return next((p.dtype for p in self.model.parameters()), torch.float32)

    def held(self) -> frozenset[Capability]:
        """The capabilities that this observation's contents amount to.

        An update is one client's or several clients' together: `SEES_UPDATE` stands for either. A description
        of the training counts as knowing the batch size too, a clip or noise in it as knowing the defence.
        """
        t = self.training
        defence = self.prototype_noise > 0 or (t is not None and (t.clip_norm is not None or t.noise_std > 0))
        found = {
            Capability.SEES_UPDATE: bool(self.updates),
            Capability.KNOWS_TRAINING: t is not None,
            Capability.KNOWS_BATCH_SIZE: t is not None,
            Capability.KNOWS_DEFENCE: defence,
            Capability.KNOWS_LABELS: self.targets is not None,
            Capability.SEES_PROTOTYPE: self.prototypes is not None,
            Capability.KNOWS_COUNTS: self.counts is not None,
            Capability.HAS_PUBLIC_SET: self.public_pictures is not None,
        }
        return frozenset(capability for capability, here in found.items() if here)

    def weights_of(self, number: int) -> State:
        """The global weights of round 0, 1, ..."""
        return self.weights if number == 0 else self.later_weights[number - 1]

    def inputs(self, pictures: Tensor) -> Tensor:
        """Pictures (..., *picture_shape) in [0, 1] to the model's inputs, in the model's dtype."""
        pictures = pictures.to(self.dtype)
        return pictures if self.normalisation is None else self.normalisation.normalise(pictures)

    def denormalise(self, inputs: Tensor) -> Tensor:
        """The model's inputs (..., *picture_shape) to pictures, not cut to [0, 1]."""
        return inputs if self.normalisation is None else self.normalisation.denormalise(inputs)

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _check_updates(self) -> None:
        state = self.model.state_dict(keep_vars=True)
        for name, tensor in state.items():
            if tensor.is_floating_point() and tensor.dtype not in (torch.float32, torch.float64):
                raise AttackError(
                    f"model: tensor {name!r} is {tensor.dtype}; attacks compute in float32 or float64: "
                    "give model.float(), updates keep what they were rounded to"
                )
            if tensor.is_floating_point() and tensor.dtype != self.dtype:
                raise AttackError(f"model: tensor {name!r} is {tensor.dtype} and others {self.dtype}")
        self._set("weights", _checked("weights", self.weights, state, set(state)))
        if not self.updates:
            if self.targets is not None or self.later_weights:
                raise AttackError("targets and later_weights belong to updates, and there is none")
            return
        if self.training is None or self.loss is None:
            raise AttackError("an update needs `training` and `loss`: how it came to be")
        if len(self.later_weights) != len(self.updates) - 1:
            raise AttackError(
                f"{len(self.updates)} updates need {len(self.updates) - 1} later_weights, "
                f"not {len(self.later_weights)}"
            )
        if not self.trainable:
            raise AttackError("model: no parameter requires a gradient, so nothing can have trained")
        later = [
            _checked(f"weights of round {t}", given, state, set(state))
            for t, given in enumerate(self.later_weights, start=1)
        ]
        self._set("later_weights", tuple(later))
        updates = [
            _checked(f"update of round {t}", given, state, set(self.trainable))
            for t, given in enumerate(self.updates)
        ]
        if not any(update[name].any() for update in updates for name in self.trainable):
            rounds = "round 0" if len(updates) == 1 else f"each of {len(updates)} rounds"
            raise AttackError(
                f"update of {rounds}: every trained tensor is zero (first: {self.trainable[0]!r}); "
                "nothing was trained, or weights were compared with themselves"
            )
        self._set("updates", tuple(updates))
        if self.targets is not None:
            if len(self.targets) != self.training.pictures:
                raise AttackError(f"targets: {len(self.targets)} for {self.training.pictures} pictures")
            self._set("targets", self.targets.detach().clone())

    def _check_prototypes(self) -> None:
        real("prototype_noise", self.prototype_noise, "[0, inf)")
        if self.prototypes is None:
            if self.counts is not None:
                raise AttackError("counts belong to prototypes, and there is none")
            return
        if not self.prototypes:
            raise AttackError("prototypes: none is named; leave it None where none was seen")
        for name, vectors in self.prototypes.items():
            if vectors.ndim != 2 or not vectors.numel() or not vectors.is_floating_point():
                what = f"{vectors.dtype} {tuple(vectors.shape)}"
                raise AttackError(f"prototypes {name!r}: must be floating (t, d), not {what}")
            if not vectors.any(1).all():
                raise AttackError(f"prototypes {name!r}: a release is all zero, which is no mean of anything")
        self._set(
            "prototypes", _checked("prototypes", self.prototypes, self.prototypes, set(self.prototypes))
        )
        if self.counts is not None:
            lengths = {name: torch.ones(len(v), dtype=torch.int64) for name, v in self.prototypes.items()}
            counts = _checked("counts", self.counts, lengths, set(lengths))
            for name, given in counts.items():
                if given.is_floating_point() or (given < 1).any():
                    raise AttackError(f"counts {name!r}: must be whole numbers of at least 1")
            self._set("counts", counts)

    def _check_pictures(self) -> None:
        shape = tuple(self.picture_shape)
        if len(shape) not in (1, 3) or min(shape) < 1:
            raise AttackError(f"picture_shape must be (c, h, w) or (d,), not {shape}")
        self._set("picture_shape", shape)
        if self.normalisation is not None and len(self.normalisation.mean) != shape[0]:
            raise AttackError(f"normalisation: {len(self.normalisation.mean)} channels, not {shape[0]}")
        public = self.public_pictures
        if public is None:
            return
        if tuple(public.shape[1:]) != shape or not len(public):
            raise AttackError(
                f"public_pictures: must be (m, {', '.join(map(str, shape))}), not {tuple(public.shape)}"
            )
        if not public.is_floating_point() or not public.isfinite().all():
            raise AttackError(f"public_pictures: must be floating and finite, not {public.dtype} or NaN")
        if len(shape) == 3 and (public.min() < 0 or public.max() > 1):
            raise AttackError("public_pictures: must be in [0, 1], before normalisation")
        self._set("public_pictures", public.detach().to(self.dtype).clone())


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Softmax cross-entropy (b,) of logits (b, k) with classes int64 (b,) or probabilities (b, k).

    Example:
        >>> cross_entropy(torch.zeros(2, 4), torch.tensor([0, 3]))
        tensor([1.3863, 1.3863])
    """
    return F.cross_entropy(outputs, targets, reduction="none")


def losses_of(loss: Loss, outputs: Any, targets: Tensor) -> Tensor:
    """The losses (b,) of targets (b, ...).

    Raises:
        AttackError: The loss cannot take these targets, or gives anything but one value a picture.
    """
    try:
        losses = loss(outputs, targets)
    except (AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        what = f"targets {targets.dtype} {tuple(targets.shape)}"
        raise AttackError(f"loss: it cannot take {what}: {one_line(error)}") from None
    shape = tuple(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
    if shape != (len(targets),):
        raise AttackError(f"loss gives {shape}, not one value a picture")
    return losses


def difference(before: State, after: State) -> dict[str, Tensor]:
    """After minus before, for every tensor of `after`; true minus false is 1.

    Raises:
        AttackError: A tensor is not in `before` or has another shape there; names it.

    Example:
        >>> difference({"w": torch.tensor([1.0])}, {"w": torch.tensor([3.0])})
        {'w': tensor([2.])}
    """
    found = {}
    for name, tensor in after.items():
        if name not in before:
            raise AttackError(f"tensor {name!r} is in the answer but not in the global weights")
        if tensor.shape != before[name].shape:
            raise AttackError(
                f"tensor {name!r} is {tuple(tensor.shape)} in the answer but {tuple(before[name].shape)} "
                "in the global weights"
            )
        pair = (one.to(torch.int8) if one.dtype == torch.bool else one for one in (tensor, before[name]))
        found[name] = operator.sub(*pair)
    return found


def _checked(what: str, given: State, like: State, required: set[str]) -> dict[str, Tensor]:
    """Copies, in the order of `like` and in its floating dtypes, tied tensors by their first name only."""
    if not isinstance(given, Mapping):
        raise AttackError(f"{what}: must be a mapping from names to tensors, not {type(given).__name__}")
    _refuse_prefix(what, given, like)
    for name in sorted(set(given) - set(like)):
        raise AttackError(f"{what}: tensor {name!r} is not one of the model's")
    found: dict[str, Tensor] = {}
    first = _first_names(like)
    for name in [name for name in like if name in given]:
        tensor, wanted = given[name], like[name]
        if not isinstance(tensor, Tensor):
            raise AttackError(f"{what}: tensor {name!r} is a {type(tensor).__name__}, not a torch tensor")
        if tuple(tensor.shape) != tuple(wanted.shape):
            raise AttackError(f"{what}: tensor {name!r} is {tuple(tensor.shape)}, not {tuple(wanted.shape)}")
        if wanted.is_floating_point() and not tensor.is_floating_point():
            raise AttackError(f"{what}: tensor {name!r} is {tensor.dtype}, not floating")
        if not tensor.isfinite().all():
            raise AttackError(f"{what}: tensor {name!r} is not finite")
        # Only floats: what is counted stays what it is.
        kept = tensor.detach().to(wanted.dtype if wanted.is_floating_point() else tensor.dtype).clone()
        if not torch.equal(found.setdefault(first[name], kept), kept):
            raise AttackError(f"{what}: tensor {name!r} is tied to {first[name]!r} and differs from it")
    for name in sorted({first[name] for name in required} - set(found)):
        raise AttackError(f"{what}: tensor {name!r} is missing")
    return found


def _first_names(like: State) -> dict[str, str]:
    """For every name the first one of the same tensor."""
    owners: dict[int, str] = {}
    return {name: owners.setdefault(id(tensor), name) for name, tensor in like.items()}


def _refuse_prefix(what: str, given: State, like: State) -> None:
    """Say so where all names are the model's but for what a wrapper put in front."""
    for prefix in _WRAPPERS:
        for own, other, whose in ((given, like, "it"), (like, given, "the model")):
            wrapped = own and all(name.startswith(prefix) for name in own)
            if wrapped and other and not any(name.startswith(prefix) for name in other):
                raise AttackError(
                    f"{what}: the names in {whose} begin with {prefix!r}, which a wrapper such as "
                    "DataParallel or torch.compile puts in front: take it off"
                )


def _read(path: Path | str) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise AttackError(f"{path}: not a whole safetensors file ({error})") from None
