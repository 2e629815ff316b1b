"""Distances against loops, cut-offs that keep their rate, and copies found where a model makes them."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from attacks.diffusion.copies import (
    copy_cut_off,
    extraction,
    planted_copies,
    relative_distances,
    tiled_distances,
)
from attacks.diffusion.ideal import memoriser
from attacks.errors import AttackError


def uniform(n, seed, side=8):
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(seed))


def drawn_by(model, shape, n, seed):
    """Pictures in [0, 1] by 24 deterministic steps from noise; the model's are in [-1, 1]."""
    noisy = torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed))
    times = np.linspace(model.schedule.steps - 1, 0, 25).astype(int).tolist()
    for time, to in pairwise(times):
        at = torch.full((n,), time)
        noisy = model.schedule.moved(model.told(noisy, at), noisy, at, torch.full((n,), to))
    return (noisy / 2 + 0.5).clamp(0, 1)


@pytest.mark.parametrize("tiles", [1, 2, 4])
def test_tiled_distances_are_those_of_loops(tiles):
    pictures, works, side = uniform(3, 0), uniform(4, 1), 8 // tiles
    found = tiled_distances(pictures, works, tiles, batch=2)
    for i, picture in enumerate(pictures):
        for j, work in enumerate(works):
            apart = [
                (picture - work)[:, y : y + side, x : x + side].square().mean().sqrt().item()
                for y in range(0, 8, side)
                for x in range(0, 8, side)
            ]
            assert found[i, j] == pytest.approx(max(apart), rel=1e-5)


def test_a_flat_ground_is_no_copy_where_tiles_are_looked_at():
    """Two works of the same ground and another figure: near as a whole, far in the tile with the figure."""
    one, other = torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 16)
    one[..., :4, :4] = 1.0
    assert tiled_distances(one, other, 1).item() == pytest.approx(0.25)
    assert tiled_distances(one, other, 4).item() == pytest.approx(1.0)
    assert tiled_distances(one, one.half().float(), 4).item() == 0.0


DISTANCES = st.lists(st.lists(st.integers(0, 9), min_size=5, max_size=5), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(DISTANCES, st.integers(2, 5), st.floats(0.01, 100), st.randoms(use_true_random=False))
def test_relative_distances_see_neither_scale_nor_order(rows, neighbours, scale, rng):
    distances = np.array(rows, float)
    found = relative_distances(distances, neighbours)
    order = rng.sample(range(5), 5)
    assert ((found >= 0) & (found <= 1)).all()
    assert np.allclose(relative_distances(scale * distances, neighbours), found)
    assert np.allclose(relative_distances(distances[:, order], neighbours), found)
    nearest = np.sort(distances, axis=1)[:, :neighbours]
    assert ((found == 1) == (nearest == nearest[:, :1]).all(1)).all(), "1 exactly where all k tie"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=10, max_size=60), st.sampled_from([0.1, 0.2, 0.35]))
def test_a_cut_off_keeps_its_rate_exactly_ties_or_not(values, rate):
    """Each of n + 1 values that might be the new one in turn: the share below the others' cut-off."""
    values = np.array(values, float)
    below = [one < copy_cut_off(np.delete(values, i), rate) for i, one in enumerate(values)]
    assert np.mean(below) <= rate + 1e-12


def test_cut_offs_are_as_high_as_they_may_be():
    """Without ties the rate is met, not only kept."""
    values = np.random.default_rng(0).permutation(20.0 + np.arange(100))
    below = [one < copy_cut_off(np.delete(values, i), 0.07) for i, one in enumerate(values)]
    assert np.mean(below) == pytest.approx(0.07)


@pytest.mark.parametrize("null", ["works", "drawings"])
def test_a_model_that_copies_nothing_stays_within_the_rate(null):
    """Generated, training and held-out pictures of one law: 10 % false alarms, 60 worlds of 20 pictures.

    `works` is exact, though pictures of a world share its cut-off; by worlds, the mean of the rate is 0.1 or
    less with a standard error of 0.011, so 0.14 is 3.6 of them.
    """
    rates, blind = [], []
    for seed in range(60):
        works, held_out, generated = (
            uniform(20, 3 * seed, 4),
            uniform(20, 3 * seed + 1, 4),
            uniform(20, 3 * seed + 2, 4),
        )
        found = extraction("a", generated, works, held_out, 0.1, null, tiles=2, neighbours=5)
        rates.append(found.rate.value)
        blind.append(found.rate.baseline)
    assert np.mean(rates) < 0.14
    assert np.mean(blind) < 0.14
    assert np.mean(rates) > 0.03, "and is not kept by finding nothing ever"


@pytest.mark.parametrize("null", ["works", "drawings"])
def test_copies_of_a_model_that_learned_by_heart_are_found_and_named(schedule, null):
    works, held_out = uniform(24, 0), uniform(24, 1)
    model = memoriser(2 * works - 1, schedule())
    generated = drawn_by(model, (3, 8, 8), 40, 2)
    found = extraction("a", generated, works, held_out, 0.05, null, tiles=2)
    assert found.won
    if null == "works":
        assert found.rate.value == 1.0
        assert found.rate.low > found.rate.baseline
        assert found.advantage.details["p_value"] < 1e-6
        true = tiled_distances(generated, works, 1).argmin(1)
        assert set(found.copied) == set(true.tolist())
        assert (found.nearest == true).all()


def test_the_drawings_own_null_finds_a_few_copies_among_many():
    works, held_out = uniform(30, 0), uniform(20, 1)
    generated = torch.cat([planted_copies(works[[4, 27]], 0), uniform(98, 2)])
    found = extraction("a", generated, works, held_out, 0.04, "drawings", tiles=2, neighbours=5)
    assert {4, 27} <= set(found.copied), "one in each of the two blocks"
    assert found.is_copy[:2].all()
    assert found.won


def test_flat_drawings_are_near_to_everything_and_no_copies(schedule):
    """The mean of all works is nearer to each than they are to each other: the relative distance is 1."""
    works, held_out = uniform(30, 0), uniform(30, 1)
    flat = works.mean(0, keepdim=True).repeat(20, 1, 1, 1)
    found = extraction("a", flat, works, held_out, 0.05, tiles=2)
    assert tiled_distances(flat, works, 1).mean() < 0.8 * tiled_distances(held_out, works, 1).mean()
    assert found.rate.value == 0.0


def test_intervals_hold_what_they_say():
    """150 worlds of 30 drawings, each a copy with 30 %: more than 14 misses of 95 % have 0.9 % by chance."""
    rng, works, held_out, missed = np.random.default_rng(0), uniform(40, 0), uniform(40, 1), 0
    copies = planted_copies(works, 1)
    for seed in range(150):
        copied = torch.from_numpy(rng.random(30) < 0.3)
        drawn = torch.where(copied[:, None, None, None], copies[:30], uniform(30, 100 + seed))
        rate = extraction("a", drawn, works, held_out, 0.03, tiles=1).rate
        missed += not rate.low <= 0.3 + 0.7 * rate.baseline <= rate.high
    assert binom.sf(14, 150, 0.05) < 0.01
    assert missed <= 14


def test_one_drawing_is_judged_as_well():
    works, held_out = uniform(20, 0), uniform(20, 1)
    found = extraction("a", works[3:4], works, held_out, 0.05)
    assert found.copied == (3,)
    assert found.rate.low < 0.05, "one picture proves little of a rate"


def test_what_cannot_be_judged_is_refused():
    works, held_out, generated = uniform(20, 0), uniform(20, 1), uniform(5, 2)
    with pytest.raises(AttackError, match="held-out work 2 is training work 0"):
        extraction("a", generated, works, torch.cat([held_out[:2], works]))
    with pytest.raises(AttackError, match="needs 99 pictures"):
        extraction("a", generated, works, held_out, 0.01)
    with pytest.raises(AttackError, match="neighbours"):
        extraction("a", generated, works[:4], held_out)
    with pytest.raises(AttackError, match="neighbours each"):
        extraction("a", uniform(60, 3), uniform(30, 4), held_out, 0.1, "drawings", neighbours=16)
    with pytest.raises(AttackError, match="differ in shape"):
        extraction("a", uniform(5, 2, 16), works, held_out)
    with pytest.raises(AttackError, match="equal tiles"):
        extraction("a", generated, works, held_out, tiles=3)
    with pytest.raises(AttackError, match="null"):
        extraction("a", generated, works, held_out, null="train")
    with pytest.raises(AttackError, match="floating"):
        extraction("a", (255 * generated).byte(), works, held_out)
    for wrong in (generated[0], generated.numpy()):
        with pytest.raises(AttackError, match="tensor \\(n, c, h, w"):
            extraction("a", wrong, works, held_out)
    with pytest.raises(AttackError, match="distances"):
        relative_distances(np.array([[math.nan, 1.0]]), 2)


def test_a_work_that_is_there_twice_is_found_all_the_same():
    works, held_out = uniform(20, 0), uniform(20, 1)
    twice = torch.cat([works, works[3:4]])
    found = extraction("a", planted_copies(works[3:4], 1), twice, held_out, 0.05)
    assert found.copied == (3,)
    assert found.control.value == 1.0


def test_collections_of_constant_pictures_hold_no_copies():
    """Black squares everywhere: nothing is nearer than its fellows, and the cut-off says so."""
    black = torch.zeros(20, 3, 8, 8)
    found = extraction("a", black[:5], black + 0.1, black + 0.2, 0.05)
    assert found.rate.value == 0.0
    assert not found.won, "nor could any copy be seen"
