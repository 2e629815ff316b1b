"""The usual recipe for encrypted federated averaging, as a peer, and the attack that breaks it.

The recipe: one CKKS context, degree 8192, primes of 60, 40, 40 and 60 bits, scale 2^40; every artist sends
`ckks_vector(...).serialize()`, the platform adds, and the decrypted doubles are published.

The attack: Li and Micciancio 2021, "On the security of homomorphic encryption on approximate numbers". CKKS
decrypts to c0 + c1 s with the noise inside, so whoever sees a ciphertext and its decryption solves for the
secret s. TenSEAL publishes only the real part of every slot, which is one equation for s and its conjugate;
two ciphertexts give two equations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tenseal

DEGREE = 8192
PRIME_BITS = (60, 40, 40, 60)
SCALE = 2.0**40
SLOTS = DEGREE // 2


class NaiveCkks:
    """One key for everybody, nothing checked."""

    def __init__(self) -> None:
        self.context = tenseal.context(
            tenseal.SCHEME_TYPE.CKKS, DEGREE, coeff_mod_bit_sizes=list(PRIME_BITS), n_threads=1
        )
        self.context.global_scale = SCALE

    def encrypt(self, values: np.ndarray) -> bytes:
        """An artist's upload."""
        return tenseal.ckks_vector(self.context, values.tolist()).serialize()

    def load(self, upload: bytes) -> Any:
        """What the platform adds."""
        return tenseal.ckks_vector_from(self.context, upload)

    def decrypt(self, upload: bytes) -> np.ndarray:
        """The published doubles."""
        return np.array(self.load(upload).decrypt())


@dataclass(frozen=True)
class Transform:
    """SEAL's number-theoretic transform modulo one prime, in Python's integers.

    Point i of the transform is the value at psi^(2 r(i) + 1): psi the least primitive 2N-th root of unity, r
    the reversal of log2(N) bits.
    """

    degree: int
    prime: int
    psi: int
    order: np.ndarray

    @classmethod
    def of(cls, degree: int, prime: int) -> Transform:
        """For polynomials below `degree`, a power of two, and a prime = 1 mod 2 * degree."""
        size = 2 * degree
        root = next(
            power
            for base in range(2, prime)
            if pow(power := pow(base, (prime - 1) // size, prime), degree, prime) == prime - 1
        )
        square = root * root % prime
        least = power = root
        for _ in range(degree - 1):
            power = power * square % prime
            least = min(least, power)
        order = np.zeros(1, dtype=np.int64)
        while order.size < degree:
            order = np.concatenate([2 * order, 2 * order + 1])
        return cls(degree, prime, least, order)

    def _powers(self, base: int, count: int) -> np.ndarray:
        powers = np.empty(count, dtype=object)
        power = 1
        for index in range(count):
            powers[index] = power
            power = power * base % self.prime
        return powers

    def _cyclic(self, values: np.ndarray, root: int) -> np.ndarray:
        """Values at root^0, root^1, ...: Cooley and Tukey, decimation in time."""
        result = values[self.order]
        half = 1
        while half < self.degree:
            twiddles = self._powers(pow(root, self.degree // (2 * half), self.prime), half)
            rows = result.reshape(-1, 2 * half)
            even, odd = rows[:, :half].copy(), rows[:, half:] * twiddles % self.prime
            rows[:, :half], rows[:, half:] = (even + odd) % self.prime, (even - odd) % self.prime
            half *= 2
        return result

    def points(self, slots: np.ndarray) -> np.ndarray:
        """SEAL's slots, two rows at the powers of 3 and their inverses, in the order of points."""
        values = np.empty(2 * self.degree, dtype=object)
        powers = np.array([pow(3, index, 2 * self.degree) for index in range(self.degree // 2)])
        values[powers] = slots[: self.degree // 2]
        values[2 * self.degree - powers] = slots[self.degree // 2 : self.degree]
        return values[2 * self.order + 1]

    def forward(self, coefficients: np.ndarray) -> np.ndarray:
        """Points of the polynomial with these integer coefficients; object arrays, shape (degree,)."""
        twisted = coefficients.astype(object) * self._powers(self.psi, self.degree) % self.prime
        return self._cyclic(twisted, self.psi * self.psi % self.prime)[self.order]

    def inverse(self, points: np.ndarray) -> np.ndarray:
        """Coefficients, centred around zero, of the polynomial with these points."""
        back = pow(self.psi, -1, self.prime)
        twisted = self._cyclic(points[self.order], back * back % self.prime)
        scale = pow(self.degree, -1, self.prime)
        coefficients = twisted * self._powers(back, self.degree) % self.prime * scale % self.prime
        return np.where(coefficients > self.prime // 2, coefficients - self.prime, coefficients)

    @property
    def conjugate(self) -> np.ndarray:
        """Index of the point at 1/x for every point x."""
        exponents = 2 * self.order + 1
        index = np.empty(2 * self.degree, dtype=np.int64)
        index[exponents] = np.arange(self.degree)
        return index[2 * self.degree - exponents]

    def divide(self, numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
        """Pointwise quotient; zero where there is none."""
        quotient = [
            int(a) * pow(int(b), -1, self.prime) % self.prime if b % self.prime else 0
            for a, b in zip(numerator, denominator, strict=True)
        ]
        return np.array(quotient, dtype=object)


def _noisy_polynomial(published: np.ndarray) -> np.ndarray:
    """m + m(1/X), in integers, of the polynomial m whose slots have these real parts."""
    values = np.zeros(2 * DEGREE)
    exponents = np.array([pow(3, slot, 2 * DEGREE) for slot in range(SLOTS)])
    values[exponents] = values[2 * DEGREE - exponents] = published
    return np.rint(2 * SCALE / DEGREE * np.fft.fft(values)[:DEGREE].real).astype(np.int64)


LEVEL = 1
"""Which data prime the attack works modulo: one of 40 bits is enough for a ternary key."""


def transform() -> Transform:
    """The transform modulo that prime."""
    from tenseal import sealapi

    return Transform.of(DEGREE, sealapi.CoeffModulus.Create(DEGREE, list(PRIME_BITS))[LEVEL].value())


def _points(ciphertext: Any) -> tuple[np.ndarray, np.ndarray]:
    """c0 and c1 modulo that prime; CKKS keeps them transformed."""
    levels = ciphertext.coeff_modulus_size()
    starts = [(part * levels + LEVEL) * DEGREE for part in (0, 1)]
    c0, c1 = (np.array([ciphertext[start + i] for i in range(DEGREE)], dtype=object) for start in starts)
    return c0, c1


def recover_key(total: Any, published: np.ndarray) -> np.ndarray:
    """Solve for the secret key.

    Args:
        total: The encrypted sum, two full ciphertexts, as TenSEAL's vector. No secret of it is used.
        published: Its decryption, float64, shape (2 * SLOTS,).

    Returns:
        Integers of shape (DEGREE,): the secret key, ternary, if the attack succeeds.
    """
    field = transform()
    conjugate, prime = field.conjugate, field.prime
    known, coefficient = [], []
    for index, ciphertext in enumerate(total.ciphertext()):
        c0, c1 = _points(ciphertext)
        # m + m* = (c0 + c0*) + c1 s + c1* s*, point by point.
        points = field.forward(_noisy_polynomial(published[index * SLOTS : (index + 1) * SLOTS]))
        known.append((points - c0 - c0[conjugate]) % prime)
        coefficient.append((c1, c1[conjugate]))
    (a, b), (c, d) = coefficient
    return field.inverse(field.divide(known[0] * d - known[1] * b, a * d - b * c))


def is_ternary(key: np.ndarray) -> bool:
    """Whether these integers can be a secret key at all; by chance, never: 8192 hits of 3 in 2^40."""
    return bool((np.abs(key) <= 1).all() and key.any())


def open_slots(key: np.ndarray, ciphertext: Any, slots: int) -> np.ndarray:
    """What anyone with a recovered key reads: the first slots of one artist's own ciphertext."""
    field = transform()
    c0, c1 = _points(ciphertext)
    polynomial = field.inverse((c0 + c1 * field.forward(key)) % field.prime).astype(np.float64)
    exponents = np.array([pow(3, slot, 2 * DEGREE) for slot in range(slots)])
    angles = np.pi / DEGREE * (np.outer(exponents, np.arange(DEGREE)) % (2 * DEGREE))
    return np.cos(angles) @ polynomial / SCALE
