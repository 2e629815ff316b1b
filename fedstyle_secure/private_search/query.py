"""The buyer's side: a key for one query, the query encrypted with it, and the scores that come back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fedstyle_secure.errors import SearchError
from fedstyle_secure.private_search.layout import SCALE, SEARCH, Layout, quantise, query_polynomials
from fedstyle_secure.private_search.messages import Catalogue, read_answer, write_query
from fedstyle_secure.secure_sum import seal


@dataclass(frozen=True, eq=False)
class Question:
    """One query. Its key encrypts nothing else and leaves this process in no form: symmetric encryption needs
    no public one.

    Attributes:
        body: What is sent: ciphertexts.
        layout: Where the scores will lie.
        secret: SEAL's key; left out of `repr`.
    """

    body: bytes
    layout: Layout
    secret: Any = field(repr=False)

    def scores(self, answer: bytes) -> np.ndarray:
        """Cosines of the query with every card in the catalogue's order, float64 (cards,), as exact as the
        integers that vectors were rounded to.

        What this returns must not reach the platform: a ciphertext that it chose would then be opened for it.

        Raises:
            SearchError: The answer is malformed, or not one to this query.
        """
        from tenseal import sealapi

        inside = seal.parameters(SEARCH)
        decryptor, plain = sealapi.Decryptor(inside, self.secret), sealapi.Plaintext()
        words = read_answer(answer, self.layout)
        places, found = self.layout.places.tolist(), []
        for block in words:
            decryptor.decrypt(seal.ciphertext(SEARCH, inside, block[:, np.newaxis]), plain)
            count = plain.coeff_count()
            found.append([plain.data(place) if place < count else 0 for place in places])
        integers = np.array(found, np.int64).reshape(-1)[: self.layout.cards]
        integers[integers > SEARCH.plain_modulus // 2] -= SEARCH.plain_modulus
        # A little more than 1, as each of two vectors was rounded by half a unit in every place.
        if np.abs(integers).max() > (SCALE + self.layout.dim) ** 2:
            raise SearchError("this answer holds what no cosine can be: it is not one to this query")
        cosines: np.ndarray = integers / SCALE**2
        return cosines


def ask(vector: np.ndarray, catalogue: Catalogue) -> Question:
    """Encrypt a query, with a fresh key from the operating system's entropy.

    Args:
        vector: Unit embedding, float (dim,).
        catalogue: Of the service.

    Raises:
        SearchError: The vector has another width than the cards, or another length than 1.
    """
    from tenseal import sealapi

    if vector.shape != (catalogue.dim,):
        raise SearchError(f"a query has {catalogue.dim} dimensions, not {vector.shape}")
    layout, inside = catalogue.layout, seal.parameters(SEARCH)
    secret = sealapi.KeyGenerator(inside).secret_key()
    encryptor, ciphertext = sealapi.Encryptor(inside, secret), sealapi.Ciphertext(inside)
    pieces = query_polynomials(quantise(vector[np.newaxis])[0], layout) % SEARCH.plain_modulus
    words = []
    for piece in pieces:
        encryptor.encrypt_symmetric(seal.polynomial(SEARCH, inside, piece), ciphertext)
        words.append(seal.words_of(SEARCH, ciphertext))
    return Question(write_query(catalogue.id, np.stack(words)), layout, secret)
