"""The backbones by name: how each is built without weights, what it is shown, which stages are measured.

Nothing here downloads anything: libraries give architectures, and weights come from a file (`weights`).
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor, nn

from fedstyle_secure.errors import ConfigError
from fedstyle_secure.systems.style.clip_vit import ClipVit
from fedstyle_secure.systems.style.encoder import LARGEST
from fedstyle_secure.systems.style.stages import InOrder, StageStatistics, without_batches

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
_OWN = ("efficientnet_lite_pytorch",)
"""Libraries of this package's own extra."""

_Colours = tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True)
class Backbone:
    """A pretrained network, without its weights.

    Attributes:
        size: Side of the pictures that it is shown.
        colours: Mean and deviation of red, green and blue in [0, 1] that it was trained with.
        build: Makes it with any weights.
        stages: Cuts a built network to what gives its early and middle stages; see `StageStatistics`.
        module: The library that it is built with; empty: none but torch.
        prefixes: What its tensors' names may begin with in files.
    """

    size: int
    colours: _Colours
    build: Callable[[], nn.Module]
    stages: Callable[[nn.Module], nn.Module]
    module: str = ""
    prefixes: tuple[str, ...] = ("",)

    def version(self) -> str:
        """Library and version that it is built with, which its numbers may hang on."""
        return f"{self.module} {version(self.module)}" if self.module else ""

    def statistics(self, weights: Mapping[str, Tensor] | None = None) -> StageStatistics:
        """The network, cut and frozen.

        Args:
            weights: A file's tensors; None: any weights, to be replaced by a state's.

        Raises:
            ConfigError: A tensor is missing, misshapen, not finite or beyond any honest weight; names it.
        """
        with torch.random.fork_rng(devices=[]):
            network = self.build()
        if weights is not None:
            _fill(network, weights, self.prefixes)
        return StageStatistics(self.stages(without_batches(network.eval())), self.size, *self.colours)


def _fill(network: nn.Module, weights: Mapping[str, Tensor], prefixes: tuple[str, ...]) -> None:
    """Set all tensors of a network; others in the file (heads, halves that read text) are left alone."""
    for name, own in network.state_dict().items():
        given = next((weights[p + name] for p in prefixes if p + name in weights), None)
        if given is None:
            if name.endswith("num_batches_tracked"):
                continue
            raise ConfigError(f"style.weights: tensor {name!r} is missing: a file of another backbone?")
        if given.shape != own.shape:
            raise ConfigError(
                f"style.weights: tensor {name!r} is {tuple(given.shape)}, not {tuple(own.shape)}: a file of "
                "another backbone?"
            )
        if given.is_floating_point() and not (given.abs() <= LARGEST).all():
            raise ConfigError(f"style.weights: tensor {name!r} is not finite or beyond {LARGEST:g}")
        own.copy_(given)


def backbone_named(name: str) -> Backbone:
    """A backbone of the table.

    Raises:
        ConfigError: There is none of that name, or the library that it is built with cannot be imported.
    """
    family, colon, model = name.partition(":")
    if name in BACKBONES:
        found = BACKBONES[name]
    elif colon and family in _FAMILIES and re.fullmatch(r"[a-z0-9_]+(\.[a-z0-9_]+)?", model):
        # Plain names only: a library must not take one for an address that it downloads from.
        found = _FAMILIES[family](model)
    else:
        valid = ", ".join([*sorted(BACKBONES), *(f"{family}:MODEL" for family in sorted(_FAMILIES))])
        raise ConfigError(f"style.backbone = {name!r} is not known; valid: {valid}")
    if found.module:
        _library(found.module)
    return found


def _library(module: str) -> Any:
    """Raises ConfigError where it is missing, or breaks when it is imported (as torchvision made for another
    build of torch does)."""
    try:
        return importlib.import_module(module)
    except Exception as error:
        install = "'fedstyle-secure[backbone]'" if module in _OWN else module
        raise ConfigError(
            f"style.backbone needs the package {module}, which cannot be imported here "
            f"({str(error).partition(chr(10))[0]}): pip install {install}"
        ) from None


def _efficientnet_lite0() -> nn.Module:
    network: nn.Module = _library("efficientnet_lite_pytorch").EfficientNet.from_name(
        "efficientnet-lite0", image_size=160
    )
    return network


def _lite_stages(network: Any) -> nn.Module:
    """Of 16, 24, 40, 80 and 112 channels: 544 numbers."""
    # Its activation is without state, so one object serves the stem.
    stem = [network._conv_stem, network._bn0, network._swish]
    ends, blocks = (1, 3, 5, 8, 11), list(network._blocks)
    parts = [blocks[start:end] for start, end in zip((0, *ends), ends, strict=False)]
    return InOrder([nn.Sequential(*(stem if not i else []), *part) for i, part in enumerate(parts)])


def _torchvision(model: str) -> Backbone:
    def build() -> nn.Module:
        models = _library("torchvision.models")
        if model not in models.list_models(module=models):
            raise ConfigError(f"style.backbone = 'torchvision:{model}': torchvision has no such classifier")
        network: nn.Module = models.get_model(model, weights=None)
        return network

    return Backbone(160, _IMAGENET, build, _by_resolution, "torchvision")


def _by_resolution(network: Any) -> nn.Module:
    """Stages of a network of convolutions: the last layer of each resolution but the lowest."""
    if isinstance(getattr(network, "features", None), nn.Sequential):
        layers = list(network.features)
    elif all(hasattr(network, f"layer{i}") for i in range(1, 5)):
        stem = nn.Sequential(network.conv1, network.bn1, network.relu, network.maxpool)
        layers = [stem, network.layer1, network.layer2, network.layer3, network.layer4]
    else:
        raise ConfigError("style.backbone: no network of convolutions whose stages could be told apart")
    parts: list[list[nn.Module]] = []
    x, side = torch.zeros(1, 3, 160, 160), 0
    with torch.no_grad():
        for layer in layers:
            x = layer(x)
            if x.ndim != 4 or x.shape[2] != x.shape[3]:
                raise ConfigError("style.backbone: its layers give no maps (1, channels, side, side)")
            if x.shape[3] != side:
                parts, side = [*parts, []], x.shape[3]
            parts[-1].append(layer)
    return InOrder([nn.Sequential(*part) for part in parts[:-1]])


def _middle(depth: int) -> tuple[int, int, int]:
    """The blocks of a transformer that are measured, from 1: after a quarter, a half, three quarters."""
    return depth // 4, depth // 2, 3 * depth // 4


class _TimmStages(nn.Module):
    def __init__(self, network: Any) -> None:
        super().__init__()
        if not hasattr(network, "prune_intermediate_layers"):
            raise ConfigError("style.backbone: timm does not give the stages of this model")
        info = network.feature_info
        steps = [entry["reduction"] for entry in info]
        last = {step: place for place, step in enumerate(steps)}
        if len(last) > 1:
            self._taken = [place for step, place in last.items() if step != max(last)]
        else:
            self._taken = [number - 1 for number in _middle(len(steps))]
        network.prune_intermediate_layers(self._taken, prune_norm=True, prune_head=True)
        self.network = network

    def forward(self, x: Tensor) -> list[Tensor]:
        stages: list[Tensor] = self.network.forward_intermediates(
            x, indices=self._taken, intermediates_only=True, norm=False, output_fmt="NCHW"
        )
        return stages


def _timm(model: str) -> Backbone:
    library = _library("timm")
    if not (model in library.list_pretrained() if "." in model else library.is_model(model)):
        raise ConfigError(f"style.backbone = 'timm:{model}': timm has no such model")
    shown = library.get_pretrained_cfg(model)
    if shown is None:
        raise ConfigError(f"style.backbone = 'timm:{model}': timm does not say what it was trained on")
    build = partial(library.create_model, model, pretrained=False)
    return Backbone(shown.input_size[-1], (shown.mean, shown.std), build, _TimmStages, "timm")


class _HiddenStages(nn.Module):
    """Tokens of the patches after some of the blocks of a transformer, which ends with the last of these."""

    def __init__(self, network: Any, layers: str) -> None:
        super().__init__()
        blocks = getattr(network.encoder, layers)
        self._taken = _middle(len(blocks))
        setattr(network.encoder, layers, blocks[: self._taken[-1]])
        self.network = network

    def forward(self, x: Tensor) -> list[Tensor]:
        hidden = self.network(pixel_values=x, output_hidden_states=True).hidden_states
        return [hidden[number][:, 1:].transpose(1, 2) for number in self._taken]


def _transformers(size: int, colours: _Colours, kind: str, layers: str, **settings: int) -> Backbone:
    def build() -> nn.Module:
        library = _library("transformers")
        settled = getattr(library, f"{kind}Config")(**settings, attn_implementation="eager")
        network: nn.Module = getattr(library, f"{kind}Model")(settled)
        return network

    stages = partial(_HiddenStages, layers=layers)
    prefixes = ("", "vision_model.", "dinov2.")
    return Backbone(size, colours, build, stages, "transformers", prefixes)


def _clip(width: int, depth: int, patch: int) -> Backbone:
    shape = {"hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": depth}
    heads = {"num_attention_heads": width // 64, "image_size": 224, "patch_size": patch}
    return _transformers(224, _CLIP, "CLIPVision", "layers", **shape, **heads)


def _dinov2(width: int, depth: int) -> Backbone:
    shape = {"hidden_size": width, "num_hidden_layers": depth, "num_attention_heads": width // 64}
    return _transformers(224, _IMAGENET, "Dinov2", "layer", **shape, image_size=518, patch_size=14)


BACKBONES: Mapping[str, Backbone] = {
    "efficientnet_lite0": Backbone(
        160, _IMAGENET, _efficientnet_lite0, _lite_stages,
        "efficientnet_lite_pytorch",
    ),
    "csd_vit_l14": Backbone(
        224, _CLIP, partial(ClipVit, 1024, 16, 14, 224, _middle(24)), lambda network: network,
        prefixes=("backbone.", "visual.", ""),
    ),
    "transformers:clip_vit_b32": _clip(768, 12, 32),
    "transformers:clip_vit_b16": _clip(768, 12, 16),
    "transformers:clip_vit_l14": _clip(1024, 24, 14),
    "transformers:dinov2_small": _dinov2(384, 12),
    "transformers:dinov2_base": _dinov2(768, 12),
    "transformers:dinov2_large": _dinov2(1024, 24),
}  # fmt: skip
"""What `style.backbone` may name, beside models of the libraries in `_FAMILIES`."""

_FAMILIES: Mapping[str, Callable[[str], Backbone]] = {"torchvision": _torchvision, "timm": _timm}
