"""The ledger file: append-only, and every change to it is found and named."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedstyle_secure.chains import Chain
from fedstyle_secure.errors import PrivacyError
from fedstyle_secure.privacy.events import SampledGaussian
from fedstyle_secure.privacy.ledger import Entry, Ledger, Works, costs
from fedstyle_secure.privacy.statement import unguarded


def entry(number, run="run", sigma=2.0):
    return Entry(
        run=run,
        request=f"request-{number}",
        round=number,
        kind="card",
        at="2026-01-01T00:00:00+00:00",
        mechanism="GaussianSum",
        parameters={"clip_norm": "inf", "noise_multiplier": sigma},
        sensitivity=1.0,
        artwork_cost=SampledGaussian(sigma),
        artist_cost=None,
        digest="0" * 64,
    )


def written(path, lines=4):
    ledger = Ledger(path)
    for number in range(lines):
        ledger.append([entry(number), entry(number, sigma=3.0)])
    return path


def test_what_was_written_is_read_again(tmp_path):
    path = written(tmp_path / "ledger.jsonl")
    assert Ledger(path).entries == tuple(
        e for number in range(4) for e in (entry(number), entry(number, sigma=3.0))
    )
    assert costs(Ledger(path).entries, "artist") is None
    assert len(costs(Ledger(path).entries, "artwork")) == 8


@pytest.mark.parametrize("change", ["edit", "remove", "swap", "cut"])
def test_a_changed_line_is_found_and_named(tmp_path, change):
    path = written(tmp_path / "ledger.jsonl")
    lines = path.read_text().splitlines(keepends=True)
    if change == "edit":
        lines[1] = lines[1].replace('"noise_multiplier": 2.0', '"noise_multiplier": 9.0')
    elif change == "remove":
        del lines[1]
    elif change == "swap":
        lines[1], lines[2] = lines[2], lines[1]
    else:
        lines[1] = lines[1][: len(lines[1]) // 2] + "\n"
    path.write_text("".join(lines))
    with pytest.raises(PrivacyError, match="line 2"):
        Ledger(path)


@pytest.mark.long
@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_flipped_bit_anywhere_is_found_and_its_line_named(tmp_path_factory, data):
    path = written(tmp_path_factory.mktemp("ledger") / "ledger.jsonl", lines=3)
    whole = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= 1 << data.draw(st.integers(0, 7))
    line = bytes(whole[:place]).count(b"\n") + 1
    path.write_bytes(whole)
    # A flipped end of a line joins two, or leaves the last one torn; either way it is named.
    with pytest.raises(PrivacyError, match=rf"line {line}\b"):
        Ledger(path)


@pytest.mark.parametrize("left", [0, 1, 3])
def test_missing_last_lines_are_found_and_the_first_of_them_named(tmp_path, left):
    path = written(tmp_path / "ledger.jsonl")
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:left]))
    with pytest.raises(PrivacyError, match=rf"line {left + 1} and what came after it are gone; it had 4"):
        Ledger(path)


def test_a_ledger_that_is_gone_is_missed(tmp_path):
    written(tmp_path / "ledger.jsonl").unlink()
    with pytest.raises(PrivacyError, match="line 1 and what came after it are gone"):
        Ledger(tmp_path / "ledger.jsonl")


def test_the_file_that_says_how_long_it_is_is_missed_too(tmp_path):
    path = written(tmp_path / "ledger.jsonl")
    (tmp_path / "ledger.head").unlink()
    with pytest.raises(PrivacyError, match=r"ledger\.head, which says how long it is, is gone"):
        Ledger(path)


@pytest.mark.parametrize("text", ["", "{}", '{"lines": "x", "hash": ""}', '{"lines": -1, "hash": "0"}'])
def test_a_damaged_length_is_refused(tmp_path, text):
    path = written(tmp_path / "ledger.jsonl")
    (tmp_path / "ledger.head").write_text(text)
    with pytest.raises(PrivacyError, match=r"ledger\.head"):
        Ledger(path)


def test_another_ledger_of_the_same_length_is_not_this_one(tmp_path):
    path = written(tmp_path / "ledger.jsonl")
    (tmp_path / "other").mkdir()
    other = Ledger(tmp_path / "other" / "ledger.jsonl")
    for number in range(4):
        other.append([entry(number, sigma=50.0)])
    path.write_bytes(other.path.read_bytes())
    with pytest.raises(PrivacyError, match="belongs to another file"):
        Ledger(path)


def test_killed_before_the_length_was_written_the_ledger_is_whole(tmp_path):
    path = written(tmp_path / "ledger.jsonl", lines=2)
    before = (tmp_path / "ledger.head").read_bytes()
    Ledger(path).append([entry(2)])
    (tmp_path / "ledger.head").write_bytes(before)
    assert [e.round for e in Ledger(path).entries] == [0, 0, 1, 1, 2]
    Ledger(path).append([entry(3)])
    assert json.loads((tmp_path / "ledger.head").read_text())["lines"] == 4


def test_a_first_line_without_a_length_cannot_come_from_a_kill(tmp_path, monkeypatch):
    """The length, zero, is on the disk before the first line."""
    seen = []
    real = Chain._write_length

    def watched(self):
        real(self)
        seen.append((len(self.lines), self.path.exists()))

    monkeypatch.setattr(Chain, "_write_length", watched)
    Ledger(tmp_path / "ledger.jsonl").append([entry(0)])
    assert seen == [(0, False), (1, True)]


def test_a_torn_last_line_was_never_sent_and_is_dropped(tmp_path):
    path = written(tmp_path / "ledger.jsonl", lines=1)
    with path.open("a") as file:
        file.write('{"entries": [{"requ')
    assert len(Ledger(path).entries) == 2
    Ledger(path).append([entry(1)])
    assert [e.round for e in Ledger(path).entries] == [0, 0, 1]


def test_both_files_are_for_their_owner_only(tmp_path):
    path = written(tmp_path / "ledger.jsonl")
    assert (tmp_path / "ledger.head").stat().st_mode & 0o077 == 0
    assert path.stat().st_mode & 0o022 == 0


def test_reading_beside_a_writer_raises_no_false_alarm(tmp_path, monkeypatch):
    """The writer adds a line and its length after the reader's first look, and before its second."""
    path = written(tmp_path / "ledger.jsonl", lines=2)
    real = Chain._read

    def read(self, parse):
        real(self, parse)
        if len(self.lines) == 2 and self.path == path and not added:
            added.append(True)
            Ledger(path).append([entry(2)])

    added = []
    monkeypatch.setattr(Chain, "_read", read)
    assert [e.round for e in Ledger(path).entries] == [0, 0, 1, 1]
    assert len(Ledger(path).entries) == 5


def test_which_works_a_round_is_of_is_a_line_whatever_changed_and_costs_nothing(tmp_path):
    path = written(tmp_path / "ledger.jsonl", lines=1)
    first = Works("a" * 64, 0, "0" * 64, "2026-01-01T00:00:00+00:00", "run", 0)
    Ledger(path).note(first)
    Ledger(path).note(Works("a" * 64, 0, "0" * 64, "2026-01-02T00:00:00+00:00", "run", 0))
    assert Ledger(path).works == first
    assert len(Ledger(path).heads) == 1 + 2
    Ledger(path).note(Works("a" * 64, 0, "0" * 64, "2026-01-02T00:00:00+00:00", "run", 1))
    assert len(Ledger(path).heads) == 1 + 3
    second = Works("b" * 64, 1, "1" * 64, "2026-01-03T00:00:00+00:00", "run", 2)
    Ledger(path).note(second)
    assert Ledger(path).works == second
    assert len(Ledger(path).entries) == 2
    assert Ledger(path).withdrawal is None


def test_a_ledger_of_before_there_were_policies_is_read(tmp_path):
    """A line as it was once written, without a policy, keeps its hash and its place."""
    path, body = tmp_path / "ledger.jsonl", {"entries": [entry(0).to_dict()]}
    del body["entries"][0]["policy"]
    Chain(path, lambda record: record).write(body, body)
    assert Ledger(path).entries == (entry(0),)
    Ledger(path).append([entry(1)])
    assert [e.policy for e in Ledger(path).entries] == ["", ""]


def test_why_there_is_no_guarantee_names_kinds_runs_and_the_unit_they_were_made_for():
    bare = replace(entry(2, run="0123456789abcdef"), artwork_cost=None, artist_cost=SampledGaussian(2.0))
    noiseless = entry(3, sigma=0.0)
    assert unguarded([entry(1)], "artwork") == ""
    assert (
        unguarded([entry(1)], "artist") == "1 of 1 releases (card; of run run) were made for the unit artwork"
    )
    assert unguarded([entry(1), bare], "artwork") == (
        "1 of 2 releases (card; of run 01234567) were made for the unit artist"
    )
    # No noise is no guarantee, whatever it was meant for.
    for unit in ("artwork", "artist"):
        assert (
            unguarded([noiseless], unit) == "1 of 1 releases (card; of run run) have no noise that covers it"
        )
