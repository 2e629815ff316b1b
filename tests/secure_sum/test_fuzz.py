"""Mutated uploads: one typed error that names the artist, no crash, and the others' round goes on."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest

from fedstyle_secure.secure_sum.codes import Code, Refusal
from fedstyle_secure.secure_sum.identity import Identity
from fedstyle_secure.secure_sum.manifest import Quantisation, Terms
from fedstyle_secure.secure_sum.messages import Request, sign_upload

RUN = "run"

_TERMS = Terms(values=20_000, k_min=3, n_max=12, quantiser=Quantisation(1.0, 16, "float"))
"""Two blocks or more, so that blocks can be swapped."""


def _truncate(rng, body, _):
    return body[: int(rng.integers(len(body)))]


def _flip_bit(rng, body, _):
    position = int(rng.integers(8 * len(body)))
    return _flipped(body, position)


def _flip_header(rng, body, _):
    return _flipped(body, int(rng.integers(8 * 140)))


def _flip_many(rng, body, _):
    for position in rng.integers(8 * len(body), size=20):
        body = _flipped(body, int(position))
    return body


def _append(rng, body, _):
    return body + rng.bytes(int(rng.integers(1, 100)))


def _repeat(rng, body, _):
    return body * int(rng.integers(2, 4))


def _claim_length(rng, body, _):
    """A huge number where the block count, or any other length, could be."""
    start = int(rng.integers(0, 32))
    claim = int(rng.choice([2**31 - 1, 2**31, 2**32 - 1])).to_bytes(4, "little")
    return body[:start] + claim + body[start + 4 :]


def _swap_halves(rng, body, _):
    """Both blocks of a plane, or whatever lies around the cut, change places."""
    cut = int(rng.integers(17, len(body) - 1))
    return body[:16] + body[cut:] + body[16:cut]


def _swap_ranges(rng, body, _):
    size = int(rng.integers(1, len(body) // 4))
    first, second = (int(x) for x in np.sort(rng.choice(len(body) // size, 2, replace=False)) * size)
    parts = (
        body[:first],
        body[second : second + size],
        body[first + size : second],
        body[first : first + size],
    )
    return b"".join(parts) + body[second + size :]


def _zeros(rng, body, _):
    start = int(rng.integers(len(body)))
    return body[:start] + bytes(len(body) - start)


def _noise(rng, body, _):
    start = int(rng.integers(len(body)))
    return body[:start] + rng.bytes(len(body) - start)


def _empty(rng, body, _):
    return b""


def _of_another(rng, body, others):
    return others[int(rng.integers(len(others)))]


MUTATIONS = (
    _truncate,
    _flip_bit,
    _flip_header,
    _flip_many,
    _append,
    _repeat,
    _claim_length,
    _swap_halves,
    _swap_ranges,
    _zeros,
    _noise,
    _empty,
    _of_another,
)


def _flipped(body, bit):
    bad = bytearray(body)
    bad[bit // 8] ^= 1 << bit % 8
    return bytes(bad)


@pytest.fixture
def wide(make_world):
    world = make_world(artists=5, terms=_TERMS)
    assert world.terms.layout.blocks >= 2
    return world


def _identity(world, artist):
    return Identity.load(world.root / artist / "identity.key")


def _result(call, *arguments):
    """What a call returns, or the refusal that it raises."""
    try:
        return call(*arguments)
    except Refusal as refusal:
        return refusal


def _survivors_opening(world, survivors):
    """Attempt 1 without the first artist."""
    values = {a: v for a, v in world.values(seed=1).items() if a in survivors}
    opening = world.opener.open(world.attempt(0, 1, survivors).seal(values).request())
    assert np.array_equal(opening.total, sum(values.values()))


@pytest.mark.long
def test_ten_thousand_mutated_uploads_are_refused_and_the_survivors_sum_is_exact(wide):
    attempt = wide.attempt().seal(wide.values())
    victim, *survivors = wide.artists
    good = attempt.uploads[victim]
    others = [attempt.uploads[a].body for a in survivors]
    aggregator = attempt.aggregator()
    for artist in survivors:
        aggregator.add(attempt.uploads[artist])
    before = aggregator._sum.total()
    rng = np.random.default_rng(0)
    codes = Counter()
    for i in range(11_000):
        body = MUTATIONS[i % len(MUTATIONS)](rng, good.body, others)
        if body == good.body:
            continue
        with pytest.raises(Refusal) as refusal:
            aggregator.add(dataclasses.replace(good, body=body))
        assert refusal.value.artist == victim
        assert repr(victim) in str(refusal.value)
        codes[refusal.value.code] += 1
    assert set(codes) == {Code.UPLOAD_SIZE, Code.SIGNATURE}
    assert sum(codes.values()) >= 10_000
    # The sum of the others is untouched, and the artist is still welcome with its own upload.
    assert aggregator._sum.total() == before
    assert aggregator.missing == (victim,)
    _survivors_opening(wide, survivors)


def _signed_fuzz(world, count):
    """The same mutations by an enrolled artist that signs them in order."""
    attempt = world.attempt().seal(world.values())
    victim = world.artists[0]
    good, own = attempt.uploads[victim], _identity(world, victim)
    others = [attempt.uploads[a].body for a in world.artists[1:]]
    rng = np.random.default_rng(1)
    codes = Counter()
    for i in range(count):
        body = MUTATIONS[i % len(MUTATIONS)](rng, good.body, others)
        aggregator = attempt.aggregator(keep_uploads=False)
        refusal = _result(aggregator.add, sign_upload(own, victim, attempt.manifest.digest, body))
        assert refusal is None or refusal.artist == victim
        codes["added" if refusal is None else refusal.code] += 1
    assert set(codes) == {Code.UPLOAD_SIZE, Code.UPLOAD_MALFORMED, "added"}
    _survivors_opening(world, world.artists[1:])


def test_signed_mutations_never_crash_the_platform(wide):
    _signed_fuzz(wide, 400)


@pytest.mark.slow
def test_ten_thousand_signed_mutations_never_crash_the_platform(wide):
    _signed_fuzz(wide, 10_400)


@pytest.mark.parametrize(
    "mutation", [_flip_bit, _flip_many, _swap_halves, _swap_ranges, _zeros, _noise, _of_another]
)
def test_what_a_signed_mutation_adds_up_to_is_refused_or_within_the_artists_own_range(wide, mutation):
    """Opened, every one: a code, or a sum that this artist could have made by choosing its own values."""
    rng = np.random.default_rng(2)
    victim = wide.artists[0]
    outcomes = Counter()
    for epoch in range(4):
        wide.opener.begin(RUN, epoch, wide.terms)
        values = wide.values(seed=epoch)
        attempt = wide.attempt(round=epoch, epoch=epoch).seal(values)
        others = [attempt.uploads[a].body for a in wide.artists[1:]]
        body = mutation(rng, attempt.uploads[victim].body, others)
        attempt.uploads[victim] = sign_upload(_identity(wide, victim), victim, attempt.manifest.digest, body)
        request = _result(attempt.request)
        if isinstance(request, Refusal):
            # A copied body is refused to whoever comes second; anything else to its author.
            assert request.code is Code.DUPLICATE or request.artist == victim
            outcomes[request.code] += 1
            continue
        opening = _result(wide.opener.open, request)
        if isinstance(opening, Refusal):
            outcomes[opening.code] += 1
            assert opening.code in (Code.BUDGET, Code.RANGE)
            assert not attempt.key_file.exists()
            continue
        share = opening.total - sum(v for a, v in values.items() if a != victim)
        assert (share >= -(2**15)).all()
        assert (share < 2**15).all()
        outcomes["harmless"] += 1
    assert sum(outcomes.values()) == 4


def test_mutated_requests_get_a_code(wide):
    """The platform's own message to the opener: every field of it."""
    attempt = wide.attempt().seal(wide.values())
    good = attempt.request()
    good = dataclasses.replace(good, uploads=tuple(good.uploads))
    rng = np.random.default_rng(3)
    codes = Counter()
    for i in range(300):
        request = _mutated_request(rng, good, i)
        if _same(request, good):
            continue
        with pytest.raises(Refusal) as refusal:
            wide.opener.open(request)
        codes[refusal.value.code] += 1
    assert Code.INTERNAL not in codes
    assert len(codes) >= 8
    assert wide.opener.open(good).artists == 5


def _same(request: Request, good: Request) -> bool:
    """Whether it is the good request, its uploads in whatever order."""

    def parts(of):
        pairs = zip(of.receipts, of.uploads, strict=False)
        return sorted(pairs, key=lambda pair: pair[0].artist), len(of.receipts), len(of.uploads)

    return (request.signed, request.total, parts(request)) == (good.signed, good.total, parts(good))


def _mutated_request(rng, good: Request, i: int) -> Request:
    def mutated(data):
        return MUTATIONS[int(rng.integers(len(MUTATIONS)))](rng, data, [bytes(len(data)), b"x"])

    def short(data):
        return _flip_bit(rng, data, None) if rng.random() < 0.5 else _truncate(rng, data, None)

    receipts, uploads = list(good.receipts), list(good.uploads)
    which = int(rng.integers(len(receipts)))
    field = i % 7
    if field == 0:
        return dataclasses.replace(good, total=mutated(good.total))
    if field == 1:
        uploads[which] = mutated(uploads[which])
    elif field == 2:
        name = ("artist", "manifest", "body")[int(rng.integers(3))]
        receipts[which] = dataclasses.replace(receipts[which], **{name: f"x{rng.integers(9)}"})
    elif field == 3:
        receipts[which] = dataclasses.replace(receipts[which], signature=short(receipts[which].signature))
    elif field == 4:
        signed = good.signed
        if rng.random() < 0.5:
            return dataclasses.replace(good, signed=dataclasses.replace(signed, data=short(signed.data)))
        return dataclasses.replace(
            good, signed=dataclasses.replace(signed, signature=short(signed.signature))
        )
    elif field == 5:
        order = rng.integers(len(receipts), size=int(rng.integers(0, 15)))
        receipts = [receipts[j] for j in order]
        uploads = [uploads[j] for j in order]
    else:
        order = rng.permutation(len(uploads))
        uploads = [uploads[j] for j in order][: int(rng.integers(len(uploads) + 1))]
    return dataclasses.replace(good, receipts=tuple(receipts), uploads=tuple(uploads))


def test_an_upload_that_only_moves_noise_is_harmless(world):
    """The lowest bit of a coefficient of Q60 is noise: the sum is the same to the last value."""
    values = world.values()
    attempt = world.attempt().seal(values)
    victim = world.artists[0]
    body = _flipped(attempt.uploads[victim].body, 8 * 16)
    attempt.uploads[victim] = sign_upload(_identity(world, victim), victim, attempt.manifest.digest, body)
    expected = sum(values.values())
    expected[-4:] = 0
    assert np.array_equal(world.opener.open(attempt.request()).total, expected)
