"""The manifest: one spelling, one signature, no way around either."""

from __future__ import annotations

import contextlib
import dataclasses
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedstyle_secure.errors import SecureSumError
from fedstyle_secure.secure_sum.codes import Code, Refusal
from fedstyle_secure.secure_sum.encoding import canonical
from fedstyle_secure.secure_sum.identity import Identity
from fedstyle_secure.secure_sum.manifest import (
    Groups,
    Manifest,
    Noise,
    Quantisation,
    SignedManifest,
    Terms,
    roster,
    sign_manifest,
)

_HEX = st.binary(min_size=32, max_size=32).map(bytes.hex)
_NAME = st.text(min_size=1, max_size=20).filter(str.isprintable)
_POSITIVE = st.floats(min_value=1e-300, max_value=1e300)
_NOISE = st.builds(
    Noise,
    st.sampled_from(["artwork", "artist"]),
    st.floats(min_value=0, max_value=1e9),
    st.integers(1, 2),
    st.floats(min_value=0, max_value=0.5),
)


@st.composite
def _terms(draw):
    groups = draw(st.none() | st.builds(Groups, st.integers(1, 9), st.integers(1, 9), st.integers(1, 9)))
    least = 1 if groups is None else groups.values
    k_min = draw(st.integers(2, 20))
    return Terms(
        values=draw(st.integers(least, 10**6)),
        k_min=k_min,
        n_max=draw(st.integers(k_min, 200)),
        quantiser=Quantisation(
            draw(_POSITIVE), draw(st.integers(2, 16)), draw(st.sampled_from(["float", "integer"]))
        ),
        groups=groups,
        noise=draw(st.none() | _NOISE),
    )


@st.composite
def _manifests(draw):
    names = draw(st.lists(_NAME, min_size=1, max_size=8, unique=True))
    keys = draw(st.lists(_HEX, min_size=len(names), max_size=len(names), unique=True))
    counters = [draw(st.integers(0, 10**9)) for _ in range(3)]
    seats = tuple(zip(sorted(names), keys, strict=True))
    return Manifest(draw(_NAME), *counters, draw(_HEX), seats, draw(_terms()))


@pytest.fixture(scope="module")
def opener(tmp_path_factory):
    return Identity.load(tmp_path_factory.mktemp("opener") / "identity.key")


def example() -> Manifest:
    terms = Terms(
        values=30,
        k_min=3,
        n_max=12,
        quantiser=Quantisation(0.75, 10, "float"),
        groups=Groups(4, 5, 3),
        noise=Noise("artwork", 0.5, 4, 1e-5),
    )
    seats = tuple((name, (bytes([i]) * 32).hex()) for i, name in enumerate(["ann", "bob", "cléo", "dan"]))
    return Manifest("run", 1, 2, 3, "ab" * 32, seats, terms)


@given(_manifests())
@settings(deadline=None)
def test_reading_inverts_writing(manifest):
    again = Manifest.from_bytes(manifest.to_bytes())
    assert again == manifest
    assert again.to_bytes() == manifest.to_bytes()
    assert again.digest == manifest.digest


@given(_manifests(), _manifests())
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_different_manifests_have_different_digests(first, second):
    assert (first.digest == second.digest) == (first == second)


def test_every_flipped_byte_is_refused_and_does_not_parse_to_the_same(opener):
    signed = sign_manifest(example(), opener)
    for position in range(len(signed.data)):
        for bit in range(8):
            bad = bytearray(signed.data)
            bad[position] ^= 1 << bit
            with pytest.raises(Refusal) as refusal:
                SignedManifest(bytes(bad), signed.signature).read(opener.public)
            assert refusal.value.code is Code.OPENER_SIGNATURE
            with contextlib.suppress(Refusal):
                assert Manifest.from_bytes(bytes(bad)) != example()


def test_only_the_pinned_opener_signs(opener, tmp_path):
    stranger = Identity.load(tmp_path / "k")
    signed = sign_manifest(example(), stranger)
    assert signed.read(stranger.public) == example()
    with pytest.raises(Refusal) as refusal:
        signed.read(opener.public)
    assert refusal.value.code is Code.OPENER_SIGNATURE


def test_unsigned_bytes_are_not_parsed(opener, monkeypatch):
    def parsed(data):
        raise AssertionError("parsed before the signature was checked")

    monkeypatch.setattr(Manifest, "from_bytes", parsed)
    with pytest.raises(Refusal) as refusal:
        SignedManifest(b"{", b"").read(opener.public)
    assert refusal.value.code is Code.OPENER_SIGNATURE


def _places(value, path=()):
    """Every key of every object in the JSON."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield (*path, key)
            yield from _places(item, (*path, key))


def _changed(path, change):
    value = json.loads(example().to_bytes())
    node = value
    for key in path[:-1]:
        node = node[key]
    change(node, path[-1])
    return canonical(value)


@pytest.mark.parametrize("path", list(_places(json.loads(example().to_bytes()))), ids=".".join)
def test_a_missing_unknown_or_mistyped_key_is_refused(path):
    def remove(node, key):
        del node[key]

    def rename(node, key):
        node[f"{key}x"] = node.pop(key)

    def add(node, key):
        node[f"{key}x"] = 1

    changes = [remove, rename, add]
    changes += [
        lambda node, key, v=v: node.__setitem__(key, v) for v in (None, True, [], {}, -1, "", 2**60, "x\n")
    ]
    for change in changes:
        with pytest.raises(Refusal) as refusal:
            Manifest.from_bytes(_changed(path, change))
        assert refusal.value.code is Code.MANIFEST


@pytest.mark.parametrize(
    "change",
    [
        {"roster": (("bob", "00" * 32), ("ann", "11" * 32))},
        {"roster": (("ann", "00" * 32), ("ann", "11" * 32))},
        {"roster": (("ann", "00" * 32), ("bob", "00" * 32))},
        {"roster": ()},
        {"roster": (("ann", "00"),)},
        {"roster": (("a\nn", "00" * 32),)},
        {"fingerprint": "AB" * 32},
        {"run": ""},
        {"run": "x" * 201},
        {"attempt": -1},
        {"round": True},
    ],
    ids=str,
)
def test_a_manifest_that_makes_no_sense_cannot_be_made(change):
    with pytest.raises(SecureSumError):
        dataclasses.replace(example(), **change)


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: Quantisation(float("nan"), 10, "float"), "bound"),
        (lambda: Quantisation(0.0, 10, "float"), "bound"),
        (lambda: Quantisation(1.0, 1, "float"), "bits"),
        (lambda: Quantisation(1.0, 10, "double"), "kind"),
        (lambda: Groups(0, 1, 1), "count"),
        (lambda: Groups(1, 1, 0), "threshold"),
        (lambda: Noise("person", 1.0, 1, 0.0), "unit"),
        (lambda: Noise("artist", -1.0, 1, 0.0), "deviation"),
        (lambda: Noise("artist", 1.0, 1, 1.0), "delta"),
        (lambda: dataclasses.replace(example().terms, k_min=1), "k_min"),
        (lambda: dataclasses.replace(example().terms, n_max=2), "n_max"),
        (lambda: dataclasses.replace(example().terms, n_max=3), "n_min"),
        (lambda: dataclasses.replace(example().terms, values=23), "at least 24"),
    ],
)
def test_terms_that_make_no_sense_are_named(make, names):
    with pytest.raises(SecureSumError, match=names):
        make()


def test_the_profile_is_the_planners_and_nobody_elses():
    def other(node, key):
        node[key] = "Q80" if node[key] == "Q60" else "Q60"

    with pytest.raises(Refusal, match="profile"):
        Manifest.from_bytes(_changed(("terms", "profile"), other))


def test_noise_raises_the_smallest_cohort():
    terms = example().terms
    assert terms.smallest_cohort == 4
    assert dataclasses.replace(terms, noise=None).smallest_cohort == 3


def test_a_roster_is_sorted_and_names_who_does_not_belong():
    keys = {"ann": "00" * 32, "bob": "11" * 32}
    assert roster(keys, ["bob", "ann"]) == (("ann", "00" * 32), ("bob", "11" * 32))
    for cohort, code in ((["ann", "eve"], Code.STRANGER), (["ann", "ann"], Code.DUPLICATE)):
        with pytest.raises(Refusal) as refusal:
            roster(keys, cohort)
        assert refusal.value.code is code
