"""Backbones on disk, in diffusers' format: the one that comes with the package, or anybody's own folder."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from importlib.resources import as_file, files
from pathlib import Path

import torch
from diffusers import DDPMScheduler, UNet2DModel

from fedstyle_secure.errors import ConfigError
from fedstyle_secure.systems.art.backbone.network import Denoiser

SHIPPED = "shipped"
"""In this folder."""

_INDEX, _NETWORK, _SCHEDULE = "model_index.json", "unet", "scheduler"


def digest_of(folder: str) -> str:
    """SHA-256 over the files that a backbone follows from, by their names in order.

    Raises:
        ConfigError: It is no such folder.
    """
    return _opened(folder)[1]


def backbone(folder: str) -> Denoiser:
    """A backbone, new each time.

    Args:
        folder: In diffusers' format: `model_index.json` with `id2label`, `unet/`, `scheduler/`, all local.
            Empty: the one that comes with the package.

    Raises:
        ConfigError: It is no such folder, or no network of pictures.
    """
    names, _, config, weights, schedule = _opened(folder)
    unet = UNet2DModel.from_config(json.loads(config))
    unet.load_state_dict({name: tensor.clone() for name, tensor in weights.items()})
    return Denoiser(unet, DDPMScheduler.from_config(json.loads(schedule)), names)


def save(model: Denoiser, folder: Path, told: dict[str, object]) -> None:
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
    (folder / _INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


_Opened = tuple[tuple[str, ...], str, str, dict[str, torch.Tensor], str]


def _opened(folder: str) -> _Opened:
    if folder:
        return _read(Path(folder).absolute(), _stamp(Path(folder)))
    with as_file(files("fedstyle_secure.systems.art.backbone") / SHIPPED) as path:
        return _read(path, _stamp(path))


def _stamp(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """What tells a folder's files from changed ones without reading them."""
    found = []
    for path in _parts(folder):
        try:
            seen = path.stat()
        except OSError:
            raise ConfigError(
                f"art.backbone: {path}: is not there; valid is a folder in diffusers' format with "
                f"{_INDEX}, {_NETWORK}/ and {_SCHEDULE}/"
            ) from None
        found.append((str(path), seen.st_mtime_ns, seen.st_size))
    return tuple(found)


def _parts(folder: Path) -> tuple[Path, Path, Path, Path]:
    weights = "diffusion_pytorch_model.safetensors"
    return (
        folder / _INDEX,
        folder / _NETWORK / "config.json",
        folder / _NETWORK / weights,
        folder / _SCHEDULE / "scheduler_config.json",
    )


@lru_cache(maxsize=4)
def _read(folder: Path, stamp: object) -> _Opened:
    """Read once a process: every message asks for it."""
    from safetensors.torch import load

    index, config, weights, schedule = (path.read_bytes() for path in _parts(folder))
    digest = hashlib.sha256()
    for part in (index, config, weights, schedule):
        digest.update(hashlib.sha256(part).digest())
    try:
        told, network = json.loads(index), json.loads(config)
        if network.get("_class_name") != "UNet2DModel":
            raise ConfigError(
                f"art.backbone: {folder}: its network is a {network.get('_class_name')!r}; valid is one of "
                "'UNet2DModel'"
            )
        labels = told.get("id2label")
        count = max(0, (network.get("num_class_embeds") or 1) - 1)
        names = tuple(labels[str(i)] for i in range(count)) if labels else _numbered(count)
        # Not `from_pretrained`, which looks elsewhere for what is not here.
        tensors = {name: tensor.float() for name, tensor in load(weights).items()}
        UNet2DModel.from_config(network).load_state_dict(tensors)
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, RecursionError) as error:
        raise ConfigError(f"art.backbone: {folder}: is no backbone in diffusers' format: {error!r}") from None
    return names, digest.hexdigest(), config.decode(), tensors, schedule.decode()


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(f"class-{i}" for i in range(count))
