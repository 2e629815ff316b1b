"""Losses: closed-form values, and what each may depend on."""

import math

import pytest
import torch
from torch.nn import functional as F

from fedstyle_secure.systems.style.losses import InBatchContrast, PrototypeContrast

AXES = torch.eye(4)


def test_prototype_contrast_has_its_closed_form():
    loss = PrototypeContrast(lambda: AXES, temperature=0.5, alignment=2.0)
    targets = torch.tensor([[0, -1], [1, -1]])
    ours = loss(AXES[:2], targets)
    assert torch.allclose(ours, torch.full((2,), math.log(1 + 3 * math.exp(-2))))
    far = loss(-AXES[:1], targets[:1])
    assert far.item() == pytest.approx(math.log(1 + 3 * math.exp(2)) + 4.0)


def test_a_spared_anchor_is_no_negative():
    loss = PrototypeContrast(lambda: AXES, temperature=0.5, alignment=0.0)
    spared = loss(AXES[:1], torch.tensor([[0, 3]]))
    assert spared.item() == pytest.approx(math.log(1 + 2 * math.exp(-2)))


def test_no_gradient_reaches_the_anchors():
    anchors = AXES.clone().requires_grad_(True)
    embedding = F.normalize(torch.randn(1, 4), dim=1).requires_grad_(True)
    PrototypeContrast(lambda: anchors, 0.1, 1.0)(embedding, torch.tensor([[0, -1]])).sum().backward()
    assert anchors.grad is None
    assert embedding.grad is not None


def test_in_batch_contrast_has_its_closed_form():
    embeddings = torch.stack([AXES[0], AXES[0], AXES[1], AXES[1], AXES[2]])
    losses = InBatchContrast(0.5)(embeddings, torch.tensor([0, 0, 1, 1, 2]))
    assert torch.allclose(losses[:4], torch.full((4,), math.log(math.exp(2) + 3) - 2))
    assert losses[4] == 0
