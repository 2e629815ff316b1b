"""Where cards and a query lie in polynomials, so that one product of two gives many scores and no rotation.

The query's d dimensions are cut into pieces of w; piece i is one ciphertext, the polynomial
sum_k q[i w + k] X^k. A block of cards is, for each piece, the plain polynomial
sum_a sum_k c_a[i w + k] X^(a w + w - 1 - k). Summed over the pieces, the coefficient of their product at
a w + w - 1 is the score <q, c_a>, and no other card reaches it: it would have to be w places away, and two
places of one piece differ by less. What passes X^N comes back below w - 1. With w = 1 this is the column
layout, a ciphertext a dimension; a wider piece needs fewer ciphertexts of the query and more of the scores.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fedstyle_secure.errors import SearchError
from fedstyle_secure.secure_sum.profiles import Profile
from fedstyle_secure.secure_sum.wire import body_bytes

SCALE = 1 << 17
"""A unit vector times this is rounded to integers. With int8, cards whose cosines are as near as 0.001 change
places: `python benchmarks/private_search.py` finds other first five for a quarter of the queries among 1,000
artists and for half among 10,000."""

MOST_CARDS, MOST_DIM = 100_000, 1024

SEARCH = Profile(
    name="S76",
    degree=4096,
    coefficient_bits=(52, 24, 16),
    # No slots are used, so it need be no prime: twice the largest score, and room for rounding.
    plain_modulus=1 << 36,
    bytes_per_slot=19.0,
    budget_floor=1,
    primes=(4503599627149313, 16760833, 40961),
    number=16,
)
"""Parameters of a search: 92 bits, of 109 that the standard allows. The query lives under 52 and 24 bits, of
which the scores drop the 24 before they are sent."""

_LARGEST_ERROR = 21
"""SEAL draws the error of an encryption as a difference of two counts of 21 coins each."""


@dataclass(frozen=True)
class Layout:
    """Where everything lies; both sides make it from two public numbers with `plan`.

    Attributes:
        cards: How many cards there are.
        dim: d, dimensions of a card.
        width: w, dimensions in one piece of a query.
    """

    cards: int
    dim: int
    width: int

    @property
    def pieces(self) -> int:
        """Ciphertexts of a query."""
        return -(-self.dim // self.width)

    @property
    def rows(self) -> int:
        """Cards in one block."""
        return SEARCH.degree // self.width

    @property
    def blocks(self) -> int:
        """Ciphertexts of scores."""
        return -(-self.cards // self.rows)

    @property
    def places(self) -> np.ndarray:
        """The coefficients of a block that hold scores, int64 (rows,)."""
        return np.arange(self.rows) * self.width + self.width - 1

    @property
    def query_bytes(self) -> int:
        """Length of an encrypted query."""
        return body_bytes(SEARCH, self.pieces)

    @property
    def reply_words(self) -> int:
        """Coefficients in a reply: of the blocks' first polynomials those that hold scores, all of their
        second ones; one more where their number would be odd."""
        words = self.cards + self.blocks * SEARCH.degree
        return words + words % 2

    @property
    def reply_bytes(self) -> int:
        """Length of the scores, framing aside."""
        return self.reply_words * SEARCH.primes[0].bit_length() // 8

    @property
    def largest_noise(self) -> int:
        """Bound on every noise coefficient of a reply, whatever was drawn.

        An error of at most 21, and one for the rounding of the plaintext, meets every coefficient of the
        cards' polynomials, whose sum for a card is at most sqrt(d) times its length. Dropping a prime divides
        by it and rounds the two polynomials, the second against a secret of -1, 0 and 1.
        """
        longest = SCALE + math.isqrt(self.dim) + 1
        weighed = (_LARGEST_ERROR + 1) * self.rows * (math.isqrt(self.dim) + 1) * longest
        return -(-weighed // SEARCH.primes[1]) + (SEARCH.degree + 1) // 2 + 1


def plan(cards: int, dim: int) -> Layout:
    """The layout with the fewest bytes, up and down together.

    Args:
        cards: 1..MOST_CARDS.
        dim: 1..MOST_DIM.

    Raises:
        SearchError: Out of range.

    Example:
        >>> layout = plan(1000, 128)
        >>> layout.pieces, layout.blocks
        (4, 8)
    """
    if not 1 <= cards <= MOST_CARDS or not 1 <= dim <= MOST_DIM:
        raise SearchError(
            f"a private search takes 1 to {MOST_CARDS} cards of 1 to {MOST_DIM} dimensions, not {cards} of "
            f"{dim}"
        )
    layouts = (Layout(cards, dim, width) for width in range(1, dim + 1))
    return min(layouts, key=lambda layout: layout.query_bytes + layout.reply_bytes)


def quantise(vectors: np.ndarray) -> np.ndarray:
    """Unit vectors (n, d) as integers, int64 (n, d): times `SCALE`, rounded.

    Raises:
        SearchError: A vector is not finite or not of length 1 within a thousandth.

    Example:
        >>> quantise(np.array([[0.6, -0.8]])).tolist()
        [[78643, -104858]]
    """
    vectors = np.asarray(vectors, np.float64)
    lengths = np.linalg.norm(vectors, axis=1)
    if not (np.abs(lengths - 1) <= 1e-3).all():
        raise SearchError("a private search compares unit vectors; one of these has another length")
    rounded: np.ndarray = np.rint(vectors * (SCALE / lengths)[:, None]).astype(np.int64)
    return rounded


def query_polynomials(query: np.ndarray, layout: Layout) -> np.ndarray:
    """Integers (dim,) as coefficients, int64 (pieces, degree), of either sign."""
    padded = np.zeros(layout.pieces * layout.width, np.int64)
    padded[: layout.dim] = query
    found = np.zeros((layout.pieces, SEARCH.degree), np.int64)
    found[:, : layout.width] = padded.reshape(layout.pieces, layout.width)
    return found


def card_polynomials(cards: np.ndarray, layout: Layout) -> np.ndarray:
    """Integers (cards, dim) as coefficients, int64 (blocks, pieces, degree), of either sign."""
    padded = np.zeros((layout.blocks * layout.rows, layout.pieces * layout.width), np.int64)
    padded[: layout.cards, : layout.dim] = cards
    cut = padded.reshape(layout.blocks, layout.rows, layout.pieces, layout.width)[..., ::-1]
    found = np.zeros((layout.blocks, layout.pieces, SEARCH.degree), np.int64)
    used = layout.rows * layout.width
    found[..., :used] = cut.transpose(0, 2, 1, 3).reshape(layout.blocks, layout.pieces, used)
    return found
