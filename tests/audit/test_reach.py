"""What an audit of so many works could tell is what its own code makes of scores that are that good."""

from dataclasses import replace

import numpy as np
import pytest

from attacks.roc import newcombe_interval
from fedstyle_secure.audit.blind import Blind
from fedstyle_secure.audit.findings import RATE
from fedstyle_secure.audit.limits import Limit
from fedstyle_secure.audit.measures import Setting, identification, membership
from fedstyle_secure.audit.model import GRADIENT
from fedstyle_secure.audit.reach import _scores, reach
from fedstyle_secure.audit.settings import AuditSettings
from fedstyle_secure.audit.updates import ONE

SMALL = [(30, 10)] * 5
"""The gallery of five artists whose audit proved little, and nothing had said so before."""


@pytest.fixture(scope="module")
def small():
    found = reach(SMALL, AuditSettings())
    assert found is not None
    return found


def judged(found, area):
    """The rows that an audit would make of an attack with this AUC."""
    inside, outside = _scores(found.members, found.non_members, area)
    scores, truth = GRADIENT.scores([inside, outside]), np.arange(200) < found.members
    how = Setting(GRADIENT, 0, found.confidence, 0.0)
    perfect = GRADIENT.scores([np.ones(40), np.zeros(40)]), np.arange(80) < 40
    whose, blind = np.repeat("ann", 200), Blind(0.5, 1.0, {})
    return membership(how, scores, truth, whose, blind, Limit([]), perfect, (0.01, 0.1)).findings


def test_the_least_auc_is_where_an_audit_begins_to_call_it_a_leak(small):
    assert 0.5 < small.least_auc < 0.7
    assert judged(small, small.least_auc + 0.01)[0].verdict == "leaks"
    assert judged(small, small.least_auc - 0.01)[0].verdict != "leaks"
    row = judged(small, 0.5)[0]
    assert (row.high - row.low) / 2 == pytest.approx(small.half_width)


def test_a_rate_is_missing_exactly_where_an_audit_would_not_state_it(small):
    stated = {row.fpr: row.value is not None for row in judged(small, 0.8) if row.metric == RATE}
    assert {rate.fpr: not rate.problem for rate in small.rates} == stated == {0.01: False, 0.1: False}
    for rate in small.rates:
        assert rate.needed > small.non_members
        enough = reach([(150, rate.needed)], AuditSettings(fpr=(rate.fpr,)))
        assert enough.rates[0].problem == ""
        less = reach([(150, int(rate.needed / 1.3))], AuditSettings(fpr=(rate.fpr,)))
        assert less.rates[0].problem


def test_the_least_number_named_is_where_an_audit_begins_to_call_it_a_leak(small):
    n, least = small.targets, small.least_named
    how, miss = Setting(ONE, 0, small.confidence, 0.0), np.full(n, 50)

    def verdict(named):
        ranks = np.where(np.arange(n) < named, 1, 50)
        return identification(how, ranks, miss, small.candidates, Limit([]), np.ones(n, int)).verdict

    assert verdict(least) == "leaks"
    assert verdict(least - 1) != "leaks"


def test_more_works_tell_more_and_few_tell_nothing(small):
    large = reach([(300, 100)] * 5, AuditSettings())
    assert large.half_width < small.half_width
    assert large.least_auc < small.least_auc
    none = reach([(2, 1)], AuditSettings())
    assert none.least_auc is None
    assert none.least_named is None
    assert "not even an AUC of 1" in " ".join(none.lines())
    assert reach([(0, 0)], AuditSettings()) is None


def test_whom_and_how_many_an_audit_tries_counts():
    many = [(30, 10)] * 20
    assert reach(many, AuditSettings(artists=16)).non_members == 160
    assert reach(many, AuditSettings(artists=0)).non_members == 200
    # Where each takes long, five artists have 160 works between them, half of which trained.
    dear = reach(SMALL, AuditSettings(tried=40), dear=True)
    assert (dear.members, dear.non_members) == (20, 20)


def test_it_is_said_what_would_help(small):
    said = " ".join(small.lines())
    assert "150 works that train against 50 held out, of 5 artists" in said
    assert "about 110 would hold it within twice 0.1" in said
    assert "gallery.test_fraction" in said
    assert "attack all" not in said
    assert "attack all 9 artists" in " ".join(replace(small, of=9).lines())
    assert newcombe_interval(*_scores(150, 50, small.least_auc + 1e-3), 0.995)[0] > 0.5
