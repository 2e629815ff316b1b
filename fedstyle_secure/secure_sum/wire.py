"""What uploads, sums and keys look like as bytes: a fixed header, then coefficients, bit-packed.

Nothing of TenSEAL's or SEAL's own serialisation crosses a wire: its lengths are inside it and unchecked, and
a flipped bit of it can crash native code. Here the length follows from the profile and the block count alone,
and every coefficient is compared with its prime before it is used.

A body is: magic `FSUM`, version, kind, profile number, zero, block count (uint32, little-endian), four zeros;
then one section for each prime. A section holds the residues of every polynomial, block after block, as
planes: the low 32 bits of all words, then the next 16 bits, then 8, then 4, as the prime's bits need.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum

import numpy as np

from fedstyle_secure.errors import SecureSumError
from fedstyle_secure.secure_sum.profiles import Profile

_HEADER = struct.Struct("<4sBBBxI4x")
_MAGIC = b"FSUM"
_VERSION = 1
_PLANES = ((32, np.dtype("<u4")), (16, np.dtype("<u2")), (8, np.dtype("u1")))


class Kind(IntEnum):
    """What a frame holds."""

    BODY = 1
    PUBLIC_KEY = 2
    SECRET_KEY = 3


def _polynomials(kind: Kind) -> int:
    """Polynomials of one block: a pair, or the secret alone."""
    return 1 if kind is Kind.SECRET_KEY else 2


def _primes(kind: Kind, profile: Profile) -> tuple[int, ...]:
    """The primes whose residues a frame holds: keys have the special one too."""
    return profile.data_primes if kind is Kind.BODY else profile.primes


def frame_bytes(kind: Kind, profile: Profile, blocks: int = 1) -> int:
    """Exact length of a frame."""
    bits = sum(prime.bit_length() for prime in _primes(kind, profile))
    return _HEADER.size + blocks * _polynomials(kind) * profile.degree * bits // 8


def body_bytes(profile: Profile, blocks: int) -> int:
    """Exact length of an upload, or of a sum, of `blocks` ciphertexts."""
    return frame_bytes(Kind.BODY, profile, blocks)


def pack_words(words: np.ndarray, bits: int) -> Iterator[bytes]:
    """Planes of uint64 words below 2^bits; `bits` a multiple of 4, an even number of words."""
    shift = 0
    for width, plane in _PLANES:
        if bits - shift >= width:
            yield (words >> np.uint64(shift)).astype(plane).tobytes()
            shift += width
    if bits > shift:
        # What is left is a nibble: the first half of the words below, the second half above.
        nibble = (words >> np.uint64(shift)).astype(np.uint8)
        half = nibble.size // 2
        yield (nibble[:half] | nibble[half:] << np.uint8(4)).tobytes()


def unpack_words(data: memoryview, bits: int, count: int) -> np.ndarray:
    """Inverse of `pack_words`: uint64, shape (count,), all below 2^bits by construction."""
    words = np.zeros(count, dtype=np.uint64)
    shift = start = 0
    for width, plane in _PLANES:
        if bits - shift >= width:
            part = np.frombuffer(data, plane, count, start)
            if shift:
                words |= part.astype(np.uint64) << np.uint64(shift)
            else:
                words[:] = part
            shift += width
            start += part.nbytes
    if bits > shift:
        half = count // 2
        nibbles = np.frombuffer(data, np.uint8, half, start)
        words[:half] |= (nibbles & np.uint8(15)).astype(np.uint64) << np.uint64(shift)
        words[half:] |= (nibbles >> np.uint8(4)).astype(np.uint64) << np.uint64(shift)
    return words


def encode(kind: Kind, profile: Profile, residues: list[np.ndarray]) -> bytes:
    """Frame the residues.

    Args:
        kind: What they are.
        profile: Their parameters.
        residues: For each prime, uint64 of shape (blocks, polynomials, degree), all below the prime.
    """
    parts = [_HEADER.pack(_MAGIC, _VERSION, kind, profile.number, residues[0].shape[0])]
    for prime, section in zip(_primes(kind, profile), residues, strict=True):
        parts.extend(pack_words(section.reshape(-1), prime.bit_length()))
    return b"".join(parts)


def decode(kind: Kind, profile: Profile, data: bytes, blocks: int = 1) -> list[np.ndarray]:
    """The residues of a frame, checked in full: length, header, and every coefficient below its prime.

    Returns:
        For each prime, uint64 of shape (blocks, polynomials, degree).

    Raises:
        SecureSumError: Anything is not exactly as `encode` writes it.
    """
    what = f"{kind.name.lower().replace('_', ' ')} of profile {profile.name}"
    expected = frame_bytes(kind, profile, blocks)
    if not isinstance(data, bytes) or len(data) != expected:
        size = f"{len(data)} bytes" if isinstance(data, bytes) else type(data).__name__
        raise SecureSumError(f"a {what} with {blocks} blocks has exactly {expected} bytes, not {size}")
    header = _HEADER.pack(_MAGIC, _VERSION, kind, profile.number, blocks)
    if data[: _HEADER.size] != header:
        raise SecureSumError(f"the header of a {what} with {blocks} blocks must be {header.hex()}")
    polynomials = _polynomials(kind)
    count = blocks * polynomials * profile.degree
    view, start, residues = memoryview(data), _HEADER.size, []
    for prime in _primes(kind, profile):
        bits = prime.bit_length()
        words = unpack_words(view[start:], bits, count)
        if int(words.max()) >= prime:
            raise SecureSumError(f"a coefficient of a {what} is not below its prime {prime}")
        residues.append(words.reshape(blocks, polynomials, profile.degree))
        start += count * bits // 8
    return residues
