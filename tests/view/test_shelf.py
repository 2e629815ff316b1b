"""What may be read: names are looked up, nothing leads out of the folder, nothing hangs."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from fedstyle_secure.accounts import accounts
from fedstyle_secure.errors import RunError
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.view.shelf import MissingError, Shelf, whole

SECRET = "what no page may tell"


def test_the_listing_has_runs_and_sweeps_and_counts_links(home):
    found = Shelf(home).listing()
    assert {place.path.name for place in found.runs} >= {
        "run",
        "begun",
        "broken",
        "linked",
        '<b>"odd" & name',
    }
    assert [place.key for place in found.sweeps] == ["sweep"]
    assert "way-out" not in {place.path.name for place in found.runs}
    assert "studios" not in {place.path.name for place in found.runs}
    assert found.hidden == 1


def test_every_run_has_a_key_of_its_own_that_no_browser_changes(home):
    places = Shelf(home).listing().runs
    keys = [place.key for place in places]
    assert len(set(keys)) == len(keys)
    assert all(
        set(key) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._~-") for key in keys
    )
    for place in places:
        if place.path.name != "linked":
            assert Shelf(home).run(place.key) == place


@pytest.mark.parametrize(
    "key",
    ["", ".", "..", "../outside", "..%2foutside", "/etc", "studios", "way-out", "sweep", "run/audit",
     "run\0", "RUN",
     "sweep:", "sweep:..", "sweep:../../run", "run:x", ":", "~", "a\nb"],
)  # fmt: skip
def test_nothing_else_is_a_run(home, key):
    with pytest.raises(MissingError):
        Shelf(home).run(key)


def test_a_cell_of_a_sweep_is_a_run(home):
    shelf = Shelf(home)
    ((folder, place),) = shelf.cells(shelf.sweep("sweep")).items()
    assert folder == "cells/epsilon=2 seed=0"
    assert shelf.run(place.key).path == home / "sweep" / "cells" / "epsilon=2 seed=0" / "run"


def test_a_run_with_a_link_in_it_is_not_read(home, page):
    with pytest.raises(RunError, match=r"summary.json: is a link"):
        Shelf(home).run("linked")
    for path in ("/", "/runs/linked", "/runs/linked/findings", "/compare?a=linked&b=run"):
        assert SECRET not in page.get(path).text
    assert page.get("/runs/linked").status_code == 422
    assert page.get("/runs/way-out").status_code == 404


@pytest.mark.parametrize("place", ["audit", "audit/deep/file", "record"])
def test_a_link_anywhere_in_it_counts(mine, place):
    path = mine / "run" / place
    shutil.rmtree(path, ignore_errors=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(mine.parent)
    with pytest.raises(RunError, match="is a link"):
        Shelf(mine).run("run")


def test_a_pipe_does_not_stop_the_page(mine, opened):
    os.mkfifo(mine / "begun" / "summary.json")
    page = opened(mine)
    assert page.get("/").status_code == 200
    assert "no plain file" in page.get("/runs/begun").text


def test_studios_are_read_inside_the_folder_only(mine):
    shelf, run = Shelf(mine), RunFolder(mine / "run")
    assert shelf.studios(run) == mine / "studios"
    (mine / "studios").rename(mine.parent / "studios")
    assert shelf.studios(run) is None
    (mine / "studios").symlink_to(mine.parent / "studios")
    assert shelf.studios(run) is None
    (mine / "studios").unlink()
    inner = Shelf(mine / "sweep" / "cells")
    assert inner.studios(run) is None


def test_ledgers_of_studios_elsewhere_are_those_of_the_run_itself(mine, opened):
    elsewhere = mine.parent / "studios"
    (mine / "studios").rename(elsewhere)
    page = opened(mine)
    text = page.get("/runs/run/ledgers").text
    assert "the run's copy" in text
    assert "its own ledger" not in text
    found = accounts(RunFolder(mine / "run"))
    assert not any(account.live for account in found)
    assert all(account.artist in text for account in found)


def test_a_run_that_names_a_gallery_elsewhere_opens_none(mine, opened):
    for artist in ("private-one", "private-two"):
        (mine.parent / "pictures" / artist).mkdir(parents=True)
    settings = f'[gallery]\nsource = "folder"\npath = "{mine.parent / "pictures"}"\n'
    (mine / "begun" / "config.toml").write_text(settings)
    page = opened(mine)
    text = page.get("/runs/begun/ledgers").text
    assert "private-one" not in text
    assert all(a.artist in text for a in accounts(RunFolder(mine / "run"))), "its manifest names them"
    (mine / "begun" / "manifest.json").unlink()
    shown = page.get("/runs/begun/ledgers")
    assert shown.status_code == 404
    assert "private-one" not in shown.text
    (mine / "run" / "config.toml").write_text(settings)
    (mine / "run" / "ledger.json").write_text("{}")
    assert "private-one" not in page.get("/runs/run/ledgers").text


def test_folders_too_deep_to_be_listed_keep_no_other_run_from_the_page(mine, opened):
    handle = os.open(mine / "begun", os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("d", dir_fd=handle)
        inner = os.open("d", os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = inner
    os.close(handle)
    page = opened(mine)
    found, shown = page.get("/runs/begun"), page.get("/")
    # Python's own way of removing folders goes no deeper than its stack.
    subprocess.run(["rm", "-rf", mine / "begun"], check=True)
    assert found.status_code == 422
    assert shown.status_code == 200
    assert "cannot be listed" in shown.text


def test_what_is_told_of_a_folder_changes_with_every_file(mine):
    before = whole(mine / "run")
    assert whole(mine / "run") == before
    (mine / "run" / "audit" / "rounds.svg").write_text("<svg/>")
    assert whole(mine / "run") != before


def test_a_folder_that_is_none_is_refused(home, tmp_path):
    with pytest.raises(RunError, match="no such folder"):
        Shelf(tmp_path / "none")
    with pytest.raises(RunError, match="is a run itself"):
        Shelf(home / "run")
