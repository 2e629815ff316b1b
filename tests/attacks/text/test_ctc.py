"""Our CTC is torch's, is the sum over all alignments, and has the derivatives that torch's has not."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.func import grad, vmap
from torch.nn import functional as F

from attacks.errors import AttackError
from attacks.text.ctc import ctc_loss, frames_needed

WORDS = torch.tensor([[3, 1, 1, 2, 0], [0, 0, 0, 0, 0], [4, 1, 2, 3, 4], [1, 4, 0, 0, 0], [4, 2, 2, 2, 2]])


def logits_of(words, frames, seed=0, dtype=torch.float64):
    draws = torch.Generator().manual_seed(seed)
    made = 2 * torch.randn(len(words), frames, 5, generator=draws, dtype=dtype)
    return made.requires_grad_()


def torchs(logits, words):
    frames = torch.full((len(words),), logits.shape[1])
    log_probs = logits.log_softmax(dim=2).transpose(0, 1)
    return F.ctc_loss(log_probs, words[:, 1:], frames, words[:, 0], reduction="none")


@pytest.mark.parametrize("frames", [7, 8, 32])
@pytest.mark.parametrize(("dtype", "apart"), [(torch.float64, 1e-12), (torch.float32, 2e-5)])
def test_values_and_gradients_are_torchs(frames, dtype, apart):
    logits = logits_of(WORDS, frames, dtype=dtype)
    ours, theirs = ctc_loss(logits, WORDS), torchs(logits, WORDS)
    assert torch.allclose(ours, theirs, rtol=apart, atol=apart)
    weights = torch.arange(1.0, 6.0, dtype=dtype)
    (own,), (other,) = (torch.autograd.grad(x @ weights, logits, retain_graph=True) for x in (ours, theirs))
    assert torch.allclose(own, other, rtol=apart, atol=apart)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_it_is_the_sum_over_all_alignments(data):
    classes, frames = data.draw(st.integers(2, 4)), data.draw(st.integers(1, 6))
    word = data.draw(st.lists(st.integers(1, classes - 1), max_size=min(frames, 4)))
    target = torch.tensor([[len(word), *word, *[0] * (4 - len(word))]])
    draws = torch.Generator().manual_seed(data.draw(st.integers(0, 2**31)))
    logits = 3 * torch.randn(1, frames, classes, generator=draws, dtype=torch.float64)
    probabilities = logits[0].softmax(dim=1)

    def read(path):
        return [letter for letter, _ in itertools.groupby(path) if letter]

    ways = [path for path in itertools.product(range(classes), repeat=frames) if read(path) == word]
    total = sum(probabilities[range(frames), path].prod() for path in ways)
    if ways:
        assert torch.allclose(ctc_loss(logits, target).exp(), 1 / total, rtol=1e-9)
    else:
        assert int(frames_needed(target)) > frames
        with pytest.raises(AttackError, match="needs"):
            ctc_loss(logits, target)


@pytest.mark.long
def test_first_and_second_derivatives_are_those_of_finite_differences():
    logits = logits_of(WORDS, 7)
    assert torch.autograd.gradcheck(lambda x: ctc_loss(x, WORDS), logits)
    assert torch.autograd.gradgradcheck(lambda x: ctc_loss(x, WORDS), logits)


def test_derivatives_stay_finite_where_probabilities_vanish():
    logits = (1e4 * logits_of(WORDS, 8, dtype=torch.float32).detach()).requires_grad_()
    (once,) = torch.autograd.grad(ctc_loss(logits, WORDS).sum(), logits, create_graph=True)
    (twice,) = torch.autograd.grad(once.square().sum(), logits)
    assert once.isfinite().all()
    assert twice.isfinite().all()


def test_rows_under_vmap_are_those_of_a_loop():
    logits = logits_of(WORDS, 9).detach()

    def one(frames, word):
        return ctc_loss(frames[None], word[None])[0]

    assert torch.allclose(vmap(one)(logits, WORDS), ctc_loss(logits, WORDS))
    rows = torch.stack([grad(one)(frames, word) for frames, word in zip(logits, WORDS, strict=True)])
    assert torch.allclose(vmap(grad(one))(logits, WORDS), rows)
    matched = vmap(grad(lambda x, w: grad(one)(x, w).square().sum()))(logits, WORDS)
    assert matched.isfinite().all()


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ([4, 1, 1, 2, 2], "word 1 needs 6 frames"),
        ([5, 1, 2, 3, 4], "word 1: a length must be 0 to 4"),
        ([2, 1, 5, 0, 0], "letters 1 to 4"),
        ([2, 0, 1, 0, 0], "letters 1 to 4"),
        ([-1, 0, 0, 0, 0], "word 1"),
        ([1, 1, -1, 0, 0], "word 1"),
    ],
)
def test_a_word_that_does_not_fit_is_refused_and_never_worth_zero(word, said):
    words, logits = torch.tensor([[1, 1, 0, 0, 0], word]), torch.zeros(2, 5, 5)
    with pytest.raises(AttackError, match=said):
        ctc_loss(logits, words)


def test_where_nobody_can_look_a_word_that_does_not_fit_is_nan_through_and_through():
    words, logits = torch.tensor([[2, 1, 2], [2, 1, 1]]), torch.zeros(2, 2, 3)

    def one(frames, word):
        return ctc_loss(frames[None], word[None])[0]

    assert vmap(one)(logits, words).isnan().tolist() == [False, True]
    gradients = vmap(grad(one))(logits, words)
    assert gradients[0].isfinite().all()
    assert gradients[1].isnan().all()


def test_shapes_are_named():
    with pytest.raises(AttackError, match=r"not \(2, 3\)"):
        ctc_loss(torch.zeros(2, 3), torch.tensor([[1, 1]]))
    with pytest.raises(AttackError, match="float32"):
        ctc_loss(torch.zeros(1, 2, 3), torch.tensor([[1.0, 1.0]]))
