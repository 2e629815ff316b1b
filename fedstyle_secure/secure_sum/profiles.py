"""The shipped sets of BFV parameters, and how much noise an honest sum can carry.

BFV: Brakerski 2012; Fan and Vercauteren 2012. Security: at degree 4096 the Homomorphic Encryption Standard
(Albrecht et al. 2018, table 1, ternary secret, classical attacks) allows 109 bits of modulus for 128-bit
security; these sets use 80, 84 and 96.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

MAX_MODULUS_BITS = 109
"""Largest modulus, special prime included, for 128-bit security at degree 4096."""

MOST_ARTISTS = 1024
"""The most uploads in one sum, whatever the profile; each has room for the noise of so many."""

_REFUSED_BITS = 32
_SECRET_WEIGHT_DEVIATIONS = 9


@dataclass(frozen=True)
class Profile:
    """One set of parameters; both sides build everything from it, so that nothing of it is negotiated.

    Attributes:
        name: Name in manifests.
        degree: N, coefficients of a polynomial and slots of a ciphertext.
        coefficient_bits: Bits of each prime of the modulus; the last one, the special prime, is in the keys
            and counts toward security, but is not in a ciphertext.
        plain_modulus: t, a prime = 1 mod 2N, so that a slot holds an integer mod t.
        bytes_per_slot: Bytes of a ciphertext, framing aside, for each slot.
        budget_floor: Least noise budget, in bits as SEAL counts them, with which a sum is opened.
        primes: The primes of the modulus, data primes first.
        number: What stands for this profile on the wire.
    """

    name: str
    degree: int
    coefficient_bits: tuple[int, ...]
    plain_modulus: int
    bytes_per_slot: float
    budget_floor: int
    primes: tuple[int, ...]
    number: int

    @property
    def data_primes(self) -> tuple[int, ...]:
        """The primes whose residues a ciphertext holds."""
        return self.primes[:-1]

    @property
    def modulus(self) -> int:
        """q, the product of the data primes."""
        return math.prod(self.data_primes)

    def noise(self, additions: int) -> int:
        """Bound on every noise coefficient of a block of a sum of honest ciphertexts, except with
        probability 2^-32.

        SEAL encrypts under q P (P the special prime) and divides by P, so the noise of one ciphertext is
        (e u + e0 + e1 s) / P + r0 + r1 s + r2: s, u uniform on {-1, 0, 1}, e of deviation below 3.3, and
        the roundings r uniform on [-1/2, 1/2], which is sub-Gaussian with its own variance 1/12 (r2 is that
        of the plaintext, which a mask makes uniform). |s|^2 is taken 9 standard deviations above its mean
        2N/3. Encryptions are independent but for s, so variances add, and for each of N coefficients
        P(|x| > B) <= 2 exp(-B^2 / 2 sigma^2).

        It bounds how often honest sums are refused, not what is opened: noise beyond the modulus changes a
        coefficient of the plaintext and with it every slot, which the redundancy of the slots finds.
        """
        weight = 2 * self.degree / 3 + _SECRET_WEIGHT_DEVIATIONS * math.sqrt(2 * self.degree / 9)
        variance = (2 + weight) / 12 + (3.3 / self.primes[-1]) ** 2 * (1 + 2 * weight)
        deviations = math.sqrt(2 * math.log(2) * (_REFUSED_BITS + 1) + 2 * math.log(self.degree))
        return math.ceil(deviations * math.sqrt(additions * variance))

    def budget(self, additions: int) -> int:
        """Noise budget, in bits as SEAL counts them, that a sum of `additions` honest ciphertexts keeps.

        SEAL's count is bits(q) - bits(t * noise) - 1; a sum decrypts exactly while it is positive.
        """
        noise = self.plain_modulus * self.noise(additions)
        return self.modulus.bit_length() - noise.bit_length() - 1


Q60 = Profile(
    name="Q60",
    degree=4096,
    coefficient_bits=(60, 20),
    plain_modulus=1099511480321,
    bytes_per_slot=15.0,
    budget_floor=1,
    primes=(1152921504606830593, 1032193),
    number=1,
)
"""One 60-bit prime, 40-bit slots: the least work for whoever adds."""

Q64 = Profile(
    name="Q64",
    degree=4096,
    # Unequal primes: SEAL's compression, which cannot be turned off, is quicker with them.
    coefficient_bits=(48, 16, 20),
    plain_modulus=1125899906826241,
    bytes_per_slot=16.0,
    budget_floor=1,
    primes=(281474976694273, 40961, 1032193),
    number=3,
)
"""Primes of 48 and 16 bits, 50-bit slots: two values of 20 bits in a slot, beside its redundancy."""

Q80 = Profile(
    name="Q80",
    degree=4096,
    # A special prime of 16 bits rounds as well as one of 21 and keeps the public key under 100 kB.
    coefficient_bits=(40, 40, 16),
    plain_modulus=1152921504606830593,
    bytes_per_slot=20.0,
    budget_floor=1,
    primes=(1099511390209, 1099511480321, 40961),
    number=2,
)
"""Two 40-bit primes, 60-bit slots: the fewest bytes for long vectors."""

PROFILES: Mapping[str, Profile] = MappingProxyType({profile.name: profile for profile in (Q60, Q64, Q80)})
"""Every profile that is accepted, by name, cheapest to add first."""
