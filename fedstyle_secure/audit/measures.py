"""From what attacks scored to findings: figure, interval, baseline, bound, control, verdict."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from torch import Tensor

from attacks.diffusion.copies import Extraction
from attacks.identification import advantage, identification_rate
from attacks.intervals import clopper_pearson
from attacks.membership.scores import MembershipScores
from attacks.plots import AttackScores
from attacks.references import REFERENCES, Cited
from attacks.roc import auc, newcombe_interval, tpr_at_fpr
from fedstyle_secure.audit.blind import Blind
from fedstyle_secure.audit.findings import (
    IDENTIFICATION,
    MEMBERSHIP,
    RATE,
    Category,
    Finding,
    Level,
    Metric,
    judge,
    not_run,
)
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
        cites: The papers that it follows, and what of them; empty: it was made for this audit.
    """

    key: str
    name: str
    explains: str
    category: Category
    level: Level
    unit: Literal["artwork", "artist"]
    metric: Metric
    cites: tuple[Cited, ...] = ()

    @property
    def source(self) -> str:
        """The papers in short; "" where there are none."""
        papers = [REFERENCES[cited.key] for cited in self.cites]
        return "; ".join(dict.fromkeys(f"{paper.authors} {paper.year}" for paper in papers))

    def scores(self, values: Sequence[np.ndarray]) -> MembershipScores:
        """Scores of several artists' pictures, each (n,), as those of one attack."""
        return MembershipScores.of(self.name, np.concatenate(values))

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
class Scored:
    """What a membership attack said of each record, for drawings and for the works that stand out.

    Attributes:
        scores: Of all that were asked about (n,), larger is likelier a member.
        is_member: bool (n,), the truth.
        artists: Whose, (n,); each artist's own training works come first, in the portfolio's order.
        undefended: What the same attack says where nothing is defended.
    """

    scores: MembershipScores
    is_member: np.ndarray
    artists: np.ndarray
    undefended: AttackScores


@dataclass(frozen=True, eq=False)
class Outcome:
    """What an attack brought, before it is said under which views.

    Attributes:
        findings: Rows, their `view` still empty.
        roc: Scores whose ROC is drawn, with what limits it, or None.
        panel: Pictures for a contact sheet, or None.
        scored: Each record's score, beside that curve; or None.
    """

    findings: tuple[Finding, ...]
    roc: tuple[AttackScores, Limit | None] | None = None
    panel: Panel | None = None
    scored: Scored | None = None


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
    observation (exact McNemar at the same confidence); where the first holds and the second is not known, it
    is inconclusive. The baseline is the larger of chance and of that blind run. The control is won where its
    whole interval lies above chance.

    Args:
        how: The attack and its setting.
        ranks: int (n,), 1 is best.
        prior_ranks: int (n,), of the same attack on a foreign observation.
        candidates: Among how many.
        limit: Of what the attack saw.
        control_ranks: int (m,), where nothing was defended.
        target: An artist, or `all`.
    """
    name, sure, n = how.card.name, how.confidence, len(ranks)
    found = identification_rate(name, ranks, candidates, sure)
    control = identification_rate(name, control_ranks, candidates, sure)
    blind = np.asarray(prior_ranks) == 1
    prior = float(np.mean(blind))
    ahead = advantage(name, ranks, prior_ranks, sure)
    chance = 1 / candidates
    assert found.low is not None
    assert control.low is not None
    assert ahead.low is not None
    leaks = found.low > chance and ahead.details["p_value"] <= 1 - sure
    best = advantage(name, np.ones(n, int), prior_ranks, sure).details["p_value"] <= 1 - sure
    able = clopper_pearson(n, n, sure)[0] > chance and best
    won, doubtful = control.low > chance, not leaks and found.low > max(chance, prior)
    verdict = judge(leaks, won, able and not doubtful)
    # A prior that is often right needs no release; the guarantee bounds what comes on top.
    _, known = clopper_pearson(int(blind.sum()), n, sure)
    failed = _failed(won, able, n, "identified no more than chance where nothing was defended", doubtful)
    return Finding(
        view="", attack=name, target=target, unit=how.card.unit, metric=IDENTIFICATION,
        value=found.value, low=found.low, high=found.high, confidence=sure, n=found.n,
        baseline=max(chance, prior), bound=limit.success(max(chance, known) if prior > chance else chance),
        verdict=verdict, seconds=how.seconds, seed=how.seed, level=how.card.level,
        category=how.card.category, reason=_reason(verdict, how.note, failed),
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
    target: str = "all",
) -> Finding:
    """Share of right guesses among few choices.

    Args:
        how: The attack and its setting.
        right: bool (n,).
        baseline: Share that one gets right without looking.
        limit: Highest share that the guarantee allows; None where there is none.
        control_right: bool (m,), where nothing was defended.
        target: An artist, or `all`.
    """
    hits, n = int(np.sum(right)), len(right)
    low, high = clopper_pearson(hits, n, how.confidence)
    control_low, _ = clopper_pearson(int(np.sum(control_right)), len(control_right), how.confidence)
    won, able = control_low > baseline, clopper_pearson(n, n, how.confidence)[0] > baseline
    failed = _failed(won, able, n, "did no better than its baseline where nothing was defended")
    verdict = judge(low > baseline, won, able)
    return Finding(
        view="", attack=how.card.name, target=target, unit=how.card.unit, metric=how.card.metric,
        value=hits / n, low=low, high=high, confidence=how.confidence, n=n, baseline=baseline,
        bound=limit, verdict=verdict, seconds=how.seconds, seed=how.seed, level=how.card.level,
        category=how.card.category, reason=_reason(verdict, how.note, failed),
        method="share of right guesses; Clopper-Pearson", control=float(np.mean(control_right)),
        budget=how.budget,
    )  # fmt: skip


def copies(how: Setting, found: Extraction) -> Finding:
    """Share of what a model draws that is a near copy of a work it was trained on.

    It leaks where the whole interval lies above what held-out works in place of the training works give, and
    there are more than with those on the same pictures (exact McNemar at the same confidence); where the
    first holds and the second is not known, it is inconclusive. The control is planted copies. No limit
    follows: it counts copies of any work, and the guarantee is one work's.

    Args:
        how: The attack and its setting.
        found: Its intervals at the setting's confidence.
    """
    rate, n = found.rate, found.rate.n
    assert rate.low is not None
    baseline = max(found.false_alarm, rate.baseline or 0.0)
    able = clopper_pearson(n, n, how.confidence)[0] > baseline
    leaks = rate.low > baseline and found.advantage.details["p_value"] <= 1 - how.confidence
    doubtful = not leaks and rate.low > baseline
    verdict = judge(leaks, found.won, able and not doubtful)
    failed = _failed(found.won, able, n, "found no copies where some were planted", doubtful)
    note = _joined(how.note, "no limit: copies of any work count, and the guarantee is one work's")
    return Finding(
        view="", attack=how.card.name, target="all", unit=how.card.unit, metric=how.card.metric,
        value=rate.value, low=rate.low, high=rate.high, confidence=how.confidence, n=n, baseline=baseline,
        bound=None, verdict=verdict, seconds=how.seconds, seed=how.seed, level=how.card.level,
        category=how.card.category, reason=_reason(verdict, note, failed), method=rate.method,
        control=found.control.value, budget=how.budget,
        details={
            "works": rate.details["works"], "works copied": float(len(found.copied)),
            "false alarms": found.false_alarm, "with held-out works": rate.baseline or 0.0,
        },
    )  # fmt: skip


def membership(
    how: Setting,
    scores: MembershipScores,
    is_member: np.ndarray,
    artists: np.ndarray,
    blind: Blind,
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
        blind: A guess that looks at no model, on the same pictures.
        limit: Of what the attack saw; stated only where members and non-members do not differ without it.
        control: Scores and truth of the same attack where nothing is defended.
        fpr: The false-positive rates.
    """
    members, others = _split(scores, is_member)
    control_low, _ = newcombe_interval(*_split(*control), how.confidence)
    won = control_low > 0.5
    control_auc = auc(*_split(*control))
    bound = None if blind.apart else limit.auc()

    def row(inside: np.ndarray, outside: np.ndarray, sure: float, target: str) -> Finding:
        low, high = newcombe_interval(inside, outside, sure)
        baseline = blind.baseline(target)
        best, _ = newcombe_interval(np.ones(len(inside)), np.zeros(len(outside)), sure)
        verdict = judge(low > baseline, won, best > baseline)
        n = len(inside) + len(outside)
        failed = _failed(won, best > baseline, n, "did not win where nothing was defended either")
        return Finding(
            view="", attack=how.card.name, target=target, unit=how.card.unit, metric=MEMBERSHIP,
            value=auc(inside, outside), low=low, high=high, confidence=sure, n=n, baseline=baseline,
            bound=bound, verdict=verdict, seconds=how.seconds, seed=how.seed, level=how.card.level,
            category=how.card.category, reason=_joined(_reason(verdict, how.note, failed), _unbounded(blind)),
            method="Mann-Whitney with half ties; Newcombe's score interval",
            control=control_auc, budget=how.budget,
            details={
                "members": len(inside), "non-members": len(outside), "blind AUC": blind.auc,
                "blind p": blind.p_value, "hops": limit.hops,
            },
        )  # fmt: skip

    everyone = row(members, others, how.confidence, "all")
    rates = [_low_rate(how, everyone, members, others, limit, won, blind, rate) for rate in fpr]
    each = _each(scores, is_member, artists, how, row)
    drawn = (AttackScores(members, others), None if blind.apart else limit)
    scored = Scored(scores, is_member, artists, AttackScores(*_split(*control)))
    return Outcome((everyone, *rates, *each), drawn, scored=scored)


def _low_rate(
    how: Setting,
    like: Finding,
    members: np.ndarray,
    others: np.ndarray,
    limit: Limit,
    won: bool,
    blind: Blind,
    fpr: float,
) -> Finding:
    """The TPR at a low FPR. Baseline and bound are taken at the largest FPR that the non-members allow."""
    like = replace(like, metric=RATE, fpr=fpr)
    if fpr * len(others) < 1:
        reason = f"needs {math.ceil(1 / fpr)} non-members, and there are {len(others)}"
        return not_run(like, reason)
    point = tpr_at_fpr(members, others, fpr, how.confidence)
    if not point.reliable:
        return not_run(like, point.note)
    if blind.apart:
        return not_run(like, f"a blind guess has no TPR at a low FPR here; {_unbounded(blind)}")
    allowed = max(point.fpr_high, fpr)
    able = clopper_pearson(len(members), len(members), how.confidence)[0] > allowed
    verdict = judge(point.low > allowed, won, able)
    failed = _failed(won, able, len(members), "did not win where nothing was defended either")
    reason = _reason(verdict, how.note, failed)
    return replace(
        like, value=point.value, low=point.low, high=point.high, baseline=allowed,
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
    return [replace(found, reason=_joined(found.reason, note)) for found in rows]


def _split(scores: MembershipScores, is_member: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return scores.values[scores.scored & is_member], scores.values[scores.scored & ~is_member]


def _failed(won: bool, able: bool, n: int, lost: str, doubtful: bool = False) -> str:
    """Why an attack is inconclusive, where it is.

    Args:
        won: Whether it wins where nothing is defended.
        able: Whether so many trials could have shown a leak.
        n: How many they are.
        lost: What it did where it did not win.
        doubtful: Whether its whole interval lies above its baseline, and the pairs of trials with and without
            its observation are too few to say the same.
    """
    if doubtful:
        return (
            f"lies above its baseline with its whole interval, and {n} trials are too few to tell it from "
            "one that looks at nothing: with more this may be a leak"
        )
    if not able:
        return f"had {n} trials, of which not even all could have shown a leak"
    return "" if won else lost


def _unbounded(blind: Blind) -> str:
    """Why a membership attack has no limit beside it."""
    if not blind.apart:
        return ""
    return "members and the others differ without any model too, so no limit on telling them apart follows"


def _joined(*reasons: str) -> str:
    return "; ".join(reason for reason in reasons if reason)


def _reason(verdict: str, note: str, failed: str) -> str:
    if verdict != "inconclusive":
        return note
    return f"the attack {failed}" + (f"; {note}" if note else "")
