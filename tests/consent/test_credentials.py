from __future__ import annotations

import socket
import sys

import pytest

from fedstyle_secure.consent.credentials import credentials_say

from .conftest import TYPES, picture

GENERATIVE = "cawg.ai_generative_training"


def says(data: bytes, purpose: str = "ai_generative_training") -> list[tuple[str, str]]:
    said = credentials_say(data, purpose)
    assert all(one.way == "credentials" for one in said)
    return [(one.use, one.reason) for one in said]


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("use", ["allowed", "notAllowed", "constrained"])
def test_an_assertion_is_read_in_every_kind_of_file(signed, kind, use):
    # The signer is known to nobody, which is no tampering.
    ((found, reason),) = says(signed({GENERATIVE: {"use": use}}, kind))
    assert found == use
    assert "ai_generative_training" in reason


def test_the_older_label_and_prefix_are_read(signed):
    data = signed({"c2pa.ai_generative_training": {"use": "notAllowed"}}, label="c2pa.training-mining")
    assert says(data)[0][0] == "notAllowed"
    both = {"c2pa.ai_generative_training": {"use": "notAllowed"}, GENERATIVE: {"use": "allowed"}}
    assert says(signed(both))[0][0] == "notAllowed"


def test_other_purposes_allow_nothing_and_wider_ones_refuse(signed):
    assert says(signed({"cawg.ai_training": {"use": "allowed"}})) == []
    assert says(signed({"cawg.data_mining": {"use": "notAllowed"}}))[0][0] == "notAllowed"
    assert says(signed({GENERATIVE: {"use": "notAllowed"}}), "ai_training") == []


def test_terms_are_no_permission(signed):
    terms = {"use": "constrained", "constraint_info": "https://example.org/terms"}
    assert [use for use, _ in says(signed({GENERATIVE: terms}))] == ["constrained"]


@pytest.mark.parametrize("entry", [{"use": "yes"}, {"use": ["allowed"]}, "allowed", {}])
def test_an_assertion_that_is_none_is_a_no(signed, entry):
    assert says(signed({GENERATIVE: entry})) == [
        ("notAllowed", "its training-and-data-mining assertion is not as CAWG defines it")
    ]


def test_credentials_without_such_an_assertion_say_nothing(signed):
    assert says(signed(None)) == []
    assert says(picture()) == []


@pytest.mark.parametrize("kind", TYPES)
def test_a_changed_assertion_is_named_as_tampering(signed, kind):
    data = signed({GENERATIVE: {"use": "notAllowed"}}, kind)
    assert data.count(b"notAllowed") == 1
    ((use, reason),) = says(data.replace(b"notAllowed", b"not4llowed"))
    assert use == "notAllowed"
    assert "tampered with (assertion.hashedURI.mismatch)" in reason


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_changed_pixels_are_named_as_tampering(signed, kind):
    data = bytearray(signed({GENERATIVE: {"use": "allowed"}}, kind))
    data[-40] ^= 1
    ((use, reason),) = says(bytes(data))
    assert use == "notAllowed"
    assert "tampered with (assertion.dataHash.mismatch)" in reason


def test_a_changed_signature_is_named_as_tampering(signed):
    data = signed({GENERATIVE: {"use": "allowed"}})
    # What is signed names the program that made it.
    place = data.index(b"claim_generator_info")
    at = data.index(b"test", place)
    ((use, reason),) = says(data[:at] + b"best" + data[at + 4 :])
    assert use == "notAllowed"
    assert "tampered with (claimSignature.mismatch)" in reason


def test_a_manifest_of_another_picture_is_tampering(signed):
    """Somebody's yes, put before somebody else's pixels."""
    mine, yours = signed({GENERATIVE: {"use": "allowed"}}), picture(seed=5)
    at = mine.index(b"caBX") - 4
    size = int.from_bytes(mine[at : at + 4], "big") + 12
    moved = yours[:33] + mine[at : at + size] + yours[33:]
    ((use, reason),) = says(moved)
    assert use == "notAllowed"
    assert "tampered with" in reason


def test_cut_off_credentials_cannot_be_read(signed):
    data = signed({GENERATIVE: {"use": "allowed"}}, "JPEG")
    at = data.index(b"jumd")
    ((use, reason),) = says(data[: at + 20] + b"\0" * 60 + data[at + 80 :])
    assert use == "notAllowed"
    assert "credentials" in reason


def test_what_a_picture_was_made_from_can_refuse_and_not_allow(signed, monkeypatch):
    from fedstyle_secure.consent import credentials

    def store(parent: str, own: str | None) -> dict[str, object]:
        def manifest(use: str | None) -> dict[str, object]:
            entries = {} if use is None else {GENERATIVE: {"use": use}}
            return {"assertions": [{"label": "cawg.training-mining", "data": {"entries": entries}}]}

        manifests = {"mine": manifest(own), "parent": manifest(parent)}
        return {"validation_state": "Valid", "active_manifest": "mine", "manifests": manifests}

    assert [s.use for s in credentials._said(store("notAllowed", "allowed"), "ai_generative_training")] == [
        "allowed",
        "notAllowed",
    ]
    assert credentials._said(store("allowed", None), "ai_generative_training") == []


def test_without_the_library_credentials_are_refused_and_other_pictures_are_not(signed, monkeypatch):
    data = signed({GENERATIVE: {"use": "allowed"}})
    monkeypatch.setitem(sys.modules, "c2pa", None)
    ((use, reason),) = says(data)
    assert use == "notAllowed"
    assert 'pip install "fedstyle-secure[consent]"' in reason
    assert says(picture()) == []


def test_credentials_at_an_address_are_refused_and_nobody_is_asked(signed, monkeypatch):
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    listener.setblocking(False)
    address = f"http://127.0.0.1:{listener.getsockname()[1]}/manifest.c2pa"
    data = signed({GENERATIVE: {"use": "allowed"}}, "JPEG", address=address)
    with listener:
        ((use, reason),) = says(data)
        assert use == "notAllowed"
        assert "at an address" in reason
        # Nor where something in the file makes the library look.
        assert says(data + b"jumb\0\0\0\0jumd")[0][0] == "notAllowed"
        with pytest.raises(BlockingIOError):
            listener.accept()
