"""The probe: it passes what is bounded, catches what is not, and knows nothing of fedstyle_secure."""

import subprocess
import sys

import numpy as np
import pytest

from attacks.sensitivity import probe_sensitivity


def clipped(batch):
    flat = batch.reshape(len(batch), -1)
    return (flat / np.maximum(1, np.linalg.norm(flat, axis=1, keepdims=True))).sum(0)


def pool(n=40, d=6):
    return np.random.default_rng(0).normal(size=(n, d))


@pytest.mark.parametrize(("adjacency", "bound"), [("add-remove", 1.0), ("replace", 2.0)])
def test_a_clipped_sum_keeps_its_bound_and_reaches_it(adjacency, bound):
    report = probe_sensitivity(clipped, pool(), bound, adjacency, np.random.default_rng(1))
    assert report.holds
    assert report.worst == pytest.approx(bound, rel=0.2)
    assert (report.trials, report.bound, report.adjacency) == (300, bound, adjacency)


BROKEN = {
    "not clipped": lambda batch: batch.sum(0),
    "clipped after the sum of pairs": lambda batch: clipped(batch) * len(batch) / 4,
    "centred on the batch": lambda batch: clipped(batch - batch.mean(0)),
    "divided by the batch's size": lambda batch: 8 * clipped(batch) / len(batch) ** 0.5,
    "not finite": lambda batch: np.where(np.abs(batch).max() > 5, np.nan, clipped(batch)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_planted_bugs_are_caught(name):
    report = probe_sensitivity(BROKEN[name], pool(), 1.0, "add-remove", np.random.default_rng(1))
    assert not report.holds


def test_a_bound_that_is_half_too_small_is_caught():
    assert not probe_sensitivity(clipped, pool(), 0.5, "add-remove", np.random.default_rng(1)).holds


def test_the_same_seed_gives_the_same_report():
    a, b = (probe_sensitivity(clipped, pool(), 1.0, "replace", np.random.default_rng(3)) for _ in range(2))
    assert a == b


@pytest.mark.parametrize(
    ("change", "text"),
    [({"pool": pool(8)}, "too small"), ({"adjacency": "addremove"}, "add-remove"), ({"trials": 0}, "trials")],
)
def test_what_would_prove_nothing_is_refused(change, text):
    settings = {"pool": pool(), "bound": 1.0, "adjacency": "replace", "rng": np.random.default_rng(0)}
    with pytest.raises(ValueError, match=text):
        probe_sensitivity(clipped, **(settings | change))


def test_attacks_stands_apart():
    code = "import attacks.sensitivity, sys; print([m for m in sys.modules if m.startswith('fedstyle')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
