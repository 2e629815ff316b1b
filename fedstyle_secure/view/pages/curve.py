"""A ROC curve with the one where nothing is defended, read at one threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedstyle_secure.audit.curves import Curve, CurveFile
from fedstyle_secure.view.pages import draw

X = draw.Axis(0.0, 1.0, "others accused (share of non-members)")
Y = draw.Axis(0.0, 1.0, "members named (share)", upward=True)


@dataclass(frozen=True)
class Reading:
    """What an attack says at one threshold.

    Attributes:
        threshold: Named is who scores at least this; None: above every score.
        tpr, low, high: Share of members named, and its interval.
        fpr, fpr_high: Share of non-members accused, and the upper end of its interval.
        allowed: The largest share named that the guarantee allows at that end; None where none follows.
        undefended: Share of members that the same attack names where nothing is defended, accusing no more.
        x, y: Place in the drawing.
    """

    threshold: float | None
    tpr: float
    low: float
    high: float
    fpr: float
    fpr_high: float
    allowed: float | None
    undefended: float
    x: float
    y: float


@dataclass(frozen=True)
class CurvePlot:
    """A curve as it is drawn.

    Attributes:
        file: The figures.
        at: Corner that is read, from 0.
        last: The last corner.
        x, y: Axes.
        run, undefended, chance: Lines, as paths.
        band: Area of the intervals, as a path.
        allowed: What the guarantee allows, as a path, or "".
        reading: At `at`.
        rows: Readings at some false-positive rates, for a table.
    """

    file: CurveFile
    at: int
    last: int
    x: draw.Axis
    y: draw.Axis
    run: str
    undefended: str
    chance: str
    band: str
    allowed: str
    reading: Reading
    rows: Sequence[Reading]


def plotted(file: CurveFile, at: int) -> CurvePlot:
    """Draw a curve and read it at a corner, or at the nearest that it has."""
    curve, last = file.run, len(file.run.fpr) - 1
    at = min(max(at, 0), last)
    some = dict.fromkeys(curve.best_at(rate) for rate in (0.0, 0.01, 0.05, 0.1, 0.2, 0.5))
    return CurvePlot(
        file=file,
        at=at,
        last=last,
        x=X,
        y=Y,
        run=_line(curve),
        undefended=_line(file.undefended),
        chance=draw.path(X, Y, [(0, 0), (1, 1)]),
        band=draw.band(X, Y, curve.fpr, curve.low, curve.high),
        allowed="" if file.allowed is None else draw.path(X, Y, zip(curve.fpr, file.allowed, strict=True)),
        reading=_reading(file, at),
        rows=[_reading(file, corner) for corner in some],
    )


def _line(curve: Curve) -> str:
    return draw.path(X, Y, zip(curve.fpr, curve.tpr, strict=True))


def _reading(file: CurveFile, at: int) -> Reading:
    curve, twin = file.run, file.undefended
    fpr, tpr = curve.fpr[at], curve.tpr[at]
    return Reading(
        threshold=curve.thresholds[at],
        tpr=tpr,
        low=curve.low[at],
        high=curve.high[at],
        fpr=fpr,
        fpr_high=curve.fpr_high[at],
        allowed=None if file.allowed_at_most is None else file.allowed_at_most[at],
        undefended=twin.tpr[twin.best_at(fpr)],
        x=X.at(fpr),
        y=Y.at(tpr),
    )
