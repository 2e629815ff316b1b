"""The messages around an encrypted sum, as Flower records: bytes and texts only, read by key and type.

What is signed is not read here: it is cut by lengths that are known beforehand, and read by whoever has
checked its signature. What nobody signs, the platform's questions, holds flat texts and bounded terms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from flwr.app import ConfigRecord, RecordDict

from fedstyle_secure.errors import FederationError
from fedstyle_secure.secure_sum.artist_side import ANNOUNCEMENT_BYTES
from fedstyle_secure.secure_sum.encoding import canonical, mapping, parse, unhex
from fedstyle_secure.secure_sum.identity import SIGNATURE_BYTES
from fedstyle_secure.secure_sum.manifest import Manifest, SignedManifest, Terms
from fedstyle_secure.secure_sum.messages import Receipt, Request, Upload
from fedstyle_secure.secure_sum.profiles import MOST_ARTISTS
from fedstyle_secure.secure_sum.spool import Spool, joined

_MAX_TERMS = 2**12
_MAX_FILES = 2**22
_DIGEST_BYTES = 32
_T = TypeVar("_T", str, int, bytes, list[Any])


@dataclass(frozen=True)
class Place:
    """Which attempt at which sum.

    Attributes:
        run: Identity of the run.
        epoch: Another one wherever another vector is summed than before.
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
        announcements: Every artist's, one after the other in the order of the manifest's roster.
    """

    signed: SignedManifest
    public: bytes
    announcements: bytes

    @classmethod
    def of(
        cls, signed: SignedManifest, manifest: Manifest, public: bytes, announced: Mapping[str, bytes]
    ) -> Offer:
        """The offer of a manifest to all of its artists; each announced `ANNOUNCEMENT_BYTES` bytes."""
        return cls(signed, public, b"".join(announced[artist] for artist in manifest.artists))

    def announced(self, manifest: Manifest) -> dict[str, bytes]:
        """What each artist of the manifest, whose signature has been checked, announced.

        Raises:
            FederationError: Not as many as the roster has artists.
        """
        data = _cut(self.announcements, ANNOUNCEMENT_BYTES, len(manifest.roster), "offer: 'announcements'")
        return dict(zip(manifest.artists, data, strict=True))

    def add_to(self, record: RecordDict) -> None:
        """Put it into an instruction's record."""
        record["offer"] = ConfigRecord(
            {
                "manifest": self.signed.data,
                "signature": self.signed.signature,
                "public": self.public,
                "announcements": self.announcements,
            }
        )

    @classmethod
    def from_record(cls, record: RecordDict) -> Offer | None:
        """The offer in an instruction's record, if there is one; FederationError if it is malformed."""
        if "offer" not in record:
            return None
        values = _values(record, "offer")
        signed = SignedManifest(_get(values, "manifest", bytes), _get(values, "signature", bytes))
        return cls(signed, _get(values, "public", bytes), _get(values, "announcements", bytes))


def manifest_request(place: Place, cohort: tuple[str, ...], terms: Terms, context: str) -> RecordDict:
    """What the platform asks the opener for before a sum; `context` is the digest of the instruction."""
    record = place.to_record()
    record["cohort"] = ConfigRecord(
        {"artists": list(cohort), "terms": canonical(terms.to_json()), "context": context}
    )
    return record


def read_manifest_request(record: RecordDict) -> tuple[Place, tuple[str, ...], Terms, str]:
    """The inverse. Raises FederationError, or SecureSumError for terms that cannot be."""
    values = _values(record, "cohort")
    cohort = _names(values)
    try:
        terms = Terms.from_json(parse(_get(values, "terms", bytes), _MAX_TERMS))
    except ValueError:
        raise FederationError("cohort: 'terms' is malformed") from None
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
    receipts = request.receipts
    return RecordDict(
        {
            "request": ConfigRecord(
                {
                    "manifest": request.signed.data,
                    "signature": request.signed.signature,
                    "artists": [receipt.artist for receipt in receipts],
                    "bodies": b"".join(bytes.fromhex(receipt.body) for receipt in receipts),
                    "signatures": b"".join(receipt.signature for receipt in receipts),
                    "total": request.total,
                    "uploads": joined(request.uploads) if request.uploads is not None else b"",
                }
            )
        }
    )


def read_open_request(record: RecordDict) -> Request:
    """The inverse; every receipt is for the manifest that comes with it. Raises FederationError."""
    values = _values(record, "request")
    signed = SignedManifest(_get(values, "manifest", bytes), _get(values, "signature", bytes))
    artists = _names(values)
    bodies = _cut(_get(values, "bodies", bytes), _DIGEST_BYTES, len(artists), "request: 'bodies'")
    signatures = _cut(
        _get(values, "signatures", bytes), SIGNATURE_BYTES, len(artists), "request: 'signatures'"
    )
    asked = signed.digest
    receipts = tuple(
        Receipt(artist, asked, body.hex(), signature)
        for artist, body, signature in zip(artists, bodies, signatures, strict=True)
    )
    total, uploads = _get(values, "total", bytes), _get(values, "uploads", bytes)
    if not uploads:
        return Request(signed, receipts, total, None)
    _require_pieces(uploads, len(total), len(artists), "request: 'uploads'")
    return Request(signed, receipts, total, Spool.over(uploads, len(total)))


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
    """The inverse: int64 (values,), bool (groups,), transcript line. Raises FederationError."""
    values = _values(record, "opening")
    total = np.frombuffer(_get(values, "total", bytes), "<i8").astype(np.int64)
    kept = np.frombuffer(_get(values, "kept", bytes), np.uint8).astype(bool)
    if total.shape != (terms.values,) or kept.shape != (terms.groups.count if terms.groups else 0,):
        raise FederationError("opening: not of the size that the terms say")
    return total, kept, _get(values, "line", bytes)


def _names(values: ConfigRecord) -> tuple[str, ...]:
    names = _get(values, "artists", list)
    if len(names) > MOST_ARTISTS or not all(type(name) is str for name in names):
        raise FederationError(f"'artists' must be at most {MOST_ARTISTS} names")
    return tuple(names)


def _cut(data: bytes, size: int, count: int, what: str) -> list[bytes]:
    """`count` pieces of `size` bytes, or FederationError naming what they are."""
    _require_pieces(data, size, count, what)
    return [data[i * size : (i + 1) * size] for i in range(count)]


def _require_pieces(data: bytes, size: int, count: int, what: str) -> None:
    if len(data) != size * count:
        raise FederationError(f"{what} must be {count} times {size} bytes")


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
