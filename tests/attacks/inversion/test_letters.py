"""Letters that a bias gradient shows: those named are there, noise is told apart, silence earns nothing."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from attacks.errors import AttackError
from attacks.inversion.letters import (
    letter_agreement,
    letters_most_shown,
    letters_of,
    letters_shown,
    set_scores,
)
from attacks.text.ctc import ctc_loss

LETTERS, FRAMES, WIDTH = 36, 32, 12


def words_of(count, draws, longest=8):
    lengths = torch.randint(3, longest + 1, (count, 1), generator=draws)
    letters = torch.randint(1, LETTERS + 1, (count, longest), generator=draws)
    return torch.cat([lengths, torch.where(torch.arange(longest) < lengths, letters, 0)], dim=1)


def bias_gradients(words, scale, draws, batch=1):
    """Of a head on random features, one gradient a batch."""
    head = nn.Linear(WIDTH, LETTERS + 1)
    with torch.no_grad():
        for tensor in head.parameters():
            tensor.copy_(scale * torch.randn(tensor.shape, generator=draws))
    features = torch.randn(len(words), FRAMES, WIDTH, generator=draws)
    return torch.stack([
        torch.autograd.grad(ctc_loss(head(x), y).mean(), head.bias)[0]
        for x, y in zip(features.split(batch), words.split(batch), strict=True)
    ])  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.floats(0, 3), st.sampled_from([1, 2, 4]))
def test_whatever_the_weights_no_letter_is_named_that_is_in_no_word(seed, scale, batch):
    draws = torch.Generator().manual_seed(seed)
    words = words_of(4, draws)
    truth = letters_of(words, LETTERS + 1).unflatten(0, (-1, batch)).any(dim=1)
    shown = torch.stack([letters_shown(g) for g in bias_gradients(words, scale, draws, batch)])
    assert not (shown & ~truth).any()


def test_near_an_untrained_head_all_letters_show():
    draws = torch.Generator().manual_seed(0)
    words = words_of(40, draws)
    shown = torch.stack([letters_shown(g) for g in bias_gradients(words, 0.01, draws)])
    assert set_scores(shown.numpy(), letters_of(words, LETTERS + 1).numpy())[:, 1].mean() > 0.99


def test_under_noise_alone_a_letter_is_named_as_seldom_as_stated():
    """Of 4,000 words without signal, 5 % should name one or more; four deviations either way: 6e-5."""
    noise = torch.randn(4000, LETTERS + 1, generator=torch.Generator().manual_seed(0))
    named = torch.stack([letters_shown(3 * row, deviation=3.0, false_alarm=0.05) for row in noise])
    alarms = int(named.any(dim=1).sum())
    # The rate is exact up to what Bonferroni gives away: 1 - (1 - 0.05 / 36)^36 = 0.0488.
    assert abs(alarms - 4000 * 0.0488) < 4 * np.sqrt(4000 * 0.0488 * 0.9512)


def test_noise_hides_what_it_is_larger_than():
    draws = torch.Generator().manual_seed(1)
    words = words_of(60, draws)
    truth = letters_of(words, LETTERS + 1).numpy()
    gradients = bias_gradients(words, 0.01, draws)
    little = gradients + 0.02 * torch.randn(gradients.shape, generator=draws)
    much = gradients + 30 * torch.randn(gradients.shape, generator=draws)
    found = torch.stack([letters_shown(g, deviation=0.02) for g in little]).numpy()
    assert set_scores(found, truth)[:, 1].mean() > 0.95
    lost = torch.stack([letters_most_shown(g, 5) for g in much]).numpy()
    # Five of 36 at random find 5/36 of any set on average; the mean of 60 words has a deviation near 0.02.
    assert abs(set_scores(lost, truth)[:, 1].mean() - 5 / 36) < 0.08


def test_the_set_of_a_word_counts_each_letter_once_and_no_padding():
    words = torch.tensor([[3, 2, 2, 1, 0], [1, 3, 3, 3, 3], [0, 1, 1, 1, 1]])
    assert letters_of(words, 4).tolist() == [[True, True, False], [False, False, True], [False] * 3]


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 30), st.integers(1, 12), st.integers(0, 2**31))
def test_scores_are_scikits(n, k, seed):
    from sklearn.metrics import precision_recall_fscore_support

    rng = np.random.default_rng(seed)
    truth, named = rng.random((n, k)) < 0.4, rng.random((n, k)) < 0.4
    truth[:, 0] = True
    for mine, t, said in zip(set_scores(named, truth), truth, named, strict=True):
        theirs = precision_recall_fscore_support(t, said, average="binary", zero_division=0)[:3]
        assert np.allclose(mine, theirs)


def test_silence_earns_nothing_and_intervals_hold_the_median():
    truth = np.eye(10, dtype=bool)
    silent = letter_agreement("silent", np.zeros((10, 10), bool), truth, truth)
    assert [r.value for r in silent] == [0.0, 0.0, 0.0, 1.0]
    assert [r.baseline for r in silent] == [1.0] * 4
    few = letter_agreement("few", truth[:2], truth[:2], truth[:2], confidence=0.995)
    assert [(r.low, r.high) for r in few[:3]] == [(0.0, 1.0)] * 3, "two words bound no median"


def test_what_is_no_gradient_or_no_set_is_refused():
    with pytest.raises(AttackError, match="finite"):
        letters_shown(torch.tensor([0.0, torch.nan]))
    with pytest.raises(AttackError, match="finite"):
        letters_most_shown(torch.zeros(1), 1)
    with pytest.raises(AttackError, match="paired"):
        set_scores(np.zeros((2, 3), bool), np.zeros((3, 2), bool))
    with pytest.raises(AttackError, match="member"):
        set_scores(np.zeros((1, 3), bool), np.zeros((1, 3), bool))
    with pytest.raises(AttackError, match="false_alarm"):
        letters_shown(torch.zeros(3), 1.0, false_alarm=0.0)
