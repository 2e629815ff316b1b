"""Why not CKKS: its published results give the key away, and what is opened here does not."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from fedstyle_secure.secure_sum import wire
from fedstyle_secure.secure_sum.packing import Layout, pack, unpack
from fedstyle_secure.secure_sum.profiles import Q60
from fedstyle_secure.secure_sum.scheme import Accumulator, encrypt, make_keys, open_total


def _power(polynomial: np.ndarray) -> np.ndarray:
    """Squared absolute values at the odd powers of exp(pi i / n)."""
    turns = np.exp(1j * np.pi * np.arange(len(polynomial)) / len(polynomial))
    power: np.ndarray = np.abs(np.fft.fft(polynomial.astype(np.float64) * turns)) ** 2
    return power


def test_one_published_sum_of_the_naive_recipe_gives_its_secret_key_away(naive: ModuleType) -> None:
    """Li and Micciancio 2021: from public data alone, and the key then opens one artist's own upload."""
    scheme = naive.NaiveCkks()
    generator = np.random.default_rng(5)
    vectors = generator.normal(size=(4, 2 * naive.SLOTS))
    uploads = [scheme.encrypt(vector) for vector in vectors]
    total = scheme.load(uploads[0])
    for upload in uploads[1:]:
        total += scheme.load(upload)
    published = np.array(total.decrypt())

    key = naive.recover_key(total, published)
    assert naive.is_ternary(key)
    read = naive.open_slots(key, scheme.load(uploads[0]).ciphertext()[0], 8)
    np.testing.assert_allclose(read, vectors[0, :8], atol=1e-5)

    blurred = published + generator.normal(scale=1e-6, size=published.shape)
    assert not naive.is_ternary(naive.recover_key(total, blurred)), "success means something"


def test_the_attack_has_nothing_to_work_on_here(naive: ModuleType) -> None:
    """The same equation, set up for the one result that is opened: the noise that it needs is never released.

    With the noise, which takes the secret key to compute, it would succeed. That shows that the equation is
    the right one and that exact rounding is all that stands between.
    """
    profile = Q60
    layout = Layout(values=profile.degree, bits=10, artists=1000, profile=profile)
    public, secret = make_keys(profile)
    generator = np.random.default_rng(6)
    vectors = generator.integers(-512, 512, size=(3, layout.values))
    running = Accumulator(public, layout.blocks)
    for vector in vectors:
        running.add(encrypt(public, pack(vector, layout)))
    opened, _ = open_total(secret, running.total(), layout.blocks)
    np.testing.assert_array_equal(unpack(opened, layout, 3), vectors.sum(axis=0))

    (prime,) = profile.data_primes
    field = naive.Transform.of(profile.degree, prime)
    (residues,) = wire.decode(wire.Kind.BODY, profile, running.total(), layout.blocks)
    c0, c1 = (field.forward(part) for part in residues[0].astype(object))

    # The best that opened slots say about c0 + c1 s: the multiple of q / t at the plaintext polynomial.
    plain = naive.Transform.of(profile.degree, profile.plain_modulus)
    message = plain.inverse(plain.points(opened)) % profile.plain_modulus
    scaled = field.forward((message * prime * 2 + profile.plain_modulus) // (2 * profile.plain_modulus))
    guess = field.inverse(field.divide(scaled - c0, c1))
    # A guess that knew nothing would hit a coefficient of the key with probability 3 in 2^60.
    assert (np.abs(guess) <= 1).sum() == 0

    keys = wire.decode(wire.Kind.SECRET_KEY, profile, secret.to_bytes())
    true = keys[0].reshape(-1).astype(object)
    noise = field.inverse((c0 + c1 * true - scaled) % prime)
    assert np.abs(noise).max() <= profile.noise(3)
    key = field.inverse(true)
    assert naive.is_ternary(key)
    # The model behind `Profile.noise`: roundings of variance 1/12, times the key. The key colours them, so
    # they are held to it at each of the points at which a product of polynomials is one of numbers. These
    # are 2048 complex values and their conjugates: 5.5 % are five deviations of the mean, a false alarm once
    # in 100,000 runs.
    stated = 3 * profile.degree * (2 + _power(key)) / 12
    assert np.sqrt((_power(noise) / stated).mean()) == pytest.approx(1, rel=0.055)
    solved = field.divide(scaled + field.forward(noise) - c0, c1)
    np.testing.assert_array_equal(solved, true % prime)


def test_what_is_opened_depends_on_the_sum_alone(naive: ModuleType) -> None:
    """Two runs with the same sum open to the same integers; two runs of the naive recipe do not."""
    public, secret = make_keys(Q60)
    layout = Layout(values=4096, bits=10, artists=10, profile=Q60)
    generator = np.random.default_rng(7)
    first = generator.integers(-256, 256, size=(2, layout.values))
    second = np.stack([first[0] + 100, first[1] - 100])
    opened = []
    for vectors in (first, second):
        running = Accumulator(public, layout.blocks)
        for vector in vectors:
            running.add(encrypt(public, pack(vector, layout)))
        opened.append(open_total(secret, running.total(), layout.blocks)[0])
    np.testing.assert_array_equal(opened[0], opened[1])

    scheme = naive.NaiveCkks()
    values = generator.normal(size=naive.SLOTS)
    assert (scheme.decrypt(scheme.encrypt(values)) != scheme.decrypt(scheme.encrypt(values))).any()
