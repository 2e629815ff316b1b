"""The platform adds what it has checked, and holds no key."""

from __future__ import annotations

import dataclasses
import gc
import hashlib
import tracemalloc
import types

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fedstyle_secure.secure_sum import aggregator as module
from fedstyle_secure.secure_sum.aggregator import Aggregator
from fedstyle_secure.secure_sum.codes import Code, Refusal
from fedstyle_secure.secure_sum.identity import Identity
from fedstyle_secure.secure_sum.messages import sign_upload
from fedstyle_secure.secure_sum.opener import Opener
from fedstyle_secure.secure_sum.scheme import Accumulator, SecretKey, make_keys
from fedstyle_secure.secure_sum.spool import Spool


def refused(aggregator, upload):
    with pytest.raises(Refusal) as refusal:
        aggregator.add(upload)
    return refusal.value


def identity_of(world, artist):
    return Identity.load(world.root / artist / "identity.key")


def test_missing_artists_are_named_and_an_incomplete_sum_is_not_asked_for(world):
    attempt = world.sealed()
    aggregator = attempt.aggregator()
    assert aggregator.missing == tuple(world.artists)
    for artist in world.artists[:-1]:
        aggregator.add(attempt.uploads[artist])
    assert aggregator.missing == (world.artists[-1],)
    with pytest.raises(Refusal, match=world.artists[-1]) as refusal:
        aggregator.request()
    assert refusal.value.code is Code.INCOMPLETE


def test_each_kind_of_bad_upload_has_its_code_names_the_artist_and_changes_nothing(world):
    attempt = world.sealed()
    first, second = world.artists[:2]
    good = attempt.uploads[first]
    own = identity_of(world, first)
    h = attempt.manifest.digest
    zeros = bytes(len(good.body))
    bad = {
        Code.STRANGER: [dataclasses.replace(good, artist="eve")],
        Code.UPLOAD_SIZE: [
            dataclasses.replace(good, body=good.body[:-1]),
            dataclasses.replace(good, body=good.body + b"\0"),
            dataclasses.replace(good, body=b""),
            sign_upload(own, first, h, good.body * 2),
        ],
        Code.OTHER_MANIFEST: [
            dataclasses.replace(good, manifest="00" * 32),
            sign_upload(own, first, "00" * 32, good.body),
        ],
        Code.UNSIGNED: [
            dataclasses.replace(good, signature=b""),
            dataclasses.replace(good, signature=good.signature[:-1]),
        ],
        Code.SIGNATURE: [
            dataclasses.replace(good, signature=bytes(64)),
            dataclasses.replace(good, body=attempt.uploads[second].body),
            dataclasses.replace(attempt.uploads[second], artist=first),
            sign_upload(identity_of(world, second), first, h, good.body),
        ],
        Code.UPLOAD_MALFORMED: [
            sign_upload(own, first, h, zeros),
            sign_upload(own, first, h, b"\xff" * len(good.body)),
        ],
    }
    aggregator = attempt.aggregator()
    for code, uploads in bad.items():
        for upload in uploads:
            refusal = refused(aggregator, upload)
            assert refusal.code is code
            assert refusal.artist == upload.artist
            assert repr(upload.artist) in str(refusal)
    for upload in attempt.uploads.values():
        aggregator.add(upload)
    assert world.opener.open(aggregator.request()).artists == 5


def test_the_same_artist_or_the_same_body_twice_is_refused(world):
    attempt = world.sealed()
    first, second = world.artists[:2]
    aggregator = attempt.aggregator()
    aggregator.add(attempt.uploads[first])
    assert refused(aggregator, attempt.uploads[first]).code is Code.DUPLICATE
    altered = bytearray(attempt.uploads[first].body)
    altered[16] ^= 1
    again = sign_upload(identity_of(world, first), first, attempt.manifest.digest, bytes(altered))
    assert refused(aggregator, again).code is Code.DUPLICATE
    copied = sign_upload(
        identity_of(world, second), second, attempt.manifest.digest, attempt.uploads[first].body
    )
    assert refused(aggregator, copied).code is Code.DUPLICATE


def test_a_signature_covers_manifest_artist_and_body(world):
    """Ed25519 over length-framed SHA-256, by hand."""
    attempt = world.sealed()
    upload = attempt.uploads[world.artists[0]]
    parts = [b"fedstyle_secure/secure_sum/1", b"upload", upload.manifest.encode(), upload.artist.encode()]
    parts.append(hashlib.sha256(upload.body).hexdigest().encode())
    framed = b"".join(len(part).to_bytes(8, "little") + part for part in parts)
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(attempt.manifest.key_of(upload.artist)))
    key.verify(upload.signature, hashlib.sha256(framed).digest())


def test_an_upload_of_an_earlier_attempt_is_refused(world):
    late = world.sealed(attempt=0).uploads[world.artists[0]]
    assert refused(world.sealed(attempt=1).aggregator(), late).code is Code.OTHER_MANIFEST


def test_nothing_of_a_body_is_looked_at_before_size_and_signature(world, monkeypatch):
    attempt = world.sealed()
    good = attempt.uploads[world.artists[0]]
    aggregator = attempt.aggregator()

    def parsed(*_):
        raise AssertionError("parsed before it was checked")

    monkeypatch.setattr(Accumulator, "add", parsed)
    for upload in (
        dataclasses.replace(good, body=good.body[:-1]),
        dataclasses.replace(good, signature=bytes(64)),
    ):
        refused(aggregator, upload)
    with pytest.raises(AssertionError, match="parsed before"):
        aggregator.add(good)


def test_a_foreign_public_key_or_manifest_is_refused(world):
    attempt = world.attempt()
    other = make_keys(world.terms.layout.profile)[0].to_bytes()
    for public in (other, b"", attempt.public[:-1]):
        with pytest.raises(Refusal) as refusal:
            Aggregator(attempt.signed, world.opener.public, public, True)
        assert refusal.value.code is Code.PUBLIC_KEY
    with pytest.raises(Refusal) as refusal:
        Aggregator(attempt.signed, "00" * 32, attempt.public, True)
    assert refusal.value.code is Code.OPENER_SIGNATURE


def _reachable(root):
    """Every object that `root` leads to, modules, classes and functions aside."""
    seen, stack = {}, [root]
    while stack:
        thing = stack.pop()
        if id(thing) in seen or isinstance(thing, types.ModuleType | type | types.FunctionType):
            continue
        seen[id(thing)] = thing
        stack += gc.get_referents(thing)
    return list(seen.values())


def _secrets(things):
    return [t for t in things if isinstance(t, SecretKey | X25519PrivateKey | Ed25519PrivateKey | Opener)]


def test_nothing_within_the_platforms_reach_decrypts(world):
    attempt = world.sealed()
    aggregator = attempt.aggregator()
    for upload in attempt.uploads.values():
        aggregator.add(upload)
    things = _reachable([aggregator, aggregator.request(), attempt.signed, attempt.public])
    assert _secrets(things) == []
    assert not [t for t in things if type(t).__module__.partition(".")[0] in ("tenseal", "_tenseal_cpp")]
    # The check can fail: the opener's own reach holds keys.
    assert _secrets(_reachable(world.opener))


def test_memory_does_not_grow_with_the_artists(world, monkeypatch):
    """10 and 60 uploads, one at a time: the peak differs by less than one body."""
    attempt = world.sealed()
    body = attempt.uploads[world.artists[0]].body
    size = len(body)
    # Signatures, receipts and duplicates are covered above; here only what is kept of bodies counts.
    monkeypatch.setattr(module.Upload, "receipt", property(lambda u: _receipt(u, attempt)))
    peaks = []
    for uploads in (10, 60):
        aggregator = attempt.aggregator()
        tracemalloc.start()
        for i in range(uploads):
            aggregator._receipts.clear()
            aggregator.add(dataclasses.replace(attempt.uploads[world.artists[0]], signature=bytes([i])))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(aggregator._spool) == uploads
    assert peaks[1] - peaks[0] < size


def _receipt(upload, attempt):
    receipt = types.SimpleNamespace(body=upload.signature.hex(), artist=upload.artist)
    receipt.fault = lambda manifest: None
    return receipt


def test_a_spool_gives_back_what_it_took_one_at_a_time():
    spool = Spool(3)
    for body in (b"abc", b"def", b"ghi"):
        spool.append(body)
    assert list(spool) == [b"abc", b"def", b"ghi"]
    assert spool[1:] == [b"def", b"ghi"]
    assert len(spool) == 3
    with pytest.raises(ValueError, match="not 3"):
        spool.append(b"ab")
    with pytest.raises(IndexError):
        spool[3]


def test_a_platform_may_leave_the_uploads_out(world):
    attempt = world.sealed()
    aggregator = attempt.aggregator(keep_uploads=False)
    for upload in attempt.uploads.values():
        aggregator.add(upload)
    request = aggregator.request()
    assert request.uploads is None
    assert np.array_equal(
        np.frombuffer(request.total, np.uint8), np.frombuffer(attempt.request().total, np.uint8)
    )
