"""The setting of a device: the same code there and on the CPU, and no release computed there."""

import numpy as np
import pytest
import torch
from torch import nn

from fedstyle_secure.devices import CPU, device_named, device_of, placed
from fedstyle_secure.errors import ConfigError


def test_a_device_that_is_not_there_is_refused_with_those_that_are(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    with pytest.raises(ConfigError, match=r"'cuda': torch finds none on this machine; valid: auto, mps, cpu"):
        device_named("cuda")
    with pytest.raises(ConfigError, match="'gpu'"):
        device_named("gpu")
    assert device_named("auto") == torch.device("mps")
    assert device_named("cpu") == CPU


def test_the_device_of_these_tests_refuses_what_a_real_one_refuses(pretended):
    layer = nn.Linear(3, 2)
    with pretended.elsewhere() as away:
        with placed(layer, pretended.ELSEWHERE):
            assert device_of(layer) == pretended.ELSEWHERE
            with pytest.raises(RuntimeError, match="two devices"):
                layer(torch.zeros(1, 3))
            with pytest.raises((RuntimeError, TypeError)):
                layer.weight.detach().numpy()
            layer(torch.zeros(1, 3).to(pretended.ELSEWHERE)).sum().backward()
        assert away.operations > 0
    assert device_of(layer) == CPU
    assert np.asarray(layer.weight.detach().numpy()).shape == (2, 3)
