"""A withdrawal from a finished run: whatever this installation serves or says afterwards knows of it."""

import csv
import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest

import fedstyle_secure
from fedstyle_secure.accounts import accounts, withdraw, write_csv
from fedstyle_secure.audit.integrity import check_finished
from fedstyle_secure.errors import RunError
from fedstyle_secure.policy.checks import check
from fedstyle_secure.privacy.ledger import Ledger
from fedstyle_secure.report.formats import report
from fedstyle_secure.report.page.pieces import Bullets, Figure, plain
from fedstyle_secure.report.run.checklist import entries
from fedstyle_secure.report.run.costs import spending
from fedstyle_secure.report.run.facts import read_facts
from fedstyle_secure.report.run.findings import panels
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.studios import claim, studio_home
from fedstyle_secure.system import State
from fedstyle_secure.systems.style.search import search, served_cards

GONE = "mosaic-1"


def found(run, query):
    return [match.artist for match in search(run, query, top=9)]


def ledger_of(run, artist=GONE):
    return studio_home(run.path.parent / "studios", run.config().gallery, artist) / "ledger.jsonl"


def test_no_search_lists_who_withdrew_from_a_finished_run(own, query):
    everyone = found(own, query)
    assert GONE in everyone
    assert len(everyone) == 4
    withdraw(own, GONE)
    assert found(own, query) == [artist for artist in everyone if artist != GONE]
    cards = served_cards(own)
    assert set(cards.withdrawn) == {GONE}
    assert cards.rows.shape == (3, 8)
    assert cards.checked


def test_every_run_on_the_same_studios_knows_of_it(own, query):
    """The withdrawal is the artist's, not the run's."""
    other = RunFolder(own.path.parent / "twin")
    shutil.copytree(own.path, other.path)
    withdraw(other, GONE)
    assert GONE not in found(own, query)
    assert GONE not in found(other, query)


def test_nothing_in_the_run_is_edited_and_it_still_passes_its_checks(own):
    before = {path: path.read_bytes() for path in own.path.rglob("*") if path.is_file()}
    withdraw(own, GONE)
    assert {path: path.read_bytes() for path in own.path.rglob("*") if path.is_file()} == before
    assert set(check_finished(own).own) == set(served_cards(own).artists) | {GONE}


def test_who_has_a_damaged_ledger_or_none_among_the_others_is_not_listed(own, query):
    """Nobody can tell whether it withdrew, and a torn ledger must not put a card up again."""
    withdraw(own, GONE)
    path = ledger_of(own)
    path.write_bytes(path.read_bytes()[:-20])
    assert GONE not in found(own, query)
    assert served_cards(own).unknown == (GONE,)
    path.unlink()
    assert GONE not in found(own, query)
    path.with_suffix(".head").unlink()
    assert GONE not in found(own, query)


def test_a_copy_without_studios_takes_those_that_are_named(own, query, tmp_path):
    withdraw(own, GONE)
    shutil.copytree(own.path, tmp_path / "elsewhere" / "run")
    copy, studios = RunFolder(tmp_path / "elsewhere" / "run"), own.path.parent / "studios"
    assert not served_cards(copy).checked
    assert set(served_cards(copy, studios).withdrawn) == {GONE}
    assert GONE not in [match.artist for match in search(copy, query, 9, studios)]
    claim(tmp_path / "elsewhere" / "studios")
    assert not served_cards(copy).checked
    with pytest.raises(RunError, match=r"are not the studios that .* began with"):
        served_cards(copy, tmp_path / "elsewhere" / "studios")
    facts = read_facts(copy.path, studios=studios)
    assert set(facts.own["withdrawn"]) == {GONE}
    assert facts.own["withdrawal_unknown"] == []


def test_run_and_studios_moved_together_still_know_of_it(own, query, tmp_path):
    withdraw(own, GONE)
    own.path.parent.rename(tmp_path / "moved")
    assert GONE not in found(RunFolder(tmp_path / "moved" / "run"), query)


def test_where_no_studios_are_the_search_says_what_it_cannot_know(own, query):
    shutil.rmtree(own.path.parent / "studios")
    cards = served_cards(own)
    assert not cards.checked
    assert len(found(own, query)) == 4


def test_nobody_is_found_where_all_have_withdrawn(own, query):
    for artist in served_cards(own).artists:
        withdraw(own, artist)
    with pytest.raises(RunError, match="every artist with a card has withdrawn"):
        found(own, query)


def test_a_withdrawal_needs_no_gallery_and_the_first_one_counts(own, monkeypatch):
    monkeypatch.setattr("fedstyle_secure.accounts.open_gallery", lambda _: pytest.fail("opened the gallery"))
    first = withdraw(own, GONE)
    assert first.ledger == ledger_of(own)
    assert first.at == Ledger(first.ledger).withdrawal.at
    monkeypatch.setattr("fedstyle_secure.privacy.gate.now", lambda: "2999-01-01T00:00:00+00:00")
    assert withdraw(own, GONE) == first
    with pytest.raises(RunError, match="'nobody' is no artist of this run"):
        withdraw(own, "nobody")


@pytest.mark.long
def test_who_withdrew_after_the_last_round_is_not_in_a_run_that_is_resumed(tiny, tmp_path):
    """Killed after its last round and before its end: nobody is asked any more who could say so."""

    def killed(line, rounds):
        if line["round"] == rounds - 1:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        fedstyle_secure.train(tiny, tmp_path / "runs" / "run", on_round=killed)
    withdraw(RunFolder(tmp_path / "runs" / "run"), GONE)
    run = fedstyle_secure.train(tiny, tmp_path / "runs" / "run", resume=True)
    state = State.load(run.folder.product_file)
    assert GONE not in state.texts["cards"]
    assert len(state.public["cards"]) == 3
    (row,) = (row for row in run.summary["privacy"]["per_artist"] if row["artist"] == GONE)
    assert row["withdrawn"]
    told = text_of(read_facts(run.folder.path))
    assert f"{GONE} withdrew at {Ledger(ledger_of(run.folder)).withdrawal.at}, before the run ended" in told


def text_of(facts):
    (entry,) = (e for _, group in entries(facts) for e in group if e.title.startswith("Withdrawals"))
    return " ".join(plain(line) for block in entry.blocks for line in lines_of(block))


def lines_of(block):
    return block.items if isinstance(block, Bullets) else [block.line]


def column(facts):
    table = spending(facts)[0]
    return {plain(row[0]): row[-1][0] for row in table.rows}


def test_a_later_report_tells_it_with_its_date_and_what_cannot_be_undone(own):
    facts = read_facts(own.path)
    assert set(column(facts).values()) == {"no"}
    assert "No artist whose own ledger is here has withdrawn" in text_of(facts)
    at = withdraw(own, GONE).at
    facts = read_facts(own.path)
    cells = column(facts)
    assert isinstance(cells[GONE], Figure)
    assert cells[GONE].text == at
    assert facts.sources.value(cells[GONE].source) == at
    assert [cells[a] for a in cells if a != GONE] == ["no"] * 3
    told = text_of(facts)
    assert f"{GONE} withdrew at {at}, after the run had ended" in told
    assert "cannot be called back" in told
    written = {path.name: path.read_text() for path in report(own.path, ["html", "json"])}
    assert at in written["report.html"]
    assert at in written["report.json"]
    assert at in written["dpia.md"]


def test_a_report_without_the_ledgers_claims_nothing(own):
    withdraw(own, GONE)
    shutil.rmtree(own.path.parent / "studios")
    facts = read_facts(own.path)
    assert set(column(facts).values()) == {"not known"}
    assert "nobody can tell by now: 4" in text_of(facts)


def test_pictures_are_kept_back_once_an_attacked_artist_has_withdrawn(own):
    audited = {"artists": [GONE, "impasto-1"], "show_pictures": True, "views": []}
    name, row = "pictures.png", SimpleNamespace(pictures=("pictures.png",))
    withdraw(own, GONE)
    (block,) = panels(replace(read_facts(own.path), audit=audited, findings=(row,)))
    assert plain(block.line).endswith(f"have withdrawn: {GONE}.")
    assert name not in plain(block.line)


def test_pictures_are_kept_back_where_nobody_can_tell_who_has_withdrawn(own):
    audited = {"artists": [GONE, "impasto-1"], "show_pictures": True, "views": []}
    row = SimpleNamespace(pictures=("pictures.png",))
    shutil.rmtree(own.path.parent / "studios")
    (block,) = panels(replace(read_facts(own.path), audit=audited, findings=(row,)))
    assert f"can tell whether these artists have withdrawn: {GONE}, impasto-1." in plain(block.line)


def test_a_policy_can_ask_that_nobody_has_withdrawn(own, tmp_path):
    policy = tmp_path / "policy.toml"
    policy.write_text("[consent]\nallow_withdrawn = false\n")
    assert check(own.path, policy) == []
    at = withdraw(own, GONE).at
    (failed,) = check(own.path, policy)
    assert (failed.line, failed.key, failed.subject) == (2, "consent.allow_withdrawn", f"artist {GONE}")
    assert failed.problem == f"withdrew at {at}, and the model keeps what it released"
    policy.write_text("[consent]\n")
    assert len(check(own.path, policy)) == 1
    shutil.rmtree(own.path.parent / "studios")
    failed = check(own.path, policy)
    assert len(failed) == 4
    assert "nobody can tell whether it has withdrawn" in failed[0].problem
    policy.write_text("[consent]\nallow_withdrawn = true\n[epsilon]\nartwork = 1000\n")
    assert check(own.path, policy) == []


def test_the_ledgers_export_tells_it_too(own, tmp_path):
    at = withdraw(own, GONE).at
    write_csv(tmp_path / "x.csv", accounts(own, each=True))
    with (tmp_path / "x.csv").open() as file:
        told = {(row["artist"], row["withdrawn"]) for row in csv.DictReader(file)}
    assert (GONE, at) in told
    assert sum(bool(when) for _, when in told) == 1
    assert json.loads(json.dumps([a.to_dict() for a in accounts(own, GONE)]))[0]["withdrawn"] == at
