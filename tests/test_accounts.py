"""What `fedstyle ledger` says, beside the summary and the accountants."""

import csv
import shutil

import pytest

import fedstyle_secure
from fedstyle_secure.accounts import accounts, write_csv
from fedstyle_secure.errors import PrivacyError, RunError
from fedstyle_secure.privacy.accounting import epsilon, rdp_epsilon
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.studios import studio_home


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory):
    config = tiny.override(["privacy.budget_epsilon=50"])
    return fedstyle_secure.train(config, tmp_path_factory.mktemp("accounts") / "runs" / "one")


def test_the_ledger_adds_up_to_the_summary(run):
    found = {account.artist: account for account in accounts(run.folder)}
    for row in run.summary["privacy"]["per_artist"]:
        account = found[row["artist"]]
        assert account.lines[-1].total == pytest.approx(row["epsilon_artwork"])
        assert account.spent["artwork"] == pytest.approx(row["lifetime_epsilon_artwork"])
        assert account.left == pytest.approx(50 - row["epsilon_artwork"])
        assert account.to_dict()["epsilon_artist"] is None


def test_each_line_has_its_own_cost_and_the_total_up_to_it(run):
    (account,) = accounts(run.folder, "mosaic-1", each=True)
    assert [len(line.entries) for line in account.lines] == [1] * 4
    totals = [line.total for line in account.lines]
    assert totals == sorted(totals)
    for line in account.lines:
        cost = (line.entries[0].artwork_cost,)
        assert line.rdp == pytest.approx(rdp_epsilon(cost, account.delta))
        assert line.grid == pytest.approx(epsilon(cost, account.delta), rel=0.01)
    (short,) = accounts(run.folder, "mosaic-1")
    assert [len(line.entries) for line in short.lines] == [1, 1, 2]
    assert short.lines[-1].total == totals[-1]


def test_csv_has_a_row_a_release_with_both_costs(run, tmp_path):
    write_csv(tmp_path / "x.csv", accounts(run.folder, each=True))
    with (tmp_path / "x.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 16
    assert {row["artist"] for row in rows} == {a.artist for a in accounts(run.folder)}
    assert float(rows[3]["epsilon_total"]) == pytest.approx(run.summary["privacy"]["epsilon_artwork_max"])
    assert rows[0]["artist_cost"] == "" != rows[0]["artwork_cost"]


def test_a_run_that_was_moved_away_still_tells_what_it_released(own, tmp_path):
    shutil.move(own.path, tmp_path / "archive")
    (account,) = accounts(RunFolder(tmp_path / "archive"), "mosaic-1", studios=tmp_path / "runs" / "studios")
    assert account.live
    (account,) = accounts(RunFolder(tmp_path / "archive"), "mosaic-1")
    assert not account.live
    summary = RunFolder(tmp_path / "archive").summary()
    assert account.lines[-1].total == pytest.approx(summary["privacy"]["epsilon_artwork_max"])


def test_a_damaged_ledger_is_named(own, tiny):
    home = studio_home(own.path.parent / "studios", tiny.gallery, "mosaic-1")
    data = bytearray((home / "ledger.jsonl").read_bytes())
    data[len(data) // 2] ^= 1
    (home / "ledger.jsonl").write_bytes(data)
    with pytest.raises(PrivacyError, match=r"mosaic-1 0/ledger\.jsonl: line \d"):
        accounts(own)
    assert accounts(own, "impasto-1")


def test_who_is_no_artist_of_the_run_is_named(run):
    with pytest.raises(RunError, match="'nobody' is no artist of this run; it has"):
        accounts(run.folder, "nobody")


def test_another_ledger_in_its_place_is_noticed(run, own, tiny):
    mine = studio_home(own.path.parent / "studios", tiny.gallery, "mosaic-1")
    theirs = studio_home(run.folder.path.parent / "studios", tiny.gallery, "mosaic-1")
    shutil.rmtree(mine)
    shutil.copytree(theirs, mine)
    with pytest.raises(PrivacyError, match="'mosaic-1': its ledger lacks round 0 of run"):
        accounts(own)
