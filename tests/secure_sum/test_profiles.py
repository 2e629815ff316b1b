"""The parameters are what SEAL would choose, within the standard's bound, and their noise bound is honest."""

from __future__ import annotations

import numpy as np
import pytest

from fedstyle_secure.secure_sum.profiles import MAX_MODULUS_BITS, MOST_ARTISTS, PROFILES, Profile
from fedstyle_secure.secure_sum.scheme import Accumulator, encrypt, make_keys, open_total

each_profile = pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)


@each_profile
def test_primes_are_those_that_seal_makes(profile: Profile) -> None:
    from tenseal import sealapi

    made = sealapi.CoeffModulus.Create(profile.degree, list(profile.coefficient_bits))
    assert profile.primes == tuple(modulus.value() for modulus in made)
    assert tuple(prime.bit_length() for prime in profile.primes) == profile.coefficient_bits
    assert profile.bytes_per_slot == 2 * sum(profile.coefficient_bits[:-1]) / 8


@each_profile
def test_plain_modulus_is_a_prime_that_allows_slots(profile: Profile) -> None:
    t = profile.plain_modulus
    assert t % (2 * profile.degree) == 1
    assert t < 2**60, "SEAL's limit"
    assert all(pow(base, t - 1, t) == 1 for base in (2, 3, 5, 7, 11, 13))
    root = next(r for base in range(2, 99) if pow(r := pow(base, (t - 1) // 8192, t), 4096, t) == t - 1)
    assert pow(root, 8192, t) == 1


@each_profile
def test_security_is_within_the_standard(profile: Profile) -> None:
    """Homomorphic Encryption Standard 2018, table 1: degree 4096, 128 bits, classical: 109 bits."""
    assert profile.degree == 4096
    assert sum(profile.coefficient_bits) <= MAX_MODULUS_BITS == 109
    from tenseal import sealapi

    assert sealapi.CoeffModulus.MaxBitCount(4096, sealapi.SEC_LEVEL_TYPE.TC128) == MAX_MODULUS_BITS


@each_profile
def test_every_profile_has_room_for_the_noise_of_the_most_artists(profile: Profile) -> None:
    assert profile.budget(MOST_ARTISTS) >= profile.budget_floor >= 1
    # One that is refused for its noise by chance would not even have been opened wrongly.
    assert 2 * profile.plain_modulus * profile.noise(MOST_ARTISTS) < profile.modulus


@each_profile
def test_seal_never_reports_less_budget_than_the_bound(profile: Profile) -> None:
    """Twenty fresh encryptions, by themselves and all together; holds but once in 2^27."""
    public, secret = make_keys(profile)
    generator = np.random.default_rng(1)
    slots = generator.integers(0, profile.plain_modulus, size=20 * profile.degree)
    body = encrypt(public, slots)
    _, fresh = open_total(secret, body, 20)
    assert fresh >= profile.budget(1)
    running = Accumulator(public, 1)
    for block in slots.reshape(20, -1):
        running.add(encrypt(public, block))
    opened, left = open_total(secret, running.total(), 1)
    assert profile.budget(20) <= left < fresh
    total = slots.reshape(20, -1).astype(object).sum(axis=0) % profile.plain_modulus
    np.testing.assert_array_equal(opened, total.astype(np.int64))
