"""Words that nobody has written before: an artist's own, of syllables, and now and then a number.

Invented, so that no list of words with a licence is needed, there is any number of them, and one that turns
up in a model has come from its artist.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LONGEST = 8
_SHORTEST = 3

_ONSETS = (
    "b", "c", "d", "f", "g", "h", "j", "k", "l", "m", "n", "p", "qu", "r", "s", "t", "v", "w", "y", "z",
    "br", "ch", "cl", "dr", "fl", "gr", "kn", "ph", "pl", "sk", "sn", "st", "th", "tr",
)  # fmt: skip
_NUCLEI = ("a", "e", "i", "o", "u", "y", "ai", "ea", "ou", "oo", "ia", "ei")
_CODAS = ("", "", "", "b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "x", "z", "nd", "rk", "st")
_TITLES = ("No", "Op", "Vol", "Nr", "Ed", "Pl", "Fig", "Act")

_OWN_ONSETS, _OWN_NUCLEI, _OWN_CODAS, _FAVOURITES = 20, 7, 10, 40
_FAVOURED, _NUMBERS = 0.25, 0.12


@dataclass(frozen=True)
class Vocabulary:
    """What an artist writes.

    Attributes:
        onsets, nuclei, codas: Parts of the artist's syllables.
        favourites: Small-letter words that come again and again.
        cases: Chances of small letters, of a first capital, of capitals.
    """

    onsets: tuple[str, ...]
    nuclei: tuple[str, ...]
    codas: tuple[str, ...]
    favourites: tuple[str, ...]
    cases: tuple[float, float, float]


def draw_vocabulary(rng: np.random.Generator) -> Vocabulary:
    """An artist's vocabulary."""
    onsets, nuclei, codas = (
        tuple(parts[i] for i in sorted(rng.choice(len(parts), n, replace=False).tolist()))
        for parts, n in ((_ONSETS, _OWN_ONSETS), (_NUCLEI, _OWN_NUCLEI), (_CODAS, _OWN_CODAS))
    )
    favourites = tuple(_invented(rng, onsets, nuclei, codas) for _ in range(_FAVOURITES))
    small, first, all_ = rng.dirichlet([1.2, 1.2, 1.2]).tolist()
    return Vocabulary(onsets, nuclei, codas, favourites, (small, first, all_))


def draw_word(vocabulary: Vocabulary, rng: np.random.Generator) -> str:
    """One word: 2 to 8 ASCII letters or digits."""
    kind = rng.random()
    if kind < _NUMBERS:
        return _number(rng)
    if kind < _NUMBERS + _FAVOURED:
        word = vocabulary.favourites[int(rng.integers(len(vocabulary.favourites)))]
    else:
        word = _invented(rng, vocabulary.onsets, vocabulary.nuclei, vocabulary.codas)
    case = rng.choice(3, p=vocabulary.cases)
    return (word, word.capitalize(), word.upper())[case]


def _number(rng: np.random.Generator) -> str:
    """A year, a number, or a title with one."""
    if rng.random() < 0.5:
        return "".join(map(str, rng.integers(0, 10, int(rng.integers(2, 6))).tolist()))
    return f"{_TITLES[int(rng.integers(len(_TITLES)))]}{int(rng.integers(1, 100))}"


def _invented(
    rng: np.random.Generator, onsets: tuple[str, ...], nuclei: tuple[str, ...], codas: tuple[str, ...]
) -> str:
    while True:
        word = "".join(
            parts[int(rng.integers(len(parts)))]
            for _ in range(int(rng.integers(1, 4)))
            for parts in (onsets, nuclei, codas)
        )
        if _SHORTEST <= len(word) <= LONGEST:
            return word
