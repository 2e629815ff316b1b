"""Would anyone recognise it? Identification among candidates, the advantage over not looking, and levels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import torch
from torch import Tensor

from attacks.errors import AttackError
from attacks.intervals import clopper_pearson, paired_difference, paired_outcomes
from attacks.matching import Cost
from attacks.ranges import real, unit_pictures, whole
from attacks.results import Result


def rank_of_target(scores: Tensor, target: int) -> int:
    """Rank of the target's score among all, 1 is best; whoever ties with it counts as better.

    So a constant score never identifies anyone.

    Args:
        scores: (n,), larger is more likely, finite.
        target: Index of the target.

    Example:
        >>> rank_of_target(torch.tensor([0.2, 0.9, 0.5]), target=2)
        2
        >>> rank_of_target(torch.zeros(5), target=0)  # A constant score never identifies anyone.
        5
    """
    if scores.ndim != 1:
        raise AttackError(f"scores must be (n,), not {tuple(scores.shape)}")
    whole("target", target, 0, len(scores) - 1)
    if not scores.isfinite().all():
        raise AttackError("a score is not finite")
    return int((scores >= scores[target]).sum())


def rank_by_distance(reconstruction: Tensor, candidates: Tensor, target: int, distance: Cost) -> int:
    """Rank of the true picture among candidates by its distance to the reconstruction.

    Args:
        reconstruction: One picture (c, h, w) or feature (d,).
        candidates: (n, ...) of the same shape; the target must not be in there twice.
        target: Which candidate is the truth.
        distance: Maps pairs to (n,), smaller is nearer; fixed before the attack is run.

    Raises:
        AttackError: A double of the target is among the candidates, so that no rank is fair.

    Example:
        >>> candidates = torch.tensor([[0.0], [1.0], [2.0]])
        >>> rank_by_distance(torch.tensor([1.2]), candidates, 1, lambda a, b: (a - b).square().sum(1))
        1
    """
    same = (candidates == candidates[target]).flatten(1).all(1)
    if same.sum() > 1:
        raise AttackError(f"candidate {target} is in the list {int(same.sum())} times")
    return rank_of_target(-distance(reconstruction.expand_as(candidates), candidates), target)


def identification_rate(attack: str, ranks: np.ndarray, candidates: int, confidence: float = 0.95) -> Result:
    """Share of targets that are ranked first, with its Clopper-Pearson interval; the baseline is chance.

    Args:
        attack: Name of the attack.
        ranks: int (n,), the rank of each target, 1 is best.
        candidates: How many candidates each target was among, >= 2.
        confidence: In (0, 1).

    Example:
        >>> result = identification_rate("mine", np.array([1, 1, 1, 7]), candidates=100)
        >>> result.value, result.baseline, round(result.low, 3), round(result.high, 3)
        (0.75, 0.01, 0.194, 0.994)
    """
    ranks = np.asarray(ranks)
    _check_ranks(ranks)
    whole("candidates", candidates, 2)
    if ranks.max() > candidates:
        raise AttackError(f"ranks must be (n,) from 1 to the number of candidates, {candidates}")
    hits, n = int((ranks == 1).sum()), len(ranks)
    low, high = clopper_pearson(hits, n, confidence)
    return Result(
        attack,
        "identification rate",
        hits / n,
        n,
        low,
        high,
        confidence,
        1 / candidates,
        "Clopper-Pearson",
        {"candidates": candidates, "median rank": float(np.median(ranks))},
    )


def advantage(attack: str, ranks: np.ndarray, prior_ranks: np.ndarray, confidence: float = 0.95) -> Result:
    """By how much the identification rate exceeds that of the same attack without its observation.

    Args:
        attack: Name of the attack.
        ranks: int (n,), rank of each target, 1 is best.
        prior_ranks: int (n,), the same of the prior-only run on the same targets.
        confidence: In (0, 1).

    Example:
        >>> result = advantage("mine", np.array([1] * 9 + [5]), np.full(10, 50))
        >>> result.value, round(result.low, 3), result.details["p_value"]
        (0.9, 0.155, 0.001953125)
    """
    ranks, prior_ranks = np.asarray(ranks), np.asarray(prior_ranks)
    _check_ranks(ranks)
    _check_ranks(prior_ranks)
    found = paired_difference(ranks == 1, prior_ranks == 1, confidence)
    return Result(
        attack,
        "advantage over prior-only",
        found.value,
        len(ranks),
        found.low,
        found.high,
        confidence,
        0.0,
        "difference of Clopper-Pearson bounds of the discordant targets; p of exact McNemar, one-sided",
        {"p_value": found.p_value},
    )


class Level(IntEnum):
    """What of an artist's work leaked."""

    PARTICIPATION = 0
    MEMBERSHIP = 1
    ARTIST = 2
    STYLE = 3
    WORK = 4
    COPY = 5


MEANING: Mapping[Level, str] = {
    Level.PARTICIPATION: "that the artist took part",
    Level.MEMBERSHIP: "that a given work was used",
    Level.ARTIST: "which artist it is, from what leaks",
    Level.STYLE: "palette, texture or composition",
    Level.WORK: "a work that can be recognised",
    Level.COPY: "a near copy of a work",
}


@dataclass(frozen=True)
class Trials:
    """Wins of an attack that decide one level.

    Attributes:
        attack: Name of the attack.
        wins: bool (n,), whether it won on each target.
        prior_wins: bool (n,), whether its prior-only run won on the same target.
        chance: What guessing wins, in [0, 1).
    """

    attack: str
    wins: np.ndarray
    prior_wins: np.ndarray
    chance: float

    def __post_init__(self) -> None:
        paired_outcomes(self.wins, self.prior_wins)
        real("chance", self.chance, "[0, 1)")


@dataclass(frozen=True)
class LevelFinding:
    """Whether one level leaked.

    Attributes:
        level: Which.
        verdict: `leaks`, `not broken by this attack`, `inconclusive: too few targets` or `not run`.
        rate: The wins with their interval; None where nothing was run.
        advantage: The wins beyond the prior-only run; None where nothing was run.
        works: Which targets the attack won and its prior-only run did not, ascending.
    """

    level: Level
    verdict: str
    rate: Result | None = None
    advantage: Result | None = None
    works: tuple[int, ...] = ()


def leak_levels(trials: Mapping[Level, Trials], confidence: float = 0.95) -> list[LevelFinding]:
    """All six levels, those not tried too.

    A level leaks where the interval of the wins lies above chance and the exact McNemar test against the
    prior-only run is significant. Where not even a win on every target and none of the prior's would have
    been both, nothing was decided. A near copy is no matter of rates: one that the prior did not get is a
    leak of that work.

    Args:
        trials: For each level that was tried, the wins.
        confidence: Of the interval, and one minus the test's error rate; in (0, 1).

    Example:
        >>> wins = Trials("mine", np.ones(8, bool), np.zeros(8, bool), chance=0.01)
        >>> [(found.level.name, found.verdict) for found in leak_levels({Level.WORK: wins})][4:]
        [('WORK', 'leaks'), ('COPY', 'not run')]
    """
    found = []
    for level in Level:
        if level not in trials:
            found.append(LevelFinding(level, "not run"))
            continue
        t = trials[level]
        wins, n = int(np.sum(t.wins)), len(t.wins)
        low, high = clopper_pearson(wins, n, confidence)
        what = MEANING[level]
        rate = Result(t.attack, what, wins / n, n, low, high, confidence, t.chance, "Clopper-Pearson")
        more = advantage(t.attack, np.where(t.wins, 1, 2), np.where(t.prior_wins, 1, 2), confidence)
        works = tuple(np.flatnonzero(np.asarray(t.wins, bool) & ~np.asarray(t.prior_wins, bool)).tolist())
        error = 1 - confidence
        verdict = "not broken by this attack"
        if 0.5**n > error or clopper_pearson(n, n, confidence)[0] <= t.chance:
            verdict = "inconclusive: too few targets"
        beyond = low > t.chance and more.details["p_value"] <= error
        if beyond or (level is Level.COPY and works):
            verdict = "leaks"
        found.append(LevelFinding(level, verdict, rate, more, works))
    return found


def near_copy(pictures: Tensor, truths: Tensor, others: Tensor, limit: float = 0.05) -> np.ndarray:
    """Which reconstructions are near copies, bool (n,).

    A near copy has a root mean square error of at most `limit`, and no more than half of that to the
    nearest other picture (in the manner of Carlini et al. 2023, who pair an L2 limit with a relative
    one). No limit is agreed on; 0.05 is 26 dB.

    Args:
        pictures: (n, c, h, w) in [0, 1].
        truths: The same shape.
        others: (m, c, h, w), pictures that are not among the truths, m >= 1.
        limit: In (0, 1].

    Raises:
        AttackError: A truth is among the others, so that nothing is nearer to it.

    Example:
        >>> truth = torch.zeros(1, 3, 4, 4)
        >>> near_copy(truth + 0.01, truth, others=torch.ones(2, 3, 4, 4)).tolist()
        [True]
        >>> near_copy(truth + 0.01, truth, others=truth + 0.02).tolist()  # As near to another picture.
        [False]
    """
    for name, given in (("pictures", pictures), ("truths", truths), ("others", others)):
        unit_pictures(name, given)
    real("limit", limit, "(0, 1]")
    same = (truths[:, None] == others).flatten(2).all(2)
    if same.any():
        row, column = same.nonzero()[0].tolist()
        raise AttackError(f"truth {row} is among the others, number {column}")
    own = (pictures - truths).square().flatten(1).mean(1).sqrt()
    nearest = (torch.cdist(pictures.flatten(1), others.flatten(1)) / truths[0].numel() ** 0.5).amin(1)
    copies: np.ndarray = ((own <= limit) & (own <= nearest / 2)).numpy()
    return copies


def _check_ranks(ranks: np.ndarray) -> None:
    if ranks.ndim != 1 or not len(ranks) or not np.issubdtype(ranks.dtype, np.integer) or ranks.min() < 1:
        raise AttackError(f"ranks must be whole numbers (n,) from 1, not {ranks.dtype} {ranks.shape}")
