"""Lanes never carry into each other, the planner's proofs hold, and what is no sum is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fedstyle_secure.errors import SecureSumError
from fedstyle_secure.secure_sum.packing import MAX_BITS, REDUNDANT_BITS, Layout, pack, plan, unpack
from fedstyle_secure.secure_sum.profiles import MOST_ARTISTS, PROFILES, Q60, Q64, Q80


def reference_pack(values: np.ndarray, layout: Layout) -> list[int]:
    """Lane by lane, in Python's integers."""
    slots = [0] * layout.slots
    for index, value in enumerate(values.tolist()):
        lane, slot = divmod(index, layout.used_slots)
        slots[slot] += (value + 2 ** (layout.bits - 1)) * layout.radix**lane
    return slots


def layouts() -> st.SearchStrategy[Layout]:
    """Layouts of every profile, with lengths around the edges of lanes and blocks."""

    def length(layout: Layout) -> st.SearchStrategy[Layout]:
        edge = layout.lanes * layout.profile.degree
        sizes = st.one_of(
            st.integers(1, 40), st.sampled_from([edge - 1, edge, edge + 1, 2 * edge, 4095, 4096, 4097])
        )
        return sizes.map(lambda values: Layout(values, layout.bits, layout.artists, layout.profile))

    shapes = st.builds(
        Layout,
        values=st.just(1),
        bits=st.integers(2, 24),
        artists=st.integers(1, MOST_ARTISTS),
        profile=st.sampled_from(list(PROFILES.values())),
    )
    return shapes.filter(lambda layout: layout.lanes > 0).flatmap(length)


@given(layout=layouts(), seed=st.integers(0, 2**32), artists=st.integers(1, 4))
@settings(deadline=None)
def test_sums_of_slots_unpack_to_sums_of_values(layout: Layout, seed: int, artists: int) -> None:
    """Against a reference in Python's integers, with extremes among the values."""
    artists = min(artists, layout.artists)
    generator = np.random.default_rng(seed)
    half = 2 ** (layout.bits - 1)
    vectors = generator.integers(-half, half, size=(artists, layout.values))
    vectors[generator.random(vectors.shape) < 0.2] = -half
    vectors[generator.random(vectors.shape) < 0.2] = half - 1
    total = np.zeros(layout.slots, dtype=np.int64)
    for vector in vectors:
        slots = pack(vector, layout)
        assert slots.shape == (layout.slots,)
        total = (total + slots) % layout.profile.plain_modulus
    assert slots.tolist() == reference_pack(vectors[-1], layout)
    np.testing.assert_array_equal(unpack(total, layout, artists), vectors.sum(axis=0))


@given(layout=layouts(), top=st.booleans())
@settings(deadline=None)
def test_every_artist_at_an_extreme_fills_the_lanes_and_no_more(layout: Layout, top: bool) -> None:
    half = 2 ** (layout.bits - 1)
    value = half - 1 if top else -half
    slots = pack(np.full(layout.values, value), layout).astype(object) * layout.artists
    assert max(slots) < layout.profile.plain_modulus, "no wrap mod t"
    sums = unpack(slots.astype(np.int64), layout, layout.artists)
    np.testing.assert_array_equal(sums, np.full(layout.values, value * layout.artists))


@given(
    values=st.integers(1, 200_000),
    bits=st.integers(2, MAX_BITS),
    artists=st.integers(1, MOST_ARTISTS),
)
@settings(deadline=None)
def test_plan_takes_the_fewest_bytes_and_leaves_ten_bits_of_every_slot(
    values: int, bits: int, artists: int
) -> None:
    sizes = {}
    for name, profile in PROFILES.items():
        if (artists * (2**bits - 1) + 1) * 2**REDUNDANT_BITS <= profile.plain_modulus:
            sizes[name] = Layout(values, bits, artists, profile).upload_bytes
    assume(sizes)
    chosen = plan(values, bits, artists)
    assert chosen.upload_bytes == min(sizes.values())
    assert chosen.profile.name == min(sizes, key=lambda name: sizes[name]), "the cheapest to add of those"
    fits = chosen.profile.plain_modulus / 2**10
    assert chosen.radix**chosen.lanes <= fits < chosen.radix ** (chosen.lanes + 1)
    assert chosen.lanes * chosen.slots >= values
    assert chosen.profile.budget(artists) >= chosen.profile.budget_floor


def test_known_plans() -> None:
    """64 styles of 64 with their counts, 512 of 256, a million: the figures of the design."""
    for values, blocks in ((4160, 1), (131_584, 17), (65_536, 8), (61_440, 8)):
        layout = plan(values, 10, 1000)
        assert (layout.profile, layout.lanes, layout.blocks) == (Q64, 2, blocks)
    assert plan(65_536, 10, 1000).upload_bytes < 8.001 * 65_536
    assert plan(1_000_000, 10, 1000).upload_bytes < 8.1 * 1_000_000
    assert plan(4096, 20, 1000).profile is Q60
    assert (plan(61_440, 12, 8).profile, plan(61_440, 12, 8).lanes) == (Q80, 3)
    # Two values in a slot also where sixteen artists have 16 bits, or 64 have 14.
    assert plan(8192, 16, 16).lanes == plan(8192, 14, 64).lanes == 2


def test_refusals_say_what_would_fit() -> None:
    most = MOST_ARTISTS
    assert plan(10, 10, most).artists == most
    with pytest.raises(SecureSumError, match=f"between 1 and {most}, not {most + 1}"):
        plan(10, 10, most + 1)
    with pytest.raises(SecureSumError, match="at most 41 bits for 500 artists, or at most 256 artists at 42"):
        plan(10, 42, 500)
    assert plan(10, 41, 500).lanes == plan(10, 42, 256).lanes == 1
    for artists, bits in ((500, 42), (257, 42)):
        with pytest.raises(
            SecureSumError, match=f"{artists} artists at {bits} bits does not fit the 50 bits that a slot"
        ):
            plan(10, bits, artists)
    for wrong in ((0, 10, 10), (1 << 29, 10, 10), (10, 1, 10), (10, 51, 10), (10, 10, 0)):
        with pytest.raises(SecureSumError, match="must be between"):
            plan(*wrong)


@given(
    values=st.integers(1, 30_000),
    bits=st.integers(2, 40),
    artists=st.integers(1, MOST_ARTISTS),
    profile=st.sampled_from(list(PROFILES.values())),
)
@settings(deadline=None)
def test_random_slots_are_caught_but_once_in_2_to_64(values, bits, artists, profile) -> None:
    layout = Layout(values, bits, artists, profile)
    assume(layout.lanes)
    fits = layout.radix**layout.lanes / profile.plain_modulus
    padding = layout.slots - layout.used_slots
    assert -layout.used_slots * math.log2(fits) + padding * math.log2(profile.plain_modulus) >= 64


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_what_is_no_sum_is_refused(profile) -> None:
    layout = Layout(values=4001, bits=10, artists=1000, profile=profile)
    generator = np.random.default_rng(4)
    uniform = generator.integers(0, profile.plain_modulus, size=layout.slots)
    with pytest.raises(SecureSumError, match="not a sum of 1000 packed vectors"):
        unpack(uniform, layout, 1000)

    two = 2 * pack(np.full(layout.values, 511), layout)
    assert unpack(two, layout, 2)[0] == 1022
    with pytest.raises(SecureSumError, match="not a sum of 1 packed"):
        unpack(two, layout, 1)
    above = layout.radix**layout.lanes
    for slot, excess in (
        (0, 1),
        (0, above - two[0]),
        (layout.used_slots - 1, above // layout.radix),
        (-1, 1),
    ):
        wrong = two.copy()
        wrong[slot] += excess
        with pytest.raises(SecureSumError, match="not a sum of 2 packed"):
            unpack(wrong, layout, 2)


def test_more_artists_than_planned_are_refused_before_anything_is_unpacked() -> None:
    layout = plan(100, 10, 20)
    zeros = np.zeros(layout.slots, dtype=np.int64)
    for artists in (0, 21):
        with pytest.raises(SecureSumError, match=f"has 1 to 20 artists, not {artists}"):
            unpack(zeros, layout, artists)


@pytest.mark.parametrize(
    "values",
    [
        np.array([0, 512]),
        np.array([-513, 0]),
        np.array([0.0, 1.0]),
        np.array([0]),
        np.array([[0, 1]]),
        np.array([2**63, 0], dtype=np.uint64),
        np.array([True, False]),
    ],
)
def test_vectors_that_do_not_fit_are_refused(values: np.ndarray) -> None:
    with pytest.raises(SecureSumError, match="values to pack must"):
        pack(values, plan(2, 10, 5))


def test_slots_that_are_none_are_refused() -> None:
    layout = plan(2, 10, 5)
    zeros = np.zeros(layout.slots, dtype=np.int64)
    for slots in (zeros[1:], zeros.astype(np.float64), zeros - 1, zeros + layout.profile.plain_modulus):
        with pytest.raises(SecureSumError, match="slots must"):
            unpack(slots, layout, 1)
    assert unpack(pack(np.array([-512, 511]), layout), layout, 1).tolist() == [-512, 511]
