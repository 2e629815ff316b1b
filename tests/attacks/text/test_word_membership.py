"""Membership of word crops: LiRA over heads that read fixed features, trained in one stack under our CTC."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from attacks.errors import AttackError
from attacks.membership.lira import lira
from attacks.membership.scores import References, evaluate_membership
from attacks.membership.shadows import (
    Recipe,
    balanced_sets,
    order_of,
    stacked_losses,
    train_shadows,
    train_stacked,
)
from attacks.membership.threshold import likelihood_score, logit_score, loss_score
from attacks.roc import auc
from attacks.text.ctc import ctc_loss

N, FRAMES, WIDTH, LETTERS = 60, 10, 16, 6
RECIPE = Recipe("reader", set_size=30, epochs=8, batch_size=10, learning_rate=0.2, momentum=0.5)


def reader(seed):
    head = nn.Linear(WIDTH, LETTERS + 1)
    draws = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in head.parameters():
            tensor.copy_(0.1 * torch.randn(tensor.shape, generator=draws))
    return head


@pytest.fixture(scope="module")
def crops():
    """Letters in noise: a head learns to read them, and knows those by heart that it was taught on."""
    draws = torch.Generator().manual_seed(0)
    letters = torch.randint(1, LETTERS + 1, (N, 4), generator=draws)
    shapes = torch.randn(LETTERS + 1, WIDTH, generator=draws)
    seen = F.pad(letters.repeat_interleave(2, dim=1), (1, 1))
    features = shapes[seen] + 1.5 * torch.randn(N, FRAMES, WIDTH, generator=draws)
    return features, torch.cat([torch.full((N, 1), 4), letters], dim=1)


@pytest.fixture(scope="module")
def references(crops, tmp_path_factory):
    sets = balanced_sets(N, 24, 30, np.random.default_rng(0))
    state = train_shadows(reader, ctc_loss, *crops, sets, RECIPE, tmp_path_factory.mktemp("shadows"))
    return References(likelihood_score(stacked_losses(reader(0), state, *crops, ctc_loss)), sets)


def victim_losses(crops, members):
    one = replace(RECIPE, seed=10_000)
    state = train_stacked([reader(99)], ctc_loss, *crops, [order_of(members, one, 0)], one)
    return stacked_losses(reader(0), state, *crops, ctc_loss)[:, 0]


def test_the_stack_is_torchs_loss_and_optimiser_in_a_plain_loop(crops):
    features, words = crops
    members = np.arange(N) < 30
    order = order_of(members, RECIPE, 0)
    state = train_stacked([reader(0), reader(1)], ctc_loss, features, words, [order, order], RECIPE)
    for k in range(2):
        head = reader(k)
        optimiser = torch.optim.SGD(head.parameters(), lr=0.2, momentum=0.5)
        for batch in order:
            optimiser.zero_grad()
            frames, lengths = torch.full((len(batch),), FRAMES), words[batch, 0]
            read = head(features[batch]).log_softmax(dim=2).transpose(0, 1)
            F.ctc_loss(read, words[batch, 1:], frames, lengths, reduction="none").mean().backward()
            optimiser.step()
        assert torch.allclose(state["weight"][k], head.weight, atol=1e-3)


def test_members_are_found(crops, references):
    """Half of 60 crops, an own draw: at chance the AUC has a deviation of 0.075."""
    members = np.zeros(N, bool)
    members[np.random.default_rng(5).permutation(N)[:30]] = True
    losses = victim_losses(crops, members)
    scores = lira(likelihood_score(losses), references, "online")
    found, *_ = evaluate_membership(scores, members, rates=())
    assert found.value > 0.85
    assert found.value >= auc(loss_score(losses)[members], loss_score(losses)[~members])


def test_nobody_is_found_in_a_head_that_saw_none_of_them(crops, references):
    """Any split of crops that none of which trained: within four deviations, 6e-5."""
    draws = torch.Generator().manual_seed(9)
    other = crops[0] + 3 * torch.randn(crops[0].shape, generator=draws)
    losses = stacked_losses(
        reader(0),
        train_stacked(
            [reader(99)], ctc_loss, other, crops[1], [order_of(np.arange(N) < 30, RECIPE, 0)], RECIPE
        ),
        *crops,
        ctc_loss,
    )[:, 0]
    members = np.zeros(N, bool)
    members[np.random.default_rng(6).permutation(N)[:30]] = True
    scores = lira(likelihood_score(losses), references, "online").values
    assert abs(auc(scores[members], scores[~members]) - 0.5) < 4 * 0.075


def test_the_score_of_a_likelihood_is_that_of_its_logits():
    logits = np.random.default_rng(0).normal(size=(20, 5)) * 4
    labels = np.arange(20) % 5
    losses = -np.log(np.exp(logits[np.arange(20), labels]) / np.exp(logits).sum(1))
    assert np.allclose(likelihood_score(losses), logit_score(logits, labels))
    assert np.isfinite(likelihood_score(np.array([0.0, 1e4]))).all()
    with pytest.raises(AttackError, match=">= 0"):
        likelihood_score(np.array([-0.1]))
