"""What an audit of a gallery could tell, from the number of its works alone, before anything is attacked.

Every figure comes from the code that makes an audit's intervals and verdicts, on scores that are as good as
the figure says: what that code would not call a leak, no audit of so many works can.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from attacks.errors import AttackError
from attacks.intervals import clopper_pearson, paired_difference
from attacks.roc import auc, newcombe_interval, tpr_at_fpr
from fedstyle_secure.audit.settings import AuditSettings

_FEWEST_TRIED = 4
_STEPS = 24
"""Halvings in the search for the least AUC: more than its two printed digits need."""


@dataclass(frozen=True)
class Rate:
    """Whether a TPR at a low FPR can be stated.

    Attributes:
        fpr: The rate that is asked for.
        problem: Why it cannot, "" if it can.
        needed: Non-members that it takes.
    """

    fpr: float
    problem: str
    needed: int


@dataclass(frozen=True)
class Reach:
    """What an audit could tell.

    Attributes:
        preset: The audit's.
        confidence: Of every interval.
        artists: That are attacked.
        of: Private artists that there are.
        members: Their works that train, as far as they are tried.
        non_members: Their works that are held out, likewise.
        half_width: Half of the interval of a membership AUC of one half.
        least_auc: The least membership AUC that would be called a leak; None: not even 1 would.
        targets: Works that are sought among others, one at a time.
        candidates: Among how many.
        least_named: How many of them must be named for a leak; None: not even all would do.
        unseen: Share that may still be named where none of them was.
        rates: The low false-positive rates of the audit.
    """

    preset: str
    confidence: float
    artists: int
    of: int
    members: int
    non_members: int
    half_width: float
    least_auc: float | None
    targets: int
    candidates: int
    least_named: int | None
    unseen: float
    rates: tuple[Rate, ...]

    @property
    def membership(self) -> str:
        """What can be told of membership, in a sentence."""
        told = f"a membership AUC is known to within {self.half_width:.2f}"
        if self.least_auc is None:
            return f"{told}, and not even an AUC of 1 would show a leak"
        return f"{told}, and a leak shows from {self.least_auc:.2f} on"

    def lines(self) -> Iterator[str]:
        """For people, the sum of it first."""
        yield (
            f"An audit (preset {self.preset}) would hold {self.members} works that train against "
            f"{self.non_members} held out, of {self.artists} artists: {self.membership} (confidence "
            f"{self.confidence:g})."
        )
        shows = f"a leak shows from {self.least_named} on that are named"
        if self.least_named is None:
            shows = "not even all of them named would show a leak"
        yield (
            f"{self.targets} works are sought, each among {self.candidates}: {shows}, and where none is, up "
            f"to {self.unseen:.2f} of such works could be."
        )
        for rate in self.rates:
            if rate.problem:
                yield f"The TPR at an FPR of {rate.fpr:g} will not be stated: {rate.problem}."
        more = [f"{r.needed - self.non_members} for an FPR of {r.fpr:g}" for r in self.rates if r.problem]
        if more:
            few = self.artists < self.of
            rest = f", and attack all {self.of} artists (audit --preset standard)" if few else ""
            yield (
                f"What would help: more held-out works, about {', '.join(reversed(more))}; have more works "
                f"an artist, or hold out more of them (gallery.test_fraction){rest}."
            )


def reach(counts: Sequence[tuple[int, int]], settings: AuditSettings, *, dear: bool = False) -> Reach | None:
    """What an audit could tell.

    Args:
        counts: Works that train and that are held out, of each private artist, in the gallery's order.
        settings: Of the audit.
        dear: Whether the system's attacks take long, so that few works are tried.

    Returns:
        None where nobody knows, as no works of artists were counted.
    """
    attacked = counts[: settings.artists or None]
    few = dear and settings.tried > 0 and len(attacked) > 0
    most = max(_FEWEST_TRIED, settings.tried // (2 * len(attacked))) if few else None
    members, others = (sum(min(both[side], most or both[side]) for both in attacked) for side in (0, 1))
    if min(members, others) < 1:
        return None
    sure = settings.confidence
    low, high = newcombe_interval(*_scores(members, others, 0.5), sure)
    works = sum(train for train, _ in attacked), sum(test for _, test in attacked)
    targets, candidates = min(settings.targets, works[0]), min(settings.candidates, sum(works))
    return Reach(
        settings.preset, sure, len(attacked), len(counts), members, others, (high - low) / 2,
        _least_auc(members, others, sure), targets, candidates, _least_named(targets, candidates, sure),
        clopper_pearson(0, targets, sure)[1], tuple(_rate(fpr, others, sure) for fpr in settings.fpr),
    )  # fmt: skip


def _scores(members: int, others: int, area: float) -> tuple[np.ndarray, np.ndarray]:
    """Scores of two normal distributions that an attack of this AUC tells apart, evenly drawn."""
    inside, outside = (ndtri((np.arange(n) + 0.5) / n) for n in (members, others))
    return inside + math.sqrt(2) * ndtri(area), outside


def _least_auc(members: int, others: int, confidence: float) -> float | None:
    if newcombe_interval(np.ones(members), np.zeros(others), confidence)[0] <= 0.5:
        return None
    low, high = 0.5, 1 - 1e-9
    for _ in range(_STEPS):
        middle = (low + high) / 2
        shows = newcombe_interval(*_scores(members, others, middle), confidence)[0] > 0.5
        low, high = (low, middle) if shows else (middle, high)
    return auc(*_scores(members, others, high))


def _least_named(targets: int, candidates: int, confidence: float) -> int | None:
    """As `measures.identification` judges, against a blind attack that names none."""
    for named in range(1, targets + 1):
        won = np.arange(targets) < named
        ahead = paired_difference(won, np.zeros(targets, bool), confidence)
        low, _ = clopper_pearson(named, targets, confidence)
        if ahead.p_value <= 1 - confidence and low > 1 / candidates:
            return named
    return None


def _rate(fpr: float, others: int, confidence: float) -> Rate:
    def problem(n: int) -> str:
        try:
            return tpr_at_fpr(np.ones(1), np.arange(float(n)), fpr, confidence).note
        except AttackError:
            return f"it takes {math.ceil(1 / fpr)} held-out works at the least, and there are {n}"

    needed = max(others, math.ceil(1 / fpr))
    while problem(needed):
        needed = int(needed * 1.1) + 1
    return Rate(fpr, problem(others), needed)
