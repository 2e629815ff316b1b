"""Styles: who counts for what, the bound on a picture's row, and when a prototype moves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedstyle_secure.errors import ConfigError
from fedstyle_secure.federation.groups import contributes
from fedstyle_secure.systems.style.prototypes import (
    COUNT_SCALE,
    ROW_NORM,
    Styles,
    picture_rows,
    refresh,
    styles_from_labels,
    styles_from_vocabulary,
    unit,
)


def random_units(n, d, seed):
    return unit(np.random.default_rng(seed).normal(size=(n, d)))


@given(n=st.integers(0, 9), d=st.integers(1, 6), k=st.integers(1, 5), seed=st.integers(0, 99))
def test_rows_sum_to_the_sums_and_counts_of_each_style(n, d, k, seed):
    vectors = random_units(n, d, seed)
    assigned = np.random.default_rng(seed).integers(0, k, n)
    rows = picture_rows(vectors, assigned, k)
    assert rows.shape == (n, k * (d + 1))
    assert np.allclose(np.linalg.norm(rows, axis=1), ROW_NORM)
    blocks = rows.sum(axis=0).reshape(k, d + 1)
    for style in range(k):
        assert np.allclose(blocks[style, :d], vectors[assigned == style].sum(axis=0), atol=1e-6)
        assert blocks[style, d] == pytest.approx(COUNT_SCALE * (assigned == style).sum())


def test_vocabulary_finds_separate_directions():
    centres = np.eye(6)[:3]
    noise = np.random.default_rng(0).normal(scale=0.05, size=(90, 6))
    found = styles_from_vocabulary(unit(centres[np.arange(90) % 3] + noise), 3, seed=0)
    assert (centres @ found.prototypes.T).max(axis=1).min() > 0.99
    assert len(set(found.assign(unit(centres), ()))) == 3
    with pytest.raises(ConfigError, match=r"styles.count = 91 is more than the 90"):
        styles_from_vocabulary(unit(noise), 91, seed=0)


def test_labels_decide_where_styles_are_labels():
    vectors = np.eye(3, dtype=np.float32)
    styles = styles_from_labels(vectors, ("b", "a", "b"))
    assert styles.names == ("a", "b")
    assert styles.assign(vectors, ("b", "b", "a")).tolist() == [1, 1, 0]
    assert styles.assign(vectors, ("a", "c", "")).tolist() == [0, 0, 1], "unknown labels: nearest prototype"
    with pytest.raises(ConfigError, match="labels"):
        styles_from_labels(vectors, ("", "", ""))


def styles_of(prototypes):
    return Styles(tuple("abc"[: len(prototypes)]), unit(prototypes), by_label=False)


def sums_of(artists, k):
    return np.stack([picture_rows(vectors, assigned, k).sum(axis=0) for vectors, assigned in artists])


def test_without_noise_a_prototype_is_the_mean_direction_of_enough_artists():
    shared, lonely = random_units(5, 4, 1), random_units(5, 4, 2)
    before = styles_of(np.eye(4)[:2])
    artists = [(shared, np.zeros(5, int)), (shared[::-1], np.zeros(5, int)), (lonely, np.ones(5, int))]
    sums = sums_of(artists, 2)
    crowd = np.sum([contributes(s, 2, COUNT_SCALE, 0.0, len(sums)) for s in sums], axis=0)
    assert crowd.tolist() == [2, 1]
    after = refresh(before, sums.sum(axis=0), 0.0, crowd >= 2)
    assert np.allclose(after.prototypes[0], unit(shared.sum(axis=0)), atol=1e-6)
    assert np.array_equal(after.prototypes[1], before.prototypes[1]), "one contributor is no crowd"


def test_noise_alone_moves_nothing_far():
    before = styles_of(np.eye(64)[:3])
    noise = np.random.default_rng(3).normal(scale=5.0, size=(8, 3 * 65))
    after = refresh(before, noise.sum(axis=0), 5.0 * np.sqrt(8), np.ones(3, bool))
    # A sum of pure noise keeps little after shrinkage; an unshrunk mean would have cosine near 0.
    assert (after.prototypes * before.prototypes).sum(axis=1).min() > 0.9
