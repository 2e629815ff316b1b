"""Between texts and what a recogniser is trained on: numbers of letters."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

LONGEST = 25
"""Letters of a text at most, as the field's benchmarks have it."""

BLANK = 0
"""The class of a frame without a letter of its own."""


class TextError(ValueError):
    """A text that cannot be trained on. It says why and never which text, as texts are private."""


@dataclass(frozen=True)
class Charset:
    """The letters that a recogniser knows.

    Texts are read without case where no letter of the charset has an upper case.

    Attributes:
        letters: Each once; class k + 1 is the k-th.

    Example:
        >>> charset = Charset("abc")
        >>> charset.encode("Cab", frames=8)[:5].tolist()
        [3, 3, 1, 2, 0]
        >>> charset.decode([3, 1, 2])
        'cab'
    """

    letters: str

    def __post_init__(self) -> None:
        if len(set(self.letters)) < len(self.letters) or not self.letters:
            raise ValueError("a charset has letters, each once")

    @property
    def classes(self) -> int:
        """Classes of a frame: the letters, and none."""
        return 1 + len(self.letters)

    @property
    def folded(self) -> bool:
        """Whether case makes no difference."""
        return self.letters == self.letters.lower()

    def encode(self, text: str, frames: int) -> np.ndarray:
        """int64 (1 + LONGEST,): the text's length, its letters' classes, then zeros.

        Args:
            text: What stands in a crop.
            frames: Frames of a crop, which are how many letters fit: each takes one, and two equal ones in a
                row one more between them.

        Raises:
            TextError: It is empty, too long, or has a letter that is not in the charset.
        """
        classes = [self._classes.get(letter) for letter in self.plain(text)]
        known = [c for c in classes if c is not None]
        if not classes:
            raise TextError("is empty")
        if len(known) < len(classes):
            raise TextError("has a letter outside text.charset")
        needed = len(known) + sum(a == b for a, b in pairwise(known))
        if len(known) > LONGEST or needed > frames:
            raise TextError(f"is longer than {LONGEST} letters, or than {frames} frames have room for")
        target = np.zeros(1 + LONGEST, np.int64)
        target[: 1 + len(known)] = [len(known), *known]
        return target

    def plain(self, text: str) -> str:
        """A text as it is read: without case, where case makes no difference."""
        return text.lower() if self.folded else text

    def decode(self, classes: list[int]) -> str:
        """The text of letters' classes, without blanks."""
        return "".join(self.letters[c - 1] for c in classes)

    @cached_property
    def _classes(self) -> dict[str, int]:
        return {letter: k for k, letter in enumerate(self.letters, start=1)}
