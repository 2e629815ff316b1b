"""Frames are exactly as documented, and anything else is refused before a coefficient of it is used."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedstyle_secure.errors import SecureSumError
from fedstyle_secure.secure_sum.packing import Layout
from fedstyle_secure.secure_sum.profiles import PROFILES, Q60, Q64, Q80, Profile
from fedstyle_secure.secure_sum.wire import Kind, body_bytes, decode, encode, frame_bytes

HEADER = 16
each_profile = pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
each_kind = pytest.mark.parametrize("kind", list(Kind))


def residues(kind: Kind, profile: Profile, blocks: int, seed: int = 0) -> list[np.ndarray]:
    """Random coefficients, with the least and the largest among them."""
    generator = np.random.default_rng(seed)
    shape = (blocks, 1 if kind is Kind.SECRET_KEY else 2, profile.degree)
    primes = profile.data_primes if kind is Kind.BODY else profile.primes
    sections = []
    for prime in primes:
        section = generator.integers(0, prime, size=shape, dtype=np.uint64)
        section[0, 0, :2] = 0, prime - 1
        section[-1, -1, -2:] = prime - 1, 0
        sections.append(section)
    return sections


def reference_section(words: list[int], bits: int) -> bytes:
    """The documented planes, word by word."""
    out, shift = b"", 0
    for width in (32, 16, 8):
        if bits - shift >= width:
            out += b"".join((word >> shift & 2**width - 1).to_bytes(width // 8, "little") for word in words)
            shift += width
    if shift < bits:
        half = len(words) // 2
        pairs = zip(words[:half], words[half:], strict=True)
        out += bytes(low >> shift & 15 | (high >> shift & 15) << 4 for low, high in pairs)
    return out


@each_profile
@each_kind
def test_frames_are_as_documented_and_come_back(profile: Profile, kind: Kind) -> None:
    blocks = 2 if kind is Kind.BODY else 1
    sections = residues(kind, profile, blocks)
    data = encode(kind, profile, sections)
    assert len(data) == frame_bytes(kind, profile, blocks)
    assert data[:HEADER] == b"FSUM" + bytes([1, kind, profile.number, 0]) + struct.pack("<II", blocks, 0)
    primes = profile.data_primes if kind is Kind.BODY else profile.primes
    expected = b"".join(
        reference_section(section.ravel().tolist(), prime.bit_length())
        for section, prime in zip(sections, primes, strict=True)
    )
    assert data[HEADER:] == expected
    for section, back in zip(sections, decode(kind, profile, data, blocks), strict=True):
        np.testing.assert_array_equal(section, back)


def test_bodies_are_as_small_as_their_words() -> None:
    """Words of 60, of 48 and 16, and of twice 40 bits: 15, 16 and 20 bytes a slot; 8 bytes a value at
    n = 1000, b = 10."""
    for profile in PROFILES.values():
        size = body_bytes(profile, 5)
        assert size == HEADER + 5 * profile.degree * profile.bytes_per_slot
    full = Layout(values=2 * 4096, bits=10, artists=1000, profile=Q64)
    assert full.upload_bytes / full.values < 8.01


@each_profile
def test_other_lengths_are_refused(profile: Profile) -> None:
    data = encode(Kind.BODY, profile, residues(Kind.BODY, profile, 2))
    for wrong in (b"", data[:1], data[:HEADER], data[:-1], data[1:], data + b"\0", data + data):
        with pytest.raises(SecureSumError, match=f"has exactly {len(data)} bytes, not {len(wrong)}"):
            decode(Kind.BODY, profile, wrong, 2)
    for blocks in (1, 3):
        with pytest.raises(SecureSumError, match="has exactly"):
            decode(Kind.BODY, profile, data, blocks)
    for wrong in (bytearray(data), memoryview(data), data.decode("latin-1"), None):
        with pytest.raises(SecureSumError, match=f"not {type(wrong).__name__}"):
            decode(Kind.BODY, profile, wrong, 2)


@each_profile
def test_every_bit_of_the_header_counts(profile: Profile) -> None:
    data = encode(Kind.BODY, profile, residues(Kind.BODY, profile, 2))
    for bit in range(8 * HEADER):
        wrong = bytearray(data)
        wrong[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SecureSumError, match="header of a body"):
            decode(Kind.BODY, profile, bytes(wrong), 2)


@each_profile
@each_kind
def test_a_coefficient_that_is_not_below_its_prime_is_refused(profile: Profile, kind: Kind) -> None:
    good = residues(kind, profile, 1)
    primes = profile.data_primes if kind is Kind.BODY else profile.primes
    for index, prime in enumerate(primes):
        for value in (prime, 2 ** prime.bit_length() - 1):
            for position in (0, -1):
                sections = [section.copy() for section in good]
                sections[index].reshape(-1)[position] = value
                with pytest.raises(SecureSumError, match=f"not below its prime {prime}"):
                    decode(kind, profile, encode(kind, profile, sections))


@each_profile
def test_frames_of_another_kind_or_profile_are_refused(profile: Profile) -> None:
    other = Q80 if profile is Q60 else Q60
    for kind in Kind:
        data = encode(kind, profile, residues(kind, profile, 1))
        for wrong in (
            pair for pair in ((k, p) for k in Kind for p in (profile, other)) if pair != (kind, profile)
        ):
            with pytest.raises(SecureSumError):
                decode(*wrong, data)


@given(seed=st.integers(0, 2**32), profile=st.sampled_from(list(PROFILES.values())))
@settings(deadline=None, max_examples=60)
def test_a_changed_body_decodes_to_other_coefficients_or_is_refused(seed: int, profile: Profile) -> None:
    """No change is silently dropped: the packing is one to one."""
    generator = np.random.default_rng(seed)
    sections = residues(Kind.BODY, profile, 1, seed=1)
    wrong = bytearray(encode(Kind.BODY, profile, sections))
    wrong[int(generator.integers(HEADER, len(wrong)))] ^= int(generator.integers(1, 256))
    try:
        back = decode(Kind.BODY, profile, bytes(wrong))
    except SecureSumError:
        return
    changed = sum(int((a != b).sum()) for a, b in zip(sections, back, strict=True))
    assert changed in (1, 2)
    assert all(int(a.max()) < prime for a, prime in zip(back, profile.data_primes, strict=True))
    assert encode(Kind.BODY, profile, back) == bytes(wrong)
