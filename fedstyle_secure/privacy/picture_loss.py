"""The losses that DP-SGD takes: one value a picture, from that picture alone."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor


class PictureLoss(ABC):
    """A loss that splits over pictures.

    Attributes:
        name: For messages.
    """

    name: str

    @abstractmethod
    def __call__(self, embeddings: Tensor, targets: Tensor) -> Tensor:
        """(b, d) and int64 (b, ...) to losses (b,), the i-th from the i-th embedding alone."""

    def frozen(self) -> PictureLoss:
        """The same with all that it takes from the weights held where it is, for one step."""
        return self
