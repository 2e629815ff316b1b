"""Exact discrete Laplace noise for counts: integers in, integers out, no floating point in between."""

from __future__ import annotations

import os
from fractions import Fraction

import numpy as np

from fedstyle_secure.privacy.noise import ByteSource


def discrete_laplace(size: int, parameter: float, read: ByteSource = os.urandom) -> np.ndarray:
    """Independent samples k with probability proportional to exp(-parameter |k|).

    Exact for the parameter as a rational number: only comparisons of random integers decide (Canonne,
    Kamath and Steinke 2020, algorithms 1 and 2).

    Args:
        size: Number of samples.
        parameter: > 0; infinity gives zeros and reads nothing.
        read: Source of random bytes.

    Returns:
        int64, shape (size,).

    Example:
        >>> noise = discrete_laplace(3, 0.5)
        >>> noise.dtype, noise.shape
        (dtype('int64'), (3,))
    """
    if not parameter > 0:
        raise ValueError(f"parameter must be > 0, not {parameter}")
    if parameter == float("inf"):
        return np.zeros(size, np.int64)
    exact = Fraction(parameter)
    return np.array([_sample(exact, read) for _ in range(size)], np.int64)


def _sample(parameter: Fraction, read: ByteSource) -> int:
    while True:
        magnitude = 0
        while _bernoulli_exp(parameter, read):
            magnitude += 1
        negative = _below(2, read) == 1
        # Zero has one sign only, or it would come twice as often as it should.
        if magnitude or not negative:
            return -magnitude if negative else magnitude


def _bernoulli_exp(gamma: Fraction, read: ByteSource) -> bool:
    """True with probability exp(-gamma)."""
    while gamma > 1:
        if not _bernoulli_exp(Fraction(1), read):
            return False
        gamma -= 1
    k = 1
    while _below(gamma.denominator * k, read) < gamma.numerator:
        k += 1
    return k % 2 == 1


def _below(bound: int, read: ByteSource) -> int:
    """A uniform integer in [0, bound)."""
    size = (bound.bit_length() + 7) // 8
    limit = (256**size // bound) * bound
    while True:
        value = int.from_bytes(read(size), "little")
        if value < limit:
            return value % bound
