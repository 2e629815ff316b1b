"""Identities, and the files that hold keys."""

from __future__ import annotations

import multiprocessing
import stat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedstyle_secure import files
from fedstyle_secure.errors import PrivacyError, SecureSumError
from fedstyle_secure.secure_sum.identity import Identity, same, verified
from fedstyle_secure.secure_sum.vault import Vault


def test_an_identity_is_made_once_and_kept_from_others(tmp_path):
    path = tmp_path / "home" / "identity.key"
    first, second = Identity.load(path), Identity.load(path)
    assert first.public == second.public
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [p.name for p in path.parent.iterdir()] == ["identity.key"]


def test_two_homes_have_two_identities(tmp_path):
    assert Identity.load(tmp_path / "a" / "k").public != Identity.load(tmp_path / "b" / "k").public


def _public(path, results):
    results.put(Identity.load(path).public)


def test_processes_that_start_at_once_end_with_one_key(tmp_path):
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    racers = [context.Process(target=_public, args=(tmp_path / "k", results)) for _ in range(8)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert {results.get() for _ in racers} == {Identity.load(tmp_path / "k").public}


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_can_read_is_refused(tmp_path, mode):
    Identity.load(tmp_path / "k")
    (tmp_path / "k").chmod(mode)
    with pytest.raises(PrivacyError, match="chmod 600"):
        Identity.load(tmp_path / "k")


def test_a_folder_that_others_can_write_to_is_refused(tmp_path):
    (tmp_path / "home").mkdir(mode=0o700)
    (tmp_path / "home").chmod(0o770)
    with pytest.raises(PrivacyError, match="chmod 700"):
        Identity.load(tmp_path / "home" / "k")


@pytest.mark.parametrize("data", [b"", b"00" * 32, b"00" * 31 + b"\n", b"zz" * 32 + b"\n"])
def test_a_damaged_key_is_refused(tmp_path, data):
    files.create(tmp_path / "k", data)
    with pytest.raises(SecureSumError, match="not an identity key"):
        Identity.load(tmp_path / "k")


def test_a_signature_is_for_one_purpose_and_one_list_of_parts(tmp_path):
    identity = Identity.load(tmp_path / "k")
    signature = identity.sign("upload", b"ab", b"c")
    assert verified(identity.public, signature, "upload", b"ab", b"c")
    assert not verified(identity.public, signature, "announce", b"ab", b"c")
    assert not verified(identity.public, signature, "upload", b"a", b"bc")
    assert not verified(identity.public, signature, "upload", b"abc")
    assert not verified(Identity.load(tmp_path / "other").public, signature, "upload", b"ab", b"c")


@given(st.text(max_size=70), st.binary(max_size=70))
@settings(deadline=None)
def test_checking_garbage_says_no_and_does_not_raise(public, signature):
    assert not verified(public, signature, "upload", b"")


def test_every_flipped_bit_of_a_signature_or_key_is_found(tmp_path):
    identity = Identity.load(tmp_path / "k")
    signature, public = identity.sign("d", b"x"), bytes.fromhex(identity.public)
    for bit in range(8 * 64):
        bad = bytearray(signature)
        bad[bit // 8] ^= 1 << bit % 8
        assert not verified(identity.public, bytes(bad), "d", b"x")
    for bit in range(8 * 32):
        bad = bytearray(public)
        bad[bit // 8] ^= 1 << bit % 8
        assert not verified(bytes(bad).hex(), signature, "d", b"x")


def test_the_private_part_does_not_show(tmp_path):
    identity = Identity.load(tmp_path / "k")
    private = (tmp_path / "k").read_text().strip()
    assert private not in repr(identity)
    assert private not in str(identity)
    assert private != identity.public


def test_same_compares_whole_strings():
    assert same("ab", "ab")
    assert not same("ab", "ac")
    assert not same("ab", "abc")


def test_erase_overwrites_before_it_removes(tmp_path):
    secret = b"secret" * 10
    files.create(tmp_path / "k", secret)
    (tmp_path / "link").hardlink_to(tmp_path / "k")
    files.erase(tmp_path / "k")
    assert not (tmp_path / "k").exists()
    assert len((tmp_path / "link").read_bytes()) == len(secret)
    assert (tmp_path / "link").read_bytes() != secret
    files.erase(tmp_path / "k")


def test_create_does_not_replace(tmp_path):
    assert files.create(tmp_path / "k", b"first")
    assert not files.create(tmp_path / "k", b"second")
    assert (tmp_path / "k").read_bytes() == b"first"
    files.write_bytes(tmp_path / "k", b"third")
    assert (tmp_path / "k").read_bytes() == b"third"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_kept_secret_opens_with_its_passphrase_for_its_purpose_only(tmp_path):
    Vault(b"pass").keep(tmp_path / "s", b"the secret", b"epoch 1")
    data = (tmp_path / "s").read_bytes()
    assert b"the secret" not in data
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o600
    assert Vault(b"pass").fetch(tmp_path / "s", b"epoch 1") == b"the secret"
    for passphrase, purpose in ((b"Pass", b"epoch 1"), (b"pass", b"epoch 2"), (b"", b"epoch 1")):
        with pytest.raises(SecureSumError, match="does not open"):
            Vault(passphrase).fetch(tmp_path / "s", purpose)
    for position in (0, 5, 20, len(data) - 1):
        bad = bytearray(data)
        bad[position] ^= 1
        files.write_bytes(tmp_path / "bad", bytes(bad), mode=files.PRIVATE)
        with pytest.raises(SecureSumError, match="does not open"):
            Vault(b"pass").fetch(tmp_path / "bad", b"epoch 1")
    files.write_bytes(tmp_path / "bad", data[:10], mode=files.PRIVATE)
    with pytest.raises(SecureSumError, match="does not open"):
        Vault(b"pass").fetch(tmp_path / "bad", b"epoch 1")
    with pytest.raises(SecureSumError, match="already"):
        Vault(b"pass").keep(tmp_path / "s", b"x", b"epoch 1")
    with pytest.raises(SecureSumError, match="not empty"):
        Vault(b"").keep(tmp_path / "t", b"x", b"epoch 1")
