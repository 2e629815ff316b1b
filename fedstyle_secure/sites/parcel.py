"""A message's content in one piece: Flower sends every array by itself, in several requests each, and its
SuperLink spends some 10 ms on a request."""

from __future__ import annotations

from flwr.app import ConfigRecord, RecordDict
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto
from flwr.proto.recorddict_pb2 import RecordDict as Proto
from google.protobuf.message import DecodeError

from fedstyle_secure.errors import FederationError

PARCEL = "parcel"
"""Name of the record; a header stands in the same one, as each record is an object of its own to Flower."""

_BODY = "body"


def pack(content: RecordDict) -> bytes:
    """All of a content, as bytes that `unpack` reads."""
    data: bytes = recorddict_to_proto(content).SerializeToString(deterministic=True)
    return data


def unpack(data: bytes) -> RecordDict:
    """The content that was packed. Raises FederationError where there is none."""
    try:
        return recorddict_from_proto(Proto.FromString(data))
    except (DecodeError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise FederationError(f"a message's content cannot be read: {type(error).__name__}") from None


def wrapped(content: RecordDict) -> RecordDict:
    """A content that holds another one in one piece."""
    return RecordDict({PARCEL: ConfigRecord({_BODY: pack(content)})})


def body(content: RecordDict) -> bytes:
    """The bytes of what a content holds in one piece. Raises FederationError where it holds nothing so."""
    record = content.config_records.get(PARCEL)
    data = None if record is None else record.get(_BODY)
    if not isinstance(data, bytes):
        raise FederationError("a message's content is not in one piece")
    return data
