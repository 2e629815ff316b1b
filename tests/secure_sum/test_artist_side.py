"""An artist sends nothing before every check has passed, and nothing twice."""

from __future__ import annotations

import dataclasses
import stat

import numpy as np
import pytest
from scipy.stats import chi2_contingency, chisquare

from fedstyle_secure.errors import SecureSumError
from fedstyle_secure.secure_sum import artist_side
from fedstyle_secure.secure_sum.artist_side import ANNOUNCEMENT_BYTES, Member, Pins
from fedstyle_secure.secure_sum.codes import Code, Refusal
from fedstyle_secure.secure_sum.identity import Identity
from fedstyle_secure.secure_sum.manifest import Manifest, SignedManifest, sign_manifest
from fedstyle_secure.secure_sum.messages import sign_upload
from fedstyle_secure.secure_sum.scheme import Accumulator, PublicKey, make_keys, open_total

RUN = "run"
_SURE = 1e-9
"""Mask keys come from the operating system and cannot be fixed: each statistical check may fail by chance
once in 10^9 runs."""


def code_of(call, *arguments):
    with pytest.raises(Refusal) as refusal:
        call(*arguments)
    return refusal.value.code


def opener_identity(world):
    """What a dishonest opener would sign with."""
    return Identity.load(world.root / "opener" / "identity.key")


def resigned(world, attempt, **changes):
    """The attempt with another manifest, signed by the pinned opener."""
    manifest = dataclasses.replace(attempt.manifest, **changes)
    return sign_manifest(manifest, opener_identity(world))


def snapshot(folder):
    return {p.name: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_what_was_sealed_opens_to_the_sum(world):
    values = world.values()
    opening = world.opener.open(world.attempt().seal(values).request())
    expected = sum(values.values())
    expected[-4:] = 0
    assert np.array_equal(opening.total, expected)


def test_sealing_may_be_another_process_than_announcing(world):
    attempt = world.attempt()
    values = world.values()
    for artist in world.artists:
        world.members[artist] = Member(
            world.root / artist, artist, Pins(world.opener.public, world.terms.k_min, 3)
        )
    assert world.opener.open(attempt.seal(values).request()).artists == 5


# Nothing leaves when anything is wrong


def _swap_opener(world, attempt):
    stranger = Identity.load(world.root / "stranger" / "identity.key")
    attempt.signed = sign_manifest(attempt.manifest, stranger)


def _unsign(world, attempt):
    attempt.signed = SignedManifest(attempt.signed.data, b"")


def _other_roster(world, attempt):
    """The platform shows this artist a cohort without the last one."""
    manifest = dataclasses.replace(attempt.manifest, roster=attempt.manifest.roster[:-1])
    attempt.signed = SignedManifest(manifest.to_bytes(), attempt.signed.signature)
    del attempt.announcements[world.artists[-1]]


def _other_roster_key(world, attempt):
    seats = (*attempt.manifest.roster[:-1], (world.artists[-1], "00" * 32))
    manifest = dataclasses.replace(attempt.manifest, roster=seats)
    attempt.signed = SignedManifest(manifest.to_bytes(), attempt.signed.signature)


def _not_listed(world, attempt):
    attempt.signed = resigned(world, attempt, roster=attempt.manifest.roster[1:])


def _other_own_key(world, attempt):
    seats = ((world.artists[0], "00" * 32), *attempt.manifest.roster[1:])
    attempt.signed = resigned(world, attempt, roster=seats)


def _too_few(world, attempt):
    attempt.signed = resigned(world, attempt, roster=attempt.manifest.roster[:2])


def _too_many(world, attempt):
    terms = dataclasses.replace(world.terms, n_max=4)
    attempt.signed = resigned(world, attempt, terms=terms)


def _weak_k_min(world, attempt):
    attempt.signed = resigned(world, attempt, terms=dataclasses.replace(world.terms, k_min=2))


def _weak_threshold(world, attempt):
    groups = dataclasses.replace(world.terms.groups, threshold=1)
    attempt.signed = resigned(world, attempt, terms=dataclasses.replace(world.terms, groups=groups))


def _no_groups(world, attempt):
    attempt.signed = resigned(world, attempt, terms=dataclasses.replace(world.terms, groups=None))


def _swap_public_key(world, attempt):
    attempt.public = make_keys(world.terms.layout.profile)[0].to_bytes()


def _damage_public_key(world, attempt):
    attempt.public = attempt.public[:-1]


def _swap_fingerprint_too(world, attempt):
    """A platform that swaps key and fingerprint cannot sign the manifest."""
    key = make_keys(world.terms.layout.profile)[0]
    attempt.public = key.to_bytes()
    manifest = dataclasses.replace(attempt.manifest, fingerprint=key.fingerprint)
    attempt.signed = SignedManifest(manifest.to_bytes(), attempt.signed.signature)


def _swap_ephemeral(world, attempt):
    theirs = world.members[world.artists[2]].announce("other run", 0, 0, 0)
    own = attempt.announcements[world.artists[1]]
    attempt.announcements[world.artists[1]] = theirs[:32] + own[32:]


def _announcement_of_another(world, attempt):
    first, second = world.artists[1:3]
    attempt.announcements[first] = attempt.announcements[second]


def _announcement_of_another_attempt(world, attempt):
    artist = world.artists[1]
    attempt.announcements[artist] = world.members[artist].announce(RUN, 0, 0, 7)


def _announcement_missing(world, attempt):
    del attempt.announcements[world.artists[1]]


def _announcement_extra(world, attempt):
    attempt.announcements["eve"] = attempt.announcements[world.artists[1]]


def _announcement_short(world, attempt):
    artist = world.artists[1]
    attempt.announcements[artist] = attempt.announcements[artist][:-1]


def _announcement_small_order(world, attempt):
    artist = world.artists[1]
    identity = Identity.load(world.root / artist / "identity.key")
    parts = artist_side._announced_parts(RUN, 0, 0, 0, artist, bytes(32))
    attempt.announcements[artist] = bytes(32) + identity.sign("announce", *parts)


ATTACKS = {
    _swap_opener: Code.OPENER_SIGNATURE,
    _unsign: Code.OPENER_SIGNATURE,
    _other_roster: Code.OPENER_SIGNATURE,
    _other_roster_key: Code.OPENER_SIGNATURE,
    _not_listed: Code.ROSTER,
    _other_own_key: Code.ROSTER,
    _too_few: Code.TOO_FEW,
    _too_many: Code.TOO_MANY,
    _weak_k_min: Code.TERMS,
    _weak_threshold: Code.TERMS,
    _no_groups: Code.TERMS,
    _swap_public_key: Code.PUBLIC_KEY,
    _damage_public_key: Code.PUBLIC_KEY,
    _swap_fingerprint_too: Code.OPENER_SIGNATURE,
    _swap_ephemeral: Code.ANNOUNCEMENT,
    _announcement_of_another: Code.ANNOUNCEMENT,
    _announcement_of_another_attempt: Code.ANNOUNCEMENT,
    _announcement_missing: Code.ANNOUNCEMENT,
    _announcement_extra: Code.ANNOUNCEMENT,
    _announcement_short: Code.ANNOUNCEMENT,
}


@pytest.mark.parametrize(("attack", "code"), ATTACKS.items(), ids=lambda a: getattr(a, "__name__", ""))
def test_an_artist_aborts_before_it_sends_a_byte(world, attack, code, monkeypatch):
    attempt = world.attempt()
    member, values = world.members[world.artists[0]], world.values()[world.artists[0]]
    honest = attempt.signed, dict(attempt.announcements), attempt.public
    attack(world, attempt)
    before = snapshot(world.root / world.artists[0])

    def touched(*_):
        raise AssertionError("values were used before the checks were done")

    with monkeypatch.context() as patched:
        for name in ("encrypt", "mask", "sign_upload"):
            patched.setattr(artist_side, name, touched)
        assert code_of(member.seal, values, attempt.signed, attempt.announcements, attempt.public) is code
    # Nothing was used up: the honest attempt still works.
    assert snapshot(world.root / world.artists[0]) == before
    assert member.seal(values, *honest).artist == world.artists[0]


def test_an_ephemeral_key_of_small_order_is_refused(world):
    attempt = world.attempt()
    _announcement_small_order(world, attempt)
    member, values = world.members[world.artists[0]], world.values()[world.artists[0]]
    assert code_of(member.seal, values, attempt.signed, attempt.announcements, attempt.public) is (
        Code.ANNOUNCEMENT
    )


def test_its_own_announcement_cannot_be_exchanged(world):
    """By one that it made for the same attempt before it lost the key, say."""
    artist = world.artists[0]
    old = world.members[artist].announce(RUN, 0, 0, 0)
    (world.root / artist / "mask.key").unlink()
    attempt = world.attempt()
    assert attempt.announcements[artist] != old
    attempt.announcements[artist] = old
    values = world.values()[artist]
    assert code_of(
        world.members[artist].seal, values, attempt.signed, attempt.announcements, attempt.public
    ) is (Code.ANNOUNCEMENT)


def test_two_rosters_signed_by_a_dishonest_opener_give_noise(world):
    """Shown different rosters, artists do not sign the same manifest and their masks do not cancel."""
    attempt = world.attempt()
    other = resigned(world, attempt, terms=dataclasses.replace(world.terms, n_max=11))
    values = world.values()
    first = world.members[world.artists[0]].seal(
        values.pop(world.artists[0]), other, attempt.announcements, attempt.public
    )
    attempt.seal(values)
    assert code_of(attempt.aggregator().add, first) is Code.OTHER_MANIFEST
    total = Accumulator(
        PublicKey.from_bytes(attempt.public, world.terms.layout.profile), world.terms.layout.blocks
    )
    for upload in (first, *attempt.uploads.values()):
        total.add(upload.body)
    slots, _ = open_total(attempt.secret, total.total(), world.terms.layout.blocks)
    assert chisquare(bins(slots, world)).pvalue > _SURE


# Counters and keys


def test_an_attempt_is_answered_once(world):
    attempt = world.sealed()
    artist = world.artists[0]
    member, values = world.members[artist], world.values()[artist]
    assert (
        code_of(member.seal, values, attempt.signed, attempt.announcements, attempt.public) is Code.REPLAYED
    )
    assert code_of(member.announce, RUN, 0, 0, 0) is Code.REPLAYED
    restarted = Member(world.root / artist, artist, Pins(world.opener.public, 3, 3))
    assert (
        code_of(restarted.seal, values, attempt.signed, attempt.announcements, attempt.public)
        is Code.REPLAYED
    )


def test_earlier_attempts_rounds_and_epochs_are_refused_and_other_runs_are_not(world):
    world.members[world.artists[0]].announce(RUN, 0, 0, 0)
    world.sealed(round=2, attempt=1)
    member = world.members[world.artists[0]]
    for place in ((0, 2, 1), (0, 2, 0), (0, 1, 9)):
        assert code_of(member.announce, RUN, *place) is Code.REPLAYED
    for place in ((0, 2, 2), (0, 3, 0), (1, 0, 0)):
        assert len(member.announce(RUN, *place)) == ANNOUNCEMENT_BYTES
    assert len(member.announce("another", 0, 0, 0)) == ANNOUNCEMENT_BYTES


def test_announcing_again_gives_the_same_key_and_another_attempt_another(world):
    member = world.members[world.artists[0]]
    first = member.announce(RUN, 0, 0, 0)
    assert member.announce(RUN, 0, 0, 0) == first
    second = member.announce(RUN, 0, 0, 1)
    assert second[:32] != first[:32]
    # The replaced key is gone: the earlier attempt cannot be sealed with it.
    assert member.announce(RUN, 0, 0, 0)[:32] != first[:32]


def test_an_artist_that_did_not_announce_cannot_seal(world):
    attempt = world.attempt()
    artist = world.artists[0]
    world.members[artist].announce(RUN, 0, 0, 1)
    values = world.values()[artist]
    assert code_of(
        world.members[artist].seal, values, attempt.signed, attempt.announcements, attempt.public
    ) is (Code.NO_MASK_KEY)


def test_the_mask_key_is_private_and_gone_after_sealing(world):
    attempt = world.attempt()
    path = world.root / world.artists[0] / "mask.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    attempt.seal(world.values())
    assert not path.exists()


def test_a_crash_while_sealing_uses_the_attempt_up(world, monkeypatch):
    """Rather no upload than two."""
    attempt = world.attempt()
    artist = world.artists[0]
    member, values = world.members[artist], world.values()[artist]

    def crash(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(artist_side, "encrypt", crash)
        with pytest.raises(KeyboardInterrupt):
            member.seal(values, attempt.signed, attempt.announcements, attempt.public)
    assert (
        code_of(member.seal, values, attempt.signed, attempt.announcements, attempt.public) is Code.REPLAYED
    )


@pytest.mark.parametrize(("epoch", "round", "number"), [(0, 0, 1), (0, 1, 0), (1, 1, 0)])
def test_no_key_is_used_for_a_second_attempt(world, epoch, round, number):
    """Not even with the opener's signature, whether the first one was opened or not."""
    first = world.sealed()
    world.opener.begin(RUN, 1, world.terms)
    attempt = world.attempt(round, number, epoch=epoch)
    again = resigned(world, attempt, fingerprint=first.manifest.fingerprint)
    artist = world.artists[0]
    member, values = world.members[artist], world.values()[artist]
    assert code_of(member.seal, values, again, attempt.announcements, first.public) is Code.PUBLIC_KEY
    assert member.seal(values, attempt.signed, attempt.announcements, attempt.public)


@pytest.mark.parametrize("name", ["sealed.json", "mask.key", "identity.key"])
def test_damaged_state_is_refused_not_forgotten(world, name):
    world.sealed()
    attempt = world.attempt(round=1)
    artist = world.artists[0]
    (world.root / artist / name).write_bytes(b"{")
    with pytest.raises(SecureSumError, match=name.replace(".", r"\.")):
        Member(world.root / artist, artist, Pins(world.opener.public, 3, 3)).seal(
            world.values()[artist], attempt.signed, attempt.announcements, attempt.public
        )


# Values and sizes


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v[:-1],
        lambda v: np.append(v, 0),
        lambda v: v.astype(np.float64),
        lambda v: v.astype(np.int32),
        lambda v: v.reshape(1, -1),
        lambda v: np.where(np.arange(len(v)) == 3, 512, v),
        lambda v: np.where(np.arange(len(v)) == 3, -513, v),
        lambda v: np.where(np.arange(len(v)) == 3, np.iinfo(np.int64).min, v),
    ],
)
def test_values_that_do_not_fit_are_refused_and_nothing_is_used_up(world, change):
    attempt = world.attempt()
    artist = world.artists[0]
    member, values = world.members[artist], world.values()[artist]
    assert (
        code_of(member.seal, change(values), attempt.signed, attempt.announcements, attempt.public)
        is Code.VALUES
    )
    assert member.seal(values, attempt.signed, attempt.announcements, attempt.public)


def test_uploads_have_one_size_whatever_styles_an_artist_has(world):
    values = world.values()
    groups = world.terms.groups
    one_style = np.zeros(world.terms.values, dtype=np.int64)
    one_style[3 : 3 + groups.width] = 100
    one_style[-groups.count] = 1
    values[world.artists[0]] = one_style
    values[world.artists[1]][:] = -512
    values[world.artists[2]][:] = 511
    uploads = world.attempt().seal(values).uploads.values()
    assert {len(u.body) for u in uploads} == {world.terms.layout.upload_bytes}
    assert {len(u.signature) for u in uploads} == {64}


def test_the_same_values_twice_make_different_bodies(world):
    first = world.sealed(attempt=0).uploads
    second = world.sealed(attempt=1).uploads
    for artist in world.artists:
        assert first[artist].body != second[artist].body
    # Also the encryption alone: the same body twice would be a fresh-randomness failure.
    assert len({u.body for u in (*first.values(), *second.values())}) == 10


# The second lock


def bins(slots, world, count=64):
    modulus = world.terms.layout.profile.plain_modulus
    return np.bincount((slots.astype(object) * count // modulus).astype(np.int64), minlength=count)


def partial_slots(world, attempt, artists):
    layout = world.terms.layout
    total = Accumulator(PublicKey.from_bytes(attempt.public, layout.profile), layout.blocks)
    for artist in artists:
        total.add(attempt.uploads[artist].body)
    slots, budget = open_total(attempt.secret, total.total(), layout.blocks)
    assert budget >= layout.profile.budget_floor
    return slots


def constant(world, value):
    return {a: np.full(world.terms.values, value, dtype=np.int64) for a in world.artists}


@pytest.mark.parametrize("missing", [4, 2, 1])
def test_with_the_secret_key_less_than_the_cohort_is_uniform_whatever_was_sent(world, missing):
    """Opener and platform together, without the missing artists' masks: one body, three, all but one."""
    counts = []
    for attempt, value in enumerate((-512, 511, 0)):
        sealed = world.attempt(attempt=attempt).seal(constant(world, value))
        slots = partial_slots(world, sealed, world.artists[missing:])
        counts.append(bins(slots, world))
        assert chisquare(counts[-1]).pvalue > _SURE
    assert chi2_contingency(np.array(counts)).pvalue > _SURE


def test_without_masks_the_same_check_sees_the_input(world, monkeypatch):
    """The positive control of the test above."""
    slots = np.zeros(world.terms.layout.slots, dtype=np.uint64)
    monkeypatch.setattr(artist_side, "mask", lambda *_: slots)
    sealed = world.attempt().seal(constant(world, 511))
    assert chisquare(bins(partial_slots(world, sealed, world.artists[4:]), world)).pvalue < 1e-100


def test_masks_change_with_every_attempt(world):
    """The difference of one artist's two uploads of the same values is uniform as well."""
    slots = []
    for attempt in range(2):
        sealed = world.attempt(attempt=attempt).seal(constant(world, 5))
        slots.append(partial_slots(world, sealed, world.artists[:1]))
    modulus = world.terms.layout.profile.plain_modulus
    assert chisquare(bins((slots[0] - slots[1]) % modulus, world)).pvalue > _SURE


def test_a_manifest_reads_the_same_from_the_signed_bytes(world):
    attempt = world.attempt()
    assert attempt.signed.read(world.opener.public) == Manifest.from_bytes(attempt.signed.data)
    assert sign_upload(opener_identity(world), "x", attempt.manifest.digest, b"").receipt.fault(
        attempt.manifest
    ) is (Code.STRANGER)
