"""From scores of frames to a text and how sure it is."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from fedstyle_secure.systems.text.recogniser.charset import BLANK, Charset


@dataclass(frozen=True)
class Guess:
    """What a recogniser makes of a crop.

    Attributes:
        text: What it reads; "" where it sees no letter.
        confidence: In [0, 1]. Greedy: the product over frames of the largest probability. Beam: the
            probability of the text, over those of its layouts that the beam has kept.
    """

    text: str
    confidence: float


def greedy(scores: np.ndarray, charset: Charset) -> Guess:
    """The likeliest class of each frame, repeats taken as one.

    Args:
        scores: Log probabilities, float (frames, classes).
        charset: Names the classes.

    Example:
        >>> frames = np.log(np.array([[0.1, 0.9], [0.2, 0.8], [0.7, 0.3]]))
        >>> greedy(frames, Charset("a")).text
        'a'
    """
    best = scores.argmax(axis=1).tolist()
    classes = [c for c, _ in itertools.groupby(best) if c != BLANK]
    return Guess(charset.decode(classes), math.exp(float(scores.max(axis=1).sum())))


def beam(scores: np.ndarray, charset: Charset, width: int) -> Guess:
    """The likeliest text among the `width` best after each frame: prefix search (Graves 2012, section 7.5.3).

    Args:
        scores: Log probabilities, float (frames, classes).
        charset: Names the classes.
        width: Texts that are kept, >= 1.
    """
    # For each text so far: log probabilities of its layouts that end in a blank, and in its last letter.
    kept: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, -math.inf)}
    for frame in scores.tolist():
        grown: dict[tuple[int, ...], list[float]] = defaultdict(lambda: [-math.inf, -math.inf])
        for text, (blank, letter) in kept.items():
            both = _both(blank, letter)
            same = grown[text]
            same[0] = _both(same[0], both + frame[BLANK])
            if text:
                same[1] = _both(same[1], letter + frame[text[-1]])
            for c in range(1, len(frame)):
                longer = grown[(*text, c)]
                before = blank if text and text[-1] == c else both
                longer[1] = _both(longer[1], before + frame[c])
        ends = sorted(grown.items(), key=lambda item: -_both(*item[1]))[:width]
        kept = {text: (blank, letter) for text, (blank, letter) in ends}
    text, (blank, letter) = max(kept.items(), key=lambda item: _both(*item[1]))
    return Guess(charset.decode(list(text)), min(1.0, math.exp(_both(blank, letter))))


def _both(a: float, b: float) -> float:
    return float(np.logaddexp(a, b))
