"""The recogniser: a small convolutional network that reads a crop frame by frame.

No recurrence, and GroupNorm (Wu and He 2018) in place of batch statistics, so that one crop's scores hang on
no other's. Ordinary convolutions: at the same cost they learn more from a crop than separable ones.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

HEIGHT, WIDTH, FRAMES = 32, 128, 32
"""Of a crop in pixels, and what it is read in from left to right."""

_FLAT = 8.0
"""Levels of grey that a crop is stretched over at least, so that bare paper stays bare."""


_CONVOLUTIONS = ((32, 6, (4, 4)), (64, 3, (2, 1)), (96, 3, (2, 1)))
"""Channels, kernel and stride of each. One crop at a time, many small operations cost more than few."""

_WIDTH = 128

_BATCH = 64
"""Crops that are read together."""


class _Along(nn.Module):
    """A residual step along the word: depthwise over five frames, then pointwise."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, 5, padding=2, groups=width)
        self.pointwise = nn.Linear(width, width)
        self.norm = nn.GroupNorm(8, width)

    def forward(self, x: Tensor) -> Tensor:
        mixed = self.pointwise(self.depthwise(x).transpose(1, 2)).transpose(1, 2)
        return x + F.relu(self.norm(mixed))


class Recogniser(nn.Module):
    """Crops to scores of letters, a row a frame."""

    def __init__(self, classes: int) -> None:
        """Args: classes: Of a frame: letters, and none."""
        super().__init__()
        layers: list[nn.Module] = []
        inside = 1
        for outside, kernel, stride in _CONVOLUTIONS:
            convolution = nn.Conv2d(inside, outside, kernel, stride, padding=1)
            layers += [convolution, nn.GroupNorm(outside // 8, outside), nn.ReLU()]
            inside = outside
        self.convolutions = nn.Sequential(*layers)
        self.columns = nn.Linear(inside * HEIGHT // 16, _WIDTH)
        self.norm = nn.GroupNorm(8, _WIDTH)
        self.along = nn.Sequential(_Along(_WIDTH), _Along(_WIDTH))
        self.letters = nn.Linear(_WIDTH, classes)

    def forward(self, crops: Tensor) -> Tensor:
        """float32 (b, 1, 32, 128) in [-1, 1] to logits (b, FRAMES, classes)."""
        columns = self.convolutions(crops).flatten(1, 2).transpose(1, 2)
        x = F.relu(self.norm(self.columns(columns).transpose(1, 2)))
        scores: Tensor = self.letters(self.along(x).transpose(1, 2))
        return scores

    def read(self, crops: Tensor) -> np.ndarray:
        """Log probabilities of the letters, float32 (n, FRAMES, classes)."""
        with torch.no_grad():
            scores = [self(batch).log_softmax(dim=-1) for batch in crops.split(_BATCH)]
        return np.asarray(torch.cat(scores).numpy()) if scores else np.zeros((0, FRAMES, 0), np.float32)


def prepare(pictures: np.ndarray) -> Tensor:
    """What the recogniser takes: ink as 1 on paper as -1, whatever their colours are.

    Each crop by itself: grey, stretched from its 2nd to its 98th percentile, and turned over where most of it
    is bright ink's dark paper.

    Args:
        pictures: uint8 (n, 32, 128, 3).

    Returns:
        float32 (n, 1, 32, 128) in [-1, 1].
    """
    crops = [_stretched(picture) for picture in pictures]
    stacked = np.stack(crops) if crops else np.zeros((0, 1, HEIGHT, WIDTH), np.float32)
    return torch.from_numpy(stacked)


def _stretched(picture: np.ndarray) -> np.ndarray:
    grey = picture.astype(np.float32).mean(axis=2)
    low, paper, high = np.percentile(grey, (2, 50, 98))
    ink = (grey - low) / max(high - low, _FLAT)
    if paper - low > high - paper:
        ink = 1 - ink
    return np.asarray(2 * ink.clip(0, 1) - 1, np.float32)[None]
