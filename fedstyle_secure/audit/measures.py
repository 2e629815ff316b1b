"""From what attacks scored to findings: figure, interval, baseline, bound, control, verdict."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from torch import Tensor

from attacks.identification import advantage, identification_rate
from attacks.intervals import clopper_pearson
from attacks.membership.scores import MembershipScores
from attacks.plots import AttackScores
from attacks.roc import auc, newcombe_interval, tpr_at_fpr
from fedstyle_secure.audit.findings import Category, Finding, Level, judge, not_run
from fedstyle_secure.audit.limits import Limit

Row = Callable[[np.ndarray, np.ndarray, float, str], Finding]
"""A finding of members' and non-members' scores, at a confidence, for a target."""


@dataclass(frozen=True)
class AttackCard:
    """What an attack is.

    Attributes:
        key: Short, for files.
        name: For tables.
        explains: In one plain sentence.
        category: Of EDPB Opinion 28/2024.
        level: How much artwork it would leak.
        unit: What it is after.
        metric: Its headline.
    """

    key: str
    name: str
    explains: str
    category: Category
    level: Level
    unit: Literal["artwork", "artist"]
    metric: str

    def blank(self, seed: int, reason: str) -> Finding:
        """The row of this attack where it was not run."""
        return Finding(
            view="", attack=self.name, target="all", unit=self.unit, metric=self.metric, value=None, low=None,
            high=None, confidence=None, n=0, baseline=None, bound=None, verdict="not run", seconds=0.0,
            seed=seed, level=self.level, category=self.category, reason=reason,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Panel:
    """Pictures for a contact sheet: the truth, and columns in the truths' order.

    Attributes:
        truths: (n, 3, h, w) in [0, 1].
        columns: Heading to pictures of the same shape.
        title: One line.
        labels: A name for each row.
        picked: Whether the pictures were chosen from candidates, not drawn.
    """

    truths: Tensor
    columns: Mapping[str, Tensor]
    title: str
    labels: tuple[str, ...]
    picked: bool = False


@dataclass(frozen=True, eq=False)
class Outcome:
    """What an attack brought, before it is said under which views.

    Attributes:
        findings: Rows, their `view` still empty.
        roc: Scores whose ROC is drawn, with what limits it, or None.
        panel: Pictures for a contact sheet, or None.
    """

    findings: tuple[Finding, ...]
    roc: tuple[AttackScores, Limit] | None = None
    panel: Panel | None = None


@dataclass(frozen=True)
class Setting:
    """What all rows of one attack share.

    Attributes:
        card: The attack.
        seed: Of the attack.
        confidence: Of every interval.
        seconds: Wall time.
        budget: In words.
        note: What the reader must know, in one sentence.
    """

    card: AttackCard
    seed: int
    confidence: float
    seconds: float
    budget: str = ""
    note: str = ""


def identification(
    how: Setting,
    ranks: np.ndarray,
    prior_ranks: np.ndarray,
    candidates: int,
    limit: Limit,
    control_ranks: np.ndarray,
    target: str = "all",
) -> Finding:
    """Share of targets that are ranked first among candidates.

    It leaks where the whole interval lies above chance, and the attack finds more than it does without its
    observation (exact McNemar). The baseline is the larger of chance and of that blind run. The control is
    won where its whole interval lies above chance.

    Args:
        how: The attack and its setting.
        ranks: int (n,), 1 is best.
        prior_ranks: int (n,), of the same attack on a foreign observation.
        candidates: Among how many.
        limit: Of what the attack saw.
        control_ranks: int (m,), where nothing was defended.
        target: An artist, or `all`.
    """
    name, sure = how.card.name, how.confidence
    found = identification_rate(name, ranks, candidates, sure)
    control = identification_rate(name, control_ranks, candidates, sure)
    prior = float(np.mean(np.asarray(prior_ranks) == 1))
    ahead = advantage(name, ranks, prior_ranks, sure)
    chance = 1 / candidates
    assert found.low is not None
    assert control.low is not None
    assert ahead.low is not None
    # A level leaks where it is above chance and above what the attack finds without looking.
    beyond = ahead.details["p_value"] <= 1 - sure
    low = found.low if beyond else min(found.low, prior)
    verdict = judge(low, max(chance, prior), control.low > chance)
    return Finding(
        view="", attack=name, target=target, unit=how.card.unit, metric="identification rate",
        value=found.value, low=found.low, high=found.high, confidence=sure, n=found.n,
        baseline=max(chance, prior), bound=limit.success(chance), verdict=verdict, seconds=how.seconds,
        seed=how.seed, level=how.card.level, category=how.card.category,
        reason=_reason(verdict, how.note, _why(found.n, chance, sure, "identified no more than chance")),
        method=f"ranked first among {candidates}; Clopper-Pearson", control=control.value, budget=how.budget,
        details={
            "candidates": candidates, "chance": chance, "prior only": prior,
            "advantage": ahead.value, "advantage low": ahead.low, "advantage high": ahead.high or 0.0,
            "median rank": float(np.median(ranks)),
        },
    )  # fmt: skip


def guessing(
    how: Setting,
    right: np.ndarray,
    baseline: float,
    limit: float | None,
    control_right: np.ndarray,
    what: str,
    target: str = "all",
) -> Finding:
    """Share of right guesses among few choices.

    Args:
        how: The attack and its setting.
        right: bool (n,).
        baseline: Share that one gets right without looking.
        limit: Highest share that the guarantee allows; None where there is none.
        control_right: bool (m,), where nothing was defended.
        what: The metric.
        target: An artist, or `all`.
    """
    hits, n = int(np.sum(right)), len(right)
    failed = _why(n, baseline, how.confidence, "did no better than its baseline")
    low, high = clopper_pearson(hits, n, how.confidence)
    control_low, _ = clopper_pearson(int(np.sum(control_right)), len(control_right), how.confidence)
    verdict = judge(low, baseline, control_low > baseline)
    return Finding(
        view="", attack=how.card.name, target=target, unit=how.card.unit, metric=what, value=hits / n,
        low=low, high=high, confidence=how.confidence, n=n, baseline=baseline, bound=limit, verdict=verdict,
        seconds=how.seconds, seed=how.seed, level=how.card.level, category=how.card.category,
        reason=_reason(verdict, how.note, failed),
        method="share of right guesses; Clopper-Pearson", control=float(np.mean(control_right)),
        budget=how.budget,
    )  # fmt: skip


def membership(
    how: Setting,
    scores: MembershipScores,
    is_member: np.ndarray,
    artists: np.ndarray,
    blind: float,
    limit: Limit,
    control: tuple[MembershipScores, np.ndarray],
    fpr: Sequence[float],
) -> Outcome:
    """AUC over all artists, the TPR at low FPRs, and each artist's own AUC, the largest first.

    Args:
        how: The attack and its setting.
        scores: (n,), comparable between artists.
        is_member: bool (n,), the truth.
        artists: Whose, (n,).
        blind: AUC of a guess that looks at no model, on the same pictures; at least 0.5 is counted.
        limit: Of what the attack saw.
        control: Scores and truth of the same attack where nothing is defended.
        fpr: The false-positive rates.
    """
    baseline = max(0.5, blind)
    members, others = _split(scores, is_member)
    control_low, _ = newcombe_interval(*_split(*control), how.confidence)
    won = control_low > 0.5
    control_auc = auc(*_split(*control))

    def row(inside: np.ndarray, outside: np.ndarray, sure: float, target: str) -> Finding:
        low, high = newcombe_interval(inside, outside, sure)
        verdict = judge(low, baseline, won)
        return Finding(
            view="", attack=how.card.name, target=target, unit=how.card.unit, metric="membership AUC",
            value=auc(inside, outside), low=low, high=high, confidence=sure, n=len(inside) + len(outside),
            baseline=baseline, bound=limit.auc(), verdict=verdict, seconds=how.seconds, seed=how.seed,
            level=how.card.level, category=how.card.category,
            reason=_reason(verdict, how.note, "did not win where nothing was defended either"),
            method="Mann-Whitney with half ties; Newcombe's score interval",
            control=control_auc, budget=how.budget,
            details={
                "members": len(inside), "non-members": len(outside), "blind AUC": blind, "hops": limit.hops,
            },
        )  # fmt: skip

    everyone = row(members, others, how.confidence, "all")
    rates = [_low_rate(how, everyone, members, others, limit, won, rate) for rate in fpr]
    each = _each(scores, is_member, artists, how, row)
    return Outcome((everyone, *rates, *each), (AttackScores(members, others), limit))


def _low_rate(
    how: Setting,
    like: Finding,
    members: np.ndarray,
    others: np.ndarray,
    limit: Limit,
    won: bool,
    fpr: float,
) -> Finding:
    """The TPR at a low FPR. Baseline and bound are taken at the largest FPR that the non-members allow."""
    metric = f"TPR at {fpr:.3g} FPR"
    if fpr * len(others) < 1:
        reason = f"needs {math.ceil(1 / fpr)} non-members, and there are {len(others)}"
        return replace(not_run(like, reason), metric=metric)
    point = tpr_at_fpr(members, others, fpr, how.confidence)
    allowed = max(point.fpr_high, fpr)
    verdict = judge(point.low, allowed, won)
    if not point.reliable:
        return replace(not_run(like, point.note), metric=metric)
    reason = _reason(verdict, how.note, "did not win where nothing was defended either")
    return replace(
        like, metric=metric, value=point.value, low=point.low, high=point.high, baseline=allowed,
        bound=limit.success(allowed), verdict=verdict, reason=reason, control=None,
        method="Clopper-Pearson on either rate",
        details={
            "FPR": point.fpr, "FPR low": point.fpr_low, "FPR high": point.fpr_high,
            "members": len(members), "non-members": len(others),
        },
    )  # fmt: skip


def _each(
    scores: MembershipScores, is_member: np.ndarray, artists: np.ndarray, how: Setting, row: Row
) -> list[Finding]:
    """Every artist's AUC, the largest first, with intervals that all hold together."""
    parts = {}
    for artist in dict.fromkeys(artists.tolist()):
        own = (artists == artist) & scores.scored
        inside, outside = scores.values[own & is_member], scores.values[own & ~is_member]
        if len(inside) >= 2 and len(outside) >= 2:
            parts[artist] = (inside, outside)
    if len(parts) < 2:
        return []
    # Who looks at all of them finds the largest; each interval allows for that (Bonferroni).
    sure = 1 - (1 - how.confidence) / len(parts)
    note = f"one of {len(parts)} artists; the interval allows for having looked at all of them"
    rows = [row(inside, outside, sure, artist) for artist, (inside, outside) in parts.items()]
    rows.sort(key=lambda found: found.value or 0.0, reverse=True)
    return [replace(found, reason=f"{found.reason}; {note}" if found.reason else note) for found in rows]


def _split(scores: MembershipScores, is_member: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return scores.values[scores.scored & is_member], scores.values[scores.scored & ~is_member]


def _why(n: int, baseline: float, confidence: float, failed: str) -> str:
    """Why an attack with a share of right answers is inconclusive."""
    if clopper_pearson(n, n, confidence)[0] <= baseline:
        return f"had {n} trials, of which not even all could have shown a leak"
    return f"{failed} where nothing was defended"


def _reason(verdict: str, note: str, failed: str) -> str:
    if verdict != "inconclusive":
        return note
    return f"the attack {failed}" + (f"; {note}" if note else "")
