"""From scores to findings: verdicts follow from intervals, baselines and controls, and from nothing else."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attacks.membership.scores import MembershipScores
from attacks.roc import auc
from fedstyle_secure.audit.blind import Blind
from fedstyle_secure.audit.findings import (
    Finding,
    judge,
    not_run,
    read_about,
    read_findings,
    write_findings,
)
from fedstyle_secure.audit.limits import Limit
from fedstyle_secure.audit.measures import Setting, guessing, identification, membership
from fedstyle_secure.audit.updates import ONE, ROUNDS
from fedstyle_secure.errors import AuditError
from fedstyle_secure.privacy.events import SampledGaussian

HOW = Setting(ONE, 0, 0.95, 1.0)
SURE = Setting(ROUNDS, 0, 0.95, 1.0)


@pytest.mark.parametrize(
    ("leaks", "won", "able", "verdict"),
    [
        (True, True, True, "leaks"),
        (True, False, True, "leaks"),
        (True, False, False, "leaks"),
        (False, True, True, "not broken by this attack"),
        (False, False, True, "inconclusive"),
        (False, True, False, "inconclusive"),
    ],
)
def test_the_verdict(leaks, won, able, verdict):
    assert judge(leaks, won, able) == verdict


@pytest.mark.parametrize(
    ("n", "verdict"), [(4, "inconclusive"), (7, "inconclusive"), (8, "leaks"), (10, "leaks")]
)
def test_too_few_targets_are_never_a_sign_of_safety(n, verdict):
    """At 0.995 it takes eight more wins than the blind run has: all of fewer pictures prove nothing."""
    how, first, last = Setting(ONE, 0, 0.995, 1.0), np.ones(n, int), np.full(n, 50)
    limit = Limit([SampledGaussian(0.0)])
    assert identification(how, first, last, 100, limit, first).verdict == verdict
    lost = identification(how, last, last, 100, limit, first)
    assert lost.verdict == ("inconclusive" if n < 8 else "not broken by this attack")
    assert (f"had {n} trials, of which not even all" in lost.reason) == (n < 8)


def test_an_artist_who_could_not_be_shown_to_leak_is_not_called_safe():
    """Five pictures of either kind: not even perfect scores lie above a blind guess of 0.8."""
    truth = np.tile(np.arange(10) < 5, 4)
    artists = np.repeat(list("abcd"), 10)
    scores, control = _scores(np.where(truth, 2.0, 1.0) + np.arange(40) / 1e3), (_scores(truth * 1.0), truth)
    blind = Blind(0.5, own={"a": 0.8})
    found = membership(SURE, scores, truth, artists, blind, Limit([]), control, [0.3]).findings
    own = {row.target: row for row in found if row.target != "all"}
    assert own["a"].value == 1.0
    assert own["a"].baseline == 0.8
    assert own["a"].verdict == "inconclusive"
    assert own["b"].baseline == 0.5
    assert "not even all could have shown a leak" in own["a"].reason
    assert found[0].verdict == "leaks"


def test_no_limit_is_stated_where_members_differ_without_any_model():
    """Then scores above every limit of the mechanism are no bug: here sound noise, and an AUC of 1."""
    truth, artists = np.arange(120) < 80, np.full(120, "a")
    perfect = (_scores(truth * 1.0 + np.arange(120) / 1e3), truth)
    limit = Limit([SampledGaussian(20.0)])
    apart = membership(SURE, perfect[0], truth, artists, Blind(0.8, 0.005), limit, perfect, [0.1])
    alike = membership(SURE, perfect[0], truth, artists, Blind(0.8, 0.02), limit, perfect, [0.1])
    assert apart.findings[0].bound is None
    assert not any(row.alarm for row in apart.findings)
    assert "differ without any model" in apart.findings[0].reason
    assert apart.findings[1].verdict == "not run"
    assert apart.roc is not None
    assert apart.roc[1] is None
    assert alike.findings[0].alarm
    assert alike.findings[0].bound < 0.6


def test_a_prior_that_finds_pictures_by_itself_raises_no_alarm():
    """The guarantee bounds what an update adds; what is known without it may be found under any guarantee."""
    first, last = np.ones(20, int), np.full(20, 50)
    strong = Limit([SampledGaussian(20.0)])
    known = identification(HOW, first, first, 100, strong, first)
    assert not known.alarm
    assert known.bound > 0.9
    assert identification(HOW, first, last, 100, strong, first).alarm


def test_an_attack_that_wins_more_often_than_its_prior_leaks_although_the_prior_is_good():
    """45 of 60 against 33: exact McNemar says 2e-4, though the interval of 45 of 60 holds 33 of 60 nearly."""
    ranks, prior = np.where(np.arange(60) < 45, 1, 9), np.where(np.arange(60) < 33, 1, 9)
    found = identification(Setting(ONE, 0, 0.995, 1.0), ranks, prior, 100, Limit([]), ranks)
    assert found.verdict == "leaks"


def test_an_identification_counts_beyond_chance_and_beyond_not_looking():
    first, last = np.ones(20, int), np.full(20, 50)
    limit = Limit([SampledGaussian(0.0)])
    assert identification(HOW, first, last, 100, limit, first).verdict == "leaks"
    # A prior that finds them too shows that the update was not what gave them away.
    assert identification(HOW, first, first, 100, limit, first).verdict == "inconclusive"
    half = np.where(np.arange(20) < 10, 1, 50)
    assert identification(HOW, half, half, 100, limit, first).verdict == "not broken by this attack"
    assert identification(HOW, last, last, 100, limit, first).verdict == "not broken by this attack"
    assert identification(HOW, last, last, 100, limit, last).verdict == "inconclusive"


def test_what_lies_above_its_baseline_is_never_told_as_not_broken():
    """Six of ten among 40, none without looking: [0.17, 0.94] over 0.025; McNemar's 1/64 is above 0.005."""
    ranks, last = np.where(np.arange(10) < 6, 1, 9), np.full(10, 30)
    found = identification(Setting(ONE, 0, 0.995, 1.0), ranks, last, 40, Limit([]), np.ones(20, int))
    assert found.low > found.baseline
    assert found.verdict == "inconclusive"
    assert "10 trials are too few to tell it from one that looks at nothing" in found.reason
    few = identification(Setting(ONE, 0, 0.95, 1.0), ranks, last, 40, Limit([]), np.ones(20, int))
    assert few.verdict == "leaks"


def test_a_figure_above_its_bound_is_an_alarm():
    first, last = np.ones(20, int), np.full(20, 50)
    found = identification(HOW, first, last, 100, Limit([SampledGaussian(5.0)]), first)
    assert found.bound == pytest.approx(0.0172, abs=2e-3)
    assert found.alarm
    assert not identification(HOW, last, last, 100, Limit([SampledGaussian(5.0)]), first).alarm


def _scores(values):
    return MembershipScores.of("x", np.asarray(values, float))


def test_membership_counts_beyond_the_blind_baseline_and_each_artist_pays_for_the_search():
    rng = np.random.default_rng(0)
    truth = np.tile(np.arange(40) < 30, 5)
    artists = np.repeat([f"a{i}" for i in range(5)], 40)
    scores = rng.normal(size=200) + truth
    control = (_scores(rng.normal(size=200) + 3 * truth), truth)
    limit = Limit([SampledGaussian(1.0)], hops=2)
    found = membership(SURE, _scores(scores), truth, artists, Blind(0.5), limit, control, [0.3]).findings
    whole, rate, each = found[0], found[1], found[2:]
    assert whole.verdict == "leaks"
    own = {
        artist: (scores[(artists == artist) & truth], scores[(artists == artist) & ~truth])
        for artist in artists
    }
    assert {row.target: row.value for row in each} == {artist: auc(*parts) for artist, parts in own.items()}
    assert [row.value for row in each] == sorted((row.value for row in each), reverse=True)
    assert [row.confidence for row in each] == [pytest.approx(1 - 0.05 / 5)] * 5
    assert (rate.metric, rate.fpr) == ("TPR at an FPR", 0.3)
    assert rate.baseline >= 0.3
    blind = membership(SURE, _scores(scores), truth, artists, Blind(0.95), limit, control, [0.1]).findings
    assert blind[0].verdict == "not broken by this attack"
    assert blind[0].baseline == 0.95


def test_scores_that_say_nothing_rarely_leak():
    """A hundred null audits at 0.95: about 2.5 should "leak"; 9 or more have a chance below 1e-3."""
    rng, leaks = np.random.default_rng(1), 0
    truth, artists = np.arange(120) < 80, np.full(120, "a")
    limit, control = Limit([SampledGaussian(1.0)]), (_scores(rng.normal(size=120) + 3 * truth), truth)
    for _ in range(100):
        drawn = _scores(rng.normal(size=120))
        leaks += (
            membership(SURE, drawn, truth, artists, Blind(0.5), limit, control, [0.1]).findings[0].verdict
            == "leaks"
        )
    assert leaks < 9


def test_a_rate_that_the_non_members_cannot_show_is_not_run():
    truth = np.arange(60) < 40
    drawn = _scores(np.random.default_rng(2).normal(size=60))
    found = membership(
        SURE, drawn, truth, np.full(60, "a"), Blind(0.5), Limit([]), (drawn, truth), [0.01]
    ).findings
    assert found[1].verdict == "not run"
    assert "needs 100 non-members, and there are 20" in found[-1].reason
    few = membership(
        SURE, drawn, truth, np.full(60, "a"), Blind(0.5), Limit([]), (drawn, truth), [0.05]
    ).findings
    assert few[-1].verdict == "not run"
    assert "20 non-members leave the FPR anywhere" in few[-1].reason


def test_too_few_trials_to_show_anything_are_said_to_be_so():
    """Six of six reach 0.54 at 95 %, which a baseline of 0.6 is above."""
    right = np.ones(6, bool)
    found = guessing(HOW, right, 0.6, None, right)
    assert found.verdict == "inconclusive"
    assert "of which not even all could have shown a leak" in found.reason


def test_guesses_count_beyond_their_baseline():
    right, wrong = np.ones(10, bool), np.zeros(10, bool)
    assert guessing(HOW, right, 0.5, None, right).verdict == "leaks"
    assert guessing(HOW, wrong, 0.5, None, right).verdict == "not broken by this attack"
    assert guessing(HOW, wrong, 0.5, None, wrong).verdict == "inconclusive"


def test_findings_come_back_as_they_were_written(tmp_path):
    row = identification(HOW, np.ones(5, int), np.full(5, 2), 10, Limit([]), np.ones(5, int))
    rows = [row, not_run(row, "no record was kept")]
    write_findings(tmp_path / "findings.json", rows)
    assert read_findings(tmp_path / "findings.json") == rows
    (tmp_path / "findings.json").write_text('[{"view": "platform"}]')
    with pytest.raises(AuditError, match="unknown or missing"):
        read_findings(tmp_path / "findings.json")


@given(fpr=st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_a_rate_comes_back_to_the_last_bit(fpr):
    row = replace(ROUNDS.blank(0, "no record was kept"), metric="TPR at an FPR", fpr=fpr)
    text = json.dumps(row.to_dict())
    assert Finding.from_dict(json.loads(text)) == row


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"metric": "TPR at 0.01 FPR"}, "metric 'TPR at 0.01 FPR' is none of membership AUC"),
        ({"metric": "TPR at an FPR"}, "fpr None: a TPR at an FPR has one"),
        ({"metric": "TPR at an FPR", "fpr": 1.0}, "fpr 1.0"),
        ({"metric": "TPR at an FPR", "fpr": "0.01"}, "fpr '0.01'"),
        ({"fpr": 0.01}, "fpr 0.01: a TPR at an FPR has one between 0 and 1, others none"),
        ({"fpr": "0.01"}, "fpr '0.01'"),
    ],
)
def test_a_metric_is_one_of_a_closed_set_and_a_rate_has_its_number(values, problem):
    with pytest.raises(AuditError, match=problem):
        replace(ROUNDS.blank(0, "no record was kept"), **values)


def test_findings_of_an_audit_of_the_first_format_are_refused_by_name(tmp_path):
    """There a rate stood in the metric's name, with three digits."""
    (tmp_path / "audit.json").write_text('{"format": 1}')
    with pytest.raises(
        AuditError, match=r"audit\.json: format 1 is not known, this reads 2; `fedstyle audit --f"
    ):
        read_about(tmp_path / "audit.json")
    old = ROUNDS.blank(0, "no record was kept").to_dict()
    del old["fpr"]
    (tmp_path / "findings.json").write_text(json.dumps([old]))
    with pytest.raises(AuditError, match=r"findings\.json: cannot be read: finding: key 'fpr' is unknown or"):
        read_findings(tmp_path / "findings.json")


def test_a_row_without_a_figure_says_why():
    row = identification(HOW, np.ones(5, int), np.full(5, 2), 10, Limit([]), np.ones(5, int))
    with pytest.raises(AuditError, match="why it was not run"):
        not_run(row, "")
    with pytest.raises(AuditError, match="not finite"):
        Finding(**{**row.to_dict(), "value": float("nan"), "pictures": ()})
