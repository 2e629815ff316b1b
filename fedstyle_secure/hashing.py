"""Weights by hashing (Chen et al. 2015, "Compressing Neural Networks with the Hashing Trick").

A layer's n values are read from k < n numbers, and those are what trains, is clipped, gets noise and
travels: weights = base + S v. Every weight belongs to one of k buckets and has a sign, both from a hash of
its place, so that no map travels. The gradient by v is S' times that by the weights; so a record's row is
hashed before it is clipped, and whatever bounds rows bounds hashed ones.

It saves bytes. It protects nobody: whoever knows the public seed can hash a guess, too.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils import parametrize

from fedstyle_secure.config import Section


class HashingSection(Section):
    """How many numbers stand for the weights of a layer: fewer bytes, and no more privacy."""

    ratio: float = Field(1.0, gt=0, le=1, description="Numbers to a layer's weights; 1: no hashing.")
    base: Literal["public", "zero"] = Field(
        "public", description="What they are added to: the public start, or nothing, as the paper has it."
    )
    seed: int = Field(0, ge=0, lt=2**31, description="Public seed of the hashes, the same all through a run.")
    least: int = Field(1024, ge=1, description="Layers with fewer weights are left as they are.")


def buckets(seed: int, name: str, values: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The bucket and the sign of each value of a layer, from SHAKE-256 of seed and name.

    Args:
        seed: Public.
        name: Of the tensor.
        values: How many it has.
        size: Buckets, >= 1.

    Returns:
        int64 (values,) in [0, size), and float32 (values,) of -1 and 1.

    Example:
        >>> places, signs = buckets(0, "layer.weight", 6, 3)
        >>> places.tolist(), signs.tolist()
        ([0, 0, 1, 2, 1, 1], [-1.0, -1.0, -1.0, -1.0, -1.0, 1.0])
    """
    stream = hashlib.shake_256(f"{seed}\n{name}".encode()).digest(8 * values)
    words = np.frombuffer(stream, "<u8")
    # 63 bits over so few buckets: none is likelier than another by more than 2^-40.
    return ((words >> 1) % size).astype(np.int64), np.where(words & 1, 1.0, -1.0).astype(np.float32)


class Hashed(nn.Module):
    """A tensor that is read from fewer numbers: base + S v."""

    base: Tensor
    places: Tensor
    signs: Tensor

    def __init__(self, base: Tensor, seed: int, name: str, size: int) -> None:
        """
        Args:
            base: float32, of the tensor's shape.
            seed: Public.
            name: Of the tensor.
            size: Numbers, >= 1.
        """
        super().__init__()
        places, signs = buckets(seed, name, base.numel(), size)
        self.size = size
        self.register_buffer("base", base.detach().clone())
        # Everybody makes the map anew from the seed: it is no part of a state.
        self.register_buffer("places", torch.from_numpy(places), persistent=False)
        self.register_buffer("signs", torch.from_numpy(signs), persistent=False)

    def forward(self, numbers: Tensor) -> Tensor:
        """float32 (size,) to the tensor."""
        return self.base + (numbers.index_select(0, self.places) * self.signs).view_as(self.base)

    def right_inverse(self, weights: Tensor) -> Tensor:
        """Numbers to begin with, float32 (size,): sums of their buckets' weights, as large as those are where
        they are independent draws."""
        rest = (weights - self.base).flatten() * self.signs
        sums = torch.zeros(self.size).index_add_(0, self.places, rest)
        return sums / torch.bincount(self.places, minlength=self.size).clamp(min=1).sqrt()


def hash_weights(module: nn.Module, settings: HashingSection, names: Collection[str]) -> None:
    """Let numbers stand for the weights of a module, in place.

    A tensor `x` of `settings.least` values and more becomes `parametrizations.x.original`, which trains,
    and its base, which does not. With the base "public" the module computes what it did before; with
    "zero" it has random weights again.

    Args:
        module: With the public start's weights.
        settings: How many numbers, and from which seed; with a ratio of 1 nothing happens.
        names: Of the parameters to hash, those of fewer values being left as they are.
    """
    if settings.ratio == 1:
        return
    parameters = dict(module.named_parameters())
    for full in sorted(names):
        tensor = parameters[full]
        if tensor.numel() < settings.least:
            continue
        place, _, name = full.rpartition(".")
        size = math.ceil(tensor.numel() * settings.ratio)
        base = tensor if settings.base == "public" else torch.zeros_like(tensor)
        hashed = Hashed(base, settings.seed, full, size)
        parametrize.register_parametrization(module.get_submodule(place), name, hashed)
