"""Decisions work by work: the last one counts, a damaged log lets nothing out, the ledger knows it."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedstyle_secure.errors import PrivacyError
from fedstyle_secure.galleries.base import Portfolio
from fedstyle_secure.privacy.ledger import Ledger
from fedstyle_secure.sites.consent_log import UNASKED, ConsentLog, Decision, decide, works_of

NOW = "2026-03-01T10:00:00+00:00"
WORKS = tuple(f"{i:064x}" for i in range(4))


def portfolio():
    pictures = np.arange(4, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    test = np.array([False, False, True, False])
    return Portfolio("ann", pictures, test, tuple("abcd"), WORKS, ("x", "y", "x", "y"))


def written(folder):
    path = folder / "consent.jsonl"
    decide(path, WORKS[:2], "ai_training", "out", NOW)
    decide(path, WORKS[:1], "ai_training", "in", NOW)
    decide(path, WORKS[3:], "ai_generative_training", "in", NOW)
    return path


def test_the_last_decision_of_a_work_and_a_purpose_counts(tmp_path):
    log = ConsentLog(written(tmp_path))
    assert [log.allows(work, "ai_training") for work in WORKS] == [True, False, True, True]
    assert [log.allows(work, "ai_generative_training") for work in WORKS] == [False, False, False, True]
    assert len(log.decisions) == 4


def test_of_a_work_that_nothing_is_decided_of_no_generator_is_trained(tmp_path):
    log = ConsentLog(tmp_path / "consent.jsonl")
    assert UNASKED["ai_generative_training"] == "out"
    assert not log.allows(WORKS[0], "ai_generative_training")
    assert log.allows(WORKS[0], "ai_training")
    assert not (tmp_path / "consent.jsonl").exists()


def test_who_is_out_of_a_wider_use_is_out_of_a_narrower_one(tmp_path):
    log = decide(tmp_path / "consent.jsonl", WORKS[:1], "data_mining", "out", NOW)
    assert not log.allows(WORKS[0], "ai_training")
    log = decide(log.path, WORKS[:1], "ai_training", "in", NOW)
    assert log.allows(WORKS[0], "ai_training")


def test_a_decision_that_counts_already_is_not_written_again(tmp_path):
    path = written(tmp_path)
    before = path.read_bytes()
    decide(path, WORKS[:1] * 3, "ai_training", "in", NOW)
    assert path.read_bytes() == before


def test_what_is_out_is_gone_before_anything_is_computed(tmp_path):
    whole = portfolio()
    found = ConsentLog(written(tmp_path)).of(whole, "ai_training")
    assert found.names == ("a", "c", "d")
    assert found.sha256 == (WORKS[0], WORKS[2], WORKS[3])
    assert found.labels == ("x", "x", "y")
    assert found.test.tolist() == [False, True, False]
    assert found.pictures[:, 0, 0, 0].tolist() == [0, 2, 3]
    assert [(r.name, r.way) for r in found.refused] == [("b", "consent.jsonl")]
    # As if it had never been there, but for what is said of it.
    assert found.digest() != whole.digest()
    generated = ConsentLog(tmp_path / "consent.jsonl").of(whole, "ai_generative_training")
    assert generated.names == ("d",)
    assert {r.way for r in generated.refused} == {"consent.jsonl", "unsaid"}


def test_canaries_are_planted_after_works_are_chosen(tmp_path):
    with pytest.raises(PrivacyError, match="before canaries"):
        ConsentLog(tmp_path / "c.jsonl").of(replace(portfolio(), canaries=1), "ai_training")


@pytest.mark.parametrize(
    ("old", "new"), [('"way": "out"', '"way": "in"'), (WORKS[1], WORKS[2]), ("ai_training", "data_mining")]
)
def test_an_edited_line_lets_nothing_out(tmp_path, old, new):
    path = written(tmp_path)
    lines = path.read_text().splitlines(keepends=True)
    lines[1] = lines[1].replace(old, new)
    path.write_text("".join(lines))
    with pytest.raises(PrivacyError, match="line 2 was edited"):
        ConsentLog(path)
    # Nor can one more decision be written behind it.
    with pytest.raises(PrivacyError, match="line 2"):
        decide(path, WORKS[:1], "ai_training", "out", NOW)


@given(st.data())
def test_a_flipped_bit_or_a_cut_anywhere_lets_nothing_out(tmp_path_factory, data):
    path = written(tmp_path_factory.mktemp("log"))
    whole = path.read_bytes()
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, 8 * len(whole) - 1))
        changed = bytearray(whole)
        changed[at // 8] ^= 1 << at % 8
    else:
        changed = bytearray(whole[: data.draw(st.integers(0, len(whole) - 1))])
    path.write_bytes(bytes(changed))
    with pytest.raises(PrivacyError):
        ConsentLog(path)


@pytest.mark.parametrize("gone", ["consent.jsonl", "consent.head"])
def test_a_missing_file_of_the_two_lets_nothing_out(tmp_path, gone):
    path = written(tmp_path)
    (tmp_path / gone).unlink()
    with pytest.raises(PrivacyError):
        ConsentLog(path)


def noted(home, log, number):
    """Write into the ledger which works a round is of, as the artist's gate does."""
    works = works_of(home, log, log.of(portfolio(), "ai_training"))
    Ledger(home / "ledger.jsonl").note(replace(works, run="run", round=number))


def test_a_log_that_was_put_back_whole_is_known_from_the_ledger(tmp_path):
    """Both files as they were before: by themselves they are a good log."""
    path = tmp_path / "consent.jsonl"
    first = decide(path, WORKS[:1], "ai_training", "in", NOW)
    backup = {name: (tmp_path / name).read_bytes() for name in ("consent.jsonl", "consent.head")}
    noted(tmp_path, first, 0)
    second = decide(path, WORKS[:2], "ai_training", "out", NOW)
    noted(tmp_path, second, 1)
    works = Ledger(tmp_path / "ledger.jsonl").works
    assert (works.consent_lines, works.consent_hash) == (3, second.heads[3])
    for name, data in backup.items():
        (tmp_path / name).write_bytes(data)
    old = ConsentLog(path)
    with pytest.raises(PrivacyError, match="the ledger knows of 3 decisions"):
        works_of(tmp_path, old, portfolio())
    for name in backup:
        (tmp_path / name).unlink()
    none = ConsentLog(path)
    with pytest.raises(PrivacyError, match="the ledger knows of 3 decisions"):
        works_of(tmp_path, none, portfolio())
    # Another decision of as many lines is another log, too.
    decide(path, WORKS[:3], "ai_training", "out", "2026-03-02T10:00:00+00:00")
    with pytest.raises(PrivacyError, match="are not these"):
        works_of(tmp_path, ConsentLog(path), portfolio())


@pytest.mark.parametrize(
    "values",
    [
        ("a" * 63, "ai_training", "in"),
        ("G" * 64, "ai_training", "in"),
        (WORKS[0], "search", "in"),
        (WORKS[0], "ai_training", "maybe"),
    ],
)
def test_what_is_no_decision_is_refused_and_nothing_is_written(tmp_path, values):
    artwork, purpose, way = values
    with pytest.raises(PrivacyError, match="no decision"):
        decide(tmp_path / "consent.jsonl", [WORKS[1], artwork], purpose, way, NOW)
    assert not (tmp_path / "consent.jsonl").exists()


def test_a_line_holds_what_was_decided_and_when(tmp_path):
    (line, *_) = written(tmp_path).read_text().splitlines()
    assert json.loads(line)["decision"] == {
        "artwork": WORKS[0],
        "purpose": "ai_training",
        "way": "out",
        "at": NOW,
    }
    assert ConsentLog(tmp_path / "consent.jsonl").decisions[0] == Decision(
        WORKS[0], "ai_training", "out", NOW
    )
