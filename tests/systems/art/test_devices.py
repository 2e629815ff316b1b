"""Adapters and drawings on a device."""

import numpy as np
import pytest
import torch

from fedstyle_secure.devices import CPU
from fedstyle_secure.systems.art.adapters import adapted, learned
from fedstyle_secure.systems.art.backbone.folder import backbone
from fedstyle_secure.systems.art.backbone.sampling import Drawing, drawn
from fedstyle_secure.systems.art.drawing import in_manner
from fedstyle_secure.systems.art.settings import ArtSection

HOW = Drawing(steps=4, guidance=2.0)
SETTINGS = ArtSection(adapter_rank=2, adapter_steps=3, adapter_batch=4)


def made(small, device):
    """An adapter's factors, and pictures by it and by the model alone."""
    shared = backbone(str(small)).build().eval()
    pictures = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    shared.to(device)
    adapter = learned(shared, pictures, 1, SETTINGS, seed=2)
    own = in_manner(shared, adapted(shared, adapter), 1, 2, HOW, seed=1)
    return adapter.arrays, own, drawn(shared, [0, 1], HOW, seed=1)


@pytest.mark.long
def test_an_adapter_and_its_drawings_are_the_same_on_a_device(small, pretended):
    factors, own, plain = made(small, CPU)
    with pretended.elsewhere() as away:
        theirs, own_there, plain_there = made(small, pretended.ELSEWHERE)
    assert away.operations > 1000
    assert factors.keys() == theirs.keys()
    # Attention is put together from other operations there.
    for name, array in factors.items():
        assert np.abs(array - theirs[name]).max() <= 1e-6
    assert any(array.any() for name, array in factors.items() if "lora_B" in name)
    assert np.abs(own.astype(int) - own_there).max() <= 1
    assert np.abs(plain.astype(int) - plain_there).max() <= 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no cuda device on this machine")
def test_on_cuda_they_are_nearly_the_same(small):
    factors, own, plain = made(small, CPU)
    theirs, own_there, plain_there = made(small, torch.device("cuda"))
    for name, array in factors.items():
        assert np.abs(array - theirs[name]).max() <= 1e-3
    assert np.abs(own.astype(int) - own_there).mean() < 2
    assert np.abs(plain.astype(int) - plain_there).mean() < 2
