"""What a platform serves now: read again from time to time, so that who withdraws is soon found no more."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fedstyle_secure.private_search.index import Index
from fedstyle_secure.private_search.messages import Catalogue


@dataclass(frozen=True, eq=False)
class Offer:
    """What can be searched.

    Attributes:
        names: Whose cards these are, each once.
        cards: Unit vectors, float (n, d).
        encoder: The file that embeds pictures.
        note: What the platform has to say of its cards, at most `messages.MOST_NOTE` characters.
    """

    names: tuple[str, ...]
    cards: np.ndarray
    encoder: bytes
    note: str

    def same(self, other: Offer) -> bool:
        """Whether nothing has changed."""
        told = self.names == other.names and self.encoder == other.encoder and self.note == other.note
        return told and np.array_equal(self.cards, other.cards)


@dataclass(frozen=True, eq=False)
class Served:
    """An offer, ready to be searched.

    Attributes:
        offer: What lies in it.
        index: Its cards.
        catalogue: What buyers are told.
    """

    offer: Offer
    index: Index
    catalogue: Catalogue

    @classmethod
    def of(cls, offer: Offer) -> Served:
        """Make an offer ready. Raises SearchError as `Index` does."""
        index, digest = Index(offer.cards), hashlib.sha256(offer.encoder).hexdigest()
        names, size = offer.names, len(offer.encoder)
        return cls(offer, index, Catalogue(index.id, names, offer.cards.shape[1], digest, size, offer.note))


class Shelf:
    """Holds what is served, and looks again.

    Args:
        load: Reads what may be served now; its errors are the caller's of `now`.
        seconds: For how long what was read counts.
        clock: Seconds that only go forward.
    """

    def __init__(
        self, load: Callable[[], Offer], seconds: float = 60, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._load, self._seconds, self._clock = load, seconds, clock
        self._lock = threading.Lock()
        self._read = -float("inf")
        self._served: Served | None = None

    def now(self) -> Served:
        """What is served now. Cards that are still the same keep their catalogue's id."""
        with self._lock:
            if self._served is None or self._clock() - self._read >= self._seconds:
                offer, at = self._load(), self._clock()
                if self._served is None or not offer.same(self._served.offer):
                    self._served = Served.of(offer)
                self._read = at
            return self._served
