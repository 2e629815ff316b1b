"""ROC curves beside what differential privacy allows, for print: log-log for the few, linear for the many.

A figure is drawn with Matplotlib's objects alone, and the same input gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import beta

from attacks.errors import AttackError
from attacks.ranges import real
from attacks.roc import RocCurve, auc, checked_scores, roc_curve
from attacks.tradeoff import LimitCheck, check_limit, dp_limit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
"""Told apart by the colour-blind too (Okabe and Ito 2008); without the yellow, which paper swallows, and the
black, which is the limits'."""

_DASHES = ("solid", (0, (5, 1.5)), (0, (1.5, 1.2)))
_MOST = len(_COLOURS) * len(_DASHES)
_SHADE, _INK, _QUIET = "#E4E4E4", "#222222", "#6A6A6A"
_WIDTH, _PANEL, _HISTOGRAM = 8.6, 3.4, 2.4
"""Inches."""

_BARS, _OUTER = 24, 0.005
"""Bars of a histogram, and the share of scores at either end that its outermost ones take in."""

_DOTS_PER_INCH = 200
_LONGEST_NAME = 60
_SMALLEST_FLOOR = 1e-6


@dataclass(frozen=True, eq=False)
class AttackScores:
    """What an attack said of members and of non-members.

    Attributes:
        members: Scores float64 (n_in,), larger is more likely a member.
        non_members: Scores float64 (n_out,).
    """

    members: np.ndarray
    non_members: np.ndarray

    def __post_init__(self) -> None:
        members, non_members = checked_scores(self.members, self.non_members)
        object.__setattr__(self, "members", members)
        object.__setattr__(self, "non_members", non_members)

    @property
    def curve(self) -> RocCurve:
        """The tie-correct curve."""
        return roc_curve(self.members, self.non_members)


@dataclass(frozen=True, eq=False)
class Band:
    """An interval of the TPR at each corner of a curve, by itself (Clopper and Pearson 1934).

    Attributes:
        fpr: float64 (k,), nondecreasing.
        low: float64 (k,).
        high: float64 (k,).
        confidence: Of each interval.
    """

    fpr: np.ndarray
    low: np.ndarray
    high: np.ndarray
    confidence: float


@dataclass(frozen=True)
class Limits:
    """What the mechanism allows.

    Attributes:
        epsilon: >= 0; infinite allows everything.
        delta: In [0, 1].
        exact: The mechanism's exact trade-off: highest TPR (k,) at FPR (k,), such as
            `partial(gaussian_limit, mu=...)`; None where it is not known.
    """

    epsilon: float
    delta: float
    exact: Callable[[np.ndarray], np.ndarray] | None = None

    def __post_init__(self) -> None:
        real("epsilon", self.epsilon, "[0, inf)", infinite=True)
        real("delta", self.delta, "[0, 1]")


def above_limit(
    scores: AttackScores, epsilon: float, delta: float, confidence: float = 0.95, points: int = 25
) -> LimitCheck:
    """Does the curve lie above TPR = e^eps FPR + delta by more than chance explains?

    Thresholds are ranks among the non-members, fixed beforehand, and the confidence holds over all of them.

    Args:
        scores: Of one attack.
        epsilon: >= 0.
        delta: In [0, 1].
        confidence: In (0, 1).
        points: Thresholds, >= 1.

    Example:
        >>> members, others = np.ones(200), np.zeros(200)
        >>> above_limit(AttackScores(members, others), epsilon=1.0, delta=0.0).broken
        True
        >>> above_limit(AttackScores(others, others), epsilon=1.0, delta=0.0).broken
        False
    """
    limit = partial(dp_limit, epsilon=epsilon, delta=delta)
    return check_limit(scores.members, scores.non_members, limit, confidence, points)


def roc_band(scores: AttackScores, confidence: float = 0.95) -> Band:
    """Intervals of the TPR along the curve.

    Args:
        scores: Of one attack.
        confidence: In (0, 1).
    """
    real("confidence", confidence, "(0, 1)")
    curve, n, tail = scores.curve, len(scores.members), (1 - confidence) / 2
    hits = np.rint(curve.tpr * n)
    low = np.where(hits > 0, beta.ppf(tail, np.maximum(hits, 1), n - hits + 1), 0.0)
    high = np.where(hits < n, beta.isf(tail, hits + 1, np.maximum(n - hits, 1)), 1.0)
    return Band(curve.fpr, low, high, confidence)


def roc_figure(
    attacks: Mapping[str, AttackScores],
    limits: Limits | None = None,
    title: str = "",
    confidence: float = 0.95,
    undefended: AttackScores | None = None,
) -> Figure:
    """Draw curves with their bands, log-log and linear, and the limits where a guarantee is claimed.

    What no attack may reach, above TPR = e^eps FPR + delta, is shaded; an attack whose curve lies there by
    more than chance explains is named so in the legend, and a dot shows how far at the least: a lower bound
    of the TPR over an upper bound of the FPR.

    Args:
        attacks: Name, of at most 60 characters, and scores; 1 to 18, in the legend's order.
        limits: What the guarantee allows; None where nothing is claimed.
        title: One line over both panels.
        confidence: Of the bands at each point, and of the check against the limit over all of them.
        undefended: Scores of the same attack where nothing is defended, drawn beside, held against no limit.

    Returns:
        A figure for `write_figure`.

    Raises:
        AttackError: None or too many attacks, a name that does not fit, or limits that are none.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if not 1 <= len(attacks) <= _MOST:
        raise AttackError(f"a figure shows 1 to {_MOST} attacks, not {len(attacks)}")
    for name in attacks:
        if not 1 <= len(name) <= _LONGEST_NAME:
            raise AttackError(
                f"a name must have 1 to {_LONGEST_NAME} characters, not {len(name)}: {name[:80]!r}"
            )
    floor = max(_SMALLEST_FLOOR, min(1 / len(scores.non_members) for scores in attacks.values()))
    with _style():
        figure = Figure(figsize=(_WIDTH, _PANEL))
        FigureCanvasAgg(figure)
        panels = figure.subplots(1, 2)
        for panel, lowest, scale in zip(panels, (floor, 0.0), ("log", "linear"), strict=True):
            panel.set(xscale=scale, yscale=scale, xlim=(lowest, 1), ylim=(lowest, 1))
            panel.set_xlabel("false-positive rate")
            panel.set_ylabel("true-positive rate")
            panel.grid(True, color="#EFEFEF", linewidth=0.6)
            panel.set_axisbelow(True)
            for side in ("top", "right"):
                panel.spines[side].set_visible(False)
            _draw_limits(panel, limits, lowest)
            for number, (name, scores) in enumerate(attacks.items()):
                _draw_attack(panel, name, scores, number, limits, lowest, confidence)
            if undefended is not None:
                _draw_undefended(panel, undefended, lowest)
        foot, head = 0.62 + _draw_legend(figure), 0.45 if title else 0.15
        height = foot + _PANEL + head
        figure.set_size_inches(_WIDTH, height)
        figure.subplots_adjust(
            left=0.075, right=0.975, bottom=foot / height, top=1 - head / height, wspace=0.2
        )
        if title:
            figure.suptitle(
                title, x=0.075, y=1 - 0.12 / height, ha="left", va="top", color=_INK, fontsize=10.5
            )
    return figure


def score_figure(scores: AttackScores, undefended: AttackScores | None = None) -> Figure:
    """Draw how an attack's scores lie, members' over the others', as it was run and undefended.

    Where the two heaps lie on each other the attack cannot tell who was in. The outermost bars take in the
    half percent of scores at either end.

    Args:
        scores: As it was run.
        undefended: Where nothing is defended, in a panel of its own.

    Returns:
        A figure for `write_figure`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = {"as it was run": scores}
    if undefended is not None:
        drawn["where nothing is defended"] = undefended
    with _style():
        figure = Figure(figsize=(_WIDTH, _HISTOGRAM))
        FigureCanvasAgg(figure)
        panels = figure.subplots(1, len(drawn), squeeze=False)[0]
        for panel, (name, found) in zip(panels, drawn.items(), strict=True):
            _draw_scores(panel, found)
            panel.set_title(name, loc="left", fontsize=9.0, color=_INK)
            panel.set_xlabel("the attack's score: more to the right, surer that it was used")
        panels[0].set_ylabel("share of works")
        panels[0].legend(frameon=False, fontsize=8, labelcolor=_INK)
        figure.subplots_adjust(left=0.075, right=0.975, bottom=0.21, top=0.88, wspace=0.2)
    return figure


def _draw_scores(panel: Axes, scores: AttackScores) -> None:
    both = np.concatenate([scores.members, scores.non_members])
    low, high = np.quantile(both, [_OUTER, 1 - _OUTER])
    edges = np.linspace(low, high if high > low else low + 1.0, _BARS + 1)
    for values, colour, dashes, name in (
        (scores.members, _COLOURS[1], "solid", "used in training"),
        (scores.non_members, _COLOURS[0], _DASHES[1], "held out"),
    ):
        counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
        share = counts / max(len(values), 1)
        panel.stairs(share, edges, fill=True, color=colour, alpha=0.22)
        panel.stairs(share, edges, color=colour, linewidth=1.3, linestyle=dashes, label=name)
    panel.set_ylim(bottom=0.0)
    panel.set_xticks([])
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)


def write_figure(figure: Figure, path: Path | str) -> tuple[Path, Path]:
    """Write a figure as PNG and as SVG, the same bytes for the same figure and versions.

    Args:
        figure: Of `roc_figure`.
        path: Without an ending, or with one of the two; the folder is made.

    Returns:
        The PNG and the SVG.
    """
    path = Path(path)
    stem = path.stem if path.suffix in (".png", ".svg") else path.name
    png, svg = path.with_name(f"{stem}.png"), path.with_name(f"{stem}.svg")
    png.parent.mkdir(parents=True, exist_ok=True)
    with _style():
        figure.savefig(png, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    return png, svg


def _draw_legend(figure: Figure) -> float:
    """Below the panels, in as many columns as fit; its height in inches."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    for columns in (3, 2, 1):
        legend = figure.legend(
            handles,
            labels,
            loc="lower left",
            bbox_to_anchor=(0.065, 0.0),
            ncols=columns,
            frameon=False,
            fontsize=8,
            handlelength=2.6,
            columnspacing=1.4,
            labelspacing=0.35,
            labelcolor=_INK,
        )
        box = legend.get_window_extent()
        if box.x1 < figure.bbox.x1 or columns == 1:
            break
        legend.remove()
    return float(box.height) / figure.dpi


def _draw_limits(panel: Axes, limits: Limits | None, lowest: float) -> None:
    fpr = _grid(lowest)
    panel.plot(fpr, fpr, color=_QUIET, linewidth=0.8, linestyle=(0, (1, 2)), label="guessing")
    if limits is None:
        return
    highest = dp_limit(fpr, limits.epsilon, limits.delta)
    claim = f"(ε = {limits.epsilon:.3g}, δ = {limits.delta:.3g})"
    panel.fill_between(
        fpr, highest, 1.0, color=_SHADE, linewidth=0, zorder=0.5, label=f"not possible under {claim}-DP"
    )
    panel.plot(fpr, highest, color=_INK, linewidth=1.0, label="limit of that guarantee")
    if limits.exact is not None:
        panel.plot(
            fpr, limits.exact(fpr), color=_INK, linewidth=1.0, linestyle=(0, (6, 2)), label="exact trade-off"
        )


def _draw_attack(
    panel: Axes,
    name: str,
    scores: AttackScores,
    number: int,
    limits: Limits | None,
    lowest: float,
    confidence: float,
) -> None:
    colour, dashes = _COLOURS[number % len(_COLOURS)], _DASHES[number // len(_COLOURS)]
    curve, band = scores.curve, roc_band(scores, confidence)
    label = f"{name}, AUC {auc(scores.members, scores.non_members):.3f}"
    check = above_limit(scores, limits.epsilon, limits.delta, confidence) if limits else None
    if check is not None and check.broken:
        label += ", above the limit"
        panel.plot([check.fpr], [check.tpr], "o", color=colour, markeredgecolor=_INK, markersize=5, zorder=4)
    # Tied scores make slanted steps, which are straight on the linear panel alone.
    fpr = np.union1d(_grid(lowest), curve.fpr[curve.fpr >= lowest])
    low, high = (np.interp(fpr, band.fpr, side) for side in (band.low, band.high))
    panel.fill_between(fpr, low, high, color=colour, alpha=0.1, linewidth=0)
    panel.plot(*_corners(curve, lowest), color=colour, linewidth=1.4, linestyle=dashes, label=label)


def _draw_undefended(panel: Axes, scores: AttackScores, lowest: float) -> None:
    area = auc(scores.members, scores.non_members)
    label = f"the same, undefended, AUC {area:.3f}"
    dashes = (0, (4, 1.5, 1, 1.5))
    panel.plot(
        *_corners(scores.curve, lowest), color=_COLOURS[1], linewidth=1.4, linestyle=dashes, label=label
    )


def _corners(curve: RocCurve, lowest: float) -> tuple[np.ndarray, np.ndarray]:
    """The curve's corners, with points along its slanted steps, from `lowest` on."""
    grid = _grid(lowest)
    fpr = np.concatenate([curve.fpr, grid])
    tpr = np.concatenate([curve.tpr, np.interp(grid, curve.fpr, curve.tpr)])
    order = np.lexsort((tpr, fpr))
    kept = fpr[order] >= lowest
    return fpr[order][kept], tpr[order][kept]


def _grid(lowest: float) -> np.ndarray:
    return np.geomspace(lowest, 1.0, 400) if lowest > 0 else np.linspace(0.0, 1.0, 401)


@contextmanager
def _style() -> Iterator[None]:
    """Our settings alone, whatever the user's are; those come back."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rc("svg", hashsalt="attacks.plots")
        matplotlib.rc("font", family="DejaVu Sans", size=9.0)
        matplotlib.rc("axes", edgecolor=_QUIET, labelcolor=_INK, linewidth=0.7)
        matplotlib.rc("xtick", color=_QUIET)
        matplotlib.rc("ytick", color=_QUIET)
        yield
