"""Mechanisms that know themselves: bound, noise and cost in one frozen object.

The code that samples, clips and adds noise reads these objects, and the ledger reads the same ones,
so that what is accounted cannot differ from what is done.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from fedstyle_secure.errors import PrivacyError
from fedstyle_secure.privacy.noise import ByteSource, gaussian

Adjacency = Literal["add-remove", "replace"]


@dataclass(frozen=True)
class Event:
    """`steps` Poisson-subsampled Gaussian mechanisms.

    Attributes:
        noise_multiplier: Noise deviation over sensitivity (add-remove). Zero: no guarantee.
        sampling_rate: Probability that a picture takes part in a step, in (0, 1]; 1 takes all.
        steps: How many times, >= 1.
    """

    noise_multiplier: float
    sampling_rate: float
    steps: int

    def __post_init__(self) -> None:
        if not (self.noise_multiplier >= 0 and math.isfinite(self.noise_multiplier)):
            raise PrivacyError(f"noise multiplier must be finite and >= 0, not {self.noise_multiplier}")
        if not 0 < self.sampling_rate <= 1:
            raise PrivacyError(f"sampling rate must lie in (0, 1], not {self.sampling_rate}")
        if self.steps < 1:
            raise PrivacyError(f"an event takes at least one step, not {self.steps}")


class Mechanism(Protocol):
    """What the ledger needs to know of a mechanism. The unit is one artwork."""

    def sensitivity(self, adjacency: Adjacency) -> float:
        """L2 bound on what one artwork can move before noise; infinite where nothing is clipped."""

    def events(self) -> tuple[Event, ...]:
        """What one release costs."""


@dataclass(frozen=True)
class DpSgd:
    """Steps of DP-SGD (Abadi et al. 2016, algorithm 1) with Poisson sampling.

    Attributes:
        clip_norm: L2 bound C on a picture's gradient, > 0; infinite switches clipping off.
        noise_multiplier: Deviation of the noise on the clipped sum, in units of C.
        sampling_rate: Poisson sampling rate of a step.
        steps: Steps of this release, >= 1.
        expected_batch_size: Public divisor of the noisy sum, > 0. Never the size of the drawn batch.
    """

    clip_norm: float
    noise_multiplier: float
    sampling_rate: float
    steps: int
    expected_batch_size: float

    def __post_init__(self) -> None:
        Event(self.noise_multiplier, self.sampling_rate, self.steps)
        _check_bound(self.clip_norm, self.noise_multiplier)
        if not self.expected_batch_size > 0:
            raise PrivacyError(f"expected batch size must be > 0, not {self.expected_batch_size}")

    def sensitivity(self, adjacency: Adjacency) -> float:
        """C where a picture is added or removed, 2C where one is replaced."""
        return self.clip_norm * (2 if adjacency == "replace" else 1)

    def events(self) -> tuple[Event, ...]:
        """One event with all steps."""
        return (Event(self.noise_multiplier, self.sampling_rate, self.steps),)


@dataclass(frozen=True)
class GaussianSum:
    """The sum of clipped rows, one row a picture, plus Gaussian noise.

    Attributes:
        clip_norm: L2 bound on a row, > 0; infinite switches clipping off.
        noise_multiplier: Deviation of the noise on the sum, in units of the clip norm.
    """

    clip_norm: float
    noise_multiplier: float

    def __post_init__(self) -> None:
        Event(self.noise_multiplier, 1.0, 1)
        _check_bound(self.clip_norm, self.noise_multiplier)

    def sensitivity(self, adjacency: Adjacency) -> float:
        """Clip norm where a picture is added or removed, twice that where one is replaced."""
        return self.clip_norm * (2 if adjacency == "replace" else 1)

    def events(self) -> tuple[Event, ...]:
        """One full-batch Gaussian."""
        return (Event(self.noise_multiplier, 1.0, 1),)

    def exact(self, rows: np.ndarray) -> np.ndarray:
        """Sum of clipped rows without noise: float64 (d,) from (n, d). Rows with NaN or inf count as zero."""
        rows = np.asarray(rows, dtype=np.float64)
        if rows.ndim != 2:
            raise PrivacyError(f"a sum takes one row a picture, shape (n, d), not {rows.shape}")
        rows = np.where(np.isfinite(rows).all(axis=1, keepdims=True), rows, 0.0)
        if math.isinf(self.clip_norm):
            return rows.sum(axis=0)
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        return (rows * np.minimum(1.0, self.clip_norm / np.maximum(norms, 1e-300))).sum(axis=0)

    def apply(self, rows: np.ndarray, read: ByteSource = os.urandom) -> np.ndarray:
        """The release: float64 (d,) from (n, d)."""
        total = self.exact(rows)
        if self.noise_multiplier == 0:
            return total
        return total + gaussian(total.shape, self.noise_multiplier * self.clip_norm, read)


def _check_bound(clip_norm: float, noise_multiplier: float) -> None:
    if not clip_norm > 0:
        raise PrivacyError(f"clip norm must be > 0, not {clip_norm}")
    if math.isinf(clip_norm) and noise_multiplier > 0:
        raise PrivacyError("noise without a clip norm has no sensitivity to scale with")
