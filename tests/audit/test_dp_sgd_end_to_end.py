"""Our DP-SGD with Dirac canaries, all rounds seen: bounds below the ledger's epsilon, and near."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtr, ndtri
from scipy.stats import binom

from attacks.tradeoff import gaussian_epsilon_of

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def audit(benchmark_module: Callable[[str], ModuleType]) -> ModuleType:
    """Runs and auditors, from `benchmarks/dp_audit.py`, which has more canaries and settings."""
    return benchmark_module("dp_audit")


@pytest.fixture(scope="module")
def full(audit: ModuleType) -> list[Any]:
    """20 runs of full batches, 1000 canaries."""
    return [audit.FULL(seed, 1000) for seed in range(20)]


def none_above(audit: ModuleType, run: Any) -> bool:
    """By any of five auditors at 1e-3: over 20 seeds a true claim fails with probability 0.1 at most, and the
    seeds are fixed."""
    return (
        not audit.found_by(run.bounds(), run.claimed) and run.one_run_at_a_tenth(audit.STRICT) <= run.claimed
    )


def test_no_bound_lies_above_the_ledgers_epsilon(audit: ModuleType, full: list[Any]) -> None:
    assert all(none_above(audit, run) for run in full)


def test_nor_with_poisson_sampling(audit: ModuleType) -> None:
    assert all(none_above(audit, audit.SUBSAMPLED(seed, 1000)) for seed in range(20))


def test_full_batches_are_bounded_from_near_below(audit: ModuleType, full: list[Any]) -> None:
    """Means over 20 seeds; the standard error of either is below 0.02 of the claim."""
    claimed = full[0].claimed
    bounds = [run.bounds(audit.USUAL) for run in full]
    assert np.mean([each["gaussian"] for each in bounds]) >= 0.7 * claimed
    assert np.mean([each["one_run"] for each in bounds]) >= 0.25 * claimed


def test_so_they_are_at_1e_3(audit: ModuleType) -> None:
    """2000 canaries. One run at 1e-3 cannot pay for 25 thresholds, so its number of guesses is fixed."""
    runs = [audit.FULL(seed, 2000) for seed in range(6)]
    claimed = runs[0].claimed
    assert np.mean([run.bounds()["gaussian"] for run in runs]) >= 0.7 * claimed
    assert np.mean([run.one_run_at_a_tenth(audit.STRICT) for run in runs]) >= 0.25 * claimed


def test_the_ledger_claims_what_full_batches_cost_and_no_less(audit: ModuleType) -> None:
    """4 rounds at twice the clip norm are one Gaussian mechanism of mu = 1."""
    exact = gaussian_epsilon_of(1.0, audit.DELTA)
    assert exact <= audit.FULL(0, 10).claimed <= 1.01 * exact


def test_a_longer_canary_weighs_no_more_than_the_clip_norm(audit: ModuleType) -> None:
    """Without noise the scores are the coins and the honest gradients, whose deviation is 0.13 or less."""
    with audit.noise_times(0.0):
        run = audit.FULL(3, 1000)
    assert abs(run.scores[run.inside] - 1).max() < 0.7
    assert abs(run.scores[~run.inside]).max() < 0.7


def test_the_gaussian_bound_is_a_bound_for_sampled_batches_too(audit: ModuleType) -> None:
    """A sampled Gaussian is no Gaussian. Wherever canaries by the million could look, the exact curve of the
    scores is one of a Gaussian mechanism below the ledger's epsilon."""
    steps = audit.SAMPLED.steps * audit.ROUNDS
    drawn = np.arange(steps + 1)
    shift = drawn / (audit.SAMPLED.noise_multiplier * np.sqrt(steps))
    claimed = audit.SUBSAMPLED(0, 10).claimed
    for fpr in (1e-6, 1e-4, 1e-3, 0.01, 0.1, 0.5, 0.9, 0.999, 1 - 1e-6):
        tpr = binom.pmf(drawn, steps, audit.SAMPLED.sampling_rate) @ ndtr(ndtri(fpr) + shift)
        assert gaussian_epsilon_of(ndtri(tpr) - ndtri(fpr), audit.DELTA) < 0.9 * claimed
