"""One number of one model, and a threshold: the baseline that every other attack must beat.

Each function returns scores that are larger for what looks trained on (Yeom et al. 2018; Song and Mittal 2021
for the entropies).
"""

from __future__ import annotations

import numpy as np
from scipy.special import log_softmax, logsumexp

from attacks.errors import AttackError

_ROUNDING = 1e-7
"""Of a float32 loss."""


def loss_score(losses: np.ndarray) -> np.ndarray:
    """Minus the loss (n,): members have small losses.

    Example:
        >>> loss_score(np.array([0.1, 2.0])).tolist()
        [-0.1, -2.0]
    """
    losses = np.asarray(losses, np.float64)
    if losses.ndim != 1 or not np.isfinite(losses).all():
        raise AttackError(f"losses must be finite (n,), not {losses.shape}")
    return -losses


def confidence_score(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """log p(label) (n,) from logits (n, c); minus the cross-entropy loss.

    Example:
        >>> confidence_score(np.zeros((1, 4)), np.array([2])).round(4).tolist()
        [-1.3863]
    """
    logits, labels = checked_logits(logits, labels)
    scores: np.ndarray = log_softmax(logits, axis=1)[np.arange(len(labels)), labels]
    return scores


def entropy_score(logits: np.ndarray) -> np.ndarray:
    """Minus the entropy (n,) of the prediction; needs no label.

    Example:
        >>> entropy_score(np.array([[0.0, 0.0], [9.0, 0.0]])).round(3).tolist()
        [-0.693, -0.001]
    """
    logits, _ = checked_logits(logits, np.zeros(len(logits), np.int64))
    log_p = log_softmax(logits, axis=1)
    scores: np.ndarray = (np.exp(log_p) * log_p).sum(1)
    return scores


def modified_entropy_score(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Minus the modified entropy (n,), which is 0 only for a sure and right prediction.

    (1 - p_y) log p_y + sum over the others of p log(1 - p) (Song and Mittal 2021, eq. 8).

    Example:
        >>> sure = np.array([[9.0, 0.0], [9.0, 0.0]])  # Once rightly, once wrongly.
        >>> modified_entropy_score(sure, np.array([0, 1])).round(2).tolist()
        [-0.0, -18.0]
    """
    logits, labels = checked_logits(logits, labels)
    rows = np.arange(len(labels))
    log_p = log_softmax(logits, axis=1)
    log_rest = _log_of_the_others(logits)
    terms = np.exp(log_p) * log_rest
    terms[rows, labels] = np.exp(log_rest[rows, labels]) * log_p[rows, labels]
    scores: np.ndarray = terms.sum(1)
    return scores


def logit_score(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """log(p_y / (1 - p_y)) (n,), near normal over models (Carlini et al. 2022): what LiRA takes.

    As logit_y - logsumexp(the others), so that a sure prediction does not become infinite.

    Example:
        >>> logit_score(np.array([[3.0, 1.0]]), np.array([0])).tolist()
        [2.0]
    """
    logits, labels = checked_logits(logits, labels)
    rows = np.arange(len(labels))
    others = logits.copy()
    others[rows, labels] = -np.inf
    scores: np.ndarray = logits[rows, labels] - logsumexp(others, axis=1)
    return scores


def likelihood_score(losses: np.ndarray) -> np.ndarray:
    """log(p / (1 - p)) of p = exp(-loss), the same shape: `logit_score` where a loss is all that there is.

    For any loss that is minus the log-probability of the whole target, such as a word's under CTC. Losses
    below 1e-7 are float32's rounding, and count as that: one that came out as zero is no endless evidence.

    Args:
        losses: Any shape, finite and >= 0.

    Example:
        >>> likelihood_score(np.array([np.log(2), 9.0])).round(3).tolist()
        [0.0, -9.0]
    """
    losses = np.asarray(losses, np.float64)
    if not np.isfinite(losses).all() or (losses < 0).any():
        raise AttackError("losses must be finite and >= 0, minus the logarithm of a probability")
    losses = np.maximum(losses, _ROUNDING)
    scores: np.ndarray = -losses - np.log(-np.expm1(-losses))
    return scores


def checked_logits(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float64 (n, c) with c >= 2, finite, and labels int (n,) in [0, c).

    Raises:
        AttackError: Otherwise; says which.
    """
    logits, labels = np.asarray(logits, np.float64), np.asarray(labels)
    if logits.ndim != 2 or logits.shape[1] < 2 or not np.isfinite(logits).all():
        raise AttackError(f"logits must be finite (n, c) with c >= 2, not {logits.shape}")
    if labels.shape != logits.shape[:1] or labels.dtype.kind not in "iu":
        raise AttackError(f"labels must be whole numbers ({len(logits)},), not {labels.dtype} {labels.shape}")
    if len(labels) and not (labels.min() >= 0 and labels.max() < logits.shape[1]):
        raise AttackError(f"labels must be 0 to {logits.shape[1] - 1}")
    return logits, labels


def _log_of_the_others(logits: np.ndarray) -> np.ndarray:
    """log(1 - p) (n, c), from the others' logits rather than from 1 - p."""
    n, c = logits.shape
    found = np.empty((n, c))
    for k in range(c):
        found[:, k] = logsumexp(np.delete(logits, k, axis=1), axis=1)
    logs: np.ndarray = found - logsumexp(logits, axis=1)[:, None]
    return logs
