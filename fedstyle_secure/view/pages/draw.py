"""Shapes of a plot in the units of its drawing: paths, ticks and marks, which a template prints as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

LEFT, TOP, WIDTH, HEIGHT = 52.0, 12.0, 400.0, 300.0
"""Of the box that is plotted into; a drawing has room for words around it."""


@dataclass(frozen=True)
class Tick:
    """A line of the grid.

    Attributes:
        at: Place along the axis, in units of the drawing.
        text: Its number.
    """

    at: float
    text: str


@dataclass(frozen=True)
class Axis:
    """One axis of a plot: values to places.

    Attributes:
        low: Value at its beginning.
        high: Value at its end, > low.
        label: What it measures.
        logarithmic: Whether equal steps are equal ratios; then `low` > 0.
        upward: Whether it is the vertical one.
    """

    low: float
    high: float
    label: str
    logarithmic: bool = False
    upward: bool = False

    def at(self, value: float) -> float:
        """A value's place; values outside lie on the edge."""
        a, b, x = (
            (math.log(self.low), math.log(self.high), math.log(max(value, self.low)))
            if self.logarithmic
            else (self.low, self.high, value)
        )
        share = min(max((x - a) / (b - a), 0.0), 1.0)
        return round(TOP + HEIGHT * (1 - share) if self.upward else LEFT + WIDTH * share, 2)

    @property
    def ticks(self) -> tuple[Tick, ...]:
        """Four to eight round numbers."""
        values = _doublings(self.low, self.high) if self.logarithmic else _steps(self.low, self.high)
        return tuple(Tick(self.at(value), f"{value:.4g}") for value in values)


def path(x: Axis, y: Axis, points: Iterable[tuple[float, float]]) -> str:
    """A line through points, as the `d` of an SVG path."""
    return "M" + "L".join(f"{x.at(a)} {y.at(b)}" for a, b in points)


def band(x: Axis, y: Axis, along: Sequence[float], low: Sequence[float], high: Sequence[float]) -> str:
    """The area between two lines, as the `d` of an SVG path."""
    there = list(zip(along, high, strict=True))
    back = list(zip(along, low, strict=True))[::-1]
    return path(x, y, [*there, *back]) + "Z"


def around(values: Sequence[float], label: str, *, upward: bool = False, share: bool = False) -> Axis:
    """A linear axis that holds values with some room, at least one; a share's stays within [0, 1]."""
    low, high = min(values), max(values)
    room = max(0.1 * (high - low), 0.02)
    low, high = low - room, high + room
    if share:
        low, high = max(low, 0.0), min(high, 1.0)
    return Axis(low, high, label, upward=upward)


def _steps(low: float, high: float) -> list[float]:
    rough = (high - low) / 5
    size = 10 ** math.floor(math.log10(rough))
    step = next(size * m for m in (1, 2, 2.5, 5, 10) if size * m >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [round(step * i, 10) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _doublings(low: float, high: float) -> list[float]:
    first, last = math.ceil(math.log2(low) - 1e-9), math.floor(math.log2(high) + 1e-9)
    every = max(1, (last - first) // 6)
    return [2.0**i for i in range(first, last + 1, every)]
