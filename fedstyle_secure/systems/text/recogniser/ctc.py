"""The loss of a text that may lie anywhere in its crop: connectionist temporal classification (Graves et al.
2006), one value a crop."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from fedstyle_secure.privacy.picture_loss import PictureLoss
from fedstyle_secure.systems.text.recogniser.charset import BLANK


class TextLoss(PictureLoss):
    """Minus the log probability of a crop's text, over all ways to lay its letters out on the frames;
    0 for a text of no letters, which stands for one that is left out."""

    name = "CTC"

    def __call__(self, embeddings: Tensor, targets: Tensor) -> Tensor:
        """
        Args:
            embeddings: Logits, float32 (b, frames, classes).
            targets: int64 (b, 1 + LONGEST), of `Charset.encode`.

        Returns:
            float32 (b,).
        """
        frames = torch.full((len(embeddings),), embeddings.shape[1], device=embeddings.device)
        scores = embeddings.log_softmax(dim=-1).transpose(0, 1)
        loss: Tensor = F.ctc_loss(scores, targets[:, 1:], frames, targets[:, 0], BLANK, reduction="none")
        return torch.where(targets[:, 0] > 0, loss, 0.0)
