"""The encoders by name: learned by the platform from the public set, rebuilt by artists from arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fedstyle_secure.config import GallerySection
from fedstyle_secure.devices import CPU
from fedstyle_secure.errors import ConfigError, FederationError
from fedstyle_secure.galleries.base import Portfolio
from fedstyle_secure.systems.style.augment import augment
from fedstyle_secure.systems.style.backbone_encoder import BackboneEncoder
from fedstyle_secure.systems.style.backbones import backbone_named
from fedstyle_secure.systems.style.cnn import CnnEncoder, pretrain
from fedstyle_secure.systems.style.encoder import StyleEncoder
from fedstyle_secure.systems.style.losses import InBatchContrast
from fedstyle_secure.systems.style.practice import practice_features, practice_portfolios
from fedstyle_secure.systems.style.settings import StyleSection
from fedstyle_secure.systems.style.texture_encoder import TextureEncoder
from fedstyle_secure.systems.style.weights import read_weights, require_named
from fedstyle_secure.systems.style.whitened import Measure, measured
from fedstyle_secure.systems.style.whitening import Whitening, fit_whitening
from fedstyle_secure.textures.statistics import group_widths, texture_features


def fit_encoder(style: StyleSection, public: Sequence[Portfolio], seed: int, rank: int = 0) -> StyleEncoder:
    """The encoder of `learned`."""
    return learned(style, public, seed, rank)[0]


def learned(
    style: StyleSection,
    public: Sequence[Portfolio],
    seed: int,
    rank: int = 0,
    device: torch.device = CPU,
) -> tuple[StyleEncoder, Tensor]:
    """The encoder before any private training, learned from the public set alone, and that set prepared.

    Args:
        style: The encoder's settings.
        public: Public portfolios; all their pictures are used.
        seed: Of initial weights, batches and augmentation.
        rank: Directions that the head trains in, where it trains alone; 0: as a whole.
        device: Where a backbone looks at public pictures; artists look at theirs on the CPU.

    Raises:
        ConfigError: There are no public pictures, or the settings do not fit the encoder.
    """
    _require(style, len(public))
    if style.encoder == "texture":
        whitening, features = _whiten(style, public, texture_features, group_widths())
        texture = TextureEncoder(whitening, rank)
        return texture, texture.whitened(features)
    if style.encoder == "backbone":
        kind = backbone_named(style.backbone)
        network = kind.statistics(read_weights(Path(style.weights), style.weights_sha256)).to(device)
        follows = (style.backbone, kind.version(), style.weights_sha256, device.type)
        whitening, features = _whiten(style, public, network.measure, network.widths, *follows)
        encoder = BackboneEncoder(whitening, network.cpu(), rank)
        return encoder, encoder.whitened(features)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        cnn = CnnEncoder(style.dim, style.train, rank)
        pictures = [p.pictures for p in (*public, *practice_portfolios(style.practice_artists))]
        pretrain(cnn, pictures, style.pretrain_steps, style.temperature, seed)
    return cnn, cnn.prepare(np.concatenate([p.pictures for p in public]))


def _whiten(
    style: StyleSection,
    public: Sequence[Portfolio],
    measure: Measure,
    widths: Sequence[int],
    *follows: str,
) -> tuple[Whitening, np.ndarray]:
    """A whitening of the public set's statistics, and these; what is practised on is kept by `follows`."""
    features, artists = measured(public, measure)
    count = style.practice_artists
    more, owners = practice_features(count, measure, *follows) if count else (None, None)
    return fit_whitening(features, artists, more, owners, dims=style.dim, widths=widths), features


def encoder_from_arrays(style: StyleSection, arrays: Mapping[str, np.ndarray], rank: int = 0) -> StyleEncoder:
    """An encoder with these weights.

    Raises:
        FederationError: A tensor is missing, foreign, misshapen or not finite; names it.
    """
    encoder: StyleEncoder
    if style.encoder == "texture":
        encoder = TextureEncoder(_whitening(arrays, style.dim, group_widths()), rank)
    elif style.encoder == "backbone":
        network = backbone_named(style.backbone).statistics()
        encoder = BackboneEncoder(_whitening(arrays, style.dim, network.widths), network, rank)
    else:
        encoder = CnnEncoder(style.dim, style.train, rank)
    encoder.load(arrays)
    return encoder


def _whitening(arrays: Mapping[str, np.ndarray], dim: int, widths: Sequence[int]) -> Whitening:
    """The whitening among a peer's arrays, which also says how many dimensions there are, at most `dim`."""
    width = sum(widths)
    rows = len(arrays["projection"]) if arrays.get("projection", np.zeros(())).ndim == 2 else 0
    if not 1 <= rows <= dim:
        raise FederationError(f"encoder: tensor 'projection' is missing or has not 1 to {dim} rows")
    shapes = {"mean": (width,), "scale": (width,), "limit": (width,), "projection": (rows, width)}
    for name, shape in shapes.items():
        if name not in arrays or arrays[name].shape != shape:
            raise FederationError(f"encoder: tensor {name!r} is missing or not of shape {shape}")
        if arrays[name].dtype != np.float32:
            raise FederationError(f"encoder: tensor {name!r} is {arrays[name].dtype}, not float32")
    whitening = Whitening(**{name: arrays[name] for name in shapes})
    if broken := whitening.implausible():
        raise FederationError(f"encoder: no honest whitening has other values than {broken}")
    return whitening


def require_learnable(style: StyleSection, gallery: GallerySection) -> None:
    """Check what learning an encoder needs, from the settings alone, before any picture is painted or read.

    Raises:
        ConfigError: There are no public pictures, or the settings do not fit the encoder; names the key.
    """
    _require(style, gallery.public_artists if gallery.source == "atelier" else len(gallery.public))


def _require(style: StyleSection, public_artists: int) -> None:
    if public_artists == 0:
        raise ConfigError(
            "gallery.public names nobody, and the encoder is learned from public pictures: name artists "
            "whose pictures the platform owns"
        )
    if style.encoder != "cnn" and style.train not in ("none", "head"):
        raise ConfigError(
            f"style.train = {style.train!r} needs style.encoder = 'cnn'; the {style.encoder} encoder trains "
            "its head"
        )
    if style.encoder == "backbone":
        require_named(style.backbone, style.weights, style.weights_sha256)
        backbone_named(style.backbone)


def prepare_views(encoder: StyleEncoder, pictures: np.ndarray, views: int, purpose: str) -> Tensor:
    """The pictures and `views` - 1 augmented versions of each, prepared.

    A picture's versions follow from the picture and `purpose` alone, so that removing one picture changes
    no other one's versions: a record stays a record.

    Returns:
        float32, shape (n, views, ...); view 0 is the picture as it is.
    """
    versions = [pictures]
    for view in range(1, views):
        made = [augment(picture[None], _own_rng(picture, f"{purpose}\n{view}")) for picture in pictures]
        versions.append(np.concatenate(made) if made else pictures)
    return torch.stack([encoder.prepare(version) for version in versions], dim=1)


def _own_rng(picture: np.ndarray, purpose: str) -> np.random.Generator:
    digest = hashlib.sha256(purpose.encode() + b"\n" + picture.tobytes()).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))


def realign(
    encoder: StyleEncoder, prepared: Tensor, labels: np.ndarray, steps: int, rate: float, temperature: float
) -> None:
    """Public re-alignment: steps of supervised contrast between public artists, on all public pictures.

    Args:
        encoder: Its privately trained weights are moved in place.
        prepared: Prepared public pictures (n, ...).
        labels: int64 (n,), public artist of each.
        steps: Full-batch gradient steps.
        rate: Step size.
        temperature: Temperature of the contrast.
    """
    loss, targets = InBatchContrast(temperature), torch.from_numpy(labels)
    optimizer = torch.optim.SGD([p for p in encoder.parameters() if p.requires_grad], lr=rate)
    encoder.train()
    for _ in range(steps):
        optimizer.zero_grad()
        loss(encoder(prepared), targets).mean().backward()
        optimizer.step()
