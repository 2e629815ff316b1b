"""The five lines say what the findings say: the worst news first, and never more."""

import pytest

from fedstyle_secure.report.page.pieces import Blank, Para, plain
from fedstyle_secure.report.run.answers import QUESTIONS, answer, five_lines
from fedstyle_secure.report.run.checklist import QUESTIONS as CHECKLIST
from fedstyle_secure.report.run.checklist import entries
from fedstyle_secure.report.run.facts import read_facts


def told(run, audited, change):
    audited(run, change)
    facts = read_facts(run.path)
    verdict, line = answer(facts, ("L0", "L1"))
    return verdict, plain(line), facts


def only(make, **values):
    return lambda rows, make: [make(**values)]


def test_a_leak_is_told_with_its_figure_and_its_views(run, audited):
    verdict, words, _ = told(
        run,
        audited,
        lambda rows, make: [
            make(),
            make(view="buyer", value=0.61, low=0.58, high=0.64, verdict="leaks"),
            make(view="platform_opener", value=0.8121, low=0.7, high=0.9, verdict="leaks"),
        ],
    )
    assert verdict == "leaks"
    assert "0.812 (between 0.700 and 0.900)" in words
    assert "It leaks to: “Platform and opener” and “Buyer”" in words
    assert "Not broken in the view of: “Platform”" in words


def test_a_finding_above_its_bound_goes_before_everything(run, audited):
    verdict, words, _ = told(
        run,
        audited,
        lambda rows, make: [make(verdict="leaks", low=0.6), make(value=0.99, low=0.96, verdict="leaks")],
    )
    assert verdict == "alarm"
    assert "a bug in the defence or in the attack" in words
    assert "0.990" in words


def test_inconclusive_is_never_told_as_not_broken(run, audited):
    verdict, words, _ = told(
        run, audited, lambda rows, make: [make(), make(attack="Weak", verdict="inconclusive", reason="few")]
    )
    assert verdict == "inconclusive"
    assert "Not known: “Weak” failed even" in words
    assert "Not broken by “Gradient alignment”" in words


@pytest.mark.parametrize("worse", ["inconclusive", "by design"])
def test_an_attack_with_a_worse_verdict_elsewhere_is_not_named_as_failing_too(run, audited, worse):
    both = {"attack": "Both", "reason": "told"}
    verdict, words, _ = told(
        run,
        audited,
        lambda rows, make: [
            make(), make(**both), make(view="buyer", verdict=worse, **both),
        ],
    )  # fmt: skip
    assert verdict == worse
    assert words.count("“Both”") == 1
    assert words.rstrip(".").endswith("“Gradient alignment”")


def test_nothing_run_is_told_as_nothing_looked_at(run, audited):
    from fedstyle_secure.audit.findings import not_run

    verdict, words, facts = told(run, audited, lambda rows, make: [not_run(make(), "sealed")])
    assert verdict == "not run"
    assert "Nobody looked" in words
    assert words.endswith("Why: sealed.")
    gaps = plain(five_lines(facts).rows[-1][2])
    assert gaps.startswith("Rows marked “not run”, each with its reason: 1.")
    assert "nothing was run for: membership inference, attribute inference" in gaps


def test_the_artist_who_fares_worst_is_named_where_all_together_hide_it(run, audited):
    artist = read_facts(run.path).artists[1][1]
    rows = lambda _, make: [make(), make(target=artist, value=0.81, low=0.45, high=0.97)]  # noqa: E731
    _, words, _ = told(run, audited, rows)
    assert f"Largest figure of a single artist: {artist}, membership AUC 0.810 (between 0.450 and" in words


def test_what_canaries_prove_stands_with_the_guarantee_and_answers_nothing_about_pictures(run, audited):
    proof = {"attack": "Lower bound", "metric": "epsilon lower bound", "value": 3.1, "low": 3.1, "high": None}
    rows = lambda _, make: [make(), make(**proof, baseline=0.0, bound=3.5, verdict="leaks")]  # noqa: E731
    verdict, words, facts = told(run, audited, rows)
    assert verdict == "not broken by this attack"
    assert "3.1" not in words
    guarantee = plain(five_lines(facts).rows[3][2])
    assert "at least epsilon 3.1 was given away by what they were sought in" in guarantee
    assert "the ledger states 3.50" in guarantee


def test_a_proof_above_the_ledger_is_an_alarm_in_the_answer_too(run, audited):
    proof = {"metric": "epsilon lower bound", "value": 3.6, "low": 3.6, "high": None}
    rows = lambda _, make: [make(), make(**proof, baseline=0.0, bound=3.5, verdict="leaks")]  # noqa: E731
    assert told(run, audited, rows)[0] == "alarm"


def test_there_are_five_lines_with_and_without_an_audit(bare):
    rows = five_lines(read_facts(bare.path)).rows
    assert len(rows) == 5
    assert "no audit was run" in plain(rows[-1][2])
    assert "no guarantee" in plain(rows[3][2])
    assert [levels for _, _, levels in QUESTIONS] == [("L4", "L5"), ("L0", "L1"), ("L2", "L3")]


def test_the_checklist_has_forty_two_entries_in_order_and_none_is_empty(run, bare):
    for facts in (read_facts(run.path), read_facts(bare.path)):
        found = [entry for _, group in entries(facts) for entry in group]
        assert [entry.number for entry in found] == list(range(1, 43))
        assert all(entry.blocks for entry in found)
        assert all(entry.asked_by for entry in found)
    assert sum(len(questions) for questions in CHECKLIST.values()) == 42


@pytest.mark.parametrize("number", [1, 2, 4, 5, 7, 9, 11, 22, 37, 39, 41, 42])
def test_what_only_a_person_can_say_is_left_blank(run, number):
    entry = next(e for _, group in entries(read_facts(run.path)) for e in group if e.number == number)
    blanks = [p for b in entry.blocks if isinstance(b, Para) for p in b.line if isinstance(p, Blank)]
    assert blanks
    assert all(len([b]) == 1 for b in blanks)
