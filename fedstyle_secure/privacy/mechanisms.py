"""Mechanisms that know themselves: bound, noise and cost in one frozen object.

The code that samples, clips and adds noise reads these objects, and the ledger reads the same ones,
so that what is accounted cannot differ from what is done.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from fedstyle_secure.errors import PrivacyError
from fedstyle_secure.privacy.clipping import GRID, SHARED_GRID, ClippedSum
from fedstyle_secure.privacy.counts import discrete_laplace
from fedstyle_secure.privacy.distributed import DistributedSum
from fedstyle_secure.privacy.events import DiscreteLaplace, DistributedNoise, Event, SampledGaussian
from fedstyle_secure.privacy.noise import ByteSource
from fedstyle_secure.privacy.shared_noise import SharedNoise
from fedstyle_secure.privacy.units import Adjacency, Unit


class Rows(Protocol):
    """One row a record: an array (n, d), or what makes its rows one at a time."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, d)."""

    def __iter__(self) -> Iterator[np.ndarray]:
        """Rows (d,)."""


class Mechanism(Protocol):
    """What the ledger needs to know of a mechanism: a frozen dataclass, whose fields are its parameters."""

    def sensitivity(self, adjacency: Adjacency) -> float:
        """L2 bound on what one unit can move before noise; infinite where nothing is clipped."""

    def event(self, unit: Unit) -> Event | None:
        """What one release costs for this unit; None: it gives the unit no guarantee."""


@dataclass(frozen=True)
class DpSgd:
    """Steps of DP-SGD (Abadi et al. 2016, algorithm 1) with Poisson sampling.

    Attributes:
        clip_norm: L2 bound C on a picture's gradient, > 0; infinite switches clipping off.
        noise_multiplier: Deviation of the noise on the clipped sum, in units of C.
        sampling_rate: Poisson sampling rate of a step.
        steps: Steps of this release, >= 1.
        expected_batch_size: Public divisor of the noisy sum, > 0. Never the size of the drawn batch.
        shared: How artists share the noise of their sum; None: each adds all of its own. Shared, there is one
            step of all records: a second one would start from weights that have a share of noise only.

    Example:
        >>> plan = DpSgd(1.0, 2.0, sampling_rate=0.1, steps=4, expected_batch_size=5.0)
        >>> plan.event("artwork")
        SampledGaussian(noise_multiplier=2.0, sampling_rate=0.1, steps=4)
        >>> plan.sensitivity("replace"), plan.deviation
        (2.0, 2.0)
    """

    clip_norm: float
    noise_multiplier: float
    sampling_rate: float
    steps: int
    expected_batch_size: float
    shared: SharedNoise | None = None

    def __post_init__(self) -> None:
        SampledGaussian(self.noise_multiplier, self.sampling_rate, self.steps)
        _check_bound(self.clip_norm, self.noise_multiplier)
        if self.shared is not None and (self.steps, self.sampling_rate) != (1, 1.0):
            raise PrivacyError(
                f"shared noise takes one step of all records, not {self.steps} at a rate of "
                f"{self.sampling_rate}"
            )
        if not self.expected_batch_size > 0:
            raise PrivacyError(f"expected batch size must be > 0, not {self.expected_batch_size}")

    @property
    def deviation(self) -> float:
        """Deviation of an artist's noise in each value of one step's clipped sum; 0 where there is none."""
        return _deviation(self.clip_norm, self.noise_multiplier, self.shared)

    def update_deviation(self, learning_rate: float) -> float:
        """Deviation of the noise in each value of what all steps change in the weights.

        Args:
            learning_rate: Of a step, which divides by the expected batch size.
        """
        return learning_rate / self.expected_batch_size * self.deviation * math.sqrt(self.steps)

    def scaled(self, scale: float, releases: int, share: float) -> DpSgd:
        """With the noise that makes `releases` of these spend a share of a budget: shares are shares of the
        sum of (sampling rate / noise multiplier)^2 over all steps, at a noise scale; 0: no noise."""
        spread = math.sqrt(releases * self.steps / share)
        return replace(self, noise_multiplier=scale * self.sampling_rate * spread)

    def sensitivity(self, adjacency: Adjacency) -> float:
        """C where a picture is added or removed, 2C where one is replaced."""
        return self.clip_norm * (2 if adjacency == "replace" else 1)

    def event(self, unit: Unit) -> Event | None:
        """All steps, for the unit artwork."""
        if unit == "artist":
            return None
        return SampledGaussian(self.noise_multiplier, self.sampling_rate, self.steps)


@dataclass(frozen=True)
class GaussianSum:
    """The sum of clipped rows, one row a picture, plus Gaussian noise.

    Attributes:
        clip_norm: L2 bound on a row, > 0; infinite switches clipping off.
        noise_multiplier: Deviation of the noise on the sum, in units of the clip norm.
        shared: How artists share the noise of their sum; None: each adds all of its own.

    Example:
        >>> card = GaussianSum(clip_norm=1.0, noise_multiplier=0.0)
        >>> card.apply(np.array([[3.0, 4.0], [0.0, 0.5]])).round(6).tolist()
        [0.6, 1.3]
        >>> GaussianSum(1.0, 2.0).event("artwork")
        SampledGaussian(noise_multiplier=2.0, sampling_rate=1.0, steps=1)
        >>> GaussianSum(1.0, 2.0).event("artist") is None  # No bound covers a whole portfolio.
        True
    """

    clip_norm: float
    noise_multiplier: float
    shared: SharedNoise | None = None

    def __post_init__(self) -> None:
        SampledGaussian(self.noise_multiplier)
        _check_bound(self.clip_norm, self.noise_multiplier)

    @property
    def deviation(self) -> float:
        """Deviation of an artist's noise in each value of the sum; 0 where there is none."""
        return _deviation(self.clip_norm, self.noise_multiplier, self.shared)

    def scaled(self, scale: float, releases: int, share: float) -> GaussianSum:
        """With the noise that makes `releases` of these spend a share of a budget; see `DpSgd.scaled`."""
        return replace(self, noise_multiplier=scale * math.sqrt(releases / share))

    def sensitivity(self, adjacency: Adjacency) -> float:
        """Clip norm where a picture is added or removed, twice that where one is replaced."""
        return self.clip_norm * (2 if adjacency == "replace" else 1)

    def event(self, unit: Unit) -> Event | None:
        """One full-batch Gaussian, for the unit artwork."""
        return None if unit == "artist" else SampledGaussian(self.noise_multiplier)

    def exact(self, rows: Rows) -> np.ndarray:
        """Sum of clipped rows without noise: float64 (d,) from (n, d). Rows with NaN or inf count as zero."""
        return self._sum(rows).released(0.0)

    def apply(self, rows: Rows, read: ByteSource = os.urandom) -> np.ndarray:
        """The release with noise of its own: float64 (d,) from (n, d)."""
        if self.shared is not None:
            raise PrivacyError("a share of a sum's noise protects nobody by itself: it is for `share`")
        return self._sum(rows).released(self.noise_multiplier, read)

    def share(self, rows: Rows, most: np.ndarray | None = None, read: ByteSource = os.urandom) -> np.ndarray:
        """What is added up unseen: int64 (d,) from (n, d), in steps of clip_norm / SHARED_GRID.

        Args:
            rows: One a record.
            most: As for `SharedNoise.share`.
            read: Source of random bytes.
        """
        if self.shared is None:
            raise PrivacyError("noise is not shared here")
        total = self._sum(rows, SHARED_GRID).integers
        return self.shared.share(total, self.noise_multiplier, most, read)

    def _sum(self, rows: Rows, grid: int = GRID) -> ClippedSum:
        if len(rows.shape) != 2:
            raise PrivacyError(f"a sum takes one row a picture, shape (n, d), not {rows.shape}")
        total = ClippedSum(rows.shape[1], self.clip_norm, grid)
        for row in rows:
            total.add(row)
        return total


@dataclass(frozen=True)
class NoisyCounts:
    """Counts of pictures, each with exact discrete Laplace noise.

    Attributes:
        parameter: Of the noise on each count, > 0; infinite: no noise.
        counts: How many counts one release holds. A picture moves each of them by at most 1.

    Example:
        >>> counts = NoisyCounts(parameter=float("inf"), counts=2)
        >>> counts.apply(np.array([[True, False], [True, True]])).tolist()
        [2, 1]
    """

    parameter: float
    counts: int

    def __post_init__(self) -> None:
        DiscreteLaplace(self.parameter, self.counts)

    @property
    def deviation(self) -> float:
        """A bound on the deviation of the noise on a count: that of Laplace noise; 0 where there is none."""
        return math.sqrt(2) / self.parameter

    def scaled(self, scale: float, releases: int, share: float) -> NoisyCounts:
        """With noise that costs as much as a Gaussian sum's of this share would; see `DpSgd.scaled`."""
        each = math.sqrt(share / (self.counts * releases))
        return replace(self, parameter=each / scale if scale else math.inf)

    def sensitivity(self, adjacency: Adjacency) -> float:
        """sqrt(counts), added, removed or replaced: a picture moves each count by at most 1."""
        return math.sqrt(self.counts)

    def event(self, unit: Unit) -> Event | None:
        """One discrete Laplace a count, for the unit artwork."""
        return None if unit == "artist" else DiscreteLaplace(self.parameter, self.counts)

    def apply(self, flags: Rows, read: ByteSource = os.urandom) -> np.ndarray:
        """The release: int64 (counts,) from bool (n, counts), a row a picture."""
        total = np.zeros(self.counts, np.int64)
        for row in flags:
            if row.dtype != np.bool_ or row.shape != (self.counts,):
                raise PrivacyError(
                    f"counts take bool rows of {self.counts} flags, not {row.dtype} {row.shape}"
                )
            total += row
        noisy: np.ndarray = total + discrete_laplace(self.counts, self.parameter, read)
        return noisy


@dataclass(frozen=True)
class ArtistSum:
    """One artist's share of a sum over artists, private for the unit artist once enough shares are in it.

    Attributes:
        noise: Clip, rounding and noise of a share.
        artists: The most artists whose shares a sum holds.
        cohort: The fewest; a sum of fewer is not to be opened.
        sealed: Whether shares leave inside an encrypted sum only. A share that somebody sees by itself has
            next to no noise, so it gives nobody a guarantee.
    """

    noise: DistributedSum
    artists: int
    cohort: int
    sealed: bool

    def __post_init__(self) -> None:
        if not 2 <= self.cohort <= self.artists or self.noise.honest > self.cohort:
            raise PrivacyError(
                f"a cohort of {self.cohort} of {self.artists} artists, {self.noise.honest} of them honest, "
                "cannot be"
            )

    def sensitivity(self, adjacency: Adjacency) -> float:
        """What one artist moves in the sum, in units of the vector before scaling."""
        return self.noise.sensitivity(adjacency)

    def event(self, unit: Unit) -> Event | None:
        """One sum, if nothing but the sum is seen. An artwork that comes or goes changes one artist's vector,
        which is two hops."""
        if not self.sealed:
            return None
        return DistributedNoise(self.noise, 1 if unit == "artist" else 2, self.artists)

    def resized(self, size: int, scale: int) -> ArtistSum:
        """The same for vectors of another length."""
        return replace(self, noise=replace(self.noise, size=size, scale=float(scale)))


def _deviation(clip_norm: float, noise_multiplier: float, shared: SharedNoise | None) -> float:
    # Without noise the clip norm may be infinite.
    if not noise_multiplier:
        return 0.0
    if shared is not None:
        return shared.deviation(noise_multiplier) * clip_norm / SHARED_GRID
    return noise_multiplier * clip_norm


def _check_bound(clip_norm: float, noise_multiplier: float) -> None:
    if not clip_norm > 0:
        raise PrivacyError(f"clip norm must be > 0, not {clip_norm}")
    if math.isinf(clip_norm) and noise_multiplier > 0:
        raise PrivacyError("noise without a clip norm has no sensitivity to scale with")
