"""A small task whose artists are told apart by some features and not by others."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from fedstyle_secure.systems.style.rivals.budget import Budget
from fedstyle_secure.systems.style.rivals.settings import Conditions
from fedstyle_secure.systems.style.rivals.task import Task


def made(artists: int, seed: int = 0, dim: int = 6) -> Task:
    """Portfolios of 4, 5, 6, ... pictures, in no order of artists; three held-out pictures each."""
    rng = torch.Generator().manual_seed(seed)
    centres = torch.randn(artists, dim, generator=rng)
    owners = torch.repeat_interleave(torch.arange(artists), torch.arange(artists) + 4)
    owners = owners[torch.randperm(len(owners), generator=rng)]
    asked = torch.repeat_interleave(torch.arange(artists), 3)

    def around(whose: torch.Tensor) -> torch.Tensor:
        return F.normalize(centres[whose] + torch.randn(len(whose), dim, generator=rng), dim=1)

    anchors = F.normalize(torch.randn(2, dim, generator=rng), dim=1)
    return Task(around(owners), owners, around(asked), asked.numpy(), anchors, anchors)


@pytest.fixture
def task() -> Task:
    return made(4)


@pytest.fixture
def alone() -> Task:
    return made(1)


@pytest.fixture
def conditions() -> Conditions:
    """Without privacy."""
    return Conditions(Budget(0.0), False, 0, 1.0, 5, 0.1, 4)
