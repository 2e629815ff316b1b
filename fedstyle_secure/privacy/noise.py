"""Gaussian noise from the operating system's entropy.

The samples come straight from `os.urandom`: no generator state to guess and no seed to repeat, so a
run's seed says nothing about its noise.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np

ByteSource = Callable[[int], bytes]
"""Returns that many random bytes; `os.urandom` except in tests."""

_SUMMANDS = 4


def gaussian(shape: tuple[int, ...], std: float, read: ByteSource = os.urandom) -> np.ndarray:
    """Independent N(0, std^2) samples.

    Each sample is the scaled sum of four Box-Muller draws, so that the low bits of one float64 draw
    cannot be inverted (Holohan and Braghin 2021, "Secure random sampling in differential privacy").

    Args:
        shape: Shape of the result.
        std: Standard deviation, >= 0. Zero gives exact zeros and reads no entropy.
        read: Source of random bytes.

    Returns:
        float64 array of `shape`.

    Example:
        >>> gaussian((2, 2), std=0.0).tolist()
        [[0.0, 0.0], [0.0, 0.0]]
        >>> noise = gaussian((1000,), std=1.0)  # From the system's entropy: no seed brings it back.
        >>> bool(0.8 < noise.std() < 1.2)
        True
    """
    if std < 0 or not np.isfinite(std):
        raise ValueError(f"std must be finite and >= 0, not {std}")
    size = int(np.prod(shape, dtype=np.int64))
    if std == 0 or size == 0:
        return np.zeros(shape)
    half = -(-size // 2)
    total = np.zeros(2 * half)
    for _ in range(_SUMMANDS):
        words = np.frombuffer(read(16 * half), dtype="<u8").reshape(2, half)
        # 53 random bits, shifted by half a step: never 0, so that the logarithm is finite.
        uniform = ((words >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
        radius = np.sqrt(-2.0 * np.log(uniform[0]))
        angle = 2.0 * np.pi * uniform[1]
        total += np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])
    noise: np.ndarray = (std / np.sqrt(_SUMMANDS) * total[:size]).reshape(shape)
    return noise
