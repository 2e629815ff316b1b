"""The table as a figure: each method's top-1, and its difference to the product with the error of that."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from attacks.plots import write_figure
from fedstyle_secure.systems.style.rivals.compare import NO_GUARANTEE, Row
from fedstyle_secure.systems.style.rivals.results import NOTE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COVERED, _OPEN = "#0072B2", "#D55E00"
"""As in the sweeps' figures: told apart by the colour-blind too (Okabe and Ito 2008)."""

_INK, _QUIET, _GRID = "#222222", "#6A6A6A", "#EFEFEF"
_WIDTH, _LINE = 8.6, 0.27
"""Inches: of the figure, and a method's."""


def draw(rows: Sequence[Row], folder: Path) -> tuple[Path, Path]:
    """Write `rivals.png` and `rivals.svg`. Methods that find nobody are left out."""
    return write_figure(figure(rows), folder / "rivals")


def figure(rows: Sequence[Row]) -> Figure:
    """Two panels with a line a method, the best above; filled dots have a guarantee, hollow ones none."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    shown = sorted(
        (r for r in rows if r.artist_top1), key=lambda r: r.artist_top1.mean if r.artist_top1 else 0
    )
    caption = textwrap.fill(f"{NOTE} {_draws(rows)}", 150)
    foot = 0.14 * (caption.count("\n") + 1) + 0.65
    height = _LINE * len(shown) + foot + 0.55
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rc("font", family="DejaVu Sans", size=9.0)
        matplotlib.rc("axes", edgecolor=_QUIET, labelcolor=_INK, linewidth=0.7)
        matplotlib.rc("xtick", color=_QUIET)
        drawn = Figure(figsize=(_WIDTH, height))
        FigureCanvasAgg(drawn)
        panels = drawn.subplots(1, 2, sharey=True)
        drawn.subplots_adjust(
            left=2.1 / _WIDTH,
            right=1 - 0.15 / _WIDTH,
            bottom=foot / height,
            top=1 - 0.45 / height,
            wspace=0.08,
        )
        labels = ("held-out pictures whose artist is first (share)", "the same less FedStyle's")
        for panel, label in zip(panels, labels, strict=True):
            panel.grid(True, axis="x", color=_GRID, linewidth=0.6)
            panel.set_axisbelow(True)
            for side in ("top", "right"):
                panel.spines[side].set_visible(False)
            panel.set_xlabel(label)
            panel.xaxis.set_major_locator(MaxNLocator(5))
        panels[1].axvline(0, color=_QUIET, linewidth=0.9)
        for place, row in enumerate(shown):
            colour = _OPEN if row.guarantee == NO_GUARANTEE else _COVERED
            for panel, gap in zip(panels, (row.artist_top1, row.top1_gap), strict=True):
                if gap is not None:
                    panel.errorbar(
                        gap.mean, place, xerr=gap.error, fmt="o", color=colour, markersize=5, capsize=2.5,
                        linewidth=1.2, markerfacecolor="white" if colour == _OPEN else colour,
                    )  # fmt: skip
        panels[0].set_yticks(range(len(shown)), [row.method for row in shown], color=_INK)
        drawn.text(
            0.12 / _WIDTH, 0.06 / height, caption, fontsize=7, color=_QUIET, va="bottom", linespacing=1.3
        )
        title = "FedStyle and its rivals; filled: with a guarantee, hollow: without"
        drawn.text(0.12 / _WIDTH, 1 - 0.1 / height, title, fontsize=10.5, color=_INK, va="top")
    return drawn


def _draws(rows: Sequence[Row]) -> str:
    most = max(row.draws for row in rows)
    return f"{max(row.pictures for row in rows)} pictures, {most} draws where a method has noise or a seed."
