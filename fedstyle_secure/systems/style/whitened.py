"""Encoders of fixed statistics: whitened on public pictures, then a linear head that trains privately."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fedstyle_secure.galleries.base import Portfolio
from fedstyle_secure.systems.style.encoder import StyleEncoder
from fedstyle_secure.systems.style.whitening import Whitening

Measure = Callable[[np.ndarray], np.ndarray]
"""uint8 (n, s, s, 3) to float32 (n, D0), finite, each picture by itself."""

_PARTS = ("mean", "scale", "limit", "projection")


class WhitenedEncoder(StyleEncoder):
    """Whitened statistics of a picture, then a square linear head that begins as the identity.

    Before any private training the embedding is the whitened vector itself.
    """

    def __init__(self, whitening: Whitening) -> None:
        """Args: whitening: Learned from public pictures; the embedding has as many dimensions."""
        super().__init__()
        for name in _PARTS:
            self.register_buffer(name, torch.tensor(getattr(whitening, name)))
        dim = len(whitening.projection)
        self.head = nn.Linear(dim, dim, bias=False)
        nn.init.eye_(self.head.weight)

    @abstractmethod
    def measure(self, pictures: np.ndarray) -> np.ndarray:
        """The statistics that are whitened; see `Measure`."""

    @property
    def width(self) -> int:
        return self.head.in_features

    def prepare(self, pictures: np.ndarray) -> Tensor:
        """Unit vectors of whitened statistics."""
        return self.whitened(self.measure(pictures))

    def whitened(self, features: np.ndarray) -> Tensor:
        """Statistics (n, D0) as `prepare` gives them."""
        whitening = Whitening(**{name: self.get_buffer(name).numpy() for name in _PARTS})
        return torch.from_numpy(whitening.apply(features))

    def forward(self, prepared: Tensor) -> Tensor:
        return F.normalize(self.head(prepared), dim=1)

    def released(self, prepared: Tensor) -> np.ndarray:
        return prepared.numpy()

    def place(self, released: np.ndarray) -> Tensor:
        with torch.no_grad():
            placed: Tensor = self(torch.tensor(released, dtype=torch.float32))
            return placed


def measured(portfolios: Sequence[Portfolio], measure: Measure) -> tuple[np.ndarray, np.ndarray]:
    """Statistics of all pictures, float32 (n, D0), and whose each is, int64 (n,)."""
    owners = np.repeat(np.arange(len(portfolios)), [len(p.pictures) for p in portfolios])
    return measure(np.concatenate([p.pictures for p in portfolios])), owners
