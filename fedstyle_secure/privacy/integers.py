"""Integer noise from the operating system's entropy: discrete Gaussian, Skellam, stochastic rounding.

A sample is the number of thresholds of the distribution function that lie at or below a uniform 128-bit
number. Only its first 64 bits are read, save where they tie with a threshold: once in 2^42 samples or
less. The thresholds come from integer arithmetic of about 300 bits, so that no floating-point error
enters and `sampling_distance` is a bound, not an estimate.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import lru_cache
from itertools import accumulate
from typing import Literal

import numpy as np

from fedstyle_secure.errors import PrivacyError
from fedstyle_secure.privacy.noise import ByteSource

Sampler = Literal["gaussian", "skellam"]

MAX_DEVIATION = 1e5
"""Largest deviation of Skellam noise; the table has about 27 thresholds for each unit of it."""

WIDEST = 2.0**55
"""Largest deviation of discrete Gaussian noise: nothing as far out as it reaches overflows int64."""

SMOOTH = 4.0
"""Width, in steps of a lattice, from which on a Gaussian no longer feels the lattice: the sum of its values
over a shifted lattice is that over the lattice itself, to 1 +- 2 exp(-2 pi^2 SMOOTH^2) = 1 +- 1e-136 (Poisson
summation; Micciancio and Regev 2007)."""

MOST_DRAWS = 2**28
"""Values of a release, times the shares that are added up in it: no release has more."""

_TABLE_WIDEST = 8192.0
_COARSE = 2048.0
"""Wider Gaussians are made of two: one of about the second width, times a whole number, and a narrower
one."""

_UNSMOOTH = 1e-130
"""More than what one such combination is off by, in total variation."""

_PRECISION = 320
"""Bits of the fixed-point numbers that tables are computed with."""

_WORD = 64
_TABLE_BITS = 2 * _WORD
_BLOCK = 1 << 17
"""Words read at a time: small enough for the processor's cache."""


@dataclass(frozen=True)
class _Table:
    """Thresholds of P[Z <= value], as 128-bit numbers; sample = how many lie at or below, plus `lowest`."""

    high: np.ndarray
    low: np.ndarray
    lowest: int


def discrete_gaussian(shape: tuple[int, ...], sigma: float, read: ByteSource = os.urandom) -> np.ndarray:
    """Independent samples with P[k] proportional to exp(-k^2 / (2 sigma^2)).

    The deviation is at most `sigma`: 7.3 % less at 0.5, 0.03 % less at 0.75, 1e-7 less at 1 (Canonne, Kamath
    and Steinke 2020, "The Discrete Gaussian for Differential Privacy").

    A wide one is k X + Y with two narrower ones (Micciancio and Walter 2017): with Y at least `SMOOTH` k wide
    it is the stated one but for `sampling_distance`.

    Args:
        shape: Shape of the result.
        sigma: Scale, in [0, WIDEST] and above 0.1 if not zero. Zero gives zeros and reads no entropy.
        read: Source of random bytes.

    Returns:
        int64 array of `shape`.

    Raises:
        PrivacyError: `sigma` is out of range, or `read` returned too few bytes.

    Example:
        >>> noise = discrete_gaussian((4,), 3.0)
        >>> noise.dtype, noise.shape
        (dtype('int64'), (4,))
    """
    if not 0 <= sigma <= WIDEST:
        raise PrivacyError(f"sigma of a discrete Gaussian must lie in [0, {WIDEST:g}], not {sigma}")
    result = np.zeros(shape, np.int64)
    for times, width in _parts(sigma):
        result += times * _sample(shape, "gaussian", width, width * width, read)
    return result


def _parts(sigma: float) -> list[tuple[int, float]]:
    """What a discrete Gaussian is made of: factors, and widths that a table is made for."""
    parts, left = [], sigma
    while left > _TABLE_WIDEST:
        times = math.ceil(left / _COARSE)
        fine = SMOOTH * times
        # Rounded up: never less noise than is stated.
        parts.append((times, math.sqrt(left * left - fine * fine) / times * (1 + 2.0**-50)))
        left = fine
    return [*parts, (1, left)]


def drawn_deviation(std: float, shares: int = 1) -> float:
    """Scale of the discrete Gaussian that each of some shares is drawn with, so that the sum of them on an
    integer hides it at least as well as continuous Gaussian noise of deviation `std` does.

    Round a continuous Gaussian of variance s^2 at random to an integer, by a discrete Gaussian of width
    `SMOOTH` around it: that is a discrete Gaussian of variance s^2 + SMOOTH^2 (Peikert 2010, theorem 3.1),
    and independent ones of at least that width add up to one. So integers with this noise are
    post-processing of integers with the continuous noise, and cost what that costs, but for the samplers'
    distance (`sampling_distance`).

    Args:
        std: > 0.
        shares: How many are added up, >= 1.

    Example:
        >>> drawn_deviation(3.0)
        5.0
    """
    return math.hypot(std, SMOOTH) / math.sqrt(shares)


def integer_gaussian(shape: tuple[int, ...], std: float, read: ByteSource = os.urandom) -> np.ndarray:
    """Integer noise for integers, which costs what Gaussian noise of deviation `std` costs.

    Args:
        shape: Shape of the result.
        std: In [0, WIDEST). Zero gives exact zeros and reads no entropy.
        read: Source of random bytes.

    Returns:
        int64 array of `shape`.

    Example:
        >>> integer_gaussian((2, 2), std=0.0).tolist()
        [[0, 0], [0, 0]]
        >>> noise = integer_gaussian((1000,), std=1000.0)  # From the system's entropy, of no seed.
        >>> bool(800 < noise.std() < 1200)
        True
    """
    return discrete_gaussian(shape, drawn_deviation(std) if std else 0.0, read)


def skellam(shape: tuple[int, ...], variance: float, read: ByteSource = os.urandom) -> np.ndarray:
    """Independent differences of two Poisson variables of mean `variance` / 2 each.

    P[k] = exp(-variance) I_|k|(variance), with the modified Bessel function I (Skellam 1946). A sum of
    independent Skellam variables is Skellam, and the variances add.

    Args:
        shape: Shape of the result.
        variance: In [0, MAX_DEVIATION^2] and above 0.01 if not zero. Zero gives zeros and reads no entropy.
        read: Source of random bytes.

    Returns:
        int64 array of `shape`.

    Raises:
        PrivacyError: `variance` is out of range, or `read` returned too few bytes.

    Example:
        >>> skellam((2, 3), 9.0).shape
        (2, 3)
    """
    deviation = math.sqrt(variance) if variance >= 0 else math.nan
    return _sample(shape, "skellam", deviation, variance, read)


def stochastic_round(values: np.ndarray, read: ByteSource = os.urandom) -> np.ndarray:
    """Round each value to one of its two integer neighbours, so that the expectation is the value.

    Args:
        values: Finite, of absolute value at most 2^52.
        read: Source of random bytes; integers read some too, so that the amount tells nothing.

    Returns:
        int64 array of the same shape. Probabilities are exact to 2^-64.

    Raises:
        PrivacyError: A value is not finite or too large.

    Example:
        >>> set(stochastic_round(np.full(64, 0.25)).tolist()) <= {0, 1}
        True
    """
    values = np.asarray(values, dtype=np.float64)
    size = np.abs(values)
    if not (size <= 2.0**52).all():
        raise PrivacyError("stochastic rounding takes finite values of at most 2^52")
    # Split the absolute value: the fraction of a tiny negative number would itself round to 1.
    whole = np.floor(size)
    threshold = np.ldexp(size - whole, _WORD).astype(np.uint64)
    up = _words(values.size, read).reshape(values.shape) < threshold
    return np.asarray(np.copysign(whole + up, values), dtype=np.int64)


def sampling_distance(sampler: Sampler, deviation: float) -> float:
    """Bound on the total variation distance between one sample and the exact distribution.

    For n samples it is n times that. An (epsilon, delta) guarantee proved for the exact distribution holds
    with delta + (1 + exp(epsilon)) n sampling_distance(...).

    Args:
        sampler: Which distribution.
        deviation: `sigma`, or the square root of `variance`.
    """
    if deviation == 0:
        return 0.0
    if sampler == "gaussian" and deviation > _TABLE_WIDEST:
        parts = _parts(deviation)
        return sum(sampling_distance(sampler, width) for _, width in parts) + len(parts) * _UNSMOOTH
    # Each threshold is off by less than 2^-128 from rounding down and by far less from the arithmetic, so
    # that a probability is off by 2 * 2^-128 and the distance is at most half their sum. There are at most
    # 2 reach(...) thresholds, and what lies beyond the table, less than 2^-127, counts for its two ends.
    return (2 * reach(sampler, deviation, _TABLE_BITS) + 3) * 2.0**-_TABLE_BITS


def tail(sampler: Sampler, deviation: float, bound: float) -> float:
    """Bound on P[|Z| > bound] for one sample, by Chernoff.

    Discrete Gaussian: it is sub-Gaussian with parameter sigma^2 (Canonne, Kamath and Steinke 2020), so
    that 2 exp(-t^2 / (2 sigma^2)). Skellam of variance v: its moment generating function is
    exp(v (cosh(u) - 1)), so that 2 exp(sqrt(v^2 + t^2) - v - t asinh(t / v)); heavier where v is small.

    Args:
        sampler: Which distribution.
        deviation: `sigma`, or the square root of `variance`.
        bound: t, >= 0.
    """
    if deviation == 0:
        return 0.0
    return min(1.0, 2 * math.exp(_log_tail(sampler, deviation, bound)))


def reach(sampler: Sampler, deviation: float, bits: float) -> int:
    """Smallest integer t with `tail(sampler, deviation, t)` at most 2^(1 - bits)."""
    if deviation == 0:
        return 0
    low, high = 0, 1
    while _log_tail(sampler, deviation, high) > -bits * math.log(2):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if _log_tail(sampler, deviation, middle) > -bits * math.log(2):
            low = middle
        else:
            high = middle
    return high


def _log_tail(sampler: Sampler, deviation: float, bound: float) -> float:
    variance = deviation * deviation
    if sampler == "gaussian":
        return -bound * bound / (2 * variance)
    # sqrt(v^2 + t^2) - v, without cancellation.
    gap = bound * bound / (math.hypot(variance, bound) + variance)
    return gap - bound * math.asinh(bound / variance)


def _sample(
    shape: tuple[int, ...], sampler: Sampler, deviation: float, variance: float, read: ByteSource
) -> np.ndarray:
    if not 0 <= deviation <= MAX_DEVIATION:
        raise PrivacyError(f"deviation of integer noise must lie in [0, {MAX_DEVIATION:g}], not {deviation}")
    result = np.zeros(math.prod(shape), dtype=np.int64)
    if deviation == 0:
        return result.reshape(shape)
    table = _table(sampler, deviation, variance)
    for start in range(0, result.size, _BLOCK):
        block = result[start : start + _BLOCK]
        words = _words(block.size, read)
        block[:] = np.searchsorted(table.high, words, side="right")
        ties = np.flatnonzero(table.high[np.maximum(block - 1, 0)] == words)
        for i, second in zip(ties, _words(len(ties), read), strict=True):
            first = int(np.searchsorted(table.high, words[i], side="left"))
            block[i] = first + np.searchsorted(table.low[first : block[i]], second, side="right")
    return (result + table.lowest).reshape(shape)


def _words(count: int, read: ByteSource) -> np.ndarray:
    data = read(8 * count) if count else b""
    if len(data) != 8 * count:
        raise PrivacyError(f"the source of random bytes returned {len(data)} of {8 * count} bytes")
    return np.frombuffer(data, dtype="<u8")


@lru_cache(maxsize=32)
def _table(sampler: Sampler, deviation: float, variance: float) -> _Table:
    weights = _gaussian_weights(deviation) if sampler == "gaussian" else _skellam_weights(variance)
    # Sum from the tail inwards: upper[k] is proportional to P[Z >= k + 1].
    upper = list(accumulate(reversed(weights[1:])))[::-1]
    total = weights[0] + 2 * upper[0]
    one = 1 << _TABLE_BITS
    survival = [s for s in (u * one // total for u in upper) if s]
    thresholds = [*reversed(survival), *(one - s for s in survival)]
    mask = (1 << _WORD) - 1
    return _Table(
        np.array([t >> _WORD for t in thresholds], dtype=np.uint64),
        np.array([t & mask for t in thresholds], dtype=np.uint64),
        -len(survival),
    )


def _gaussian_weights(sigma: float) -> list[int]:
    """exp(-k^2 / (2 sigma^2)) for k = 0, 1, ... in fixed point, until it vanishes."""
    if sigma < 0.1:
        raise PrivacyError(f"sigma of a discrete Gaussian must be 0 or at least 0.1, not {sigma}")
    with localcontext() as context:
        context.prec = 120
        ratio = int((-1 / (2 * Decimal(sigma) ** 2)).exp() * (1 << _PRECISION))
    return list(_until_small(ratio))


def _until_small(ratio: int) -> Iterator[int]:
    # The quotient of neighbours is ratio^(2k + 1).
    square = ratio * ratio >> _PRECISION
    weight = 1 << _PRECISION
    while weight >> (_PRECISION - 144):
        yield weight
        weight = weight * ratio >> _PRECISION
        ratio = ratio * square >> _PRECISION


def _skellam_weights(variance: float) -> list[int]:
    """Proportional to I_k(variance) for k = 0, 1, ... by Miller's backward recurrence.

    I_(k-1) = I_(k+1) + (2k / v) I_k (Abramowitz and Stegun 9.6.26) is stable downwards. Started with 0 and 1
    where P[k] < 2^-200, every P[k] is off by less than that.
    """
    if variance < 0.01:
        raise PrivacyError(f"variance of a Skellam variable must be 0 or at least 0.01, not {variance}")
    start = reach("skellam", math.sqrt(variance), 200)
    numerator, denominator = variance.as_integer_ratio()
    above, here = 0, 1 << _PRECISION
    weights = [here]
    for k in range(start, 0, -1):
        above, here = here, above + 2 * k * denominator * here // numerator
        weights.append(here)
    return weights[::-1]
