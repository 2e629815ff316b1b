"""How well texts are read, as the field counts it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ALPHANUMERICS = "0123456789abcdefghijklmnopqrstuvwxyz"

_DRAWS = 2000


@dataclass(frozen=True)
class Reads:
    """Figures of pairs of a text and what was read.

    Attributes:
        words: Pairs.
        word_accuracy: Share read without an error.
        cer: Character error rate: edits over letters, of all pairs together; may pass 1.
        ned: Mean of 1 - edits / the longer one's length ("1-NED").
    """

    words: int
    word_accuracy: float
    cer: float
    ned: float


def reads(texts: Sequence[str], read: Sequence[str]) -> Reads:
    """
    Args:
        texts: What stands there.
        read: What was read, as many.

    Example:
        >>> round(reads(["cat", "dog"], ["cat", "dag"]).cer, 3)
        0.167
    """
    edits = np.array([distance(a, b) for a, b in zip(texts, read, strict=True)], float)
    letters = sum(map(len, texts))
    longest = np.array([max(len(a), len(b), 1) for a, b in zip(texts, read, strict=True)], float)
    return Reads(
        words=len(texts),
        word_accuracy=float((edits == 0).mean()) if len(texts) else 0.0,
        cer=float(edits.sum()) / max(1, letters),
        ned=float((1 - edits / longest).mean()) if len(texts) else 0.0,
    )


def cer_interval(texts: Sequence[str], read: Sequence[str], confidence: float) -> tuple[float, float]:
    """Between what the character error rate lies: percentiles of 2000 draws of as many words (Efron 1979).

    Words are drawn, not letters, as the errors of one word come together. Its draws are always the same.

    Args:
        texts: What stands there.
        read: What was read, as many.
        confidence: In (0, 1).

    Returns:
        Two rates; 0 and 1 where there is no word.
    """
    if not texts:
        return 0.0, 1.0
    edits = np.array([distance(a, b) for a, b in zip(texts, read, strict=True)], float)
    letters = np.array([len(text) for text in texts], float)
    words = len(texts)
    rng = np.random.default_rng(0)
    drawn = (rng.multinomial(words, np.full(words, 1 / words)) for _ in range(_DRAWS))
    rates = [float(times @ edits / max(1.0, float(times @ letters))) for times in drawn]
    low, high = np.quantile(rates, [(1 - confidence) / 2, (1 + confidence) / 2]).tolist()
    return low, high


def alphanumeric(text: str) -> str:
    """What the case-insensitive protocol of the field's benchmarks leaves of a text: 0-9 and a-z."""
    return "".join(letter for letter in text.lower() if letter in ALPHANUMERICS)


def distance(a: str, b: str) -> int:
    """Fewest letters put in, taken out or exchanged that make one text of another (Levenshtein 1966)."""
    row = list(range(len(b) + 1))
    for i, letter in enumerate(a, start=1):
        before, row[0] = row[0], i
        for j, other in enumerate(b, start=1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (letter != other))
    return row[-1]
