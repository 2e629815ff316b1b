"""How rates fall: by the share of steps or of seconds that is spent, whichever is more."""

import itertools
import math

import pytest
import torch

from attacks.inversion import restarts
from attacks.inversion.restarts import Descent
from attacks.results import Budget


def moves(monkeypatch, how, budget, seconds_a_step):
    """How far each step went down a slope, where an evaluation takes so many seconds."""
    now, seen = [0.0], []
    monkeypatch.setattr(restarts.time, "thread_time", lambda: now[0])

    def slope(points):
        now[0] += seconds_a_step
        seen.append(float(points.detach()[0, 0]))
        return points.sum(dim=1)

    found = how.minimise(slope, torch.zeros(1, 1), budget)
    return [before - after for before, after in itertools.pairwise(seen)], found


@pytest.mark.parametrize("method", ["adam", "signed-adam"])
def test_rates_have_fallen_when_the_time_is_up(monkeypatch, method):
    """A million steps are allowed and ten seconds there, so the wave is one of seconds."""
    how = Descent(method, rate=0.1)
    went, found = moves(monkeypatch, how, Budget(10**6, seconds=10.0), 0.5)
    assert found.steps == 20
    wanted = [0.1 * math.cos(math.pi / 2 * 0.5 * (step + 1) / 10) for step in range(20)]
    assert went == pytest.approx(wanted, abs=1e-5)


def test_rates_fall_with_the_steps_where_these_are_spent_first(monkeypatch):
    how = Descent("signed-adam", rate=0.1, schedule="steps")
    went, found = moves(monkeypatch, how, Budget(16, seconds=1000.0), 0.5)
    assert found.steps == 16
    wanted = [0.1] * 6 + [0.01] * 4 + [0.001] * 4 + [0.0001] * 2
    assert went == pytest.approx(wanted, abs=1e-6)


def test_without_a_limit_of_seconds_the_clock_counts_for_nothing(monkeypatch):
    went, _ = moves(monkeypatch, Descent("adam", rate=0.1), Budget(10), 1e6)
    assert went == pytest.approx([0.1 * math.cos(math.pi / 2 * step / 10) for step in range(10)], abs=1e-6)
