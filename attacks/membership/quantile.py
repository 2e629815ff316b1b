"""Quantile regression (Bertran et al. 2023): a threshold for each candidate, without shadow models.

What a model without the candidate would say is learned from non-members' features, as a quantile of their
signals; half of them then shift it so that its false-positive rate holds on fresh non-members whatever the
signals look like (Romano, Patterson and Candes 2019).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog

from attacks.errors import AttackError
from attacks.membership.scores import MembershipScores, checked_signals
from attacks.ranges import real


@dataclass(frozen=True, eq=False)
class QuantileThreshold:
    """The largest signal that a non-member with given features has, but for a share `fpr` of them.

    Attributes:
        weights: float64 (d + 1,), the intercept last.
        shift: Added to the regression's quantile.
        fpr: Bound of the false-positive rate on fresh non-members, on average over the calibration.
        fitted_on: Non-members in the regression.
        calibrated_on: Non-members in the shift.
    """

    weights: np.ndarray
    shift: float
    fpr: float
    fitted_on: int
    calibrated_on: int

    def at(self, features: np.ndarray) -> np.ndarray:
        """Thresholds (n,) at features (n, d)."""
        thresholds: np.ndarray = (
            _features(features, len(self.weights) - 1) @ self.weights[:-1] + self.weights[-1] + self.shift
        )
        return thresholds

    def score(self, signals: np.ndarray, features: np.ndarray) -> MembershipScores:
        """Signal above threshold; > 0 is called a member, with false-positive rate at most `fpr`."""
        thresholds = self.at(features)
        values = checked_signals(signals, len(thresholds)) - thresholds
        return MembershipScores.of("quantile regression", values, (f"made for FPR {self.fpr:g}",))


def fit_quantile(
    signals: np.ndarray, features: np.ndarray, fpr: float, rng: np.random.Generator
) -> QuantileThreshold:
    """Learn the threshold from non-members.

    Args:
        signals: Signals (n,) of pictures that the victim surely did not train on.
        features: What tells their hardness without the victim's training set, float (n, d).
        fpr: In (0, 1); needs at least 1 / fpr pictures in each half.
        rng: Splits the pictures into those that fit and those that calibrate.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> hardness = rng.normal(size=(200, 1))
        >>> threshold = fit_quantile(rng.normal(hardness[:, 0]), hardness, 0.1, rng)
        >>> easy, hard = threshold.at(np.array([[-2.0], [2.0]]))
        >>> bool(easy < hard)
        True
    """
    signals = checked_signals(signals)
    features = _features(features)
    if len(features) != len(signals):
        raise AttackError(f"{len(features)} features for {len(signals)} signals")
    real("fpr", fpr, "(0, 1)")
    order = rng.permutation(len(signals))
    fit, calibrate = order[: len(order) // 2], order[len(order) // 2 :]
    if len(fit) <= features.shape[1] + 1 or len(fit) * fpr < 1:
        raise AttackError(
            f"{len(signals)} non-members are too few for FPR {fpr:g} and {features.shape[1]} features: "
            f"at least {2 * max(features.shape[1] + 2, int(np.ceil(1 / fpr)))}"
        )
    weights = pinball_regression(features[fit], signals[fit], 1 - fpr)
    beyond = signals[calibrate] - features[calibrate] @ weights[:-1] - weights[-1]
    # The k-th smallest of n, k = ceil((n + 1)(1 - fpr)): split conformal.
    rank = int(np.ceil((len(beyond) + 1) * (1 - fpr) - 1e-9))
    return QuantileThreshold(
        weights, float(np.sort(beyond)[min(rank, len(beyond)) - 1]), fpr, len(fit), len(calibrate)
    )


def pinball_regression(features: np.ndarray, targets: np.ndarray, level: float) -> np.ndarray:
    """Linear quantile regression, solved exactly as a linear program (Koenker and Bassett 1978).

    Args:
        features: float64 (n, d), finite.
        targets: float64 (n,), finite.
        level: In (0, 1).

    Returns:
        Weights (d + 1,), the intercept last.

    Example:
        >>> pinball_regression(np.zeros((5, 1)), np.arange(5.0), 0.5)[-1].item()  # The median.
        2.0
    """
    features, targets = _features(features), checked_signals(targets, len(features))
    real("level", level, "(0, 1)")
    design = np.column_stack([features, np.ones(len(features))])
    # The dual has n bounded variables and d + 1 equations; its multipliers are the weights.
    solved = linprog(
        -targets,
        A_eq=design.T,
        b_eq=(1 - level) * design.sum(0),
        bounds=(0, 1),
        method="highs",
    )
    if solved.status != 0:
        raise AttackError(f"quantile regression did not solve: {solved.message}")
    return -np.asarray(solved.eqlin.marginals)


def _features(features: np.ndarray, d: int | None = None) -> np.ndarray:
    features = np.asarray(features, np.float64)
    if features.ndim != 2 or (d is not None and features.shape[1] != d):
        raise AttackError(f"features must be (n, {'d' if d is None else d}), not {features.shape}")
    if not np.isfinite(features).all():
        raise AttackError("a feature is not finite")
    return features
