"""A sweep: utility against epsilon, and against what leaks, every combination a mark over its seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fedstyle_secure.errors import AuditError
from fedstyle_secure.files import read_json
from fedstyle_secure.registry import words_named
from fedstyle_secure.sweep.grid import Axis, Point
from fedstyle_secure.sweep.marks import Mark, marks_of
from fedstyle_secure.sweep.table import AUC, Table
from fedstyle_secure.view.pages import draw
from fedstyle_secure.view.shelf import Place
from fedstyle_secure.words import Headline

LEAK = f"worst.{AUC}"
"""The largest AUC of a membership attack over all views."""


@dataclass(frozen=True)
class Dot:
    """A combination in a plot.

    Attributes:
        row: Its place in the table, from 0.
        told: What it is and what it has, in a sentence.
        x, y: Place in the drawing.
        low, high: Ends of the bar of its seeds' spread, upwards; equal where it has one seed.
        shape: 0 to 3, by series: told apart without colour.
    """

    row: int
    told: str
    x: float
    y: float
    low: float
    high: float
    shape: int


@dataclass(frozen=True)
class Plot:
    """Marks between two axes.

    Attributes:
        key: Unique on the page.
        title: What it shows.
        x, y: Axes.
        ticks: Of the horizontal axis.
        dots: Marks.
        start: Height of the mean before any private training, or None.
    """

    key: str
    title: str
    x: draw.Axis
    y: draw.Axis
    ticks: Sequence[draw.Tick]
    dots: Sequence[Dot]
    start: float | None


@dataclass(frozen=True)
class Combination:
    """A row of the table.

    Attributes:
        name: In words.
        series: Which series it is of, or "".
        seeds: How many finished, and of how many.
        epsilon: Mean over seeds of the largest epsilon of an artist; None: no guarantee, or nothing finished.
        bare: What it is called without an epsilon.
        utility: Mean and standard deviation of the figure that runs are judged by, or None.
        leak: Mean of the worst AUC, or None.
        verdicts: Worst verdicts of its cells' audits, each once.
        runs: Cells whose runs can be looked at.
    """

    name: str
    series: str
    seeds: tuple[int, int]
    epsilon: float | None
    bare: str
    utility: tuple[float, float | None] | None
    leak: float | None
    verdicts: Sequence[str]
    runs: Sequence[Place]


@dataclass(frozen=True)
class SweepPage:
    """One sweep.

    Attributes:
        figure: What runs are judged by, in words.
        unit: Of privacy.
        rows: One a combination.
        series: Their names, in the order of shapes.
        plots: Trade-offs.
        failed: Cells that failed or were not finished, and why.
    """

    figure: str
    unit: str
    rows: Sequence[Combination]
    series: Sequence[str]
    plots: Sequence[Plot]
    failed: Mapping[str, str]


def sweep_page(folder: Path, cells: Mapping[str, Place]) -> SweepPage:
    """What a finished sweep's table says.

    Args:
        folder: The sweep's.
        cells: The runs that can be looked at, by the cell's folder in the table.

    Raises:
        AuditError: The sweep is not finished, or a file is damaged.
    """
    path = folder / "sweep.json"
    if not path.is_file():
        raise AuditError(f"{folder}: the sweep is not finished; go on with `fedstyle sweep --resume`")
    about, table = read_json(path, dict, AuditError), Table.read(folder)
    axes = tuple(
        Axis(name, tuple(Point(point, settings) for point, settings in points.items()))
        for name, points in about["axes"].items()
    )
    marks = marks_of(table.rows, axes)
    headline = _headline(marks, words_named(about_system(folder)).headlines)
    series = list(dict.fromkeys(_series(mark) for mark in marks))
    rows = [_combination(mark, headline, cells) for mark in marks]
    shapes = {name: number % 4 for number, name in enumerate(series)}
    drawn = [_against_epsilon(rows, marks, headline, shapes), _against_leaks(rows, marks, headline, shapes)]
    return SweepPage(
        figure=headline.label,
        unit=str(table.rows[0]["privacy.unit"]) if table.rows else "artwork",
        rows=rows,
        series=series,
        plots=[plot for plot in drawn if plot is not None],
        failed={
            row["cell"]: row["error"] or row["state"] for row in table.rows if row["state"] != "finished"
        },
    )


def about_system(folder: Path) -> str:
    """The system that a sweep's runs are of, by its grid's file."""
    import tomllib

    grid = tomllib.loads((folder / "grid.toml").read_text(encoding="utf-8"))
    return str(grid["base"]["run.system"])


def _headline(marks: Sequence[Mark], headlines: Sequence[Headline]) -> Headline:
    """The first that any run has."""
    return next(
        (one for one in headlines if any(mark.values(f"utility.{one.key}") for mark in marks)), headlines[-1]
    )


def _series(mark: Mark) -> str:
    return ", ".join(part for part in (mark.series, f"encryption {mark.encryption}") if part)


def _combination(mark: Mark, headline: Headline, cells: Mapping[str, Place]) -> Combination:
    leak = mark.spread(LEAK)
    verdicts = dict.fromkeys(row.get("worst.verdict") for row in mark.done)
    return Combination(
        name=f"epsilon {mark.name}" if mark.name and mark.epsilon is not None else mark.name or mark.series,
        series=_series(mark),
        seeds=(len(mark.done), len(mark.rows)),
        epsilon=mark.epsilon,
        bare=mark.bare,
        utility=mark.spread(f"utility.{headline.key}"),
        leak=leak[0] if leak else None,
        verdicts=[str(verdict) for verdict in verdicts if verdict],
        runs=[cells[row["folder"]] for row in mark.done if row["folder"] in cells],
    )


def _against_epsilon(
    rows: Sequence[Combination], marks: Sequence[Mark], headline: Headline, shapes: Mapping[str, int]
) -> Plot | None:
    known = [row.epsilon for row in rows if row.epsilon]
    low, high = min(known, default=1.0), max(known, default=1.0)
    bare = any(row.epsilon is None and row.utility for row in rows)
    # What has no guarantee stands at the right end, past every epsilon.
    end = high * 4 if bare else high * 1.25
    x = draw.Axis(low / 1.25, end, "epsilon, larger is weaker", logarithmic=True)
    found = _plot(
        "epsilon", "Utility against epsilon", rows, marks, headline, shapes, x,
        lambda row: end if row.epsilon is None else row.epsilon or low,
    )  # fmt: skip
    if found is None:
        return None
    ticks = [tick for tick in x.ticks if tick.at <= x.at(high * 1.6)]
    if bare:
        ticks.append(draw.Tick(x.at(end), "none"))
    return Plot(found.key, found.title, x, found.y, ticks, found.dots, found.start)


def _against_leaks(
    rows: Sequence[Combination], marks: Sequence[Mark], headline: Headline, shapes: Mapping[str, int]
) -> Plot | None:
    leaks = [row.leak for row in rows if row.leak is not None]
    if not leaks:
        return None
    x = draw.around([*leaks, 0.5], "largest membership AUC over all views", share=True)
    return _plot(
        "leaks", "Utility against what leaks", rows, marks, headline, shapes, x, lambda row: row.leak
    )


def _plot(
    key: str,
    title: str,
    rows: Sequence[Combination],
    marks: Sequence[Mark],
    headline: Headline,
    shapes: Mapping[str, int],
    x: draw.Axis,
    place: Callable[[Combination], float | None],
) -> Plot | None:
    shown = [
        (i, row, where) for i, row in enumerate(rows) if row.utility and (where := place(row)) is not None
    ]
    if not shown:
        return None
    starts = [value for mark in marks for value in mark.values(f"utility.{headline.start}")]
    values = [value for mark in marks for value in mark.values(f"utility.{headline.key}")]
    start = math.fsum(starts) / len(starts) if starts else None
    heights = values if start is None else [*values, start]
    y = draw.around(heights, headline.label, upward=True, share=True)
    dots = []
    for i, row, where in shown:
        assert row.utility is not None
        mean, spread = row.utility[0], row.utility[1] or 0.0
        dots.append(
            Dot(
                row=i,
                told=told(row),
                x=x.at(where),
                y=y.at(mean),
                low=y.at(mean - spread),
                high=y.at(mean + spread),
                shape=shapes[row.series],
            )
        )
    return Plot(key, title, x, y, x.ticks, dots, None if start is None else y.at(start))


def told(row: Combination) -> str:
    """A combination in a sentence, as a mark says it."""
    from fedstyle_secure.privacy.figures import rounded_up

    assert row.utility is not None
    mean, spread = row.utility
    states = row.bare if row.epsilon is None else f"states epsilon {rounded_up(row.epsilon)}"
    said = [row.name or "all cells", row.series, states, f"utility {mean:.3f}"]
    if spread is not None:
        said[-1] += f", standard deviation {spread:.3f} over {row.seeds[0]} seeds"
    if row.leak is not None:
        said.append(f"largest membership AUC {row.leak:.3f}")
    return "; ".join(part for part in said if part)
