"""From a text to what is trained on, and from scores back to a text."""

import itertools
import math
from collections import defaultdict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedstyle_secure.systems.text.decode import beam, greedy
from fedstyle_secure.systems.text.recogniser.charset import LONGEST, Charset, TextError
from fedstyle_secure.systems.text.recogniser.ctc import TextLoss
from fedstyle_secure.systems.text.recogniser.network import FRAMES, Recogniser, prepare
from fedstyle_secure.systems.text.scores import ALPHANUMERICS, alphanumeric, cer_interval, distance, reads

PLAIN = Charset(ALPHANUMERICS)


@given(st.text(ALPHANUMERICS, min_size=1, max_size=10))
def test_a_text_comes_back_from_its_classes(text):
    target = PLAIN.encode(text.upper(), FRAMES).tolist()
    assert PLAIN.decode(target[1 : 1 + target[0]]) == text
    assert set(target[1 + target[0] :]) <= {0}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is empty"),
        ("naïve", "outside text.charset"),
        ("two words", "outside text.charset"),
        ("x" * (LONGEST + 1), "longer"),
        # Twenty letters that repeat need a frame between any two.
        ("o" * 20, "longer"),
    ],
)
def test_what_cannot_be_trained_on_is_refused_without_being_told(text, why):
    with pytest.raises(TextError, match=why) as caught:
        PLAIN.encode(text, FRAMES)
    assert not text or text not in str(caught.value)


def test_a_charset_with_cases_keeps_them():
    charset = Charset("abAB")
    assert charset.plain("aB") == "aB"
    assert charset.encode("aB", 8)[:3].tolist() == [2, 1, 4]
    with pytest.raises(ValueError, match="each once"):
        Charset("aa")


def by_all_layouts(scores, charset):
    """Probability of every text, by summing over all layouts."""
    found = defaultdict(float)
    frames, classes = scores.shape
    for layout in itertools.product(range(classes), repeat=frames):
        text = tuple(c for c, _ in itertools.groupby(layout) if c)
        found[charset.decode(list(text))] += math.exp(sum(scores[t, c] for t, c in enumerate(layout)))
    return found


@given(st.integers(0, 10_000))
@settings(deadline=None, max_examples=25)
def test_a_wide_beam_finds_the_likeliest_text_of_all(seed):
    rng, charset = np.random.default_rng(seed), Charset("ab")
    scores = torch.from_numpy(rng.normal(size=(4, 3)) * 2).log_softmax(dim=1).numpy()
    everything = by_all_layouts(scores, charset)
    assert sum(everything.values()) == pytest.approx(1.0)
    reading = beam(scores, charset, width=100)
    best = max(everything, key=lambda text: everything[text])
    assert everything[reading.text] == pytest.approx(everything[best])
    assert reading.confidence == pytest.approx(everything[best])
    # What is read frame by frame is never likelier.
    assert everything[greedy(scores, charset).text] <= everything[best] + 1e-12


def test_the_loss_is_minus_the_log_probability_of_the_text():
    rng, charset = np.random.default_rng(1), Charset("ab")
    logits = torch.from_numpy(rng.normal(size=(1, 4, 3)))
    scores = logits[0].log_softmax(dim=1).numpy()
    for text, probability in by_all_layouts(scores, charset).items():
        if len(text) > 0 and len(text) + sum(a == b for a, b in itertools.pairwise(text)) <= 4:
            target = torch.from_numpy(charset.encode(text, 4))[None]
            assert float(TextLoss()(logits, target)) == pytest.approx(-math.log(probability))


def test_repeats_and_blanks():
    scores = np.log(np.full((6, 3), 0.05))
    for frame, letter in enumerate([1, 1, 0, 1, 2, 2]):
        scores[frame, letter] = math.log(0.9)
    found = greedy(scores, Charset("ab"))
    assert found.text == "aab"
    assert found.confidence == pytest.approx(0.9**6)


def test_edits_are_those_of_the_textbook():
    assert distance("kitten", "sitting") == 3
    assert distance("", "abc") == distance("abc", "") == 3


@given(*[st.text("ab", max_size=6)] * 3)
def test_edits_are_a_distance(a, b, c):
    assert distance(a, b) == distance(b, a)
    assert (distance(a, b) == 0) == (a == b)
    assert distance(a, c) <= distance(a, b) + distance(b, c)
    assert abs(len(a) - len(b)) <= distance(a, b) <= max(len(a), len(b))


def test_figures_of_words():
    found = reads(["cat", "dog", "ox"], ["cat", "dg", "oxen"])
    assert found.word_accuracy == pytest.approx(1 / 3)
    assert found.cer == pytest.approx(3 / 8)
    assert found.ned == pytest.approx((1 + 2 / 3 + 1 / 2) / 3)
    assert alphanumeric("Don't-Stop 9!") == "dontstop9"


def test_the_interval_of_the_error_rate_covers_and_is_as_wide_as_words_say():
    """Half of the words of four letters have one error: 1/8, with a deviation of 1/8 over root words."""
    rng = np.random.default_rng(3)
    covered = []
    for _ in range(20):
        wrong = rng.random(100) < 0.5
        low, high = cer_interval(["abcd"] * 100, ["abcx" if bad else "abcd" for bad in wrong], 0.95)
        covered.append(low <= 1 / 8 <= high)
        assert high - low == pytest.approx(2 * 1.96 * 0.0125, rel=0.15)
    # Of 20 intervals at 0.95, 16 and fewer cover in less than one of 60 sets of draws.
    assert sum(covered) >= 17
    assert cer_interval([], [], 0.95) == (0.0, 1.0)
    assert cer_interval(["ab"], ["ab"], 0.95) == (0.0, 0.0)


def test_a_crop_is_ink_on_paper_whatever_its_colours():
    rng = np.random.default_rng(0)
    ink = rng.random((32, 128)) < 0.2
    dark = np.where(ink[..., None], 20, 230).astype(np.uint8).repeat(3, axis=2)
    bright = 255 - dark
    there, turned = prepare(np.stack([dark, bright]))
    assert torch.equal(there > 0, torch.from_numpy(ink)[None])
    assert torch.allclose(there, turned, atol=1e-6)
    assert float(there.min()) == -1
    assert float(there.max()) == 1
    # Paper with next to nothing on it is not blown up to full contrast.
    bare = np.full((1, 32, 128, 3), 200, np.uint8)
    bare[0, ::2] = 201
    assert float(prepare(bare).max()) < 0


def test_a_crop_reads_alike_alone_and_in_company():
    torch.manual_seed(0)
    model, crops = Recogniser(PLAIN.classes), torch.rand(5, 1, 32, 128) * 2 - 1
    together = model.read(crops)
    assert together.shape == (5, FRAMES, 37)
    assert np.allclose(model.read(crops[3:4])[0], together[3], atol=1e-4)
    assert np.allclose(np.exp(together).sum(axis=2), 1, atol=1e-5)
    assert sum(p.numel() for p in model.parameters()) < 300_000
