"""What travels: one instruction to each artist and one reply from it, a round.

Flower's records carry it. Whatever comes in is checked before it is used: names, shapes, finiteness. What
never changes in a run travels once; from then on its digest does.
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
from fedstyle_secure.system import Arrays, Shapes, State

VERSION = 2
_DTYPES = ("float32", "int64")
_MAX_NDIM = 8
_MAX_TEXTS = 10**6
"""Bytes of all names in an instruction."""


@dataclass(frozen=True, eq=False)
class Instruction:
    """What the platform sends to an artist: a state, perhaps without its fixed part.

    Attributes:
        round: From 0.
        fixed_digest: Of the fixed part.
        fixed: The fixed part, the first time that an artist is sent one.
        trained: The weights that artists train.
        public: What else everybody is sent.
        texts: Names that belong to the arrays.
    """

    round: int
    fixed_digest: str
    fixed: Arrays | None
    trained: Arrays
    public: Arrays
    texts: Mapping[str, tuple[str, ...]]

    def state(self, fixed: Arrays) -> State:
        """The state that was sent.

        Args:
            fixed: The fixed part, with the digest that the instruction says.
        """
        return State(self.round, fixed, self.trained, self.public, self.texts)

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
            number, digest, texts = config["number"], str(config["fixed"]), _texts(str(config["texts"]))
            if type(number) is not int or number < 0:
                raise ValueError("number")
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise FederationError(f"instruction: bad or missing field: {error}") from None
        fixed = _numpy(record, "fixed") if "fixed" in record.array_records else None
        if fixed is not None and arrays_digest(fixed) != digest:
            raise FederationError("instruction: the fixed part is not the one that its digest says")
        trained, public = _numpy(record, "trained"), _numpy(record, "public")
        for name, array in (*trained.items(), *public.items(), *(fixed or {}).items()):
            if array.dtype == np.float32 and not np.isfinite(array).all():
                raise FederationError(f"instruction: tensor {name!r} must be finite")
        return cls(number, digest, fixed, trained, public, texts)


def _texts(text: str) -> dict[str, tuple[str, ...]]:
    if len(text) > _MAX_TEXTS:
        raise ValueError(f"more than {_MAX_TEXTS} characters of names")
    found = json.loads(text)
    if not all(isinstance(value, str) for values in found.values() for value in values):
        raise ValueError("names are texts")
    return {name: tuple(values) for name, values in found.items()}


def instruction_record(state: State, *, fixed: bool) -> RecordDict:
    """An instruction as Flower records.

    Args:
        state: What is sent.
        fixed: Whether the fixed part goes with it.
    """
    told: dict[str, int | str] = {
        "version": VERSION,
        "number": state.round,
        "fixed": state.fixed_digest,
        "texts": json.dumps(dict(state.texts)),
    }
    record = RecordDict({"round": ConfigRecord(dict(told))})
    record["trained"], record["public"] = _arrays(state.trained), _arrays(state.public)
    if fixed:
        record["fixed"] = _arrays(state.fixed)
    return record


@dataclass(frozen=True)
class Reply:
    """What an artist sends back: its releases by kind, nothing else of its pictures.

    Attributes:
        artist: Who sends it.
        arrays: Kinds of release to named arrays, int64 where the kind is of integers, else float32.
        withdrawn: Whether the artist has withdrawn; nothing else is in the reply then.
    """

    artist: str
    arrays: Mapping[str, Mapping[str, np.ndarray]]
    withdrawn: bool = False

    @classmethod
    def from_record(
        cls, record: RecordDict, shapes: Mapping[str, Shapes], integers: Collection[str] = ()
    ) -> Reply:
        """Read and check a reply.

        Args:
            record: What came.
            shapes: What must be in it, by kind and tensor name. A kind that is optional is left out
                of the check only if it is wholly absent (an artist who publishes nothing).
            integers: Kinds that are made of integers.

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
            dtype = "int64" if kind in integers else "float32"
            for name, array in group.items():
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


def _arrays(named: Arrays) -> ArrayRecord:
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
    try:
        # A copy: whoever writes into it writes into nobody else's message.
        return np.frombuffer(array.data, dtype, offset=len(start)).reshape(shape).copy()
    except ValueError:
        raise FederationError(f"tensor {name!r} has a shape that no array can have") from None
