"""What comes from a peer is measured first, its signature checked next, and only then read."""

from __future__ import annotations

import dataclasses
import json
import tracemalloc

import numpy as np
import pytest
from flwr.app import ConfigRecord
from hypothesis import given, settings
from hypothesis import strategies as st

from fedstyle_secure.errors import FederationError
from fedstyle_secure.federation.offers import (
    Offer,
    Place,
    manifest_request,
    open_request,
    read_manifest_request,
    read_open_request,
)
from fedstyle_secure.secure_sum import manifest as manifest_module
from fedstyle_secure.secure_sum import transcript
from fedstyle_secure.secure_sum.artist_side import ANNOUNCEMENT_BYTES
from fedstyle_secure.secure_sum.codes import Code, Refusal
from fedstyle_secure.secure_sum.identity import Identity
from fedstyle_secure.secure_sum.manifest import Manifest, Quantisation, SignedManifest, Terms, sign_manifest
from fedstyle_secure.secure_sum.messages import Receipt, Request, sign_upload
from fedstyle_secure.secure_sum.profiles import MOST_ARTISTS
from fedstyle_secure.secure_sum.spool import Spool

TERMS = Terms(27, 3, 12, Quantisation(1.0, 10, "float"))
DEEP = b"[" * 200_000


@pytest.fixture(scope="module")
def opener(tmp_path_factory):
    return Identity.load(tmp_path_factory.mktemp("opener") / "identity.key")


@pytest.fixture(scope="module")
def signed(opener):
    seats = tuple((f"a{i}", f"{i:064x}") for i in range(3))
    return sign_manifest(Manifest("run", 0, 0, 0, "ab" * 32, seats, TERMS), opener)


@pytest.fixture
def no_reading(monkeypatch):
    """Nothing may be parsed from here on."""

    def read(*_, **__):
        raise AssertionError("read before its signature was checked")

    monkeypatch.setattr(json, "loads", read)


def announcements():
    return {f"a{i}": bytes([i]) * ANNOUNCEMENT_BYTES for i in range(3)}


def test_an_offer_comes_back_as_it_went(opener, signed):
    manifest = signed.read(opener.public)
    offer = Offer.of(signed, manifest, b"public", announcements())
    record = Place("run", 0, 0, 0).to_record()
    assert Offer.from_record(record) is None
    offer.add_to(record)
    assert Offer.from_record(record) == offer
    assert offer.announced(manifest) == announcements()


@pytest.mark.parametrize("data", [b"", bytes(ANNOUNCEMENT_BYTES), bytes(3 * ANNOUNCEMENT_BYTES + 1), DEEP])
def test_announcements_that_are_not_one_an_artist_are_refused(opener, signed, data):
    offer = Offer(signed, b"public", data)
    with pytest.raises(FederationError, match="'announcements' must be 3 times 96 bytes"):
        offer.announced(signed.read(opener.public))


def test_an_offer_is_not_read_before_its_signature_is_checked(opener, signed, no_reading):
    for data in (signed.data, DEEP, b'{"a":' * 100_000):
        record = Place("run", 0, 0, 0).to_record()
        Offer(SignedManifest(data, bytes(64)), b"public", DEEP).add_to(record)
        offer = Offer.from_record(record)
        with pytest.raises(Refusal) as refusal:
            offer.signed.read(opener.public)
        assert refusal.value.code is Code.OPENER_SIGNATURE


def test_a_manifest_is_measured_before_its_signature_is_checked(opener, monkeypatch):
    """Also one that the opener signed: a signature is checked over a bounded number of bytes."""
    data = b" " * (2**20 + 1)
    signed = SignedManifest(data, opener.sign("manifest", data))

    def touched(*_):
        raise AssertionError("a signature was checked")

    monkeypatch.setattr(manifest_module, "verified", touched)
    with pytest.raises(Refusal) as refusal:
        signed.read(opener.public)
    assert refusal.value.code is Code.MANIFEST


def test_what_is_signed_and_malformed_is_refused_by_its_code(opener):
    for data in (DEEP, b'{"a":' * 100_000, b"{}", b"\xff", b"[]"):
        with pytest.raises(Refusal) as refusal:
            SignedManifest(data, opener.sign("manifest", data)).read(opener.public)
        assert refusal.value.code is Code.MANIFEST


def test_a_digest_needs_no_reading(opener, signed, no_reading):
    assert SignedManifest(DEEP, b"").digest != signed.digest
    manifest = Manifest("run", 0, 0, 0, "ab" * 32, tuple((f"a{i}", f"{i:064x}") for i in range(3)), TERMS)
    assert signed.digest == manifest.digest


def test_a_request_comes_back_as_it_went(opener, signed):
    uploads = [sign_upload(opener, f"a{i}", signed.digest, bytes([i]) * 40) for i in range(3)]
    receipts, bodies = tuple(u.receipt for u in uploads), [u.body for u in uploads]
    for sent in (bodies, None):
        request = Request(signed, receipts, bytes(40), sent)
        read = read_open_request(open_request(request))
        assert read == dataclasses.replace(request, uploads=read.uploads)
        assert read.uploads is None if sent is None else list(read.uploads) == sent


def test_uploads_lie_in_memory_once_however_many_they_are(opener, signed):
    """They lay there three times, in pieces on both sides of the message and joined in it."""
    count, size = 200, 40_000
    spool = Spool(size)
    for i in range(count):
        spool.append(bytes([i]) * size)
    receipts = tuple(Receipt(f"a{i}", signed.digest, "ab" * 32, bytes(64)) for i in range(count))
    tracemalloc.start()
    try:
        record = open_request(Request(signed, receipts, bytes(size), spool))
        assert tracemalloc.get_traced_memory()[1] < 1.3 * count * size
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        read = read_open_request(record)
        assert [body[:1] for body in read.uploads] == [bytes([i]) for i in range(count)]
        assert tracemalloc.get_traced_memory()[1] - before < 0.1 * count * size
    finally:
        tracemalloc.stop()


def _spoilt(record, **changes):
    record["request"] = ConfigRecord({**record["request"], **changes})
    return record


@given(data=st.data())
@settings(deadline=None)
def test_a_request_is_cut_by_known_lengths_without_reading(opener, signed, data):
    """Every part of the wrong length or type is a FederationError; the rest is checked by its signature."""
    uploads = [sign_upload(opener, f"a{i}", signed.digest, bytes([i]) * 40) for i in range(3)]
    request = Request(signed, tuple(u.receipt for u in uploads), bytes(40), [u.body for u in uploads])
    key, size = data.draw(
        st.sampled_from([("bodies", 96), ("signatures", 192), ("uploads", 120), ("artists", 3)])
    )
    if key == "artists":
        wrong = data.draw(
            st.sampled_from([["a0"], ["a"] * (MOST_ARTISTS + 1), [1, 2, 3], "a0", [b"x"] * 3, "[" * 10**5])
        )
    else:
        wrong = data.draw(st.binary(min_size=1, max_size=300).filter(lambda b: len(b) != size))
    with pytest.raises(FederationError):
        read_open_request(_spoilt(open_request(request), **{key: wrong}))


def test_an_open_request_is_not_read_before_the_manifests_signature(opener, signed, no_reading):
    request = Request(dataclasses.replace(signed, signature=bytes(64)), (), b"", None)
    read = read_open_request(open_request(request))
    with pytest.raises(Refusal) as refusal:
        read.signed.read(opener.public)
    assert refusal.value.code is Code.OPENER_SIGNATURE


def test_what_the_platform_asks_for_a_sum_is_flat_and_bounded():
    record = manifest_request(Place("run", 0, 1, 2), ("a0", "a1"), TERMS, "ab" * 32)
    assert read_manifest_request(record) == (Place("run", 0, 1, 2), ("a0", "a1"), TERMS, "ab" * 32)
    good = dict(record["cohort"])
    cases = [
        {"artists": ["a"] * (MOST_ARTISTS + 1)},
        {"artists": json.dumps(["a0", "a1"])},
        {"artists": [1.0, 2.0]},
        {"terms": DEEP},
        {"terms": b"[" * 4000},
        {"terms": good["terms"] + b" "},
        {"terms": b"1" * 4000},
        {"terms": "{}"},
        {"context": b"ab"},
    ]
    for change in cases:
        record["cohort"] = ConfigRecord({**good, **change})
        with pytest.raises(FederationError):
            read_manifest_request(record)


def test_a_line_of_a_transcript_is_not_read_before_its_signature(opener, tmp_path, no_reading):
    digits = b"0" * 128
    lines = [
        DEEP,
        b'{"entry":' + DEEP + b',"signature":"' + digits + b'"}',
        b'{"entry":{},"signature":"' + digits[1:] + b'"}',
        b'{"entry":{},"signature":"' + b"g" * 128 + b'"}',
        b'{"signature":"' + digits + b'","entry":{}}',
        b"",
        b'{"entry":',
    ]
    path = tmp_path / "transcript.jsonl"
    path.write_bytes(b"\n".join(lines) + b"\n")
    problems = transcript.verify(path, opener.public)
    assert [p.split(":")[0] for p in problems] == [f"line {i}" for i in range(1, len(lines) + 1)]
    assert "signature does not fit" in problems[1]
    for closing, fault in (
        (b'{"closing":' + DEEP, "not a closing: not a line"),
        (b'{"closing":' + DEEP + b',"signature":"' + digits + b'"}', "signature does not fit the closing"),
    ):
        path.write_bytes(closing + b"\n")
        (problem,) = transcript.verify(path, opener.public)
        assert fault in problem
    body = b'{"entry":{},"signature":"' + digits + b'"}'
    with pytest.raises(ValueError, match="not a line"):
        transcript.shows(b" " * 2**24 + body, np.zeros(1, dtype=np.int64), np.zeros(0, dtype=bool))
