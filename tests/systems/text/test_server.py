"""The platform's optimiser against torch's, and what it does with noise that it knows."""

import numpy as np
import pytest
import torch

from fedstyle_secure.systems.text.server import adam


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
    rng = np.random.default_rng(1)
    signal = np.full((200, 7), 0.1)
    noisy = signal + rng.normal(size=signal.shape)
    blind, _ = played(noisy, deviation=0.0)
    told, step = played(noisy, deviation=1.0)
    assert told.mean() > 2 * blind.mean()
    assert step.kept < 0.9


@pytest.mark.parametrize("deviation", [0.0, 1.0, 1e6])
def test_no_noise_makes_a_step_infinite(deviation):
    rng = np.random.default_rng(2)
    ours, step = played(rng.normal(size=(3, 7)) * max(deviation, 1), deviation=deviation)
    assert np.isfinite(ours).all()
    # Bounded by what is left at the floor: a hundredth part of the noise's energy over a tenth of that.
    assert np.abs(ours).max() < 3 * 0.01 * 400
    assert 0 <= step.kept <= 1
