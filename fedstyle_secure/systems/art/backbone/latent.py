"""Backbones that draw in the codes of an autoencoder and are asked in words (latent diffusion, Rombach et al.
2022): a Stable Diffusion's folder, by whoever has one.

Words become numbers when the folder is read, by its own text encoder, and are a part of the backbone from
then on; so is the autoencoder. Artists are sent both, and need neither the folder nor a text encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from torch import Tensor, nn

from fedstyle_secure.devices import device_of
from fedstyle_secure.errors import ConfigError
from fedstyle_secure.systems.art.backbone.network import CHANNELS, Denoiser, as_pictures, as_tensor

CODES = "UNet2DConditionModel"
"""diffusers' name of a network over codes that words steer."""

_PLAIN_SETTINGS = ("addition_embed_type", "class_embed_type", "encoder_hid_dim_type", "num_class_embeds")
"""Of such a network: what it is told beside time and words, each of which must be nothing."""


class LatentDenoiser(Denoiser):
    """A network over codes, its autoencoder, and the words that it can be asked with.

    What `Denoiser` calls pictures (b, 3, s, s) are codes (b, c, h, w) here; `codes` and `drawings` lead from
    one to the other.

    Attributes:
        autoencoder: diffusers' autoencoder; it never trains.
        asked: float32 (len(names) + 1, tokens, width): each name in words, and last the empty text.
    """

    def __init__(
        self,
        unet: UNet2DConditionModel,
        scheduler: DDPMScheduler,
        names: tuple[str, ...],
        autoencoder: AutoencoderKL,
        asked: Tensor,
    ) -> None:
        """
        Raises:
            ConfigError: The parts do not fit together, or the network is told more than time and words.
        """
        nn.Module.__init__(self)
        self.unet, self.scheduler, self.names = unet, scheduler, names
        self.autoencoder = autoencoder.requires_grad_(False)
        told = [key for key in _PLAIN_SETTINGS if unet.config.get(key) is not None]
        if told:
            raise ConfigError(
                f"art.backbone: its network has {told[0]}; valid is one of time and words alone"
            )
        channels = autoencoder.config.latent_channels
        if not channels == unet.config.in_channels == unet.config.out_channels:
            raise ConfigError(
                f"art.backbone: its network takes {unet.config.in_channels} channels and gives "
                f"{unet.config.out_channels}; valid are the {channels} of its autoencoder"
            )
        width = unet.config.cross_attention_dim
        if asked.ndim != 3 or len(asked) != len(names) + 1 or asked.shape[2] != width:
            raise ConfigError(
                f"art.backbone: its words are {tuple(asked.shape)}; "
                f"valid: ({len(names) + 1}, tokens, {width})"
            )
        self.size = int(unet.config.sample_size) * 2 ** (len(autoencoder.config.block_out_channels) - 1)
        self.asked: Tensor
        self.register_buffer("asked", asked)
        self._kept: Tensor
        self.register_buffer("_kept", scheduler.alphas_cumprod.clone(), persistent=False)

    def forward(self, noisy: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        """What it predicts.

        Args:
            noisy: float32 (b, c, h, w).
            time: int64 (b,).
            condition: int64 (b,), of `names`, or `nothing`.
        """
        told: Tensor = self.unet(noisy, time, self.asked[condition], return_dict=False)[0]
        return told

    @property
    def moved(self) -> tuple[float, float]:
        """What is taken from a code, and what it is multiplied with then, so that its deviation is one."""
        config = self.autoencoder.config
        return float(config.get("shift_factor") or 0.0), float(config.scaling_factor)


def code_shape(model: Denoiser) -> tuple[int, int, int]:
    """Shape (c, h, w) of what a backbone takes noise off: a picture, or a code of one."""
    if isinstance(model, LatentDenoiser):
        side = int(model.unet.config.sample_size)
        return int(model.unet.config.in_channels), side, side
    return CHANNELS, model.size, model.size


@torch.no_grad()
def codes(model: Denoiser, pictures: np.ndarray) -> Tensor:
    """What a backbone makes of pictures uint8 (n, s, s, 3): float32 (n, *code_shape(model)), in memory.

    Each by itself, so that none has a part in another's.
    """
    shown = as_tensor(pictures)
    if not isinstance(model, LatentDenoiser):
        return shown
    (shift, scale), place = model.moved, device_of(model)
    # The middle of what the encoder holds possible: nothing is drawn here.
    found = [model.autoencoder.encode(one[None].to(place)).latent_dist.mode().cpu() for one in shown]
    return (torch.cat([torch.empty(0, *code_shape(model)), *found]) - shift) * scale


@torch.no_grad()
def drawings(model: Denoiser, made: Tensor) -> Tensor:
    """Pictures uint8 (n, s, s, 3) of what a backbone made, float32 (n, *code_shape(model))."""
    if not isinstance(model, LatentDenoiser):
        return as_pictures(made)
    shift, scale = model.moved
    return as_pictures(
        torch.cat([model.autoencoder.decode(one[None] / scale + shift).sample for one in made])
    )


@torch.no_grad()
def in_numbers(folder: Path, words: Sequence[str]) -> np.ndarray:
    """Texts as a folder's own text encoder tells them, float32 (n, tokens, width).

    Args:
        folder: With `tokenizer/` and `text_encoder/`; nothing is looked for elsewhere, and no pickle is read.
        words: n >= 1 texts.

    Raises:
        ConfigError: There is no text encoder that can be read.
    """
    from transformers import CLIPTextModel, CLIPTokenizer
    from transformers.utils import logging

    parts = (folder / "tokenizer", folder / "text_encoder")
    for part in parts:
        if not part.is_dir():
            raise ConfigError(f"art.backbone: {part}: is not there; words are told by it")
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        tokenizer = CLIPTokenizer.from_pretrained(str(parts[0]), local_files_only=True)
        encoder = CLIPTextModel.from_pretrained(str(parts[1]), local_files_only=True, use_safetensors=True)
        longest = min(int(tokenizer.model_max_length), int(encoder.config.max_position_embeddings))
        tokens = tokenizer(
            list(words), padding="max_length", max_length=longest, truncation=True, return_tensors="pt"
        )
        told = encoder(tokens.input_ids).last_hidden_state
    except Exception as error:
        # Readers of foreign files raise whatever they like, bare Exception among it.
        raise ConfigError(f"art.backbone: {folder}: its words cannot be told: {error!r:.300}") from None
    finally:
        if bars:
            logging.enable_progress_bar()
    found: np.ndarray = told.float().numpy()
    return found
