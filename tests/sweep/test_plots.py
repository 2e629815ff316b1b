"""Plots: what is drawn is the rows, nothing covers anything else, and the same rows give the same bytes."""

import statistics
from itertools import combinations
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fedstyle_secure.sweep.marks import front, marks_of
from fedstyle_secure.sweep.plots import _figures, draw_all
from fedstyle_secure.sweep.tuning import TuningCost

NAMES = ("utility_epsilon", "leakage_epsilon", "utility_leakage")


@pytest.fixture
def drawn(grid_of, rows_of, full, cost):
    def build(axes=full, cost=cost):
        grid = grid_of(axes)
        marks = marks_of(rows_of(grid), grid.axes)
        return marks, dict(_figures(marks, cost))

    return build


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=20))
def test_the_front_is_every_point_that_no_other_beats(points):
    kept = front(points)
    for i, (x, y) in enumerate(points):
        beaten = any((a <= x and b > y) or (a < x and b >= y) for a, b in points)
        assert (i not in kept) == beaten
    assert [points[i] for i in kept] == sorted(points[i] for i in kept)


def test_a_mark_is_the_cells_that_differ_in_their_seed_alone(grid_of, rows_of, full):
    grid = grid_of(full | {"training.local_steps": [1, 2]})
    rows = rows_of(grid)
    marks = marks_of(rows, grid.axes)
    assert len(marks) == 6 * 2 * 2
    assert all(len({row["axis.seed"] for row in mark.rows}) == len(mark.rows) == 3 for mark in marks)
    assert {mark.series for mark in marks} == {"training.local_steps = 1", "training.local_steps = 2"}
    assert {mark.encryption for mark in marks} == {"on", "off"}
    mark = marks[0]
    values = [row["utility.artist_top1"] for row in mark.rows]
    assert mark.spread("utility.artist_top1") == (statistics.fmean(values), statistics.stdev(values))
    assert mark.spread("platform.identification_rate") is None
    assert mark.name == "0.5"
    assert mark.epsilon == pytest.approx(0.4985)
    assert [m.epsilon for m in marks if m.name == "no DP"] == [None] * 4


def _bars(panel):
    """Mean and deviation of every mark that has a bar, read back from a panel."""
    found = []
    for container in panel.containers:
        line, _, bars = container.lines
        (low, high), (x, y) = bars[-1].get_segments()[0][:, 1], (line.get_xdata()[0], line.get_ydata()[0])
        found.append((x, y, (high - low) / 2))
    return found


def test_means_deviations_and_every_seed_are_where_the_rows_say(drawn):
    marks, figures = drawn()
    panel = figures["utility_epsilon"].axes[0]
    bars = _bars(panel)
    wanted = [mark.spread("utility.artist_top1") for mark in marks]
    assert np.allclose(sorted((y, s) for _, y, s in bars), sorted(wanted), rtol=1e-9)
    dots = [y for line in panel.lines if line.get_marker() == "." for y in line.get_ydata()]
    assert sorted(dots) == sorted(v for mark in marks for v in mark.values("utility.artist_top1"))
    assert panel.get_xscale() == "log"
    labels = {t.get_text(): x for t, x in zip(panel.get_xticklabels(), panel.get_xticks(), strict=True)}
    assert list(labels) == ["0.5", "1", "2", "4", "8", "no DP"]
    # Without DP there is no epsilon, so nothing joins it to those that have one.
    gap = (8.5, labels["no DP"] / 1.21)
    for line in panel.lines:
        inside = line.get_transform() == panel.transData and len(line.get_xdata()) > 1
        if inside and line.get_linestyle() != "None":
            assert max(line.get_xdata()) < gap[0] or min(line.get_xdata()) > gap[1]


def test_encryption_is_told_apart_without_colour(drawn):
    _, figures = drawn()
    legend = {
        text.get_text(): (line.get_marker(), line.get_linestyle())
        for text, line in zip(
            figures["utility_epsilon"].legends[0].get_texts(),
            figures["utility_epsilon"].legends[0].get_lines(),
            strict=False,
        )
    }
    (on, off) = legend["encryption on"], legend["encryption off"]
    assert on[0] != off[0]
    assert on[1] != off[1]
    shown = figures["utility_epsilon"].axes[0]
    assert {c.lines[0].get_marker() for c in shown.containers} == {on[0], off[0]}


@pytest.mark.parametrize("more", [{}, {"training.local_steps": [1, 2, 4]}, {"run.rounds": [4]}])
def test_nothing_covers_anything_else(drawn, full, more):
    _, figures = drawn(full | more)
    assert set(figures) == set(NAMES)
    for figure in figures.values():
        renderer = figure.canvas.get_renderer()
        whole, legend = figure.bbox, figure.legends[0].get_window_extent(renderer)
        panels = [panel.get_tightbbox(renderer) for panel in figure.axes]
        caption, title = (text.get_window_extent(renderer) for text in figure.texts)
        blocks = [legend, caption, title, *panels]
        for one, other in combinations(blocks, 2):
            assert not one.overlaps(other)
        for block in blocks:
            assert block.x0 >= whole.x0
            assert block.x1 <= whole.x1
            assert block.y0 >= whole.y0
            assert block.y1 <= whole.y1
        for panel in figure.axes:
            names = [text.get_window_extent(renderer) for text in panel.texts]
            marks = [
                panel.transData.transform((c.lines[0].get_xdata()[0], c.lines[0].get_ydata()[0]))
                for c in panel.containers
            ]
            for one, other in combinations(names, 2):
                assert not one.overlaps(other)
            assert not any(name.contains(*mark) for name in names for mark in marks)


def test_axes_have_units_and_the_caption_says_what_one_epsilon_leaves_out(drawn):
    _, figures = drawn()
    for figure in figures.values():
        for panel in figure.axes:
            assert "(" in panel.get_ylabel()
            assert "(" in panel.get_xlabel()
        caption = " ".join(figure.texts[0].get_text().split())
        assert "Means over 3 seeds, bars ± one standard deviation" in caption
        assert "best of many runs is not the epsilon of one (Liu and Talwar 2019" in caption
        assert "the 30 that have one would together cost an artwork ε = 34.2 at δ = 1e-5" in caption
    whole = TuningCost(
        1e-5, 2, {"artwork": 9.5, "artist": None}, {"artwork": 2, "artist": 0}, {"artwork": 9.5}
    )
    _, figures = drawn({"epsilons": [1, 2], "seeds": [0]}, whole)
    caption = " ".join(figures["utility_epsilon"].texts[0].get_text().split())
    assert "One seed, so no bars" in caption
    assert "All 2 cells together would cost an artwork ε = 9.5" in caption


def test_the_pareto_front_is_drawn_over_the_means(drawn):
    marks, figures = drawn()
    panel = figures["utility_leakage"].axes[1]
    (line,) = [line for line in panel.lines if line.get_label() == "Pareto front of the means"]
    x, y = np.array(line.get_xdata()), np.array(line.get_ydata())
    assert (np.diff(x) >= 0).all()
    assert (np.diff(y) >= 0).all()
    means = [(m.spread("platform.membership_auc")[0], m.spread("utility.artist_top1")[0]) for m in marks]
    assert {means[i] for i in front(means)} <= set(zip(x, y, strict=True))
    # No mean lies above the front.
    assert all(y[x <= a].max(initial=0) >= b for a, b in means)


def test_the_second_panel_shows_what_training_adds_to_each_runs_own_start(drawn):
    """The curves themselves lie on each other, so that a gain of nothing could not be told from one."""
    marks, figures = drawn()
    _, panel = figures["utility_epsilon"].axes
    gains = [
        [row["utility.artist_top1"] - row["utility.baseline_top1"] for row in mark.rows] for mark in marks
    ]
    wanted = sorted((statistics.fmean(gain), statistics.stdev(gain)) for gain in gains)
    assert np.allclose(sorted((y, s) for _, y, s in _bars(panel)), wanted, atol=1e-12)
    (start,) = [line for line in panel.lines if line.get_label() == "before any private training"]
    assert list(start.get_ydata()) == [0, 0]
    low, high = panel.get_ylim()
    assert low < 0 < max(abs(gain) for each in gains for gain in each) < high


def test_without_a_start_there_is_no_panel_of_gains(grid_of, rows_of, full, cost):
    grid = grid_of(full)
    rows = [row | {"utility.baseline_top1": None} for row in rows_of(grid)]
    figures = dict(_figures(marks_of(rows, grid.axes), cost))
    assert len(figures["utility_epsilon"].axes) == 1


def test_what_was_not_run_is_named_and_not_drawn_as_zero(drawn):
    _, figures = drawn()
    left, right = figures["leakage_epsilon"].axes
    assert left.get_title(loc="left").startswith("encryption on: not run")
    assert right.get_title(loc="left") == ""
    assert len(left.containers) == 6
    assert len(right.containers) == 12


def test_the_same_rows_give_the_same_bytes_whatever_the_users_settings(
    grid_of, rows_of, full, cost, tmp_path
):
    grid = grid_of(full)
    first = draw_all(rows_of(grid), grid.axes, cost, tmp_path / "a")
    with matplotlib.rc_context({"font.size": 23, "axes.facecolor": "red", "svg.hashsalt": "x"}):
        again = draw_all(rows_of(grid), grid.axes, cost, tmp_path / "b")
    assert [path.name for path in first] == [f"{n}.{e}" for n in NAMES for e in ("png", "svg")]
    for one, other in zip(first, again, strict=True):
        assert one.read_bytes() == other.read_bytes()
    for path in first:
        if path.suffix == ".svg":
            ElementTree.parse(path)
        else:
            with Image.open(path) as image:
                assert image.width > 1000


def test_more_lines_than_colours_go_to_further_figures(grid_of, rows_of, cost, tmp_path):
    grid = grid_of({"training.local_steps": list(range(1, 9)), "seeds": [0]})
    files = draw_all(rows_of(grid), grid.axes, cost, tmp_path)
    assert {path.name for path in files if path.suffix == ".png"} == {
        f"{name}-{part}.png" for name in NAMES for part in (1, 2)
    }
    assert draw_all([], grid.axes, cost, tmp_path) == ()
