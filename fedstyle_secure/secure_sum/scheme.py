"""Additively homomorphic encryption behind four verbs: make keys, encrypt, add, open.

BFV (Brakerski 2012; Fan and Vercauteren 2012) by TenSEAL, which only ever encrypts and decrypts. Adding is
done here, on checked coefficients: whoever adds loads no native code for it and holds nothing that decrypts.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from fedstyle_secure.errors import SecureSumError
from fedstyle_secure.secure_sum import seal
from fedstyle_secure.secure_sum.profiles import MOST_ARTISTS, Profile
from fedstyle_secure.secure_sum.wire import Kind, decode, encode

_DOMAIN = b"fedstyle_secure public key v1\0"


@dataclass(frozen=True)
class PublicKey:
    """What artists encrypt with. It holds two polynomials and cannot hold any other key.

    Attributes:
        profile: Parameters; they are the receiver's own, never read from a peer.
        data: The key as bytes.
    """

    profile: Profile
    data: bytes

    @classmethod
    def from_bytes(cls, data: bytes, profile: Profile) -> PublicKey:
        """Check and take a key.

        Raises:
            SecureSumError: Not a public key of this profile.
        """
        decode(Kind.PUBLIC_KEY, profile, data)
        return cls(profile, data)

    def to_bytes(self) -> bytes:
        """The key as bytes, of one length for each profile, under 100 kB."""
        return self.data

    @property
    def fingerprint(self) -> str:
        """SHA-256, in hexadecimal, of the key and of every parameter it is used with."""
        profile = self.profile
        terms = (profile.name, profile.degree, profile.primes, profile.plain_modulus)
        return hashlib.sha256(_DOMAIN + repr(terms).encode() + b"\0" + self.data).hexdigest()


@dataclass(frozen=True)
class SecretKey:
    """What the opener, and nobody else, opens sums with.

    Attributes:
        profile: Parameters.
        data: The key as bytes; left out of `repr`.
    """

    profile: Profile
    data: bytes = field(repr=False)

    @classmethod
    def from_bytes(cls, data: bytes, profile: Profile) -> SecretKey:
        """Check and take a key.

        Raises:
            SecureSumError: Not a secret key of this profile.
        """
        try:
            decode(Kind.SECRET_KEY, profile, data)
        except SecureSumError:
            raise SecureSumError(f"this is not a secret key of profile {profile.name}") from None
        return cls(profile, data)

    def to_bytes(self) -> bytes:
        """The key as bytes, of one length for each profile. Keep them encrypted."""
        return self.data


def make_keys(profile: Profile) -> tuple[PublicKey, SecretKey]:
    """A fresh pair, from the operating system's entropy. Only the opener's process may call this.

    TenSEAL's `make_context_public` leaves a working decryptor behind, so a public key is made by writing its
    polynomials out and never by stripping a private context.
    """
    import tenseal

    context = tenseal.context(
        tenseal.SCHEME_TYPE.BFV,
        profile.degree,
        profile.plain_modulus,
        list(profile.coefficient_bits),
        n_threads=1,
    )
    none = dict.fromkeys(("save_public_key", "save_secret_key", "save_galois_keys", "save_relin_keys"), False)
    public = seal.public_words(profile, context.serialize(**none | {"save_public_key": True}))
    secret = seal.secret_words(profile, context.serialize(**none | {"save_secret_key": True}))
    return (
        PublicKey(profile, encode(Kind.PUBLIC_KEY, profile, _by_prime(public))),
        SecretKey(profile, encode(Kind.SECRET_KEY, profile, _by_prime(secret))),
    )


def _by_prime(words: np.ndarray) -> list[np.ndarray]:
    """(polynomials, primes, degree) as `wire` frames it: for each prime, (1, polynomials, degree)."""
    return [words[np.newaxis, :, prime] for prime in range(words.shape[1])]


@lru_cache(maxsize=2)
def _encryption_context(public: PublicKey) -> Any:
    """TenSEAL's context for encrypting; one for all artists of a process, since each starts a thread."""
    import tenseal

    residues = decode(Kind.PUBLIC_KEY, public.profile, public.data)
    words = np.stack([section[0] for section in residues], axis=1)
    return tenseal.context_from(seal.public_context(public.profile, words), 1)


def encrypt(public: PublicKey, slots: np.ndarray) -> bytes:
    """Encrypt slots into one body, whose length depends on nothing but their number.

    Args:
        public: The opener's key.
        slots: Integers in [0, t); as many as fill whole blocks of `degree`.

    Raises:
        SecureSumError: Wrong shape or out of range.
    """
    profile = public.profile
    modulus = profile.plain_modulus
    slots = np.asarray(slots)
    if slots.dtype.kind not in "iu" or slots.ndim != 1 or not slots.size or slots.size % profile.degree:
        raise SecureSumError(
            f"slots must be a multiple of {profile.degree} integers, not {slots.dtype} of shape {slots.shape}"
        )
    if int(slots.min()) < 0 or int(slots.max()) >= modulus:
        raise SecureSumError(f"slots must lie in [0, {modulus})")
    signed = slots.astype(np.int64)
    signed[signed > modulus // 2] -= modulus
    words = seal.encrypted_words(profile, _encryption_context(public), signed.reshape(-1, profile.degree))
    return encode(Kind.BODY, profile, [words[:, :, prime] for prime in range(words.shape[2])])


class Accumulator:
    """Adds bodies as they come; holds one running sum, however many come.

    Args:
        public: The key that the bodies were encrypted with; only its profile is used.
        blocks: Ciphertexts of one body, at least 1.
    """

    def __init__(self, public: PublicKey, blocks: int) -> None:
        if blocks < 1:
            raise SecureSumError(f"blocks must be at least 1, not {blocks}")
        self._profile = public.profile
        self._blocks = blocks
        self._sum: list[np.ndarray] = []
        self._count = 0

    @property
    def count(self) -> int:
        """Bodies added so far."""
        return self._count

    def add(self, body: bytes) -> None:
        """Add one body: checked in full first, so that a bad one leaves the sum as it was.

        Raises:
            SecureSumError: Malformed, or one more than the noise allows.
        """
        if self._count >= MOST_ARTISTS:
            raise SecureSumError(f"a sum holds at most {MOST_ARTISTS} uploads; the noise allows no more")
        residues = decode(Kind.BODY, self._profile, body, self._blocks)
        if self._sum:
            for total, section, prime in zip(self._sum, residues, self._profile.data_primes, strict=True):
                total += section
                # Below 2 p. Unsigned, total - p wraps to something huge exactly where total < p.
                np.minimum(total, total - np.uint64(prime), out=total)
        else:
            self._sum = residues
        self._count += 1

    def total(self) -> bytes:
        """The sum as a body.

        Raises:
            SecureSumError: Nothing was added.
        """
        if not self._sum:
            raise SecureSumError("nothing was added, so there is no sum")
        return encode(Kind.BODY, self._profile, self._sum)


def open_total(secret: SecretKey, body: bytes, blocks: int) -> tuple[np.ndarray, int]:
    """Decrypt a sum. The caller has checked whose sum it is: whoever opens anything given away the key.

    BFV is not secure against chosen ciphertexts: what this returns for a body that is not the sum of honest
    uploads, and whether it raises, can depend on the secret key and must not reach the body's author.

    Args:
        secret: The opener's key.
        body: A sum, as `Accumulator.total` gives it.
        blocks: Ciphertexts that it must have.

    Returns:
        Slots in [0, t), int64 of shape (blocks * degree,), and the least noise budget of a block in bits. A
        budget below `profile.budget_floor` means that the slots must not be used.

    Raises:
        SecureSumError: Malformed, or not a ciphertext that can be decrypted.
    """
    import tenseal

    profile = secret.profile
    residues = decode(Kind.BODY, profile, body, blocks)
    words = np.stack(residues, axis=2)
    if not words[:, 1].any(axis=(1, 2)).all():
        raise SecureSumError("a block of this sum is not encrypted at all")
    key = np.stack([section[0] for section in decode(Kind.SECRET_KEY, profile, secret.data)], axis=1)
    try:
        context = tenseal.context_from(seal.secret_context(profile, key), 1)
        decryptor = context.data.decryptor()
        slots = np.empty((blocks, profile.degree), dtype=np.int64)
        budget = profile.modulus.bit_length()
        for row, block in zip(slots, words, strict=True):
            vector = tenseal.bfv_vector_from(context, seal.vector(profile, block))
            budget = min(budget, decryptor.invariant_noise_budget(vector.ciphertext()[0]))
            row[:] = vector.decrypt()
    except (RuntimeError, ValueError):
        raise SecureSumError("this sum could not be decrypted") from None
    slots[slots < 0] += profile.plain_modulus
    return slots.reshape(-1), budget
