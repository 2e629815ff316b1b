"""A lightweight convolutional encoder without batch statistics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fedstyle_secure.privacy.alone import one_at_a_time
from fedstyle_secure.systems.style.encoder import StyleEncoder
from fedstyle_secure.systems.style.heads import head_of
from fedstyle_secure.systems.style.losses import InBatchContrast

_WIDTHS = (32, 64, 128, 192)
_POOLS = (2, 2, 1, 1)
_GROUP = 8
_LARGEST = 64
_BATCH, _PATCH = 32, 48


class _Separable(nn.Module):
    """Depthwise 3x3, pointwise 1x1 (Howard et al. 2017), GroupNorm (Wu and He 2018), GELU, pooling."""

    def __init__(self, inside: int, outside: int, pool: int) -> None:
        super().__init__()
        self.pool = pool
        self.depthwise = nn.Conv2d(inside, inside, 3, padding=1, groups=inside, bias=False)
        self.pointwise = nn.Conv2d(inside, outside, 1, bias=False)
        self.norm = nn.GroupNorm(outside // _GROUP, outside)

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(F.gelu(self.norm(self.pointwise(self.depthwise(x)))), self.pool)


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
        shapes = zip(_WIDTHS, (*_WIDTHS[1:], _WIDTHS[-1]), _POOLS, strict=True)
        self.blocks = nn.Sequential(*(_Separable(*shape) for shape in shapes))

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
    """The convolutional encoder: trunk and projection learned in public, then a square linear head.

    The head begins as the identity: before any private training the embedding is the public one.
    """

    def __init__(self, dim: int, train: Literal["none", "head", "norms", "all"], rank: int = 0) -> None:
        """Build with random weights.

        Args:
            dim: Dimensions d of an embedding.
            train: What trains privately: the head, if anything; head and GroupNorms; or everything.
            rank: Directions that the head trains in where it trains alone; 0: as a whole.
        """
        super().__init__()
        self.trunk = CnnTrunk()
        self.projection = nn.Linear(CnnTrunk.width, dim)
        self._only_head = train in ("none", "head")
        self.head = head_of(dim, rank if self._only_head else 0)
        self.trunk.requires_grad_(train == "all")
        self.projection.requires_grad_(train == "all")
        if train == "norms":
            for layer in self.trunk.modules():
                if isinstance(layer, nn.GroupNorm):
                    layer.requires_grad_(True)

    @property
    def width(self) -> int:
        return self.head.in_features

    def features(self, images: Tensor) -> Tensor:
        """float32 (n, 3, s, s) in [-1, 1] to unit vectors (n, d), before the head."""
        return F.normalize(self.projection(self.trunk(images)), dim=1)

    def prepare(self, pictures: np.ndarray) -> Tensor:
        """Images in [-1, 1], or what the head sees where only the head trains."""
        if not len(pictures):
            return image_tensor(pictures)
        images = torch.cat([image_tensor(picture[None]) for picture in pictures])
        if not self._only_head:
            return images
        with torch.no_grad():
            return one_at_a_time(self.features, images)

    def forward(self, prepared: Tensor) -> Tensor:
        features = prepared if self._only_head else self.features(prepared)
        return F.normalize(self.head(features), dim=1)

    def released(self, prepared: Tensor) -> np.ndarray:
        return prepared.numpy() if self._only_head else self.embed(prepared)

    def place(self, released: np.ndarray) -> Tensor:
        vectors = torch.tensor(released, dtype=torch.float32)
        with torch.no_grad():
            return F.normalize(self.head(vectors) if self._only_head else vectors, dim=1)


def pretrain(
    encoder: CnnEncoder, artists: Sequence[np.ndarray], steps: int, temperature: float, seed: int
) -> None:
    """Train trunk and projection on public pictures: two patches of one picture share its style.

    Contrast between patches (as SimCLR, Chen et al. 2020), not between the few public artists: those
    differ in less than the private ones do, and what tells them apart says little about others.

    Args:
        encoder: Trained in place; what trains privately later stays as it was set.
        artists: Pictures of each artist, uint8 (n, s, s, 3); sizes may differ between artists.
        steps: Batches of 32 pictures, two patches each.
        temperature: Temperature of the contrast.
        seed: Of the batches and patches.
    """
    rng = np.random.default_rng(seed)
    loss = InBatchContrast(temperature)
    trained = [*encoder.trunk.parameters(), *encoder.projection.parameters()]
    wanted = [p.requires_grad for p in trained]
    for p in trained:
        p.requires_grad_(True)
    encoder.train()
    _centre(encoder, artists)
    optimizer = torch.optim.AdamW(trained, lr=1e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, steps))
    for _ in range(steps):
        drawn = [_draw(artists, rng) for _ in range(_BATCH)]
        patches = torch.cat([_patch(picture, rng) for picture in drawn * 2])
        optimizer.zero_grad()
        loss(encoder.features(patches), torch.arange(_BATCH).repeat(2)).mean().backward()
        optimizer.step()
        schedule.step()
    for p, want in zip(trained, wanted, strict=True):
        p.requires_grad_(want)


def _draw(artists: Sequence[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """A picture of a random artist: artists with many pictures do not count for more."""
    pictures = artists[int(rng.integers(len(artists)))]
    picture: np.ndarray = pictures[rng.integers(len(pictures))]
    return picture


def _patch(picture: np.ndarray, rng: np.random.Generator) -> Tensor:
    """A window of half the side, mirrored in half of the cases: (1, 3, _PATCH, _PATCH)."""
    half = len(picture) // 2
    top, left = rng.integers(0, len(picture) - half + 1, 2)
    window = picture[top : top + half, left : left + half]
    if rng.random() < 0.5:
        window = window[:, ::-1]
    return F.interpolate(image_tensor(window[None]), (_PATCH, _PATCH), mode="bilinear", align_corners=False)


def _centre(encoder: CnnEncoder, artists: Sequence[np.ndarray]) -> None:
    """Let the mean of the trunk's features project to zero: they are all positive, so that every picture
    would begin in nearly the same direction."""
    with torch.no_grad():
        features = torch.cat([encoder.trunk(image_tensor(pictures[:8])) for pictures in artists])
        encoder.projection.bias.copy_(-encoder.projection.weight @ features.mean(0))
