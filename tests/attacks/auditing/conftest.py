"""A small world: a net that has learnt half of its records by heart, and what it was trained with."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def drawn(n, seed, features=16, classes=3):
    draws = torch.Generator().manual_seed(seed)
    return torch.randn(n, features, generator=draws), torch.randint(0, classes, (n,), generator=draws)


def fit(data, seed, epochs=20, width=48):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(16, width), nn.ReLU(), nn.Linear(width, 3))
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(epochs):
        for x, y in DataLoader(data, 32, shuffle=True):
            optimizer.zero_grad()
            F.cross_entropy(net(x), y).backward()
            optimizer.step()
    return net


@pytest.fixture(scope="session")
def members():
    return drawn(80, 1)


@pytest.fixture(scope="session")
def non_members():
    return drawn(80, 2)


@pytest.fixture(scope="session")
def victim(members):
    with torch.random.fork_rng():
        return fit(TensorDataset(*members), 0)
