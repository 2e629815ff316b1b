"""Numbers and pictures held against what a docstring says of them; the error names what does not fit."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

import numpy as np
from torch import Tensor

from attacks.errors import AttackError


def whole(name: str, value: Any, low: int, high: int | None = None) -> None:
    """Refuse what is no whole number from `low` to `high`; True and 3.0 are none.

    Raises:
        AttackError: Names it, and what would be valid.
    """
    right = isinstance(value, Integral) and not isinstance(value, bool)
    if not right or value < low or (high is not None and value > high):
        wanted = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise AttackError(f"{name} must be a whole number {wanted}, not {value!r}")


def real(name: str, value: Any, allowed: str, *, infinite: bool = False) -> None:
    """Refuse what is no number of an interval; NaN and True are none.

    Args:
        name: Of the argument.
        value: What was given.
        allowed: The interval, such as "[0, 1)", "(0, inf)" or "(-inf, inf)".
        infinite: Whether infinity is allowed where the interval ends there.

    Raises:
        AttackError: Names it, and the interval.
    """
    low, high = (float(end) for end in allowed[1:-1].split(","))
    right = isinstance(value, Real) and not isinstance(value, bool | np.bool_)
    if right:
        above = value >= low if allowed[0] == "[" else value > low
        below = value <= high if allowed[-1] == "]" else value < high
        right = (above and below) or (infinite and high == math.inf and value == high)
    if not right:
        wanted = "finite number" if low == -math.inf else f"number in {allowed}"
        also = " or infinite" if infinite else ""
        raise AttackError(f"{name} must be a {wanted}{also}, not {value!r}")


def wholes(name: str, values: Any, low: int, high: int | None = None) -> np.ndarray:
    """int (k,), each from `low` to `high`; k may be 0. Raises AttackError as `whole`."""
    found = np.asarray(values)
    right = found.ndim == 1 and found.dtype.kind in "iu"
    if not right or (found < low).any() or (high is not None and (found > high).any()):
        wanted = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise AttackError(f"{name} must be whole numbers (k,) {wanted}, not {found.dtype} {found.shape}")
    return found


def unit_pictures(name: str, pictures: Tensor, least: int = 1) -> None:
    """Refuse pictures that are not floating, finite and in [0, 1], or fewer than `least`.

    Raises:
        AttackError: Names them.
    """
    if len(pictures) < least or not pictures.is_floating_point():
        raise AttackError(f"{name} must be {least} or more floating pictures, not {tuple(pictures.shape)}")
    if not ((pictures >= 0) & (pictures <= 1)).all():
        raise AttackError(f"{name} must be finite and in [0, 1]")
