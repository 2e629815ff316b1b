"""Mechanisms: they bound what they say they bound, and add the noise that they account for."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fedstyle_secure.errors import PrivacyError
from fedstyle_secure.privacy.distributed import DistributedSum
from fedstyle_secure.privacy.events import DiscreteLaplace, SampledGaussian
from fedstyle_secure.privacy.mechanisms import ArtistSum, DpSgd, GaussianSum, NoisyCounts

rows = arrays(np.float64, (6, 4), elements=st.floats(-1e6, 1e6))


@given(rows=rows, clip=st.floats(1e-3, 1e3))
def test_one_row_moves_a_sum_by_at_most_the_sensitivity(rows, clip):
    mechanism = GaussianSum(clip, 1.0)
    removed = np.linalg.norm(mechanism.exact(rows) - mechanism.exact(rows[1:]))
    replaced = np.linalg.norm(mechanism.exact(rows) - mechanism.exact(np.concatenate([-rows[:1], rows[1:]])))
    assert removed <= mechanism.sensitivity("add-remove") * (1 + 1e-9)
    assert replaced <= mechanism.sensitivity("replace") * (1 + 1e-9)


def test_a_row_that_is_not_finite_counts_as_zero():
    mechanism = GaussianSum(1.0, 0.0)
    good = np.array([[0.6, 0.0], [0.0, 0.8]])
    bad = np.array([[np.nan, 0.1], [np.inf, 0.0]])
    assert np.allclose(mechanism.exact(np.concatenate([good, bad])), mechanism.exact(good))


@pytest.mark.parametrize("shape", [(4,), (2, 3, 4), ()])
def test_a_sum_takes_one_row_a_picture(shape):
    with pytest.raises(PrivacyError, match="one row a picture"):
        GaussianSum(1.0, 1.0).exact(np.zeros(shape))


def test_the_noise_has_the_stated_deviation():
    rng = np.random.default_rng(0)
    mechanism = GaussianSum(2.0, 1.5)
    noise = mechanism.apply(np.zeros((3, 100_000)), rng.bytes)
    # The deviation of 1e5 samples has relative deviation 0.0022; 2 % alarms falsely below 1e-18.
    assert abs(noise.std() / 3.0 - 1) < 0.02
    assert mechanism.deviation == 3.0
    assert DpSgd(2.0, 1.5, 0.1, 5, 8.0).deviation == 3.0
    assert GaussianSum(math.inf, 0.0).deviation == DpSgd(math.inf, 0.0, 1.0, 1, 8.0).deviation == 0.0


def test_events_are_what_was_done():
    assert GaussianSum(1.0, 2.0).event("artwork") == SampledGaussian(2.0, 1.0, 1)
    assert DpSgd(1.0, 2.0, 0.1, 5, 8.0).event("artwork") == SampledGaussian(2.0, 0.1, 5)
    assert NoisyCounts(0.5, 2).event("artwork") == DiscreteLaplace(0.5, 2)


def test_what_is_not_summed_over_artists_gives_no_artist_a_guarantee():
    for mechanism in (GaussianSum(1.0, 2.0), DpSgd(1.0, 2.0, 0.1, 5, 8.0), NoisyCounts(0.5, 2)):
        assert mechanism.event("artist") is None


def test_an_artwork_that_changes_a_summed_vector_is_two_hops():
    noise = DistributedSum(8, 1.0, 1024.0, 1.0, 5, "gaussian", "00" * 16)
    mechanism = ArtistSum(noise, 10, 6, sealed=True)
    orders = [2.0, 8.0]
    artist, artwork = mechanism.event("artist"), mechanism.event("artwork")
    assert artist.rdp(orders) == pytest.approx(noise.rdp(orders, "add-remove"))
    assert artwork.rdp(orders) == pytest.approx(noise.rdp(orders, "replace"))
    assert (artwork.rdp(orders) > 3.9 * artist.rdp(orders)).all()


@given(st.lists(st.booleans(), max_size=20), st.integers(0, 19))
def test_a_picture_moves_each_count_by_at_most_one(found, which):
    mechanism = NoisyCounts(math.inf, 2)
    flags = np.array([[True, f] for f in found], dtype=np.bool_).reshape(-1, 2)
    without = np.delete(flags, which % max(1, len(flags)), axis=0) if len(flags) else flags
    moved = np.abs(mechanism.apply(flags) - mechanism.apply(without))
    assert moved.max(initial=0) <= 1
    assert np.linalg.norm(moved) <= mechanism.sensitivity("add-remove")


def test_counts_take_flags_only():
    with pytest.raises(PrivacyError, match="bool rows of 2 flags"):
        NoisyCounts(1.0, 2).apply(np.full((3, 2), 7))


@pytest.mark.parametrize(
    "make",
    [
        lambda: GaussianSum(0.0, 1.0),
        lambda: GaussianSum(math.inf, 1.0),
        lambda: GaussianSum(1.0, -1.0),
        lambda: GaussianSum(1.0, math.nan),
        lambda: DpSgd(1.0, 1.0, 0.0, 1, 1.0),
        lambda: DpSgd(1.0, 1.0, 1.1, 1, 1.0),
        lambda: DpSgd(1.0, 1.0, 0.5, 0, 1.0),
        lambda: DpSgd(1.0, 1.0, 0.5, 1, 0.0),
        lambda: DpSgd(math.inf, 1.0, 0.5, 1, 1.0),
        lambda: NoisyCounts(0.0, 2),
        lambda: NoisyCounts(1.0, 0),
        lambda: ArtistSum(DistributedSum(8, 1.0, 1024.0, 1.0, 5, "gaussian", "00" * 16), 10, 4, True),
        lambda: ArtistSum(DistributedSum(8, 1.0, 1024.0, 1.0, 5, "gaussian", "00" * 16), 5, 6, True),
    ],
)
def test_a_mechanism_without_a_guarantee_cannot_be_made(make):
    with pytest.raises(PrivacyError):
        make()


def test_a_share_that_is_seen_by_itself_gives_nobody_a_guarantee():
    noise = DistributedSum(8, 1.0, 1024.0, 1.0, 5, "gaussian", "00" * 16)
    seen = ArtistSum(noise, 10, 6, sealed=False)
    assert seen.event("artist") is seen.event("artwork") is None
