"""LiRA (Carlini et al. 2022): how would this signal look with, and without, training on the candidate?"""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.special import log_ndtr

from attacks.errors import AttackError
from attacks.membership.scores import MembershipScores, References, checked_signals
from attacks.ranges import whole

OWN_VARIANCE_FROM = 32
"""Reference models on a side of every candidate from which each has its own variance; else all share one."""

_SMALLEST = 1e-12
"""Floor of a variance, for signals that do not move at all."""


def lira(
    victim: np.ndarray,
    references: References,
    mode: Literal["online", "offline"],
    own_variance_from: int = OWN_VARIANCE_FROM,
) -> MembershipScores:
    """Score candidates by LiRA.

    Online: log N(s; mu_in, var_in) - log N(s; mu_out, var_out). Offline: -log of the chance that a model
    without the candidate has a larger signal, which ranks as Phi((s - mu_out) / sd_out) does and does not
    round to 1.

    A variance that candidates share is that of the residuals from each candidate's own mean, with one
    degree of freedom taken for every mean; pooling the raw signals would count how candidates differ.
    Whether a side shares one is decided once for all candidates: decided for each, it would be a function of
    how many models trained on it, and where that has to do with membership, so would the score.

    Args:
        victim: Signals (n,) of the victim, near normal over models, such as `threshold.logit_score`.
        references: Signals of the same candidates under the adversary's models.
        mode: `online` needs models that trained on each candidate and models that did not, `offline` only
            the latter.
        own_variance_from: Models on a side, >= 2, that every candidate must have for variances of its own.

    Returns:
        Scores; candidates without a model on a side that is needed are dropped, and counted in the notes.

    Raises:
        AttackError: Shapes differ, no candidate can be judged, or no variance can be had.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> inside = rng.random((40, 16)) < 0.5
        >>> references = References(rng.normal(3.0 * inside), inside)
        >>> victim = rng.normal(3.0 * (np.arange(40) < 20))  # It trained on the first half.
        >>> scores = lira(victim, references, "online").values
        >>> bool(scores[:20].mean() > 0 > scores[20:].mean())
        True
    """
    victim = checked_signals(victim, len(references.signals))
    if mode not in ("online", "offline"):
        raise AttackError(f"mode must be 'online' or 'offline', not {mode!r}")
    whole("own_variance_from", own_variance_from, 2)
    scored = references.count(False) > 0
    if mode == "online":
        scored &= references.count(True) > 0
    if not scored.any():
        raise AttackError(
            f"LiRA {mode}: no candidate has a reference model that did not train on it"
            + (" and one that did; use offline" if mode == "online" else "")
        )
    mean_out, variance_out, shared = _fitted(references, scored, False, own_variance_from)
    sharing = ["out"] if shared else []
    values = np.full(len(victim), np.nan)
    if mode == "offline":
        values[scored] = -log_ndtr(-(victim - mean_out)[scored] / np.sqrt(variance_out[scored]))
    else:
        mean_in, variance_in, shared = _fitted(references, scored, True, own_variance_from)
        sharing += ["in"] if shared else []
        ratio = _log_density(victim, mean_in, variance_in) - _log_density(victim, mean_out, variance_out)
        values[scored] = ratio[scored]
    notes = []
    if dropped := int((~scored).sum()):
        notes.append(f"{dropped} of {len(victim)} candidates had no reference model on a side that is needed")
    if sharing:
        notes.append(
            f"all candidates share a variance {' and '.join(sharing)}: "
            f"some had under {own_variance_from} models there"
        )
    return MembershipScores(f"LiRA {mode}", values, scored, tuple(notes), references.count(True))


def _fitted(
    references: References, scored: np.ndarray, inside: bool, own_from: int
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Mean and variance, (n,) each, and whether all share that variance."""
    chosen, number, mean = references.trained_on == inside, references.count(inside), references.mean(inside)
    residuals = np.where(chosen, references.signals - np.nan_to_num(mean)[:, None], 0.0)
    squares = (residuals**2).sum(1)
    if number[scored].min() >= own_from:
        return mean, np.maximum(squares / np.maximum(number - 1, 1), _SMALLEST), False
    freedom = int(np.maximum(number - 1, 0).sum())
    if freedom == 0:
        raise AttackError(
            f"LiRA: no candidate has two reference models {'in' if inside else 'out'}: there is no variance"
        )
    return mean, np.full(len(mean), max(float(squares.sum()) / freedom, _SMALLEST)), True


def _log_density(values: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Without the constant, which cancels."""
    logs: np.ndarray = -((values - mean) ** 2) / (2 * variance) - np.log(variance) / 2
    return logs
