"""Drawing like one artist is seen, drawing better is not taken for it, and p-values are not too small."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from attacks.diffusion.mimicry import discriminant_judge, mimicry, neighbours_judge
from attacks.errors import AttackError

NAMES = "abcdefgh"
D = 6


def world(seed, works=30):
    """Works of eight artists around middles of their own."""
    rng = np.random.default_rng(seed)
    middles = {name: rng.normal(0, 2, D) for name in NAMES}
    return rng, middles, {name: rng.normal(middle, 1, (works, D)) for name, middle in middles.items()}


@pytest.mark.parametrize("judging", ["discriminant", "neighbours"])
def test_a_model_that_takes_to_an_artist_is_seen(judging):
    rng, middles, works = world(0)
    before, after = rng.normal(0, 1, (50, D)), rng.normal(0.8 * middles["c"], 1, (50, D))
    found = mimicry("adapter", before, after, works, "c", rng, judging, repeats=300)
    assert found.won
    assert found.gain.low > 0
    assert found.gain.value > found.gain.baseline
    assert found.gain.details["p_value"] == pytest.approx(1 / 301)
    assert found.gain.details["rank_p_value"] == pytest.approx(1 / 8)
    assert found.gain.details["ceiling"] >= found.gain.value
    assert found.after.value > found.after.baseline


def test_a_model_that_did_not_change_is_not():
    """60 worlds: more than 8 p-values of 5 % or less have 0.3 % by chance; intervals of 95 % fewer."""
    small = above = 0
    for seed in range(60):
        rng, _, works = world(seed, works=12)
        before, after = rng.normal(0, 2, (25, D)), rng.normal(0, 2, (25, D))
        found = mimicry("a", before, after, works, "a", rng, repeats=100)
        small += found.gain.details["p_value"] <= 0.05
        above += found.gain.low > 0
    assert small <= 8
    assert above <= 8


def test_a_model_that_merely_learned_to_draw_is_nearer_to_all():
    """After training it draws like everybody in turn: the gain is there, and towards the others as well."""
    rng, middles, works = world(1)
    before = rng.normal(0, 6, (80, D))
    after = np.concatenate([rng.normal(middle, 1, (10, D)) for middle in middles.values()])
    found = mimicry("a", before, after, works, "a", rng, "neighbours", repeats=300)
    assert found.gain.details["rank_p_value"] > 1 / 8
    assert abs(found.gain.value - found.gain.baseline) < 0.1


def test_a_judge_that_does_not_know_the_artist_says_so():
    """Works that differ from the others' in nothing: the control is not won. One in forty would be."""
    rng = np.random.default_rng(0)
    works = {name: rng.normal(size=(30, D)) for name in NAMES}
    found = mimicry("a", works["b"], works["a"], works, "a", rng, repeats=100)
    assert not found.won


def test_the_discriminant_is_the_log_probability_of_two_normal_laws():
    """20,000 works a side and next to no shrinkage: within 0.05 of the truth where neither is certain."""
    rng, covariance = np.random.default_rng(0), np.array([[1.0, 0.6], [0.6, 2.0]])
    own = rng.multivariate_normal([1, 0], covariance, 20_000)
    others = rng.multivariate_normal([0, 0], covariance, 20_000)
    judge, tried = discriminant_judge(own, others, shrinkage=1e-9), rng.normal(0, 1, (50, 2))
    odds = [multivariate_normal(m, covariance).logpdf(tried) for m in ([1, 0], [0, 0])]
    assert np.allclose(judge(tried), -np.log1p(np.exp(odds[1] - odds[0])), atol=0.05)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(0, 2**31))
def test_neighbours_see_no_order_and_no_units_and_swap_sides(neighbours, seed):
    rng = np.random.default_rng(seed)
    own, others, tried = (rng.integers(0, 4, (n, 2)).astype(float) for n in (4, 6, 5))
    found = neighbours_judge(own, others, neighbours)(tried)
    assert ((found >= 0) & (found <= 1)).all()
    assert np.allclose(neighbours_judge(own[::-1], rng.permutation(others), neighbours)(tried), found)
    assert np.allclose(neighbours_judge(8 * own, 8 * others, neighbours)(8 * tried), found)
    assert np.allclose(neighbours_judge(others, own, neighbours)(tried), 1 - found)


def test_sides_of_different_size_count_alike():
    """All works are neighbours: half of them are the artist's, however few there are."""
    rng = np.random.default_rng(0)
    own, others = rng.normal(size=(3, 2)), rng.normal(size=(40, 2))
    assert np.allclose(neighbours_judge(own, others, 43)(own), 0.5)


@pytest.mark.parametrize("judging", ["discriminant", "neighbours"])
def test_features_that_never_change_are_no_trouble(judging):
    works = {name: np.ones((5, 3)) for name in "abc"}
    found = mimicry("a", np.ones((4, 3)), np.ones((4, 3)), works, "a", np.random.default_rng(0), judging, 100)
    assert found.gain.value == 0
    assert found.gain.details["p_value"] == 1
    assert found.gain.details["rank_p_value"] == 1
    assert not found.won


def test_a_seed_gives_one_figure():
    _, _, works = world(2)
    before, after = works["b"][:10], works["c"][:10]
    one, same = (mimicry("a", before, after, works, "c", np.random.default_rng(3), repeats=100) for _ in "12")
    assert one == same


def test_what_cannot_be_judged_is_refused():
    rng, _, works = world(0)
    good = {
        "attack": "a",
        "before": works["a"],
        "after": works["b"],
        "works": works,
        "artist": "a",
        "rng": rng,
    }
    for changed, said in (
        ({"before": works["a"][:1]}, "before"),
        ({"after": works["a"] * np.nan}, "after"),
        ({"after": works["a"][:, :3]}, "one width"),
        ({"works": {"a": works["a"], "b": works["b"]}}, "three artists"),
        ({"works": {**works, "b": works["b"][:3]}}, "works of b"),
        ({"artist": "z"}, "'z' among them"),
        ({"judging": "network"}, "judging"),
    ):
        with pytest.raises(AttackError, match=said):
            mimicry(**{**good, **changed})
