"""Encrypted sums equal plaintext sums bit for bit; keys, bodies and processes hold what they should."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedstyle_secure.errors import SecureSumError
from fedstyle_secure.secure_sum import seal, wire
from fedstyle_secure.secure_sum.packing import Layout, pack, plan, unpack
from fedstyle_secure.secure_sum.profiles import MOST_ARTISTS, PROFILES, Q60, Q64, Q80, Profile
from fedstyle_secure.secure_sum.scheme import (
    Accumulator,
    PublicKey,
    SecretKey,
    _encryption_context,
    encrypt,
    make_keys,
    open_total,
)

each_profile = pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)


@lru_cache
def keys(name: str) -> tuple[PublicKey, SecretKey]:
    """One pair for each profile and all tests of this file."""
    return make_keys(PROFILES[name])


def times(public: PublicKey, blocks: int, body: bytes, count: int) -> bytes:
    """The sum of `count` copies of one body, by doubling: the same sum with log2 as many additions."""
    result: bytes | None = None
    while True:
        if count & 1:
            result = body if result is None else added(public, blocks, result, body)
        count >>= 1
        if not count:
            assert result is not None
            return result
        body = added(public, blocks, body, body)


def added(public: PublicKey, blocks: int, *bodies: bytes) -> bytes:
    """The sum of some bodies."""
    running = Accumulator(public, blocks)
    for body in bodies:
        running.add(body)
    return running.total()


@st.composite
def cohorts(draw: st.DrawFn) -> tuple[Layout, list[int], int]:
    """A layout that holds, and how often each of up to three different vectors is in the sum."""
    profile = draw(st.sampled_from(list(PROFILES.values())))
    bits = draw(st.integers(4, 20))
    # Copies of one ciphertext have the same noise, which then grows faster than that of honest uploads.
    number = draw(st.integers(1, 40 if profile is Q64 else 1000))
    cuts = draw(st.sets(st.integers(1, number), max_size=2)) | {0, number}
    counts = np.diff(sorted(cuts)).tolist()
    artists = draw(st.integers(number, 1000))
    edge = Layout(1, bits, artists, profile).lanes * profile.degree
    length = st.one_of(st.integers(1, 300), st.sampled_from([4095, 4096, 4097, edge - 1, edge, edge + 1]))
    return Layout(draw(length), bits, artists, profile), counts, draw(st.integers(0, 2**32))


@given(cohort=cohorts())
@settings(deadline=None, max_examples=60)
def test_decrypted_sums_equal_plaintext_sums_bit_for_bit(cohort: tuple[Layout, list[int], int]) -> None:
    """n in 1..1000, b in 4..20, negatives, extremes, odd lengths, lengths around the slots, every profile."""
    layout, counts, seed = cohort
    public, secret = keys(layout.profile.name)
    generator = np.random.default_rng(seed)
    half = 2 ** (layout.bits - 1)
    expected = np.zeros(layout.values, dtype=np.int64)
    bodies = []
    for count in counts:
        vector = generator.integers(-half, half, size=layout.values)
        vector[generator.random(layout.values) < 0.2] = -half
        vector[generator.random(layout.values) < 0.2] = half - 1
        expected += count * vector
        bodies.append(times(public, layout.blocks, encrypt(public, pack(vector, layout)), count))
    slots, budget = open_total(secret, added(public, layout.blocks, *bodies), layout.blocks)
    assert budget >= layout.profile.budget_floor
    np.testing.assert_array_equal(unpack(slots, layout, sum(counts)), expected)


@pytest.mark.long
@each_profile
def test_the_most_artists_at_the_extremes_are_exact_and_one_more_is_refused(profile: Profile) -> None:
    """The worst case for lanes (all at one end), added one by one: each an encryption of its own, as uploads
    are; where there is room for it, equal ciphertexts, the worst case for noise."""
    public, secret = keys(profile.name)
    layout = Layout(values=4096, bits=10, artists=MOST_ARTISTS, profile=profile)
    for extreme in (511,) if profile is Q64 else (511, -512):
        packed = pack(np.full(layout.values, extreme), layout)
        body = encrypt(public, packed)
        running = Accumulator(public, layout.blocks)
        for _ in range(layout.artists):
            running.add(encrypt(public, packed) if profile is Q64 else body)
        assert running.count == layout.artists
        slots, budget = open_total(secret, running.total(), layout.blocks)
        assert profile.budget_floor <= budget
        # The bound for independent encryptions holds but once in 2^32, and is not idle.
        assert profile is not Q64 or profile.budget(MOST_ARTISTS) <= budget <= 2
        sums = unpack(slots, layout, layout.artists)
        np.testing.assert_array_equal(sums, np.full(layout.values, extreme * layout.artists))
    with pytest.raises(SecureSumError, match=f"at most {MOST_ARTISTS} uploads"):
        running.add(body)
    with pytest.raises(SecureSumError, match="artists, not"):
        unpack(slots, layout, layout.artists + 1)


@each_profile
def test_distinct_encryptions_of_distinct_vectors(profile: Profile) -> None:
    public, secret = keys(profile.name)
    layout = plan(5000, 12, 40) if profile is Q60 else Layout(5000, 12, 40, profile)
    vectors = np.random.default_rng(8).integers(-2048, 2048, size=(40, layout.values))
    running = Accumulator(public, layout.blocks)
    for vector in vectors:
        running.add(encrypt(public, pack(vector, layout)))
    slots, _ = open_total(secret, running.total(), layout.blocks)
    np.testing.assert_array_equal(unpack(slots, layout, 40), vectors.sum(axis=0))


@each_profile
def test_addition_is_seals_own(profile: Profile) -> None:
    """Coefficient by coefficient, the sum is the ciphertext that TenSEAL makes of the same two."""
    import tenseal

    public, _ = keys(profile.name)
    context = _encryption_context(public)
    slots = np.random.default_rng(9).integers(0, profile.plain_modulus, size=(3, profile.degree))
    bodies = [encrypt(public, row) for row in slots]
    ours = np.stack(wire.decode(wire.Kind.BODY, profile, added(public, 1, *bodies)), axis=2)[0]
    vectors = [
        tenseal.bfv_vector_from(
            context, seal.vector(profile, np.stack(wire.decode(wire.Kind.BODY, profile, body), axis=2)[0])
        )
        for body in bodies
    ]
    added_there = seal._read_field((vectors[0] + vectors[1] + vectors[2]).serialize(), 2)
    prefix = seal._pair_prefix(profile, profile.data_primes, transformed=False)
    theirs = seal._taken(added_there, prefix, (2, len(profile.data_primes), profile.degree))
    np.testing.assert_array_equal(ours, theirs)


@each_profile
def test_two_encryptions_of_one_vector_differ_and_have_one_length(profile: Profile) -> None:
    public, secret = keys(profile.name)
    zeros = np.zeros(profile.degree, dtype=np.int64)
    bodies = [
        encrypt(public, zeros),
        encrypt(public, zeros),
        encrypt(public, zeros + profile.plain_modulus - 1),
    ]
    assert {len(body) for body in bodies} == {wire.body_bytes(profile, 1)}
    first, second = (np.stack(wire.decode(wire.Kind.BODY, profile, body)) for body in bodies[:2])
    assert (first != second).mean() > 0.999
    for body, value in zip(bodies, (0, 0, profile.plain_modulus - 1), strict=True):
        assert set(open_total(secret, body, 1)[0].tolist()) == {value}


@each_profile
def test_a_foreign_key_is_refused_twice(profile: Profile) -> None:
    """By its fingerprint; and, if someone did not look, by noise budget and by range."""
    public, secret = keys(profile.name)
    foreign, _ = make_keys(profile)
    assert foreign.fingerprint != public.fingerprint
    layout = Layout(4096, 10, 50, profile)
    ours, theirs = (encrypt(key, pack(np.zeros(4096, dtype=np.int64), layout)) for key in (public, foreign))
    for body in (theirs, added(public, layout.blocks, ours, theirs)):
        slots, budget = open_total(secret, body, layout.blocks)
        assert budget < profile.budget_floor
        with pytest.raises(SecureSumError, match="not a sum of 2 packed vectors"):
            unpack(slots, layout, 2)


@each_profile
def test_a_public_key_is_small_and_holds_nothing_else(profile: Profile) -> None:
    public, secret = keys(profile.name)
    data = public.to_bytes()
    assert len(data) < 100_000
    assert len(data) == wire.frame_bytes(wire.Kind.PUBLIC_KEY, profile)
    context = _encryption_context(PublicKey.from_bytes(data, profile))
    assert not context.is_private()
    assert context.has_public_key()
    for absent in (context.has_secret_key, context.has_relin_keys, context.has_galois_keys):
        assert not absent()
    with pytest.raises((RuntimeError, ValueError)):
        context.data.decryptor()
    words = [section.tobytes() for section in wire.decode(wire.Kind.SECRET_KEY, profile, secret.to_bytes())]
    assert not any(word[:64] in data or word[:64] in context.serialize() for word in words)
    assert secret.to_bytes().hex() not in repr(secret)
    assert repr(secret.to_bytes())[10:50] not in repr(secret)


def test_tenseals_own_public_context_would_still_decrypt() -> None:
    """The hazard that `make_keys` avoids: what TenSEAL calls public keeps a decryptor."""
    import tenseal

    context = tenseal.context(
        tenseal.SCHEME_TYPE.BFV, 4096, Q60.plain_modulus, list(Q60.coefficient_bits), n_threads=1
    )
    context.make_context_public()
    assert not context.is_private()
    vector = tenseal.bfv_vector(context, [7] * 4096)
    assert context.data.decryptor().invariant_noise_budget(vector.ciphertext()[0]) > 0


@each_profile
def test_keys_survive_their_bytes(profile: Profile) -> None:
    public, secret = keys(profile.name)
    again = PublicKey.from_bytes(public.to_bytes(), profile)
    assert again.fingerprint == public.fingerprint
    body = encrypt(again, np.arange(profile.degree))
    restored = SecretKey.from_bytes(secret.to_bytes(), profile)
    np.testing.assert_array_equal(open_total(restored, body, 1)[0], np.arange(profile.degree))


def test_keys_of_other_parameters_are_refused() -> None:
    """A key names no parameters of its own: its length and header must be those of the receiver's profile."""
    for mine, other in ((Q60, Q80), (Q80, Q60)):
        public, secret = keys(other.name)
        with pytest.raises(SecureSumError, match=f"public key of profile {mine.name}"):
            PublicKey.from_bytes(public.to_bytes(), mine)
        with pytest.raises(SecureSumError, match=f"not a secret key of profile {mine.name}"):
            SecretKey.from_bytes(secret.to_bytes(), mine)
    public, secret = keys("Q60")
    for wrong in (secret.to_bytes(), b"", public.to_bytes() + b"\0", b"\xff" * len(public.to_bytes())):
        with pytest.raises(SecureSumError):
            PublicKey.from_bytes(wrong, Q60)


def test_a_weak_context_of_tenseal_is_no_key() -> None:
    """Degree 2048, which TenSEAL would load without a word, cannot even be expressed."""
    import tenseal

    weak = tenseal.context(tenseal.SCHEME_TYPE.BFV, 2048, 1032193, [27, 27], n_threads=1)
    with pytest.raises(SecureSumError, match="exactly 81936 bytes"):
        PublicKey.from_bytes(weak.serialize(save_galois_keys=False, save_relin_keys=False), Q60)


def test_fingerprints_bind_the_key_and_its_parameters() -> None:
    public, _ = keys("Q60")
    changed = bytearray(public.to_bytes())
    changed[5000] ^= 1
    others = [
        PublicKey(Q60, bytes(changed)),
        PublicKey(Q80, public.to_bytes()),
        PublicKey(Profile(**{**vars(Q60), "plain_modulus": Q60.plain_modulus - 8192}), public.to_bytes()),
    ]
    prints = {public.fingerprint, *(other.fingerprint for other in others)}
    assert len(prints) == 4
    assert all(len(bytes.fromhex(one)) == 32 for one in prints)


@each_profile
def test_a_bad_body_leaves_the_sum_as_it_was(profile: Profile) -> None:
    public, secret = keys(profile.name)
    good = encrypt(public, np.arange(2 * profile.degree))
    running = Accumulator(public, 2)
    with pytest.raises(SecureSumError, match="no sum"):
        running.total()
    running.add(good)
    before = running.total()
    for bad in (
        good[:-1],
        good + b"\0",
        b"",
        bytes(reversed(good)),
        encrypt(public, np.arange(profile.degree)),
    ):
        with pytest.raises(SecureSumError):
            running.add(bad)
    residues = wire.decode(wire.Kind.BODY, profile, good, 2)
    residues[-1][-1, -1, -1] = profile.data_primes[-1]  # the very last coefficient
    with pytest.raises(SecureSumError, match="not below its prime"):
        running.add(wire.encode(wire.Kind.BODY, profile, residues))
    assert running.count == 1
    assert running.total() == before
    np.testing.assert_array_equal(open_total(secret, before, 2)[0], np.arange(2 * profile.degree))


@each_profile
def test_a_body_without_encryption_is_refused(profile: Profile) -> None:
    """c1 = 0 shows its plaintext to everybody; SEAL calls it transparent."""
    _, secret = keys(profile.name)
    public, _ = keys(profile.name)
    body = encrypt(public, np.zeros(2 * profile.degree, dtype=np.int64))
    residues = wire.decode(wire.Kind.BODY, profile, body, 2)
    for section in residues:
        section[1, 1] = 0
    with pytest.raises(SecureSumError, match="not encrypted at all"):
        open_total(secret, wire.encode(wire.Kind.BODY, profile, residues), 2)


@each_profile
def test_well_formed_noise_opens_without_a_crash_and_is_refused(profile: Profile) -> None:
    """Any coefficients below the primes reach native code; the budget tells, and no process dies."""
    _, secret = keys(profile.name)
    generator = np.random.default_rng(10)
    for _ in range(10):
        residues = [
            generator.integers(0, prime, size=(1, 2, profile.degree), dtype=np.uint64)
            for prime in profile.data_primes
        ]
        slots, budget = open_total(secret, wire.encode(wire.Kind.BODY, profile, residues), 1)
        assert budget < profile.budget_floor
        layout = Layout(4000, 10, 1000, profile)
        with pytest.raises(SecureSumError, match="not a sum"):
            unpack(slots, layout, 1000)


@pytest.mark.parametrize(
    "slots",
    [
        np.zeros(0, dtype=np.int64),
        np.zeros(4095, dtype=np.int64),
        np.zeros((1, 4096), dtype=np.int64),
        np.zeros(4096),
        np.full(4096, -1),
        np.full(4096, Q60.plain_modulus),
        np.full(4096, 2**64 - 1, dtype=np.uint64),
    ],
)
def test_slots_that_would_wrap_are_refused(slots: np.ndarray) -> None:
    """TenSEAL itself would wrap, truncate or pad them in silence."""
    with pytest.raises(SecureSumError, match="slots must"):
        encrypt(keys("Q60")[0], slots)


def test_both_integer_types_encrypt_alike() -> None:
    public, secret = keys("Q80")
    top = np.array(
        [0, 1, Q80.plain_modulus // 2, Q80.plain_modulus // 2 + 1, Q80.plain_modulus - 1] + [0] * 4091
    )
    for slots in (top.astype(np.int64), top.astype(np.uint64)):
        np.testing.assert_array_equal(open_total(secret, encrypt(public, slots), 1)[0], top)


def test_whoever_adds_loads_no_library_that_could_decrypt(tmp_path: Path) -> None:
    """The platform's part, in a process of its own: no TenSEAL, so no context, decryptor or native parser."""
    public, secret = keys("Q60")
    body = encrypt(public, np.arange(4096))
    (tmp_path / "key").write_bytes(public.to_bytes())
    (tmp_path / "body").write_bytes(body)
    script = """
import sys
from pathlib import Path
from fedstyle_secure.secure_sum.profiles import Q60
from fedstyle_secure.secure_sum.scheme import Accumulator, PublicKey
folder = Path(sys.argv[1])
running = Accumulator(PublicKey.from_bytes((folder / "key").read_bytes(), Q60), 1)
for _ in range(3):
    running.add((folder / "body").read_bytes())
(folder / "sum").write_bytes(running.total())
print([name for name in sys.modules if "tenseal" in name or "zstandard" in name])
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
    )
    assert done.stdout.strip() == "[]"
    slots, _ = open_total(secret, (tmp_path / "sum").read_bytes(), 1)
    np.testing.assert_array_equal(slots, 3 * np.arange(4096))


@each_profile
def test_parameters_are_named_as_seal_names_them(profile: Profile) -> None:
    from tenseal import sealapi

    public, _ = keys(profile.name)
    context = _encryption_context(public).data.seal_context()
    for name, primes in (
        (context.key_parms_id(), profile.primes),
        (context.first_parms_id(), profile.data_primes),
    ):
        assert np.array(name, dtype="<u8").tobytes() == seal.parameters_id(profile, primes)
    assert isinstance(sealapi.Serialization.SEALHeader().version_major, int)
