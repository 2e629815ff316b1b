"""Is this vector one of those that a released mean was made of? Embeddings or gradients alike."""

from __future__ import annotations

import numpy as np

from attacks.errors import AttackError
from attacks.ranges import real


def traced(
    candidates: np.ndarray,
    mean: np.ndarray,
    elsewhere: np.ndarray,
    shrinkage: float = 0.3,
    noise_variance: float = 0.0,
) -> np.ndarray:
    """Score (n,): (x - m)^T S^-1 (p - m), with m and S the mean and covariance of vectors from elsewhere.

    What separates members best for normal vectors and a mean p of many (Sankararaman et al. 2009; Dwork
    et al. 2015). Without S, what all pictures have in common drowns what is a candidate's own.

    Args:
        candidates: float (n, d).
        mean: The released mean (d,), or an estimate of it.
        elsewhere: Vectors (m, d), m >= 2, like the candidates and not in the mean. Their own scores are too
            small: calibrate on others.
        shrinkage: Share of the covariance, in (0, 1], that is replaced by a multiple of the identity.
        noise_variance: Variance, >= 0, of the noise on a coordinate of the mean, times the number of its
            members.

    Returns:
        float64 (n,), larger is more likely in the mean.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> pictures, elsewhere = rng.normal(size=(6, 8)), rng.normal(size=(60, 8))
        >>> scores = traced(pictures, pictures[:3].mean(0), elsewhere)  # The mean of the first three.
        >>> bool(scores[:3].min() > scores[3:].max())
        True
    """
    candidates, elsewhere = checked_vectors("candidates", candidates), checked_vectors("elsewhere", elsewhere)
    mean = checked_vectors("mean", np.asarray(mean)[None])[0]
    if candidates.shape[1] != elsewhere.shape[1] or mean.shape != candidates.shape[1:]:
        raise AttackError(
            f"candidates have {candidates.shape[1]} values, elsewhere {elsewhere.shape[1]}, "
            f"the mean {len(mean)}: they must agree"
        )
    m = len(elsewhere)
    if m < 2:
        raise AttackError(f"tracing needs 2 vectors from elsewhere, not {m}")
    real("shrinkage", shrinkage, "(0, 1]")
    real("noise_variance", noise_variance, "[0, inf)")
    middle = elsewhere.mean(0)
    centred = (elsewhere - middle) * np.sqrt((1 - shrinkage) / (m - 1))
    size = float(((elsewhere - middle) ** 2).sum()) / (m - 1) / len(middle)
    floor = max(shrinkage * size + noise_variance, 1e-30)
    toward = mean - middle
    if m < len(middle):
        # (C^T C + f I)^-1 t = (t - C^T (C C^T + f I)^-1 C t) / f, with as many unknowns as vectors.
        inner = np.linalg.solve(centred @ centred.T + floor * np.eye(m), centred @ toward)
        direction = (toward - centred.T @ inner) / floor
    else:
        direction = np.linalg.solve(centred.T @ centred + floor * np.eye(len(middle)), toward)
    scores: np.ndarray = (candidates - middle) @ direction
    return scores


def checked_vectors(name: str, vectors: np.ndarray) -> np.ndarray:
    """float64 (n, d), not empty, finite.

    Raises:
        AttackError: Otherwise; names them.
    """
    vectors = np.asarray(vectors, np.float64)
    if vectors.ndim != 2 or 0 in vectors.shape or not np.isfinite(vectors).all():
        raise AttackError(f"{name} must be finite (n, d), not {vectors.shape}")
    return vectors
