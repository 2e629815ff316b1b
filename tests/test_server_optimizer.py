"""The platform's optimiser against torch's, and what it does with noise that it knows."""

import numpy as np
import pytest
import torch

from fedstyle_secure.server_optimizer import FIRST, SECOND, adam, mean_told
from fedstyle_secure.system import State


def played(ways, rate=0.01, deviation=0.0):
    trained = {"b": np.zeros(3, np.float32), "a": np.zeros((2, 2), np.float32)}
    moments = (np.zeros(7, np.float32), np.zeros(7, np.float32))
    for number, way in enumerate(ways, start=1):
        mean = {"a": way[:4].reshape(2, 2), "b": way[4:]}
        step = adam(trained, moments, mean, deviation, rate, number)
        trained, moments = step.trained, (step.first, step.second)
    return np.concatenate([trained["a"].ravel(), trained["b"]]), step


def test_without_noise_it_is_torchs_adam():
    rng = np.random.default_rng(0)
    # Of equal size, so that no value is lifted to the floor.
    ways = rng.choice([-1.0, 1.0], size=(6, 7)) * rng.uniform(0.8, 1.2, size=(6, 7))
    parameter = torch.nn.Parameter(torch.zeros(7, dtype=torch.float64))
    theirs = torch.optim.Adam([parameter], lr=0.01, betas=(0.9, 0.99), eps=0)
    for way in ways:
        parameter.grad = -torch.from_numpy(way)
        theirs.step()
    ours, step = played(ways)
    assert np.allclose(ours, parameter.detach().numpy(), rtol=1e-4)
    assert step.kept == 1


def test_known_noise_does_not_shorten_steps():
    rng, trained = np.random.default_rng(1), {"a": np.zeros(3000, np.float32)}
    ways = 0.5 + rng.normal(size=(30, 3000))
    ends = []
    for deviation in (0.0, 1.0):
        weights, moments = trained, (np.zeros(3000, np.float32), np.zeros(3000, np.float32))
        for number, way in enumerate(ways, start=1):
            step = adam(weights, moments, {"a": way}, deviation, 0.01, number)
            weights, moments = step.trained, (step.first, step.second)
        ends.append(weights["a"].mean())
    # Signal and noise together have 1.25 times the energy of the noise: sqrt(1.25 / 0.25) as long steps.
    assert ends[1] / ends[0] == pytest.approx(np.sqrt(5), rel=0.15)
    assert step.kept == pytest.approx(0.2, abs=0.1)


@pytest.mark.parametrize("deviation", [0.0, 1.0, 1e6])
def test_no_noise_makes_a_step_infinite(deviation):
    rng = np.random.default_rng(2)
    ours, step = played(rng.normal(size=(3, 7)) * max(deviation, 1), deviation=deviation)
    assert np.isfinite(ours).all()
    # Three steps, each of at most the rate times what lies four deviations out over a quarter of one.
    assert np.abs(ours).max() < 3 * 0.01 * 16
    assert 0 <= step.kept <= 1


def test_noise_alone_moves_nothing():
    """An update that is all noise: in 200 draws no step is taken (false alarm 200 * 0.0013)."""
    rng = np.random.default_rng(3)
    trained = {"a": np.ones(2000, np.float32)}
    none = (np.zeros(2000, np.float32), np.zeros(2000, np.float32))
    moved = [
        not np.array_equal(adam(trained, none, {"a": way}, 1.0, 0.01, 1).trained["a"], trained["a"])
        for way in rng.normal(size=(200, 2000))
    ]
    assert sum(moved) <= 2
    clear = {"a": rng.normal(size=2000) + 1.0}
    step = adam(trained, none, clear, 1.0, 0.01, 1)
    assert step.kept > 0.4
    assert np.abs(step.trained["a"] - 1).max() > 0.001


def test_the_moments_before_and_after_tell_the_mean_update():
    rng = np.random.default_rng(2)
    trained = {"b": np.zeros(3, np.float32), "a": np.zeros((2, 2), np.float32)}
    moments = (rng.normal(size=7).astype(np.float32), np.ones(7, np.float32))
    mean = {"a": rng.normal(size=(2, 2)), "b": rng.normal(size=3)}
    step = adam(trained, moments, mean, 0.0, 0.01, 2)
    before = State(2, {}, trained, dict(zip((FIRST, SECOND), moments, strict=True)), {})
    after = State(3, {}, step.trained, {FIRST: step.first, SECOND: step.second}, {})
    told = mean_told(before, after)
    assert all(np.allclose(told[name], mean[name], atol=1e-5) for name in mean)
    assert mean_told(State(2, {}, trained, {}, {}), after) is None
