"""Does a model draw like an artist who did not consent, more than it did before?

Style is a matter of sets, and a model is no judge of its own: pictures drawn before and after training are
judged by a classifier of features that neither model made, fitted on half of each artist's real works. The
other half says what the artist's own works would score, and every other artist is judged likewise: a model
that merely learned to draw is drawn nearer to all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from scipy.special import log_expit

from attacks.errors import AttackError
from attacks.ranges import real, whole
from attacks.results import Result
from attacks.roc import auc, auc_interval, bootstrap_interval

Judge = Callable[[np.ndarray], np.ndarray]
"""Maps features (n, d) to scores (n,), larger for what looks like the artist's."""

Judging = Literal["discriminant", "neighbours"]

_NEIGHBOURS = 5

_ROUNDING = 1e-9
"""Relative, of a sum of squares: what differs by less is a tie, whatever the order of works."""


def discriminant_judge(own: np.ndarray, others: np.ndarray, shrinkage: float = 0.3) -> Judge:
    """Log-probability that features are the artist's and not the others', both as likely beforehand.

    Linear discriminant analysis: one covariance for both, a share of it replaced by a multiple of the
    identity (Friedman 1989). Sure of itself far from all works; `neighbours_judge` is not.

    Args:
        own: Features (n, d) of the artist's works, n >= 2.
        others: Features (m, d) of others' works, m >= 2.
        shrinkage: In (0, 1].

    Example:
        >>> rng = np.random.default_rng(0)
        >>> judge = discriminant_judge(rng.normal(3, 1, (40, 2)), rng.normal(0, 1, (40, 2)))
        >>> scores = judge(np.array([[3.0, 3.0], [0.0, 0.0]]))
        >>> bool(scores[0] > np.log(0.9) and scores[1] < np.log(0.1))
        True
    """
    own, others = _features("own", own), _features("others", others)
    _same_width(own, others)
    real("shrinkage", shrinkage, "(0, 1]")
    stacked = np.concatenate([own, others])
    middle, scale = stacked.mean(0), stacked.std(0)
    scale = np.where(scale > 0, scale, 1.0)
    a, b = (own - middle) / scale, (others - middle) / scale
    inner = np.concatenate([a - a.mean(0), b - b.mean(0)])
    covariance = inner.T @ inner / len(inner)
    ridge = max(float(np.trace(covariance)) / len(covariance), 1e-12)
    covariance = (1 - shrinkage) * covariance + shrinkage * ridge * np.eye(len(covariance))
    weights = np.linalg.solve(covariance, a.mean(0) - b.mean(0))
    offset = -0.5 * float(weights @ (a.mean(0) + b.mean(0)))

    def judge(features: np.ndarray) -> np.ndarray:
        _same_width(features, own)
        return np.asarray(log_expit((features - middle) / scale @ weights + offset))

    return judge


def neighbours_judge(own: np.ndarray, others: np.ndarray, neighbours: int = _NEIGHBOURS) -> Judge:
    """Share of the nearest works that are the artist's, each side counted as if it had as many works.

    Each feature in units of its deviation. Among the k nearest, those of the artist weigh 1 / n each, the
    others' 1 / m. All that tie with the k-th nearest count.

    Args:
        own: Features (n, d) of the artist's works, n >= 2.
        others: Features (m, d) of others' works, m >= 2.
        neighbours: k, 1 to n + m.

    Example:
        >>> judge = neighbours_judge(np.array([[0.0], [1.0]]), np.array([[9.0], [10.0]]), neighbours=2)
        >>> judge(np.array([[0.4], [9.4]])).tolist()
        [1.0, 0.0]
    """
    own, others = _features("own", own), _features("others", others)
    _same_width(own, others)
    whole("neighbours", neighbours, 1, len(own) + len(others))
    stacked = np.concatenate([own, others])
    scale = np.where(stacked.std(0) > 0, stacked.std(0), 1.0)
    weights = np.r_[np.full(len(own), 1 / len(own)), np.full(len(others), 1 / len(others))]

    def judge(features: np.ndarray) -> np.ndarray:
        _same_width(features, own)
        found = np.empty(len(features))
        for row, one in enumerate(features):
            apart = (((stacked - one) / scale) ** 2).sum(1)
            furthest = np.partition(apart, neighbours - 1)[neighbours - 1]
            near = weights * (apart <= furthest * (1 + _ROUNDING))
            found[row] = near[: len(own)].sum() / near.sum()
        return found

    return judge


@dataclass(frozen=True)
class Mimicry:
    """How much more a model draws like one artist than before.

    Attributes:
        gain: Mean score of the pictures drawn after minus that of those drawn before, with a bootstrap
            interval over pictures, the judge given. The baseline is the mean gain towards the other artists,
            each by a judge of its own. Details: `p_value`, one-sided, of relabelling before and after, too
            large rather than too small where both were drawn from the same noises;
            `rank_p_value`, the share of artists, this one among them, with as large a gain; `ceiling`, the
            gain if the artist's own other works had been drawn after; `before`, the score then.
        after: Mean score of what is drawn after, its baseline that of other artists' real works.
        control: AUC of the judge between the artist's and others' works that it was not fitted on.
        won: Whether the control's interval lies above 0.5. If not, the judge does not know this artist.
        others: The gain towards each other artist.
    """

    gain: Result
    after: Result
    control: Result
    won: bool
    others: Mapping[str, float]


def mimicry(
    attack: str,
    before: np.ndarray,
    after: np.ndarray,
    works: Mapping[str, np.ndarray],
    artist: str,
    rng: np.random.Generator,
    judging: Judging = "discriminant",
    repeats: int = 1000,
    confidence: float = 0.95,
) -> Mimicry:
    """Judge two sets of drawn pictures by an artist's works and by everyone else's.

    Args:
        attack: Name.
        before: Features (b, d) of pictures drawn before training, b >= 2, asked for as those after were.
        after: Features (a, d) of pictures drawn after it, a >= 2.
        works: Features (n, d) of real works by artist, n >= 4 each, of three artists at least; the others did
            not take part in the training either.
        artist: Whom it may draw like.
        rng: Splits works in halves, draws the bootstrap and the relabellings.
        judging: `discriminant` or `neighbours`, five of them.
        repeats: Of bootstrap and relabelling, >= 100.
        confidence: Of each interval by itself, in (0, 1).

    Example:
        >>> rng = np.random.default_rng(0)
        >>> works = {name: rng.normal(k * np.eye(4)[k], 0.5, (30, 4)) * 2 for k, name in enumerate("abcd")}
        >>> before, after = rng.normal(0, 1, (40, 4)), works["d"][:20] + rng.normal(0, 0.3, (20, 4))
        >>> found = mimicry("adapter", before, after, works, "d", rng, repeats=200)
        >>> found.won, found.gain.low > 0, found.gain.details["p_value"] < 0.01
        (True, True, True)
    """
    before, after = _features("before", before), _features("after", after)
    real("confidence", confidence, "(0, 1)")
    whole("repeats", repeats, 100)
    if judging not in get_args(Judging):
        raise AttackError(f"judging must be one of {', '.join(get_args(Judging))}, not {judging!r}")
    known = {name: _features(f"works of {name}", one, least=4) for name, one in works.items()}
    if artist not in known or len(known) < 3:
        raise AttackError(f"works must be of three artists or more, {artist!r} among them, not {list(known)}")
    for one in (before, after, *known.values()):
        _same_width(one, known[artist])
    fitted, kept = _halves(known, rng)

    def judge_of(name: str, without: str | None = None) -> Judge:
        rest = np.concatenate([one for other, one in fitted.items() if other not in (name, without)])
        if judging == "discriminant":
            return discriminant_judge(fitted[name], rest)
        return neighbours_judge(fitted[name], rest, min(_NEIGHBOURS, len(fitted[name]) + len(rest)))

    judge = judge_of(artist)
    scored_before, scored_after = judge(before), judge(after)
    value = _gain(scored_after, scored_before)
    low, high = bootstrap_interval(_gain, scored_after, scored_before, rng, confidence, repeats)
    others = {}
    for name in known:
        if name != artist:
            theirs = judge_of(name, without=artist)
            others[name] = _gain(theirs(after), theirs(before))
    real_own = judge(kept[artist])
    real_others = judge(np.concatenate([one for name, one in kept.items() if name != artist]))
    details = {
        "p_value": _relabelled(scored_after, scored_before, rng, repeats),
        "rank_p_value": (1 + sum(one >= value for one in others.values())) / (1 + len(others)),
        "ceiling": _gain(real_own, scored_before),
        "before": float(scored_before.mean()),
    }
    unit = "mean log-probability" if judging == "discriminant" else "share of neighbours"
    n = len(after) + len(before)
    gain = Result(
        attack, f"gain in {unit}", value, n, low, high, confidence, float(np.mean(list(others.values()))),
        f"percentile bootstrap over pictures; baseline: gain towards {len(others)} other artists", details,
    )  # fmt: skip
    low, high = bootstrap_interval(_first_mean, scored_after, scored_after, rng, confidence, repeats)
    level = Result(
        attack, unit, float(scored_after.mean()), len(after), low, high, confidence,
        float(real_others.mean()), "percentile bootstrap over pictures; baseline: other artists' works",
        {"ceiling": float(real_own.mean())},
    )  # fmt: skip
    area, ends = auc(real_own, real_others), auc_interval(real_own, real_others, confidence)
    control = Result(
        f"{attack}, control", "auc", area, len(real_own) + len(real_others), *ends, confidence, 0.5,
        "Mann-Whitney, half ties; score interval with the largest possible variance",
    )  # fmt: skip
    return Mimicry(gain, level, control, ends[0] > 0.5, others)


def _gain(after: np.ndarray, before: np.ndarray) -> float:
    return float(after.mean() - before.mean())


def _first_mean(scores: np.ndarray, _: np.ndarray) -> float:
    return float(scores.mean())


def _relabelled(after: np.ndarray, before: np.ndarray, rng: np.random.Generator, repeats: int) -> float:
    """Share of relabellings, the true one among them, with as large a gain."""
    stacked, value, beaten = np.concatenate([after, before]), _gain(after, before), 1
    for _ in range(repeats):
        mixed = rng.permutation(stacked)
        beaten += _gain(mixed[: len(after)], mixed[len(after) :]) >= value - 1e-12
    return beaten / (repeats + 1)


def _halves(
    works: Mapping[str, np.ndarray], rng: np.random.Generator
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    fitted, kept = {}, {}
    for name, one in works.items():
        order = rng.permutation(len(one))
        fitted[name], kept[name] = one[order[: len(one) // 2]], one[order[len(one) // 2 :]]
    return fitted, kept


def _features(name: str, features: np.ndarray, least: int = 2) -> np.ndarray:
    found = np.asarray(features, np.float64)
    if found.ndim != 2 or len(found) < least or not found.shape[1] or not np.isfinite(found).all():
        raise AttackError(f"{name} must be finite features (n, d), n >= {least}, not {found.shape}")
    return found


def _same_width(one: np.ndarray, other: np.ndarray) -> None:
    if one.ndim != 2 or one.shape[1] != other.shape[1]:
        raise AttackError(f"features must be (n, {other.shape[1]}), of one width, not {one.shape}")
