"""Backbones on disk, in diffusers' format: the one that comes with the package, or anybody's own folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from diffusers import AutoencoderKL, DDPMScheduler, ModelMixin, UNet2DConditionModel, UNet2DModel

from fedstyle_secure.errors import ConfigError, RunError
from fedstyle_secure.files import arrays_digest, read_arrays
from fedstyle_secure.system import tensors
from fedstyle_secure.systems.art.backbone.latent import CODES, LatentDenoiser, code_shape, in_numbers
from fedstyle_secure.systems.art.backbone.network import Denoiser
from fedstyle_secure.visible import controls

SHIPPED = "shipped"
"""In this folder."""

INDEX = "model_index.json"
_NETWORK, _SCHEDULE = "unet", "scheduler"
_WEIGHTS = "diffusion_pytorch_model.safetensors"
_PIXELS = "UNet2DModel"
_CODER, _ASKED = "autoencoder.", "asked"
"""Where among a backbone's weights those of its autoencoder lie, and its names in numbers."""

_Network = TypeVar("_Network", bound=ModelMixin)

_SCHEDULES = ("DDPMScheduler", "DDIMScheduler", "PNDMScheduler")
"""Whose settings of noise mean the same."""

_PREDICTIONS = ("epsilon", "sample", "v_prediction")

_MOST_STEPS = 100_000

_DEPTH = "layers_per_block"
"""Ends the names of the settings of diffusers' networks that say how many layers there are."""

_LARGEST_SIZE = 512
"""Side of a picture, as `gallery.size` has it."""


@dataclass(frozen=True)
class Blueprint:
    """A backbone without its weights.

    Attributes:
        names: What a picture can be asked to be.
        network: diffusers' settings of its network, JSON.
        schedule: diffusers' settings of its noise, JSON.
        autoencoder: diffusers' settings of what makes codes of pictures, JSON; "" where it sees pixels.
    """

    names: tuple[str, ...]
    network: str
    schedule: str
    autoencoder: str = ""


@dataclass(frozen=True, eq=False)
class Backbone:
    """A backbone as text and arrays.

    Attributes:
        blueprint: What it is.
        weights: float32, by name of the tensor in diffusers' network; those of an autoencoder with that word
            before, and `asked`, the names in numbers, where there is one.
    """

    blueprint: Blueprint
    weights: Mapping[str, np.ndarray]

    @property
    def digest(self) -> str:
        """SHA-256 over all of it: what artists agree to."""
        plan = self.blueprint
        told = [plan.names, plan.network, plan.schedule, *filter(None, [plan.autoencoder])]
        return arrays_digest(self.weights, json.dumps(told))

    def build(self) -> Denoiser:
        """As a module, with weights of its own.

        Raises:
            ConfigError: It is no network of pictures, or its weights are another's.
        """
        plan = self.blueprint
        try:
            # Dropped values would make a work's gradient hang on chance.
            network = {**json.loads(plan.network), "dropout": 0.0}
            told = json.loads(plan.schedule)
            if not _whole(told["num_train_timesteps"], _MOST_STEPS):
                raise ValueError(f"num_train_timesteps is {told['num_train_timesteps']!r}")
            schedule = DDPMScheduler.from_config(told)
            if not plan.autoencoder:
                return Denoiser(_built(UNet2DModel, network, self.weights), schedule, plan.names)
            coder = {n: a for n, a in self.weights.items() if n.startswith(_CODER)}
            inside = {n: a for n, a in self.weights.items() if n not in coder and n != _ASKED}
            return LatentDenoiser(
                _built(UNet2DConditionModel, network, inside),
                schedule,
                plan.names,
                _built(
                    AutoencoderKL,
                    json.loads(plan.autoencoder),
                    {n.removeprefix(_CODER): a for n, a in coder.items()},
                ),
                torch.from_numpy(self.weights[_ASKED].copy()),
            )
        except (LookupError, ValueError, TypeError, AttributeError, RuntimeError, ArithmeticError) as error:
            raise ConfigError(f"art.backbone: is no backbone in diffusers' format: {error!r}") from None


def _built(
    kind: type[_Network], settings: Mapping[str, object], weights: Mapping[str, np.ndarray]
) -> _Network:
    """One of diffusers' networks with these weights.

    They are held to its settings before it has any memory: those could ask for all there is. Without memory
    a layer takes time still, and has a tensor at least.
    """
    for key in (key for key in settings if key.endswith(_DEPTH)):
        if (depth := max(_integers(settings[key]), default=0)) > len(weights):
            raise ValueError(f"{key} is {depth}, and there are {len(weights)} tensors")
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        wanted = {n: tuple(t.shape) for n, t in kind.from_config(settings).state_dict().items()}
    for name in sorted(wanted.keys() | weights.keys()):
        there = weights[name].shape if name in weights else None
        if wanted.get(name) != there:
            raise ValueError(f"tensor {name!r} has shape {there}, and by its settings {wanted.get(name)}")
    with torch.random.fork_rng(devices=[]):
        found: _Network = kind.from_config(settings)
    found.load_state_dict(tensors(weights))
    return found


def backbone(folder: str, prompts: Sequence[str] = ()) -> Backbone:
    """A backbone on disk.

    Args:
        folder: In diffusers' format, all local: `model_index.json`, `unet/` and `scheduler/`. A network of
            pixels (UNet2DModel) has its conditions in the index, as `id2label`; one of codes that words
            steer (UNet2DConditionModel, a Stable Diffusion) has `vae/`, `tokenizer/` and `text_encoder/`
            beside. Empty: the one that comes with the package.
        prompts: What the latter can be asked with.

    Raises:
        ConfigError: It is no such folder, or no network of pictures; or it takes no words.
    """
    found = _read(Path(folder), tuple(prompts)) if folder else shipped()
    if prompts and not found.blueprint.autoencoder:
        names = ", ".join(found.blueprint.names) or "none"
        raise ConfigError(f"art.prompts: this backbone takes no words; it has conditions of its own: {names}")
    return found


@lru_cache(maxsize=1)
def shipped() -> Backbone:
    """The one that comes with the package."""
    with as_file(files("fedstyle_secure.systems.art.backbone") / SHIPPED) as path:
        return _read(path)


def _read(folder: Path, prompts: tuple[str, ...] = ()) -> Backbone:
    weights = folder / _NETWORK / _WEIGHTS
    texts = (folder / INDEX, folder / _NETWORK / "config.json", folder / _SCHEDULE / "scheduler_config.json")
    for path in (*texts, weights):
        if not path.is_file():
            raise ConfigError(
                f"art.backbone: {path}: is not there; valid is a folder in diffusers' format with {INDEX}, "
                f"{_NETWORK}/ and {_SCHEDULE}/"
            )
    try:
        # Not `from_pretrained`, which looks elsewhere for what is not here.
        told, network, scheduler = (json.loads(path.read_text(encoding="utf-8")) for path in texts)
        kind = network["_class_name"]
        count = max(0, (network.get("num_class_embeds") or 1) - 1)
        labels = told.get("id2label") or {str(i): f"class-{i}" for i in range(count)}
        names = tuple(str(labels[str(i)]) for i in range(count))
        steps, noise = scheduler["num_train_timesteps"], scheduler["_class_name"]
        arrays = {name: _weights(name, array) for name, array in read_arrays(weights)[0].items()}
    except (LookupError, ValueError, TypeError, AttributeError, RecursionError, RunError) as error:
        raise ConfigError(f"art.backbone: {folder}: is no backbone in diffusers' format: {error!r}") from None
    if kind not in (_PIXELS, CODES):
        raise ConfigError(
            f"art.backbone: {folder}: its network is a {kind!r}; valid is one of {_PIXELS!r}, {CODES!r}"
        )
    if noise not in _SCHEDULES:
        raise ConfigError(
            f"art.backbone: {folder}: its schedule is a {noise!r}; valid is one of {', '.join(_SCHEDULES)}"
        )
    if scheduler.get("prediction_type", "epsilon") not in _PREDICTIONS or not _whole(steps, _MOST_STEPS):
        raise ConfigError(
            f"art.backbone: {folder}: its schedule has {steps!r} steps and predicts "
            f"{scheduler.get('prediction_type')!r}; valid: 1 to {_MOST_STEPS}, {', '.join(_PREDICTIONS)}"
        )
    if len(set(names)) < len(names) or any(not name.strip() or controls(name) for name in names):
        raise ConfigError(
            f"art.backbone: {folder}: a name in id2label is empty, there twice or not printable"
        )
    autoencoder = ""
    if kind == CODES:
        names = prompts
        autoencoder, coder = _coder(folder / "vae")
        arrays |= coder | {_ASKED: in_numbers(folder, [*names, ""])}
    network, scheduler = (json.dumps(one, sort_keys=True) for one in (network, scheduler))
    found = Backbone(Blueprint(names, network, scheduler, autoencoder), arrays)
    _require_numbers(found.build(), folder)
    return found


def _coder(folder: Path) -> tuple[str, dict[str, np.ndarray]]:
    """Settings and weights of an autoencoder.

    Raises:
        ConfigError: It is none.
    """
    settings, weights = folder / "config.json", folder / _WEIGHTS
    for path in (settings, weights):
        if not path.is_file():
            raise ConfigError(f"art.backbone: {path}: is not there; a network of codes needs its autoencoder")
    try:
        told = json.loads(settings.read_text(encoding="utf-8"))
        kind = told["_class_name"]
        arrays = {_CODER + name: _weights(name, array) for name, array in read_arrays(weights)[0].items()}
    except (LookupError, ValueError, TypeError, AttributeError, RecursionError, RunError) as error:
        raise ConfigError(f"art.backbone: {folder}: is no autoencoder: {error!r}") from None
    if kind != "AutoencoderKL":
        raise ConfigError(f"art.backbone: {folder}: is a {kind!r}; valid is one of 'AutoencoderKL'")
    return json.dumps(told, sort_keys=True), arrays


def _integers(value: object) -> Iterator[int]:
    if isinstance(value, list):
        for one in value:
            yield from _integers(one)
    elif isinstance(value, int):
        yield value


def _whole(value: object, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most


def _weights(name: str, array: np.ndarray) -> np.ndarray:
    """A tensor in float32."""
    if array.dtype.kind != "f":
        raise ValueError(f"tensor {name!r} is of {array.dtype}; valid are floats")
    with np.errstate(over="ignore"):
        found = array.astype(np.float32)
    if not np.isfinite(found).all():
        raise ValueError(f"tensor {name!r} has values that are no numbers in float32")
    return found


def _require_numbers(model: Denoiser, folder: Path) -> None:
    """Try it on noise: sound weights in a network or a schedule that is none give no numbers either."""
    if not 1 <= model.size <= _LARGEST_SIZE:
        raise ConfigError(
            f"art.backbone: {folder}: makes pictures of {model.size} pixels; valid: up to {_LARGEST_SIZE}"
        )
    time = torch.tensor([0, model.steps // 2, model.steps - 1])
    noise = torch.randn(2, 3, *code_shape(model), generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            wrong = model.eval().denoising_losses(noise[0], noise[1], time, torch.full((3,), model.nothing))
    except (LookupError, ValueError, TypeError, RuntimeError, ArithmeticError) as error:
        raise ConfigError(f"art.backbone: {folder}: its network takes no pictures: {error!r}") from None
    if not bool(wrong.isfinite().all()):
        raise ConfigError(
            f"art.backbone: {folder}: what it makes of noise is not of numbers; its weights, its network's "
            "or its schedule's settings are of no trained model"
        )


def save(model: Denoiser, folder: Path, told: Mapping[str, object]) -> None:
    """Write a backbone of pixels, in half precision.

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
