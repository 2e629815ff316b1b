"""A run of artists whose studios hold more than it: another unit before, and a withdrawal before it began."""

import pytest

import fedstyle_secure
from fedstyle_secure.accounts import accounts, withdraw
from fedstyle_secure.cli import _before
from fedstyle_secure.report.page.pieces import plain
from fedstyle_secure.report.run.answers import asked
from fedstyle_secure.report.run.costs import spending
from fedstyle_secure.report.run.facts import read_facts


@pytest.fixture(scope="module")
def after(tiny, tmp_path_factory):
    """A run of the unit artist after one of the unit artwork, of which an artist withdrew between the two."""
    home = tmp_path_factory.mktemp("after") / "runs"
    first = fedstyle_secure.train(tiny, home / "first")
    withdraw(first.folder, "mosaic-1")
    settings = ("privacy.unit=artist", "privacy.noise_multiplier=5", "privacy.min_cohort=3")
    return fedstyle_secure.train(tiny.override([*settings, "training.local_steps=0"]), home / "second")


def test_the_summary_line_says_why_nothing_is_guaranteed_over_everything(after):
    told = _before(after)
    assert "over everything, there is no guarantee per artist, as of " in told
    assert "were made for the unit artwork" in told
    assert "fedstyle ledger " in told


def test_the_ledger_says_it_of_each_unit(after):
    found = {account.artist: account for account in accounts(after.folder)}
    why = found["impasto-1"].why_none("artist")
    assert "were made for the unit artwork" in why
    assert found["impasto-1"].to_dict()["no_guarantee"]["artist"] == why


def test_the_reports_cell_says_it_and_counts_who_took_part(after):
    facts = read_facts(after.folder.path)
    (paragraph,) = asked(facts)
    said = plain(paragraph.line)
    assert "trained over 3 artists" in said
    assert "these released nothing for it: mosaic-1." in said
    table = spending(facts)[0]
    assert plain(table.head[4]) == "Per artist, all runs until this one ended"
    assert {plain(row[4]) for row in table.rows} == {"no guarantee: released for the unit artwork"}


def test_a_run_without_any_of_that_says_nothing_of_it(finished):
    assert _before(fedstyle_secure.Run.open(finished.path)) == ""
    facts = read_facts(finished.path)
    said = plain(asked(facts)[0].line)
    assert "trained over 4 artists" in said
    assert "released nothing" not in said
