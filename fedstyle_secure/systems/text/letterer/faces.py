"""What letters look like before anybody writes them: the strokes of a pen, or the outlines of a font."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.ft2font import FT2Font

PUBLIC_FONTS = ("DejaVuSans", "cmr10", "DejaVuSerif", "cmss10", "DejaVuSans-Bold", "cmtt10", "DejaVuSansMono")
"""Fonts of public artists."""

PRIVATE_FONTS = ("STIXGeneral", "cmti10", "STIXGeneralBolIta", "STIXGeneralBol", "STIXGeneralItalic")
"""Fonts of private artists."""

_SIZE = 1000
_CORNER = 0.5
"""Radians of a turn from which on a line needs a round joint."""


@dataclass(frozen=True, eq=False)
class Glyph:
    """A character of a face, in ems; x to the right, y upwards, 0 the baseline.

    Attributes:
        parts: float64 (n, 2): strokes of a pen, or closed outlines, each hole after what it is in.
        holes: Whether a part is a hole.
        joints: int64 (m,), where a part needs a round joint: ends and corners of strokes.
        width: From the left of its place to the left of the next.
    """

    parts: tuple[np.ndarray, ...]
    holes: tuple[bool, ...]
    joints: tuple[np.ndarray, ...]
    width: float


@cache
def printed(font: str, character: str) -> Glyph:
    """A character of one of the fonts that matplotlib brings.

    Args:
        font: Of `PUBLIC_FONTS` or `PRIVATE_FONTS`.
        character: An ASCII letter or digit.
    """
    face = _font(font)
    width = face.load_char(ord(character)).linearHoriAdvance / 65536 / _SIZE
    vertices, codes = face.get_path()
    outlines = _outlines(vertices / _SIZE, codes)
    # The outermost first; what turns the other way is a hole.
    areas = [_area(outline) for outline in outlines]
    order = sorted(range(len(outlines)), key=lambda i: -abs(areas[i]))
    outer = np.sign(areas[order[0]])
    holes = tuple(bool(np.sign(areas[i]) != outer) for i in order)
    return Glyph(tuple(outlines[i] for i in order), holes, (np.zeros(0, int),) * len(order), width)


def penned(strokes: Sequence[np.ndarray], gap: float) -> Glyph:
    """A character of strokes in ems, wherever it lies, with a gap beside it."""
    left = min(float(stroke[:, 0].min()) for stroke in strokes)
    right = max(float(stroke[:, 0].max()) for stroke in strokes)
    parts = tuple(stroke - [left - gap / 2, 0.0] for stroke in strokes)
    return Glyph(parts, (False,) * len(parts), tuple(map(_joints, parts)), right - left + gap)


def _joints(stroke: np.ndarray) -> np.ndarray:
    steps = np.diff(stroke, axis=0)
    turns = np.abs(np.diff(np.unwrap(np.arctan2(steps[:, 1], steps[:, 0]))))
    return np.flatnonzero(np.concatenate([[True], turns > _CORNER, [True]]))


@cache
def _font(name: str) -> FT2Font:
    from matplotlib import get_data_path
    from matplotlib.ft2font import FT2Font

    font = FT2Font(str(Path(get_data_path(), "fonts", "ttf", f"{name}.ttf")))
    font.set_size(_SIZE, 72)
    return font


def _outlines(vertices: np.ndarray, codes: np.ndarray) -> list[np.ndarray]:
    """Closed outlines as points; a curve becomes three or four straight lines."""
    outlines: list[list[np.ndarray]] = []
    i = 0
    while i < len(codes):
        code, length = int(codes[i]), {3: 2, 4: 3}.get(int(codes[i]), 1)
        if code == 1:
            outlines.append([vertices[i]])
        elif code == 2:
            outlines[-1].append(vertices[i])
        elif code in (3, 4):
            outlines[-1] += _curve(np.array([outlines[-1][-1], *vertices[i : i + length]]))
        i += length
    return [np.array(outline) for outline in outlines if len(outline) > 2]


def _curve(control: np.ndarray) -> list[np.ndarray]:
    """Points of a Bezier curve after its first, by de Casteljau."""
    found = []
    for t in np.linspace(0, 1, len(control) + 1)[1:]:
        level = control
        while len(level) > 1:
            level = (1 - t) * level[:-1] + t * level[1:]
        found.append(level[0])
    return found


def _area(outline: np.ndarray) -> float:
    x, y = outline.T
    return float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)) / 2)
