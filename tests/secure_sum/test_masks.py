"""Masks: they cancel over the whole cohort, and nothing less tells anything."""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import hmac
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

import fedstyle_secure.secure_sum as package
from fedstyle_secure.secure_sum.encoding import canonical
from fedstyle_secure.secure_sum.manifest import Manifest, Quantisation, Terms
from fedstyle_secure.secure_sum.masks import COMPLETE, degree, mask, neighbours, pair_key, residues


def manifest_of(artists: int, profile: str = "Q60", **changes) -> Manifest:
    values, bits = {"Q60": (10, 10), "Q64": (8000, 10), "Q80": (12000, 10)}[profile]
    terms = Terms(values, k_min=2, n_max=max(artists, 90), quantiser=Quantisation(1.0, bits, "float"))
    seats = tuple((f"a{i:04d}", hashlib.sha256(b"%d" % i).hexdigest()) for i in range(artists))
    manifest = Manifest("run", 0, 0, 0, "ab" * 32, seats, terms)
    return dataclasses.replace(manifest, **changes)


def keys_of(manifest: Manifest) -> tuple[dict[str, X25519PrivateKey], dict[str, bytes]]:
    """Ephemeral keys that follow from the names, so that the statistics are the same in every run."""
    private = {
        artist: X25519PrivateKey.from_private_bytes(hashlib.sha256(f"x{artist}".encode()).digest())
        for artist in manifest.artists
    }
    return private, {artist: key.public_key().public_bytes_raw() for artist, key in private.items()}


def masks_of(manifest: Manifest) -> dict[str, np.ndarray]:
    private, announced = keys_of(manifest)
    return {artist: mask(manifest, artist, private[artist], announced) for artist in manifest.artists}


def total_of(masks: list[np.ndarray], modulus: int) -> np.ndarray:
    total = np.zeros_like(masks[0])
    for m in masks:
        total = (total + m) % np.uint64(modulus)
    return total


@pytest.mark.parametrize("artists", [2, 3, 7, 64, 65, 90])
@pytest.mark.parametrize("profile", ["Q60", "Q64", "Q80"])
def test_masks_of_the_whole_cohort_cancel_exactly(artists, profile):
    manifest = manifest_of(artists, profile)
    assert manifest.layout.profile.name == profile
    modulus = manifest.layout.profile.plain_modulus
    masks = list(masks_of(manifest).values())
    assert all(m.dtype == np.uint64 and (m < modulus).all() for m in masks)
    assert not total_of(masks, modulus).any()


@pytest.mark.parametrize("missing", [1, 2, 5])
def test_without_an_artist_the_masks_are_uniform(missing):
    # Chi-square over 64 bins, 3 cases with fixed keys; a false alarm of 1e-4 each for other keys.
    manifest = manifest_of(7)
    modulus = manifest.layout.profile.plain_modulus
    total = total_of(list(masks_of(manifest).values())[missing:], modulus)
    bins = np.bincount((total.astype(object) * 64 // modulus).astype(np.int64), minlength=64)
    assert chisquare(bins).pvalue > 1e-4


def test_the_sum_follows_the_definition():
    """Against python integers, one pair at a time."""
    manifest = manifest_of(4)
    private, announced = keys_of(manifest)
    modulus, slots = manifest.layout.profile.plain_modulus, manifest.layout.slots
    artist = manifest.artists[1]
    total = [0] * slots
    for other in manifest.artists:
        if other != artist:
            adder, subtracter = sorted((artist, other))
            key = pair_key(manifest, private[artist], announced, artist, adder, subtracter)
            sign = 1 if artist < other else -1
            total = [
                (x + sign * int(r)) % modulus
                for x, r in zip(total, residues(key, modulus, slots), strict=True)
            ]
    assert mask(manifest, artist, private[artist], announced).tolist() == total


# Keys


def test_both_sides_have_the_same_key_and_it_is_hkdf_of_everything_named():
    manifest = manifest_of(3)
    private, announced = keys_of(manifest)
    first, second, _ = manifest.artists
    key = pair_key(manifest, private[first], announced, first, first, second)
    assert key == pair_key(manifest, private[second], announced, second, first, second)
    # RFC 5869 by hand.
    shared = private[first].exchange(private[second].public_key())
    sides = [[name, manifest.key_of(name), announced[name].hex()] for name in (first, second)]
    info = canonical(["fedstyle_secure pairwise mask", ["run", 0, 0, 0], *sides])
    extracted = hmac.digest(bytes.fromhex(manifest.digest), shared, "sha256")
    assert key == hmac.digest(extracted, info + b"\1", "sha256")


def test_keys_differ_in_every_attempt_round_epoch_run_roster_pair_and_direction():
    keys = []
    base = manifest_of(3)
    private, announced = keys_of(base)
    first, second, third = base.artists
    variants = [
        base,
        dataclasses.replace(base, attempt=1),
        dataclasses.replace(base, round=1),
        dataclasses.replace(base, epoch=1),
        dataclasses.replace(base, run="run2"),
        dataclasses.replace(base, fingerprint="cd" * 32),
        dataclasses.replace(base, roster=base.roster[:2]),
        dataclasses.replace(base, roster=(*base.roster[:2], (third, "ef" * 32))),
    ]
    keys += [pair_key(m, private[first], announced, first, first, second) for m in variants]
    keys.append(pair_key(base, private[first], announced, first, second, first))
    keys.append(pair_key(base, private[first], announced, first, first, third))
    keys.append(pair_key(base, private[second], announced, second, second, third))
    other = X25519PrivateKey.from_private_bytes(bytes(range(32)))
    fresh = {**announced, first: other.public_key().public_bytes_raw()}
    keys.append(pair_key(base, other, fresh, first, first, second))
    assert len(set(keys)) == len(keys)
    assert all(len(key) == 32 for key in keys)


def test_a_key_of_small_order_is_refused():
    manifest = manifest_of(2)
    private, announced = keys_of(manifest)
    first, second = manifest.artists
    with pytest.raises(ValueError, match="shared key"):
        mask(manifest, first, private[first], {**announced, second: bytes(32)})


# Streams


def _reference(key: bytes, modulus: int, count: int) -> list[int]:
    """One word at a time."""
    stream = Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None).encryptor()
    bits = (modulus - 1).bit_length()
    found: list[int] = []
    while len(found) < count:
        word = int.from_bytes(stream.update(bytes(8)), "little") % 2**bits
        if word < modulus:
            found.append(word)
    return found


@given(st.binary(min_size=32, max_size=32), st.integers(1, 2**63), st.integers(0, 50))
@settings(max_examples=200, deadline=None)
def test_residues_are_the_stream_without_what_is_too_large(key, modulus, count):
    assert residues(key, modulus, count).tolist() == _reference(key, modulus, count)


def test_the_stream_is_chacha20():
    # RFC 8439, appendix A.1, test vector 1.
    block = bytes.fromhex("76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7")
    words = np.frombuffer(block, dtype="<u8") & np.uint64(2**40 - 1)
    assert residues(bytes(32), 2**40, 4).tolist() == words.tolist()


@pytest.mark.parametrize("modulus", [3, 5, 33, 97])
def test_residues_are_uniform_with_the_top_value_and_all_others(modulus):
    # Moduli just above a power of two, where nearly half of the words are skipped. Four fixed keys, a false
    # alarm of 1e-4 each for other keys.
    found = np.bincount(residues(bytes([modulus]) * 32, modulus, 20_000).astype(np.int64), minlength=modulus)
    assert len(found) == modulus
    assert chisquare(found).pvalue > 1e-4


def test_every_byte_of_the_key_matters():
    base = residues(bytes(32), 2**40, 8).tolist()
    for position in range(32):
        key = bytearray(32)
        key[position] = 1
        assert residues(bytes(key), 2**40, 8).tolist() != base


# The graph


@pytest.mark.parametrize("artists", [2, 64, 65, 100, 333])
def test_neighbours_are_mutual_and_as_many_as_said(artists):
    manifest = manifest_of(artists)
    near = {artist: set(neighbours(manifest, artist)) for artist in manifest.artists}
    assert {len(others) for others in near.values()} == {degree(artists)}
    assert all(artist in near[other] for artist, others in near.items() for other in others)
    assert all(artist not in others for artist, others in near.items())


def test_the_degree_follows_its_formula():
    assert [degree(n) for n in (1, 2, 64)] == [0, 1, 63]
    for n in range(COMPLETE + 1, 1025):
        assert degree(n) % 2 == 0
        # The stated bound: n^2/2 * 2^-degree <= 2^-41.
        assert n**2 * 2**41 <= 2 ** (degree(n) + 1)
        assert degree(n) < n


def _connected(near: dict[str, set[str]]) -> bool:
    seen, stack = set(), [next(iter(near))]
    while stack:
        artist = stack.pop()
        if artist not in seen:
            seen.add(artist)
            stack += near[artist] & near.keys()
    return len(seen) == len(near)


def test_the_graph_stays_connected_without_any_degree_minus_one_and_half_of_all():
    manifest = manifest_of(150)
    near = {artist: set(neighbours(manifest, artist)) for artist in manifest.artists}

    def without(gone):
        return {a: others for a, others in near.items() if a not in gone}

    rng = np.random.default_rng(0)
    for artist in manifest.artists[:20]:
        # All neighbours of an artist but one: the cheapest cut there is.
        assert _connected(without(sorted(near[artist])[1:]))
    for _ in range(50):
        assert _connected(without(set(rng.choice(manifest.artists, 75, replace=False))))
    # And the check itself can fail.
    assert not _connected(without(near[manifest.artists[0]]))


def test_the_order_on_the_circle_changes_with_the_manifest():
    first, second = manifest_of(100), manifest_of(100, attempt=1)
    assert neighbours(first, "a0000") != neighbours(second, "a0000")
    assert neighbours(first, "a0000") == neighbours(manifest_of(100), "a0000")


# Where randomness comes from


def _uses_of_seeded_generators(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (n.name for n in node.names if n.name == "random" or n.name.startswith("numpy.random"))
        if isinstance(node, ast.ImportFrom):
            names = {node.module, *(f"{node.module}.{n.name}" for n in node.names)}
            yield from names & {"random", "numpy.random"}
        if isinstance(node, ast.Attribute) and node.attr in ("random", "default_rng", "RandomState"):
            yield node.attr


def test_no_file_of_the_package_uses_a_seeded_generator():
    """numpy.random and random are for data, not for keys, masks or rounding."""
    found = {
        path.name: names
        for path in Path(package.__file__).parent.glob("*.py")
        if (names := list(_uses_of_seeded_generators(ast.parse(path.read_text()))))
    }
    assert found == {}


@pytest.mark.parametrize(
    "code",
    [
        "import random",
        "import numpy.random",
        "from numpy import random",
        "from numpy.random import default_rng",
        "from random import Random",
        "np.random.default_rng(0)",
    ],
)
def test_the_search_for_seeded_generators_finds_them(code):
    assert list(_uses_of_seeded_generators(ast.parse(code)))
