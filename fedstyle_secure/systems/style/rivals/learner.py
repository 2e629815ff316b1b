"""Local training of all artists at once: a head and a softmax over artists, clipped gradients, noise.

A model is a flat vector: the head W (d, d), then a row of V (artists, d) for each artist, so that the papers'
updates can be written as they stand there.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from fedstyle_secure.privacy.mechanisms import GaussianSum
from fedstyle_secure.systems.style.rivals.settings import Conditions
from fedstyle_secure.systems.style.rivals.task import Task

Term = Callable[[Tensor], Tensor]
"""A loss beside the softmax: embeddings (artists, n, d) to losses (artists, n), each of its own record."""


class Learner:
    """The gradients of a task, as artists release them.

    The loss of a record is the cross-entropy of its artist, against all artists' rows of V and against where
    the public artists' anchors lie under W; logits are divided by the temperature. An artist holds pictures
    of one class alone, so without the public anchors it could learn nothing by itself.
    """

    def __init__(
        self,
        task: Task,
        conditions: Conditions,
        mechanism: GaussianSum,
        *,
        shared: bool,
        averaged: bool = True,
    ) -> None:
        """
        Args:
            task: Whose pictures.
            conditions: Divisor, temperature, colluders and seed.
            mechanism: Clip and noise of one step's sum of gradients.
            shared: Whether the noise is one for the sum of all artists, added in `mean`, or every artist's
                own, added in `gradient`.
            averaged: Whether what artists learn is averaged over them; else each keeps its own model.
        """
        self._task, self._conditions, self._mechanism, self._shared = task, conditions, mechanism, shared
        self._rng = torch.Generator().manual_seed(conditions.seed)
        self.artists, self.dim = task.artists, task.dim
        # A mean over more artists than the roster would have less of their own noises.
        self._own_noise = math.sqrt(self.artists / conditions.roster) if averaged else 1.0
        counts = torch.bincount(task.owners)
        longest = int(counts.max())
        # Portfolios side by side, padded with zeros: a record of zeros has no gradient.
        self._there = torch.arange(longest)[None] < counts[:, None]
        self.pictures = torch.zeros(self.artists, longest, self.dim)
        self._order = torch.argsort(task.owners, stable=True)
        self.pictures[self._there] = task.train[self._order]

    def start(self) -> Tensor:
        """The model before training, (p,): the identity, and zeros."""
        return torch.cat([torch.eye(self.dim).flatten(), torch.zeros(self.artists * self.dim)])

    def head(self, model: Tensor) -> Tensor:
        """W of models (..., p): (..., d, d)."""
        heads: Tensor = model[..., : self.dim**2].unflatten(-1, (self.dim, self.dim))
        return heads

    def copies(self, model: Tensor) -> Tensor:
        """The model (p,), or every artist's own (artists, p), once an artist: (artists, p)."""
        return model.expand(self.artists, -1).clone()

    def embedded(self, models: Tensor) -> Tensor:
        """Each artist's pictures under its own model: unit vectors (artists, n, d)."""
        return F.normalize(self.pictures @ self.head(models).mT, dim=2)

    def rows(self, models: Tensor) -> Tensor:
        """The same of real pictures alone, in the order of the task's training pictures: (n, d)."""
        rows = torch.empty(len(self._order), self.dim)
        rows[self._order] = self.embedded(models)[self._there]
        return rows

    def gradient(self, models: Tensor, term: Term | None = None, classes: Tensor | None = None) -> Tensor:
        """What every artist's records ask for: the clipped sum over its pictures, divided by the public guess
        of their number, with the artist's own noise if noise is not shared.

        Args:
            models: (artists, p), each artist's.
            term: A further loss of each record.
            classes: Constants (artists, d) in place of the rows of V, which then stay as they are.

        Returns:
            float32 (artists, p).
        """
        conditions = self._conditions
        inner = (self.pictures @ self.head(models).mT).detach().requires_grad_()
        outer = F.normalize(inner, dim=2)
        own = models[:, self.dim**2 :].view(self.artists, self.artists, self.dim)
        products = outer @ (own.mT if classes is None else classes.T)
        anchors = F.normalize(self._task.anchors @ self.head(models).mT, dim=2)
        logits = torch.cat([products, outer @ anchors.mT], dim=2) / conditions.temperature
        right = torch.arange(self.artists)[:, None].expand(-1, logits.shape[1])
        losses = F.cross_entropy(logits.flatten(0, 1), right.flatten(), reduction="none").view_as(right)
        if term is not None:
            losses = losses + term(outer)
        to_inner, to_products = torch.autograd.grad((losses * self._there).sum(), [inner, products])
        if classes is not None:
            to_products = torch.zeros_like(products)
        # A record's gradient is two outer products, so its length needs no matrix (Goodfellow 2015).
        lengths = _squares(to_inner) * _squares(self.pictures) + _squares(to_products) * _squares(outer)
        factors = (self._mechanism.clip_norm / lengths.sqrt().clamp(min=1e-12)).clamp(max=1.0)[:, :, None]
        head = (to_inner * factors).mT @ self.pictures
        rows = (to_products * factors).mT @ outer.detach()
        sums = torch.cat([head.flatten(1), rows.flatten(1)], dim=1)
        if not self._shared:
            sums = sums + self._own_noise * self._noise(sums.shape)
        return sums / conditions.expected_pictures

    def mean(self, updates: Tensor, rate: float) -> Tensor:
        """The mean over artists of updates (artists, p), each of one step at a rate where noise is shared."""
        mean = updates.mean(0)
        if not self._shared:
            return mean
        conditions = self._conditions
        scale = rate * conditions.apart / (conditions.expected_pictures * conditions.roster)
        return mean + scale * self._noise(mean.shape)

    def _noise(self, shape: torch.Size) -> Tensor:
        if self._mechanism.deviation == 0:
            return torch.zeros(shape)
        return torch.randn(shape, generator=self._rng) * self._mechanism.deviation


def _squares(vectors: Tensor) -> Tensor:
    return vectors.detach().square().sum(2)


def noisy_cards(sums: Tensor, mechanism: GaussianSum, seed: int) -> Tensor:
    """Cards (artists, d): unit sums, each with its own noise. Rows of the sums are unit vectors."""
    rng = torch.Generator().manual_seed(seed + 1_000_003)
    return F.normalize(sums + mechanism.deviation * torch.randn(sums.shape, generator=rng), dim=1)
