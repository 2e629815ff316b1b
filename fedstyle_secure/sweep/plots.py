"""Privacy against utility, drawn: means with their spread over seeds, and every seed as a dot.

Of leakage, the audits' own intervals are drawn too: seeds that agree say nothing of how sure each of them is.
What must be known to read a figure is its caption, beside it in `captions.json`. The same rows give the same
bytes.
"""

from __future__ import annotations

import math
import statistics
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fedstyle_secure.files import write_json
from fedstyle_secure.sweep.epsilon_axis import EpsilonAxis, short, up
from fedstyle_secure.sweep.grid import NO_DP, Axis, seeded
from fedstyle_secure.sweep.marks import Mark, front, marks_of
from fedstyle_secure.sweep.table import AUC, RATE, Row
from fedstyle_secure.sweep.tuning import TuningCost
from fedstyle_secure.words import Headline

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
"""Told apart by the colour-blind too (Okabe and Ito 2008); without the yellow, which paper swallows."""

_STYLES = (("o", "solid"), ("s", (0, (4, 1.6))), ("^", (0, (1.2, 1.2))), ("D", (0, (6, 1.5, 1.2, 1.5))))
"""Marker and line of each kind of encryption: told apart without colour."""

_INK, _QUIET, _GRID = "#222222", "#6A6A6A", "#EFEFEF"


@dataclass(frozen=True)
class Page:
    """How a figure is laid out; lengths in inches, sizes of letters in points.

    Attributes:
        panel: Width and height of a panel.
        margins: Left and right of a panel, for what stands on its axis.
        stacked: Panels below one another, not side by side.
        letters: Size of what stands on axes; what stands on marks is a little smaller.
        titled: Whether a title stands above.
    """

    panel: tuple[float, float]
    margins: tuple[float, float]
    stacked: bool
    letters: float
    titled: bool


SCREEN = Page((4.1, 3.3), (0.72, 0.15), stacked=False, letters=9.0, titled=True)
PAPER = Page((2.67, 2.05), (0.65, 0.08), stacked=True, letters=7.5, titled=False)
"""A column of a paper: 3.4 inches wide, and its caption is the paper's own."""

CAPTIONS = "captions.json"

_AROUND = tuple(
    (across * reach, up * reach)
    for reach in (7, 12, 18)
    for across, up in ((1, 0), (-1, 0), (0, 1), (0, -1), (0.7, 0.7), (-0.7, 0.7), (0.7, -0.7), (-0.7, -0.7))
)
"""Where a mark's name may stand, in points from its middle; the first that is free is taken."""

_MOST = len(_COLOURS)

_PALE, _THIN = 0.28, 2.2
"""Opacity and width, in points, of the bars that are the audits' own intervals."""

_GAIN = "utility.gain"
"""Column that plots add: utility less that before any private training, in the same run."""


@dataclass(frozen=True)
class Quantity:
    """Something on an axis.

    Attributes:
        column: Of the table.
        label: With its unit.
        chance: Column of what is reached without looking, or "".
        chance_label: For the legend.
        low, high: Where the axis begins and ends.
        bound: Column of what the guarantee allows, or "".
        curved: Whether the bound of a Gaussian mechanism is known at any epsilon, without a run.
        choices: Column of how many a guess chooses among, or "".
    """

    column: str
    label: str
    chance: str
    chance_label: str
    low: float = 0.0
    high: float = 1.03
    bound: str = ""
    curved: bool = False
    choices: str = ""


_LEAKS = tuple(
    Quantity(
        f"platform.{name}",
        label,
        f"platform.{name}_baseline",
        "reached without looking",
        low,
        bound=f"platform.{name}_bound",
        curved=name == AUC,
    )
    for name, label, low in (
        (RATE, "pictures identified from an update (share)", -0.03),
        (AUC, "membership AUC, largest of several attacks", 0.4),
    )
)

_AUC = f"platform.{AUC}"

_OWN = "the audits' own intervals, lowest to highest"
_RUNS_OWN = "the most that a run's guarantee allows"
_GAUSSIAN = "the same of Gaussian noise, at any ε"
"""Legends of the pale bars, of the short lines, and of the dashed curve."""

_DENSE = 160
"""Points of a curve."""

_APART = 0.022
"""By how much marks of one utility are moved apart, as a share of the axis."""

_LIMITS = (
    "Short lines are the most that each run's own guarantee allows the attack with the loosest limit, by its "
    "accountant. The dashed curve needs no run: it is the limit of membership under one Gaussian mechanism "
    "with that epsilon and delta (Dong, Roth and Su 2022), where a member and a non-member differ in two "
    "records."
)
_BESIDE = (
    "Marks of the same utility are moved apart, up and down, so that their intervals can be read; the front "
    "runs through their true places."
)

_NAMED = 12
"""Most points that a note names one by one; it says how many more there are."""


@dataclass(frozen=True)
class Foot:
    """What every caption says, whatever its figure shows.

    Attributes:
        cost: Of all cells together.
        seeds: What the seeds are the seeds of, in words; "" without such an axis.
        lost: Marks of which no cell finished: they cannot be drawn.
    """

    cost: TuningCost
    seeds: str = ""
    lost: Sequence[Mark] = ()


def draw_all(
    rows: Sequence[Row],
    axes: Sequence[Axis],
    headlines: Sequence[Headline],
    cost: TuningCost,
    folder: Path,
    *,
    paper: bool = False,
) -> tuple[Path, ...]:
    """Draw utility against epsilon, leakage against epsilon, and utility against leakage, as PNG and SVG.

    Args:
        rows: Of all cells; captions name those that did not finish.
        axes: Of the grid.
        headlines: What runs are judged by; the first one that any run has is drawn.
        cost: What all cells would cost together; captions say it.
        folder: Where to.
        paper: Draw each for a column of a paper too, as PDF.

    Returns:
        What was written, the captions last; nothing without a finished cell, and no leakage without audits.
    """
    from attacks.plots import write_figure

    planned = marks_of(rows, axes)
    marks = [mark for mark in planned if mark.done]
    foot = Foot(cost, seeded(axes), [mark for mark in planned if not mark.done])
    series = list(dict.fromkeys(mark.series for mark in marks))
    written: list[Path] = []
    captions: dict[str, str] = {}
    for start in range(0, len(series), _MOST):
        chosen = [mark for mark in marks if mark.series in series[start : start + _MOST]]
        ending = f"-{start // _MOST + 1}" if len(series) > _MOST else ""
        for name, figure, caption in figures(chosen, headlines, foot):
            written += write_figure(figure, folder / f"{name}{ending}")
            captions[f"{name}{ending}"] = caption
        for name, figure, _ in figures(chosen, headlines, foot, PAPER) if paper else ():
            written.append(_write_pdf(figure, folder / f"{name}{ending}.pdf"))
    if not written:
        return ()
    write_json(folder / CAPTIONS, captions)
    return (*written, folder / CAPTIONS)


def _write_pdf(figure: Figure, path: Path) -> Path:
    with _style(PAPER):
        figure.savefig(path, format="pdf", metadata={"CreationDate": None, "Creator": None, "Producer": None})
    return path


def figures(
    marks: Sequence[Mark], headlines: Sequence[Headline], foot: Foot, page: Page = SCREEN
) -> Iterator[tuple[str, Figure, str]]:
    """Names, figures and captions. Args as of `draw_all`; marks of which some cell finished."""
    utility = _utility(marks, headlines)
    if utility is not None:
        marks = _with_gain(marks, utility)
    leaks = [leak for leak in _LEAKS if any(mark.values(leak.column) for mark in marks)]
    if utility is not None:
        shown = [utility, *_gain(marks, utility)]
        figure = _against_epsilon(marks, shown, "Utility against epsilon", page)
        yield "utility_epsilon", figure, _caption(marks, foot, shown)
    if leaks:
        figure = _against_epsilon(marks, leaks, "Leakage to the platform against epsilon", page)
        yield "leakage_epsilon", figure, f"{_caption(marks, foot, leaks)} {_LIMITS}"
    if utility is not None and leaks:
        said = f"{_noise(marks, utility, leaks)} {_caption(marks, foot, [*leaks, utility])} {_BESIDE}"
        yield "utility_leakage", _trade_off(marks, utility, leaks, page), said


def _utility(marks: Sequence[Mark], headlines: Sequence[Headline]) -> Quantity | None:
    for one in headlines:
        if any(mark.values(f"utility.{one.key}") for mark in marks):
            start, choices = f"utility.{one.start}", one.choices and f"utility.{one.choices}"
            before = "before any private training"
            return Quantity(f"utility.{one.key}", one.label, start, before, choices=choices)
    return None


def _with_gain(marks: Sequence[Mark], utility: Quantity) -> list[Mark]:
    """Marks whose rows say by how much a run's utility exceeds its own before any private training."""
    found = []
    for mark in marks:
        pairs = [(row.get(utility.column), row.get(utility.chance)) for row in mark.rows]
        gains = [None if a is None or b is None else a - b for a, b in pairs]
        rows = tuple({**row, _GAIN: gain} for row, gain in zip(mark.rows, gains, strict=True))
        found.append(replace(mark, rows=rows))
    return found


def _gain(marks: Sequence[Mark], utility: Quantity) -> Iterator[Quantity]:
    """What private training adds: beside the utility itself its start would hide below it."""
    reach = [abs(value) for value in _reach(marks, _GAIN)]
    if reach:
        most = 1.2 * max(*reach, 0.01)
        yield Quantity(_GAIN, "gain by private training (share)", "", utility.chance_label, -most, most)


def _against_epsilon(marks: Sequence[Mark], quantities: Sequence[Quantity], title: str, page: Page) -> Figure:
    place = EpsilonAxis(marks)

    def draw(panel: Axes, quantity: Quantity) -> None:
        place.dress(panel, marks)
        panel.set_ylabel(_wrapped(quantity.label, page, 1))
        panel.set_ylim(_lowest(marks, quantity), _highest(marks, quantity))
        _reference(panel, marks, quantity, place)
        for number, (look, own) in enumerate(_lines(marks)):
            shown = [mark for mark in own if mark.values(quantity.column)]
            dodge = place.dodge(number, len(_lines(marks)))
            _points(panel, shown, look, place, dodge, quantity)
            for part in (True, False):
                there = [m for m in shown if (m.epsilon is None) is part]
                there.sort(key=lambda m: place.x(m.epsilon))
                middle = [m.spread(quantity.column) for m in there]
                panel.plot(
                    [place.x(m.epsilon) * dodge for m in there], [s[0] for s in middle if s],
                    color=look.colour, linestyle=look.line, linewidth=1.3, zorder=3,
                )  # fmt: skip
        _say_fewer(panel, marks, quantity, place)
        _say_not_run(panel, marks, quantity, page)

    return _figure(marks, quantities, title, page, draw)


def _wrapped(label: str, page: Page, side: int) -> str:
    """A label of an axis in lines that fit along it: 0 level, 1 upright."""
    return textwrap.fill(label, int(page.panel[side] * 155 / page.letters))


def _lowest(marks: Sequence[Mark], quantity: Quantity) -> float:
    """Where an axis begins, so that no bar and no interval of an audit is cut off."""
    ends = [own[0] for mark in marks if quantity.bound and (own := mark.interval(quantity.column))]
    return min([quantity.low, *(end - _room(quantity) for end in (*ends, *_reach(marks, quantity.column)))])


def _highest(marks: Sequence[Mark], quantity: Quantity) -> float:
    """Where an axis ends, so that no bar is cut off."""
    return max([quantity.high, *(end + _room(quantity) for end in _reach(marks, quantity.column))])


def _room(quantity: Quantity) -> float:
    return 0.03 * (quantity.high - quantity.low)


def _reach(marks: Sequence[Mark], column: str) -> list[float]:
    """Single values and the ends of bars."""
    found = []
    for mark in marks:
        found += mark.values(column)
        spread = mark.spread(column)
        if spread is not None:
            middle, half = spread[0], spread[1] or 0.0
            found += [middle - half, middle + half]
    return found


def _say_fewer(panel: Axes, marks: Sequence[Mark], quantity: Quantity, place: EpsilonAxis) -> None:
    """Write at a point how many of its seeds it is the mean of, where they are not all."""
    lines, points = _lines(marks), []
    for number, (_, own) in enumerate(lines):
        for mark in own:
            spread = mark.spread(quantity.column)
            if spread is not None:
                x = place.x(mark.epsilon) * place.dodge(number, len(lines))
                points.append(Point(mark.fewer(quantity.column), x, spread[0], 0.0, spread[1] or 0.0))
    # Lines run sideways here, so texts stand above or below.
    _write(panel, points, [], around=sorted(_AROUND, key=lambda place: (abs(place[0]) > 0, abs(place[1]))))


def _trade_off(marks: Sequence[Mark], utility: Quantity, leaks: Sequence[Quantity], page: Page) -> Figure:
    def draw(panel: Axes, leak: Quantity) -> None:
        panel.set_xlabel(_wrapped(leak.label, page, 0))
        panel.set_ylabel(_wrapped(utility.label, page, 1))
        panel.set_xlim(_lowest(marks, leak), _highest(marks, leak))
        shown = [m for m in marks if m.values(leak.column) and m.values(utility.column)]
        values = _reach(shown, utility.column)
        room = max(0.12 * (max(values) - min(values)), 0.02) if values else 0.1
        panel.set_ylim(min(values, default=0) - room, max(values, default=1) + room)
        chance = _mean(v for m in shown for v in m.values(leak.chance))
        if chance is not None:
            panel.axvline(chance, color=_QUIET, linewidth=0.8, linestyle=(0, (1, 2)), label=leak.chance_label)
        low, high = panel.get_ylim()
        middles = [_middle(mark, leak.column, utility.column) for mark in shown]
        moves = dict(zip(map(id, shown), _apart(middles, _APART * (high - low)), strict=True))
        places = []
        for look, own in _lines(marks):
            for mark in (m for m in own if id(m) in moves):
                x, y = _middle(mark, leak.column, utility.column)
                _cross(panel, mark, look, leak, utility.column, moves[id(mark)])
                places.append((mark, x, y + moves[id(mark)]))
        best = _best(shown, leak, utility)
        steps = _steps([_middle(mark, leak.column, utility.column) for mark in best])
        panel.plot(
            [x for x, _ in steps], [y for _, y in steps], color=_INK,
            linewidth=0.9, zorder=2.5, label="Pareto front of the means",
        )  # fmt: skip
        _name_points(panel, places, (leak.column, utility.column), steps, chance)
        _say_not_run(panel, marks, leak, page)

    return _figure(marks, leaks, "Utility against leakage to the platform", page, draw)


def _apart(places: Sequence[tuple[float, float]], step: float) -> list[float]:
    """By how much each place is moved up or down, so that intervals at one height, which would cover each
    other, lie a step apart."""
    groups: list[list[int]] = []
    for i in sorted(range(len(places)), key=lambda i: (places[i][1], places[i][0])):
        if groups and places[i][1] - places[groups[-1][-1]][1] < step:
            groups[-1].append(i)
        else:
            groups.append([i])
    moved = [0.0] * len(places)
    for group in groups:
        middle = statistics.fmean(places[i][1] for i in group)
        for number, i in enumerate(group if len(group) > 1 else ()):
            moved[i] = middle + (number - (len(group) - 1) / 2) * step - places[i][1]
    return moved


def _best(marks: Sequence[Mark], leak: Quantity, utility: Quantity) -> list[Mark]:
    """Marks on the front, in order of leakage."""
    shown = [m for m in marks if m.values(leak.column) and m.values(utility.column)]
    return [shown[i] for i in front([_middle(m, leak.column, utility.column) for m in shown])]


def _noise(marks: Sequence[Mark], utility: Quantity, leaks: Sequence[Quantity]) -> str:
    """What of a front is chance: neighbours on it whose difference is within their bars."""
    close = []
    for leak in leaks:
        for one, other in pairwise(_best(marks, leak, utility)):
            if any(_within_bars(one, other, column) for column in (leak.column, utility.column)):
                close.append(f"{_called(one)} and {_called(other)}")
    said = "Differences smaller than the bars are noise"
    if not close:
        return f"{said}."
    return f"{said}: on the front, in leakage or in utility, those of {_listed(list(dict.fromkeys(close)))}."


def _within_bars(one: Mark, other: Mark, column: str) -> bool:
    a, b = one.spread(column), other.spread(column)
    assert a is not None
    assert b is not None
    return abs(a[0] - b[0]) <= max(a[1] or 0.0, b[1] or 0.0)


@dataclass(frozen=True)
class _Look:
    label: str
    colour: str
    marker: str
    line: Any


def _lines(marks: Sequence[Mark]) -> list[tuple[_Look, list[Mark]]]:
    """Marks that a line joins, and what it looks like: colour by series, marker and dashes by encryption.

    Where nothing else varies, each kind of encryption has a colour of its own too.
    """
    series = list(dict.fromkeys(mark.series for mark in marks))
    kinds = sorted(dict.fromkeys(mark.encryption for mark in marks), key=lambda kind: (kind == "off", kind))
    found = []
    for s, k in ((s, k) for s in series for k in kinds):
        own = [mark for mark in marks if (mark.series, mark.encryption) == (s, k)]
        number = kinds.index(k) % len(_STYLES)
        colour = _COLOURS[(series.index(s) if len(series) > 1 else kinds.index(k)) % len(_COLOURS)]
        label = f"{s}, encryption {k}" if s else f"encryption {k}"
        if own:
            found.append((_Look(label, colour, *_STYLES[number]), own))
    return found


def _reference(panel: Axes, marks: Sequence[Mark], quantity: Quantity, place: EpsilonAxis) -> None:
    """Thin lines: what is reached without training or without looking, and what the guarantee allows."""
    at = _at_epsilons(marks, quantity.chance, place)
    for part in (False, True):
        xs = sorted(x for x in at if (x > place.high * 1.001) is part)
        ys = [statistics.fmean(at[x]) for x in xs]
        if len(xs) == 1:
            xs, ys = [xs[0] / 1.2, xs[0] * 1.2], ys * 2
        shown = quantity.chance_label if xs and quantity.chance_label not in _labels(panel) else None
        panel.plot(xs, ys, color=_QUIET, linewidth=0.9, linestyle=(0, (1, 2)), zorder=1.5, label=shown)
    _bounds(panel, marks, quantity, place)
    if quantity.column == _GAIN:
        panel.axhline(
            0, color=_QUIET, linewidth=0.9, linestyle=(0, (1, 2)), zorder=1.5, label=quantity.chance_label
        )
    many = (value for mark in marks for value in mark.values(quantity.choices)) if quantity.choices else ()
    chance = _mean(1 / value for value in many if value)
    if chance is not None:
        panel.axhline(chance, color=_QUIET, linewidth=0.7, linestyle="solid", zorder=1.2, label="guessing")


def _at_epsilons(marks: Sequence[Mark], column: str, place: EpsilonAxis) -> dict[float, list[float]]:
    """A column's values by where their epsilon is drawn."""
    at: dict[float, list[float]] = {}
    for mark in marks:
        for value in mark.values(column) if column else ():
            at.setdefault(round(place.x(mark.epsilon), 9), []).append(value)
    return at


def _bounds(panel: Axes, marks: Sequence[Mark], quantity: Quantity, place: EpsilonAxis) -> None:
    """What the guarantees allow: a short line at each epsilon that was run, as nothing was worked out between
    them; and where a limit is known at any epsilon, its curve."""
    at = _at_epsilons(marks, quantity.bound, place)
    for number, (x, values) in enumerate(sorted(at.items())):
        panel.plot(
            [x / 1.16, x * 1.16], [max(values)] * 2, color=_QUIET, linewidth=1.6, zorder=1.6,
            label=_RUNS_OWN if number == 0 else None, solid_capstyle="butt",
        )  # fmt: skip
    terms = {(mark.rows[0]["privacy.unit"], mark.rows[0]["privacy.delta"]) for mark in marks}
    if quantity.curved and at and len(terms) == 1 and (delta := _of_artwork(terms)):
        epsilons = np.geomspace(place.low / 1.45, place.high * 1.45, _DENSE)
        panel.plot(
            epsilons, [gaussian_auc(epsilon, delta) for epsilon in epsilons], color=_QUIET, linewidth=0.9,
            linestyle=(0, (6, 2)), zorder=1.5, label=_GAUSSIAN,
        )  # fmt: skip


def _of_artwork(terms: set[tuple[str, float]]) -> float | None:
    """The delta of guarantees for artworks, which membership is about."""
    ((unit, delta),) = terms
    return delta if unit == "artwork" else None


def gaussian_auc(epsilon: float, delta: float) -> float:
    """Largest AUC of membership that a Gaussian mechanism with this guarantee allows.

    A member and a non-member differ in two records, so the limit is that between N(0, 1) and N(2 mu, 1):
    Phi(2 mu / sqrt 2) (Dong, Roth and Su 2022, theorems 2.7 and 2.14).

    Args:
        epsilon: > 0, for one record added or removed.
        delta: In (0, 1).

    Example:
        >>> round(gaussian_auc(1.0, 1e-5), 3)
        0.648
    """
    from scipy.special import ndtr

    from attacks.tradeoff import gaussian_mu_of

    return float(ndtr(math.sqrt(2) * gaussian_mu_of(epsilon, delta)))


def _points(
    panel: Axes, marks: Sequence[Mark], look: _Look, place: EpsilonAxis, dodge: float, quantity: Quantity
) -> None:
    """Means with bars, a dot for each seed, and behind them the audits' own intervals."""
    column = quantity.column
    for mark in marks:
        spread = mark.spread(column)
        if spread is None:
            continue
        values, x = mark.values(column), place.x(mark.epsilon) * dodge
        own = mark.interval(column) if quantity.bound else None
        if own is not None:
            panel.vlines(
                x, *own, color=look.colour, alpha=_PALE, linewidth=_THIN, zorder=2, label=_own(panel)
            )
        panel.plot(
            [x] * len(values), values, linestyle="none", marker=".", markersize=3.5, color=look.colour,
            alpha=0.75, zorder=4.5, markeredgewidth=0,
        )  # fmt: skip
        panel.errorbar(
            [x], [spread[0]], yerr=_bar(spread[1]), color=look.colour, marker=look.marker, markersize=6,
            markerfacecolor="white", markeredgewidth=1.3, elinewidth=1.0, capsize=2.5, linestyle="none",
            zorder=4,
        )  # fmt: skip


def _bar(deviation: float | None) -> list[float] | None:
    """No bar at all for a single seed: nothing says how much seeds differ."""
    return None if deviation is None else [deviation]


def _own(panel: Axes) -> str:
    """The pale bars' entry in the legend, once a panel."""
    return "" if _OWN in _labels(panel) else _OWN


def _cross(panel: Axes, mark: Mark, look: _Look, leak: Quantity, y: str, moved: float) -> None:
    x = leak.column
    across, up = mark.spread(x), mark.spread(y)
    assert across is not None
    assert up is not None
    own = mark.interval(x)
    if own is not None:
        panel.hlines(
            up[0] + moved, *own, color=look.colour, alpha=_PALE, linewidth=_THIN, zorder=2, label=_own(panel)
        )
    both = [(r[x], r[y] + moved) for r in mark.done if r.get(x) is not None and r.get(y) is not None]
    panel.plot(
        [a for a, _ in both], [b for _, b in both], linestyle="none", marker=".", markersize=3.5,
        color=look.colour, alpha=0.75, zorder=4.5, markeredgewidth=0,
    )  # fmt: skip
    panel.errorbar(
        [across[0]], [up[0] + moved], xerr=_bar(across[1]), yerr=_bar(up[1]), color=look.colour,
        marker=look.marker, markersize=6, markerfacecolor="white", markeredgewidth=1.3, elinewidth=0.9,
        capsize=2, linestyle="none", zorder=4,
    )  # fmt: skip


def _middle(mark: Mark, x: str, y: str) -> tuple[float, float]:
    across, up = mark.spread(x), mark.spread(y)
    assert across is not None
    assert up is not None
    return across[0], up[0]


def _steps(best: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Corners of the front: with more leakage allowed, utility stays until the next point is reached."""
    corners = list(best[:1])
    for (_, before), (x, y) in pairwise(best):
        corners += [(x, before), (x, y)]
    return corners


def _name_points(
    panel: Axes,
    places: Sequence[tuple[Mark, float, float]],
    columns: tuple[str, str],
    steps: Sequence[tuple[float, float]],
    chance: float | None,
) -> None:
    """Write each mark's epsilon beside it, and of how many of its seeds it is the mean."""
    points = []
    for mark, x, y in places:
        wide, tall = ((mark.spread(column) or (0.0, 0.0))[1] or 0.0 for column in columns)
        fewer = _fewest(mark, columns)
        text = f"{_named(mark)} ({fewer})" if fewer else _named(mark)
        points.append(Point(text, x, y, wide, tall))
    _write(panel, points, steps, chance)


@dataclass(frozen=True)
class Point:
    """A mark as drawn: what to write beside it, "" for nothing, its middle, and half its bars."""

    text: str
    x: float
    y: float
    wide: float
    tall: float


def _write(
    panel: Axes,
    points: Sequence[Point],
    steps: Sequence[tuple[float, float]],
    chance: float | None = None,
    around: Sequence[tuple[float, float]] = _AROUND,
) -> None:
    """Write texts where they cover no mark, bar, other text, line of chance, or step of the front; one that
    fits nowhere is left out, as a name on top of others names nothing."""
    from matplotlib.transforms import Bbox

    figure = panel.get_figure(root=True)
    assert figure is not None
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    size = figure.dpi / 72
    taken = []
    for point in points:
        corners = [(point.x, point.y), (point.x + point.wide, point.y + point.tall)]
        (a, b), (right, top) = panel.transData.transform(corners)
        reach = 4.5 * size
        taken.append(Bbox([[a - reach, b - reach], [a + reach, b + reach]]))
        taken.append(Bbox([[2 * a - right - size, b - size], [right + size, b + size]]))
        taken.append(Bbox([[a - size, 2 * b - top - size], [a + size, top + size]]))
    for (a, b), (c, d) in pairwise(panel.transData.transform(steps).tolist() if steps else []):
        taken.append(Bbox([[min(a, c) - 1, min(b, d) - 1], [max(a, c) + 1, max(b, d) + 1]]))
    inside = panel.get_window_extent(renderer)
    if chance is not None:
        across = panel.transData.transform((chance, 0))[0]
        taken.append(Bbox([[across - 1, inside.y0], [across + 1, inside.y1]]))
    for point in points:
        if not point.text:
            continue
        note = panel.annotate(
            point.text, (point.x, point.y), (0, 0), textcoords="offset points", fontsize=7, color=_INK
        )
        for across, above in around:
            note.set_horizontalalignment("left" if across > 0 else "right" if across < 0 else "center")
            note.set_verticalalignment("bottom" if above > 0 else "top" if above < 0 else "center")
            note.set_position((across, above))
            box = note.get_window_extent(renderer)
            if not any(box.overlaps(other) for other in taken) and _within(box, inside):
                taken.append(box)
                break
        else:
            note.remove()


def _fewest(mark: Mark, columns: Sequence[str]) -> str:
    """`1 of 3` where some seeds lack a value in one of the columns."""
    known = {len(mark.values(column)): mark.fewer(column) for column in columns if mark.fewer(column)}
    return known[min(known)] if known else ""


def _named(mark: Mark) -> str:
    """Its epsilon as the grid asks for it; where nothing is guaranteed, that."""
    if mark.epsilon is None and mark.done:
        return mark.bare if mark.name in ("", mark.bare) else f"{mark.name}: {mark.bare}"
    name = mark.name or (up(mark.epsilon) if mark.epsilon is not None else "")
    return f"ε {name}" if name and name != NO_DP else name


def _called(mark: Mark) -> str:
    """A mark in a note: everything that tells it from others."""
    return ", ".join(filter(None, [_named(mark), mark.series, f"encryption {mark.encryption}"]))


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return "; ".join([*names[:_NAMED], *([f"and {more} more"] if more > 0 else [])])


def _within(box: Any, outer: Any) -> bool:
    return bool(box.x0 >= outer.x0 and box.x1 <= outer.x1 and box.y0 >= outer.y0 and box.y1 <= outer.y1)


def _say_not_run(panel: Axes, marks: Sequence[Mark], quantity: Quantity, page: Page) -> None:
    """Above a panel, where nothing else is drawn."""
    if missing := _missing(marks, quantity, page):
        panel.set_title(missing, fontsize=7.5, color=_QUIET, loc="left", pad=4)


def _missing(marks: Sequence[Mark], quantity: Quantity, page: Page) -> str:
    """What has nothing in a panel, and why, as its audits say; in lines that fit above it."""
    lines = _lines(marks)
    lost = {look.label: own for look, own in lines if not any(m.values(quantity.column) for m in own)}
    kinds = list(dict.fromkeys(own[0].encryption for _, own in lines))
    whole = [k for k in kinds if all(look.label in lost for look, own in lines if own[0].encryption == k)]
    groups = {f"encryption {k}": [m for m in marks if m.encryption == k] for k in whole}
    groups |= {label: own for label, own in lost.items() if own[0].encryption not in whole}
    said: dict[str, list[str]] = {}
    for label, own in groups.items():
        reasons = dict.fromkeys(
            r for m in own for row in m.done if (r := row.get(f"{quantity.column}_not_run"))
        )
        said.setdefault("not run: " + "; ".join(reasons) if reasons else "no figure", []).append(label)
    told = "; ".join(f"{', '.join(names)}: {why}" for why, names in said.items())
    return textwrap.fill(told, int(page.panel[0] * 16))


def _figure(
    marks: Sequence[Mark],
    quantities: Sequence[Quantity],
    title: str,
    page: Page,
    draw: Callable[[Axes, Quantity], None],
) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    number = max(len(quantities), 1)
    (wide, tall), (left, right) = page.panel, page.margins
    across, down = (1, number) if page.stacked else (number, 1)
    between = 0.33 + left
    width = left + wide * across + between * (across - 1) + right
    notes = max(len(_missing(marks, quantity, page).splitlines()) for quantity in quantities)
    room, head = 0.62 * page.letters / 9, 0.14 * notes + (0.45 if page.titled else 0.08)
    with _style(page):
        figure = Figure(figsize=(width, tall))
        FigureCanvasAgg(figure)
        panels = list(figure.subplots(down, across, squeeze=False).flat)
        below = _legend(figure, marks, width, page) + room
        height = below + tall * down + (room + head) * (down - 1) + head
        figure.set_size_inches(width, height)
        figure.subplots_adjust(
            left=left / width, right=1 - right / width, bottom=below / height, top=1 - head / height,
            wspace=between / wide, hspace=(room + head) / tall,
        )  # fmt: skip
        for panel, quantity in zip(panels, quantities, strict=True):
            panel.grid(True, color=_GRID, linewidth=0.6)
            panel.set_axisbelow(True)
            for side in ("top", "right"):
                panel.spines[side].set_visible(False)
            draw(panel, quantity)
        for old in figure.legends:
            old.remove()
        _legend(figure, marks, width, page, panels)
        if page.titled:
            figure.text(0.12 / width, 1 - 0.1 / height, title, fontsize=10.5, color=_INK, va="top")
    return figure


def _legend(
    figure: Figure, marks: Sequence[Mark], width: float, page: Page, panels: Sequence[Axes] = ()
) -> float:
    """Below the panels, in as many columns as fit; its height in inches."""
    from matplotlib.lines import Line2D

    handles: list[Line2D] = [
        Line2D(
            [], [], color=look.colour, marker=look.marker, linestyle=look.line, linewidth=1.3, markersize=6,
            markerfacecolor="white", markeredgewidth=1.3, label=look.label,
        )
        for look, _ in _lines(marks)
    ]  # fmt: skip
    thin: dict[str, Any] = {}
    for panel in panels:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            thin.setdefault(label, handle)
    # Before the panels are drawn, room is kept for their thin lines.
    labels = [str(handle.get_label()) for handle in handles] + (
        list(thin) if panels else [_OWN, _RUNS_OWN, _GAUSSIAN, "before any private training", "guessing"]
    )
    everything = [*handles, *thin.values()] if panels else [*handles, *[Line2D([], [])] * 5]
    for columns in (4, 3, 2, 1):
        legend = figure.legend(
            everything, labels, loc="lower left", bbox_to_anchor=(0.05 / width, 0.0), ncols=columns,
            frameon=False, fontsize=page.letters - 1, handlelength=3.0, columnspacing=1.4, labelspacing=0.4,
            labelcolor=_INK,
        )  # fmt: skip
        box = legend.get_window_extent()
        if box.x1 < figure.bbox.x1 or columns == 1:
            break
        legend.remove()
    return float(box.height) / figure.dpi


def _caption(marks: Sequence[Mark], foot: Foot, quantities: Sequence[Quantity]) -> str:
    several = any(len(mark.values(q.column)) > 1 for mark in marks for q in quantities)
    counts = {len(mark.rows) for mark in marks}
    most = f"{min(counts)} to {max(counts)}" if len(counts) > 1 else f"{max(counts)}"
    found = [
        f"Means over {most} seeds, bars ± one standard deviation of the seeds, small dots single seeds; "
        "lines side by side where they would cover each other."
        if several
        else "One seed, so no bars of seeds."
        if max(counts) == 1
        else "Nothing has figures of more than one seed, so there are no bars of seeds."
    ]
    if foot.seeds:
        found.append(f"A seed is that of {foot.seeds}.")
    fewer = [
        f"{_called(mark)}: {fewest}"
        for mark in marks
        if (fewest := _fewest(mark, [q.column for q in quantities]))
    ]
    if fewer:
        found.append(f"Fewer seeds: {_listed(fewer)}.")
    if foot.lost:
        found.append(f"No cell finished, so nothing is drawn: {_listed([_called(m) for m in foot.lost])}.")
    if any(q.column == _AUC for q in quantities):
        found.append(_how_many(marks))
    return " ".join([*found, foot.cost.note, _together(marks, foot.cost)])


def _how_many(marks: Sequence[Mark]) -> str:
    """Over how many attacks each line takes the largest AUC."""
    said = []
    for look, own in _lines(marks):
        counts = [int(n) for mark in own for n in mark.values(f"{_AUC}_attacks")]
        if counts:
            low, high = min(counts), max(counts)
            said.append(f"{look.label} {low}" + (f" to {high}" if high > low else ""))
    return (
        f"The AUC is the largest of so many attacks: {_listed(said)}; the largest of more lies higher by "
        "chance alone."
    )


def _together(marks: Sequence[Mark], cost: TuningCost) -> str:
    if cost.damaged:
        return f"No figure for all cells together: {cost.damaged}."
    unit = marks[0].rows[0]["privacy.unit"]
    if (together := cost.epsilon[unit]) is not None:
        delta = short(cost.delta)
        return f"All {cost.cells} cells together would cost an {unit} ε = {up(together, 3)} at δ = {delta}."
    sound, some = cost.guaranteed[unit], cost.epsilon_guaranteed[unit]
    if some is None:
        return "Together the cells give no guarantee."
    return (
        f"All {cost.cells} cells together give no guarantee; the {sound} that have one would together cost "
        f"an {unit} ε = {up(some, 3)} at δ = {short(cost.delta)}."
    )


def _labels(panel: Axes) -> Mapping[str, None]:
    return dict.fromkeys(panel.get_legend_handles_labels()[1])


def _mean(values: Iterable[float]) -> float | None:
    known = list(values)
    return statistics.fmean(known) if known else None


@contextmanager
def _style(page: Page) -> Iterator[None]:
    """Our settings alone, whatever the user's are; those come back."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rc("font", family="DejaVu Sans", size=page.letters)
        # Letters as letters, not as the fonts that some printers and journals refuse.
        matplotlib.rc("pdf", fonttype=42)
        matplotlib.rc("axes", edgecolor=_QUIET, labelcolor=_INK, linewidth=0.7)
        matplotlib.rc("xtick", color=_QUIET)
        matplotlib.rc("ytick", color=_QUIET)
        yield
