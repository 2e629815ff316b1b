"""One artist of the cohort, together with the platform, tries to draw the opener's key out of its answers.

The artist masks and encrypts honestly, then adds round(q a / t) to the polynomial c1 of its own upload and
signs that: BFV opens sum + a s, s the secret key, with its noise as it should be. Where the values of a slot
fill it, that passes for a sum; eight openings under one key, with a = 1, 2^5, ..., 2^35, then give s at each
of its points, and the inverse transform gives the key.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache

import numpy as np
import pytest
from scipy.stats import binom

from fedstyle_secure.config import Config
from fedstyle_secure.errors import SecureSumError
from fedstyle_secure.federation.sums import round_sum
from fedstyle_secure.secure_sum.codes import Code, Refusal
from fedstyle_secure.secure_sum.identity import Identity
from fedstyle_secure.secure_sum.manifest import Quantisation, Terms
from fedstyle_secure.secure_sum.messages import sign_upload
from fedstyle_secure.secure_sum.packing import Layout, pack, plan, unpack
from fedstyle_secure.secure_sum.scheme import encrypt, make_keys, open_total
from fedstyle_secure.secure_sum.transcript import verify
from fedstyle_secure.secure_sum.wire import Kind, decode, encode
from fedstyle_secure.system import Form, plan_of

_STEP = 5
"""Bits of each point of the key that an opening gives."""

_SURE = 1e-9
"""Keys come from the operating system: each statistical check may fail by chance once in 10^9 runs."""


def full(artists: int, bits: int) -> Terms:
    """A vector without styles whose first block is full: every slot of it holds as much as it can."""
    values = 4096 * plan(4096, bits, artists).lanes * 2 + 100
    return Terms(values, 3, artists, Quantisation(1.0, bits, "float"))


@lru_cache
def unit_artist(artists: int) -> Terms:
    """What a run with the unit artist agrees on, its range and bits from the mechanism."""
    settings = ["privacy.unit=artist", f"privacy.min_cohort={artists}", "privacy.noise_multiplier=2"]
    config = Config().override(settings)
    plan = plan_of(config, artists)
    forms = {"update": Form({"head": (128, 97)}), "prototypes": Form({"sums": (12 * 97,)}, groups=12)}
    return round_sum(config, plan, max(plan.sums), forms, artists).terms


TERMS = {
    "16 artists at 16 bits": lambda: full(16, 16),
    "64 artists at 14 bits": lambda: full(64, 14),
    "8 artists at 12 bits": lambda: full(8, 12),
    "8 artists, unit artist": lambda: unit_artist(8),
    "22 artists, unit artist": lambda: unit_artist(22),
}
each_terms = pytest.mark.parametrize("terms", TERMS.values(), ids=TERMS)
quick_terms = pytest.mark.parametrize(
    "terms",
    [
        pytest.param(terms, id=name, marks=[pytest.mark.slow] if name[:2] in ("64", "22") else [])
        for name, terms in TERMS.items()
    ],
)


def touched(body: bytes, layout: Layout, multiple: dict[int, int | Fraction], block=0, part=1) -> bytes:
    """The body with round(q a / t) added to c1 (or c0) of a block; a by coefficient."""
    profile = layout.profile
    residues = decode(Kind.BODY, profile, body, layout.blocks)
    for index, factor in multiple.items():
        shift = round(Fraction(profile.modulus, profile.plain_modulus) * factor)
        for prime, section in zip(profile.data_primes, residues, strict=True):
            section[block, part, index] = (int(section[block, part, index]) + shift) % prime
    return encode(Kind.BODY, profile, residues)


def touch(world, attempt, artist, multiple, **where) -> None:
    """The artist's own upload, touched and signed anew."""
    upload, identity = attempt.uploads[artist], Identity.load(world.root / artist / "identity.key")
    body = touched(upload.body, attempt.manifest.layout, multiple, **where)
    attempt.uploads[artist] = sign_upload(identity, artist, upload.manifest, body)


def quiet(world, seed: int) -> dict[str, np.ndarray]:
    """Values of a quiet round: a 128th of what they may be, so that slots are known to five bits and more."""
    rng = np.random.default_rng(seed)
    spread = max(1, 1 << world.terms.quantiser.bits - 8)
    return {a: rng.integers(-spread, spread, world.terms.values, dtype=np.int64) for a in world.artists}


def shifts(total: np.ndarray, layout: Layout) -> np.ndarray:
    """The first block's slots of an opened sum, less those of a sum of zeros: object, shape (4096,)."""
    lanes = np.zeros(layout.lanes * layout.used_slots, dtype=object)
    lanes[: layout.values] = total
    slots = sum(row * layout.radix**lane for lane, row in enumerate(lanes.reshape(layout.lanes, -1)))
    return slots[: layout.profile.degree] % layout.profile.plain_modulus


def recovered(answers: list[np.ndarray], modulus: int) -> np.ndarray:
    """The key's points, in the order of slots, from slots that moved by small + 2^(5 i) point."""
    points = answers[0]
    for power, answer in enumerate(answers[1:], start=1):
        factor = 1 << _STEP * power
        wraps = (points * factor - answer + modulus // 2) // modulus
        points = (answer + modulus * wraps + factor // 2) // factor
    return points % modulus


def key_in(answers: list[np.ndarray], layout: Layout, naive) -> np.ndarray | None:
    """The key, where the answers are enough for one."""
    if len(answers) < layout.profile.plain_modulus.bit_length() // _STEP:
        return None
    transform = naive.Transform.of(layout.profile.degree, layout.profile.plain_modulus)
    points = recovered(answers, layout.profile.plain_modulus)
    key = transform.inverse(transform.points(points))
    return key if naive.is_ternary(key) else None


def powers(layout: Layout) -> list[int]:
    return [1 << _STEP * i for i in range(layout.profile.plain_modulus.bit_length() // _STEP)]


def test_where_a_key_is_used_again_and_nobody_looks_at_the_range_this_gives_the_whole_key(naive):
    """The positive control: the same attack on one key, opened whatever it decrypts to."""
    layout = full(16, 16).layout
    profile = layout.profile
    public, secret = make_keys(profile)
    rng, nothing = np.random.default_rng(0), pack(np.zeros(layout.values, dtype=np.int64), layout)
    answers = []
    for power in powers(layout):
        body = encrypt(public, pack(rng.integers(-128, 128, layout.values), layout))
        slots, budget = open_total(secret, touched(body, layout, {0: power}), layout.blocks)
        assert budget >= profile.budget_floor, "the noise does not show what the artist did"
        answers.append((slots - nothing)[: profile.degree].astype(object) % profile.plain_modulus)
    found = key_in(answers, layout, naive)
    assert found is not None
    prime = profile.primes[0]
    (held,) = decode(Kind.SECRET_KEY, profile, secret.to_bytes())[0].reshape(1, -1).astype(object)
    np.testing.assert_array_equal(found, naive.Transform.of(profile.degree, prime).inverse(held))


def _opens(world, number: int) -> bytes:
    """An honest round: the sum is exact."""
    values = quiet(world, number)
    opening = world.opener.open(world.attempt(number).seal(values).request())
    np.testing.assert_array_equal(opening.total, sum(values.values()))
    return opening.line


def _answer(world, number: int, power: int) -> tuple[np.ndarray | None, str]:
    """What a touched opening says of the key, if anything, and which key it was."""
    attempt = world.attempt(number).seal(quiet(world, number))
    touch(world, attempt, world.artists[0], {0: power})
    try:
        return shifts(world.opener.open(attempt.request()).total, world.terms.layout), attempt.public
    except Refusal:
        return None, attempt.public
    finally:
        assert not attempt.key_file.exists()


def _try(world, naive, first: int) -> np.ndarray | None:
    """As before the mending: power after power until there is a key, or a refusal."""
    answers = []
    for number, power in enumerate(powers(world.terms.layout), start=first):
        answer, _ = _answer(world, number, power)
        if answer is None:
            return None
        answers.append(answer)
    return key_in(answers, world.terms.layout, naive)


def _world(make_world, terms: Terms):
    world = make_world(artists=terms.n_max, terms=terms)
    assert terms.layout.used_slots >= 4096, "a block that is not full is found by its padding"
    return world


@quick_terms
def test_a_touched_sum_is_refused_and_the_next_one_opens(make_world, tmp_path, terms):
    world = _world(make_world, terms())
    attempt = world.attempt(0).seal(quiet(world, 0))
    touch(world, attempt, world.artists[0], {0: 1})
    with pytest.raises(Refusal) as refusal:
        world.opener.open(attempt.request())
    assert refusal.value.code is Code.RANGE
    path = tmp_path / "transcript.jsonl"
    path.write_bytes(_opens(world, 1))
    assert verify(path, world.opener.public) == []


@pytest.mark.slow
@each_terms
def test_no_key_in_twenty_tries(make_world, naive, terms):
    world = _world(make_world, terms())
    keys = [_try(world, naive, 100 * number) for number in range(20)]
    assert keys == [None] * 20
    _opens(world, 2000)


def test_no_key_where_the_artist_goes_on_whatever_it_is_told(make_world, naive):
    world = make_world(artists=3, terms=full(8, 12))
    answers, keys = zip(
        *(_answer(world, i, power) for i, power in enumerate(powers(world.terms.layout))), strict=True
    )
    assert set(answers) == {None}, "4096 touched slots at once are always found"
    assert len(set(keys)) == len(keys)
    _opens(world, 2000)


# Each slot by itself


def _undetected(layout: Layout, artists: int, keys: int) -> int:
    """Of 4096 slots of each of some keys, moved by the key's points: those that pass as a sum alone."""
    profile, count = layout.profile, 0
    alone = Layout(layout.lanes, layout.bits, layout.artists, profile)
    middle = int(pack(np.zeros(alone.values, dtype=np.int64), alone)[0]) * artists
    for _ in range(keys):
        public, secret = make_keys(profile)
        body = encrypt(public, np.full(profile.degree, middle))
        one = Layout(layout.lanes * profile.degree, layout.bits, layout.artists, profile)
        moved, budget = open_total(secret, touched(body, one, {0: 1}), 1)
        assert budget >= profile.budget_floor
        assert (moved != middle).all()
        slots = np.zeros(alone.slots, dtype=np.int64)
        slots[0] = middle
        unpack(slots, alone, artists)
        for slot in moved:
            slots[0] = slot
            try:
                unpack(slots, alone, artists)
                count += 1
            except SecureSumError:
                pass
    return count


def _check_rate(terms: Terms, keys: int) -> None:
    count, slots = _undetected(terms.layout, terms.n_max, keys), 4096 * keys
    assert count <= binom.isf(_SURE, slots, 2.0**-10), f"{count} of {slots} touched slots were not found"


@quick_terms
def test_each_touched_slot_is_found_by_itself(terms):
    """But once in 2^10, which the test leaves room for."""
    _check_rate(terms(), 2)


@pytest.mark.slow
@each_terms
def test_each_touched_slot_is_found_by_itself_over_many_keys(terms):
    _check_rate(terms(), 25)


def test_one_slot_alone_can_be_touched(naive):
    """Why each slot has to be found by itself: the multiple may be zero at every point but one."""
    layout = full(16, 16).layout
    profile = layout.profile
    transform = naive.Transform.of(profile.degree, profile.plain_modulus)
    unit = np.zeros(profile.degree, dtype=object)
    unit[1234] = 1
    multiple = transform.inverse(transform.points(unit))
    public, secret = make_keys(profile)
    slots = pack(np.zeros(layout.values, dtype=np.int64), layout)
    body = touched(encrypt(public, slots), layout, {i: int(a) for i, a in enumerate(multiple)})
    opened, budget = open_total(secret, body, layout.blocks)
    assert budget >= profile.budget_floor
    assert np.flatnonzero(opened != slots).tolist() == [1234]


# Other ways


def _two_artists(world, attempt):
    for artist, power in zip(world.artists, (1, 1 << 20), strict=False):
        touch(world, attempt, artist, {0: power})


def _range_filled(world, attempt):
    """Known shifts of c0 beside it, which put every slot into the middle of what a sum may be."""
    layout = world.terms.layout
    touch(world, attempt, world.artists[0], {0: layout.radix**layout.lanes // 2}, part=0)
    touch(world, attempt, world.artists[0], {0: 1})


WAYS = {
    "another coefficient": lambda w, a: touch(w, a, w.artists[0], {77: 1}),
    "many coefficients": lambda w, a: touch(w, a, w.artists[0], {i: 3**i for i in range(64)}),
    "the last block": lambda w, a: touch(w, a, w.artists[0], {0: 1}, block=w.terms.layout.blocks - 1),
    "a multiple of nearly t": lambda w, a: touch(
        w, a, w.artists[0], {0: w.terms.layout.profile.plain_modulus - 1}
    ),
    "the radix": lambda w, a: touch(w, a, w.artists[0], {0: w.terms.layout.radix}),
    "two artists": _two_artists,
    "shifted by what it knows": _range_filled,
    "half a multiple": lambda w, a: touch(w, a, w.artists[0], {0: Fraction(1, 2)}),
    "noise at the edge": lambda w, a: touch(w, a, w.artists[0], {i: Fraction(1, 40) for i in range(4096)}),
}


@pytest.mark.long
def test_whatever_is_added_is_refused_and_the_next_sum_opens(make_world, tmp_path):
    """Each way in a round of its own, an honest round after it."""
    world = make_world(artists=3, terms=full(8, 12))
    lines = []
    for number, (name, way) in enumerate(WAYS.items()):
        attempt = world.attempt(2 * number).seal(quiet(world, number))
        way(world, attempt)
        with pytest.raises(Refusal) as refusal:
            world.opener.open(attempt.request())
        assert refusal.value.code in (Code.RANGE, Code.BUDGET), name
        assert str(refusal.value) == refusal.value.code.phrase
        lines.append(_opens(world, 2 * number + 1))
    path = tmp_path / "transcript.jsonl"
    path.write_bytes(b"".join(lines))
    assert verify(path, world.opener.public) == []


def test_an_answer_is_of_no_use_for_another_opening(make_world, naive):
    """An artist that is lucky once in a slot has a point of a key that is gone: no two attempts share one,
    whether opened, refused or given up after a dropout, nor do two runs, nor an opener that was restarted."""
    world = make_world(artists=4, terms=full(8, 12))
    seen = []
    for number in range(3):
        for again in range(2):
            attempt = world.attempt(number, again)
            seen.append(attempt.manifest.fingerprint)
        attempt.seal(quiet(world, number))
        if number == 1:
            touch(world, attempt, world.artists[0], {0: 1})
            with pytest.raises(Refusal):
                world.opener.open(attempt.request())
        else:
            world.opener.open(attempt.request())
        world.opener = world.restarted_opener()
    assert len(set(seen)) == 6
    assert not list((world.root / "opener" / "keys").iterdir())


def test_a_full_multiple_above_the_limit_is_found_too(make_world):
    """Where the opener does not add up itself, the platform can do what an artist can, and no more."""
    world = make_world(artists=3, terms=full(8, 12))
    attempt = world.attempt().seal(quiet(world, 0))
    request = attempt.request()
    layout = world.terms.layout
    lying = type(request)(request.signed, request.receipts, touched(request.total, layout, {0: 1}), None)
    opener = type(world.opener)(world.root / "opener", b"correct horse", recompute_limit=0)
    with pytest.raises(Refusal) as refusal:
        opener.open(lying)
    assert refusal.value.code is Code.RANGE
    _opens(world, 1)
