"""What membership attacks read and return: signals, who trained on what, scores, and how good those are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from attacks.errors import AttackError
from attacks.ranges import real
from attacks.results import Result
from attacks.roc import auc, auc_interval, checked_scores, null_deviation, tpr_at_fpr

_TELLING = 6.0
"""Deviations from chance, 1 in 5e8, beyond which counts of reference models are said to tell membership."""


_LARGEST = 1e100
"""Absolute value of a signal; squares of more overflow, and scores become NaN."""


@dataclass(frozen=True, eq=False)
class References:
    """Signals of candidates under models that the adversary trained itself, of the victim's size and recipe.

    Attributes:
        signals: float64 (n, k), one row a candidate, one column a reference model; at most 1e100
            in absolute value.
        trained_on: bool (n, k), whether that model trained on that candidate.

    Example:
        >>> references = References(np.array([[1.0, 5.0]]), np.array([[True, False]]))
        >>> references.mean(inside=True).tolist(), references.count(inside=False).tolist()
        ([1.0], [1])
    """

    signals: np.ndarray
    trained_on: np.ndarray

    def __post_init__(self) -> None:
        signals = np.asarray(self.signals, np.float64)
        trained_on = np.asarray(self.trained_on)
        if signals.ndim != 2 or 0 in signals.shape:
            raise AttackError(f"reference signals must be (candidates, models), not {signals.shape}")
        if trained_on.shape != signals.shape or trained_on.dtype != bool:
            raise AttackError(
                f"trained_on must be bool {signals.shape}, not {trained_on.dtype} {trained_on.shape}"
            )
        within = np.abs(signals) <= _LARGEST
        if not within.all():
            row, column = np.argwhere(~within)[0]
            raise AttackError(
                f"reference signal of candidate {row} under model {column} is not finite, or beyond "
                f"{_LARGEST:g}"
            )
        object.__setattr__(self, "signals", signals)
        object.__setattr__(self, "trained_on", trained_on)

    def mean(self, inside: bool) -> np.ndarray:
        """Mean signal (n,) over the models that trained on each candidate, or that did not; NaN for none."""
        chosen = self.trained_on == inside
        number = chosen.sum(1)
        total = np.where(chosen, self.signals, 0.0).sum(1)
        return np.where(number > 0, total / np.maximum(number, 1), np.nan)

    def count(self, inside: bool) -> np.ndarray:
        """int (n,): models on that side of each candidate."""
        counts: np.ndarray = (self.trained_on == inside).sum(1)
        return counts

    def without(self, model: int) -> References:
        """All reference models but one; needs two."""
        keep = np.arange(self.signals.shape[1]) != model
        return References(self.signals[:, keep], self.trained_on[:, keep])


@dataclass(frozen=True, eq=False)
class MembershipScores:
    """One score a candidate, larger is more likely a member.

    Attributes:
        attack: Name.
        values: float64 (n,); NaN exactly where `scored` is False.
        scored: bool (n,), candidates that the attack could judge.
        notes: What a reader must know, such as how many candidates were dropped and why.
        counts: int (n,), reference models that trained on each candidate; None for an attack without any.
    """

    attack: str
    values: np.ndarray
    scored: np.ndarray
    notes: tuple[str, ...] = ()
    counts: np.ndarray | None = None

    def __post_init__(self) -> None:
        if (np.isnan(self.values) == self.scored).any() or np.isinf(self.values[self.scored]).any():
            raise AttackError(f"{self.attack}: a score must be finite, and NaN where a candidate has none")

    @classmethod
    def of(cls, attack: str, values: np.ndarray, notes: tuple[str, ...] = ()) -> MembershipScores:
        """All candidates scored."""
        return cls(attack, values, np.ones(len(values), bool), notes)


def checked_signals(signals: np.ndarray, n: int | None = None) -> np.ndarray:
    """float64 (n,), of absolute value at most 1e100, so that squares are finite too.

    Raises:
        AttackError: Another shape, or a value that is not finite.
    """
    signals = np.asarray(signals, np.float64)
    if signals.ndim != 1 or not len(signals) or (n is not None and len(signals) != n):
        raise AttackError(f"the victim's signals must be ({'n' if n is None else n},), not {signals.shape}")
    within = np.abs(signals) <= _LARGEST
    if not within.all():
        raise AttackError(
            f"the victim's signal of candidate {np.argmin(within)} is not finite, or beyond {_LARGEST:g}"
        )
    return signals


def evaluate_membership(
    scores: MembershipScores,
    is_member: np.ndarray,
    rates: tuple[float, ...] = (0.01,),
    confidence: float = 0.95,
    blind: float | None = None,
) -> tuple[Result, ...]:
    """AUC, and the TPR at each FPR: where scores meet the truth.

    Args:
        scores: Of an attack; candidates that it could not judge are left out and counted.
        is_member: bool (n,), the truth.
        rates: False-positive rates, each at least one in the number of non-members.
        confidence: Of each interval by itself.
        blind: AUC of a blind baseline on the same candidates; the attack has shown something about the model
            only beyond it. The baseline of a TPR is that of two normal distributions of equal spread with
            this AUC, or guessing where it is below 0.5. None where none was made: then there is no baseline.

    Raises:
        AttackError: Shapes differ, a rate asks for more non-members, or how many reference models trained on
            a candidate tells its membership: then the references know the answer.

    Example:
        >>> scores = MembershipScores.of("mine", np.array([3.0, 2.0, 1.0, 0.0]))
        >>> (area, *_) = evaluate_membership(scores, np.array([True, True, False, False]), rates=())
        >>> area.value, area.n
        (1.0, 4)
    """
    if blind is not None:
        real("blind", blind, "[0, 1]")
    is_member = np.asarray(is_member)
    if is_member.shape != scores.values.shape or is_member.dtype != bool:
        raise AttackError(f"is_member must be bool {scores.values.shape}, not {is_member.dtype}")
    members, non_members = checked_scores(
        scores.values[scores.scored & is_member], scores.values[scores.scored & ~is_member]
    )
    if scores.counts is not None:
        _refuse_telling_counts(
            scores.counts[scores.scored & is_member], scores.counts[scores.scored & ~is_member]
        )
    details = {
        "members": float(len(members)),
        "non_members": float(len(non_members)),
        "dropped": float((~scores.scored).sum()),
    }
    n = len(members) + len(non_members)
    blindly = "" if blind is not None else "; no blind baseline was run"
    low, high = auc_interval(members, non_members, confidence)
    found = [
        Result(
            attack=scores.attack,
            metric="auc",
            value=auc(members, non_members),
            n=n,
            low=low,
            high=high,
            confidence=confidence,
            baseline=blind,
            method=f"Mann-Whitney, half ties; score interval with the largest possible variance{blindly}",
            details=details,
        )
    ]
    for rate in rates:
        point = tpr_at_fpr(members, non_members, rate, confidence)
        found.append(
            Result(
                attack=scores.attack,
                metric=f"tpr_at_{rate:g}_fpr",
                value=point.value,
                n=n,
                low=point.low,
                high=point.high,
                confidence=confidence,
                baseline=None if blind is None else _blind_rate(blind, rate),
                method=f"Clopper-Pearson{'; ' + point.note if point.note else ''}{blindly}",
                details=details
                | {"fpr": point.fpr, "fpr_low": point.fpr_low, "fpr_high": point.fpr_high}
                | {"reliable": float(point.reliable)},
            )
        )
    return tuple(found)


def _blind_rate(area: float, fpr: float) -> float:
    """TPR of N(d, 1) against N(0, 1) at an FPR, with d >= 0 from their AUC Phi(d / sqrt(2))."""
    return float(ndtr(ndtri(fpr) + np.sqrt(2) * max(0.0, float(ndtri(area)))))


def _refuse_telling_counts(members: np.ndarray, non_members: np.ndarray) -> None:
    """Rank test of whether members had more, or fewer, reference models; ties in the variance (Lehmann 1975).

    Sets in which every candidate occurs as often as every other give the victim's away if it is one of them:
    its members are those that the others lack.
    """
    n = len(members) + len(non_members)
    ties = np.unique(np.concatenate([members, non_members]), return_counts=True)[1].astype(float)
    share = 1 - float((ties**3 - ties).sum()) / max(float(n) ** 3 - n, 1.0)
    deviation = null_deviation(len(members), len(non_members)) * np.sqrt(max(share, 0.0))
    if abs(auc(members, non_members) - 0.5) > _TELLING * deviation > 0:
        raise AttackError(
            f"reference models trained on members {members.mean():.2f} times each and on non-members "
            f"{non_members.mean():.2f} times: their sets tell the victim's; draw that one apart from them"
        )
