"""What travels: one instruction to each artist and one reply from it, a round.

Flower's records carry it. Whatever comes in is checked before it is used: names, shapes, finiteness.
"""

from __future__ import annotations

import io
import json
import math
from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from numpy.lib import format as npy

from fedstyle_secure.errors import FederationError
from fedstyle_secure.files import arrays_digest
from fedstyle_secure.privacy.gate import Sealed
from fedstyle_secure.privacy.plan import PLAUSIBLE
from fedstyle_secure.style.prototypes import Styles

VERSION = 1
_DTYPES = ("float32", "int64")
_INTEGERS = ("sum", "metrics")
"""Kinds of release that are made of integers."""

_MAX_NDIM = 8


@dataclass(frozen=True)
class Instruction:
    """What the platform asks of an artist.

    Attributes:
        round: From 0.
        encoder: The encoder's arrays by name.
        styles: Shared styles with their prototypes.
        card_artists: Artists whose cards are out.
        cards: float32 (a, d), their cards.
    """

    round: int
    encoder: Mapping[str, np.ndarray]
    styles: Styles
    card_artists: tuple[str, ...]
    cards: np.ndarray

    def digest(self) -> str:
        """SHA-256 of everything in the instruction."""
        said = [VERSION, self.round, self.styles.names, self.styles.by_label, self.card_artists]
        named = {**self.encoder, "#prototypes": self.styles.prototypes, "#cards": self.cards}
        return arrays_digest(named, json.dumps(said))

    def to_record(self) -> RecordDict:
        """As Flower records."""
        return RecordDict(
            {
                "encoder": _arrays(self.encoder),
                "anchors": _arrays({"prototypes": self.styles.prototypes, "cards": self.cards}),
                "round": ConfigRecord(
                    {
                        "version": VERSION,
                        "number": self.round,
                        "styles": json.dumps(self.styles.names),
                        "by-label": self.styles.by_label,
                        "card-artists": json.dumps(self.card_artists),
                    }
                ),
            }
        )

    @classmethod
    def from_record(cls, record: RecordDict) -> Instruction:
        """Read and check an instruction.

        Raises:
            FederationError: A record or key is missing, or a shape or value is wrong; names it.
        """
        config = record.config_records.get("round")
        if config is None or config.get("version") != VERSION:
            raise FederationError(f"instruction is not of protocol version {VERSION}")
        try:
            names = tuple(json.loads(str(config["styles"])))
            artists = tuple(json.loads(str(config["card-artists"])))
            number, by_label = int(config["number"]), bool(config["by-label"])  # type: ignore[arg-type]
        except (KeyError, TypeError, ValueError) as error:
            raise FederationError(f"instruction: bad or missing field: {error}") from None
        encoder = _numpy(record, "encoder")
        anchors = _numpy(record, "anchors")
        for name, rows in (("prototypes", len(names)), ("cards", len(artists))):
            if name not in anchors or anchors[name].ndim != 2 or len(anchors[name]) != rows:
                raise FederationError(f"instruction: tensor {name!r} must have {rows} rows")
            if anchors[name].dtype != np.float32 or not np.isfinite(anchors[name]).all():
                raise FederationError(f"instruction: tensor {name!r} must be finite float32")
        if anchors["prototypes"].shape[1] != anchors["cards"].shape[1]:
            raise FederationError("instruction: tensor 'cards' must be as wide as tensor 'prototypes'")
        return cls(number, encoder, Styles(names, anchors["prototypes"], by_label), artists, anchors["cards"])


@dataclass(frozen=True)
class Reply:
    """What an artist sends back: its releases by kind, nothing else of its pictures.

    Attributes:
        artist: Who sends it.
        arrays: Kinds of release to named arrays, int64 for `sum` and `metrics`, else float32.
        withdrawn: Whether the artist has withdrawn; nothing else is in the reply then.
    """

    artist: str
    arrays: Mapping[str, Mapping[str, np.ndarray]]
    withdrawn: bool = False

    @classmethod
    def from_record(cls, record: RecordDict, shapes: Mapping[str, Mapping[str, tuple[int, ...]]]) -> Reply:
        """Read and check a reply.

        Args:
            record: What came.
            shapes: What must be in it, by kind and tensor name. A kind that is optional is left out
                of the check only if it is wholly absent (an artist without a card).

        Raises:
            FederationError: Names the artist and the tensor that is missing, foreign, misshapen or
                not finite.
        """
        config = record.config_records.get("reply")
        artist = str(config["artist"]) if config is not None and "artist" in config else ""
        if not artist:
            raise FederationError("a reply does not say which artist sent it")
        if config is not None and config.get("withdrawn") is True:
            return cls(artist, {}, withdrawn=True)
        foreign = sorted(set(record.array_records) - set(shapes))
        if foreign:
            raise FederationError(f"artist {artist!r}: sent {foreign[0]!r}, which was not asked for")
        try:
            arrays = {kind: _numpy(record, kind) for kind in record.array_records}
        except FederationError as error:
            raise FederationError(f"artist {artist!r}: {error}") from None
        for kind, group in arrays.items():
            if set(group) != set(shapes[kind]):
                odd = sorted(set(group) ^ set(shapes[kind]))[0]
                raise FederationError(f"artist {artist!r}: {kind}: tensor {odd!r} is missing or foreign")
            for name, array in group.items():
                dtype = "int64" if kind in _INTEGERS else "float32"
                if array.shape != shapes[kind][name] or array.dtype != dtype:
                    raise FederationError(
                        f"artist {artist!r}: {kind}: tensor {name!r} is {array.dtype} {array.shape}, "
                        f"not {dtype} {shapes[kind][name]}"
                    )
                if not ((array > -PLAUSIBLE) & (array < PLAUSIBLE)).all():
                    raise FederationError(
                        f"artist {artist!r}: {kind}: tensor {name!r} is not finite or beyond {PLAUSIBLE:g}"
                    )
        return cls(artist, arrays)


def reply_record(artist: str, sealed: Sealed, summed: Collection[str]) -> RecordDict:
    """A reply as Flower records. It takes sealed releases only, so nothing unaccounted can be in it.

    Args:
        artist: Who replies.
        sealed: The round's releases.
        summed: Kinds that leave inside an encrypted sum only, and so not here.
    """
    record = RecordDict({"reply": ConfigRecord({"artist": artist})})
    for kind, group in sealed.arrays.items():
        if kind not in summed:
            record[kind] = _arrays(group)
    return record


def withdrawal_record(artist: str) -> RecordDict:
    """The reply of an artist who has withdrawn."""
    return RecordDict({"reply": ConfigRecord({"artist": artist, "withdrawn": True})})


def _arrays(named: Mapping[str, np.ndarray]) -> ArrayRecord:
    return ArrayRecord(OrderedDict((name, Array(np.ascontiguousarray(a))) for name, a in named.items()))


def _numpy(record: RecordDict, name: str) -> dict[str, np.ndarray]:
    if name not in record.array_records:
        raise FederationError(f"record {name!r} is missing")
    return {key: _parse(array, key) for key, array in record.array_records[name].items()}


def _parse(array: Array, name: str) -> np.ndarray:
    """An array from a peer's bytes: never interpreted, only compared with what its shape must look like."""
    shape, kind = tuple(array.shape), array.dtype
    if kind not in _DTYPES:
        raise FederationError(f"tensor {name!r} has the type {str(kind)[:20]!r}, not one of {_DTYPES}")
    if len(shape) > _MAX_NDIM or not all(isinstance(n, int) and 0 <= n < 2**31 for n in shape):
        raise FederationError(f"tensor {name!r} has a shape that its bytes cannot have")
    dtype = np.dtype(kind)
    header = io.BytesIO()
    npy.write_array_header_1_0(header, {"descr": dtype.str, "fortran_order": False, "shape": shape})
    start = header.getvalue()
    if not array.data.startswith(start) or len(array.data) != len(start) + dtype.itemsize * math.prod(shape):
        raise FederationError(f"tensor {name!r} has bytes that do not fit its shape {shape}")
    return np.frombuffer(array.data, dtype, offset=len(start)).reshape(shape)
