"""What crosses the wire of a private search: a query, the scores, and the catalogue that both are of.

A query is the catalogue's id and one frame of `secure_sum.wire`: ciphertexts, and no place for any key. All
lengths follow from the catalogue, and every coefficient is compared with its prime before native code sees
it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from fedstyle_secure.errors import SearchError, SecureSumError
from fedstyle_secure.private_search.layout import SEARCH, Layout, plan
from fedstyle_secure.secure_sum.encoding import canonical, fields, integer, items, parse, text, unhex
from fedstyle_secure.secure_sum.wire import Kind, decode, encode, pack_words, unpack_words

ID_BYTES = 16
MOST_CATALOGUE_BYTES = 32 << 20
MOST_ENCODER_BYTES = 2 << 30
MOST_NOTE = 1000
MOST_QUERY_BYTES = 16 << 20
"""More than any layout needs."""

_MAGIC = b"FSCR\x01"
_FORMAT = 1


@dataclass(frozen=True)
class Catalogue:
    """What a buyer has to know of a service before asking; nothing in it is secret.

    Attributes:
        id: Of the cards that lie there now, 16 bytes: another set of cards has another one.
        names: Whose card each score is of, each once, at least one.
        dim: Dimensions of a card.
        encoder: SHA-256, in hexadecimal, of the file that embeds pictures.
        encoder_bytes: Its length.
        note: What the platform has to say of its cards, or "".
    """

    id: bytes
    names: tuple[str, ...]
    dim: int
    encoder: str
    encoder_bytes: int
    note: str

    @property
    def layout(self) -> Layout:
        """Where queries and scores lie."""
        return plan(len(self.names), self.dim)

    @property
    def answer_bytes(self) -> int:
        """Length of every answer."""
        return len(_MAGIC) + self.layout.reply_bytes

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        told = {
            "format": _FORMAT,
            "id": self.id.hex(),
            "names": list(self.names),
            "dim": self.dim,
            "encoder": self.encoder,
            "encoder_bytes": self.encoder_bytes,
            "note": self.note,
        }
        return canonical(told)

    @classmethod
    def from_bytes(cls, data: bytes) -> Catalogue:
        """The inverse of `to_bytes`, for bytes of a peer.

        Raises:
            SearchError: Anything else.
        """
        keys = ("format", "id", "names", "dim", "encoder", "encoder_bytes", "note")
        try:
            told = fields(parse(data, MOST_CATALOGUE_BYTES), keys)
            names = tuple(text(name) for name in items(told["names"]))
            found = cls(
                unhex(told["id"], ID_BYTES),
                names,
                integer(told["dim"]),
                unhex(told["encoder"], hashlib.sha256().digest_size).hex(),
                integer(told["encoder_bytes"]),
                text(told["note"]),
            )
            if integer(told["format"]) != _FORMAT:
                raise ValueError(f"it is of format {told['format']}, not {_FORMAT}")
            if len(set(names)) < len(names):
                raise ValueError("a name is in it twice")
            if not 0 <= found.encoder_bytes <= MOST_ENCODER_BYTES or len(found.note) > MOST_NOTE:
                raise ValueError("a length in it is out of range")
        except ValueError as error:
            raise SearchError(f"this is no catalogue of a search: {error}") from None
        plan(len(names), found.dim)
        return found


def write_query(catalogue_id: bytes, words: np.ndarray) -> bytes:
    """A query: uint64 words (pieces, 2, primes, degree) of its ciphertexts."""
    return catalogue_id + encode(Kind.BODY, SEARCH, [words[:, :, prime] for prime in range(words.shape[2])])


def read_query(body: bytes, layout: Layout) -> np.ndarray:
    """The words of a query, uint64 (pieces, 2, primes, degree), checked in full but for its id.

    Raises:
        SearchError: It is not exactly as `write_query` writes one of this layout.
    """
    try:
        words = np.stack(decode(Kind.BODY, SEARCH, body[ID_BYTES:], layout.pieces), axis=2)
    except SecureSumError as error:
        raise SearchError(f"this is no query of this catalogue: {error}") from None
    if not words[:, 1].any(axis=(1, 2)).all():
        raise SearchError("a part of this query is not encrypted at all")
    return words


def write_answer(words: np.ndarray, layout: Layout) -> bytes:
    """An answer: uint64 words (blocks, 2, degree) of the scores' ciphertexts under the first prime."""
    flat = np.zeros(layout.reply_words, np.uint64)
    held = layout.cards + layout.blocks * SEARCH.degree
    flat[: layout.cards] = words[:, 0, layout.places].reshape(-1)[: layout.cards]
    flat[layout.cards : held] = words[:, 1].reshape(-1)
    return _MAGIC + b"".join(pack_words(flat, SEARCH.primes[0].bit_length()))


def read_answer(body: bytes, layout: Layout) -> np.ndarray:
    """The words of an answer, uint64 (blocks, 2, degree), zero where nothing was sent.

    Raises:
        SearchError: It is not exactly as `write_answer` writes one of this layout.
    """
    expected = len(_MAGIC) + layout.reply_bytes
    if len(body) != expected or not body.startswith(_MAGIC):
        raise SearchError(f"an answer to this query has exactly {expected} bytes of scores, and a head")
    prime = SEARCH.primes[0]
    flat = unpack_words(memoryview(body)[len(_MAGIC) :], prime.bit_length(), layout.reply_words)
    if int(flat.max()) >= prime:
        raise SearchError(f"a coefficient of an answer is not below its prime {prime}")
    held = layout.cards + layout.blocks * SEARCH.degree
    if flat[held:].any():
        raise SearchError("an answer's padding is not zero")
    scores = np.zeros(layout.blocks * layout.rows, np.uint64)
    scores[: layout.cards] = flat[: layout.cards]
    words = np.zeros((layout.blocks, 2, SEARCH.degree), np.uint64)
    words[:, 0, layout.places] = scores.reshape(layout.blocks, layout.rows)
    words[:, 1] = flat[layout.cards : held].reshape(layout.blocks, SEARCH.degree)
    if not words[:, 1].any(axis=1).all():
        raise SearchError("a block of this answer is not encrypted at all")
    return words
