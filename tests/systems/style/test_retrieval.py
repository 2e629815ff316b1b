"""Retrieval: known rankings and figures, and no credit for ties."""

import numpy as np
import pytest

from fedstyle_secure.systems.style.retrieval import rank_artists, utility

CARDS = np.eye(3, dtype=np.float32)


def test_ranks_by_cosine_and_breaks_ties_by_name():
    found = rank_artists(np.array([0.6, 0.0, 0.8]), ("c", "b", "a"), CARDS, top=3)
    assert [(m.rank, m.artist) for m in found] == [(1, "a"), (2, "c"), (3, "b")]
    assert found[0].score == pytest.approx(0.8)
    tied = rank_artists(np.array([0.5, 0.5, 0.5]), ("c", "b", "a"), CARDS, top=2)
    assert [m.artist for m in tied] == ["a", "b"]


def test_known_figures():
    queries = np.array([[1, 0, 0], [0.6, 0.8, 0], [0, 0.6, 0.8]])
    found = utility(queries, np.array([0, 0, 2]), CARDS)
    assert found.artist_top1 == pytest.approx(2 / 3)
    assert found.artist_map == pytest.approx((1 + 1 / 2 + 1) / 3)
    assert found.artist_macro_f1 == pytest.approx((2 / 3 + 0 + 1) / 3)
    assert found.queries == 3


def test_a_model_that_says_the_same_of_everything_gets_no_credit():
    found = utility(np.zeros((4, 3)), np.array([0, 1, 2, 0]), CARDS)
    assert found.artist_top1 == 0
    assert found.artist_map == pytest.approx(1 / 3)
