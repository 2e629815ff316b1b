"""Backbones on disk, in diffusers' format: the one that comes with the package, or anybody's own folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import torch
from diffusers import DDPMScheduler, UNet2DModel

from fedstyle_secure.errors import ConfigError, RunError
from fedstyle_secure.files import arrays_digest, read_arrays
from fedstyle_secure.system import tensors
from fedstyle_secure.systems.art.backbone.network import Denoiser

SHIPPED = "shipped"
"""In this folder."""

INDEX = "model_index.json"
_NETWORK, _SCHEDULE = "unet", "scheduler"


@dataclass(frozen=True)
class Blueprint:
    """A backbone without its weights.

    Attributes:
        names: What a picture can be asked to be.
        network: diffusers' settings of its network, JSON.
        schedule: diffusers' settings of its noise, JSON.
    """

    names: tuple[str, ...]
    network: str
    schedule: str


@dataclass(frozen=True, eq=False)
class Backbone:
    """A backbone as text and arrays.

    Attributes:
        blueprint: What it is.
        weights: float32, by name of the tensor in diffusers' network.
    """

    blueprint: Blueprint
    weights: Mapping[str, np.ndarray]

    @property
    def digest(self) -> str:
        """SHA-256 over all of it: what artists agree to."""
        plan = self.blueprint
        return arrays_digest(self.weights, json.dumps([plan.names, plan.network, plan.schedule]))

    def build(self) -> Denoiser:
        """As a module, with weights of its own.

        Raises:
            ConfigError: It is no network of pictures, or its weights are another's.
        """
        plan = self.blueprint
        try:
            with torch.random.fork_rng(devices=[]):
                unet = UNet2DModel.from_config(json.loads(plan.network))
            unet.load_state_dict(tensors(self.weights))
            return Denoiser(unet, DDPMScheduler.from_config(json.loads(plan.schedule)), plan.names)
        except (LookupError, ValueError, TypeError, AttributeError, RuntimeError) as error:
            raise ConfigError(f"art.backbone: is no backbone in diffusers' format: {error!r}") from None


def backbone(folder: str) -> Backbone:
    """A backbone on disk.

    Args:
        folder: In diffusers' format: `model_index.json` with `id2label`, `unet/`, `scheduler/`, all local.
            Empty: the one that comes with the package.

    Raises:
        ConfigError: It is no such folder, or no network of pictures.
    """
    return _read(Path(folder)) if folder else shipped()


@lru_cache(maxsize=1)
def shipped() -> Backbone:
    """The one that comes with the package."""
    with as_file(files("fedstyle_secure.systems.art.backbone") / SHIPPED) as path:
        return _read(path)


def _read(folder: Path) -> Backbone:
    weights = folder / _NETWORK / "diffusion_pytorch_model.safetensors"
    texts = (folder / INDEX, folder / _NETWORK / "config.json", folder / _SCHEDULE / "scheduler_config.json")
    for path in (*texts, weights):
        if not path.is_file():
            raise ConfigError(
                f"art.backbone: {path}: is not there; valid is a folder in diffusers' format with {INDEX}, "
                f"{_NETWORK}/ and {_SCHEDULE}/"
            )
    try:
        # Not `from_pretrained`, which looks elsewhere for what is not here.
        told, network, schedule = (json.loads(path.read_text(encoding="utf-8")) for path in texts)
        kind = network["_class_name"]
        count = max(0, (network.get("num_class_embeds") or 1) - 1)
        labels = told.get("id2label") or {str(i): f"class-{i}" for i in range(count)}
        names = tuple(str(labels[str(i)]) for i in range(count))
        arrays = {name: array.astype(np.float32) for name, array in read_arrays(weights)[0].items()}
    except (LookupError, ValueError, TypeError, AttributeError, RecursionError, RunError) as error:
        raise ConfigError(f"art.backbone: {folder}: is no backbone in diffusers' format: {error!r}") from None
    if kind != "UNet2DModel":
        raise ConfigError(f"art.backbone: {folder}: its network is a {kind!r}; valid is one of 'UNet2DModel'")
    found = Backbone(
        Blueprint(names, *(json.dumps(one, sort_keys=True) for one in (network, schedule))), arrays
    )
    found.build()
    return found


def save(model: Denoiser, folder: Path, told: Mapping[str, object]) -> None:
    """Write a backbone, in half precision.

    Args:
        model: What to write.
        folder: Is made.
        told: What else `model_index.json` is to say, such as how it was made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    half = UNet2DModel.from_config(model.unet.config).half()
    half.load_state_dict(model.unet.state_dict())
    half.save_pretrained(folder / _NETWORK)
    model.scheduler.save_pretrained(folder / _SCHEDULE)
    index = {
        "_class_name": "DDPMPipeline",
        _NETWORK: ["diffusers", "UNet2DModel"],
        _SCHEDULE: ["diffusers", "DDPMScheduler"],
        "id2label": {str(i): name for i, name in enumerate(model.names)},
        **told,
    }
    (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
