"""What a round sums under encryption: one layout for artist, platform and opener, and the way in and out.

An artist's releases become one vector of integers: free values first, then the groups' blocks, then one value
a group that says whether the artist contributes to it. The layout, and so the size of an upload, does not
depend on which groups an artist contributes to.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fedstyle_secure.config import Config
from fedstyle_secure.errors import ConfigError, PrivacyError
from fedstyle_secure.federation.groups import contributes
from fedstyle_secure.federation.vectors import Tensors, flatten, size_of, unflatten
from fedstyle_secure.privacy.clipping import SHARED_GRID
from fedstyle_secure.privacy.kinds import SUM, Kind
from fedstyle_secure.privacy.mechanisms import DpSgd, NoisyCounts
from fedstyle_secure.privacy.noise import ByteSource
from fedstyle_secure.privacy.plan import PORTFOLIOS, Plan
from fedstyle_secure.secure_sum.fixed_point import Quantiser
from fedstyle_secure.secure_sum.manifest import Groups, Noise, Quantisation, Terms
from fedstyle_secure.system import Form

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
        unit: What one integer of a sum is worth; None: they stay integers.
        groups: Blocks that it falls into; 0: none.
        count: What one record adds to the last value of its block.
    """

    kind: str
    tensors: Tensors
    bound: float
    noise_std: float
    unit: float | None
    groups: int = 0
    count: float = 0.0

    @property
    def size(self) -> int:
        """Values in it."""
        return size_of(self.tensors)


@dataclass(frozen=True)
class RoundSum:
    """What a round sums.

    Attributes:
        parts: Releases in the vector, the one with groups last.
        integer: Whether the releases are integers already.
        terms: What artists, platform and opener agree on.
    """

    parts: tuple[Part, ...]
    integer: bool
    terms: Terms

    @property
    def groups(self) -> int:
        """Groups in it; 0 where there are none, or where artists do not say which they contribute to."""
        return self.parts[-1].groups

    def encode(
        self, releases: Mapping[str, Mapping[str, np.ndarray]], read: ByteSource = os.urandom
    ) -> np.ndarray:
        """An artist's vector.

        Scaling a long release down, and counting a group as contributed to, start from the noised release, so
        they cost nothing.

        Args:
            releases: Sealed releases, by kind and tensor.
            read: Source of random bytes for rounding.

        Returns:
            int64 (values,).
        """
        if self.integer:
            return np.concatenate([flatten(part.tensors, releases[part.kind]) for part in self.parts])
        quantiser = Quantiser(1.0, self.terms.quantiser.bits)
        encoded = []
        for part in self.parts:
            values = flatten(part.tensors, releases[part.kind]).astype(np.float64)
            largest = float(np.abs(values).max(initial=0.0))
            encoded.append(quantiser.quantise(values / max(part.bound, largest), part.kind, read))
        last = self.parts[-1]
        if last.groups:
            release = flatten(last.tensors, releases[last.kind])
            there = contributes(release, last.groups, last.count, last.noise_std, self.terms.n_max)
            encoded.append(there.astype(np.int64))
        return np.concatenate(encoded)

    def decode(self, total: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
        """The summed releases, by kind and tensor, float64 (int64 where they are integers).

        Dropped groups are zeros.
        """
        found, start = {}, 0
        for part in self.parts:
            values = total[start : start + part.size]
            start += part.size
            found[part.kind] = unflatten(part.tensors, values if part.unit is None else values * part.unit)
        return found


def round_sum(
    config: Config, plan: Plan, number: int, forms: Mapping[str, Form], artists: int
) -> RoundSum | None:
    """What a round sums under encryption; None where it sums nothing.

    Args:
        config: The settings.
        plan: The plan.
        number: The round.
        forms: What a release of each kind looks like.
        artists: Length of the roster.

    Raises:
        ConfigError: Two kinds of one round have groups.
    """
    kinds = _summed(config, plan, number)
    if not kinds:
        return None
    if plan.shared is not None:
        size = sum(size_of(tuple(forms[kind.name].tensors.items())) for kind in kinds)
        return _shared_sum(config, plan, size, artists)
    if config.shares_noise:
        return _sum_with_one_noise(config, plan, kinds, forms, artists)
    parts = sorted(
        (_part(config, plan, kind, forms[kind.name]) for kind in kinds), key=lambda part: part.groups > 0
    )
    if sum(part.groups > 0 for part in parts) > 1:
        raise ConfigError(f"round {number}: two kinds of release with groups do not fit into one sum")
    least, last = max(kind.least for kind in kinds), parts[-1]
    noise = Noise("artwork", last.noise_std / last.bound, 1, config.privacy.delta)
    terms = Terms(
        values=sum(part.size for part in parts) + last.groups,
        k_min=max(2, least),
        n_max=artists,
        quantiser=Quantisation(1.0, config.secure_sum.bits, "float"),
        groups=Groups(last.groups, last.size // last.groups, least) if last.groups else None,
        noise=noise if noise.deviation else None,
    )
    return RoundSum(tuple(parts), False, terms)


def is_summed(config: Config, plan: Plan, kind: Kind) -> bool:
    """Whether releases of a kind leave inside an encrypted sum only."""
    return config.secure_sum.enabled and (plan.shared is not None or kind.leaves == "summed")


def sums_something(config: Config, plan: Plan, number: int) -> bool:
    """Whether a round sums anything under encryption."""
    return bool(_summed(config, plan, number))


def epoch_of(config: Config, plan: Plan, number: int) -> int:
    """The opener's epoch of a round that sums something: one more wherever another vector is summed than in
    the sum before, as an epoch's terms stay the same."""
    names = [[kind.name for kind in _summed(config, plan, n)] for n in range(number + 1)]
    return sum(a != b for a, b in itertools.pairwise(n for n in names if n))


def _summed(config: Config, plan: Plan, number: int) -> Sequence[Kind]:
    return [kind for kind in plan.of_round(number) if is_summed(config, plan, kind)]


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
    part = Part(SUM, ((SUM, (size,)),), float(noise.range), noise.share_deviation, None)
    return RoundSum((part,), True, terms)


def _sum_with_one_noise(
    config: Config, plan: Plan, kinds: Sequence[Kind], forms: Mapping[str, Form], artists: int
) -> RoundSum:
    """Unit artwork, shared noise: every artist's share is integers already."""
    parts, ranges, deviations, least = [], [], [], 2
    for kind in kinds:
        mechanism, shared = kind.mechanism, kind.shared
        if shared is None or isinstance(mechanism, NoisyCounts):
            raise PrivacyError(f"kind {kind.name!r} leaves in a sum with one noise and shares none")
        unit = mechanism.clip_norm / SHARED_GRID
        if isinstance(mechanism, DpSgd):
            # A step down the gradient, as an artist with noise of its own takes it.
            unit *= -config.learning_rate / mechanism.expected_batch_size
        tensors = tuple(sorted(forms[kind.name].tensors.items()))
        ranges.append(shared.range(mechanism.noise_multiplier))
        deviations.append(shared.deviation(mechanism.noise_multiplier))
        parts.append(Part(kind.name, tensors, float(ranges[-1]), plan.deviation(kind.name), unit))
        least = max(least, kind.least, shared.cohort)
    # One noise is stated for all: the smallest.
    noise = Noise("artwork", min(deviations), least, config.privacy.delta)
    terms = Terms(
        values=sum(part.size for part in parts),
        k_min=least,
        n_max=artists,
        quantiser=Quantisation(float(max(ranges)), (2 * max(ranges)).bit_length(), "integer"),
        noise=noise,
    )
    return RoundSum(tuple(parts), True, terms)


def _part(config: Config, plan: Plan, kind: Kind, form: Form) -> Part:
    training, mechanism = config.training, kind.mechanism
    tensors, noise = tuple(sorted(form.tensors.items())), plan.deviation(kind.name)
    records = PORTFOLIOS * training.expected_pictures
    if not isinstance(mechanism, DpSgd):
        signal = float(records) * kind.largest
    elif math.isinf(mechanism.clip_norm):
        signal = _PLAIN_UPDATE
    else:
        step = config.learning_rate / mechanism.expected_batch_size
        signal = step * mechanism.clip_norm * mechanism.steps * PORTFOLIOS * training.expected_pictures
    bound = signal + _DEVIATIONS * noise
    unit = Quantiser(1.0, config.secure_sum.bits).step * bound
    return Part(kind.name, tensors, bound, noise, unit, form.groups, kind.count)
