"""A run's folder can be copied and moved: nothing in it leads back to where it was."""

from __future__ import annotations

import hashlib
import json
import shutil

import pytest
from PIL import Image

import fedstyle_secure
from fedstyle_secure.accounts import accounts, withdraw
from fedstyle_secure.audit.integrity import check_finished
from fedstyle_secure.audit.scene import Scene
from fedstyle_secure.audit.settings import AuditSettings
from fedstyle_secure.config import Config
from fedstyle_secure.errors import AuditError, GalleryError, RunError
from fedstyle_secure.federation import apps
from fedstyle_secure.galleries.opening import open_gallery
from fedstyle_secure.privacy.ledger import Ledger
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.studios import claim, studio_home

ARTIST = "mosaic-1"


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A finished run and its studios; tests only read it."""
    root = tmp_path_factory.mktemp("original")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
        settings = [
            "gallery.artists=4", "gallery.public_artists=3", "gallery.pictures=12", "gallery.size=32",
            "style.encoder=cnn", "style.dim=8", "style.pretrain_steps=3", "style.practice_artists=0",
            "styles.count=3", "run.rounds=1", "training.expected_pictures=9", "privacy.noise_multiplier=2",
        ]  # fmt: skip
        fedstyle_secure.train(Config().override(settings), root / "runs" / "one")
    return root / "runs"


def digest(root):
    """Of everything in a folder, names and content."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return [(str(path.relative_to(root)), hashlib.sha256(path.read_bytes()).hexdigest()) for path in files]


def test_no_file_of_a_run_names_the_place_where_it_was_made(original):
    for path in (original / "one").rglob("*"):
        if path.is_file():
            assert str(original.parent).encode() not in path.read_bytes(), path


def test_a_copy_with_its_studios_writes_into_the_copy_only(original, tmp_path):
    before = digest(original)
    shutil.copytree(original, tmp_path / "runs")
    copy = RunFolder(tmp_path / "runs" / "one")
    withdraw(copy, ARTIST)
    (account,) = accounts(copy, ARTIST)
    assert account.withdrawn
    (account,) = accounts(RunFolder(original / "one"), ARTIST)
    assert not account.withdrawn
    assert digest(original) == before


def test_a_copy_without_studios_says_so_and_takes_those_that_are_named(original, tmp_path):
    shutil.copytree(original / "one", tmp_path / "elsewhere" / "one")
    shutil.copytree(original / "studios", tmp_path / "kept")
    before, copy = digest(original), RunFolder(tmp_path / "elsewhere" / "one")
    with pytest.raises(RunError, match=r"studios: no studios here; .* name them with --studios"):
        withdraw(copy, ARTIST)
    assert not (tmp_path / "elsewhere" / "studios").exists()
    (account,) = accounts(copy, ARTIST)
    assert (account.live, len(account.lines)) == (False, 4)
    found = check_finished(copy)
    assert (len(found.own), found.artists, found.opener_by) == (0, 4, "run")
    found = check_finished(copy, studios=tmp_path / "kept")
    assert (len(found.own), found.opener_by) == (4, "studios")
    withdraw(copy, ARTIST, tmp_path / "kept")
    (account,) = accounts(copy, ARTIST, studios=tmp_path / "kept")
    assert account.withdrawn
    assert digest(original) == before


def test_other_studios_beside_a_copy_are_left_alone(original, tmp_path):
    shutil.copytree(original / "one", tmp_path / "one")
    copy, others = RunFolder(tmp_path / "one"), tmp_path / "studios"
    claim(others)
    studio_home(others, copy.config().gallery, ARTIST).mkdir()
    before = digest(others)
    for named in (None, others):
        with pytest.raises(RunError, match=r"are not the studios that .* began with"):
            withdraw(copy, ARTIST, named)
    with pytest.raises(AuditError, match=r"are not the studios that .* began with"):
        check_finished(copy, studios=others)
    assert check_finished(copy).own == {}
    assert digest(others) == before


def test_a_ledger_that_is_missing_among_the_runs_studios_is_no_silence(original, tmp_path):
    shutil.copytree(original, tmp_path / "runs")
    copy = RunFolder(tmp_path / "runs" / "one")
    home = studio_home(tmp_path / "runs" / "studios", copy.config().gallery, ARTIST)
    shutil.rmtree(home)
    with pytest.raises(AuditError, match=rf"ledger\.jsonl: is missing, and artist '{ARTIST}'"):
        check_finished(copy)


@pytest.mark.long
def test_studios_elsewhere_are_found_from_the_run_wherever_both_go(tiny, tmp_path):
    config = tiny.override([f"run.studios={tmp_path / 'a' / 'disks' / 'all'}"])
    fedstyle_secure.train(config, tmp_path / "a" / "runs" / "one")
    (tmp_path / "a").rename(tmp_path / "b")
    moved = RunFolder(tmp_path / "b" / "runs" / "one")
    assert moved.manifest()["studios"]["place"] == "../../disks/all"
    assert len(check_finished(moved).own) == 4
    withdraw(moved, ARTIST)
    assert not (tmp_path / "a").exists()


@pytest.mark.long
def test_pictures_are_found_from_the_run_or_named_by_hand(tiny, tmp_path):
    pictures = tmp_path / "a" / "pictures"
    painted = open_gallery(tiny.gallery)
    for artist in (*painted.artists, *painted.public_artists):
        (pictures / artist).mkdir(parents=True)
        for number, picture in enumerate(painted.portfolio(artist).pictures):
            Image.fromarray(picture).save(pictures / artist / f"{number}.png")
    values = tiny.to_flat() | {
        "gallery.source": "folder", "gallery.path": str(pictures),
        "gallery.public": json.dumps(list(painted.public_artists)),
        "run.rounds": 1,
    }  # fmt: skip
    usual = Config().to_flat()
    values |= {key: usual[key] for key in ("gallery.artists", "gallery.public_artists", "gallery.pictures")}
    fedstyle_secure.train(Config.from_flat(values), tmp_path / "a" / "runs" / "one")
    (tmp_path / "a").rename(tmp_path / "b")
    moved = RunFolder(tmp_path / "b" / "runs" / "one")
    assert Scene(moved, AuditSettings()).config.gallery.path == str(tmp_path / "b" / "pictures")
    (tmp_path / "b" / "pictures").rename(tmp_path / "c")
    with pytest.raises(GalleryError, match=str(tmp_path / "b" / "pictures")):
        Scene(moved, AuditSettings())
    assert len(Scene(RunFolder(moved.path, tmp_path / "c"), AuditSettings()).artists) == 4
    (tmp_path / "c" / painted.artists[0] / "0.png").unlink()
    with pytest.raises(AuditError, match=r"name them with --gallery"):
        Scene(RunFolder(moved.path, tmp_path / "c"), AuditSettings())


@pytest.fixture
def interrupted(tiny, tmp_path):
    """A run that was stopped after its first round."""

    def stop(line, rounds):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fedstyle_secure.train(tiny, tmp_path / "a" / "one", on_round=stop)
    return tmp_path / "a"


def test_a_run_that_was_moved_from_its_studios_does_not_begin_new_ledgers(tiny, tmp_path, interrupted):
    (tmp_path / "b").mkdir()
    (interrupted / "one").rename(tmp_path / "b" / "one")
    with pytest.raises(RunError, match=r"holds not the studios .* name them with run\.studios"):
        fedstyle_secure.train(tiny, tmp_path / "b" / "one", resume=True)
    assert not (tmp_path / "b" / "studios").exists()
    claim(tmp_path / "b" / "studios")
    with pytest.raises(RunError, match="holds not the studios"):
        fedstyle_secure.train(tiny, tmp_path / "b" / "one", resume=True)
    named = tiny.override([f"run.studios={interrupted / 'studios'}"])
    run = fedstyle_secure.train(named, tmp_path / "b" / "one", resume=True)
    assert run.folder.manifest()["studios"]["place"] == "../../a/studios"
    ledger = Ledger(studio_home(interrupted / "studios", tiny.gallery, ARTIST) / "ledger.jsonl")
    assert [entry.round for entry in ledger.entries] == [0, 0, 1, 2]
    assert len(check_finished(run.folder).own) == 4


@pytest.mark.long
@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_around_its_closing_a_run_ends_as_it_was_written(tiny, tmp_path, monkeypatch, moment):
    """What the opener signed once is what the run ends with; nothing is released again."""
    with monkeypatch.context() as patch:
        target, name = (apps.Counter, "close") if moment == "before" else (RunFolder, "finish")
        patch.setattr(target, name, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            fedstyle_secure.train(tiny, tmp_path / "one")
    run = RunFolder(tmp_path / "one")
    assert (run.finished, run.staged) == (False, True)
    staged = json.loads((run.path / "summary.staged.json").read_text())
    before = run.transcript_file.read_bytes()
    ledgers = digest(tmp_path / "studios" / f"{ARTIST} 0")
    ended = fedstyle_secure.train(tiny, tmp_path / "one", resume=True)
    assert ended.summary == staged
    assert digest(tmp_path / "studios" / f"{ARTIST} 0") == ledgers
    assert (run.transcript_file.read_bytes() == before) == (moment == "after")
    assert not run.staged
    check_finished(run)
