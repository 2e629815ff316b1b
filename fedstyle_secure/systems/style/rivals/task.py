"""What every rival is given: prepared features of artists, and the question that all are judged by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fedstyle_secure.galleries.base import Portfolio
from fedstyle_secure.systems.style.encoder import StyleEncoder
from fedstyle_secure.systems.style.retrieval import own_ranks


@dataclass(frozen=True, eq=False)
class Task:
    """Artists to be found, and what is public.

    Attributes:
        train: float32 (n, d), unit features of training pictures.
        owners: int64 (n,), whose each is, from 0; every artist has some.
        test: float32 (m, d), of held-out pictures.
        test_owners: int64 (m,).
        anchors: float32 (a, d), unit mean features of public artists, a >= 1.
        prototypes: float32 (k, d), unit anchors of the shared styles, k >= 1.
    """

    train: Tensor
    owners: Tensor
    test: Tensor
    test_owners: np.ndarray
    anchors: Tensor
    prototypes: Tensor

    @property
    def artists(self) -> int:
        """How many there are to be found."""
        return int(self.owners.max()) + 1

    @property
    def dim(self) -> int:
        """Values of a feature vector."""
        return self.train.shape[1]

    def sums(self, rows: Tensor) -> Tensor:
        """Sums over each artist's training pictures: (artists, r) of rows (n, r)."""
        return torch.zeros(self.artists, rows.shape[1]).index_add(0, self.owners, rows)

    @property
    def means(self) -> Tensor:
        """float32 (artists, d): unit mean features, what a card without noise is."""
        return F.normalize(self.sums(self.train), dim=1)


@dataclass(frozen=True, eq=False)
class Found:
    """What a method answers.

    Attributes:
        ranks: int64 (m,), rank from 1 of each held-out picture's own artist; None: nobody is found by name.
        leaks: Mean over artists of the cosine between what is published of an artist and its true mean
            features; None where pictures themselves are given away.
    """

    ranks: np.ndarray | None
    leaks: float | None


def nearest_card(task: Task, head: Tensor, cards: Tensor) -> Found:
    """Which artist's card is nearest to each held-out picture, both under a linear head.

    Args:
        task: What is asked.
        head: float32 (d, d).
        cards: float32 (artists, d), as published: sums of features, before the head.
    """
    with torch.no_grad():
        scores = F.normalize(task.test @ head.T, dim=1) @ F.normalize(cards @ head.T, dim=1).T
    return Found(own_ranks(scores.numpy(), task.test_owners), likeness(cards, task.means))


def nearest_by_own_heads(task: Task, heads: Tensor, cards: Tensor) -> Found:
    """Which artist's card is nearest where every artist's own head looks at the picture: a query goes to all.

    Args:
        task: What is asked.
        heads: float32 (artists, d, d).
        cards: float32 (artists, d), sums of features after the own head.
    """
    queries = F.normalize(task.test @ heads.mT, dim=2)
    scores = (queries * F.normalize(cards, dim=1)[:, None]).sum(2).T
    return Found(own_ranks(scores.numpy(), task.test_owners), likeness(cards, task.means))


def likeness(published: Tensor, means: Tensor) -> float:
    """Mean cosine between rows: 1 where what is published tells the true means."""
    return float((F.normalize(published, dim=1) * F.normalize(means, dim=1)).sum(1).mean())


def features(encoder: StyleEncoder, pictures: np.ndarray) -> Tensor:
    """float32 (n, d): unit embeddings before any private training, where the head is the identity."""
    return torch.from_numpy(encoder.embed_pictures(pictures))


def private_task(
    encoder: StyleEncoder,
    portfolios: Sequence[Portfolio],
    public: Sequence[Portfolio],
    prototypes: np.ndarray,
) -> Task:
    """The task on private portfolios, split as the gallery splits them."""
    return Task(
        train=torch.cat([features(encoder, p.train_pictures) for p in portfolios]),
        owners=_repeated([int((~p.test).sum()) for p in portfolios]),
        test=torch.cat([features(encoder, p.test_pictures) for p in portfolios]),
        test_owners=_repeated([int(p.test.sum()) for p in portfolios]).numpy(),
        anchors=_means(encoder, public),
        prototypes=torch.from_numpy(prototypes),
    )


def practice_task(
    encoder: StyleEncoder, asked: Sequence[Portfolio], beside: Sequence[Portfolio], prototypes: np.ndarray
) -> Task:
    """A task on public and procedural artists: every fourth picture is held out.

    Args:
        encoder: As for the private task.
        asked: Who is to be found.
        beside: Who plays the public artists.
        prototypes: float32 (k, d).
    """
    vectors = [features(encoder, p.pictures) for p in asked]
    held = [torch.arange(len(v)) % 4 == 3 for v in vectors]
    return Task(
        train=torch.cat([v[~h] for v, h in zip(vectors, held, strict=True)]),
        owners=_repeated([int((~h).sum()) for h in held]),
        test=torch.cat([v[h] for v, h in zip(vectors, held, strict=True)]),
        test_owners=_repeated([int(h.sum()) for h in held]).numpy(),
        anchors=_means(encoder, beside),
        prototypes=torch.from_numpy(prototypes),
    )


def _means(encoder: StyleEncoder, portfolios: Sequence[Portfolio]) -> Tensor:
    return F.normalize(torch.stack([features(encoder, p.pictures).mean(0) for p in portfolios]), dim=1)


def _repeated(counts: Sequence[int]) -> Tensor:
    return torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
