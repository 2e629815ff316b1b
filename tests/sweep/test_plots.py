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

from fedstyle_secure.sweep.epsilon_axis import EpsilonAxis, up
from fedstyle_secure.sweep.marks import front, marks_of
from fedstyle_secure.sweep.plots import PAPER, SCREEN, Foot, _apart, draw_all, figures, gaussian_auc
from fedstyle_secure.sweep.tuning import TuningCost
from fedstyle_secure.systems.style.words import WORDS

NAMES = ("utility_epsilon", "leakage_epsilon", "utility_leakage")


def _drawn(*given, **named):
    """Figures by name; each carries its caption."""
    found = {}
    for name, figure, said in figures(*given, **named):
        figure.said = said
        found[name] = figure
    return found


@pytest.fixture
def drawn(grid_of, rows_of, full, cost):
    def build(axes=full, cost=cost, **named):
        grid = grid_of(axes)
        marks = marks_of(rows_of(grid), grid.axes)
        return marks, _drawn(marks, WORDS.headlines, Foot(cost, "pictures, run and audit"), **named)

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


@pytest.mark.long
@pytest.mark.parametrize("page", [SCREEN, PAPER])
@pytest.mark.parametrize("more", [{}, {"training.local_steps": [1, 2, 4]}, {"run.rounds": [4]}])
def test_nothing_covers_anything_else(drawn, full, more, page):
    _, figures = drawn(full | more, page=page)
    assert set(figures) == set(NAMES)
    for figure in figures.values():
        renderer = figure.canvas.get_renderer()
        whole, legend = figure.bbox, figure.legends[0].get_window_extent(renderer)
        panels = [panel.get_tightbbox(renderer) for panel in figure.axes]
        titles = [text.get_window_extent(renderer) for text in figure.texts]
        assert len(titles) == page.titled
        blocks = [legend, *titles, *panels]
        assert page is SCREEN or figure.get_figwidth() == pytest.approx(3.4)
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


@pytest.mark.long
def test_axes_have_units_and_the_caption_says_what_one_epsilon_leaves_out(drawn):
    _, figures = drawn()
    for figure in figures.values():
        for panel in figure.axes:
            for label in (panel.get_ylabel(), panel.get_xlabel()):
                # An area under a curve has no unit.
                assert ("(" in label) is ("AUC" not in label)
        caption = figure.said
        assert "Means over 3 seeds, bars ± one standard deviation" in caption
        assert "best of many runs is not the epsilon of one (Liu and Talwar 2019" in caption
        assert "the 30 that have one would together cost an artwork ε = 34.2 at δ = 1e-5" in caption
    whole = TuningCost(
        1e-5, 2, {"artwork": 9.5, "artist": None}, {"artwork": 2, "artist": 0}, {"artwork": 9.5}, False
    )
    _, figures = drawn({"epsilons": [1, 2], "seeds": [0]}, whole)
    caption = figures["utility_epsilon"].said
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


@pytest.mark.parametrize("odd", [0.0, 1.0])
def test_bars_of_seeds_that_disagree_are_not_cut_off(grid_of, rows_of, odd):
    """One seed in three at one end, the others at the other: a bar ends beyond every seed."""
    ends = {"1": odd, "0": 1 - odd, "2": 1 - odd}

    def apart(row):
        at = ends[row["axis.seed"]]
        moved = ("utility.artist_top1", "platform.membership_auc", "platform.identification_rate")
        return row | dict.fromkeys(moved, at) | {"utility.baseline_top1": 0.5}

    axes = AXES | {"encryption": [{"name": "off", "secure_sum.enabled": False}]}
    _, figures = _with(grid_of, rows_of, axes, apart)
    half = statistics.stdev(ends.values())
    for figure in figures.values():
        for panel in figure.axes:
            low, high = panel.get_ylim()
            upright = [(y - s, y + s) for _, y, s in _bars(panel)]
            assert len(upright) == 3
            assert all(low < a < b < high for a, b in upright)
    for panel in figures["utility_leakage"].axes:
        low, high = panel.get_xlim()
        for x, _, _ in _bars(panel):
            assert low < x - half < x + half < high


def test_without_a_start_there_is_no_panel_of_gains(grid_of, rows_of, full, cost):
    grid = grid_of(full)
    rows = [row | {"utility.baseline_top1": None} for row in rows_of(grid)]
    figures = _drawn(marks_of(rows, grid.axes), WORDS.headlines, Foot(cost))
    assert len(figures["utility_epsilon"].axes) == 1


def test_what_was_not_run_is_named_and_not_drawn_as_zero(drawn):
    _, figures = drawn()
    left, right = figures["leakage_epsilon"].axes
    assert left.get_title(loc="left") == "encryption on: not run: updates are sealed"
    assert right.get_title(loc="left") == ""
    assert len(left.containers) == 6
    assert len(right.containers) == 12


@pytest.mark.long
def test_the_same_rows_give_the_same_bytes_whatever_the_users_settings(
    grid_of, rows_of, full, cost, tmp_path
):
    grid = grid_of(full)
    first = draw_all(rows_of(grid), grid.axes, WORDS.headlines, cost, tmp_path / "a", paper=True)
    with matplotlib.rc_context({"font.size": 23, "axes.facecolor": "red", "svg.hashsalt": "x"}):
        again = draw_all(rows_of(grid), grid.axes, WORDS.headlines, cost, tmp_path / "b", paper=True)
    assert [path.name for path in first] == [
        *(f"{n}.{e}" for n in NAMES for e in ("png", "svg")), *(f"{n}.pdf" for n in NAMES), "captions.json",
    ]  # fmt: skip
    for one, other in zip(first, again, strict=True):
        assert one.read_bytes() == other.read_bytes()
    for path in first:
        if path.suffix == ".svg":
            ElementTree.parse(path)
        if path.suffix == ".pdf":
            assert b"/FontType 42" in path.read_bytes() or b"/CIDFontType2" in path.read_bytes()
        if path.suffix == ".png":
            with Image.open(path) as image:
                assert image.width > 1000


@pytest.mark.long
def test_more_lines_than_colours_go_to_further_figures(grid_of, rows_of, cost, tmp_path):
    grid = grid_of({"training.local_steps": list(range(1, 9)), "seeds": [0]})
    files = draw_all(rows_of(grid), grid.axes, WORDS.headlines, cost, tmp_path)
    assert {path.name for path in files if path.suffix == ".png"} == {
        f"{name}-{part}.png" for name in NAMES for part in (1, 2)
    }
    assert draw_all([], grid.axes, WORDS.headlines, cost, tmp_path) == ()


def _caption(figure):
    return figure.said


def _segments(panel):
    """The pale bars of a panel: both ends of each."""
    from matplotlib.collections import LineCollection

    found = [c for c in panel.collections if isinstance(c, LineCollection) and c.get_alpha()]
    return [c.get_segments()[0] for c in found]


def test_the_audits_own_intervals_are_drawn_from_the_lowest_to_the_highest(drawn):
    """Seeds that agree in 0 must not look as if nothing were left open."""
    marks, figures = drawn()
    for number, column in enumerate(("platform.identification_rate", "platform.membership_auc")):
        wanted = sorted(
            (min(m.values(f"{column}_low")), max(m.values(f"{column}_high")))
            for m in marks
            if m.values(column)
        )
        upright = _segments(figures["leakage_epsilon"].axes[number])
        assert np.allclose(sorted((a[1], b[1]) for a, b in upright), wanted)
        assert all(a[0] == b[0] for a, b in upright)
        level = _segments(figures["utility_leakage"].axes[number])
        assert np.allclose(sorted((a[0], b[0]) for a, b in level), wanted)
        low, high = figures["leakage_epsilon"].axes[number].get_ylim()
        assert all(low <= a <= b <= high for a, b in wanted)
    legend = [text.get_text() for text in figures["leakage_epsilon"].legends[0].get_texts()]
    assert legend.count("the audits' own intervals, lowest to highest") == 1
    assert not _segments(figures["utility_epsilon"].axes[0])


def _with(grid_of, rows_of, axes, change):
    """Figures of rows of which some were changed, and what is named below them; of updates in clear, so that
    every attack ran."""
    grid = grid_of(axes, base={"secure_sum.updates": False})
    planned = marks_of([change(row) for row in rows_of(grid)], grid.axes)
    lost = [mark for mark in planned if not mark.done]
    none = {"artwork": None, "artist": None}
    cost = TuningCost(1e-5, 1, none, {"artwork": 1, "artist": 0}, none | {"artwork": 34.21}, True)
    marks = [mark for mark in planned if mark.done]
    return planned, _drawn(marks, WORDS.headlines, Foot(cost, "run and audit", lost))


AXES = {"epsilons": [1, 2, 4], "seeds": [0, 1, 2]}
EMPTY = ("utility.artist_top1", "utility.baseline_top1", "platform.membership_auc")


def _failed(row):
    columns = [key for key in row if key.startswith(("utility.", "platform.")) or "epsilon" in key]
    kept = {key: None for key in columns if key != "axis.epsilon"}
    return row | kept | {"state": "failed"}


def test_a_point_with_one_seed_of_three_has_no_bar_and_says_so(grid_of, rows_of):
    gone = {("2", "1"), ("2", "2")}
    planned, figures = _with(
        grid_of, rows_of, AXES,
        lambda row: _failed(row) if (row["axis.epsilon"], row["axis.seed"]) in gone else row,
    )  # fmt: skip
    assert [len(mark.done) for mark in planned] == [3, 1, 3]
    assert planned[1].spread("utility.artist_top1")[1] is None
    for name, figure in figures.items():
        for panel in figure.axes:
            bars = [container.lines[2] for container in panel.containers]
            assert sorted(bool(each) for each in bars) == [False, True, True]
            shown = [text.get_text() for text in panel.texts if "of 3" in text.get_text()]
            assert shown == (["ε 2 (1 of 3)"] if name == "utility_leakage" else ["1 of 3"])
        assert "Fewer seeds: ε 2, encryption on: 1 of 3." in _caption(figure)


def test_a_figure_that_one_of_three_seeds_has_is_not_the_mean_of_three(grid_of, rows_of):
    """All three cells finished; in two of them the attack did not run."""
    _, figures = _with(
        grid_of, rows_of, AXES,
        lambda row: row | {"platform.membership_auc": None}
        if row["axis.epsilon"] == "4" and row["axis.seed"] != "0"
        else row,
    )  # fmt: skip
    (panel,) = figures["leakage_epsilon"].axes[1:]
    assert [text.get_text() for text in panel.texts] == ["1 of 3"]
    assert not list(figures["leakage_epsilon"].axes[0].texts)
    assert "Fewer seeds: ε 4, encryption on: 1 of 3." in _caption(figures["leakage_epsilon"])
    assert "Fewer seeds" not in _caption(figures["utility_epsilon"])


def test_a_point_whose_cells_all_failed_is_named(grid_of, rows_of, tmp_path, cost):
    planned, figures = _with(
        grid_of, rows_of, AXES, lambda row: _failed(row) if row["axis.epsilon"] == "2" else row
    )
    assert [bool(mark.done) for mark in planned] == [True, False, True]
    for figure in figures.values():
        assert "No cell finished, so nothing is drawn: ε 2, encryption on." in _caption(figure)
        assert len(figure.axes[0].containers) == 2
    grid = grid_of(AXES)
    assert draw_all([_failed(row) for row in rows_of(grid)], grid.axes, WORDS.headlines, cost, tmp_path) == ()
    assert draw_all(
        [_failed(row) for row in rows_of(grid)][:3] + rows_of(grid)[3:],
        grid.axes,
        WORDS.headlines,
        cost,
        tmp_path,
    )


def test_a_single_finished_seed_of_several_is_no_spread(grid_of, rows_of):
    _, figures = _with(grid_of, rows_of, AXES, lambda row: _failed(row) if row["axis.seed"] != "0" else row)
    caption = _caption(figures["utility_epsilon"])
    assert "no bars of seeds" in caption
    assert "Means over" not in caption


def test_one_cell_without_a_guarantee_leaves_its_point_without_one(grid_of, rows_of):
    bare = {"privacy.epsilon_artwork_max": None}
    planned, figures = _with(
        grid_of, rows_of, AXES,
        lambda row: row | bare if (row["axis.epsilon"], row["axis.seed"]) == ("2", "1") else row,
    )  # fmt: skip
    assert [mark.epsilon is None for mark in planned] == [False, True, False]
    assert planned[1].bare == "no guarantee"
    labels = [text.get_text() for text in figures["utility_epsilon"].axes[0].get_xticklabels()]
    assert labels == ["1", "4", "no guarantee"], "noise was asked for, so it is not called no DP"
    names = {text.get_text() for panel in figures["utility_leakage"].axes for text in panel.texts}
    assert names == {"ε 1", "2: no guarantee", "ε 4"}


def test_epsilons_that_differ_have_places_and_labels_of_their_own(grid_of, rows_of):
    grid = grid_of({"epsilons": [1, 1.5, 4]})
    marks = marks_of(rows_of(grid), grid.axes)
    axis = EpsilonAxis(marks)
    assert len({axis.x(mark.epsilon) for mark in marks}) == 3
    _, figures = _with(grid_of, rows_of, {"epsilons": [1, 1.5, 4]}, dict)
    labels = [text.get_text() for text in figures["utility_epsilon"].axes[0].get_xticklabels()]
    assert labels == ["1", "1.5", "4"]


@pytest.mark.long
def test_deltas_and_units_that_differ_are_said(grid_of, rows_of):
    _, figures = _with(grid_of, rows_of, AXES, dict)
    assert (
        figures["utility_epsilon"].axes[0].get_xlabel().startswith("ε per artwork, all releases of one run")
    )
    assert "δ = 1e-5" in figures["utility_epsilon"].axes[0].get_xlabel()

    def first(changed):
        return lambda row: row | changed if row["axis.epsilon"] == "1" else row

    _, figures = _with(grid_of, rows_of, AXES, first({"privacy.delta": 1e-6}))
    assert "δ differs" in figures["utility_epsilon"].axes[0].get_xlabel()
    both = {"privacy.unit": "artist", "privacy.epsilon_artist_max": 1.0}
    _, figures = _with(grid_of, rows_of, AXES, first(both))
    assert figures["utility_epsilon"].axes[0].get_xlabel().startswith("ε per unit of privacy")


def test_epsilons_are_printed_rounded_up(grid_of, rows_of):
    assert [up(x) for x in (0.4985, 0.997, 1.01, 7.976, 12.01, 150.2, 0.0312)] == [
        "0.5", "1", "1.1", "8", "13", "151", "0.032",
    ]  # fmt: skip
    _, figures = _with(grid_of, rows_of, {"run.rounds": [1, 2]}, lambda row: row)
    assert "would together cost an artwork ε = 34.3 at" in _caption(figures["utility_epsilon"])


def test_the_note_says_of_how_many_attacks_an_auc_is_the_largest(drawn):
    _, figures = drawn()
    for name in ("leakage_epsilon", "utility_leakage"):
        assert "the largest of so many attacks: encryption on 4; encryption off 7;" in _caption(figures[name])
    assert "of so many attacks" not in _caption(figures["utility_epsilon"])
    assert not any("guessing" in panel.get_ylabel() for panel in figures["leakage_epsilon"].axes)
    assert "A seed is that of pictures, run and audit." in _caption(figures["utility_epsilon"])


def test_neighbours_on_the_front_within_their_bars_are_called_noise(grid_of, rows_of):
    """Utility and leakage grow by steps; only the seeds' spread differs between the two sweeps."""

    def apart(spread):
        def change(row):
            epsilon, seed = float(row["axis.epsilon"]), int(row["axis.seed"])
            utility, area = 0.5 + 0.1 * epsilon, 0.5 + 0.05 * epsilon
            shift = spread * (seed - 1)
            return row | {"utility.artist_top1": utility + shift, "platform.membership_auc": area + shift}

        return change

    _, near = _with(grid_of, rows_of, {"epsilons": [1, 2], "seeds": [0, 1, 2]}, apart(0.07))
    said = _caption(near["utility_leakage"])
    assert "Differences smaller than the bars are noise: on the front" in said
    assert "ε 1, encryption on and ε 2, encryption on" in said
    rows = [apart(0.01)(row) | {"platform.identification_rate": None} for row in
            rows_of(grid_of({"epsilons": [1, 2], "seeds": [0, 1, 2]}))]  # fmt: skip
    marks = marks_of(rows, grid_of({"epsilons": [1, 2], "seeds": [0, 1, 2]}).axes)
    cost = TuningCost(1e-5, 1, {"artwork": 1.0}, {"artwork": 1}, {"artwork": 1.0}, True)
    far = _drawn(marks, WORDS.headlines, Foot(cost))
    assert "Differences smaller than the bars are noise. Means" in _caption(far["utility_leakage"])


def test_the_limit_is_a_curve_and_each_runs_own_a_short_line(drawn):
    marks, found = drawn()
    rate, area = found["leakage_epsilon"].axes
    (curve,) = [line for line in area.lines if line.get_label() == "the same of Gaussian noise, at any ε"]
    x, y = curve.get_xdata(), curve.get_ydata()
    assert len(x) > 100
    assert (np.diff(y) >= 0).all()
    at = {epsilon: np.interp(epsilon, x, y) for epsilon in (0.5, 2, 8)}
    assert at == pytest.approx({epsilon: gaussian_auc(epsilon, 1e-5) for epsilon in at}, abs=1e-4)
    for panel, column in ((rate, "identification_rate"), (area, "membership_auc")):
        short = [line for line in panel.lines if line.get_linewidth() == 1.6]
        values = {m.epsilon: m.values(f"platform.{column}_bound") for m in marks}
        bounds = {epsilon: max(found) for epsilon, found in values.items() if found}
        assert sorted(line.get_ydata()[0] for line in short) == pytest.approx(sorted(bounds.values()))
        assert all(np.ptp(line.get_ydata()) == 0 for line in short), "nothing is drawn between two runs"
    assert "The dashed curve needs no run" in found["leakage_epsilon"].said
    assert not [line for line in rate.lines if "Gaussian" in str(line.get_label())]


def test_the_limit_of_gaussian_noise_is_that_of_two_records():
    """Against the area under the trade-off curve that N(0, 1) and N(2 mu, 1) have, by quadrature."""
    from attacks.tradeoff import gaussian_limit, gaussian_mu_of

    rates = np.linspace(0, 1, 200_001)
    for epsilon in (0.1, 1.0, 8.0):
        curve = gaussian_limit(rates, 2 * gaussian_mu_of(epsilon, 1e-5))
        assert gaussian_auc(epsilon, 1e-5) == pytest.approx(np.trapezoid(curve, rates), abs=1e-4)


def test_marks_of_one_utility_are_moved_apart_and_others_stay():
    places = [(0.5, 0.9), (0.6, 0.9), (0.7, 0.9), (0.5, 0.2)]
    moved = _apart(places, 0.01)
    assert moved[3] == 0
    assert moved[:3] == pytest.approx([-0.01, 0.0, 0.01])
    assert _apart([(0.1, 0.5), (0.2, 0.52)], 0.01) == [0, 0]
