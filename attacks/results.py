"""What an attack is given to spend, what it hands over, and what an evaluator makes of that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

from attacks.errors import AttackError
from attacks.observation import Capability, Observation, ThreatModel
from attacks.ranges import real, whole

Progress = Callable[[int, int, float], None]
"""Called with steps done, steps in all, and seconds left as estimated from the steps so far."""


@dataclass(frozen=True)
class Budget:
    """What an attack may spend.

    Attributes:
        steps: Steps of an iterative attack, >= 1; each evaluates the objective once.
        restarts: Independent starts, >= 1; the best is chosen by the attack's own objective.
        seconds: CPU seconds of the attacking thread after which it stops, which other programs on the machine
            do not use up; None for no limit. With a limit, the same seed gives the same result only where
            neither the limit was reached nor steps were planned by it.

    Example:
        >>> Budget(steps=200, restarts=4)
        Budget(steps=200, restarts=4, seconds=None)
    """

    steps: int = 1
    restarts: int = 1
    seconds: float | None = None

    def __post_init__(self) -> None:
        whole("budget: steps", self.steps, 1)
        whole("budget: restarts", self.restarts, 1)
        if self.seconds is not None:
            real("budget: seconds", self.seconds, "(0, inf)", infinite=True)


@dataclass(frozen=True, eq=False)
class Evidence:
    """What an attack found. It has not met the truth.

    Attributes:
        attack: The attack's name.
        objective: The attack's own objective at what it hands over; smaller is better.
        converged: Whether the attack came to rest. Not converged is not safe.
        pictures: Reconstructions (n, c, h, w) in [0, 1], best guess first; None if it gives no pictures.
        features: Reconstructed features or embeddings (n, d), or None.
        scores: What the attack ranks: larger is more likely; its meaning is the attack's, or None.
        history: The objective over the steps.
        seconds: Wall time spent.
        notes: What a reader must know: why nothing was found, which bins were empty.
        others: Names of attacks of the same aim that may find something where this one did not.
    """

    attack: str
    objective: float
    converged: bool
    pictures: Tensor | None = None
    features: Tensor | None = None
    scores: Tensor | None = None
    history: tuple[float, ...] = ()
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.pictures is not None:
            if self.pictures.ndim != 4:
                raise AttackError(f"{self.attack}: pictures are {tuple(self.pictures.shape)}, not 4-D")
            inside = self.pictures.isfinite() & (self.pictures >= 0) & (self.pictures <= 1)
            if not inside.all():
                raise AttackError(f"{self.attack}: pictures must be finite and in [0, 1]")


@dataclass(frozen=True, eq=False)
class Truth:
    """What only an evaluator sees.

    Attributes:
        pictures: The victim's pictures (n, c, h, w) in [0, 1], or None.
        features: The victim's features or embeddings (n, d), or None.
        targets: The victim's targets (n, ...), or None.
    """

    pictures: Tensor | None = None
    features: Tensor | None = None
    targets: Tensor | None = None


@dataclass(frozen=True)
class Result:
    """One number about one attack.

    Attributes:
        attack: The attack's name.
        metric: What was measured.
        value: The figure.
        n: How many targets it stands on.
        low: Lower end of the interval, or None.
        high: Upper end of the interval, or None.
        confidence: Of the interval, for example 0.95, or None.
        baseline: The same figure without looking, or None.
        method: How the interval was made, or what the figure needs to be read rightly.
        details: Further figures by name.
    """

    attack: str
    metric: str
    value: float
    n: int
    low: float | None = None
    high: float | None = None
    confidence: float | None = None
    baseline: float | None = None
    method: str = ""
    details: Mapping[str, float] = field(default_factory=dict)


Evaluator = Callable[[Evidence, Truth], Result]
"""The only place where evidence and truth meet."""


class Attack(Protocol):
    """An attack: a name, what it needs, and a run that sees an observation and nothing else."""

    @property
    def name(self) -> str:
        """Short, for tables."""
        ...

    @property
    def requires(self) -> frozenset[Capability]:
        """What the adversary must have for this attack to make sense."""
        ...

    def run(self, observation: Observation, budget: Budget, seed: int) -> Evidence:
        """Attack. The same seed gives the same evidence, up to `seconds`."""
        ...


def conduct(
    attack: Attack, observation: Observation, threat: ThreatModel, budget: Budget, seed: int
) -> Evidence:
    """Run an attack as a given adversary.

    What `Observation.held` can tell is enforced: updates, the description of the training with its batch
    size, targets, prototypes, counts and public pictures must be granted. Clip and noise are taken out of the
    observation where the adversary does not know the defence, and the notes say so. Candidates that an
    attack was made with, and who chose the weights, are for the caller to grant rightly.

    Raises:
        AttackError: The adversary lacks a capability that the attack needs, or the observation holds more
            than the adversary has; names it with the reason.

    Example:
        >>> class Idle:
        ...     name, requires = "idle", frozenset({Capability.SEES_UPDATE})
        >>> model = torch.nn.Linear(1, 1)
        >>> seen = Observation(model, model.state_dict(), (1,), prototypes={"ann": torch.ones(1, 1)})
        >>> published = {Capability.SEES_PROTOTYPE: "cards are published"}
        >>> buyer = ThreatModel("buyer", published, {Capability.SEES_UPDATE: "it is encrypted"})
        >>> conduct(Idle(), seen, buyer, Budget(), seed=0)
        Traceback (most recent call last):
            ...
        attacks.errors.AttackError: idle needs SEES_UPDATE (sees the update of one client): it is encrypted
    """
    for capability, reason in threat.refusals(attack.requires).items():
        raise AttackError(f"{attack.name} needs {capability.name} ({capability.value}): {reason}")
    notes: tuple[str, ...] = ()
    if Capability.KNOWS_DEFENCE in threat.refusals(observation.held()):
        observation = _without_defence(observation)
        notes = (f"the {threat.name} does not know the clip and the noise",)
    held = set(observation.held())
    if Capability.SEES_AGGREGATE in threat.capabilities:
        held.discard(Capability.SEES_UPDATE)
    for capability, reason in threat.refusals(held).items():
        raise AttackError(
            f"the observation holds more than the {threat.name} has, "
            f"{capability.name} ({capability.value}): {reason}"
        )
    evidence = attack.run(observation, budget, seed)
    return replace(evidence, notes=(*evidence.notes, *notes)) if notes else evidence


def _without_defence(observation: Observation) -> Observation:
    training = observation.training
    if training is not None:
        training = replace(training, clip_norm=None, noise_std=0.0)
    return replace(observation, training=training, prototype_noise=0.0)


def generator(seed: int) -> torch.Generator:
    """Draws of one attack run; never torch's global generator."""
    return torch.Generator().manual_seed(seed)
