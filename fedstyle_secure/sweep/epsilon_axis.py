"""The axis that epsilons lie on: logarithmic, with what has none behind a gap at its right."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fedstyle_secure.privacy.figures import rounded_up
from fedstyle_secure.sweep.grid import NO_DP
from fedstyle_secure.sweep.marks import Mark

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_QUIET = "#6A6A6A"

_GAP = 2.6
"""Factor between the largest epsilon and the place of `no DP`."""

_SAME = 1.03
"""Factor within which epsilons are drawn at one place."""

_APART, _MOST_APART = 1.07, 1.3
"""Factor between marks that would lie on each other, and between the first and the last of them."""


class EpsilonAxis:
    """Where epsilons lie on a logarithmic axis, with `no DP` behind a gap at its right."""

    def __init__(self, marks: Sequence[Mark]) -> None:
        """Args: marks: All that will be drawn."""
        known = sorted({m.epsilon for m in marks if m.epsilon is not None and m.epsilon > 0})
        # Solved for the same target, epsilons differ by the solver's tolerance.
        groups: list[list[float]] = []
        for value in known:
            if groups and value < _SAME * groups[-1][0]:
                groups[-1].append(value)
            else:
                groups.append([value])
        self._at = {value: statistics.fmean(group) for group in groups for value in group}
        self._most = {self._at[group[-1]]: group[-1] for group in groups}
        self._known = sorted(set(self._at.values()))
        self.low = self._known[0] if self._known else 1.0
        self.high = self._known[-1] if self._known else 1.0
        bare = {m.bare for m in marks if m.epsilon is None}
        self.open = bool(bare)
        self._open_label = NO_DP if bare == {NO_DP} else "no guarantee"

    def x(self, epsilon: float | None) -> float:
        """Where an epsilon is drawn; zero, which a logarithm has no place for, at the least one's."""
        return self.high * _GAP if epsilon is None else self._at.get(epsilon, self.low)

    def dodge(self, number: int, of: int) -> float:
        """Factor by which a line is moved, so that lines lie side by side."""
        step = min(_APART, _MOST_APART ** (1 / max(of - 1, 1)))
        return float(step ** (number - (of - 1) / 2))

    def dress(self, panel: Axes, marks: Sequence[Mark]) -> None:
        """Scale, limits, ticks and label of a panel."""
        panel.set_xscale("log")
        margin = 1.45
        panel.set_xlim(self.low / margin, (self.high * _GAP if self.open else self.high) * margin)
        ticks = self._ticks()
        labels = [up(self._most[tick]) for tick in ticks] + ([self._open_label] if self.open else [])
        panel.set_xticks(ticks + ([self.high * _GAP] if self.open else []), labels)
        panel.set_xticks([], minor=True)
        units = {mark.rows[0]["privacy.unit"] for mark in marks}
        deltas = {mark.rows[0]["privacy.delta"] for mark in marks}
        delta = f"δ = {short(min(deltas))}" if len(deltas) == 1 else "δ differs"
        unit = units.pop() if len(units) == 1 else "unit of privacy"
        panel.set_xlabel(f"ε per {unit}, all releases of one run ({delta})")
        if self.open and self._known:
            self._break(panel)

    def _ticks(self) -> list[float]:
        """The epsilons themselves, less those too near to another for their labels."""
        kept: list[float] = []
        for value in self._known:
            if not kept or value / kept[-1] > 1.25:
                kept.append(value)
        return kept

    def _break(self, panel: Axes) -> None:
        """A gap in the axis' line."""
        middle = self.high * math.sqrt(_GAP)
        across = panel.get_xaxis_transform()
        sides = (middle / 1.06, middle * 1.06)
        panel.plot(
            sides, [0, 0], color="white", linewidth=3, transform=across, clip_on=False, zorder=5,
            solid_capstyle="butt",
        )  # fmt: skip
        for side in sides:
            panel.plot(
                [side / 1.02, side * 1.02], [-0.018, 0.018], color=_QUIET, linewidth=0.8, transform=across,
                clip_on=False, zorder=6,
            )  # fmt: skip


def up(epsilon: float, digits: int = 2) -> str:
    """An epsilon > 0 with so many digits, rounded up, without zeros at its end."""
    places = max(digits - 1 - math.floor(math.log10(epsilon)), 0) if epsilon > 0 else 0
    text = rounded_up(epsilon, places)
    return text.rstrip("0").rstrip(".") if "." in text else text


def short(delta: float) -> str:
    """A delta as one writes it: 1e-5."""
    return f"{delta:g}".replace("e-0", "e-")
