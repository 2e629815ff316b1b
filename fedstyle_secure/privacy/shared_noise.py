"""One noise for a sum over artists, where each artist adds a share of it and nobody sees a share alone.

With N artists a sum holds N shares; each is one over the square root of `honest` as wide as the noise that
the cost is stated for, so that the shares of `honest` artists are enough for it. Against whom: everybody who
sees nothing of the run but opened sums, and knows the noise of at most `cohort - honest` artists. Platform
and opener together can take a share out of a sum: against both together it gives no guarantee.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from fedstyle_secure.errors import PrivacyError
from fedstyle_secure.privacy.clipping import SHARED_GRID
from fedstyle_secure.privacy.integers import MOST_DRAWS, SMOOTH, discrete_gaussian, drawn_deviation, reach
from fedstyle_secure.privacy.noise import ByteSource

_TAIL_BITS = 110
"""A share's noise leaves its range with a probability of at most 2^-109 a value, which delta has room for."""


@dataclass(frozen=True)
class SharedNoise:
    """How artists share the noise of a sum of records' rows, for the unit artwork.

    Attributes:
        honest: Shares that are surely there and unknown to others, >= 1: the cohort less the colluders.
        cohort: The fewest artists whose shares are summed; a sum of fewer is not opened.
        artists: The most.
        records: Rows that a share has room for, >= 1: a value of an artist's sum is held to what so many
            could make of it. To hold two sums to the same bound never moves them apart.

    Example:
        >>> shared = SharedNoise(honest=50, cohort=54, artists=60, records=180)
        >>> round(shared.deviation(2.0) / SHARED_GRID, 3)  # Each artist's, in clip norms: 2 / sqrt(50).
        0.283
    """

    honest: int
    cohort: int
    artists: int
    records: int

    def __post_init__(self) -> None:
        if not (2 <= self.cohort <= self.artists and 1 <= self.honest <= self.cohort and self.records >= 1):
            raise PrivacyError(
                f"a cohort of {self.cohort} of {self.artists} artists, {self.honest} of them honest, with "
                f"room for {self.records} records, cannot be"
            )

    def deviation(self, noise_multiplier: float) -> float:
        """Scale of a share's discrete Gaussian noise in each value, in steps of clip_norm / SHARED_GRID.

        Args:
            noise_multiplier: Deviation of the noise of `honest` shares, in clip norms, > 0.

        Raises:
            PrivacyError: It is so little that shares do not add up to a discrete Gaussian.
        """
        found = drawn_deviation(noise_multiplier * SHARED_GRID, self.honest)
        # Any number of shares beside one more is a Gaussian of at least this over the square root of two.
        if found < SMOOTH * 2**0.5:
            raise PrivacyError(
                f"noise multiplier {noise_multiplier:g} is too little to be shared among {self.honest} "
                "artists"
            )
        return found

    def range(self, noise_multiplier: float) -> int:
        """Largest absolute value of a share, in the same steps."""
        return self.records * SHARED_GRID + reach("gaussian", self.deviation(noise_multiplier), _TAIL_BITS)

    def share(
        self,
        total: np.ndarray,
        noise_multiplier: float,
        most: np.ndarray | None = None,
        read: ByteSource = os.urandom,
    ) -> np.ndarray:
        """What an artist adds to the sum: int64 (d,).

        Args:
            total: int64 (d,), its records' rows on the grid, added up.
            noise_multiplier: Deviation of the noise of `honest` shares, in clip norms.
            most: int64 (d,), what each value is held to; None: what `records` rows can make of it.
            read: Source of random bytes.

        Raises:
            PrivacyError: There are too many values, or noise left its range, which happens with less than
                2^-109 a value.
        """
        if total.size * self.artists > MOST_DRAWS:
            raise PrivacyError(
                f"a sum of {total.size} values over {self.artists} artists takes more than "
                f"{MOST_DRAWS} draws, and so many are not accounted for"
            )
        bound = self.records * SHARED_GRID
        held = np.clip(total, -bound, bound)
        if most is not None:
            held = np.clip(held, -most, most)
        made: np.ndarray = held + discrete_gaussian(total.shape, self.deviation(noise_multiplier), read)
        if np.abs(made).max(initial=0) > self.range(noise_multiplier):
            raise PrivacyError("noise left the range of a share; nothing was released")
        return made
