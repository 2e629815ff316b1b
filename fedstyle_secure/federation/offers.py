"""The messages around an encrypted sum, as Flower records: bytes and texts only, read by key and type."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from flwr.app import ConfigRecord, RecordDict

from fedstyle_secure.errors import FederationError
from fedstyle_secure.secure_sum.encoding import canonical, mapping, parse, unhex
from fedstyle_secure.secure_sum.manifest import SignedManifest, Terms
from fedstyle_secure.secure_sum.messages import Receipt, Request, Upload

_MAX_TERMS = 2**16
_MAX_FILES = 2**22
_T = TypeVar("_T", str, int, bytes)


@dataclass(frozen=True)
class Place:
    """Which attempt at which sum.

    Attributes:
        run: Identity of the run.
        epoch: Of the opener's key; another one wherever another vector is summed than before.
        round: Of the run.
        attempt: At the round.
    """

    run: str
    epoch: int
    round: int
    attempt: int

    def to_record(self) -> RecordDict:
        """As Flower records."""
        return RecordDict({"place": ConfigRecord(vars(self).copy())})

    @classmethod
    def from_record(cls, record: RecordDict) -> Place:
        """Raises FederationError naming what is missing."""
        values = _values(record, "place")
        return cls(
            _get(values, "run", str),
            _get(values, "epoch", int),
            _get(values, "round", int),
            _get(values, "attempt", int),
        )


@dataclass(frozen=True)
class Offer:
    """What an artist needs to seal its values.

    Attributes:
        signed: The opener's manifest.
        public: The public encryption key.
        announcements: Every artist's, by name.
    """

    signed: SignedManifest
    public: bytes
    announcements: Mapping[str, bytes]

    def add_to(self, record: RecordDict) -> None:
        """Put it into an instruction's record."""
        record["offer"] = ConfigRecord(
            {
                "manifest": self.signed.data,
                "signature": self.signed.signature,
                "public": self.public,
                "announcements": json.dumps({name: data.hex() for name, data in self.announcements.items()}),
            }
        )

    @classmethod
    def from_record(cls, record: RecordDict) -> Offer | None:
        """The offer in an instruction's record, if there is one; FederationError if it is malformed."""
        if "offer" not in record:
            return None
        values = _values(record, "offer")
        try:
            named = json.loads(_get(values, "announcements", str))
            announcements = {str(name): bytes.fromhex(data) for name, data in named.items()}
        except (ValueError, TypeError, AttributeError):
            raise FederationError("offer: 'announcements' is malformed") from None
        signed = SignedManifest(_get(values, "manifest", bytes), _get(values, "signature", bytes))
        return cls(signed, _get(values, "public", bytes), announcements)


def manifest_request(place: Place, cohort: tuple[str, ...], terms: Terms, context: str) -> RecordDict:
    """What the platform asks the opener for before a sum; `context` is the digest of the instruction."""
    record = place.to_record()
    record["cohort"] = ConfigRecord(
        {"artists": json.dumps(cohort), "terms": canonical(terms.to_json()), "context": context}
    )
    return record


def read_manifest_request(record: RecordDict) -> tuple[Place, tuple[str, ...], Terms, str]:
    """The inverse. Raises FederationError, or SecureSumError for terms that cannot be."""
    values = _values(record, "cohort")
    try:
        cohort = tuple(str(artist) for artist in json.loads(_get(values, "artists", str)))
        terms = Terms.from_json(parse(_get(values, "terms", bytes), _MAX_TERMS))
    except (ValueError, TypeError):
        raise FederationError("cohort: malformed") from None
    return Place.from_record(record), cohort, terms, _get(values, "context", str)


def manifest_record(signed: SignedManifest, public: bytes) -> RecordDict:
    """The opener's answer to it."""
    return RecordDict(
        {"manifest": ConfigRecord({"data": signed.data, "signature": signed.signature, "public": public})}
    )


def read_manifest(record: RecordDict) -> tuple[SignedManifest, bytes]:
    """The inverse."""
    values = _values(record, "manifest")
    signed = SignedManifest(_get(values, "data", bytes), _get(values, "signature", bytes))
    return signed, _get(values, "public", bytes)


def announcement_record(artist: str, data: bytes) -> RecordDict:
    """An artist's answer to a place."""
    return RecordDict({"announcement": ConfigRecord({"artist": artist, "data": data})})


def read_announcement(record: RecordDict) -> tuple[str, bytes]:
    """The inverse."""
    values = _values(record, "announcement")
    return _get(values, "artist", str), _get(values, "data", bytes)


def add_upload(record: RecordDict, upload: Upload) -> None:
    """Put an upload into a reply's record; the artist's name is there already."""
    record["upload"] = ConfigRecord(
        {"manifest": upload.manifest, "body": upload.body, "signature": upload.signature}
    )


def read_upload(record: RecordDict, artist: str) -> Upload | None:
    """The upload in a reply's record, if there is one."""
    if "upload" not in record:
        return None
    values = _values(record, "upload")
    return Upload(
        artist,
        _get(values, "manifest", str),
        _get(values, "body", bytes),
        _get(values, "signature", bytes),
    )


def open_request(request: Request) -> RecordDict:
    """What the platform asks the opener to open."""
    receipts = [[r.artist, r.manifest, r.body, r.signature.hex()] for r in request.receipts]
    return RecordDict(
        {
            "request": ConfigRecord(
                {
                    "manifest": request.signed.data,
                    "signature": request.signed.signature,
                    "receipts": json.dumps(receipts),
                    "total": request.total,
                    "uploads": b"".join(request.uploads) if request.uploads is not None else b"",
                }
            )
        }
    )


def read_open_request(record: RecordDict) -> Request:
    """The inverse. Raises FederationError."""
    values = _values(record, "request")
    try:
        receipts = tuple(
            Receipt(str(artist), str(manifest), str(body), bytes.fromhex(signature))
            for artist, manifest, body, signature in json.loads(_get(values, "receipts", str))
        )
    except (ValueError, TypeError):
        raise FederationError("request: 'receipts' is malformed") from None
    total, joined = _get(values, "total", bytes), _get(values, "uploads", bytes)
    uploads = None
    if joined:
        if not total or len(joined) % len(total):
            raise FederationError("request: 'uploads' is not a whole number of bodies")
        size = len(total)
        uploads = [joined[i : i + size] for i in range(0, len(joined), size)]
    signed = SignedManifest(_get(values, "manifest", bytes), _get(values, "signature", bytes))
    return Request(signed, receipts, total, uploads)


def closing_request(run: str, files: Mapping[str, str]) -> RecordDict:
    """What the platform asks of the opener at a run's end: to sign the hashes of its files."""
    return RecordDict({"closing": ConfigRecord({"run": run, "files": canonical(dict(files))})})


def read_closing_request(record: RecordDict) -> tuple[str, dict[str, str]]:
    """The inverse. Raises FederationError."""
    values = _values(record, "closing")
    try:
        files = mapping(parse(_get(values, "files", bytes), _MAX_FILES))
        return _get(values, "run", str), {name: unhex(value, 32).hex() for name, value in files.items()}
    except ValueError:
        raise FederationError("closing: 'files' is malformed") from None


def closing_record(line: bytes) -> RecordDict:
    """The opener's answer to it."""
    return RecordDict({"closed": ConfigRecord({"line": line})})


def read_closing(record: RecordDict) -> bytes:
    """The inverse: a transcript's last line. Raises FederationError."""
    return _get(_values(record, "closed"), "line", bytes)


def opening_record(total: np.ndarray, kept: np.ndarray, line: bytes) -> RecordDict:
    """The opener's answer to it."""
    return RecordDict(
        {
            "opening": ConfigRecord(
                {
                    "total": np.ascontiguousarray(total, "<i8").tobytes(),
                    "kept": np.asarray(kept, np.uint8).tobytes(),
                    "line": line,
                }
            )
        }
    )


def read_opening(record: RecordDict, terms: Terms) -> tuple[np.ndarray, np.ndarray, bytes]:
    """The inverse: int64 (values,), bool (styles,), transcript line. Raises FederationError."""
    values = _values(record, "opening")
    total = np.frombuffer(_get(values, "total", bytes), "<i8").astype(np.int64)
    kept = np.frombuffer(_get(values, "kept", bytes), np.uint8).astype(bool)
    if total.shape != (terms.values,) or kept.shape != (terms.groups.styles if terms.groups else 0,):
        raise FederationError("opening: not of the size that the terms say")
    return total, kept, _get(values, "line", bytes)


def _values(record: RecordDict, name: str) -> ConfigRecord:
    values = record.config_records.get(name)
    if values is None:
        raise FederationError(f"record {name!r} is missing")
    return values


def _get(values: ConfigRecord, key: str, kind: type[_T]) -> _T:
    value = values.get(key)
    if type(value) is not kind:
        raise FederationError(f"{key!r} is missing or not of the type {kind.__name__}")
    return value
