"""What a figure about epsilon says of itself, and how its threshold may be chosen.

Choosing a threshold on the scores that are then judged, without paying for it, claims privacy losses that are
not there; so the strategy is an argument of every bound, and is printed with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from attacks.errors import AttackError
from attacks.ranges import real, whole

Adjacency = Literal["add-remove", "replace"]


@dataclass(frozen=True)
class Explicit:
    """A score fixed before any of these scores was seen.

    Attributes:
        threshold: In means score > threshold; finite.
    """

    threshold: float

    def __post_init__(self) -> None:
        real("threshold", self.threshold, "(-inf, inf)")


@dataclass(frozen=True)
class ExplicitRank:
    """A rank fixed beforehand, so that the scale of the scores need not be known.

    Attributes:
        rank: Two-world bounds: the threshold is the rank-th largest score of those out. One-run bounds: that
            many are guessed in, and with guesses `both` as many out. >= 1.
    """

    rank: int

    def __post_init__(self) -> None:
        whole("rank", self.rank, 1)


@dataclass(frozen=True)
class Split:
    """Choose the threshold on some of the scores, bound on the rest.

    Attributes:
        fraction: Share of the scores that chooses, in (0, 1).
        seed: Of the random split, >= 0.
    """

    fraction: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        real("split: fraction", self.fraction, "(0, 1)")
        whole("split: seed", self.seed, 0)


@dataclass(frozen=True)
class Bonferroni:
    """Look at many ranks and divide the error among them.

    Attributes:
        points: How many, >= 1, spread over all ranks before the scores are seen; None for every rank there
            is.
    """

    points: int | None = None

    def __post_init__(self) -> None:
        if self.points is not None:
            whole("points", self.points, 1)


@dataclass(frozen=True)
class Frontier:
    """Divide the error among the corners of the ROC curve's hull only, as published one-run figures do.

    How many corners there are is known only after looking, and no proof covers that: the result is called an
    estimate. It is here to compare with those figures; `Bonferroni` has the proof.
    """


Strategy = Explicit | ExplicitRank | Split | Bonferroni | Frontier


@dataclass(frozen=True)
class Terms:
    """What is being claimed.

    Attributes:
        delta: In [0, 1), the same as the accountant's.
        adjacency: What the in and out worlds differ by; must be the accountant's.
        unit: What one canary stands for, such as `artwork` or `artist`; must be the accountant's.
        confidence: In (0, 1).

    Example:
        >>> Terms(delta=1e-5, adjacency="add-remove", unit="artwork", confidence=0.9).error
        0.09999999999999998
    """

    delta: float
    adjacency: Adjacency
    unit: str
    confidence: float = 0.95

    def __post_init__(self) -> None:
        real("delta", self.delta, "[0, 1)")
        if self.adjacency not in ("add-remove", "replace"):
            raise AttackError(f"adjacency must be 'add-remove' or 'replace', not {self.adjacency!r}")
        if not self.unit.strip():
            raise AttackError("unit must say what one canary stands for, such as 'artwork'")
        real("confidence", self.confidence, "(0, 1)")

    @property
    def error(self) -> float:
        """Probability that a bound may be false."""
        return 1 - self.confidence


@dataclass(frozen=True)
class Bound:
    """One figure about epsilon.

    Attributes:
        kind: `lower_bound` has a proof under `assumption`; `estimate` has none and may lie on either side.
        method: How it was made.
        epsilon: >= 0.
        delta: As in the terms.
        confidence: As in the terms; None for an estimate.
        strategy: How the threshold was chosen.
        adjacency: As in the terms.
        unit: As in the terms.
        n_in: Scores of canaries that were in.
        n_out: Scores of canaries that were out.
        assumption: What must be true of the canaries and the mechanism.
    """

    kind: Literal["lower_bound", "estimate"]
    method: str
    epsilon: float
    delta: float
    confidence: float | None
    strategy: str
    adjacency: Adjacency
    unit: str
    n_in: int
    n_out: int
    assumption: str


def bound_of(
    method: str,
    epsilon: float,
    terms: Terms,
    strategy: Strategy,
    scores_in: np.ndarray,
    scores_out: np.ndarray,
    assumption: str,
) -> Bound:
    """Fill in a bound; what `Frontier` chose is an estimate."""
    proved = not isinstance(strategy, Frontier)
    return Bound(
        kind="lower_bound" if proved else "estimate",
        method=method,
        epsilon=epsilon,
        delta=terms.delta,
        confidence=terms.confidence if proved else None,
        strategy=repr(strategy),
        adjacency=terms.adjacency,
        unit=terms.unit,
        n_in=len(scores_in),
        n_out=len(scores_out),
        assumption=assumption,
    )


def split_rng(strategy: Split) -> np.random.Generator:
    """The generator of a split."""
    return np.random.default_rng(strategy.seed)
