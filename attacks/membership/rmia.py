"""The relative attack (Zarifzadeh, Liu and Shokri 2024): is this candidate likelier than pictures elsewhere?

Strong with few reference models. The share of pictures beaten is heavily tied, most of all at the top, where
low false-alarm rates are read; candidates of one share are told apart by the ratio that the share is of.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from attacks.errors import AttackError
from attacks.membership.scores import MembershipScores, References, checked_signals
from attacks.ranges import real
from attacks.roc import auc

_SURE = 1 - 1e-4
"""Probabilities from here on are too coarse in float32 to tell pictures apart."""


def rmia(
    victim: np.ndarray,
    references: References,
    victim_elsewhere: np.ndarray,
    references_elsewhere: References,
    mode: Literal["online", "offline"],
    gamma: float = 1.0,
    offline_a: float = 0.33,
) -> MembershipScores:
    """Score candidates by the share of pictures z from elsewhere with LR(x, z) >= gamma, ties told apart.

    Candidates with the same share are ordered by their own ratio p(x | victim) / p(x), which decides each of
    those comparisons: a larger ratio never beats fewer. A score is the number of pictures beaten plus the
    rank of the ratio among that share's candidates, in [0, 1), over the number of pictures plus one; so the
    order is finer than the share's, and a threshold between two shares draws the same line.

    LR(x, z) = [p(x | victim) / p(x)] / [p(z | victim) / p(z)]. Online, p(x) is the mean of the reference
    models' means with and without x. Offline, p(x) = ((1 + a) p_out(x) + 1 - a) / 2.

    Args:
        victim: Probabilities (n,) of the true label, in (0, 1].
        references: The same under the adversary's models.
        victim_elsewhere: Probabilities (m,) of pictures that the victim surely did not train on; none of them
            a candidate.
        references_elsewhere: The same under the same models, in the same order.
        mode: `online` needs models on both sides of a candidate; pictures from elsewhere that no reference
            model trained on take the offline form.
        gamma: >= 1.
        offline_a: In [0, 1]; tune it with `tune_offline_a`, never on the victim.

    Returns:
        Scores in [0, 1); candidates without a model on a side that is needed are dropped and counted.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> inside = rng.random((60, 16)) < 0.5
        >>> own = References(np.where(inside, 0.9, 0.4) + rng.uniform(0, 0.1, (60, 16)), inside)
        >>> others = References(rng.uniform(0.4, 0.5, (30, 16)), np.zeros((30, 16), bool))
        >>> victim = np.r_[np.full(30, 0.95), np.full(30, 0.45)]  # It trained on the first half.
        >>> scores = rmia(victim, own, rng.uniform(0.4, 0.5, 30), others, "online").values
        >>> bool(scores[:30].mean() > scores[30:].mean())
        True
    """
    victim = checked_signals(victim, len(references.signals))
    victim_elsewhere = checked_signals(victim_elsewhere, len(references_elsewhere.signals))
    if references.signals.shape[1] != references_elsewhere.signals.shape[1]:
        raise AttackError(
            f"candidates have {references.signals.shape[1]} reference models, pictures from elsewhere "
            f"{references_elsewhere.signals.shape[1]}: they must be the same models"
        )
    for name, signals in (
        ("the victim's", victim),
        ("reference", references.signals),
        ("the victim's elsewhere", victim_elsewhere),
        ("reference elsewhere", references_elsewhere.signals),
    ):
        if signals.min() <= 0 or signals.max() > 1:
            raise AttackError(f"RMIA: {name} signals must be probabilities in (0, 1]")
    if (same := _same_picture(victim, references, victim_elsewhere, references_elsewhere)) is not None:
        raise AttackError(
            f"RMIA: picture {same[1]} from elsewhere has every signal of candidate {same[0]}: pictures from "
            "elsewhere must not be candidates"
        )
    if mode not in ("online", "offline"):
        raise AttackError(f"mode must be 'online' or 'offline', not {mode!r}")
    real("gamma", gamma, "[1, inf)")
    real("offline_a", offline_a, "[0, 1]")
    scored = references.count(False) > 0
    if mode == "online":
        scored &= references.count(True) > 0
    judging = references_elsewhere.count(False) > 0
    if not scored.any() or not judging.any():
        raise AttackError(f"RMIA {mode}: no candidate, or no picture from elsewhere, has the models it needs")
    ratio_z = victim_elsewhere / _marginal(references_elsewhere, mode, offline_a)
    ratio_x = victim[scored] / _marginal(references, mode, offline_a)[scored]
    ordered = np.sort(ratio_z[judging])
    values = np.full(len(victim), np.nan)
    beaten = np.searchsorted(ordered, ratio_x / gamma, side="right")
    values[scored] = (beaten + _rank_within(beaten, ratio_x)) / (len(ordered) + 1)
    notes = [f"compared with {len(ordered)} pictures from elsewhere; equal shares are ordered by the ratio"]
    if dropped := int((~scored).sum()):
        notes.append(f"{dropped} of {len(victim)} candidates had no reference model on a side that is needed")
    return MembershipScores(f"RMIA {mode}", values, scored, tuple(notes), references.count(True))


def tune_offline_a(
    references: References,
    references_elsewhere: References,
    grid: tuple[float, ...] = (0.0, 0.1, 0.2, 0.33, 0.5, 0.67, 0.8, 0.9, 1.0),
    gamma: float = 1.0,
) -> float:
    """The `a` that attacks the adversary's own models best, each in turn against the rest.

    Only reference models are looked at. If one of them was made to train on exactly what the victim did not,
    leave it out before: its membership is the answer.

    Args:
        references: At least 3 models.
        references_elsewhere: The same models on pictures that none of them trained on.
        grid: Values to try, in [0, 1].
        gamma: As for `rmia`.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> inside = rng.random((40, 8)) < 0.5
        >>> own = References(np.where(inside, 0.9, 0.4) + rng.uniform(0, 0.1, (40, 8)), inside)
        >>> others = References(rng.uniform(0.4, 0.5, (30, 8)), np.zeros((30, 8), bool))
        >>> 0 <= tune_offline_a(own, others) <= 1
        True
    """
    models = references.signals.shape[1]
    if models < 3:
        raise AttackError(f"tuning needs at least 3 reference models, not {models}")
    if not grid:
        raise AttackError("grid must hold at least one value to try")
    for value in grid:
        real("a value of grid", value, "[0, 1]")
    areas = np.full((len(grid), models), np.nan)
    for k in range(models):
        inside = references.trained_on[:, k]
        rest, rest_z = references.without(k), references_elsewhere.without(k)
        for row, a in enumerate(grid):
            found = rmia(
                references.signals[:, k],
                rest,
                references_elsewhere.signals[:, k],
                rest_z,
                "offline",
                gamma,
                a,
            )
            members, others = found.scored & inside, found.scored & ~inside
            if members.any() and others.any():
                areas[row, k] = auc(found.values[members], found.values[others])
    usable = np.isfinite(areas).all(0)
    if not usable.any():
        raise AttackError("tuning: no reference model has both members and non-members to attack")
    return grid[int(areas[:, usable].mean(1).argmax())]


def _rank_within(levels: np.ndarray, ratios: np.ndarray) -> np.ndarray:
    """Rank of each ratio among those of its level, in [0, 1); equal ratios have equal ranks."""
    distinct, number = np.unique(ratios, return_inverse=True)
    # Levels rise with ratios, so that below a level's least ratio lie as many as below the level.
    first = np.sort(number)[np.searchsorted(np.sort(levels), levels)]
    share: np.ndarray = (number - first) / (len(distinct) + 1)
    return share


def _same_picture(
    victim: np.ndarray, references: References, victim_elsewhere: np.ndarray, elsewhere: References
) -> tuple[int, int] | None:
    """A candidate and a picture from elsewhere that are one, if any.

    Only where no signal is near 1: there, pictures that differ round to the same number.
    """
    rows = np.column_stack([victim, references.signals])
    rows_z = np.column_stack([victim_elsewhere, elsewhere.signals])
    known = {rows[k].tobytes(): int(k) for k in np.flatnonzero((rows < _SURE).all(1))}
    for k, row in enumerate(rows_z):
        if (candidate := known.get(row.tobytes())) is not None:
            return candidate, k
    return None


def _marginal(references: References, mode: str, a: float) -> np.ndarray:
    """p(x) (n,); NaN without a model that did not train on x."""
    outside = references.mean(False)
    offline = ((1 + a) * outside + (1 - a)) / 2
    if mode == "offline":
        return offline
    inside = references.mean(True)
    return np.where(np.isnan(inside), offline, (inside + outside) / 2)
