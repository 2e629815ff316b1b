"""The platform's side: cards as plain polynomials, and the scores of a query that it cannot read.

It holds no key and is sent none. A plain product of small integers adds little noise, so that scores are
exact whatever was drawn (`Layout.largest_noise`).
"""

from __future__ import annotations

import secrets

import numpy as np

from fedstyle_secure.errors import SearchError
from fedstyle_secure.private_search.layout import SEARCH, card_polynomials, plan, quantise
from fedstyle_secure.private_search.messages import ID_BYTES, read_query, write_answer
from fedstyle_secure.secure_sum import seal


class Index:
    """Cards that can be searched under encryption.

    Args:
        cards: Unit vectors, float (n, d).

    Raises:
        SearchError: None or too many, too wide, or not of length 1.
    """

    def __init__(self, cards: np.ndarray) -> None:
        from tenseal import sealapi

        self.layout = plan(*cards.shape)
        self.id = secrets.token_bytes(ID_BYTES)
        self._inside = seal.parameters(SEARCH)
        self._evaluator = sealapi.Evaluator(self._inside)
        blocks = card_polynomials(quantise(cards), self.layout)
        self._blocks = [
            # A piece in which all cards are zero adds nothing, and SEAL refuses to multiply by it.
            [(i, self._transformed(piece)) for i, piece in enumerate(block) if piece.any()]
            for block in blocks
        ]

    def _transformed(self, piece: np.ndarray) -> object:
        polynomial = seal.polynomial(SEARCH, self._inside, piece % SEARCH.plain_modulus)
        self._evaluator.transform_to_ntt_inplace(polynomial, self._inside.first_parms_id())
        return polynomial

    def answer(self, body: bytes) -> bytes:
        """The encrypted scores of an encrypted query, of one length whatever was asked.

        Raises:
            SearchError: The query is malformed.
        """
        words = read_query(body, self.layout)
        try:
            return write_answer(np.stack(self._weighed(words)), self.layout)
        except (RuntimeError, ValueError):
            # SEAL gives out no sum whose encryption has cancelled, which takes a query made for it.
            raise SearchError("this query is made so that its scores would not be encrypted") from None

    def _weighed(self, words: np.ndarray) -> list[np.ndarray]:
        """Words of the blocks' scores, each uint64 (2, degree), of the words of a query."""
        from tenseal import sealapi

        pieces = [seal.ciphertext(SEARCH, self._inside, piece) for piece in words]
        for piece in pieces:
            self._evaluator.transform_to_ntt_inplace(piece)
        total, product, found = sealapi.Ciphertext(self._inside), sealapi.Ciphertext(self._inside), []
        for (first, weights), *others in self._blocks:
            self._evaluator.multiply_plain(pieces[first], weights, total)
            for i, weights in others:
                self._evaluator.multiply_plain(pieces[i], weights, product)
                self._evaluator.add_inplace(total, product)
            self._evaluator.transform_from_ntt_inplace(total)
            self._evaluator.mod_switch_to_next_inplace(total)
            found.append(seal.words_of(SEARCH, total)[:, 0])
        return found
