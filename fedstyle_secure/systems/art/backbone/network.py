"""A conditional diffusion model in diffusers' format, as one module from noisy pictures to predictions."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import DDPMScheduler, UNet2DModel
from torch import Tensor, nn

from fedstyle_secure.errors import ConfigError

CHANNELS = 3
"""Of a picture."""


@dataclass(frozen=True)
class Shape:
    """How large a backbone is.

    Attributes:
        size: Side of its pictures, a multiple of 8.
        widths: Channels by level, the finest first; multiples of 8.
    """

    size: int = 32
    widths: tuple[int, ...] = (64, 96)


SMALL = Shape()
"""Of the backbone that comes with the package."""

_PATCH = 2
"""Side of the squares of pixels that the first layer takes as one: a quarter of the work."""


def new_unet(shape: Shape, conditions: int) -> UNet2DModel:
    """A network with random weights.

    Args:
        shape: How large.
        conditions: What a picture can be asked to be; one more stands for none of them.
    """
    levels = len(shape.widths)
    return UNet2DModel(
        sample_size=shape.size // _PATCH,
        in_channels=CHANNELS * _PATCH**2,
        out_channels=CHANNELS * _PATCH**2,
        layers_per_block=1,
        block_out_channels=shape.widths,
        down_block_types=("DownBlock2D",) * levels,
        up_block_types=("UpBlock2D",) * levels,
        norm_num_groups=8,
        attention_head_dim=16,
        resnet_time_scale_shift="scale_shift",
        num_class_embeds=conditions + 1,
    )


def new_scheduler() -> DDPMScheduler:
    """How pictures are noised: by the cosine schedule, so that a small picture keeps its shape for long."""
    return DDPMScheduler(
        num_train_timesteps=1000, beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction"
    )


class Denoiser(nn.Module):
    """A network and the noise it was taught with.

    Attributes:
        unet: diffusers' network. Where it takes 3 p p channels, it sees pictures in squares of p by p pixels.
        scheduler: diffusers' schedule of noise, in `steps` steps.
        names: What a picture can be asked to be.
        size: Side of its pictures.
    """

    def __init__(self, unet: UNet2DModel, scheduler: DDPMScheduler, names: tuple[str, ...]) -> None:
        """
        Raises:
            ConfigError: The network does not take pictures, or has no place for none of the names.
        """
        super().__init__()
        self.unet, self.scheduler, self.names = unet, scheduler, names
        patch = round((unet.config.in_channels / CHANNELS) ** 0.5)
        if (
            CHANNELS * patch**2 != unet.config.in_channels
            or unet.config.out_channels != unet.config.in_channels
        ):
            raise ConfigError(
                f"art.backbone: its network takes {unet.config.in_channels} channels and gives "
                f"{unet.config.out_channels}; valid is as many, 3 for each pixel of a square"
            )
        classes = unet.config.num_class_embeds
        if (classes or 1) != len(names) + 1:
            raise ConfigError(
                f"art.backbone: its network has {classes or 0} conditions for {len(names)} names; valid is "
                "one more, the last, which stands for none of them"
            )
        self._patch, self._conditional = patch, classes is not None
        self.size = int(unet.config.sample_size) * patch
        self._kept: Tensor
        self.register_buffer("_kept", scheduler.alphas_cumprod.clone(), persistent=False)

    @property
    def steps(self) -> int:
        """Of noise: 0 is hardly any, the last hardly anything else."""
        return int(self.scheduler.config.num_train_timesteps)

    @property
    def nothing(self) -> int:
        """The condition that asks for none of the names."""
        return len(self.names)

    def copied(self) -> Denoiser:
        """The same with weights of its own."""
        return copy.deepcopy(self)

    def denoising_losses(self, pictures: Tensor, noise: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        """Mean square error of its prediction of each picture, (b,).

        Args:
            pictures: float32 (b, 3, s, s) in [-1, 1].
            noise: As pictures.
            time: int64 (b,).
            condition: int64 (b,), what each is asked to be.
        """
        told = self(self.noised(pictures, noise, time), time, condition)
        wrong: Tensor = told - self.wanted(pictures, noise, time)
        return wrong.square().mean(dim=(1, 2, 3))

    def asked_by(self, labels: Sequence[str]) -> np.ndarray:
        """What pictures with these labels are asked to be, int64 (n,): the condition of that name where there
        is one, else none in particular."""
        place = {name: i for i, name in enumerate(self.names)}
        return np.array([place.get(label, self.nothing) for label in labels], np.int64)

    def noised(self, pictures: Tensor, noise: Tensor, time: Tensor) -> Tensor:
        """Pictures (b, 3, s, s) in [-1, 1] with so much of the noise as belongs to a time int64 (b,)."""
        keep, add = self._parts(time)
        return keep * pictures + add * noise

    def wanted(self, pictures: Tensor, noise: Tensor, time: Tensor) -> Tensor:
        """What an ideal network predicts of them, (b, 3, s, s)."""
        kind = self.scheduler.config.prediction_type
        if kind == "epsilon":
            return noise
        if kind == "sample":
            return pictures
        keep, add = self._parts(time)
        return keep * noise - add * pictures

    def _parts(self, time: Tensor) -> tuple[Tensor, Tensor]:
        kept = self._kept[time][:, None, None, None]
        return kept.sqrt(), (1 - kept).sqrt()

    def forward(self, noisy: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        """What it predicts.

        Args:
            noisy: float32 (b, 3, s, s).
            time: int64 (b,).
            condition: int64 (b,), of `names`, or `nothing`.
        """
        asked = condition if self._conditional else None
        squares = nn.functional.pixel_unshuffle(noisy, self._patch)
        told: Tensor = self.unet(squares, time, asked, return_dict=False)[0]
        return nn.functional.pixel_shuffle(told, self._patch)


def even_times(number: int, steps: int, generator: torch.Generator) -> Tensor:
    """Times int64 (number,), one from each of as many equal stretches of `steps`."""
    spread = (torch.arange(number) + torch.rand(number, generator=generator)) / number
    return (spread * steps).long().clamp(max=steps - 1)


def as_tensor(pictures: object) -> Tensor:
    """uint8 (n, s, s, 3) to float32 (n, 3, s, s) in [-1, 1]."""
    return torch.as_tensor(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1


def as_pictures(tensor: Tensor) -> Tensor:
    """float32 (n, 3, s, s) to uint8 (n, s, s, 3); what lies beyond [-1, 1] is drawn as its end."""
    return ((tensor.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
