"""A sum over artists whose noise comes in shares, so that nobody has to be trusted to add it.

Every artist clips, rotates, rounds to integers and adds a share of integer noise; the integers are summed
where nobody sees a single one. One share is too little noise to protect an artist. The sum is private for
the unit artist if it holds the shares of at least `honest` artists (the protected one among them) who drew
their noise as written here and told nobody, and if nothing but the sum is ever seen.

What an adversary may know: who took part, everything of the artists that are not counted as honest, and
the rotation. "Added or removed" means that an artist's vector counts or is replaced by zeros; its noise
stays, and that it took part is public (Kairouz et al. 2021, "zero-out").
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import shake_256

import numpy as np

from fedstyle_secure.errors import PrivacyError
from fedstyle_secure.privacy.integers import (
    MAX_DEVIATION,
    Sampler,
    discrete_gaussian,
    reach,
    sampling_distance,
    skellam,
    stochastic_round,
    tail,
)
from fedstyle_secure.privacy.noise import ByteSource
from fedstyle_secure.privacy.units import Adjacency

_TAIL_DEVIATIONS = 10
_TAIL_BITS = 72
"""A share's noise leaves its range with a probability of at most 2^-71 a value; the Gaussian does with 10
deviations, Skellam noise of small variance needs more."""

_SPREAD = 8.0
"""A rotated coordinate is held to so many times its typical size. It is larger with a probability of at
most 2 exp(-32) over the signs (Hoeffding), and is then clamped, which can only lower the sensitivity."""

_LARGEST_EXPONENT = 700.0
"""exp of more overflows."""

_ROUNDING_ATTEMPTS = 1000
"""Each succeeds with a probability of at least 1 - exp(-1/2); all fail with one of 1e-217."""


@dataclass(frozen=True)
class DistributedSum:
    """One artist's share of a sum that is private for the unit artist once `honest` shares are in it.

    The distributed discrete Gaussian (Kairouz, Liu and Steinke 2021) or Skellam mechanism (Agarwal, Kairouz
    and Liu 2021), without modular clipping: a share holds signal and noise within `range`.

    Attributes:
        size: Values in an artist's vector, d >= 1.
        clip_norm: L2 bound c on an artist's whole vector, > 0.
        scale: Integer units s per unit of the vector, > 0; scale * clip_norm is at most 2^30.
        noise_multiplier: z: deviation of the noise in a sum of `honest` shares, over `integer_bound`.
            Zero: no noise, no guarantee.
        honest: Shares m whose noise is sure to be there and unknown to the adversary: the smallest cohort
            that is ever opened less the colluders that are assumed. >= 1.
        sampler: Distribution of a share's noise: "gaussian" (discrete) or "skellam".
        rotation: Public seed of the rotation, 32 hexadecimal digits or more. Privacy does not rest on it.
    """

    size: int
    clip_norm: float
    scale: float
    noise_multiplier: float
    honest: int
    sampler: Sampler
    rotation: str

    def __post_init__(self) -> None:
        if not (isinstance(self.size, int) and self.size >= 1):
            raise PrivacyError(f"size must be an integer >= 1, not {self.size}")
        if not (isinstance(self.honest, int) and self.honest >= 1):
            raise PrivacyError(f"honest shares must be an integer >= 1, not {self.honest}")
        for name in ("clip_norm", "scale"):
            if not 0 < getattr(self, name) < math.inf:
                raise PrivacyError(f"{name} must be finite and > 0, not {getattr(self, name)}")
        if self.scale * self.clip_norm > 2.0**30:
            raise PrivacyError(f"scale * clip_norm must be at most 2^30, not {self.scale * self.clip_norm:g}")
        if not 0 <= self.noise_multiplier < math.inf:
            raise PrivacyError(f"noise multiplier must be finite and >= 0, not {self.noise_multiplier}")
        if self.sampler not in ("gaussian", "skellam"):
            raise PrivacyError(f'sampler must be "gaussian" or "skellam", not "{self.sampler}"')
        try:
            seed = bytes.fromhex(self.rotation)
        except (TypeError, ValueError):
            seed = b""
        if len(seed) < 16:
            raise PrivacyError(f'rotation must be 32 hexadecimal digits or more, not "{self.rotation}"')
        # The bound on sums of discrete Gaussians is proved from 1/2 on (Kairouz et al. 2021, theorem 1);
        # coarser integers than that serve nobody with Skellam noise either.
        if self.noise_multiplier > 0 and not 0.5 <= self.share_deviation <= MAX_DEVIATION:
            raise PrivacyError(
                f"a share's noise must have a deviation of 0.5 to {MAX_DEVIATION:g} integers, "
                f"not {self.share_deviation:g}: change scale = {self.scale:g}"
            )

    @cached_property
    def integer_bound(self) -> float:
        """B: L2 norm that no rounded vector exceeds, in integers; what one artist moves in the sum.

        Conditional rounding with beta = exp(-1/2) (Kairouz, Liu and Steinke 2021, proposition 22).
        """
        norm, root = self.scale * self.clip_norm, math.sqrt(self.size)
        return math.sqrt(min(norm**2 + self.size / 4 + norm + root / 2, (norm + root) ** 2))

    @property
    def share_deviation(self) -> float:
        """Deviation of the noise in each value of one share, in integers: z B / sqrt(m)."""
        return self.noise_multiplier * self.integer_bound / math.sqrt(self.honest)

    @cached_property
    def range(self) -> int:
        """Largest absolute value a share may hold: rounded signal plus ten deviations of noise, or as many
        as keep the probability of more at most 2^-71 a value. `share` refuses to return more."""
        noise = math.ceil(_TAIL_DEVIATIONS * self.share_deviation)
        return math.ceil(self._peak) + max(noise, reach(self.sampler, self.share_deviation, _TAIL_BITS))

    @property
    def bits(self) -> int:
        """Bits that a value of a share needs."""
        return (2 * self.range).bit_length()

    @property
    def _peak(self) -> float:
        """What a rotated coordinate is held to before rounding, in integers."""
        return self.scale * self.clip_norm * min(1.0, _SPREAD / math.sqrt(_half(self.size)))

    def deviation(self, artists: int) -> float:
        """Deviation of the noise in each value of a decoded sum of so many shares, in the vector's units."""
        return self.share_deviation * math.sqrt(artists) / self.scale

    def exact(self, vector: np.ndarray) -> np.ndarray:
        """The clipped vector without noise: float64 (size,). One with NaN or inf counts as zeros: to refuse
        it would tell others something of it.

        Raises:
            PrivacyError: The vector has another shape.
        """
        vector = np.asarray(vector, dtype=np.float64)
        if vector.shape != (self.size,):
            raise PrivacyError(f"a share takes a vector of {self.size} values, not of shape {vector.shape}")
        largest = np.abs(vector).max()
        if not 0 < largest < math.inf:
            return np.zeros(self.size)
        # Divided first, so that squares neither overflow nor vanish.
        direction = vector / largest
        return np.asarray(direction * min(largest, self.clip_norm / np.linalg.norm(direction)))

    def share(self, vector: np.ndarray, read: ByteSource = os.urandom) -> np.ndarray:
        """What leaves an artist, to be summed unseen: int64 (size,), of absolute value at most `range`.

        Args:
            vector: Shape (size,), in any length; clipped here.
            read: Source of random bytes.

        Raises:
            PrivacyError: The vector has another shape, or the noise left its range, which happens with
                less than size * 2^-71.
        """
        rotated = np.clip(self.scale * self._rotate(self.exact(vector)), -self._peak, self._peak)
        share = self._round(rotated, read)
        if self.sampler == "gaussian":
            share += discrete_gaussian((self.size,), self.share_deviation, read)
        else:
            share += skellam((self.size,), self.share_deviation**2, read)
        if np.abs(share).max() > self.range:
            raise PrivacyError(f"noise left the range of a share, {self.range}; nothing was released")
        return share

    def decode(self, total: np.ndarray) -> np.ndarray:
        """The sum of the clipped vectors plus noise: float64 (size,) from the int64 sum of shares (size,)."""
        total = np.asarray(total)
        if total.shape != (self.size,) or not np.issubdtype(total.dtype, np.integer):
            raise PrivacyError(f"a sum has {self.size} integers, not shape {total.shape} of {total.dtype}")
        return self._unrotate(total / self.scale)

    def sensitivity(self, adjacency: Adjacency) -> float:
        """What one artist moves in the decoded sum, L2: B / s, or twice that where its vector is replaced."""
        return self.integer_bound / self.scale * (2 if adjacency == "replace" else 1)

    def rdp(self, orders: Sequence[float], adjacency: Adjacency) -> np.ndarray:
        """Rényi divergence of one release of a sum with `honest` shares or more: float64, one for each order.

        Discrete Gaussian: Kairouz, Liu and Steinke 2021, proposition 14, with L1 norms. Its first term is
        given there as tau d and in theorem 1 as alpha tau d / 4; the larger one is used. Skellam: Agarwal,
        Kairouz and Liu 2021, corollary 3.6, proved for integers; other orders are rounded up, as the
        divergence grows with its order.

        Args:
            orders: Each > 1.
            adjacency: "add-remove": an artist's vector or zeros; "replace": one vector or another.

        Returns:
            Infinite where there is no noise.
        """
        alpha = np.asarray(orders, dtype=np.float64)
        if not (alpha > 1).all():
            raise PrivacyError("Rényi orders must be > 1")
        if self.noise_multiplier == 0:
            return np.full(alpha.shape, math.inf)
        hops = 2 if adjacency == "replace" else 1
        d, m, variance = self.size, self.honest, self.share_deviation**2
        l2 = hops * self.integer_bound
        # An integer's absolute value is at most its square, so that |q|_1 <= |q|_2^2 for each vector.
        l1 = min(math.sqrt(d) * l2, hops * self.integer_bound**2)
        mu = m * variance
        if self.sampler == "skellam":
            alpha = np.ceil(alpha)
            small = ((2 * alpha - 1) * l2**2 + 6 * l1) / (4 * mu**2)
            return np.asarray(alpha * l2**2 / (2 * mu) + np.minimum(small, 3 * l1 / (2 * mu)))
        k = np.arange(1, m)
        tau = 10 * float(np.exp(-2 * math.pi**2 * variance * k / (k + 1)).sum())
        pointwise = alpha / 2 * l2**2 / mu + tau * d * np.maximum(1, alpha / 4)
        by_norm = alpha / 2 * (l2**2 / mu + 2 * l1 * tau / math.sqrt(mu) + tau**2 * d)
        return np.asarray(np.minimum(pointwise, by_norm))

    def delta_slack(self, artists_max: int, epsilon: float = 16.0) -> float:
        """What one release adds to delta for the samplers' distance and the cut tails, any epsilon up to
        `epsilon`.

        The noise of all shares is as assumed but for a total variation distance eta: at most
        `sampling_distance` + `tail` for each value of each share. A guarantee (epsilon, delta) of the ideal
        mechanism becomes (epsilon, delta + (1 + exp(epsilon)) eta).

        Args:
            artists_max: The most shares a sum holds.
            epsilon: The largest composed epsilon that the sum of slacks is used with.
        """
        deviation = self.share_deviation
        if deviation == 0:
            return 0.0
        if epsilon > _LARGEST_EXPONENT:
            return math.inf
        bound = self.range - math.ceil(self._peak)
        value = tail(self.sampler, deviation, bound) + sampling_distance(self.sampler, deviation)
        return (1 + math.exp(epsilon)) * artists_max * self.size * value

    def _round(self, values: np.ndarray, read: ByteSource) -> np.ndarray:
        for _ in range(_ROUNDING_ATTEMPTS):
            rounded = stochastic_round(values, read)
            # Integer arithmetic: whatever floating point did before, no norm above B gets through.
            if int(rounded @ rounded) <= self.integer_bound**2:
                return rounded
        raise PrivacyError("no rounding of the vector stays within its bound; nothing was released")

    @cached_property
    def _signs(self) -> tuple[np.ndarray, np.ndarray]:
        half = _half(self.size)
        data = shake_256(bytes.fromhex(self.rotation)).digest(-(-2 * half // 8))
        bits = np.unpackbits(np.frombuffer(data, dtype=np.uint8), count=2 * half)
        signs = 1.0 - 2.0 * bits
        return signs[:half], signs[half:]

    def _rotate(self, vector: np.ndarray) -> np.ndarray:
        """Orthonormal: random signs and a Hadamard transform of the first power of two of values, then of the
        last. Both together reach every value, and nothing has to be padded (up to twice the values)."""
        rotated, half = vector.copy(), _half(self.size)
        first, last = self._signs
        rotated[:half] = hadamard(first * rotated[:half])
        if half < self.size:
            rotated[-half:] = hadamard(last * rotated[-half:])
        return rotated

    def _unrotate(self, rotated: np.ndarray) -> np.ndarray:
        vector, half = rotated.copy(), _half(self.size)
        first, last = self._signs
        if half < self.size:
            vector[-half:] = last * hadamard(vector[-half:])
        vector[:half] = first * hadamard(vector[:half])
        return vector


def hadamard(values: np.ndarray) -> np.ndarray:
    """The orthonormal Walsh-Hadamard transform (Sylvester's order), its own inverse, in O(n log n).

    Args:
        values: float64 (n,), n a power of two.

    Example:
        >>> hadamard(np.array([1.0, 0.0, 0.0, 0.0])).tolist()
        [0.5, 0.5, 0.5, 0.5]
    """
    result = np.array(values, dtype=np.float64)
    step = 1
    while step < len(result):
        pairs = result.reshape(-1, 2, step)
        pairs[:, 0], pairs[:, 1] = pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]
        step *= 2
    return result / math.sqrt(len(result))


def _half(size: int) -> int:
    """The largest power of two up to `size`: more than half of it."""
    return 1 << (size.bit_length() - 1)
