"""What a plot shows: the cells that differ in nothing but their seed are one mark."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from fedstyle_secure.sweep.grid import NO_DP, SEED, Axis
from fedstyle_secure.sweep.table import Row

ENCRYPTION = frozenset({"secure_sum.enabled", "secure_sum.updates"})
"""Settings of an axis that turns encryption on and off."""

GUARANTEE = frozenset({"privacy.dp", "privacy.target_epsilon", "privacy.noise_multiplier"})
"""Settings of an axis that asks for guarantees."""


@dataclass(frozen=True)
class Mark:
    """The cells that differ in nothing but their seed.

    Attributes:
        series: What else varies, in words; "" where nothing does.
        encryption: Which kind, in words.
        name: Of its epsilon in the grid; "" where the grid does not vary it.
        rows: One a seed, whatever became of its cell.
    """

    series: str
    encryption: str
    name: str
    rows: tuple[Row, ...]

    @cached_property
    def done(self) -> tuple[Row, ...]:
        """Rows of finished cells: no figure is of another one."""
        return tuple(row for row in self.rows if row["state"] == "finished")

    @cached_property
    def epsilon(self) -> float | None:
        """Mean over finished seeds of the largest epsilon of an artist, in the run's unit; None where one of
        them has no guarantee, or none is finished."""
        unit = self.rows[0]["privacy.unit"]
        values = [row[f"privacy.epsilon_{unit}_max"] for row in self.done]
        return None if None in values or not values else statistics.fmean(values)

    @property
    def bare(self) -> str:
        """What it is called where it has no epsilon: `no DP`, or that noise was asked for and nothing came of
        it that could be stated."""
        return NO_DP if all(row["privacy.dp"] == "off" for row in self.rows) else "no guarantee"

    def values(self, column: str) -> list[float]:
        """Of the finished seeds that have one."""
        return [row[column] for row in self.done if row.get(column) is not None]

    def spread(self, column: str) -> tuple[float, float | None] | None:
        """Mean and standard deviation (n - 1; None for a single seed); None where no seed has a value."""
        values = self.values(column)
        if not values:
            return None
        return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None

    def interval(self, column: str) -> tuple[float, float] | None:
        """From the smallest low to the largest high of the audits' own intervals; None without one."""
        lows, highs = self.values(f"{column}_low"), self.values(f"{column}_high")
        return (min(lows), max(highs)) if lows and highs else None

    def fewer(self, column: str) -> str:
        """`1 of 3` where some seed has no value in a column; "" where all have, or none."""
        known = len(self.values(column))
        return f"{known} of {len(self.rows)}" if 0 < known < len(self.rows) else ""


def marks_of(rows: Sequence[Row], axes: Sequence[Axis]) -> tuple[Mark, ...]:
    """Rows gathered over seeds, in the grid's order."""
    found: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(row[f"axis.{a.name}"] for a in axes if a.name != SEED), []).append(row)
    return tuple(_mark(tuple(group), axes) for group in found.values())


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Which points (leakage, utility) no other one beats: none has at most as much leakage and at least as
    much utility, and is better in one of them. In order of leakage; equal points are all on it."""
    return sorted(
        (
            i
            for i, (x, y) in enumerate(points)
            if not any(a <= x and b >= y and (a < x or b > y) for a, b in points)
        ),
        key=lambda i: points[i],
    )


def _mark(rows: tuple[Row, ...], axes: Sequence[Axis]) -> Mark:
    row = rows[0]
    kinds: dict[str, list[str]] = {"guarantee": [], "encryption": [], "series": []}
    for axis in axes:
        keys, point = frozenset(axis.keys), row[f"axis.{axis.name}"]
        if axis.name == SEED or len(axis.points) == 1:
            continue
        if keys <= GUARANTEE:
            kinds["guarantee"].append(point)
        elif keys <= ENCRYPTION:
            kinds["encryption"].append(_yes_no(axis, point))
        else:
            kinds["series"].append(f"{axis.name} = {point}")
    encryption = ", ".join(kinds["encryption"]) or ("on" if row["secure_sum.enabled"] else "off")
    return Mark(", ".join(kinds["series"]), encryption, ", ".join(kinds["guarantee"]), rows)


def _yes_no(axis: Axis, point: str) -> str:
    words = {"true": "on", "false": "off"}
    return words.get(point, point) if axis.name == "secure_sum.enabled" else point
