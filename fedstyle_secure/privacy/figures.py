"""How a cost is printed: never below what it is."""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, Decimal


def rounded_up(epsilon: float, places: int = 2) -> str:
    """An epsilon with some decimals, rounded up.

    Args:
        epsilon: Finite.
        places: Decimals, >= 0.

    Example:
        >>> rounded_up(7.9901), rounded_up(8.0)  # Never less than it is.
        ('8.00', '8.00')
    """
    return str(Decimal(repr(float(epsilon))).quantize(Decimal(1).scaleb(-places), ROUND_CEILING))


def epsilon_told(epsilon: float | None, none: str = "no guarantee") -> str:
    """An epsilon as everything prints it, so that one run says one number everywhere.

    Args:
        epsilon: None or infinite: nothing is guaranteed.
        none: What is said then.

    Example:
        >>> epsilon_told(7.97212), epsilon_told(None)
        ('7.98', 'no guarantee')
    """
    return none if epsilon is None or math.isinf(epsilon) else rounded_up(epsilon)
