"""The end of a run: signed once, last in the transcript, and nothing is opened after it."""

from __future__ import annotations

import json

import pytest

from fedstyle_secure.secure_sum.codes import Code, Refusal
from fedstyle_secure.secure_sum.encoding import canonical
from fedstyle_secure.secure_sum.identity import Identity
from fedstyle_secure.secure_sum.transcript import Closing, read, verify

RUN = "run"
SETTINGS = "ab" * 32
FILES = {"summary.json": "cd" * 32, "ledger.json": "ef" * 32}


def refused(code, call):
    with pytest.raises(Refusal) as refusal:
        call()
    assert refusal.value.code is code


@pytest.fixture
def closed(world, tmp_path):
    """A transcript of one opening and the run's closing."""
    line = world.opener.open(world.sealed().request()).line
    path = tmp_path / "transcript.jsonl"
    path.write_bytes(line + world.opener.close(RUN, SETTINGS, FILES))
    return path


def test_a_closed_transcript_verifies_and_says_what_the_run_held(world, closed):
    assert verify(closed, world.opener.public) == []
    told = read(closed)
    assert [manifest.round for manifest in told.manifests] == [0]
    assert (told.closing.run, told.closing.settings, told.closing.files) == (RUN, SETTINGS, FILES)


def test_a_run_without_an_opening_is_closed_too(world, tmp_path):
    path = tmp_path / "transcript.jsonl"
    path.write_bytes(world.opener.close(RUN, SETTINGS, FILES))
    assert verify(path, world.opener.public) == []
    assert read(path).manifests == ()


def test_a_run_is_closed_once_also_after_a_restart(world, closed):
    last = closed.read_bytes().splitlines(keepends=True)[-1]
    for opener in (world.opener, world.restarted_opener()):
        assert opener.close(RUN, SETTINGS, dict(reversed(FILES.items()))) == last
        refused(Code.CLOSED, lambda o=opener: o.close(RUN, SETTINGS, FILES | {"summary.json": "00" * 32}))
        refused(Code.CLOSED, lambda o=opener: o.close(RUN, "00" * 32, FILES))


def test_nothing_is_signed_or_opened_once_the_run_is_closed(world):
    sealed = world.sealed()
    world.opener.close(RUN, SETTINGS, FILES)
    for opener in (world.opener, world.restarted_opener()):
        refused(Code.EPOCH, lambda o=opener: o.open(sealed.request()))
        refused(Code.EPOCH, lambda o=opener: o.manifest(RUN, 0, 1, 0, world.artists))
        refused(Code.EPOCH, lambda o=opener: o.begin(RUN, 1, world.terms))
    assert not sealed.key_file.exists()
    world.opener.begin("other run", 0, world.terms)
    assert world.opener.manifest("other run", 0, 0, 0, world.artists)


@pytest.mark.parametrize("digest", ["", "CD" * 32, "cd" * 31, "zz" * 32])
def test_what_is_no_hash_is_not_signed(world, digest):
    refused(Code.INTERNAL, lambda: world.opener.close(RUN, SETTINGS, {"summary.json": digest}))
    assert world.opener.close(RUN, SETTINGS, FILES), "and the run can still be closed"


def changed(path, change):
    *lines, last = path.read_bytes().splitlines(keepends=True)
    record = json.loads(last)
    change(record)
    path.write_bytes(b"".join([*lines, canonical(record) + b"\n"]))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda r: r["closing"]["files"].update({"summary.json": "00" * 32}), "signature does not fit"),
        (lambda r: r["closing"]["files"].pop("ledger.json"), "signature does not fit"),
        (lambda r: r["closing"].update(settings="00" * 32), "signature does not fit"),
        (lambda r: r["closing"].update(run="another"), "signature does not fit"),
        (lambda r: r["closing"].update(previous="00" * 32), "signature does not fit"),
        (lambda r: r.update(signature="00" * 64), "signature does not fit"),
        (lambda r: r.update(signature="00"), "not a closing"),
        (lambda r: r["closing"].update(extra=1), "signature does not fit"),
        (lambda r: r["closing"].pop("files"), "signature does not fit"),
        (lambda r: r["closing"].update(files=[1]), "signature does not fit"),
        (lambda r: r["closing"]["files"].update({"x": "short"}), "signature does not fit"),
    ],
)
def test_an_edited_closing_is_found(world, closed, change, says):
    changed(closed, change)
    problems = verify(closed, world.opener.public)
    assert says in problems[0]
    assert all(problem.startswith("line 2: ") for problem in problems)


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body.update(extra=1),
        lambda body: body.pop("files"),
        lambda body: body.update(files=[1]),
        lambda body: body["files"].update({"x": "short"}),
    ],
)
def test_a_malformed_closing_is_found_whoever_signed_it(world, closed, change):
    *lines, last = closed.read_bytes().splitlines(keepends=True)
    body = json.loads(last)["closing"]
    change(body)
    opener = Identity.load(world.root / "opener" / "identity.key")
    signature = opener.sign("closing", canonical(body)).hex()
    line = canonical({"closing": body, "signature": signature})
    closed.write_bytes(b"".join([*lines, line + b"\n"]))
    (problem,) = verify(closed, world.opener.public)
    assert problem.startswith("line 2: not a closing: ")


def test_every_flipped_byte_of_a_closing_is_found(world, closed):
    data = closed.read_bytes()
    for position in range(data.index(b"\n") + 1, len(data)):
        bad = bytearray(data)
        bad[position] ^= 1
        closed.write_bytes(bad)
        assert verify(closed, world.opener.public)


def test_a_closing_is_the_last_line_and_follows_the_one_before(world, closed, tmp_path):
    opening, last = closed.read_bytes().splitlines(keepends=True)
    for lines in ([last, opening], [last], [opening, last, last], [opening, opening, last]):
        closed.write_bytes(b"".join(lines))
        assert verify(closed, world.opener.public)


def test_a_stranger_cannot_close(world, closed, tmp_path):
    opening, last = closed.read_bytes().splitlines(keepends=True)
    stranger = Identity.load(tmp_path / "eve" / "identity.key")
    previous = json.loads(last)["closing"]["previous"]
    closed.write_bytes(opening + Closing(RUN, SETTINGS, FILES, previous).to_line(stranger))
    assert verify(closed, world.opener.public) == ["line 2: the opener's signature does not fit the closing"]
