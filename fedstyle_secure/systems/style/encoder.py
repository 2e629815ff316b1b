"""The style encoder: a fixed part that prepares pictures, and a part that is trained privately."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from fedstyle_secure.errors import FederationError
from fedstyle_secure.privacy.alone import one_at_a_time

LARGEST = 1e6
"""No weight of an honest encoder comes near this."""


class StyleEncoder(nn.Module):
    """Maps prepared pictures to unit embeddings.

    `prepare` holds everything that no artist ever trains; its result is what DP-SGD sees. Parameters
    that require gradients are the ones that train privately and travel back. `prepare`, `released` and
    `embed` take each picture by itself (`one_at_a_time`); `forward` alone takes batches.
    """

    @property
    @abstractmethod
    def width(self) -> int:
        """Dimensions r of what cards and prototypes are sums of."""

    @abstractmethod
    def prepare(self, pictures: np.ndarray) -> Tensor:
        """uint8 (n, s, s, 3) to float32 (n, ...), fixed."""

    @abstractmethod
    def forward(self, prepared: Tensor) -> Tensor:
        """float32 (n, ...) to unit vectors (n, d)."""

    @abstractmethod
    def released(self, prepared: Tensor) -> np.ndarray:
        """What cards and prototypes are sums of: float32 vectors (n, r) of length at most 1.

        Where only a linear head trains, these are the head's inputs: a card then never ages, because
        every later head can be applied to it. Else they are the embeddings.
        """

    @abstractmethod
    def place(self, released: np.ndarray) -> Tensor:
        """Where cards or prototypes (m, r) lie now: unit embeddings (m, d), a constant for training."""

    def embed(self, prepared: Tensor) -> np.ndarray:
        """A clean evaluation pass: float32 unit vectors (n, d), no gradients."""
        self.eval()
        with torch.no_grad():
            return one_at_a_time(self, prepared).numpy()

    def embed_pictures(self, pictures: np.ndarray) -> np.ndarray:
        """Prepare and embed: uint8 (n, s, s, 3) to float32 unit vectors (n, d)."""
        return self.embed(self.prepare(pictures))

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Set all weights and buffers.

        Raises:
            FederationError: A tensor is missing, foreign, misshapen, of another type, not finite or beyond
                what any honest weight comes near; names it.
        """
        own = self.state_dict()
        if set(own) != set(arrays):
            odd = sorted(set(own) ^ set(arrays))[0]
            raise FederationError(f"encoder: tensor {odd!r} is missing or foreign")
        for name, tensor in own.items():
            given = arrays[name]
            if given.shape != tuple(tensor.shape):
                raise FederationError(f"encoder: tensor {name!r} is {given.shape}, not {tuple(tensor.shape)}")
            if torch.from_numpy(np.array(given)).dtype != tensor.dtype:
                raise FederationError(f"encoder: tensor {name!r} is {given.dtype}, not {tensor.dtype}")
            if not (np.abs(given) <= LARGEST).all():
                raise FederationError(f"encoder: tensor {name!r} is not finite or beyond {LARGEST:g}")
        self.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in arrays.items()})
