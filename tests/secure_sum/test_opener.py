"""The opener opens one thing only; whatever else is asked gets a code of its own and nothing more."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import stat

import numpy as np
import pytest

from fedstyle_secure.errors import SecureSumError
from fedstyle_secure.secure_sum import opener as module
from fedstyle_secure.secure_sum.artist_side import Member, Pins
from fedstyle_secure.secure_sum.codes import Code, Refusal
from fedstyle_secure.secure_sum.identity import Identity
from fedstyle_secure.secure_sum.journal import Journal
from fedstyle_secure.secure_sum.manifest import Groups, Noise, sign_manifest
from fedstyle_secure.secure_sum.messages import Request, sign_upload
from fedstyle_secure.secure_sum.opener import Opener
from fedstyle_secure.secure_sum.scheme import (
    Accumulator,
    PublicKey,
    encrypt,
    make_keys,
    open_total,
)
from fedstyle_secure.secure_sum.transcript import verify
from fedstyle_secure.secure_sum.wire import Kind, encode

RUN, PASSPHRASE = "run", b"correct horse"


def code_of(call, *arguments):
    with pytest.raises(Refusal) as refusal:
        call(*arguments)
    return refusal.value.code


def identity_of(world, artist):
    return Identity.load(world.root / artist / "identity.key")


def summed(attempt, bodies):
    layout = attempt.manifest.layout
    total = Accumulator(PublicKey.from_bytes(attempt.public, layout.profile), layout.blocks)
    for body in bodies:
        total.add(body)
    return total.total()


def request_of(world, attempt, artists):
    """What a dishonest platform asks: a consistent request for some of the uploads."""
    uploads = [attempt.uploads[artist] for artist in artists]
    bodies = tuple(u.body for u in uploads)
    return Request(attempt.signed, tuple(u.receipt for u in uploads), summed(attempt, bodies), bodies)


def replaced(world, attempt, artist, body, manifest=None):
    """A request in which `artist` itself signed another body."""
    uploads = dict(attempt.uploads)
    uploads[artist] = sign_upload(
        identity_of(world, artist), artist, manifest or attempt.manifest.digest, body
    )
    bodies = tuple(u.body for u in uploads.values())
    try:
        total = summed(attempt, bodies)
    except SecureSumError:
        total = attempt.uploads[artist].body
    return Request(attempt.signed, tuple(u.receipt for u in uploads.values()), total, bodies)


def crafted(world):
    """(c0, c1) = (0, round(q/t)): decrypts to the secret key itself."""
    layout = world.terms.layout
    profile = layout.profile
    delta = round(profile.modulus / profile.plain_modulus)
    residues = []
    for prime in profile.data_primes:
        words = np.zeros((layout.blocks, 2, profile.degree), dtype=np.uint64)
        words[:, 1, 0] = delta % prime
        residues.append(words)
    return encode(Kind.BODY, profile, residues)


def test_the_whole_cohort_opens_to_the_exact_sum(world):
    values = world.values(seed=3)
    opening = world.opener.open(world.attempt().seal(values).request())
    expected = sum(values.values())
    expected[-4:] = 0
    assert np.array_equal(opening.total, expected)
    assert opening.kept.tolist() == [True] * 4
    assert opening.artists == 5


@pytest.mark.parametrize("extreme", [-512, 511])
def test_extremes_of_a_full_house_are_exact(make_world, extreme):
    world = make_world(artists=12)
    values = {a: np.full(27, extreme, dtype=np.int64) for a in world.artists}
    for vector in values.values():
        vector[-4:] = 1
    opening = world.opener.open(world.attempt().seal(values).request())
    assert np.array_equal(opening.total[:-4], np.full(23, 12 * extreme))


def test_long_vectors_without_styles_open_too(make_world, world):
    """Several blocks, the other profile: a model update, say."""
    terms = dataclasses.replace(
        world.terms, values=36_000, groups=None, quantiser=dataclasses.replace(world.terms.quantiser, bits=12)
    )
    world = make_world(artists=3, terms=terms, name="long")
    assert terms.layout.profile.name == "Q80"
    assert terms.layout.blocks > 1
    values = world.values()
    opening = world.opener.open(world.attempt().seal(values).request())
    assert np.array_equal(opening.total, sum(values.values()))
    assert opening.kept.shape == (0,)


# What is refused


def _single(world, attempt):
    return request_of(world, attempt, world.artists[:1])


def _cohort_minus_one(world, attempt):
    return request_of(world, attempt, world.artists[1:])


def _below_k_min(world, attempt):
    return request_of(world, attempt, world.artists[:2])


def _above_n_max(world, attempt):
    request = request_of(world, attempt, world.artists)
    return dataclasses.replace(request, receipts=request.receipts * 3)


def _twice(world, attempt):
    return request_of(world, attempt, [world.artists[0], *world.artists[:4]])


def _one_body_under_two_names(world, attempt):
    return replaced(world, attempt, world.artists[0], attempt.uploads[world.artists[1]].body)


def _unsigned(world, attempt):
    request = attempt.request()
    receipts = (dataclasses.replace(request.receipts[0], signature=b""), *request.receipts[1:])
    return dataclasses.replace(request, receipts=receipts)


def _foreign_signature(world, attempt):
    request, first = attempt.request(), world.artists[0]
    upload = sign_upload(
        identity_of(world, world.artists[1]), first, attempt.manifest.digest, attempt.uploads[first].body
    )
    receipts = tuple(upload.receipt if r.artist == first else r for r in request.receipts)
    return dataclasses.replace(request, receipts=receipts)


def _stranger(world, attempt):
    eve = Identity.load(world.root / "eve" / "identity.key")
    upload = sign_upload(eve, "eve", attempt.manifest.digest, attempt.uploads[world.artists[0]].body)
    request = attempt.request()
    return dataclasses.replace(request, receipts=(upload.receipt, *request.receipts[1:]))


def _upload_of_another_attempt(world, attempt):
    first = world.artists[0]
    return replaced(world, attempt, first, attempt.uploads[first].body, manifest="00" * 32)


def _manifest_of_a_stranger(world, attempt):
    stranger = Identity.load(world.root / "eve" / "identity.key")
    return dataclasses.replace(attempt.request(), signed=sign_manifest(attempt.manifest, stranger))


def _changed_manifest(world, attempt):
    signed = attempt.signed
    data = signed.data.replace(b'"round":0', b'"round":1')
    assert data != signed.data
    return dataclasses.replace(attempt.request(), signed=dataclasses.replace(signed, data=data))


def _crafted_total(world, attempt):
    return dataclasses.replace(attempt.request(), total=crafted(world))


def _crafted_upload(world, attempt):
    """The platform exchanges a body: its receipt no longer fits."""
    request = attempt.request()
    bodies = (crafted(world), *request.uploads[1:])
    return dataclasses.replace(request, uploads=bodies, total=summed(attempt, bodies))


def _total_plus_one_more(world, attempt):
    request = attempt.request()
    return dataclasses.replace(request, total=summed(attempt, [request.total, crafted(world)]))


def _one_artists_body_as_total(world, attempt):
    return dataclasses.replace(attempt.request(), total=attempt.uploads[world.artists[0]].body)


def _no_uploads(world, attempt):
    return dataclasses.replace(attempt.request(), uploads=None)


def _an_upload_left_out(world, attempt):
    request = attempt.request()
    return dataclasses.replace(request, uploads=request.uploads[:-1])


def _short_upload(world, attempt):
    request = attempt.request()
    return dataclasses.replace(request, uploads=(request.uploads[0][:-1], *request.uploads[1:]))


def _long_total(world, attempt):
    request = attempt.request()
    return dataclasses.replace(request, total=request.total + b"\0")


def _signed_garbage(world, attempt):
    size = world.terms.layout.upload_bytes
    return replaced(world, attempt, world.artists[0], b"\xff" * size)


REFUSED = {
    _single: Code.SINGLE,
    _cohort_minus_one: Code.INCOMPLETE,
    _below_k_min: Code.TOO_FEW,
    _above_n_max: Code.TOO_MANY,
    _twice: Code.DUPLICATE,
    _one_body_under_two_names: Code.DUPLICATE,
    _unsigned: Code.UNSIGNED,
    _foreign_signature: Code.SIGNATURE,
    _stranger: Code.STRANGER,
    _upload_of_another_attempt: Code.OTHER_MANIFEST,
    _manifest_of_a_stranger: Code.OPENER_SIGNATURE,
    _changed_manifest: Code.OPENER_SIGNATURE,
    _crafted_total: Code.DIFFERENT_SUM,
    _crafted_upload: Code.DIFFERENT_SUM,
    _total_plus_one_more: Code.DIFFERENT_SUM,
    _one_artists_body_as_total: Code.DIFFERENT_SUM,
    _no_uploads: Code.UPLOADS_MISSING,
    _an_upload_left_out: Code.UPLOADS_MISSING,
    _short_upload: Code.UPLOAD_SIZE,
    _long_total: Code.UPLOAD_SIZE,
    _signed_garbage: Code.UPLOAD_MALFORMED,
}


def test_what_is_refused_is_refused_by_its_own_code_before_the_key_is_touched(world, monkeypatch):
    attempt = world.sealed()

    def touched(*_):
        raise AssertionError("the key was touched")

    with monkeypatch.context() as patched:
        patched.setattr(module, "open_total", touched)
        patched.setattr(Opener, "_secret", touched)
        for make, code in REFUSED.items():
            assert code_of(world.opener.open, make(world, attempt)) is code, make.__name__
    # None of it used the round up.
    assert world.opener.open(attempt.request()).artists == 5


def test_a_round_is_opened_once_also_after_a_restart_and_in_another_attempt(world):
    attempt = world.sealed()
    later = world.attempt(round=1, attempt=0)
    world.opener.open(attempt.request())
    restarted = world.restarted_opener()
    for opener in (world.opener, restarted):
        assert code_of(opener.open, attempt.request()) is Code.OPENED
        assert code_of(opener.manifest, RUN, 0, 0, 1, world.artists) is Code.OPENED
    assert restarted.open(later.seal(world.values()).request()).artists == 5


def test_only_the_newest_attempt_is_opened(world):
    first = world.sealed(attempt=0)
    second = world.sealed(attempt=1)
    assert code_of(world.opener.open, first.request()) is Code.ATTEMPT
    assert code_of(world.opener.manifest, RUN, 0, 0, 0, world.artists[1:]) is Code.ATTEMPT
    assert world.opener.open(second.request()).artists == 5


def test_another_run_or_epoch_is_refused(world):
    attempt = world.sealed()
    assert code_of(world.opener.manifest, "another", 0, 0, 0, world.artists) is Code.EPOCH
    assert code_of(world.opener.manifest, RUN, 1, 0, 0, world.artists) is Code.EPOCH
    # Signed by this opener, for an epoch that it never began: its own journal decides.
    opener = Identity.load(world.root / "opener" / "identity.key")
    for change in ({"run": "another"}, {"epoch": 1}):
        signed = sign_manifest(dataclasses.replace(attempt.manifest, **change), opener)
        request = dataclasses.replace(attempt.request(), signed=signed)
        assert code_of(world.opener.open, request) is Code.EPOCH
    signed = sign_manifest(dataclasses.replace(attempt.manifest, round=1), opener)
    assert code_of(world.opener.open, dataclasses.replace(attempt.request(), signed=signed)) is Code.ATTEMPT


def test_dropped_artists_mean_another_attempt_with_the_survivors(world):
    values = world.values()
    attempt = world.attempt(0, 0)
    survivors = world.artists[:4]
    attempt.seal({a: values[a] for a in survivors})
    assert attempt.aggregator().missing == tuple(world.artists)
    second = world.attempt(0, 1, survivors).seal({a: values[a] for a in survivors})
    opening = world.opener.open(second.request())
    assert np.array_equal(opening.total[:-4], sum(values[a] for a in survivors)[:-4])


def test_bodies_of_different_attempts_do_not_add_up(world):
    """With every signature forged right, they are under different keys, and their masks do not cancel."""
    first, second = world.sealed(attempt=0), world.sealed(attempt=1)
    artist = world.artists[0]
    mixed = replaced(world, second, artist, first.uploads[artist].body)
    assert code_of(world.opener.open, mixed) is Code.BUDGET


# Sums that honest uploads cannot make


def _crafted_by_an_artist(world, attempt):
    return replaced(world, attempt, world.artists[0], crafted(world))


def _crafted_on_top(world, attempt):
    body = summed(attempt, [attempt.uploads[world.artists[0]].body, crafted(world)])
    return replaced(world, attempt, world.artists[0], body)


def _foreign_key(world, attempt):
    layout = world.terms.layout
    public, _ = make_keys(layout.profile)
    body = encrypt(public, np.zeros(layout.slots, dtype=np.int64))
    return replaced(world, attempt, world.artists[0], body)


def _random_body(world, attempt):
    layout = world.terms.layout
    rng = np.random.default_rng(0)
    shape = (layout.blocks, 2, layout.profile.degree)
    residues = [rng.integers(0, p, shape, dtype=np.uint64) for p in layout.profile.data_primes]
    return replaced(world, attempt, world.artists[0], encode(Kind.BODY, layout.profile, residues))


def _not_encrypted(world, attempt):
    layout = world.terms.layout
    shape = (layout.blocks, 2, layout.profile.degree)
    zeros = [np.zeros(shape, dtype=np.uint64) for _ in layout.profile.data_primes]
    return replaced(world, attempt, world.artists[0], encode(Kind.BODY, layout.profile, zeros))


@pytest.mark.parametrize(
    ("attack", "code"),
    {
        _crafted_by_an_artist: Code.RANGE,
        _crafted_on_top: Code.RANGE,
        _foreign_key: Code.BUDGET,
        _random_body: Code.BUDGET,
        _not_encrypted: Code.RANGE,
    }.items(),
)
def test_a_sum_that_honest_uploads_cannot_make_costs_its_round_and_its_key_only(world, attack, code):
    """By an enrolled artist, signed in order: nothing is released, nobody tries twice with one key, and the
    next sum opens."""
    attempt = world.sealed()
    later = world.sealed(round=1)
    assert code_of(world.opener.open, attack(world, attempt)) is code
    assert not attempt.key_file.exists()
    for opener in (world.opener, world.restarted_opener()):
        assert code_of(opener.open, attempt.request()) is Code.OPENED
        assert code_of(opener.manifest, RUN, 0, 0, 1, world.artists) is Code.OPENED
    assert later.key_file.exists()
    assert world.opener.open(later.request()).artists == 5
    assert not later.key_file.exists()


def test_the_crafted_body_would_have_given_the_key_away(world):
    """The attack bites where nothing is checked: what it decrypts to follows from the key alone."""
    layout, attempt = world.terms.layout, world.attempt()
    slots, budget = open_total(attempt.secret, crafted(world), layout.blocks)
    assert budget >= layout.profile.budget_floor
    again, _ = open_total(attempt.secret, crafted(world), layout.blocks)
    other, _ = open_total(make_keys(layout.profile)[1], crafted(world), layout.blocks)
    assert np.array_equal(slots, again)
    assert (slots != other).mean() > 0.99


def test_above_the_limit_the_platforms_sum_is_opened_and_a_crafted_one_still_is_not(world):
    attempt = world.sealed()
    opener = Opener(world.root / "opener", PASSPHRASE, recompute_limit=0)
    request = dataclasses.replace(attempt.request(), uploads=None)
    garbage = dataclasses.replace(request, total=b"\xff" * len(request.total))
    assert code_of(opener.open, garbage) is Code.UPLOAD_MALFORMED
    assert opener.open(request).artists == 5
    later = dataclasses.replace(world.sealed(round=1).request(), uploads=None, total=crafted(world))
    assert code_of(opener.open, later) is Code.RANGE


# The log comes first


def test_the_opening_is_on_the_disk_before_the_key_is_used(world, monkeypatch):
    attempt = world.sealed()
    path = world.root / "opener" / "journal.jsonl"
    synced, seen, fsync = [], [], os.fsync

    def watched_fsync(handle):
        synced.append((os.fstat(handle).st_ino, os.fstat(handle).st_size))
        fsync(handle)

    def watched(*arguments):
        record = Journal(path).refresh()[-1]
        seen.append((record["event"], record["digest"], (path.stat().st_ino, path.stat().st_size) in synced))
        return open_total(*arguments)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(module, "open_total", watched)
    world.opener.open(attempt.request())
    assert seen == [("open", attempt.manifest.digest, True)]


def test_an_opener_killed_while_opening_does_not_open_the_round_again(world, monkeypatch):
    attempt = world.sealed()
    request = request_of(world, attempt, world.artists)
    monkeypatch.setattr(module, "open_total", lambda *_: os._exit(9))
    context = multiprocessing.get_context("fork")
    victim = context.Process(target=world.opener.open, args=(request,))
    victim.start()
    victim.join()
    assert victim.exitcode == 9
    monkeypatch.undo()
    assert attempt.key_file.exists(), "the process that was to erase it is dead"
    assert code_of(world.restarted_opener().open, request) is Code.OPENED
    assert code_of(world.opener.open, request) is Code.OPENED
    assert not attempt.key_file.exists()
    assert code_of(world.opener.manifest, RUN, 0, 0, 1, world.artists) is Code.OPENED
    assert world.opener.open(world.sealed(round=1).request()).artists == 5


def _open_elsewhere(home, request, results):
    try:
        Opener(home, PASSPHRASE).open(request)
        results.put(0)
    except Refusal as refusal:
        results.put(int(refusal.code))


def test_two_openers_on_one_folder_open_a_round_once(world):
    attempt = world.sealed()
    request = request_of(world, attempt, world.artists)
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    racers = [
        context.Process(target=_open_elsewhere, args=(world.root / "opener", request, results))
        for _ in range(3)
    ]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert sorted(results.get() for _ in racers) == [0, Code.OPENED, Code.OPENED]


def test_a_full_disk_leaves_the_round_unopened(world, monkeypatch):
    attempt = world.sealed()

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(module.Journal, "append", full)
        patched.setattr(module, "open_total", lambda *_: pytest.fail("opened without a record"))
        assert code_of(world.opener.open, attempt.request()) is Code.INTERNAL
    assert world.opener.open(attempt.request()).artists == 5


def test_a_failure_after_the_record_costs_the_round_and_the_key(world, monkeypatch):
    attempt = world.sealed()

    def broken(*_):
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(module, "open_total", broken)
        assert code_of(world.opener.open, attempt.request()) is Code.INTERNAL
    assert code_of(world.opener.open, attempt.request()) is Code.OPENED
    assert not attempt.key_file.exists()
    assert world.opener.open(world.sealed(round=1).request()).artists == 5


# Cohorts


def test_a_cohort_that_singles_few_artists_out_is_not_opened_beside_another(make_world):
    world = make_world(artists=8)
    everybody, all_but_one = world.artists, world.artists[1:]
    first = world.attempt(0, 0, everybody)
    # Signed before anything was opened, so that only opening can refuse it.
    first.seal(world.values())
    second = world.attempt(1, 0, all_but_one)
    second.seal({a: v for a, v in world.values().items() if a in all_but_one})
    world.opener.open(first.request())
    for opener in (world.opener, world.restarted_opener()):
        assert code_of(opener.open, second.request()) is Code.COHORT
        assert code_of(opener.manifest, RUN, 0, 2, 0, all_but_one) is Code.COHORT
        assert code_of(opener.manifest, RUN, 0, 2, 0, everybody[:6]) is Code.COHORT
    # Three more or fewer are allowed, and another epoch starts afresh.
    assert world.opener.manifest(RUN, 0, 2, 0, everybody[:5])
    world.opener.begin(RUN, 1, world.terms)
    assert world.opener.manifest(RUN, 1, 5, 0, all_but_one)
    # But not for a round that was opened in the first.
    assert code_of(world.opener.manifest, RUN, 1, 0, 0, everybody) is Code.OPENED


def test_where_noise_covers_whole_artists_one_may_drop_out_between_openings(make_world, tmp_path):
    """The difference of two such sums is paid for in epsilon; noise for single artworks covers no artist."""
    for unit, fault in (("artist", None), ("artwork", Code.COHORT)):
        noise = Noise(unit, 2.0, 3, 1e-5)
        plain = make_world(name=f"{unit}-plain").terms
        world = make_world(artists=8, terms=dataclasses.replace(plain, noise=noise), name=unit)
        lines = []
        for round, cohort in enumerate((world.artists, world.artists[1:])):
            if round and fault is not None:
                assert code_of(world.opener.manifest, RUN, 0, round, 0, cohort) is fault
                break
            attempt = world.attempt(round, 0, cohort)
            attempt.seal({a: v for a, v in world.values().items() if a in cohort})
            lines.append(world.opener.open(attempt.request()).line)
        path = tmp_path / f"{unit}.jsonl"
        path.write_bytes(b"".join(lines))
        assert verify(path, world.opener.public) == []


def test_cohorts_are_judged_together_not_in_pairs(make_world):
    world = make_world(artists=9)
    a = world.artists
    for round, cohort in enumerate((a, a[:6])):
        attempt = world.attempt(round, 0, cohort)
        world.opener.open(attempt.seal({x: v for x, v in world.values().items() if x in cohort}).request())
    # Three away from either, but together with both it tells a[5] apart.
    assert code_of(world.opener.manifest, RUN, 0, 2, 0, a[:5] + a[6:]) is Code.COHORT
    assert world.opener.manifest(RUN, 0, 2, 0, a[3:])


@pytest.mark.parametrize(
    ("cohort", "code"),
    [
        (["a000", "a001"], Code.TOO_FEW),
        (["a000", "a001", "a001"], Code.DUPLICATE),
        (["a000", "a001", "eve"], Code.STRANGER),
        ([f"a{i:03d}" for i in range(13)], Code.TOO_MANY),
        ([], Code.TOO_FEW),
    ],
)
def test_manifests_for_other_cohorts_are_not_signed(make_world, cohort, code):
    assert code_of(make_world(artists=13).opener.manifest, RUN, 0, 0, 0, cohort) is code


def test_fewer_artists_than_the_noise_was_planned_for_are_refused(make_world, world):
    terms = dataclasses.replace(world.terms, noise=Noise("artist", 1.0, 5, 1e-5))
    noisy = make_world(artists=5, terms=terms, name="noisy")
    assert code_of(noisy.opener.manifest, RUN, 0, 0, 0, noisy.artists[:4]) is Code.TOO_FEW
    assert noisy.opener.open(noisy.sealed().request()).artists == 5


def test_a_manifest_is_signed_once_for_an_attempt(world):
    first = world.opener.manifest(RUN, 0, 0, 1, world.artists)
    assert world.opener.manifest(RUN, 0, 0, 1, world.artists[::-1]) == first
    assert len(list((world.root / "opener" / "keys").iterdir())) == 1
    assert world.restarted_opener().manifest(RUN, 0, 0, 1, world.artists) == first
    assert code_of(world.opener.manifest, RUN, 0, 0, 1, world.artists[1:]) is Code.ATTEMPT
    assert code_of(world.opener.manifest, RUN, 0, 0, -1, world.artists) is Code.MANIFEST
    assert code_of(world.opener.manifest, RUN, 0, -1, 0, world.artists) is Code.MANIFEST


# Styles


def _with_contributors(world, contributors):
    """Artist i has style j where i < contributors[j]; all else is zero."""
    groups = world.terms.groups
    values = {}
    for i, artist in enumerate(world.artists):
        vector = np.zeros(world.terms.values, dtype=np.int64)
        blocks = vector[3 : 3 + groups.count * groups.width].reshape(groups.count, groups.width)
        for j, count in enumerate(contributors):
            if i < count:
                blocks[j] = 10 * (i + 1) + j
                vector[-groups.count + j] = 1
        # A free value that adds up over all styles: what makes complementary cells dangerous.
        vector[0] = blocks[:, 0].sum()
        values[artist] = vector
    return values


def test_a_style_of_too_few_artists_and_the_one_that_would_give_it_away_are_not_shown(world):
    contributors = [2, 5, 3, 4]
    opening = world.opener.open(world.attempt().seal(_with_contributors(world, contributors)).request())
    assert opening.kept.tolist() == [False, True, False, True]
    blocks = opening.total[3:23].reshape(4, 5)
    assert not blocks[[0, 2]].any()
    assert blocks[1, 0] == sum(10 * (i + 1) + 1 for i in range(5))
    assert not opening.total[-4:].any()
    # What the total leaves over is a sum over both, not the style of two artists.
    rest = opening.total[0] - blocks[:, 0].sum()
    hidden = [sum(10 * (i + 1) + j for i in range(contributors[j])) for j in (0, 2)]
    assert rest == sum(hidden)
    assert rest not in hidden


@pytest.mark.parametrize(
    ("contributors", "kept"),
    [
        ([3, 3, 3, 3], [True] * 4),
        ([2, 2, 3, 5], [False, False, True, True]),
        ([0, 0, 0, 0], [False] * 4),
        ([1, 1, 3, 5], [False, False, False, True]),
    ],
)
def test_styles_shown_follow_the_threshold(world, contributors, kept):
    opening = world.opener.open(world.attempt().seal(_with_contributors(world, contributors)).request())
    assert opening.kept.tolist() == kept


def test_suppressed_sums_are_in_no_file_and_no_message(world):
    """The sum of the hidden style, as decimal text or as bytes."""
    contributors = [2, 5, 3, 4]
    values = _with_contributors(world, contributors)
    for artist in world.artists[:2]:
        values[artist][3:8] = 333
    opening = world.opener.open(world.attempt().seal(values).request())
    written = b"".join(p.read_bytes() for p in (world.root / "opener").rglob("*") if p.is_file())
    packed = np.full(5, 666, dtype="<i8").tobytes()
    for data in (opening.line, opening.total.tobytes(), written):
        assert packed not in data
        # As a JSON number; inside a hexadecimal string it could stand by chance.
        assert not any(mark + b"666" in data for mark in (b",", b":", b"["))
    assert packed in sum(values.values()).tobytes()


# Errors


def test_an_error_carries_a_code_and_nothing_else(world, monkeypatch):
    attempt = world.sealed()

    def secretive(*_):
        raise ValueError("the secret is 42")

    cases = [(_foreign_signature(world, attempt), None), (_signed_garbage(world, attempt), None)]
    cases.append((attempt.request(), secretive))
    for request, broken in cases:
        with monkeypatch.context() as patched:
            if broken:
                patched.setattr(module, "_check_receipts", broken)
            with pytest.raises(Refusal) as refusal:
                world.opener.open(request)
        error = refusal.value
        assert str(error) == error.code.phrase
        assert error.args == (error.code.phrase,)
        assert error.artist is None
        assert error.__cause__ is None
        assert error.__context__ is None
        assert set(vars(error)) == {"code", "artist"}
    log = world.root / "opener" / "opener.log"
    assert "the secret is 42" in log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_every_code_has_a_phrase_and_no_two_are_alike():
    phrases = [code.phrase for code in Code]
    assert len(set(phrases)) == len(phrases)
    assert all(200 < code < 300 for code in Code)


# Keys and epochs


def test_every_attempt_has_a_key_of_its_own_which_outlives_a_restart_and_no_later_attempt(world):
    attempt = world.sealed()
    restarted = world.restarted_opener()
    assert restarted.public == world.opener.public
    restarted.begin(RUN, 0, world.terms)
    restarted.begin(RUN, 1, world.terms)
    restarted.begin("another", 0, world.terms)
    artists = world.artists
    others = [
        restarted.manifest(*place, artists)[1]
        for place in ((RUN, 0, 1, 0), (RUN, 1, 2, 0), ("another", 0, 0, 0))
    ]
    assert len({attempt.public, *others}) == 4
    other = dataclasses.replace(world.terms, groups=Groups(4, 5, 2))
    with pytest.raises(SecureSumError, match="other terms"):
        restarted.begin(RUN, 0, other)
    second = world.attempt(attempt=1)
    assert not attempt.key_file.exists()
    assert second.public not in (attempt.public, *others)
    world.opener = restarted
    assert restarted.open(second.seal(world.values()).request()).artists == 5
    # Three keys wait, of other rounds and runs; that of the opened sum is gone.
    assert sorted(p.name for p in (world.root / "opener" / "keys").iterdir()) == sorted(
        PublicKey.from_bytes(public, world.terms.layout.profile).fingerprint for public in others
    )


def test_an_ended_epoch_stays_ended_and_its_key_is_gone(world):
    attempt = world.sealed()
    recorded = attempt.request()
    world.opener.end(RUN, 0)
    assert not attempt.key_file.exists()
    for opener in (world.opener, world.restarted_opener()):
        assert code_of(opener.open, recorded) is Code.EPOCH
        assert code_of(opener.begin, RUN, 0, world.terms) is Code.EPOCH
    world.opener.end(RUN, 0)


def test_another_process_ending_the_epoch_counts(world):
    attempt = world.sealed()
    request = attempt.request()
    world.restarted_opener().end(RUN, 0)
    assert code_of(world.opener.open, request) is Code.EPOCH


def test_the_wrong_passphrase_opens_nothing_and_uses_nothing_up(world):
    attempt = world.sealed()
    assert code_of(Opener(world.root / "opener", b"wrong").open, attempt.request()) is Code.INTERNAL
    assert world.restarted_opener().open(attempt.request()).artists == 5


@pytest.mark.parametrize("restart", [True, False])
def test_a_key_left_by_a_process_that_died_before_its_record_is_erased(world, monkeypatch, restart):
    """Nobody saw its public part. What waits to be opened stays."""
    waiting, keys = world.sealed(), world.root / "opener" / "keys"

    def killed(*_):
        os._exit(9)

    monkeypatch.setattr(module.Journal, "append", killed)
    victim = multiprocessing.get_context("fork").Process(target=world.attempt, args=(1, 0))
    victim.start()
    victim.join()
    assert victim.exitcode == 9
    monkeypatch.undo()
    assert len(list(keys.glob("*/secret.key"))) == 2
    if restart:
        world.opener = world.restarted_opener()
        assert list(keys.glob("*/secret.key")) == [waiting.key_file]
    assert world.opener.open(world.sealed(round=1, seed=1).request()).artists == 5
    assert list(keys.glob("*/secret.key")) == [waiting.key_file]
    assert world.opener.open(waiting.request()).artists == 5


def test_a_journal_of_another_version_is_refused_with_what_to_do(world):
    path = world.root / "opener" / "journal.jsonl"
    path.unlink()
    Journal(path).append({"event": "begin", "run": RUN, "epoch": 0, "terms": {}, "fingerprint": "00" * 32})
    with pytest.raises(SecureSumError, match=r"journal.jsonl was begun by another version"):
        world.restarted_opener()


def test_without_its_journal_nothing_old_can_be_opened(world):
    request = world.sealed().request()
    world.opener.open(request)
    (world.root / "opener" / "journal.jsonl").unlink()
    fresh = world.restarted_opener()
    assert code_of(fresh.open, request) is Code.EPOCH
    fresh.begin(RUN, 0, world.terms)
    assert code_of(fresh.open, request) is Code.ATTEMPT
    (world.root / "opener" / "journal.jsonl").unlink()
    with pytest.raises(SecureSumError, match="is gone"):
        fresh.end(RUN, 0)


@pytest.mark.parametrize("damage", ["edit", "remove", "swap"])
def test_a_damaged_journal_opens_nothing_and_the_line_is_named(world, damage):
    world.opener.open(world.sealed().request())
    path = world.root / "opener" / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == 4
    if damage == "edit":
        lines[2] = lines[2].replace(b'"round":0', b'"round":7')
    elif damage == "remove":
        del lines[1]
    else:
        lines[1], lines[2] = lines[2], lines[1]
    path.write_bytes(b"".join(lines))
    with pytest.raises(SecureSumError, match=rf"line {3 if damage == 'edit' else 2} "):
        world.restarted_opener()


def test_a_torn_last_line_of_the_journal_is_forgotten(world):
    attempt = world.sealed()
    path = world.root / "opener" / "journal.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"record":{"event":"open","run"')
    assert world.restarted_opener().open(attempt.request()).artists == 5
    assert path.read_bytes().startswith(whole + b'{"hash"')


def test_a_journal_cut_behind_a_running_opener_is_found(world):
    world.sealed()
    path = world.root / "opener" / "journal.jsonl"
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    with pytest.raises(SecureSumError, match="was cut"):
        world.opener.end(RUN, 0)


# Enrolment


def test_an_artist_has_one_key_and_a_key_one_artist(world):
    first, second = world.artists[:2]
    world.opener.enrol(first, world.members[first].public)
    assert code_of(world.opener.enrol, first, "00" * 32) is Code.ENROLMENT
    assert code_of(world.opener.enrol, "eve", world.members[second].public) is Code.ENROLMENT
    assert code_of(world.opener.enrol, "eve", "00") is Code.ENROLMENT
    with pytest.raises(SecureSumError, match="printable"):
        world.opener.enrol("e\nve", "00" * 32)
    assert code_of(world.opener.manifest, RUN, 0, 0, 0, ["eve", *world.artists]) is Code.STRANGER


def test_who_is_enrolled_later_takes_part_in_the_next_manifest(world):
    member = Member(world.root / "zoe", "zoe", Pins(world.opener.public, 3, 3))
    world.opener.enrol("zoe", member.public)
    world.members["zoe"] = member
    assert world.opener.open(world.sealed().request()).artists == 6


def test_a_damaged_roster_admits_nobody(world):
    (world.root / "opener" / "roster.json").write_bytes(b"[]")
    assert code_of(world.opener.manifest, RUN, 0, 0, 0, world.artists) is Code.INTERNAL
    with pytest.raises(SecureSumError, match=r"roster\.json"):
        world.opener.enrol("zoe", "00" * 32)


# Where secrets are


def _needles(secret):
    """Pieces of a secret in every spelling in which it could have been written."""
    for piece in (secret[:24], secret[len(secret) // 2 : len(secret) // 2 + 24], secret[-24:]):
        if any(piece):
            yield piece
            yield piece.hex().encode()


def test_no_secret_is_in_any_file_or_message_but_its_owners(world):
    attempt = world.attempt()
    ephemeral = [(world.root / a / "mask.key").read_bytes() for a in world.artists]
    masks = [bytes.fromhex(data.decode().rsplit('"', 2)[1]) for data in ephemeral]
    attempt.seal(world.values())
    request, key = attempt.request(), attempt.secret.to_bytes()[20:]
    assert stat.S_IMODE(attempt.key_file.stat().st_mode) == 0o600
    written = {p: p.read_bytes() for p in world.root.rglob("*") if p.is_file()}
    opening = world.opener.open(request)
    identities = {
        who: bytes.fromhex((world.root / who / "identity.key").read_text().strip())
        for who in ("opener", *world.artists)
    }
    messages = [attempt.signed.data, attempt.signed.signature, attempt.public, request.total, opening.line]
    messages += [u.body + u.signature for u in attempt.uploads.values()]
    messages += list(attempt.announcements.values())
    files = written | {p: p.read_bytes() for p in world.root.rglob("*") if p.is_file()}
    for data in messages:
        for secret in (key, *masks, *identities.values(), PASSPHRASE * 2):
            assert not any(needle in data for needle in _needles(secret))
    for path, data in files.items():
        # The secret key itself is in no file at all: on disk it is encrypted.
        for secret in (key, *masks):
            assert not any(needle in data for needle in _needles(secret))
        for who, secret in identities.items():
            if path != world.root / who / "identity.key":
                assert not any(needle in data for needle in _needles(secret))
    # The check can fail.
    assert any(needle in ephemeral[0] for needle in _needles(masks[0]))
    private = [p for p in files if p.name in ("identity.key", "secret.key", "journal.jsonl", "sealed.json")]
    assert len(private) == 6 + 1 + 1 + 5
    assert all(stat.S_IMODE(p.stat().st_mode) == 0o600 for p in private if p != attempt.key_file)
    assert not attempt.key_file.exists()
