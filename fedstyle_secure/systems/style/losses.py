"""Losses of the style encoder.

Private pictures are contrasted against what is already public to all, so that the loss splits over
pictures. Contrast within a batch exists for the public set only.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from fedstyle_secure.privacy.picture_loss import PictureLoss


class PrototypeContrast(PictureLoss):
    """InfoNCE of each embedding against public anchors, plus a pull to its own.

    The form of FedProc (Mu et al. 2023): positives and negatives are anchors that every artist was
    sent, constant within a step, and never the other pictures of the batch.
    """

    name = "prototype contrast"

    def __init__(self, anchors: Callable[[], Tensor], temperature: float, alignment: float) -> None:
        """Fix the anchors.

        Args:
            anchors: Gives unit vectors, float32 (a, d): where prototypes and cards lie under the
                current weights.
            temperature: Divides the cosines, > 0.
            alignment: Weight of 1 - cosine to the own anchor, >= 0.
        """
        self._anchors = anchors
        self._temperature = temperature
        self._alignment = alignment

    def frozen(self) -> PrototypeContrast:
        """With the anchors where they lie now: they are placed once a step and not once a picture."""
        anchors = self._anchors().detach()
        return PrototypeContrast(lambda: anchors, self._temperature, self._alignment)

    def __call__(self, embeddings: Tensor, targets: Tensor) -> Tensor:
        """Losses (b,) of unit embeddings (b, d).

        Args:
            embeddings: float32, shape (b, d).
            targets: int64, shape (b, 2): the picture's own anchor, and an anchor that is no negative
                for it (its style's prototype beside its artist's card) or -1.
        """
        anchors = self._anchors().detach()
        cosines = embeddings @ anchors.T
        own, spared = targets[:, 0], targets[:, 1]
        ignored = torch.arange(len(anchors)) == spared[:, None]
        logits = (cosines / self._temperature).masked_fill(ignored, -torch.inf)
        contrast = F.cross_entropy(logits, own, reduction="none")
        return contrast + self._alignment * (1 - cosines.gather(1, own[:, None])[:, 0])


class InBatchContrast(PictureLoss):
    """Supervised contrast within a batch (Khosla et al. 2020, eq. 2). For public pictures only.

    One picture moves the gradient of every other one, so DP-SGD refuses it by name.
    """

    name = "in-batch contrast"

    def __init__(self, temperature: float) -> None:
        """Args: temperature: Divides the cosines, > 0."""
        self._temperature = temperature

    def __call__(self, embeddings: Tensor, targets: Tensor) -> Tensor:
        """Losses (b,) of unit embeddings (b, d) with class labels int64 (b,); 0 for a class of one."""
        b = len(embeddings)
        logits = embeddings @ embeddings.T / self._temperature
        self_pairs = torch.eye(b, dtype=torch.bool)
        positives = (targets[:, None] == targets[None, :]) & ~self_pairs
        log_share = logits - logits.masked_fill(self_pairs, -torch.inf).logsumexp(1, keepdim=True)
        return -(log_share * positives).sum(1) / positives.sum(1).clamp(min=1)
