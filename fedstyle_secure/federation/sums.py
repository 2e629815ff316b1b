"""What a round sums under encryption: one layout for artist, platform and opener, and the way in and out.

An artist's releases become one vector of integers: free values first (an update, or a share where the unit
is the artist), then a block a style, then one contributor value a style. The layout, and so the size of an
upload, does not depend on which styles an artist has.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fedstyle_secure.config import Config
from fedstyle_secure.privacy.noise import ByteSource
from fedstyle_secure.privacy.plan import Plan
from fedstyle_secure.secure_sum.fixed_point import Quantiser
from fedstyle_secure.secure_sum.manifest import Groups, Noise, Quantisation, Terms
from fedstyle_secure.style.prototypes import contributes

_PORTFOLIOS = 4
"""An artist counts for at most so many portfolios of the expected size; a longer sum is scaled down."""

_DEVIATIONS = 10
"""Deviations of noise that a value has room for beside its signal."""

_PLAIN_UPDATE = 1.0
"""Largest value of an update where nothing clips it."""


@dataclass(frozen=True)
class Part:
    """A release within the vector.

    Attributes:
        kind: The release's kind.
        tensors: Its tensors' names and shapes, by name.
        bound: Largest absolute value that is encoded; a release beyond it is scaled down as a whole.
        noise_std: Deviation of one artist's noise in each value.
    """

    kind: str
    tensors: tuple[tuple[str, tuple[int, ...]], ...]
    bound: float
    noise_std: float

    @property
    def size(self) -> int:
        """Values in it."""
        return sum(math.prod(shape) for _, shape in self.tensors)

    def flatten(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """Its values in a row."""
        return np.concatenate([np.ravel(arrays[name]) for name, _ in self.tensors])

    def unflatten(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """The inverse."""
        found, start = {}, 0
        for name, shape in self.tensors:
            found[name] = values[start : start + math.prod(shape)].reshape(shape)
            start += math.prod(shape)
        return found


@dataclass(frozen=True)
class RoundSum:
    """What a round sums.

    Attributes:
        parts: Releases in the vector, styles last.
        styles: Number of styles in it; 0 where there are none, or where noise mixes them.
        integer: Whether the releases are integers already.
        terms: What artists, platform and opener agree on.
    """

    parts: tuple[Part, ...]
    styles: int
    integer: bool
    terms: Terms

    def encode(
        self, releases: Mapping[str, Mapping[str, np.ndarray]], read: ByteSource = os.urandom
    ) -> np.ndarray:
        """An artist's vector.

        Scaling a long release down, and counting a style as contributed to, start from the noised release, so
        they cost nothing.

        Args:
            releases: Sealed releases, by kind and tensor.
            read: Source of random bytes for rounding.

        Returns:
            int64 (values,).
        """
        if self.integer:
            return np.concatenate([part.flatten(releases[part.kind]) for part in self.parts])
        quantiser = Quantiser(1.0, self.terms.quantiser.bits)
        encoded = []
        for part in self.parts:
            values = part.flatten(releases[part.kind]).astype(np.float64)
            largest = float(np.abs(values).max(initial=0.0))
            encoded.append(quantiser.quantise(values / max(part.bound, largest), part.kind, read))
        if self.styles:
            last = self.parts[-1]
            sums = last.flatten(releases[last.kind])
            encoded.append(contributes(sums, self.styles, last.noise_std).astype(np.int64))
        return np.concatenate(encoded)

    def decode(self, total: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
        """The summed releases, by kind and tensor, float64 (int64 where they are integers).

        Dropped styles are zeros.
        """
        found, start = {}, 0
        step = Quantiser(1.0, self.terms.quantiser.bits).step
        for part in self.parts:
            values = total[start : start + part.size]
            start += part.size
            found[part.kind] = part.unflatten(values if self.integer else values * step * part.bound)
        return found


def round_sum(
    config: Config,
    plan: Plan,
    number: int,
    trained: Mapping[str, tuple[int, ...]],
    styles: int,
    dim: int,
    artists: int,
) -> RoundSum | None:
    """What a round sums under encryption; None where it sums nothing.

    Args:
        config: The settings.
        plan: The plan.
        number: The round.
        trained: Shapes of the tensors that train.
        styles: Number of styles.
        dim: Width of a prototype.
        artists: Length of the roster.
    """
    if not sums_something(config, plan, number):
        return None
    updates, prototypes = _summed(config, plan, number)
    row, least = styles * (dim + 1), config.styles.min_contributors
    if plan.shared is not None:
        size = (sum(math.prod(s) for s in trained.values()) if updates else 0) + (row if prototypes else 0)
        return _shared_sum(config, plan, size, artists)
    parts = []
    if updates:
        parts.append(_update_part(config, plan, trained))
    if prototypes:
        parts.append(_prototype_part(config, plan, row))
    groups = Groups(styles, dim + 1, least) if prototypes else None
    noise = Noise("artwork", parts[-1].noise_std / parts[-1].bound, 1, config.privacy.delta)
    terms = Terms(
        values=sum(part.size for part in parts) + (styles if prototypes else 0),
        k_min=max(2, least),
        n_max=artists,
        quantiser=Quantisation(1.0, config.secure_sum.bits, "float"),
        groups=groups,
        noise=noise if noise.deviation else None,
    )
    return RoundSum(tuple(parts), styles if prototypes else 0, False, terms)


def sums_something(config: Config, plan: Plan, number: int) -> bool:
    """Whether a round sums anything under encryption."""
    return config.secure_sum.enabled and any(_summed(config, plan, number))


def epoch_of(config: Config, plan: Plan, number: int) -> int:
    """The opener's epoch of a round that sums something: one more wherever another vector is summed than in
    the sum before, as an epoch's terms stay the same."""
    kinds = [_summed(config, plan, n) for n in range(number + 1)]
    return sum(a != b for a, b in itertools.pairwise(k for k in kinds if any(k)))


def _summed(config: Config, plan: Plan, number: int) -> tuple[bool, bool]:
    """Whether a round sums updates, and prototypes."""
    updates = number in plan.schedule.updates and (plan.shared is not None or config.secure_sum.updates)
    return updates, number in plan.schedule.prototypes


def _shared_sum(config: Config, plan: Plan, size: int, artists: int) -> RoundSum:
    mechanism = plan.shared_for(size)
    noise = mechanism.noise
    terms = Terms(
        values=size,
        k_min=mechanism.cohort,
        n_max=artists,
        quantiser=Quantisation(float(noise.range), noise.bits, "integer"),
        noise=Noise("artist", noise.share_deviation, mechanism.cohort, config.privacy.delta)
        if noise.share_deviation
        else None,
    )
    part = Part("sum", (("sum", (size,)),), float(noise.range), noise.share_deviation)
    return RoundSum((part,), 0, True, terms)


def _update_part(config: Config, plan: Plan, trained: Mapping[str, tuple[int, ...]]) -> Part:
    sgd, shapes = plan.sgd, tuple(sorted(trained.items()))
    if math.isinf(sgd.clip_norm):
        return Part("update", shapes, _PLAIN_UPDATE, 0.0)
    step = config.training.learning_rate / sgd.expected_batch_size
    noise = sgd.update_deviation(config.training.learning_rate)
    signal = step * sgd.clip_norm * sgd.steps * _PORTFOLIOS * config.training.expected_pictures
    return Part("update", shapes, signal + _DEVIATIONS * noise, noise)


def _prototype_part(config: Config, plan: Plan, row: int) -> Part:
    noise = plan.prototypes.deviation
    signal = float(_PORTFOLIOS * config.training.expected_pictures)
    return Part("prototypes", (("sums", (row,)),), signal + _DEVIATIONS * noise, noise)
