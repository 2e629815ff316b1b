"""A sum of clipped rows that no row can move by more than the clip, as computed and not only on paper.

In floating point a sum of n rows rounds differently from one of n + 1, and a norm that rounds down lets a
row pass its bound. So each row is cut to a grid of integers, its length is checked in integer arithmetic,
and integers are what is added up: their sum has no order and no rounding.
"""

from __future__ import annotations

import math
import os

import numpy as np
import numpy.typing as npt

from fedstyle_secure.errors import PrivacyError
from fedstyle_secure.privacy.integers import integer_gaussian
from fedstyle_secure.privacy.noise import ByteSource

GRID = 2**30
"""Integer steps to a clip norm. Sums of up to 2^23 rows are exact in float64, too."""

SHARED_GRID = 2**16
"""Integer steps to a clip norm where artists share a sum's noise: few enough for the lanes of an encrypted
sum, and so many that to cut a row of 2^14 values toward zero takes less than a five hundredth of it."""

_SHRINK = 1 - 2.0**-40


def to_grid(row: np.ndarray, clip_norm: float, grid: int = GRID) -> npt.NDArray[np.int64]:
    """A row clipped to an L2 norm of `clip_norm`, in steps of clip_norm / grid, cut toward zero.

    A function of the row alone, to the last bit: no BLAS, whose sums may hang on where in memory it lies.

    Args:
        row: float (d,). One with NaN or infinity counts as zeros: to refuse it would tell others something
            of it.
        clip_norm: Finite, > 0.
        grid: Steps to it, 1 to GRID.

    Returns:
        int64 (d,). The sum of its squares is at most grid^2, in integer arithmetic.

    Example:
        >>> to_grid(np.array([3.0, 4.0]), clip_norm=1.0) / GRID  # Cut to length 1.
        array([0.6, 0.8])
    """
    values = np.asarray(row, dtype=np.float64)
    largest = float(np.abs(values).max(initial=0.0))
    if not 0 < largest < math.inf:
        return np.zeros(len(values), np.int64)
    # Divided first, so that squares neither overflow nor vanish.
    values = values / largest
    scale = grid * min(largest / clip_norm, 1 / math.sqrt(np.add.reduce(values * values)))
    while True:
        steps = (values * scale).astype(np.int64)
        if int(np.add.reduce(steps * steps)) <= grid**2:
            return steps
        scale *= _SHRINK


class ClippedSum:
    """Adds up rows, each clipped; without a clip norm it is a plain float64 sum, which bounds nothing.

    Example:
        >>> total = ClippedSum(2, clip_norm=1.0)
        >>> for row in np.array([[3.0, 4.0], [0.5, 0.0]]):
        ...     total.add(row)
        >>> total.released(noise_multiplier=0.0).round(6).tolist()
        [1.1, 0.8]
    """

    def __init__(self, size: int, clip_norm: float, grid: int = GRID) -> None:
        """Begin with zeros.

        Args:
            size: Values of a row.
            clip_norm: L2 bound on a row, > 0; infinite: none.
            grid: Integer steps to it.
        """
        self._clip_norm = clip_norm
        self._grid = grid
        self._clipped = math.isfinite(clip_norm)
        self._total = np.zeros(size, np.int64 if self._clipped else np.float64)

    def add(self, row: np.ndarray) -> None:
        """Add a row, float (size,); one with NaN or infinity counts as zeros.

        Raises:
            PrivacyError: It is of another shape: a shorter one would be broadcast, past its clip.
        """
        if row.shape != self._total.shape:
            raise PrivacyError(f"a row must be of shape {self._total.shape}, not {row.shape}")
        if self._clipped:
            self._total += to_grid(row, self._clip_norm, self._grid)
        elif np.isfinite(row).all():
            self._total += row

    @property
    def integers(self) -> npt.NDArray[np.int64]:
        """The sum in steps of clip_norm / grid, int64 (size,); only where there is a clip norm."""
        if not self._clipped:
            raise PrivacyError("a sum without a clip norm has no integers")
        return self._total.astype(np.int64)

    def released(self, noise_multiplier: float, read: ByteSource = os.urandom) -> npt.NDArray[np.float64]:
        """The sum with integer noise (`integers.integer_gaussian`), float64 (size,).

        Args:
            noise_multiplier: Deviation of the noise in units of the clip norm; 0: none.
            read: Source of random bytes.
        """
        if not self._clipped:
            return self._total.astype(np.float64)
        noise = integer_gaussian(self._total.shape, noise_multiplier * self._grid, read)
        # All of it is integers; what it is scaled to is post-processing.
        return np.asarray((self._total + noise) * (self._clip_norm / self._grid))
