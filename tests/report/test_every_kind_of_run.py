"""A run with nothing on, and one with the guarantee for whole artists, get reports that hold too."""

import importlib.util
from pathlib import Path

import pytest

import fedstyle_secure
from fedstyle_secure.policy.checks import check
from fedstyle_secure.report.formats import report
from fedstyle_secure.report.page.pieces import plain
from fedstyle_secure.report.run.answers import five_lines
from fedstyle_secure.report.run.facts import read_facts

_SPEC = importlib.util.spec_from_file_location("page_checks", Path(__file__).with_name("test_html.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
_CHECKS = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_CHECKS)

KINDS = {
    "plain": ["privacy.dp=off", "secure_sum.enabled=false"],
    "artist": ["privacy.unit=artist", "cards.consent=none"],
    "counts": ["metrics.releases=1", "cards.consent=none"],
    "own": ["privacy.noise=own"],
    "sealed": ["secure_sum.updates=true", "style.rank=auto", "style.scatter=auto"],
}
COVERED = {
    "plain": "nothing",
    "artist": "sum",
    # Nobody is found by name, so nobody pays for counts of who was.
    "counts": "prototypes, update",
    "own": "card, prototypes, update",
    "sealed": "card, prototypes, scatter, update",
}
SHARED = ("artist", "counts", "sealed")
"""Kinds of run in which artists share the noise of sums."""


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_a_report_of_every_kind_of_run(tiny, tmp_path, kind):
    settings = tiny.override(["run.rounds=1", *KINDS[kind]])
    run = fedstyle_secure.train(settings, tmp_path / "runs" / "one").folder
    paths = report(run.path, date="2026-11-21")
    assert all(path.stat().st_size > 1000 for path in paths if path.name != "findings.csv")
    assert _CHECKS.check_numbers(run, paths[0].read_text()) > 20
    guarantee = plain(five_lines(read_facts(run.path)).rows[3][2])
    (tmp_path / "policy.toml").write_text("[epsilon]\nartist = 1000\n")
    assert ("For one artist with the whole portfolio: no guarantee" in guarantee) == (kind != "artist")
    assert bool(check(run.path, tmp_path / "policy.toml")) == (kind != "artist")
    if kind == "plain":
        assert "For one artwork: no guarantee" in guarantee
        assert "No noise was added in this run" in paths[0].read_text()
    page = " ".join(data for data, _ in _CHECKS.Page(paths[0].read_text()).texts)
    # A noiseless release has a cost in the ledger too, and it covers nothing.
    assert f"Covered for the unit artwork: {COVERED[kind]}." in page
    assert ("Released without a guarantee for an artwork: nothing" in page) == (kind != "plain")
    assert ("is accounted for" in page) == (kind != "plain")
    _says_against_whom_noise_holds(page, kind)
    # What is summed is not told as leaving in clear, and the other way round.
    assert ("not sealed (updates, cards) leaves in clear" in page) == (kind in ("plain", "counts", "own"))
    assert ("Updates are summed under encryption." in page) == (kind in ("artist", "sealed"))


def _says_against_whom_noise_holds(page, kind):
    words = " ".join(page.split())
    shared = kind in SHARED
    # Four artists: a smallest cohort of three, one of whom may collude.
    whom = (
        "epsilon counts on the noise of 2 of them: of the smallest cohort, 3 , less the 1 whose noise others"
    )
    assert (whom.replace(" ,", ",") in words.replace(" ,", ",")) == shared
    for told in (
        "It holds against everybody who sees nothing of a sum but its opening, helped by as many artists",
        "It does not hold against platform and opener together",
        "what these figures say of sums does not hold against platform and opener together",
        "what they read then has one share of it, and nothing bounds that",
    ):
        assert (told in words) == shared, told
    # The parameters that it follows from stand with each release.
    assert ("honest 2" in words) == shared
    assert ("which holds against everybody." in words) == (kind in ("counts", "sealed"))
    assert ("each artist's own noise, where there is any, is what bounds that." in words) == (kind == "own")


def test_a_report_of_a_run_whose_sum_was_refused(tiny, tmp_path, monkeypatch):
    from fedstyle_secure.secure_sum import opener
    from fedstyle_secure.secure_sum.codes import Code, Refusal

    def refuse(*_):
        raise Refusal(Code.RANGE)

    monkeypatch.setattr(opener, "_decrypted", refuse)
    run = fedstyle_secure.train(tiny.override(["run.rounds=1"]), tmp_path / "runs" / "one").folder
    assert [line["sum"]["artists"] for line in run.metrics() if line["sum"]] == [0]
    paths = report(run.path, date="2026-11-21")
    assert "a sum that was not opened" in paths[0].read_text()
