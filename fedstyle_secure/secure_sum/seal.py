"""SEAL 4 objects in TenSEAL's envelopes, built from words here and taken apart into words here.

Everything that native code parses is built by this module from checked coefficients, and everything that is
taken apart was written a moment ago by this process. SEAL's layout: a 16-byte header (magic, header size,
version, compression, total size), then the object's fields, little-endian; TenSEAL's: protobuf messages.
"""

from __future__ import annotations

import hashlib
import os
import struct
import tempfile
from typing import Any

import numpy as np

from fedstyle_secure.errors import SecureSumError
from fedstyle_secure.secure_sum.profiles import Profile

_SEAL_HEADER = struct.Struct("<HBBBBHQ")
_SEAL_MAGIC = 0xA15E
_PLAIN, _ZSTD = 0, 2
_BFV = 1
_PAIR = struct.Struct("<B3QdQ")
_SECRET = struct.Struct("<Qd")
# As TenSEAL writes it: automatic relinearisation, rescaling and modulus switching on, and no scale.
_AUTO_FLAGS = b"\x10\x07" + b"\x19" + struct.pack("<d", -1.0)


def _version() -> tuple[int, int]:
    """The version of the SEAL library inside TenSEAL, which its loader wants to see."""
    from tenseal import sealapi

    header = sealapi.Serialization.SEALHeader()
    return header.version_major, header.version_minor


def _frame(size: int) -> bytes:
    """The header of an uncompressed SEAL object with `size` bytes inside."""
    major, minor = _version()
    return _SEAL_HEADER.pack(
        _SEAL_MAGIC, _SEAL_HEADER.size, major, minor, _PLAIN, 0, _SEAL_HEADER.size + size
    )


def _seal(content: bytes) -> bytes:
    """An uncompressed SEAL object."""
    return _frame(len(content)) + content


def _content(data: bytes, limit: int) -> bytes:
    """What is inside a SEAL object of this process, decompressed; at most `limit` bytes."""
    import zstandard

    magic, size, _, _, compression, _, total = _SEAL_HEADER.unpack_from(data)
    if magic != _SEAL_MAGIC or size != _SEAL_HEADER.size or total != len(data):
        raise SecureSumError("TenSEAL wrote a frame that SEAL 4 would not have: unsupported version")
    if compression == _PLAIN:
        return data[size:]
    if compression != _ZSTD:
        raise SecureSumError(
            f"TenSEAL was built with compression {compression}; none (0) or Zstandard (2) is needed"
        )
    return zstandard.ZstdDecompressor().decompress(data[size:], max_output_size=limit)


def _array_frame(count: int) -> bytes:
    """What precedes the words of SEAL's dynamic array."""
    return _frame(8 + 8 * count) + struct.pack("<Q", count)


def _array(words: np.ndarray) -> bytes:
    """SEAL's dynamic array."""
    return _array_frame(words.size) + words.astype("<u8").tobytes()


def _varint(value: int) -> bytes:
    """Protobuf's integer, seven bits a byte."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(number: int, payload: bytes) -> bytes:
    """Protobuf's length-delimited field."""
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _read_field(message: bytes, number: int) -> bytes:
    """The first length-delimited field of that number in a message of this process."""
    position = 0

    def varint() -> int:
        nonlocal position
        value = shift = 0
        while True:
            byte = message[position]
            position += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while position < len(message):
        key = varint()
        wire = key & 7
        if wire == 2:
            length = varint()
            if key >> 3 == number:
                return message[position : position + length]
            position += length
        elif wire == 0:
            varint()
        elif wire == 1:
            position += 8
        else:
            break
    raise SecureSumError(
        "TenSEAL wrote a message that is not laid out as version 0.3 does: unsupported version"
    )


def parameters_id(profile: Profile, primes: tuple[int, ...]) -> bytes:
    """SEAL's name of a parameter set: BLAKE2b-256 of scheme, degree, primes and plain modulus."""
    words = (_BFV, profile.degree, *primes, profile.plain_modulus)
    return hashlib.blake2b(struct.pack(f"<{len(words)}Q", *words), digest_size=32).digest()


def _parameters(profile: Profile) -> bytes:
    """The encryption parameters of a profile, as TenSEAL's context wants them."""
    moduli = (*profile.primes, profile.plain_modulus)
    content = struct.pack("<B2Q", _BFV, profile.degree, len(profile.primes))
    return _field(1, _seal(content + b"".join(_seal(struct.pack("<Q", modulus)) for modulus in moduli)))


def _pair_prefix(profile: Profile, primes: tuple[int, ...], transformed: bool) -> bytes:
    """What precedes the words of two polynomials: parameters, form, shape, scale, correction factor."""
    return parameters_id(profile, primes) + _PAIR.pack(transformed, 2, profile.degree, len(primes), 1.0, 1)


def _secret_prefix(profile: Profile) -> bytes:
    """What precedes the words of a secret key."""
    count = len(profile.primes) * profile.degree
    return parameters_id(profile, profile.primes) + _SECRET.pack(count, 1.0)


def public_context(profile: Profile, words: np.ndarray) -> bytes:
    """TenSEAL's context with that public key and no other key.

    Args:
        profile: Parameters.
        words: uint64, shape (2, primes, degree), each residue below its prime.
    """
    prefix = _pair_prefix(profile, profile.primes, transformed=True)
    key = _field(1, _seal(prefix + _array(words)))
    return _parameters(profile) + _field(2, key + _AUTO_FLAGS)


def secret_context(profile: Profile, words: np.ndarray) -> bytes:
    """TenSEAL's context with that secret key alone: uint64, shape (1, primes, degree)."""
    key = _field(1, _seal(_secret_prefix(profile) + _array(words)))
    return _parameters(profile) + _field(2, _AUTO_FLAGS) + _field(3, key)


def vector(profile: Profile, words: np.ndarray) -> bytes:
    """TenSEAL's vector of one full ciphertext: uint64, shape (2, data primes, degree)."""
    return _field(1, _varint(profile.degree)) + _field(2, _ciphertext(profile, words))


def _ciphertext(profile: Profile, words: np.ndarray) -> bytes:
    """SEAL's ciphertext: uint64, shape (2, primes, degree), of the first so many primes of the profile."""
    prefix = _pair_prefix(profile, profile.primes[: words.shape[1]], transformed=False)
    return _seal(prefix + _array(words))


def parameters(profile: Profile) -> Any:
    """SEAL's own context of a profile: it holds no key."""
    from tenseal import sealapi

    terms = sealapi.EncryptionParameters(sealapi.SCHEME_TYPE.BFV)
    terms.set_poly_modulus_degree(profile.degree)
    terms.set_coeff_modulus([sealapi.Modulus(prime) for prime in profile.primes])
    terms.set_plain_modulus(profile.plain_modulus)
    return sealapi.SEALContext(terms, True, sealapi.SEC_LEVEL_TYPE.TC128)


def ciphertext(profile: Profile, inside: Any, words: np.ndarray) -> Any:
    """SEAL's ciphertext of checked words.

    Args:
        profile: Parameters.
        inside: Of `parameters`.
        words: uint64, shape (2, primes, degree), each below its prime, of the first so many data primes.
    """
    from tenseal import sealapi

    return _loaded(sealapi.Ciphertext(inside), inside, _ciphertext(profile, words))


def polynomial(profile: Profile, inside: Any, coefficients: np.ndarray) -> Any:
    """SEAL's plaintext with these coefficients, integers in [0, t), shape (degree,)."""
    from tenseal import sealapi

    prefix = bytes(32) + _SECRET.pack(profile.degree, 1.0)
    return _loaded(sealapi.Plaintext(), inside, _seal(prefix + _array(coefficients)))


def _loaded(empty: Any, inside: Any, data: bytes) -> Any:
    """An object of SEAL's with what this process wrote in it."""
    with _unnamed() as file:
        file.write(data)
        file.seek(0)
        empty.load(inside, f"/dev/fd/{file.fileno()}")
    return empty


def words_of(profile: Profile, ciphertext: Any) -> np.ndarray:
    """The words of a ciphertext of SEAL's that this process made: uint64, shape (2, primes, degree)."""
    primes = profile.primes[: ciphertext.coeff_modulus_size()]
    prefix = _pair_prefix(profile, primes, transformed=False)
    with _unnamed() as file:
        return _saved(file, ciphertext, prefix, (2, len(primes), profile.degree))


def public_words(profile: Profile, context: bytes) -> np.ndarray:
    """Inverse of `public_context`, for a context that this process serialised."""
    prefix = _pair_prefix(profile, profile.primes, transformed=True)
    return _taken(_read_field(_read_field(context, 2), 1), prefix, (2, len(profile.primes), profile.degree))


def secret_words(profile: Profile, context: bytes) -> np.ndarray:
    """Inverse of `secret_context`, for a context that this process serialised."""
    shape = (1, len(profile.primes), profile.degree)
    return _taken(_read_field(_read_field(context, 3), 1), _secret_prefix(profile), shape)


def encrypted_words(profile: Profile, context: Any, slots: np.ndarray) -> np.ndarray:
    """Encrypt blocks of slots, one ciphertext each.

    By SEAL's own interface inside TenSEAL, as TenSEAL's vectors copy every block several times; it writes
    ciphertexts to paths only, so to one without a name.

    Args:
        profile: Parameters.
        context: TenSEAL's context with the public key.
        slots: int64, shape (blocks, degree), in (-t/2, t/2].

    Returns:
        uint64, shape (blocks, 2, data primes, degree).
    """
    from tenseal import sealapi

    inside, encryptor = context.data.seal_context(), context.data.encryptor()
    encoder, plain, ciphertext = sealapi.BatchEncoder(inside), sealapi.Plaintext(), sealapi.Ciphertext(inside)
    prefix = _pair_prefix(profile, profile.data_primes, transformed=False)
    shape = (2, len(profile.data_primes), profile.degree)
    words = np.empty((len(slots), *shape), dtype=np.uint64)
    with _unnamed() as file:
        for row, block in zip(words, slots, strict=True):
            encoder.encode(block.tolist(), plain)
            encryptor.encrypt(plain, ciphertext)
            row[:] = _saved(file, ciphertext, prefix, shape)
    return words


def _saved(file: Any, ciphertext: Any, prefix: bytes, shape: tuple[int, int, int]) -> np.ndarray:
    """The words of a ciphertext, by way of an open file: SEAL writes to paths only."""
    file.seek(0)
    ciphertext.save(f"/dev/fd/{file.fileno()}")
    file.seek(0)
    return _taken(_whole(file.read()), prefix, shape)


def _unnamed() -> Any:
    """A file without a name, unbuffered; in memory where the system can (Linux)."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("fedstyle_secure"), "r+b", buffering=0)
    return tempfile.TemporaryFile(buffering=0)


def _whole(data: bytes) -> bytes:
    """The SEAL object that a file begins with; behind it may be the rest of a longer one."""
    return data[: _SEAL_HEADER.unpack_from(data)[-1]]


def _taken(data: bytes, prefix: bytes, shape: tuple[int, int, int]) -> np.ndarray:
    """The words of a SEAL object of that shape which must begin with `prefix`."""
    count = shape[0] * shape[1] * shape[2]
    size = len(prefix) + len(_array_frame(count)) + 8 * count
    content = _content(data, size)
    if len(content) != size or not content.startswith(prefix):
        raise SecureSumError("TenSEAL wrote an object that SEAL 4 would not have: unsupported version")
    return np.frombuffer(content, dtype="<u8", offset=size - 8 * count).reshape(shape)
