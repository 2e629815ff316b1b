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
}


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
    covered = {"plain": "nothing", "artist": "sum", "counts": "prototypes, update"}[kind]
    assert f"Covered for the unit artwork: {covered}" in page
    assert ("Released without a guarantee for an artwork: nothing" in page) == (kind != "plain")
    assert ("is accounted for" in page) == (kind != "plain")


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
