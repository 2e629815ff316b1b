"""Identification, advantage and levels: ties never win, and no level leaks without beating its prior."""

import numpy as np
import pytest
import torch

from attacks.errors import AttackError
from attacks.identification import (
    Level,
    Trials,
    advantage,
    identification_rate,
    leak_levels,
    near_copy,
    rank_by_distance,
    rank_of_target,
)
from attacks.metrics import mean_square


def test_ranks_count_ties_against_the_attack():
    scores = torch.tensor([0.1, 0.9, 0.9, 0.5])
    assert [rank_of_target(scores, k) for k in range(4)] == [4, 2, 2, 3]
    assert rank_of_target(torch.zeros(100), 7) == 100


def test_the_nearest_candidate_is_found_and_a_double_is_refused(smooth_pictures):
    candidates = smooth_pictures(100)
    noisy = candidates[42] + 0.1 * torch.randn(
        candidates[0].shape, generator=torch.Generator().manual_seed(0)
    )
    assert rank_by_distance(noisy.clamp(0, 1), candidates, 42, mean_square) == 1
    assert rank_by_distance(torch.full_like(noisy, 0.5), candidates, 42, mean_square) > 1
    candidates[7] = candidates[42]
    with pytest.raises(AttackError, match="candidate 42 is in the list 2 times"):
        rank_by_distance(noisy.clamp(0, 1), candidates, 42, mean_square)


def test_guessing_identifies_at_chance():
    """1000 targets among 20 with random scores: hits are Binomial(1000, 1/20); 1e-4 false alarms a side."""
    draws = torch.Generator().manual_seed(0)
    ranks = np.array([rank_of_target(torch.rand(20, generator=draws), 3) for _ in range(1000)])
    assert 26 <= (ranks == 1).sum() <= 78
    result = identification_rate("guess", ranks, 20)
    assert result.low < 1 / 20 < result.high
    assert result.baseline == 1 / 20
    assert result.details["median rank"] == pytest.approx(10.5, abs=1)


def test_the_advantage_is_paired():
    ranks, prior = np.array([1] * 18 + [5, 9]), np.array([1] + [7] * 19)
    found = advantage("x", ranks, prior)
    assert found.value == pytest.approx(0.85)
    assert found.low > 0
    assert found.details["p_value"] == pytest.approx(0.5**17)
    none = advantage("x", ranks, ranks)
    assert none.low < 0 < none.high


def test_a_level_leaks_only_beyond_chance_and_beyond_the_prior():
    wins, none = np.ones(20, bool), np.zeros(20, bool)
    found = leak_levels(
        {
            Level.WORK: Trials("a", wins, none, 0.01),
            # The public set alone explains it.
            Level.STYLE: Trials("b", wins, wins, 0.1),
            # Guessing explains it.
            Level.ARTIST: Trials("c", np.arange(20) < 10, none, 0.5),
            Level.COPY: Trials("d", none, none, 0.0),
            # Significant against the prior, and not above a chance of one half.
            Level.MEMBERSHIP: Trials("e", np.arange(20) < 12, none, 0.5),
        }
    )
    assert [finding.level for finding in found] == list(Level)
    assert {finding.level.name: finding.verdict for finding in found} == {
        "PARTICIPATION": "not run",
        "MEMBERSHIP": "not broken by this attack",
        "ARTIST": "not broken by this attack",
        "STYLE": "not broken by this attack",
        "WORK": "leaks",
        "COPY": "not broken by this attack",
    }
    assert found[Level.WORK].rate.value == 1
    assert found[Level.WORK].advantage.low > 0


def test_a_copy_is_near_and_nearer_than_any_other_picture(smooth_pictures):
    truths, others = smooth_pictures(3), smooth_pictures(20, seed=1)
    draws = torch.Generator().manual_seed(0)
    pictures = torch.stack(
        [
            (truths[0] + 0.02 * torch.randn(truths[0].shape, generator=draws)).clamp(0, 1),
            (truths[1] + 0.3 * torch.randn(truths[0].shape, generator=draws)).clamp(0, 1),
            truths[2],
        ]
    )
    assert near_copy(pictures, truths, others).tolist() == [True, False, True]
    almost = (truths[2] + 0.001).clamp(0, 1)[None]
    assert near_copy(pictures, truths, torch.cat([others, almost])).tolist() == [True, False, True]
    close = (pictures[0] + 0.01).clamp(0, 1)[None]
    assert near_copy(pictures, truths, torch.cat([others, close])).tolist() == [False, False, True]


def test_bad_numbers_are_refused():
    with pytest.raises(AttackError, match="from 1"):
        identification_rate("x", np.array([0, 1]), 10)
    with pytest.raises(AttackError, match="from 1"):
        identification_rate("x", np.array([1, 11]), 10)
    with pytest.raises(AttackError, match="not finite"):
        rank_of_target(torch.tensor([float("nan"), 1.0]), 1)
    with pytest.raises(AttackError, match="target must be a whole number from 0"):
        rank_of_target(torch.zeros(3), 3)


def verdict(level, wins, prior, chance):
    trials = Trials("x", np.array(wins, bool), np.array(prior, bool), chance)
    return leak_levels({level: trials})[level]


def test_five_of_five_decide_and_four_of_four_cannot():
    """0.5^5 is below 0.05 and 0.5^4 is not, whatever an interval of the difference says."""
    assert verdict(Level.WORK, [1] * 5, [0] * 5, 0.01).verdict == "leaks"
    assert verdict(Level.WORK, [1] * 4, [0] * 4, 0.01).verdict == "inconclusive: too few targets"
    assert verdict(Level.WORK, [0] * 4, [0] * 4, 0.01).verdict == "inconclusive: too few targets"
    assert verdict(Level.WORK, [0] * 5, [0] * 5, 0.01).verdict == "not broken by this attack"
    # Five wins of five have an interval from 0.48: not above a chance of one half.
    assert verdict(Level.ARTIST, [1] * 5, [0] * 5, 0.5).verdict == "inconclusive: too few targets"
    assert verdict(Level.ARTIST, [1] * 6, [0] * 6, 0.5).verdict == "leaks"


def test_one_near_copy_is_a_leak_of_one_work_and_is_listed():
    found = verdict(Level.COPY, [0, 0, 1, 1], [0, 0, 0, 1], 0.0)
    assert (found.verdict, found.works) == ("leaks", (2,))
    assert verdict(Level.COPY, [0, 0, 0, 1], [0, 0, 0, 1], 0.0).verdict == "inconclusive: too few targets"
    assert verdict(Level.WORK, [0, 0, 1, 1], [0, 0, 0, 1], 0.0).works == (2,)


def test_ranks_that_are_no_whole_numbers_are_refused(smooth_pictures):
    for ranks in (np.array([np.nan, 1, 1]), np.array([1.5]), np.array([1.0])):
        with pytest.raises(AttackError, match="whole numbers"):
            identification_rate("x", ranks, 10)
        with pytest.raises(AttackError, match="whole numbers"):
            advantage("x", np.ones(len(ranks), int), ranks)
    truths = smooth_pictures(2)
    with pytest.raises(AttackError, match="truth 1 is among the others, number 0"):
        near_copy(truths, truths, truths[[1]])
