"""What an audit finds: a row a figure, a check a condition, and the claim that both are held against."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from attacks.bounds import Adjacency
from attacks.errors import AttackError
from attacks.ranges import real

Verdict = Literal["leaks", "not broken by this attack", "inconclusive", "not run"]

Metric = Literal["membership AUC", "TPR at an FPR", "epsilon lower bound", "reconstruction PSNR"]

Subject = Literal["model", "update", "private training", "scores"]


@dataclass(frozen=True)
class Claim:
    """What somebody says of a training's privacy.

    Attributes:
        epsilon: >= 0; infinite claims nothing.
        delta: In [0, 1).
        adjacency: Which neighbours it speaks of.
        unit: Whose presence it hides, such as `record`.

    Example:
        >>> Claim(8.0, 1e-5)
        Claim(epsilon=8.0, delta=1e-05, adjacency='add-remove', unit='record')
    """

    epsilon: float
    delta: float
    adjacency: Adjacency = "add-remove"
    unit: str = "record"

    def __post_init__(self) -> None:
        real("claim: epsilon", self.epsilon, "[0, inf)", infinite=True)
        real("claim: delta", self.delta, "[0, 1)")
        if self.adjacency not in get_args(Adjacency):
            raise AttackError(f"claim: adjacency must be 'add-remove' or 'replace', not {self.adjacency!r}")


@dataclass(frozen=True)
class Row:
    """One figure of one attack, or the place where one is missing.

    Attributes:
        attack: The attack's name.
        metric: What was measured.
        verdict: `leaks` where the whole interval lies above the baseline; `inconclusive` where the attack
            could not have shown a leak, or its positive control failed; else not broken, or not run.
        value: The figure, None where nothing was run.
        low: Lower end of its interval, or None.
        high: Upper end, or None.
        confidence: Of this interval by itself, or None.
        n: How many records it stands on.
        baseline: What one gets without looking at the model, or None.
        bound: The most that the claim allows, or None.
        control: The same attack's figure where there is something to find, or None.
        fpr: Of a `TPR at an FPR`; else None.
        reason: Why it was not run or is inconclusive, or what must be known to read it.
        method: How figure and interval were made.
        seconds: Wall time.
        details: Further figures by name.
    """

    attack: str
    metric: Metric
    verdict: Verdict
    value: float | None = None
    low: float | None = None
    high: float | None = None
    confidence: float | None = None
    n: int = 0
    baseline: float | None = None
    bound: float | None = None
    control: float | None = None
    fpr: float | None = None
    reason: str = ""
    method: str = ""
    seconds: float = 0.0
    details: Mapping[str, float] = field(default_factory=dict)

    @property
    def alarm(self) -> bool:
        """Whether the figure lies above what the claim allows, its whole interval with it."""
        return self.bound is not None and self.low is not None and self.low > self.bound

    def __str__(self) -> str:
        """One line."""
        name = self.attack if self.fpr is None else f"{self.attack} at FPR {self.fpr:g}"
        if self.value is None:
            return f"{name}: not run: {self.reason}"
        return f"{name}: {self.metric} {self.figure}: {'ABOVE THE CLAIM' if self.alarm else self.verdict}"

    @property
    def figure(self) -> str:
        """The figure, its interval and its baseline, in words."""
        if self.value is None:
            return "-"
        if self.metric == "epsilon lower bound":
            claimed = "" if self.bound is None else f", claimed {self.bound:.4g}"
            return f"{math.floor(100 * self.value) / 100:.2f}{claimed}"
        ends = "" if self.low is None or self.high is None else f" [{self.low:.3f}, {self.high:.3f}]"
        blind = "" if self.baseline is None else f", {self.baseline:.3f} without looking"
        return f"{self.value:.3f}{ends}{blind}"


@dataclass(frozen=True)
class Check:
    """Something that must hold before a figure, or a guarantee, may be believed.

    Attributes:
        name: What was checked.
        holds: Whether it does; None where it could not be told.
        says: In one sentence.
    """

    name: str
    holds: bool | None
    says: str
