"""From scores to rows: figure, interval, baseline, positive control, verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from attacks.auditing.blind import Blind
from attacks.auditing.findings import Claim, Row, Verdict
from attacks.bounds import Bonferroni, Terms
from attacks.errors import AttackError
from attacks.intervals import clopper_pearson
from attacks.membership.scores import MembershipScores, evaluate_membership
from attacks.one_run import one_run_epsilon
from attacks.plots import AttackScores
from attacks.ranges import real
from attacks.roc import auc, newcombe_interval, tpr_at_fpr

CONFIDENCE = 0.995
"""Of all intervals of an audit together: a model that knows nothing is said to leak in at most one of 400."""

_LOST = "did not win either where there is something to find"


@dataclass(frozen=True)
class Judged:
    """Scores that have met the truth.

    Attributes:
        name: The attack's.
        scores: Of members and non-members, or why there are none.
        control: The same of the positive control, or why there is none.
        notes: What must be known to read it.
        seconds: Wall time.
    """

    name: str
    scores: AttackScores | str
    control: AttackScores | str
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


def check_asked(rates: Any, confidence: Any) -> None:
    """Refuse rates that are none, and a confidence so near 1 that no interval ends."""
    if not isinstance(rates, Sequence | np.ndarray):
        raise AttackError(f"rates must be several, such as (0.1, 0.01), not {rates!r}")
    for rate in rates:
        real("a rate", rate, "(0, 1)")
    real("confidence", confidence, "(0, 0.999999999]")


def met(
    scores: MembershipScores, is_member: np.ndarray, among: np.ndarray, telling: bool = False
) -> AttackScores:
    """Scores of members and of non-members.

    Args:
        scores: Of n candidates.
        is_member: bool (n,).
        among: Candidates that count, bool (n,).
        telling: Whether to refuse reference models whose numbers tell the truth.

    Raises:
        AttackError: One side is empty, or how many reference models trained on a candidate tells the truth.
    """
    chosen = scores.scored & among
    inside, outside = scores.values[chosen & is_member], scores.values[chosen & ~is_member]
    if not len(inside) or not len(outside):
        raise AttackError(f"{scores.attack}: it judges {len(inside)} members and {len(outside)} non-members")
    if scores.counts is not None and telling:
        kept = MembershipScores(
            scores.attack, scores.values[chosen], scores.scored[chosen], scores.notes, scores.counts[chosen]
        )
        evaluate_membership(kept, is_member[chosen], rates=())
    return AttackScores(inside, outside)


def membership_rows(
    judged: Sequence[Judged], blind: Blind | None, rates: Sequence[float], confidence: float = CONFIDENCE
) -> tuple[Row, ...]:
    """The AUC of every attack, and its TPR at low FPRs; all intervals hold together (Bonferroni).

    Args:
        judged: The attacks.
        blind: A guess that looks at no model, or None where there are no records, only scores.
        rates: False-positive rates.
        confidence: In (0, 1), of all together.
    """
    real("confidence", confidence, "(0, 1)")
    ran = [one for one in judged if not isinstance(one.scores, str)]
    told = sum(1 + sum(_tellable(one.scores, rate, confidence) for rate in rates) for one in ran)
    sure = 1 - (1 - confidence) / max(1, told)
    rows: list[Row] = []
    for one in judged:
        if isinstance(one.scores, str):
            rows.append(Row(one.name, "membership AUC", "not run", reason=one.scores, seconds=one.seconds))
            continue
        rows.append(_area(one, one.scores, blind, sure))
        rows += [_rate(one, one.scores, rows[-1], blind, rate, sure) for rate in rates]
    return tuple(rows)


def _area(one: Judged, scores: AttackScores, blind: Blind | None, sure: float) -> Row:
    n_in, n_out = len(scores.members), len(scores.non_members)
    low, high = newcombe_interval(scores.members, scores.non_members, sure)
    baseline = 0.5 if blind is None else blind.baseline
    best, _ = newcombe_interval(np.ones(n_in), np.zeros(n_out), sure)
    control, lost = None, one.control if isinstance(one.control, str) else ""
    if not isinstance(one.control, str):
        control = auc(one.control.members, one.control.non_members)
        lost = "" if newcombe_interval(one.control.members, one.control.non_members, sure)[0] > 0.5 else _LOST
    failed = lost
    if best <= baseline:
        failed = f"had {n_in + n_out} records, of which not even all could have shown a leak"
    elif not failed and blind is not None and blind.apart:
        failed = "shows no more than the records do, as members and non-members differ without the model too"
    verdict = _verdict(low > baseline, not failed)
    method = "Mann-Whitney with half ties; Newcombe's score interval"
    details = {"members": float(n_in), "non-members": float(n_out)}
    if blind is None:
        method += "; no blind baseline, as there are no records"
    else:
        details |= {"blind AUC": blind.auc, "blind p": blind.p_value}
    reason = "; ".join(part for part in (_why(verdict, failed), *one.notes) if part)
    return Row(
        one.name, "membership AUC", verdict, auc(scores.members, scores.non_members), low, high, sure,
        n_in + n_out, baseline, None, control, reason=reason, method=method, seconds=one.seconds,
        details=details,
    )  # fmt: skip


def _rate(one: Judged, scores: AttackScores, area: Row, blind: Blind | None, fpr: float, sure: float) -> Row:
    def nothing(reason: str) -> Row:
        return Row(one.name, "TPR at an FPR", "not run", fpr=fpr, reason=reason)

    n_in, n_out = len(scores.members), len(scores.non_members)
    if fpr * n_out < 1:
        return nothing(f"needs {math.ceil(1 / fpr)} non-members, and there are {n_out}")
    point = tpr_at_fpr(scores.members, scores.non_members, fpr, sure)
    if not point.reliable:
        return nothing(point.note)
    if blind is not None and blind.apart:
        return nothing("members and non-members differ without the model too, so that no rate is its own")
    allowed = max(point.fpr_high, fpr)
    control, won = None, not isinstance(one.control, str)
    if not isinstance(one.control, str):
        control = auc(one.control.members, one.control.non_members)
        won = newcombe_interval(one.control.members, one.control.non_members, sure)[0] > 0.5
    able = clopper_pearson(n_in, n_in, sure)[0] > allowed
    verdict = _verdict(point.low > allowed, able and won)
    failed = one.control if isinstance(one.control, str) else _LOST if able else f"had {n_in} members only"
    row = replace(
        area, metric="TPR at an FPR", fpr=fpr, value=point.value, low=point.low, high=point.high,
        baseline=allowed, control=None, verdict=verdict, reason=_why(verdict, failed),
        method="Clopper-Pearson on either rate; the baseline is the largest FPR that the non-members allow",
        details={"FPR": point.fpr, "FPR low": point.fpr_low, "FPR high": point.fpr_high},
    )  # fmt: skip
    return row if control is None else replace(row, details={**row.details, "control AUC": control})


def _tellable(scores: AttackScores | str, fpr: float, confidence: float) -> bool:
    """Whether the non-members are enough for a rate, were it the only figure."""
    if isinstance(scores, str) or fpr * len(scores.non_members) < 1:
        return False
    return tpr_at_fpr(scores.members, scores.non_members, fpr, confidence).reliable


def _verdict(leaks: bool, able: bool) -> Verdict:
    return "leaks" if leaks else "not broken by this attack" if able else "inconclusive"


def _why(verdict: Verdict, failed: str) -> str:
    return f"the attack {failed}" if verdict == "inconclusive" and failed else ""


def epsilon_row(
    name: str,
    scores: np.ndarray,
    inside: np.ndarray,
    claim: Claim | None,
    confidence: float = CONFIDENCE,
    delta: float = 1e-5,
    notes: tuple[str, ...] = (),
) -> Row:
    """A lower bound on epsilon from one run's canaries, each in by its own fair coin.

    Args:
        name: Of the attack.
        scores: (m,), larger is more likely in.
        inside: bool (m,), the coins.
        claim: What it is held against; its delta, adjacency and unit are taken.
        confidence: In (0, 1).
        delta: Where nothing is claimed, in [0, 1).
        notes: What must be known to read it.

    Example:
        >>> coins = np.arange(200) % 2 == 0
        >>> row = epsilon_row("canaries", coins + np.linspace(0, 0.5, 200), coins, Claim(1.0, 1e-5))
        >>> row.value > 2, row.alarm
        (True, True)
    """
    inside = np.asarray(inside)
    if inside.dtype != bool or inside.shape != np.shape(scores):
        raise AttackError(f"coins must be bool {np.shape(scores)}, not {inside.dtype} {inside.shape}")
    if inside.all() or not inside.any():
        reason = "all coins fell alike, so that there is nothing to tell apart"
        return Row(name, "epsilon lower bound", "not run", reason=reason)
    said = claim or Claim(math.inf, delta)
    terms = Terms(said.delta, said.adjacency, said.unit, confidence)
    inner, outer = np.asarray(scores)[inside], np.asarray(scores)[~inside]
    found = one_run_epsilon(inner, outer, terms, Bonferroni(20), "both")
    verdict: Verdict = "leaks" if found.epsilon > 0 else "not broken by this attack"
    return Row(
        name, "epsilon lower bound", verdict, found.epsilon, found.epsilon, None, confidence, len(inside),
        0.0, said.epsilon if math.isfinite(said.epsilon) else None,
        reason="; ".join((f"holds if {found.assumption}", *notes)),
        method=f"{found.method}, delta {found.delta:g}, {found.adjacency} neighbours",
        details={"delta": found.delta, "canaries in": float(inside.sum())},
    )  # fmt: skip


def as_curves(judged: Sequence[Judged]) -> Mapping[str, AttackScores]:
    """What was scored, by attack."""
    return {one.name: one.scores for one in judged if not isinstance(one.scores, str)}
