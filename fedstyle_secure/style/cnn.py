"""A lightweight convolutional encoder without batch statistics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fedstyle_secure.style.augment import augment
from fedstyle_secure.style.encoder import StyleEncoder
from fedstyle_secure.style.losses import InBatchContrast

_WIDTHS = (32, 64, 128, 192)
_GROUP = 8
_LARGEST = 64


class _Separable(nn.Module):
    """Depthwise 3x3, pointwise 1x1 (Howard et al. 2017), GroupNorm (Wu and He 2018), GELU, halving."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(inside, inside, 3, padding=1, groups=inside, bias=False)
        self.pointwise = nn.Conv2d(inside, outside, 1, bias=False)
        self.norm = nn.GroupNorm(outside // _GROUP, outside)

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(F.gelu(self.norm(self.pointwise(self.depthwise(x)))), 2)


class CnnTrunk(nn.Module):
    """Pictures to pooled features.

    Style is a matter of statistics rather than of places, so the last maps are pooled to their mean
    and their deviation.
    """

    width = 2 * _WIDTHS[-1]

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, _WIDTHS[0], 5, stride=2, padding=2, bias=False)
        self.stem_norm = nn.GroupNorm(_WIDTHS[0] // _GROUP, _WIDTHS[0])
        pairs = zip(_WIDTHS, (*_WIDTHS[1:], _WIDTHS[-1]), strict=True)
        self.blocks = nn.Sequential(*(_Separable(a, b) for a, b in pairs))

    def forward(self, x: Tensor) -> Tensor:
        """float32 (b, 3, s, s) in [-1, 1], s from 32, to (b, width)."""
        x = self.blocks(F.gelu(self.stem_norm(self.stem(x))))
        mean = x.mean(dim=(2, 3))
        # The small constant keeps the gradient of the root finite on flat pictures.
        deviation = (x.var(dim=(2, 3), unbiased=False) + 1e-4).sqrt()
        return torch.cat([mean, deviation], dim=1)


def image_tensor(pictures: np.ndarray) -> Tensor:
    """uint8 (n, s, s, 3) to float32 (n, 3, t, t) in [-1, 1], t = s but at most 64."""
    images = torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))).float() / 127.5 - 1
    if images.shape[-1] > _LARGEST:
        images = F.interpolate(images, (_LARGEST, _LARGEST), mode="area")
    return images


class CnnEncoder(StyleEncoder):
    """The convolutional encoder: trunk, then a linear head onto the unit sphere."""

    def __init__(self, dim: int, train: Literal["head", "norms", "all"]) -> None:
        """Build with random weights.

        Args:
            dim: Dimensions d of an embedding.
            train: What trains privately: the head; head and GroupNorms; or everything.
        """
        super().__init__()
        self.trunk = CnnTrunk()
        self.head = nn.Linear(CnnTrunk.width, dim, bias=False)
        self._train_trunk = train != "head"
        for p in self.trunk.parameters():
            p.requires_grad_(train == "all")
        if train == "norms":
            for layer in self.trunk.modules():
                if isinstance(layer, nn.GroupNorm):
                    layer.requires_grad_(True)

    def prepare(self, pictures: np.ndarray) -> Tensor:
        """Images in [-1, 1], or the trunk's features where only the head trains."""
        images = image_tensor(pictures)
        if self._train_trunk:
            return images
        with torch.no_grad():
            return torch.cat([self.trunk(part) for part in images.split(64)])

    def forward(self, prepared: Tensor) -> Tensor:
        features = self.trunk(prepared) if self._train_trunk else prepared
        return F.normalize(self.head(features), dim=1)

    def released(self, prepared: Tensor) -> np.ndarray:
        if self._train_trunk:
            return self.embed(prepared)
        return F.normalize(prepared, dim=1).numpy()

    def place(self, released: np.ndarray) -> Tensor:
        vectors = torch.from_numpy(np.asarray(released, np.float32))
        with torch.no_grad():
            return F.normalize(vectors if self._train_trunk else self.head(vectors), dim=1)


def pretrain(
    encoder: CnnEncoder, public: Sequence[np.ndarray], steps: int, temperature: float, seed: int
) -> None:
    """Train all weights on the public set by supervised contrast between its artists.

    Args:
        encoder: Trained in place; what trains privately later stays as it was set.
        public: Pictures of each public artist, uint8 (n, s, s, 3).
        steps: Batches of 64 pictures, flipped and tinted at random.
        temperature: Temperature of the contrast.
        seed: Of batches and augmentation.
    """
    rng = np.random.default_rng(seed)
    pictures = np.concatenate(list(public))
    labels = np.repeat(np.arange(len(public)), [len(p) for p in public])
    loss = InBatchContrast(temperature)
    trained = {name: p.requires_grad for name, p in encoder.named_parameters()}
    encoder.requires_grad_(True).train()
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, steps))
    for _ in range(steps):
        drawn = rng.choice(len(pictures), size=min(64, len(pictures)), replace=False)
        images = image_tensor(augment(pictures[drawn], rng))
        embeddings = F.normalize(encoder.head(encoder.trunk(images)), dim=1)
        optimizer.zero_grad()
        loss(embeddings, torch.from_numpy(labels[drawn])).mean().backward()
        optimizer.step()
        schedule.step()
    for name, p in encoder.named_parameters():
        p.requires_grad_(trained[name])
