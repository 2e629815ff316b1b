"""What a picture is to the shared training: a few fixed looks at it, each with a time and a noise.

The looks are views of one record: their gradients are averaged before the clip (noise multiplicity, Dockhorn
et al. 2022). A look hangs on the picture and the run's seed alone, so no picture changes another's.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import Tensor, nn

from fedstyle_secure.privacy.picture_loss import PictureLoss
from fedstyle_secure.systems.art.backbone.latent import codes
from fedstyle_secure.systems.art.backbone.network import Denoiser, even_times

_TOLD = 1
"""Planes of a look beside picture and noise: its first pixel says the time, its second the condition."""


def looks(model: Denoiser, pictures: np.ndarray, conditions: np.ndarray, draws: int, seed: int) -> Tensor:
    """Looks at pictures, float32 (n, draws, 2 c + 1, h, w): the picture as the model takes it (c, h, w), the
    noise, and a plane that says which.

    Times are drawn one from each of `draws` equal stretches.

    Args:
        model: What is to learn of them.
        pictures: uint8 (n, s, s, 3).
        conditions: int64 (n,).
        draws: Looks a picture.
        seed: Of the run.
    """
    shown = codes(model, pictures)
    channels, *side = shown.shape[1:]
    found = torch.zeros(len(pictures), draws, 2 * channels + _TOLD, *side)
    for one, picture, clean, condition in zip(found, pictures, shown, conditions.tolist(), strict=True):
        time, noise = drawn_for(picture, clean, draws, model.steps, seed)
        one[:, :channels], one[:, channels : 2 * channels] = clean, noise
        one[:, -1, 0, 0], one[:, -1, 0, 1] = time.float(), float(condition)
    return found


def drawn_for(picture: np.ndarray, clean: Tensor, draws: int, steps: int, seed: int) -> tuple[Tensor, Tensor]:
    """The times int64 (draws,) and noises float32 (draws, c, h, w) of one picture uint8 (s, s, 3), which a
    model takes as (c, h, w)."""
    told = hashlib.sha256(f"looks:{seed}:{picture.shape}:".encode() + picture.tobytes()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(told[:8], "big") >> 1)
    noise = torch.randn(draws, *clean.shape, generator=generator)
    return even_times(draws, steps, generator), noise


class Looker(nn.Module):
    """A backbone as a module from looks to what it gets wrong of them."""

    def __init__(self, denoiser: Denoiser) -> None:
        super().__init__()
        self.denoiser = denoiser

    def forward(self, looked: Tensor) -> Tensor:
        """What it predicts less what it should, float32 (b, c h w), of looks (b, 2 c + 1, h, w)."""
        model, steps = self.denoiser, self.denoiser.steps
        channels = (looked.shape[1] - _TOLD) // 2
        clean, noise = looked[:, :channels], looked[:, channels : 2 * channels]
        with torch.no_grad():
            # Whatever is sent as a look is one: a network asked for a time that there is none of would fail.
            time = looked[:, -1, 0, 0].nan_to_num().round().long().clamp(0, steps - 1)
            condition = looked[:, -1, 0, 1].nan_to_num().round().long().clamp(0, model.nothing)
        told = model(model.noised(clean, noise, time), time, condition)
        wrong: Tensor = told - model.wanted(clean, noise, time)
        return wrong.flatten(1)


class LookLoss(PictureLoss):
    """Mean square of what is wrong."""

    name = "denoising"

    def __call__(self, embeddings: Tensor, targets: Tensor) -> Tensor:
        return embeddings.square().mean(dim=1)
