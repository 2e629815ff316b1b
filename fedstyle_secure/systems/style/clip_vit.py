"""The picture half of CLIP (Radford et al. 2021) with the names of OpenAI's files, which CSD's go by too."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn


class _QuickGelu(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln_1 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            OrderedDict(
                c_fc=nn.Linear(width, 4 * width), gelu=_QuickGelu(), c_proj=nn.Linear(4 * width, width)
            )
        )
        self.ln_2 = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        moved: Tensor = x + self.mlp(self.ln_2(x))
        return moved


class ClipVit(nn.Module):
    """A vision transformer as far as its last block that is measured.

    `forward` gives the patches' tokens after each of the blocks that are taken: (b, width, patches).
    """

    def __init__(self, width: int, heads: int, patch: int, size: int, taken: tuple[int, ...]) -> None:
        """Args: taken: Numbers of the blocks whose results are stages, from 1, rising."""
        super().__init__()
        scale = width**-0.5
        self.conv1 = nn.Conv2d(3, width, patch, stride=patch, bias=False)
        self.class_embedding = nn.Parameter(scale * torch.randn(width))
        self.positional_embedding = nn.Parameter(scale * torch.randn((size // patch) ** 2 + 1, width))
        self.ln_pre = nn.LayerNorm(width)
        blocks = nn.ModuleList(_Block(width, heads) for _ in range(taken[-1]))
        self.transformer = nn.ModuleDict({"resblocks": blocks})
        self._taken = taken

    def forward(self, x: Tensor) -> list[Tensor]:
        patches = self.conv1(x).flatten(2).transpose(1, 2)
        first = self.class_embedding.expand(len(x), 1, -1)
        x = self.ln_pre(torch.cat([first, patches], 1) + self.positional_embedding)
        stages = []
        for number, block in enumerate(self.transformer["resblocks"].children(), 1):
            x = block(x)
            if number in self._taken:
                stages.append(x[:, 1:].transpose(1, 2))
        return stages
