"""The texture encoder: a fixed bank of statistics, whitened on public pictures, and a linear head."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fedstyle_secure.galleries.atelier import Atelier
from fedstyle_secure.galleries.base import Portfolio
from fedstyle_secure.style.encoder import StyleEncoder
from fedstyle_secure.style.texture import WORKING_SIZE, Whitening, fit_whitening, texture_features

_PRACTICE_PICTURES = 10
_PRACTICE_SEED = 7

_PARTS = ("mean", "scale", "limit", "projection")


class TextureEncoder(StyleEncoder):
    """Whitened texture features, then a square linear head that begins as the identity.

    Before any private training the embedding is the whitened feature vector itself.
    """

    def __init__(self, whitening: Whitening) -> None:
        """Args: whitening: Learned from public pictures; the embedding has as many dimensions."""
        super().__init__()
        for name in _PARTS:
            self.register_buffer(name, torch.from_numpy(np.array(getattr(whitening, name))))
        dim = len(whitening.projection)
        self.head = nn.Linear(dim, dim, bias=False)
        nn.init.eye_(self.head.weight)

    def prepare(self, pictures: np.ndarray) -> Tensor:
        """Unit vectors of whitened features."""
        whitening = Whitening(**{name: self.get_buffer(name).numpy() for name in _PARTS})
        return torch.from_numpy(whitening.apply(texture_features(pictures)))

    def forward(self, prepared: Tensor) -> Tensor:
        return F.normalize(self.head(prepared), dim=1)

    def released(self, prepared: Tensor) -> np.ndarray:
        return prepared.numpy()

    def place(self, released: np.ndarray) -> Tensor:
        with torch.no_grad():
            return self(torch.from_numpy(np.asarray(released, np.float32)))


def fit_texture(public: Sequence[Portfolio], dim: int, practice_artists: int) -> TextureEncoder:
    """The texture encoder before any private training.

    Args:
        public: Public portfolios; all their pictures are used.
        dim: Largest number of dimensions; fewer where there are fewer pictures.
        practice_artists: Procedural artists whose pictures show, beside the public ones, what varies
            within an artist; 0 uses none.
    """
    features, artists = _measured(public)
    if not practice_artists:
        return TextureEncoder(fit_whitening(features, artists, dims=dim))
    atelier = Atelier(
        artists=1,
        pictures=_PRACTICE_PICTURES,
        public=practice_artists,
        size=WORKING_SIZE,
        seed=_PRACTICE_SEED,
    )
    practice, practice_of = _measured([atelier.portfolio(name) for name in atelier.public_artists])
    return TextureEncoder(fit_whitening(features, artists, practice, practice_of, dims=dim))


def _measured(portfolios: Sequence[Portfolio]) -> tuple[np.ndarray, np.ndarray]:
    pictures = np.concatenate([p.pictures for p in portfolios])
    owners = np.repeat(np.arange(len(portfolios)), [len(p.pictures) for p in portfolios])
    return texture_features(pictures), owners
