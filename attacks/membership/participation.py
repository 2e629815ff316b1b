"""Was this artist in the training at all? From fresh works of the artist, none of which was trained on.

And what one gets without looking at the model: members and non-members that differ in style fool every
attack, so a blind baseline stands beside every result.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from attacks.errors import AttackError
from attacks.membership.scores import MembershipScores, checked_signals
from attacks.ranges import real, whole


@dataclass(frozen=True)
class BlindBaseline:
    """How well membership is guessed from the pictures alone.

    Attributes:
        auc: Of a classifier that never saw the model, left-out pairs; 0.5 is nothing.
        p_value: Chance of this AUC or more where membership does not depend on the pictures.
        groups: Artists, or pictures where each is its own.
        shuffles: Relabellings behind the p-value, which is at least 1 / (shuffles + 1).
    """

    auc: float
    p_value: float
    groups: int
    shuffles: int


def participation_scores(
    signals: np.ndarray, artists: np.ndarray, elsewhere: np.ndarray, elsewhere_artists: np.ndarray
) -> tuple[np.ndarray, MembershipScores]:
    """Score artists by the mean membership signal of their fresh works.

    (mean - m) / sqrt(between + within / n): m, the variance between artists and that within one come from
    artists who surely took no part (one-way analysis of variance, Searle 1971, ch. 9). Works of one artist
    resemble each other, so that many works of one are not as much evidence as they seem.

    Args:
        signals: float (n,), one a work; larger is more likely a member. Such as LiRA scores.
        artists: (n,), whose work it is; any comparable labels.
        elsewhere: Signals (m,) of works of artists who took no part.
        elsewhere_artists: (m,), whose; at least 2 artists, and one with 2 works, none of them in `artists`.

    Returns:
        The artists (k,), sorted, and one score each.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> others, names = rng.normal(size=40), np.repeat(np.arange(8), 5)
        >>> found, scores = participation_scores(rng.normal(3, 1, 5), np.full(5, 100), others, names)
        >>> found.tolist(), bool(scores.values[0] > 2)
        ([100], True)
    """
    signals, elsewhere = checked_signals(signals), checked_signals(elsewhere)
    artists, elsewhere_artists = np.asarray(artists), np.asarray(elsewhere_artists)
    if artists.shape != signals.shape or elsewhere_artists.shape != elsewhere.shape:
        raise AttackError("every signal needs its artist")
    if len(both := np.intersect1d(artists, elsewhere_artists)):
        raise AttackError(
            f"artist {str(both[0])!r} is scored and among those who took no part: they must be others"
        )
    _, means, counts, squares = _by_group(elsewhere, elsewhere_artists)
    groups, works = len(means), len(elsewhere)
    if groups < 2 or works <= groups:
        raise AttackError(
            f"calibration needs 2 artists elsewhere and one with 2 works, not {groups} with {works} works"
        )
    within = squares.sum() / (works - groups)
    overall = elsewhere.mean()
    between_square = (counts * (means - overall) ** 2).sum() / (groups - 1)
    typical = (works - (counts**2).sum() / works) / (groups - 1)
    between = max(0.0, float((between_square - within) / typical))
    found, artist_means, artist_counts, _ = _by_group(signals, artists)
    deviation = np.sqrt(np.maximum(between + within / artist_counts, 1e-24))
    values = (artist_means - means.mean()) / deviation
    note = f"variance between artists elsewhere {between:.3g}, within one {within:.3g}"
    return found, MembershipScores.of("artist participation", values, (note,))


def blind_baseline(
    features: np.ndarray,
    is_member: np.ndarray,
    rng: np.random.Generator,
    groups: np.ndarray | None = None,
    shuffles: int = 200,
    ridge: float = 1.0,
) -> BlindBaseline:
    """Guess membership from features that no trained model made, such as colour and texture statistics.

    Kernel ridge regression on a group's mean features and on how far its pictures scatter, with three kernels
    of equal weight: linear (members lie elsewhere), Gaussian (they lie in other places, or belong together),
    and the product of log distances from the middle (they lie closer to it). A linear one alone sees nothing
    where only the spread differs. For every pair of a member and a non-member the two scores are taken when
    neither was trained on (leave-pair-out, Airola et al. 2011, by the closed form of Pahikkala et al. 2008);
    leaving out one at a time would be biased below 0.5.

    Args:
        features: float (n, d).
        is_member: bool (n,), the same within a group.
        rng: Draws the relabellings.
        groups: Whose work it is, (n,); None where each picture stands for itself. 2 of each kind at least.
        shuffles: Relabellings, >= 19.
        ridge: Penalty in units of the mean of the kernel's diagonal, > 0.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> member = np.arange(40) < 20
        >>> found = blind_baseline(rng.normal(size=(40, 3)) + 3 * member[:, None], member, rng, shuffles=19)
        >>> bool(found.auc > 0.9)  # Members differ before any model looks.
        True
    """
    features, is_member = np.asarray(features, np.float64), np.asarray(is_member)
    if features.ndim != 2 or not np.isfinite(features).all():
        raise AttackError(f"features must be finite (n, d), not {features.shape}")
    if is_member.shape != features.shape[:1] or is_member.dtype != bool:
        raise AttackError(f"is_member must be bool ({len(features)},), not {is_member.dtype}")
    whole("blind baseline: shuffles", shuffles, 19)
    real("blind baseline: ridge", ridge, "(0, inf)")
    if groups is not None:
        groups = np.asarray(groups)
        if groups.shape != is_member.shape:
            raise AttackError(f"groups must be ({len(is_member)},), not {groups.shape}")
        names, owner = np.unique(groups, return_inverse=True)
        counts = np.bincount(owner)
        share = np.bincount(owner, weights=is_member) / counts
        if not np.isin(share, (0.0, 1.0)).all():
            mixed = names[int(np.argmax((share > 0) & (share < 1)))]
            raise AttackError(f"group {str(mixed)!r} has members and non-members")
        features, is_member = _of_groups(features, owner, counts), share == 1
    if min(is_member.sum(), (~is_member).sum()) < 2:
        raise AttackError("blind baseline: needs 2 members and 2 non-members")
    gram = blind_kernel(features)
    penalty = ridge * max(float(np.trace(gram)) / len(gram), 1e-12)
    hat = gram @ np.linalg.inv(gram + penalty * np.eye(len(gram)))
    area = _leave_pair_out(hat, is_member)
    beaten = sum(_leave_pair_out(hat, rng.permutation(is_member)) >= area - 1e-12 for _ in range(shuffles))
    return BlindBaseline(area, (beaten + 1) / (shuffles + 1), len(is_member), shuffles)


def blind_kernel(features: np.ndarray) -> np.ndarray:
    """Resemblance (n, n) of pictures by features (n, d): three centred kernels, each of mean diagonal 1.

    The linear one of the standardised features, the Gaussian one whose width is the median squared distance,
    and the product of the logarithms of mean squared length. A kernel in which all are alike is left out.
    """
    spread = features.std(0)
    standard = (features - features.mean(0)) / np.where(spread > 0, spread, 1.0)
    linear = standard @ standard.T
    lengths = np.diag(linear)
    distances = np.maximum(lengths[:, None] + lengths - 2 * linear, 0.0)
    apart = distances[np.triu_indices(len(linear), 1)]
    # Where most are copies of each other the median is 0; where all are, so is every kernel.
    width = float(np.median(apart)) or float(apart.mean()) or 1.0
    logs = np.log(lengths / max(features.shape[1], 1) + 1e-9)
    total: np.ndarray = np.zeros_like(linear)
    for kernel in (linear, np.exp(-distances / width), np.outer(logs, logs)):
        centred = kernel - kernel.mean(0) - kernel.mean(1)[:, None] + kernel.mean()
        if (size := float(np.trace(centred)) / len(centred)) > 1e-12:
            total += centred / size
    return total


def _of_groups(features: np.ndarray, owner: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Each group's mean features and the logarithm of their deviations within it, (k, 2 d).

    A group of one picture has no deviation, and takes the mean logarithm of the others.
    """
    total = np.zeros((len(counts), features.shape[1]))
    np.add.at(total, owner, features)
    means: np.ndarray = total / counts[:, None]
    squares = np.zeros_like(means)
    np.add.at(squares, owner, (features - means[owner]) ** 2)
    several = counts > 1
    if not several.any():
        return means
    scatter = np.log(np.sqrt(squares[several] / (counts[several] - 1)[:, None]) + 1e-9)
    filled = np.broadcast_to(scatter.mean(0), means.shape).copy()
    filled[several] = scatter
    return np.hstack([means, filled])


def _leave_pair_out(hat: np.ndarray, is_member: np.ndarray) -> float:
    """Share of pairs that are in the right order when the regression saw neither.

    Without the pair S the predictions are y_S - (I - H_SS)^-1 (y - H y)_S.
    """
    y = np.where(is_member, 1.0, -1.0)
    residual, own = y - hat @ y, 1 - np.diag(hat)
    i, j = np.flatnonzero(is_member)[:, None], np.flatnonzero(~is_member)[None, :]
    cross = -hat[i, j]
    determinant = own[i] * own[j] - cross**2
    member = 1 - (own[j] * residual[i] - cross * residual[j]) / determinant
    other = -1 - (own[i] * residual[j] - cross * residual[i]) / determinant
    return float(((member > other) + 0.5 * (member == other)).mean())


def _by_group(
    values: np.ndarray, groups: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Sorted groups, and for each its mean, count and sum of squared residuals."""
    names, owner = np.unique(groups, return_inverse=True)
    counts = np.bincount(owner)
    means = np.bincount(owner, weights=values) / counts
    return names, means, counts, np.bincount(owner, weights=(values - means[owner]) ** 2)
