"""LiRA (Carlini et al. 2022): how would this signal look with, and without, training on the candidate?"""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.optimize import brentq
from scipy.special import digamma, log_ndtr, polygamma

from attacks.errors import AttackError
from attacks.membership.scores import MembershipScores, References, checked_signals
from attacks.ranges import real

_SMALLEST = 1e-12
"""Floor of a variance, for signals that do not move at all."""

_FREEDOMS = (1.0, 1e6)
"""Prior degrees of freedom that an estimate is kept to; the largest is one variance for all."""


def lira(
    victim: np.ndarray,
    references: References,
    mode: Literal["online", "offline"],
    prior_freedom: float | None = None,
) -> MembershipScores:
    """Score candidates by LiRA.

    Online: log p(s; mu_in, var_in) - log p(s; mu_out, var_out). Offline: -log of the chance that a model
    without the candidate has a larger signal, which ranks as Phi((s - mu_out) / sd_out) does and does not
    round to 1.

    With few models neither an own variance nor one for all is right, so each is the pooled one times a
    candidate's own factor, which is shrunk towards a typical one as by an inverse-gamma prior (Smyth 2004,
    eq. 2-4). The factor is the same in and out, with each side's own pooled variance of residuals. Online,
    densities are Student's t with the degrees of freedom that stand behind a factor, which is what a normal
    signal of unknown variance has; the lifts mu_in - mu_out are shrunk towards their mean as far as they
    differ by no more than few models explain, and each side's mean gives way as its own variance says.

    Args:
        victim: Signals (n,) of the victim, near normal over models, such as `threshold.logit_score`.
        references: Signals of the same candidates under the adversary's models.
        mode: `online` needs models that trained on each candidate and models that did not, `offline` only
            the latter.
        prior_freedom: What the typical variance counts, in models, in (0, inf); None estimates it from how
            the candidates' variances differ.

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
    if prior_freedom is not None:
        real("prior_freedom", prior_freedom, "(0, inf)")
    scored = references.count(False) > 0
    if mode == "online":
        scored &= references.count(True) > 0
    if not scored.any():
        raise AttackError(
            f"LiRA {mode}: no candidate has a reference model that did not train on it"
            + (" and one that did; use offline" if mode == "online" else "")
        )
    sides = (False, True) if mode == "online" else (False,)
    pooled = {inside: _pooled(references, scored, inside) for inside in sides}
    squares, freedom = np.zeros(int(scored.sum())), np.zeros(int(scored.sum()))
    for inside in sides:
        squares += _squares(references, inside)[scored] / pooled[inside]
        freedom += np.maximum(references.count(inside)[scored] - 1, 0)
    prior = _prior_freedom(squares, freedom) if prior_freedom is None else prior_freedom
    factor = (squares + prior * _typical(squares, freedom, prior)) / (freedom + prior)
    mean = {inside: references.mean(inside)[scored] for inside in sides}
    variance = {inside: np.maximum(pooled[inside] * factor, _SMALLEST) for inside in sides}
    if mode == "online":
        mean = _shrunk(mean, {k: variance[k] / references.count(k)[scored] for k in sides})
    values, signal = np.full(len(victim), np.nan), victim[scored]
    if mode == "offline":
        values[scored] = -log_ndtr(-(signal - mean[False]) / np.sqrt(variance[False]))
    else:
        within, outside = (_log_density(signal, mean[k], variance[k], freedom + prior) for k in (True, False))
        values[scored] = within - outside
    notes = []
    if dropped := int((~scored).sum()):
        notes.append(f"{dropped} of {len(victim)} candidates had no reference model on a side that is needed")
    notes.append(f"the typical variance counts as {prior:.3g} models beside each candidate's own")
    return MembershipScores(f"LiRA {mode}", values, scored, tuple(notes), references.count(True))


def _squares(references: References, inside: bool) -> np.ndarray:
    """Sum of squared residuals from each candidate's own mean, (n,): raw signals would count hardness."""
    mean = np.nan_to_num(references.mean(inside))[:, None]
    squares: np.ndarray = (
        np.where(references.trained_on == inside, references.signals - mean, 0.0) ** 2
    ).sum(1)
    return squares


def _pooled(references: References, scored: np.ndarray, inside: bool) -> float:
    """One variance for all candidates, with a degree of freedom taken for every mean."""
    freedom = int(np.maximum(references.count(inside)[scored] - 1, 0).sum())
    if freedom == 0:
        raise AttackError(
            f"LiRA: no candidate has two reference models {'in' if inside else 'out'}: there is no variance"
        )
    return max(float(_squares(references, inside)[scored].sum()) / freedom, _SMALLEST)


def _prior_freedom(squares: np.ndarray, freedom: np.ndarray) -> float:
    """By the moments of the log variances: what they spread beyond chi-square is the prior's (Smyth 2004)."""
    logs, half = _log_variances(squares, freedom)
    if len(logs) < 2:
        return _FREEDOMS[1]
    excess = float(logs.var(ddof=1) - polygamma(1, half).mean())
    low, high = _FREEDOMS
    if excess <= polygamma(1, high / 2):
        return high
    if excess >= polygamma(1, low / 2):
        return low
    return float(brentq(lambda prior: polygamma(1, prior / 2) - excess, low, high))


def _typical(squares: np.ndarray, freedom: np.ndarray, prior: float) -> float:
    """The factor that the others are shrunk to: below their mean, which a few large ones make."""
    logs, _ = _log_variances(squares, freedom)
    return float(np.exp(logs.mean() + digamma(prior / 2) - np.log(prior / 2))) if len(logs) else 1.0


def _log_variances(squares: np.ndarray, freedom: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unbiased logarithms of the candidates' variances, with half their degrees of freedom."""
    usable = (freedom > 0) & (squares > 0)
    half = freedom[usable] / 2
    return np.log(squares[usable] / freedom[usable]) - digamma(half) + np.log(half), half


def _shrunk(mean: dict[bool, np.ndarray], error: dict[bool, np.ndarray]) -> dict[bool, np.ndarray]:
    """Means whose lifts are drawn towards their mean.

    Args:
        mean: (n,) on either side.
        error: Its squared standard error (n,).
    """
    lift, noise = mean[True] - mean[False], error[True] + error[False]
    centre = np.average(lift, weights=1 / noise)
    spread = max(float(((lift - centre) ** 2 - noise).mean()), 0.0)
    moved = (centre - lift) * noise / (noise + spread)
    share = error[True] / noise
    return {True: mean[True] + share * moved, False: mean[False] - (1 - share) * moved}


def _log_density(
    values: np.ndarray, mean: np.ndarray, variance: np.ndarray, freedom: np.ndarray
) -> np.ndarray:
    """Student's t without the constant, which cancels; of very many degrees of freedom, the normal."""
    far = np.log1p((values - mean) ** 2 / (variance * freedom))
    logs: np.ndarray = -(freedom + 1) / 2 * far - np.log(variance) / 2
    return logs
