"""Membership in the training of an encoder that has no classifier, and in a prototype that it made."""

from __future__ import annotations

import numpy as np

from attacks.errors import AttackError
from attacks.membership.scores import MembershipScores
from attacks.membership.tracing import checked_vectors, traced


def prototype_similarity(embeddings: np.ndarray, prototypes: np.ndarray, own: np.ndarray) -> MembershipScores:
    """Cosine to the own prototype: training pulls its pictures there.

    Args:
        embeddings: float (n, d).
        prototypes: Public prototypes or cards, float (p, d).
        own: int (n,), which prototype a candidate belongs to.

    Example:
        >>> embeddings = np.array([[1.0, 0.0], [0.6, 0.8]])
        >>> prototype_similarity(embeddings, np.eye(2), np.array([0, 0])).values.round(3).tolist()
        [1.0, 0.6]
    """
    embeddings, prototypes = _unit("embeddings", embeddings), _unit("prototypes", prototypes)
    own = np.asarray(own)
    if own.shape != embeddings.shape[:1] or own.dtype.kind not in "iu":
        raise AttackError(f"own must be whole numbers ({len(embeddings)},), not {own.dtype} {own.shape}")
    if own.min() < 0 or own.max() >= len(prototypes):
        raise AttackError(f"own must be 0 to {len(prototypes) - 1}")
    values = np.einsum("nd,nd->n", embeddings, prototypes[own])
    return MembershipScores.of("similarity to the own prototype", values)


def view_agreement(views: np.ndarray) -> MembershipScores:
    """Mean cosine between the embeddings of a picture's augmented views (EncoderMI, Liu et al. 2021).

    Args:
        views: float (n, v, d), v >= 2 views of each candidate, made as the training made them.

    Example:
        >>> one, two = [1.0, 0.0], [0.0, 1.0]
        >>> view_agreement(np.array([[one, one], [one, two]])).values.round(3).tolist()
        [1.0, 0.0]
    """
    views = np.asarray(views)
    if views.ndim != 3 or views.shape[1] < 2:
        raise AttackError(f"views must be (candidates, 2 or more views, d), not {views.shape}")
    n, v, d = views.shape
    units = _unit("views", views.reshape(n * v, d)).reshape(n, v, d)
    # |sum of units|^2 = v + sum over ordered pairs of their cosines.
    values = ((units.sum(1) ** 2).sum(1) - v) / (v * (v - 1))
    return MembershipScores.of("agreement of views", values)


def prototype_tracing(
    embeddings: np.ndarray,
    released: np.ndarray,
    elsewhere: np.ndarray,
    shrinkage: float = 0.3,
    noise_variance: float = 0.0,
) -> MembershipScores:
    """Is a picture one of those that a released prototype or card is the mean of? See `tracing.traced`.

    Args:
        embeddings: Candidates (n, d).
        released: The prototype (d,), as released.
        elsewhere: Embeddings (m, d) of pictures like the candidates that are not in it.
        shrinkage: In (0, 1].
        noise_variance: Of the release on a coordinate, times the number of its pictures, >= 0.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> works, elsewhere = rng.normal(size=(6, 8)), rng.normal(size=(60, 8))
        >>> scores = prototype_tracing(works, works[:3].mean(0), elsewhere).values
        >>> bool(scores[:3].min() > scores[3:].max())
        True
    """
    values = traced(embeddings, released, elsewhere, shrinkage, noise_variance)
    return MembershipScores.of("tracing a prototype", values)


def _unit(name: str, vectors: np.ndarray) -> np.ndarray:
    vectors = checked_vectors(name, vectors)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not (lengths > 0).all():
        raise AttackError(f"{name}: row {int(np.argmin(lengths))} is zero and has no direction")
    found: np.ndarray = vectors / lengths
    return found
