"""Artists rather than artworks, and what one finds without looking at the model."""

import numpy as np
import pytest
from scipy.stats import kstest, norm

from attacks.errors import AttackError
from attacks.membership.participation import blind_baseline, participation_scores
from attacks.roc import auc


def works(rng, artists, per_artist, between, shift=0.0, first=0):
    """Signals and whose they are: artists `first` to `first + artists - 1`."""
    owner = np.repeat(np.arange(artists), per_artist)
    signals = shift + between * rng.standard_normal(artists)[owner] + rng.standard_normal(len(owner))
    return signals, first + owner


@pytest.mark.parametrize("between", [0.0, 0.7])
def test_artists_are_told_apart_as_well_as_they_can_be(between):
    """AUC Phi(shift / sqrt(2 (between^2 + 1 / n))); 800 artists a side, standard error 0.013."""
    rng = np.random.default_rng(0)
    members, owner = works(rng, 800, 5, between, shift=0.6)
    others, other_owner = works(rng, 800, 5, between, first=800)
    elsewhere = works(rng, 200, 5, between, first=1600)
    names, scores = participation_scores(np.r_[members, others], np.r_[owner, other_owner], *elsewhere)
    assert (names == np.arange(1600)).all()
    expected = norm.cdf(0.6 / np.sqrt(2 * (between**2 + 1 / 5)))
    assert auc(scores.values[:800], scores.values[800:]) == pytest.approx(expected, abs=0.045)
    # One work alone says less.
    assert expected > auc(members, others) + 0.05


def test_scores_of_outsiders_are_standard_normal_though_works_resemble_each_other():
    """Kolmogorov-Smirnov over 600 artists at 1e-4; taking works for independent fails it, and so does a
    score that does not subtract what signals are everywhere (here 5)."""
    rng = np.random.default_rng(1)
    fresh, owner = works(rng, 600, 10, 0.8, shift=5.0)
    elsewhere, other_owner = works(rng, 2000, 6, 0.8, shift=5.0, first=600)
    _, scores = participation_scores(fresh, owner, elsewhere, other_owner)
    assert kstest(scores.values, "norm").pvalue > 1e-4
    means = fresh.reshape(600, 10).mean(1)
    naive = (means - elsewhere.mean()) / (elsewhere.std() / np.sqrt(10))
    assert kstest(naive, "norm").pvalue < 1e-6


def test_many_works_of_one_artist_count_as_what_they_are():
    rng = np.random.default_rng(2)
    elsewhere, others = works(rng, 500, 5, 1.0)
    signals, owner = np.r_[np.full(2, 1.0), np.full(200, 1.0)], np.repeat(["few", "many"], [2, 200])
    names, scores = participation_scores(signals, owner, elsewhere, others.astype(str))
    assert names.tolist() == ["few", "many"]
    assert scores.values[1] < 1.15
    assert scores.values[1] / scores.values[0] == pytest.approx(np.sqrt(1.5), rel=0.1)


def naive_kernel(features):
    n = len(features)
    standard = [(row - features.mean(0)) / features.std(0) for row in features]
    apart = [((standard[i] - standard[j]) ** 2).sum() for i in range(n) for j in range(i)]
    logs = [np.log((row**2).mean()) for row in standard]
    total = np.zeros((n, n))
    for of in (
        lambda i, j: standard[i] @ standard[j],
        lambda i, j: np.exp(-((standard[i] - standard[j]) ** 2).sum() / np.median(apart)),
        lambda i, j: logs[i] * logs[j],
    ):
        kernel = np.array([[of(i, j) for j in range(n)] for i in range(n)])
        centre = np.eye(n) - 1 / n
        kernel = centre @ kernel @ centre
        total += kernel * n / np.trace(kernel)
    return total


def test_leaving_a_pair_out_is_training_again_without_it():
    rng = np.random.default_rng(3)
    features, is_member = rng.standard_normal((12, 4)), np.arange(12) % 2 == 0
    features[is_member, 0] += 1
    found = blind_baseline(features, is_member, rng, shuffles=19)
    kernel = naive_kernel(features)
    penalty = np.trace(kernel) / 12
    y, wins = np.where(is_member, 1.0, -1.0), []
    for i in np.flatnonzero(is_member):
        for j in np.flatnonzero(~is_member):
            rest = [k for k in range(12) if k not in (i, j)]
            weights = np.linalg.solve(kernel[np.ix_(rest, rest)] + penalty * np.eye(10), y[rest])
            wins.append(kernel[i, rest] @ weights > kernel[j, rest] @ weights)
    assert found.auc == pytest.approx(np.mean(wins))


def test_a_style_shift_is_found_without_any_model():
    rng = np.random.default_rng(4)
    owner = np.repeat(np.arange(60), 4)
    is_member = owner < 30
    style = rng.standard_normal((60, 6))[owner] + 0.5 * rng.standard_normal((240, 6))
    style[is_member, 2] += 2
    found = blind_baseline(style, is_member, rng, owner)
    assert found.auc > 0.8
    assert found.p_value < 0.01
    assert found.groups == 60


def test_a_difference_of_spread_alone_is_found():
    """Non-members that scatter 3 times as far: minus their squared length has an AUC of 0.995."""
    rng = np.random.default_rng(0)
    is_member = np.arange(400) < 200
    features = rng.standard_normal((400, 6)) * np.where(is_member, 1, 3)[:, None]
    found = blind_baseline(features, is_member, rng, shuffles=19)
    assert found.auc > 0.97
    assert found.p_value == 0.05


def test_members_that_lie_on_both_sides_are_found():
    """Neither their mean nor their distance from the middle differs: only where they belong together."""
    rng = np.random.default_rng(0)
    is_member = np.arange(300) < 150
    features = rng.standard_normal((300, 2))
    features[is_member] *= 0.2
    features[is_member] += np.where(rng.random(150) < 0.5, 1, -1)[:, None]
    found = blind_baseline(features, is_member, rng, shuffles=19)
    assert found.auc > 0.85


def test_groups_whose_pictures_scatter_alike_are_found():
    """Every artist has the same mean; members' pictures lie closer together. One picture has no scatter."""
    rng = np.random.default_rng(0)
    owner = np.r_[np.repeat(np.arange(40), 6), 40, 41]
    is_member = (owner < 20) | (owner == 40)
    noise = rng.standard_normal((242, 4)) * np.where(is_member, 0.7, 1.4)[:, None]
    for k in range(40):
        noise[owner == k] -= noise[owner == k].mean(0)
    found = blind_baseline(noise, is_member, rng, owner, shuffles=19)
    assert found.groups == 42
    assert found.auc > 0.9


def test_copies_and_constant_features_show_nothing():
    rng = np.random.default_rng(0)
    is_member = np.arange(20) < 10
    assert blind_baseline(np.ones((20, 3)), is_member, rng, shuffles=19).auc == 0.5
    # One picture unlike 19 copies says nothing of who is a member.
    copies = np.zeros((20, 2))
    copies[3] = 1.0
    found = blind_baseline(copies, is_member, rng, shuffles=19)
    assert 0.4 <= found.auc <= 0.6


def test_where_there_is_no_shift_the_baseline_finds_none():
    """60 worlds without one: p <= 0.05 in at most 9 of them (probability of more 1e-3), no bias of the AUC.

    Pictures of one artist resemble each other, so that counting pictures instead of artists would fail here.
    """
    p_values, areas, careless = [], [], 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        owner = np.repeat(np.arange(16), 6)
        style = rng.standard_normal((16, 5))[owner] + 0.1 * rng.standard_normal((96, 5))
        found = blind_baseline(style, owner < 8, rng, owner, shuffles=99)
        p_values.append(found.p_value)
        areas.append(found.auc)
        careless += blind_baseline(style, owner < 8, rng, shuffles=19).p_value <= 0.05
    assert (np.array(p_values) <= 0.05).sum() <= 9
    assert np.mean(areas) == pytest.approx(0.5, abs=0.08)
    assert careless > 30


def test_bad_input_is_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(AttackError, match="2 artists elsewhere"):
        participation_scores(np.ones(3), np.arange(3), np.ones(4), np.full(4, 9))
    with pytest.raises(AttackError, match="one with 2 works"):
        participation_scores(np.ones(3), np.arange(3), np.ones(4), 5 + np.arange(4))
    with pytest.raises(AttackError, match="artist 'b' is scored and among"):
        participation_scores(np.ones(2), np.array(["a", "b"]), np.ones(4), np.array(["b", "b", "c", "c"]))
    with pytest.raises(AttackError, match="its artist"):
        participation_scores(np.ones(3), np.arange(2), np.ones(4), np.zeros(4, int))
    mixed = np.array([True, False, True, False])
    with pytest.raises(AttackError, match="group 'a' has members and non-members"):
        blind_baseline(np.ones((4, 2)), mixed, rng, np.array(["a", "a", "b", "c"]))
    with pytest.raises(AttackError, match="2 members"):
        blind_baseline(np.ones((3, 2)), np.array([True, False, False]), rng)
    with pytest.raises(AttackError, match="at least 19"):
        blind_baseline(np.ones((4, 2)), mixed, rng, shuffles=5)
