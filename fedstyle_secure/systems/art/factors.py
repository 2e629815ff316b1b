"""Low-rank changes of a backbone (LoRA, Hu et al. 2022), by peft: those that artists train together, and an
artist's own.

Averages of two factors are no factors of the average. So of those that are trained together the first factor
is held where it began and the second one trains alone (FFA-LoRA, Sun et al. 2024): sums and averages are
exact, and noise on the second is noise on the change.
"""

from __future__ import annotations

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

SHARED, OWN = "shared", "own"
"""Names of a change: of all artists, of one."""

_LAYERS = ["conv1", "conv2", "conv_shortcut", "time_emb_proj", "to_q", "to_k", "to_v", "to_out.0"]
"""Of diffusers' networks: convolutions of the blocks, what takes time and condition in, attention."""


def add_factors(unet: nn.Module, rank: int, name: str, seed: int, *, first_trains: bool) -> None:
    """Give a network factors that change nothing yet, and hold everything else.

    Args:
        unet: Changed in place.
        rank: Of the change in each layer.
        name: `SHARED` or `OWN`.
        seed: Of the first factors.
        first_trains: Whether the first factors train too.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = LoraConfig(r=rank, lora_alpha=rank, target_modules=_LAYERS)
        inject_adapter_in_model(config, unet, adapter_name=name)
    for key, parameter in unet.named_parameters():
        parameter.requires_grad_(f"lora_B.{name}." in key or (first_trains and f"lora_A.{name}." in key))


def merge_factors(unet: nn.Module) -> None:
    """Make the change part of the weights, in place; nothing of the factors is left."""
    for key, layer in list(unet.named_modules()):
        if not isinstance(layer, BaseTunerLayer):
            continue
        layer.merge()
        parent, _, place = key.rpartition(".")
        setattr(unet.get_submodule(parent), place, layer.get_base_layer())
    # Or peft takes the next factors for further ones of the same network.
    del unet.peft_config
