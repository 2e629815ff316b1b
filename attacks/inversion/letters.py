"""Which letters a word has, from the gradient of the last layer's bias under CTC.

The derivative of a CTC loss by a logit is the softmax less the posterior share of alignments that read this
class in this frame (Graves et al. 2006, equation 16). For a letter that no word of the batch has, that share
is zero, so that its bias gradient is a sum of softmax values and never negative: without noise each letter
that is named is in a word, whatever the weights are, clipped or not, over several steps too (Dang et al.,
NeurIPS 2021, whose attack reads the label set of speech so). The other way round there is no such rule: a
letter that the model already reads more often than it should has a positive entry as well.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.special import ndtri
from torch import Tensor

from attacks.errors import AttackError
from attacks.intervals import clopper_pearson, median_interval
from attacks.ranges import real, whole
from attacks.results import Result


def letters_shown(gradient: Tensor, deviation: float = 0.0, false_alarm: float = 0.05) -> Tensor:
    """The letters that a bias gradient shows, bool (letters,).

    Without noise: entries below zero. With noise: entries so far below zero that noise alone would bring any
    letter of the alphabet there with probability `false_alarm` at most, were none of them in a word (z-tests,
    each at its share of the rate; an absent letter's entry is >= 0 before noise, so that zero is the worst).

    Args:
        gradient: float (1 + letters,), of the last layer's bias, class 0 the blank: of one record or the sum
            or mean of a batch. An update has the opposite sign.
        deviation: Of the known Gaussian noise on each entry, >= 0.
        false_alarm: In (0, 1); without noise there are none.

    Example:
        >>> letters_shown(torch.tensor([-0.9, 0.3, -0.2, -0.8]))
        tensor([False,  True,  True])
        >>> letters_shown(torch.tensor([-0.9, 0.3, -0.2, -0.8]), deviation=0.2)
        tensor([False, False,  True])
    """
    entries = _entries(gradient)
    real("deviation", deviation, "[0, inf)")
    real("false_alarm", false_alarm, "(0, 1)")
    shown: Tensor = entries < deviation * float(ndtri(false_alarm / len(entries)))
    return shown


def letters_most_shown(gradient: Tensor, count: int) -> Tensor:
    """The letters with the lowest entries, bool (letters,): a guess that noise does not silence.

    Args:
        gradient: As for `letters_shown`.
        count: How many to name, 0 to all.

    Example:
        >>> letters_most_shown(torch.tensor([-0.9, 0.3, -0.2, -0.8]), count=1)
        tensor([False, False,  True])
    """
    entries = _entries(gradient)
    whole("count", count, 0, len(entries))
    named = torch.zeros(len(entries), dtype=torch.bool)
    named[entries.argsort()[:count]] = True
    return named


def letters_of(targets: Tensor, classes: int) -> Tensor:
    """The letters that words have, bool (n, classes - 1).

    Args:
        targets: int64 (n, 1 + most letters), as for `attacks.text.ctc.ctc_loss`.
        classes: With the blank.

    Example:
        >>> letters_of(torch.tensor([[2, 3, 1, 0]]), classes=4)
        tensor([[ True, False,  True]])
    """
    there = torch.arange(targets.shape[1] - 1) < targets[:, :1]
    found = torch.zeros(len(targets), classes, dtype=torch.bool)
    # What lies beyond a word is counted as the blank, which is then left out.
    return found.scatter(1, torch.where(there, targets[:, 1:], 0), True)[:, 1:]


def set_scores(named: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Precision, recall and F1 of sets, float64 (n, 3); a set of which nothing was named has zeros.

    Args:
        named: bool (n, k).
        truth: bool (n, k), each with one member or more.

    Example:
        >>> set_scores(np.array([[True, True, False]]), np.array([[True, False, False]])).round(3).tolist()
        [[0.5, 1.0, 0.667]]
    """
    named, truth = np.asarray(named), np.asarray(truth)
    if named.shape != truth.shape or named.ndim != 2 or named.dtype != bool or truth.dtype != bool:
        raise AttackError(f"sets must be paired bool (n, k), not {named.shape} and {truth.shape}")
    if not len(named) or not truth.any(axis=1).all():
        raise AttackError("a set needs a member to be found")
    hits, said, there = (x.sum(axis=1) for x in (named & truth, named, truth))
    return np.stack([hits / np.maximum(said, 1), hits / there, 2 * hits / (said + there)], axis=1)


def letter_agreement(
    attack: str, named: np.ndarray, truth: np.ndarray, blind: np.ndarray, confidence: float = 0.95
) -> tuple[Result, ...]:
    """Median precision, recall and F1 over words, and the share of words of which no letter was made up.

    Letters of a word hang together, so that intervals are over words: of medians by order statistics, of the
    share by Clopper and Pearson.

    Args:
        attack: Its name.
        named: bool (n, k), what was named of each word.
        truth: bool (n, k), what each word has.
        blind: bool (n, k), what is named without looking, such as the letters that are commonest in public.
        confidence: Of each interval by itself, in (0, 1).

    Example:
        >>> truth = np.eye(8, dtype=bool)
        >>> found = letter_agreement("mine", truth, truth, np.roll(truth, 1, axis=1))
        >>> [(r.metric, r.value, r.baseline) for r in found][2:]
        [('median F1', 1.0, 0.0), ('words without a false letter', 1.0, 0.0)]
    """
    scores, without = set_scores(named, truth), set_scores(blind, truth)
    found = []
    for column, what in enumerate(("precision", "recall", "F1")):
        low, high = (float(np.clip(end, 0, 1)) for end in median_interval(scores[:, column], confidence))
        found.append(
            Result(
                attack, f"median {what}", float(np.median(scores[:, column])), len(scores), low, high,
                confidence, float(np.median(without[:, column])), "order statistics over words",
            )
        )  # fmt: skip
    pure = (named & ~truth).sum(axis=1) == 0
    low, high = clopper_pearson(int(pure.sum()), len(pure), confidence)
    base = float(((blind & ~truth).sum(axis=1) == 0).mean())
    found.append(
        Result(
            attack, "words without a false letter", float(pure.mean()), len(pure), low, high, confidence,
            base, "Clopper-Pearson",
        )
    )  # fmt: skip
    return tuple(found)


def _entries(gradient: Tensor) -> Tensor:
    """Those of letters, double (letters,)."""
    if gradient.ndim != 1 or len(gradient) < 2 or not gradient.isfinite().all():
        raise AttackError(f"a bias gradient must be finite (1 + letters,), not {tuple(gradient.shape)}")
    return gradient[1:].double()
