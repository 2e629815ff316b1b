"""Seven kinds of bug, put into our own DP: an auditor or the sensitivity probe finds each of them."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def audit(benchmark_module: Callable[[str], ModuleType]) -> ModuleType:
    """The bugs, from `benchmarks/dp_audit.py`, which tries more seeds and smaller bugs."""
    return benchmark_module("dp_audit")


CAUGHT = {
    "noise off": {"gaussian", "one_run_f_dp"},
    "noise halved": {"gaussian"},
    "clip after averaging": {"gaussian", "probe"},
    # A thousand canaries share what one would have moved, so that no auditor of many sees it.
    "batch clipped as a whole": {"probe"},
    "noise not scaled by the clip norm": {"gaussian"},
    "smaller sampling rate told": {"gaussian"},
    "canaries in every batch": {"gaussian"},
    "contrast within the batch": {"gaussian", "probe"},
    "prototypes released twice": {"gaussian"},
}


def test_no_bug_is_left_out(audit: ModuleType) -> None:
    assert [bug.name for bug in audit.BUGS] == list(CAUGHT)


@pytest.mark.parametrize("name", CAUGHT)
def test_the_bug_is_caught(audit: ModuleType, name: str) -> None:
    """At significance 1e-3; the setting's power is near 1, and the seed is fixed."""
    (bug,) = (bug for bug in audit.BUGS if bug.name == name)
    run = bug.run(0)
    found = audit.found_by(run.bounds(), run.claimed) | ({"probe"} if bug.found_by_probe() else set())
    assert found >= CAUGHT[name]
    if name == "batch clipped as a whole":
        assert found == {"probe"}


@pytest.mark.parametrize(
    "name",
    [
        "noise off",
        "canaries in every batch",
        pytest.param("contrast within the batch", marks=pytest.mark.slow),
        "prototypes released twice",
    ],
)
def test_the_same_code_without_a_bug_is_not(audit: ModuleType, name: str) -> None:
    """Four auditors at 1e-3 each, in every setting that a bug is tried in; the seed is fixed."""
    (bug,) = (bug for bug in audit.BUGS if bug.name == name)
    run = bug.sound(0, bug.m)
    assert not audit.found_by(run.bounds(), run.claimed)


@pytest.mark.long
def test_the_probe_finds_nothing_in_sound_code(audit: ModuleType) -> None:
    for report in (audit.probe_linear(), audit.probe(audit.sound_loss(), audit.UnitLinear())):
        assert report.holds
        assert report.worst > 0.9 * report.bound


@pytest.mark.long
def test_a_broken_run_is_claimed_at_the_price_of_the_sound_one(audit: ModuleType) -> None:
    """The ledger is told nothing of any bug; that is what makes it one."""
    for bug in audit.BUGS:
        with bug.patch():
            assert bug.broken(0, 4).claimed == pytest.approx(bug.sound(0, 4).claimed)


def test_one_run_by_itself_cannot_find_half_the_noise_missing(audit: ModuleType) -> None:
    """Nor all of it, at 1000 canaries, 1e-3 and a claim of 4.4: it tops out at half of that. So the Gaussian
    auditor, which assumes more, is the one to ask."""
    halved, off = (next(bug for bug in audit.BUGS if bug.name == f"noise {how}") for how in ("halved", "off"))
    for bug in (halved, off):
        run = bug.run(0)
        assert run.bounds()["one_run"] < 0.5 * run.claimed
