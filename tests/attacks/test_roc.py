"""Curves and areas against their definitions, ties included; intervals against the coverage they claim."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from attacks.errors import AttackError
from attacks.roc import (
    auc,
    auc_interval,
    bootstrap_interval,
    log_log_points,
    newcombe_interval,
    null_deviation,
    operating_points,
    rank_ladder,
    roc_curve,
    tpr_at_fpr,
)

levels = st.lists(st.integers(-3, 3), min_size=1, max_size=25)


def naive_auc(members, non_members):
    pairs = [(a > b) + 0.5 * (a == b) for a in members for b in non_members]
    return sum(pairs) / len(pairs)


@given(members=levels, non_members=levels)
@settings(max_examples=200, deadline=None)
def test_area_is_mann_whitney_with_half_ties_and_the_curves_trapezoids(members, non_members):
    curve = roc_curve(members, non_members)
    assert (curve.fpr[0], curve.tpr[0], curve.fpr[-1], curve.tpr[-1]) == (0, 0, 1, 1)
    expected = naive_auc(members, non_members)
    assert auc(members, non_members) == pytest.approx(expected)
    assert np.trapezoid(curve.tpr, curve.fpr) == pytest.approx(expected)
    for fpr, tpr, threshold in zip(curve.fpr, curve.tpr, curve.thresholds, strict=True):
        assert fpr == np.mean(np.array(non_members) >= threshold)
        assert tpr == np.mean(np.array(members) >= threshold)


def test_binary_and_six_level_scores_have_their_true_area():
    """Taking only one row of every tied score, as some tools do, gives 0.278 and 0.583 for such scores."""
    members, non_members = np.repeat([1, 0], [644, 356]), np.repeat([1, 0], [500, 500])
    assert auc(members, non_members) == pytest.approx(0.572, abs=1e-12)
    curve = roc_curve(members, non_members)
    assert np.trapezoid(curve.tpr, curve.fpr) == pytest.approx(0.572, abs=1e-12)
    rng = np.random.default_rng(0)
    six_in, six_out = rng.binomial(5, 0.6, 300), rng.binomial(5, 0.5, 200)
    assert auc(six_in, six_out) == pytest.approx(naive_auc(six_in, six_out), abs=1e-12)
    assert auc(np.zeros(7), np.zeros(5)) == 0.5


def test_orientation_is_not_guessed():
    rng = np.random.default_rng(0)
    members, non_members = rng.normal(1, 1, 5000), rng.normal(0, 1, 5000)
    # Phi(1 / sqrt 2) with a standard error of 0.0048.
    assert auc(members, non_members) == pytest.approx(norm.cdf(2**-0.5), abs=0.02)
    assert auc(-members, -non_members) == pytest.approx(1 - auc(members, non_members))


def test_the_null_deviation_is_exact_for_few():
    """Over all 35 ways to call 3 of 7 scores members."""
    areas = []
    for chosen in itertools.combinations(range(7), 3):
        areas.append(auc(list(chosen), [k for k in range(7) if k not in chosen]))
    assert np.std(areas) == pytest.approx(null_deviation(3, 4))


def test_the_area_interval_covers_and_is_no_point_at_one():
    """1000 draws at 95 %; with true coverage 0.95 fewer than 925 has probability 3e-4, and it is wider."""
    rng = np.random.default_rng(0)
    truth, covered = norm.cdf(1.5 / 2**0.5), 0
    for _ in range(1000):
        low, high = auc_interval(rng.normal(1.5, 1, 40), rng.normal(0, 1, 60))
        covered += low <= truth <= high
    assert covered >= 925
    low, high = auc_interval(np.arange(10) + 20.0, np.arange(10.0))
    assert high == pytest.approx(1)
    assert 0.6 < low < 0.8


SHAPES = {
    "normal": (lambda rng, d, n: rng.normal(d * 2**0.5, 1, n), lambda rng, n: rng.normal(0, 1, n)),
    "members scatter twice": (
        lambda rng, d, n: rng.normal(d * 5**0.5, 2, n),
        lambda rng, n: rng.normal(0, 1, n),
    ),
    "non-members scatter twice": (
        lambda rng, d, n: rng.normal(d * 5**0.5, 1, n),
        lambda rng, n: rng.normal(0, 2, n),
    ),
    "exponential": (
        lambda rng, d, n: rng.exponential(norm.cdf(d) / norm.sf(d), n),
        lambda rng, n: rng.exponential(1.0, n),
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("n_in", "n_out"), [(40, 60), (15, 100)])
def test_newcombes_interval_covers_whatever_the_shape(shape, n_in, n_out):
    """AUC 0.5 to 0.97, 300 draws each at 95 %. Coverage lies above 0.93 (1000 draws): under 0.883 has
    probability 2e-3 at worst and 1e-6 at 0.95. Without its widening 15 that scatter twice have 0.86."""
    members, others = SHAPES[shape]
    for area in (0.5, 0.7, 0.85, 0.97):
        rng, covered = np.random.default_rng(int(100 * area)), 0
        for _ in range(300):
            low, high = newcombe_interval(members(rng, norm.ppf(area), n_in), others(rng, n_out))
            covered += low <= area <= high
        assert covered >= 265, (area, covered / 300)


def test_newcombes_interval_solves_its_equation_and_is_narrower():
    """Where no widening is needed: |found - end| is 1.96 deviations of Hanley and McNeil at the end."""
    members, others = norm.ppf((np.arange(30) + 0.5) / 30) + 1.2, norm.ppf((np.arange(50) + 0.5) / 50)
    found, n = auc(members, others), 40
    for end in newcombe_interval(members, others):
        q1, q2 = end / (2 - end), 2 * end**2 / (1 + end)
        variance = (end * (1 - end) + (n - 1) * (q1 - end**2) + (n - 1) * (q2 - end**2)) / (30 * 50)
        assert abs(found - end) == pytest.approx(1.959964 * variance**0.5, rel=1e-5)
    wide = auc_interval(members, others)
    narrow = newcombe_interval(members, others)
    assert wide[0] < narrow[0] < found < narrow[1] < wide[1]


def test_newcombes_interval_is_no_point_where_the_classes_are_apart():
    """And the end is where so good a result would be 1.96 deviations from the truth; sides are mirrored."""
    for n_in, n_out in ((1, 1), (1, 9), (20, 30)):
        low, high = newcombe_interval(np.arange(n_in) + 100.0, np.arange(n_out))
        assert high == 1
        assert 0 <= low < 0.95
        mirrored = newcombe_interval(-np.arange(n_in) - 100.0, np.arange(n_out))
        assert mirrored == pytest.approx((0, 1 - low), abs=1e-8)
    few, many = (newcombe_interval(np.arange(n) + 100.0, np.arange(n))[0] for n in (10, 100))
    assert 0.6 < few < 0.9 < many < 0.995
    # Nothing but ties: about the middle, no point either.
    low, high = newcombe_interval(np.ones(20), np.ones(20))
    assert low < 0.4
    assert high == pytest.approx(1 - low)


def test_the_bootstrap_has_the_width_of_theory():
    """A difference of means of n and m has standard error sqrt(1/n + 1/m); 1000 repeats know it to 5 %."""
    rng = np.random.default_rng(0)
    members, non_members = rng.standard_normal(400), rng.standard_normal(100)
    difference = members.mean() - non_members.mean()
    error = np.sqrt(members.var() / 400 + non_members.var() / 100)
    low, high = bootstrap_interval(lambda a, b: a.mean() - b.mean(), members, non_members, rng)
    assert low == pytest.approx(difference - 1.96 * error, abs=0.2 * error)
    assert high == pytest.approx(difference + 1.96 * error, abs=0.2 * error)


@given(members=levels, non_members=levels, share=st.floats(0.05, 0.95))
@settings(max_examples=200, deadline=None)
def test_the_rate_at_a_rate_is_the_best_threshold_that_keeps_it(members, non_members, share):
    members, non_members = np.array(members), np.array(non_members)
    if share * len(non_members) < 1:
        with pytest.raises(AttackError, match="needs at least"):
            tpr_at_fpr(members, non_members, share)
        return
    allowed = [(members > t).mean() for t in range(-4, 4) if (non_members > t).mean() <= share + 1e-12]
    point = tpr_at_fpr(members, non_members, share)
    assert point.value == max(allowed)
    assert point.fpr <= share
    assert point.low <= point.value <= point.high
    assert roc_curve(members, non_members).at(np.array([share]))[0] == pytest.approx(max(allowed))


def test_too_few_non_members_are_said_to_be_too_few():
    scores = np.arange(10_000.0)
    few = tpr_at_fpr(scores, scores[:1000], 0.001)
    assert (round(few.fpr_low, 5), round(few.fpr_high, 4)) == (0.00003, 0.0056)
    assert not few.reliable
    assert "1000 non-members leave the FPR anywhere" in few.note
    enough = tpr_at_fpr(scores, scores, 0.001)
    assert (round(enough.fpr_low, 4), round(enough.fpr_high, 4)) == (0.0005, 0.0018)
    assert enough.reliable
    assert enough.note == ""
    with pytest.raises(AttackError, match="at least 1000 non-members, not 999"):
        tpr_at_fpr(scores, scores[:999], 0.001)


def test_a_bound_at_an_order_statistic_covers_exactly():
    """100 000 draws: coverage 0.95 is known to 0.07 %, so that 0.3 % is over 4 standard errors."""
    rng = np.random.default_rng(0)
    non_members = rng.random((100_000, 40))
    ordered = np.sort(non_members, axis=1)[:, ::-1]
    for rank in (1, 7, 40):
        points = operating_points(np.arange(5.0), non_members[0], np.array([rank]), 0.1)
        assert (1 - ordered[:, rank - 1] <= points.fpr_high[0]).mean() == pytest.approx(0.95, abs=0.003)


def test_all_bounds_hold_together():
    """400 draws, each allowed to fail with 0.1; over 61 has probability below 1e-3. Ties are safer."""
    rng = np.random.default_rng(0)
    for rounded in (False, True):
        failed = 0
        for _ in range(400):
            members, non_members = rng.normal(1, 1, 200), rng.normal(0, 1, 150)
            if rounded:
                members, non_members = np.rint(members), np.rint(non_members)
            points = operating_points(members, non_members, rank_ladder(150, 12), 0.1)
            # P[rounded > t] is P[x > t + 1/2] where t is whole.
            at = points.thresholds + 0.5 * rounded
            failed += bool((points.tpr_low > norm.sf(at - 1)).any() or (points.fpr_high < norm.sf(at)).any())
        assert failed <= 61


def test_the_ladder_reaches_both_ends_whatever_the_scores():
    assert rank_ladder(5, None).tolist() == [1, 2, 3, 4, 5]
    ladder = rank_ladder(1000, 25)
    assert (ladder[0], ladder[-1]) == (1, 1000)
    assert np.abs(ladder + ladder[::-1] - 1001).max() <= 1
    assert rank_ladder(9, 1).tolist() == [5]


def test_the_log_log_curve_is_the_curve():
    rng = np.random.default_rng(0)
    curve = roc_curve(rng.normal(1, 1, 500), rng.normal(0, 1, 500))
    fpr, tpr = log_log_points(curve, 0.01, 50)
    assert (fpr[0], fpr[-1], tpr[-1]) == (pytest.approx(0.01), pytest.approx(1), 1)
    assert np.diff(np.log(fpr)) == pytest.approx(np.full(49, np.log(100) / 49))
    for x, y in zip(fpr, tpr, strict=True):
        assert y == curve.tpr[curve.fpr <= x].max()


def test_bad_scores_are_refused_by_name():
    with pytest.raises(AttackError, match=r"non-members: 1 are not finite"):
        auc([1.0], [np.nan, 2.0])
    with pytest.raises(AttackError, match=r"members must be \(n,\)"):
        auc([], [1.0])
    with pytest.raises(AttackError, match="fpr must be"):
        tpr_at_fpr([1.0], [1.0], 0.0)
    with pytest.raises(AttackError, match="confidence"):
        auc_interval([1.0], [2.0], 95)
    with pytest.raises(AttackError, match="repeats"):
        bootstrap_interval(auc, [1.0], [2.0], np.random.default_rng(0), repeats=10)
    with pytest.raises(AttackError, match="floor"):
        log_log_points(roc_curve([1.0], [0.0]), 0.0)
