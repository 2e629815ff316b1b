"""Anybody with the opener's public key can check what was opened; a changed byte is found and named."""

from __future__ import annotations

import dataclasses
import itertools
import json
import secrets

import numpy as np
import pytest

from fedstyle_secure.secure_sum.encoding import canonical
from fedstyle_secure.secure_sum.identity import Identity
from fedstyle_secure.secure_sum.manifest import Manifest, SignedManifest, sign_manifest
from fedstyle_secure.secure_sum.messages import Receipt, sign_upload
from fedstyle_secure.secure_sum.transcript import Entry, line_digest, shows, start_digest, verify

RUN = "run"


@pytest.fixture
def opened(world, tmp_path):
    """A transcript of three rounds, and what was released."""
    openings, manifests = [], []
    for number in range(3):
        attempt = world.sealed(round=number, seed=number)
        openings.append(world.opener.open(attempt.request()))
        manifests.append(attempt.manifest)
        if number == 1:
            world.opener = world.restarted_opener()
    path = tmp_path / "transcript.jsonl"
    path.write_bytes(b"".join(opening.line for opening in openings))
    return path, openings, manifests


def lines_of(path):
    return path.read_bytes().splitlines(keepends=True)


def test_a_true_transcript_has_no_problems(world, opened):
    path = opened[0]
    assert verify(path, world.opener.public) == []
    path.write_bytes(b"")
    assert verify(path, world.opener.public) == []


def test_a_line_shows_what_was_released_and_nothing_else(opened):
    for opening, following in itertools.pairwise(opened[1]):
        assert shows(opening.line, opening.total, opening.kept)
        assert not shows(following.line, opening.total, opening.kept)
        other = opening.total.copy()
        other[0] += 1
        assert not shows(opening.line, other, opening.kept)
        assert not shows(opening.line, opening.total, ~opening.kept)


def _check_flips(world, path, positions):
    data = path.read_bytes()
    starts = np.cumsum([0] + [len(line) for line in lines_of(path)])
    rng = np.random.default_rng(0)
    for position in positions:
        bad = bytearray(data)
        bad[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(bad))
        problems = verify(path, world.opener.public)
        number = int(np.searchsorted(starts, position, side="right"))
        assert any(p.startswith(f"line {number}:") for p in problems), (position, problems)


def test_changed_bytes_are_found_and_their_line_named(world, opened):
    path = opened[0]
    _check_flips(world, path, range(0, len(path.read_bytes()), 29))


@pytest.mark.slow
def test_every_changed_byte_is_found_and_its_line_named(world, opened):
    path = opened[0]
    _check_flips(world, path, range(len(path.read_bytes())))


def test_another_opener_did_not_sign_it(world, opened):
    problems = verify(opened[0], "00" * 32)
    assert problems == [
        f"line {number}: not a transcript entry: the opener's signature does not fit the entry"
        for number in (1, 2, 3)
    ]


def test_removed_moved_repeated_and_cut_lines_are_found(world, opened):
    path = opened[0]
    first, second, third = lines_of(path)
    cases = [
        ([second, third], ["line 1: does not follow"]),
        ([first, third], ["line 2: does not follow"]),
        ([second, first, third], ["line 1: does not", "line 2: does not", "line 3: does not"]),
        (
            [first, second, third, third],
            ["line 4: does not", "line 4: round 2 was opened", "line 4: opened with the key of line 3"],
        ),
        ([first, second, third[:-1]], ["line 3: cut off"]),
        ([first, b"\n", second, third], ["line 2: not a transcript entry", "line 3: does not follow"]),
    ]
    for lines, expected in cases:
        path.write_bytes(b"".join(lines))
        problems = verify(path, world.opener.public)
        assert len(problems) == len(expected)
        assert all(p.startswith(e) for p, e in zip(problems, expected, strict=True)), problems


# What a dishonest opener could sign


class Forger:
    """Holds the opener's and the artists' keys, and signs whatever it likes in perfect order."""

    def __init__(self, world):
        self.world = world
        self.opener = Identity.load(world.root / "opener" / "identity.key")
        self.previous = start_digest(RUN)
        self.template = Manifest.from_bytes(world.attempt().signed.data)

    def line(self, artists=None, receipts=None, kept=(1, 1, 1, 1), opener=None, **changes):
        seats = self.template.roster if artists is None else artists
        changes = {"fingerprint": secrets.token_hex(32)} | changes
        manifest = dataclasses.replace(self.template, roster=tuple(seats), **changes)
        receipts = receipts or [self.receipt(manifest, artist) for artist in manifest.artists]
        signed = sign_manifest(manifest, opener or self.opener)
        entry = Entry(signed, tuple(receipts), "00" * 32, tuple(map(bool, kept)), self.previous)
        line = entry.to_line(self.opener)
        self.previous = line_digest(line)
        return line

    def receipt(self, manifest, artist, body=None):
        identity = Identity.load(self.world.root / artist / "identity.key")
        return sign_upload(identity, artist, manifest.digest, body or artist.encode()).receipt


@pytest.fixture
def forger(world):
    return Forger(world)


def problems_of(world, tmp_path, *lines):
    path = tmp_path / "forged.jsonl"
    path.write_bytes(b"".join(lines))
    return verify(path, world.opener.public)


def test_a_perfect_forgery_of_the_keys_owner_passes(world, forger, tmp_path):
    """So that the tests below find what they plant and nothing else."""
    assert problems_of(world, tmp_path, forger.line(), forger.line(round=1)) == []


def test_a_second_opening_of_a_round_is_found(world, forger, tmp_path):
    problems = problems_of(world, tmp_path, forger.line(), forger.line(attempt=1))
    assert problems == ["line 2: round 0 was opened in line 1 already"]


def test_too_few_artists_are_found(world, forger, tmp_path):
    problems = problems_of(world, tmp_path, forger.line(forger.template.roster[:2]))
    assert problems[0] == "line 1: 2 artists are not between 3 and 12"


def test_a_leave_one_out_cohort_is_found(world, forger, tmp_path):
    problems = problems_of(
        world, tmp_path, forger.line(), forger.line(forger.template.roster[1:], round=1), forger.line(round=2)
    )
    assert len(problems) == 1
    assert problems[0].startswith("line 2: with the openings before it in epoch 0, the cohort singles out")


def test_a_key_used_twice_and_other_terms_within_an_epoch_are_found(world, forger, tmp_path):
    terms = dataclasses.replace(world.terms, n_max=11)
    problems = problems_of(
        world,
        tmp_path,
        forger.line(),
        forger.line(round=1, fingerprint="ab" * 32),
        forger.line(round=2, terms=terms),
        forger.line(epoch=1, round=3, fingerprint="ab" * 32, terms=terms),
    )
    assert [p[:42] for p in problems] == [
        "line 4: opened with the key of line 2; eve",
        "line 3: other terms than before in epoch 0",
    ]


def test_another_run_is_found(world, forger, tmp_path):
    problems = problems_of(world, tmp_path, forger.line(), forger.line(run="another", round=1))
    assert problems == ["line 2: of another run than the first line"]


def test_missing_foreign_copied_and_unsigned_uploads_are_found(world, forger, tmp_path):
    manifest = forger.template
    own = [forger.receipt(manifest, artist) for artist in world.artists]
    first = world.artists[0]
    unsigned = dataclasses.replace(own[0], signature=bytes(64))
    copied = [forger.receipt(manifest, artist, b"same") for artist in world.artists[:2]]
    other = Receipt(first, manifest.digest, own[0].body, own[1].signature)
    cases = {
        "the uploads are not those of the manifest's cohort": own[1:],
        f"artist {first!r}: the upload's signature": [unsigned, *own[1:]],
        f"artist {first!r}: the upload's signature does": [other, *own[1:]],
        "two artists uploaded the same body": [*copied, *own[2:]],
    }
    for expected, receipts in cases.items():
        forger.previous = start_digest(RUN)
        line = forger.line(receipts=receipts, fingerprint=manifest.fingerprint)
        problems = problems_of(world, tmp_path, line)
        assert len(problems) == 1
        assert problems[0].startswith(f"line 1: {expected}"), problems


def test_a_manifest_of_another_opener_is_found(world, forger, tmp_path):
    stranger = Identity.load(tmp_path / "eve" / "identity.key")
    problems = problems_of(world, tmp_path, forger.line(opener=stranger))
    assert problems == ["line 1: the manifest is not signed by the pinned opener"]


def test_styles_that_do_not_exist_are_found(world, forger, tmp_path):
    assert problems_of(world, tmp_path, forger.line(kept=(1, 1))) == [
        "line 1: the groups shown do not fit the manifest"
    ]


@pytest.mark.parametrize(
    "change",
    [
        lambda e: e.pop("result"),
        lambda e: e.__setitem__("result", "00"),
        lambda e: e.__setitem__("extra", 1),
        lambda e: e.__setitem__("kept", [2]),
        lambda e: e.__setitem__("kept", "1"),
        lambda e: e.__setitem__("uploads", [["a"]]),
        lambda e: e.__setitem__("uploads", 5),
        lambda e: e.__setitem__("manifest", "{}"),
        lambda e: e.__setitem__("manifest", "é"),
        lambda e: e.__setitem__("manifest_signature", "zz"),
    ],
)
def test_an_entry_of_another_form_is_no_entry(world, forger, tmp_path, change):
    record = json.loads(forger.line())
    change(record["entry"])
    record["signature"] = forger.opener.sign("transcript", canonical(record["entry"])).hex()
    problems = problems_of(world, tmp_path, canonical(record) + b"\n")
    assert len(problems) == 1
    assert problems[0].startswith("line 1: not a transcript entry")


def test_nothing_that_is_no_transcript_makes_it_fail(world, tmp_path):
    rng = np.random.default_rng(0)
    for data in (b"\n", b"{}\n", b"[" * 10**5 + b"\n", b"\xff\xfe\n", b"null\nnull\n", rng.bytes(5000)):
        assert problems_of(world, tmp_path, data)


def test_a_transcript_of_a_signed_manifest_holds_its_bytes(world, opened):
    path, _, manifests = opened
    for line, manifest in zip(lines_of(path), manifests, strict=True):
        entry = json.loads(line)["entry"]
        signed = SignedManifest(entry["manifest"].encode(), bytes.fromhex(entry["manifest_signature"]))
        assert signed.read(world.opener.public) == manifest
