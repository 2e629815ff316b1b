"""Curves beside the limit: what lies above it is found and named, a figure is the same bytes each time."""

from functools import partial
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from PIL import Image
from scipy.stats import beta, norm

from attacks.errors import AttackError
from attacks.plots import AttackScores, Limits, above_limit, roc_band, roc_figure, write_figure
from attacks.tradeoff import dp_limit, gaussian_limit, gaussian_mu_of

EPSILON, DELTA = 1.0, 1e-5
LIMITS = Limits(EPSILON, DELTA, partial(gaussian_limit, mu=gaussian_mu_of(EPSILON, DELTA)))


def drawn(shift, seed=0, n_in=500, n_out=1000):
    rng = np.random.default_rng(seed)
    return AttackScores(rng.normal(shift, 1, n_in), rng.standard_normal(n_out))


def at_the_limit(n):
    """Scores whose curve is the limit itself: likelihood ratios of randomised response at epsilon 1."""
    share = np.exp(EPSILON) / (1 + np.exp(EPSILON))
    ones = round(n * share)
    return AttackScores(np.repeat([1, 0], [ones, n - ones]), np.repeat([1, 0], [n - ones, ones]))


def test_a_curve_above_the_limit_is_found_and_one_below_is_not():
    """mu = 2 crosses the limit of epsilon 1; the Gaussian mechanism that is (1, 1e-5)-DP touches it at most.

    Each of 40 harmless curves is called broken with probability under 0.05; more than 6 has probability 5e-3
    if it were 0.05, and the bounds are conservative.
    """
    planted = above_limit(drawn(2.0), EPSILON, DELTA)
    assert planted.broken
    assert planted.tpr > dp_limit(np.array([planted.fpr]), EPSILON, DELTA)[0]
    # The bounds at the point that is reported are on the right side of the true curve.
    assert planted.tpr <= norm.cdf(norm.ppf(planted.fpr) + 2)
    harmless = [drawn(gaussian_mu_of(EPSILON, DELTA), seed) for seed in range(40)]
    assert sum(above_limit(scores, EPSILON, DELTA).broken for scores in harmless) <= 6
    assert not above_limit(at_the_limit(1000), EPSILON, DELTA).broken
    # The excess that is left where everything is known: TPR 0.731 at FPR 0.269, against epsilon 0.5.
    assert above_limit(at_the_limit(1000), 0.5, DELTA).broken


def test_few_scores_do_not_accuse():
    """All 5 members above all non-members: rare by chance, but the bounds are wide."""
    few = AttackScores(np.ones(5), np.zeros(20))
    assert not above_limit(few, 2.0, DELTA).broken
    assert above_limit(AttackScores(np.ones(500), np.zeros(500)), 2.0, DELTA).broken


def test_the_band_is_clopper_and_pearsons_at_every_corner():
    scores = AttackScores(np.array([3.0, 2, 2, 1, 0]), np.array([2.0, 1, 0, -1]))
    band = roc_band(scores, 0.9)
    assert band.fpr.tolist() == scores.curve.fpr.tolist()
    for hits, low, high in zip((0, 1, 3, 4, 5, 5), band.low, band.high, strict=True):
        assert low == (0 if hits == 0 else pytest.approx(beta.ppf(0.05, hits, 6 - hits)))
        assert high == (1 if hits == 5 else pytest.approx(beta.ppf(0.95, hits + 1, 5 - hits)))


def test_what_is_drawn_is_the_curve_the_limit_and_the_exact_trade_off():
    """Read back from the panels: the attack's corners, the shade's lower edge, and no legend over a line."""
    scores = {"planted": drawn(2.0), "harmless": drawn(0.1)}
    figure = roc_figure(scores, LIMITS, "Both")
    log_log, linear = figure.axes
    assert (log_log.get_xscale(), log_log.get_yscale(), linear.get_xscale()) == ("log", "log", "linear")
    assert log_log.get_xlim() == (1e-3, 1)
    for panel in figure.axes:
        lines = {line.get_label().split(",")[0]: line for line in panel.get_lines()}
        x, y = lines["limit of that guarantee"].get_data()
        assert np.allclose(y, dp_limit(x, EPSILON, DELTA))
        x, y = lines["exact trade-off"].get_data()
        assert np.allclose(y, LIMITS.exact(x))
        for name, attack in scores.items():
            x, y = lines[name].get_data()
            curve = attack.curve
            seen = curve.fpr >= x[0]
            assert set(zip(curve.fpr[seen], curve.tpr[seen], strict=True)) <= set(zip(x, y, strict=True))
            assert (np.diff(y) >= 0).all()
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert [name for name in named if "above the limit" in name] == [n for n in named if "planted" in n]
    assert len(named) == 6
    assert "not possible under (ε = 1, δ = 1e-05)-DP" in named
    figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    for panel in figure.axes:
        assert not box.overlaps(panel.get_tightbbox())


@pytest.mark.parametrize(("number", "title"), [(1, ""), (12, "Twelve"), (18, "")])
def test_nothing_leaves_the_page(number, title):
    attacks = {f"{k:02d} {'w' * (57 if number == 18 else 20)}": drawn(0.3 * k) for k in range(number)}
    figure = roc_figure(attacks, LIMITS, title)
    figure.draw_without_rendering()
    page, legend = figure.bbox, figure.legends[0].get_window_extent()
    boxes = [legend, *(panel.get_tightbbox() for panel in figure.axes)]
    for box in boxes:
        assert page.x0 <= box.x0
        assert box.x1 <= page.x1
        assert page.y0 <= box.y0
        assert box.y1 <= page.y1
    assert not any(legend.overlaps(box) for box in boxes[1:])


def test_the_same_input_is_the_same_bytes_whatever_the_users_style(tmp_path):
    attacks = {"planted": drawn(2.0), "tied": AttackScores(np.arange(40) % 3, np.arange(1000) % 2)}
    before = dict(matplotlib.rcParams)
    first = write_figure(roc_figure(attacks, LIMITS, "Twice"), tmp_path / "first")
    with matplotlib.rc_context({"font.size": 20, "lines.linewidth": 9, "svg.hashsalt": "theirs"}):
        second = write_figure(roc_figure(attacks, LIMITS, "Twice"), tmp_path / "second.png")
    assert dict(matplotlib.rcParams) == before
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
    third = write_figure(roc_figure(attacks, Limits(2.0, DELTA), "Twice"), tmp_path / "epsilon 2.0")
    assert third == (tmp_path / "epsilon 2.0.png", tmp_path / "epsilon 2.0.svg")
    assert third[0].read_bytes() != first[0].read_bytes()
    with Image.open(first[0]) as picture:
        assert picture.width == 1720
    assert ElementTree.parse(first[1]).getroot().tag.endswith("svg")
    assert b"dc:date" not in first[1].read_bytes()


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(AttackError, match="1 to 18 attacks, not 0"):
        roc_figure({})
    with pytest.raises(AttackError, match="1 to 18 attacks, not 19"):
        roc_figure({str(k): drawn(0.0) for k in range(19)})
    with pytest.raises(AttackError, match="1 to 60 characters, not 61"):
        roc_figure({"n" * 61: drawn(0.0)})
    with pytest.raises(AttackError, match="not finite"):
        AttackScores(np.array([np.nan]), np.zeros(3))
    with pytest.raises(AttackError, match="epsilon must be a number in"):
        roc_figure({"one": drawn(0.0)}, Limits(-1.0, 0.0))
    with pytest.raises(AttackError, match="confidence"):
        roc_band(drawn(0.0), 1.0)
