"""Style search in which the platform never sees the picture: both sides here, or a buyer over a network."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from fedstyle_secure.errors import FederationError, RunError, SearchError
from fedstyle_secure.files import read_arrays, write_arrays, write_bytes
from fedstyle_secure.private_search.client import Client
from fedstyle_secure.private_search.messages import MOST_NOTE, Catalogue
from fedstyle_secure.private_search.query import ask
from fedstyle_secure.private_search.shelf import Offer, Served
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.systems.style.encoder import StyleEncoder
from fedstyle_secure.systems.style.encoders import encoder_from_arrays
from fedstyle_secure.systems.style.retrieval import Match, ranked
from fedstyle_secure.systems.style.search import embedded, findable
from fedstyle_secure.systems.style.settings import StyleConfig, StyleSection

_TOLD = ("encoder", "dim", "train", "backbone")
"""The settings that an encoder is built from; no other setting of a run goes to buyers."""

_LARGEST_SIDE, _MOST_RANK = 4096, 1024


@dataclass(frozen=True)
class Found:
    """Whom a private search found, and what it took.

    Attributes:
        matches: Nearest first.
        up: Bytes of the query.
        down: Bytes of the scores.
        buyer_s: Seconds of the buyer's processor to encrypt, open and rank, without embedding the picture.
        platform_s: Seconds of the platform's processor, where it is this one.
        note: What the platform has to say of its cards, or "".
    """

    matches: list[Match]
    up: int
    down: int
    buyer_s: float
    platform_s: float | None
    note: str


def offer(run: RunFolder, studios: Path | None = None, note: str = "") -> Offer:
    """What a finished run lets buyers search: its served cards, and its encoder without cards or prototypes.

    Args:
        run: The run.
        studios: Where the artists' own ledgers lie; None: where the run says, if they are there.
        note: For buyers, about the cards.

    Raises:
        RunError, ConfigError: As `search.findable`.
    """
    cards, encoder = findable(run, studios)
    placed = encoder.place(cards.rows).numpy()
    return Offer(cards.artists, placed, _encoder_file(run, encoder), note[:MOST_NOTE])


def search_here(run: RunFolder, picture: Path, top: int = 5, studios: Path | None = None) -> Found:
    """Both sides in one process: the same bytes that a network would carry, and each side's time.

    Args:
        run: A finished run.
        picture: JPEG, PNG, WebP or TIFF.
        top: How many artists, >= 1.
        studios: Where the artists' own ledgers lie; None: where the run says, if they are there.

    Raises:
        GalleryError: The picture cannot be read.
        RunError, ConfigError: As `search.findable`.
    """
    served, took = Served.of(offer(run, studios)), [0.0]

    def answer(body: bytes, catalogue: Catalogue) -> bytes:
        began = time.process_time()
        found = served.index.answer(body)
        took[0] = time.process_time() - began
        return found

    query = _embed(served.offer.encoder, picture)
    found = _asked(query, served.catalogue, answer, top)
    return Found(found.matches, found.up, found.down, found.buyer_s - took[0], took[0], found.note)


def search_at(url: str, picture: Path, top: int = 5, kept: Path | None = None) -> Found:
    """Ask a service. It gets one ciphertext after the catalogue and the encoder were read, and nothing else.

    Args:
        url: Of the service.
        picture: JPEG, PNG, WebP or TIFF.
        top: How many artists, >= 1.
        kept: The encoder's file: used where it is the service's own, else written anew; None: kept nowhere.

    Raises:
        GalleryError: The picture cannot be read.
        SearchError: The service cannot be reached or refuses, or what it sends cannot be used.
    """
    client = Client(url)
    catalogue = client.catalogue()
    encoder = kept.read_bytes() if kept is not None and kept.exists() else b""
    if hashlib.sha256(encoder).hexdigest() != catalogue.encoder:
        encoder = client.encoder(catalogue)
        if kept is not None:
            write_bytes(kept, encoder)
    return _asked(_embed(encoder, picture), catalogue, client.answer, top)


def _asked(
    query: np.ndarray, catalogue: Catalogue, answer: Callable[[bytes, Catalogue], bytes], top: int
) -> Found:
    """Encrypt, ask, open, rank."""
    began = time.process_time()
    question = ask(query, catalogue)
    reply = answer(question.body, catalogue)
    matches = ranked(question.scores(reply), catalogue.names, top)
    took = time.process_time() - began
    return Found(matches, len(question.body), len(reply), took, None, catalogue.note)


def _encoder_file(run: RunFolder, encoder: StyleEncoder) -> bytes:
    """The encoder's tensors, and the few settings that it is built from, as a safetensors file."""
    config = run.config()
    assert isinstance(config, StyleConfig)
    told = {name: getattr(config.style, name) for name in _TOLD}
    told |= {"rank": config.rank, "size": config.gallery.size}
    arrays = {name: tensor.numpy() for name, tensor in encoder.state_dict().items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "encoder.safetensors"
        write_arrays(path, arrays, {"encoder": json.dumps(told)}, synced=False)
        return path.read_bytes()


def _embed(encoder: bytes, picture: Path) -> np.ndarray:
    """The unit embedding of a picture by an encoder's file, which a stranger may have written."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "encoder.safetensors"
        write_bytes(path, encoder, synced=False)
        try:
            arrays, metadata = read_arrays(path)
            told = json.loads(metadata["encoder"])
            rank, size = int(told.pop("rank")), int(told.pop("size"))
            style = StyleSection(**told)
            if set(told) != set(_TOLD) or not 1 <= size <= _LARGEST_SIDE or not 0 <= rank <= _MOST_RANK:
                raise ValueError("its settings are not an encoder's")
            built = encoder_from_arrays(style, arrays, rank)
        except (RunError, FederationError) as error:
            raise SearchError(f"this is no encoder: {error}".replace(f"{path}: ", "")) from None
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError, ValidationError):
            raise SearchError("this is no encoder: its settings are not an encoder's") from None
    return embedded(built, picture, size)
