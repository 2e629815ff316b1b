"""Finding artists by style: cosine between a picture and the artists' cards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Match:
    """An artist that was found: rank from 1, cosine in [-1, 1]."""

    rank: int
    artist: str
    score: float


@dataclass(frozen=True)
class Utility:
    """Retrieval of artists by held-out pictures, all in [0, 1].

    Attributes:
        artist_top1: Share of pictures whose own artist ranks first.
        artist_macro_f1: F1 of the first rank, averaged over artists.
        artist_map: Mean average precision; a query has one right artist, so it is the mean of 1 / rank.
        queries: Number of pictures.
        candidates: Number of artists to choose from.
    """

    artist_top1: float
    artist_macro_f1: float
    artist_map: float
    queries: int
    candidates: int


def rank_artists(embedding: np.ndarray, artists: tuple[str, ...], cards: np.ndarray, top: int) -> list[Match]:
    """The `top` artists nearest to a unit embedding (d,), among unit cards (a, d). Ties go by name."""
    return ranked(cards @ embedding, artists, top)


def ranked(scores: np.ndarray, artists: tuple[str, ...], top: int) -> list[Match]:
    """The `top` artists by their cosines (a,), nearest first. Ties go by name.

    Example:
        >>> [match.artist for match in ranked(np.array([0.1, 0.9, 0.9]), ("a", "c", "b"), 2)]
        ['b', 'c']
    """
    order = np.lexsort((np.array(artists), -scores))[:top]
    return [Match(i + 1, artists[j], float(scores[j])) for i, j in enumerate(order)]


def own_ranks(scores: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """Rank, from 1, of each query's own artist: int64 (n,) of scores (n, a) and owners (n,).

    Where a wrong artist ties with the right one, the right one ranks behind it.

    Example:
        >>> own_ranks(np.array([[0.9, 0.1], [0.5, 0.5]]), np.array([0, 0])).tolist()
        [1, 2]
    """
    right = np.take_along_axis(scores, owners[:, None], axis=1)
    ranks: np.ndarray = (scores >= right).sum(axis=1)
    return ranks


def utility(embeddings: np.ndarray, owners: np.ndarray, cards: np.ndarray) -> Utility:
    """Score unit queries (n, d) of owners (n,) against unit cards (a, d); owners index the cards.

    Where a wrong card ties with the right one, the right one ranks behind it.
    """
    from sklearn.metrics import f1_score

    scores = embeddings @ cards.T
    ranks = own_ranks(scores, owners)
    return Utility(
        artist_top1=float((ranks == 1).mean()),
        artist_macro_f1=float(f1_score(owners, scores.argmax(axis=1), average="macro")),
        artist_map=float((1 / ranks).mean()),
        queries=len(owners),
        candidates=len(cards),
    )
