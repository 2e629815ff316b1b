"""Files: whole or not at all, for their owner only where they hold secrets, and through no planted link."""

from __future__ import annotations

import ast
import multiprocessing
import os
import stat
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fedstyle_secure
from fedstyle_secure import files
from fedstyle_secure.errors import AuditError, PrivacyError
from fedstyle_secure.privacy.budget import Budget
from fedstyle_secure.privacy.gate import Gate, Release, withdraw
from fedstyle_secure.privacy.mechanisms import GaussianSum
from fedstyle_secure.secure_sum.identity import Identity
from fedstyle_secure.secure_sum.journal import Journal
from fedstyle_secure.secure_sum.opener import Opener
from fedstyle_secure.studios import claim


@pytest.fixture(params=[0o000, 0o022, 0o277, 0o777], ids=oct)
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes(root: Path) -> dict[str, int]:
    return {str(p.relative_to(root)): stat.S_IMODE(p.stat().st_mode) for p in sorted(root.rglob("*"))}


def release():
    return [Release("card", {"x": np.ones(3, np.float32)}, GaussianSum(1.0, 2.0))]


def test_what_an_artist_and_an_opener_keep_is_theirs_alone_whatever_the_umask(tmp_path, umask):
    root = tmp_path / "new" / "studios"
    claim(root)
    home = root / "ann"
    Gate(home, "run", Budget(float("inf"), 1e-5, "artwork")).send("r0", 0, release)
    withdraw(root / "bob")
    Opener(root / ".opener", b"passphrase").enrol("ann", Identity.load(home / "sum" / "identity.key").public)
    Journal(root / ".opener" / "other.jsonl").append({"event": "end"})
    found = modes(tmp_path)
    folders = {name for name in found if (tmp_path / name).is_dir()}
    assert {name for name in folders if found[name] != 0o700} == set()
    assert {name for name in found if name not in folders and found[name] != 0o600} == set()
    assert {"ledger.jsonl", "ledger.head", ".lock", "roster.json"} <= {Path(name).name for name in found}


def test_files_of_an_earlier_version_are_closed_to_others(tmp_path):
    home = tmp_path / "ann"
    gate = Gate(home, "run", Budget(float("inf"), 1e-5, "artwork"))
    gate.send("r0", 0, release)
    home.chmod(0o755)
    (home / "ledger.jsonl").chmod(0o644)
    gate.send("r1", 1, release)
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "ledger.jsonl").stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777])
def test_a_folder_that_others_can_write_to_releases_nothing(tmp_path, mode):
    (tmp_path / "ann").mkdir()
    (tmp_path / "ann").chmod(mode)
    gate = Gate(tmp_path / "ann", "run", Budget(float("inf"), 1e-5, "artwork"))
    with pytest.raises(PrivacyError, match="chmod 700"):
        gate.send("r0", 0, release)
    assert list((tmp_path / "ann").iterdir()) == []


@pytest.mark.parametrize("name", [".lock", "ledger.jsonl"])
def test_a_planted_link_is_not_followed(tmp_path, name):
    (tmp_path / "victim").write_text("mine")
    home = tmp_path / "ann"
    home.mkdir(mode=0o700)
    (home / name).symlink_to(tmp_path / "victim")
    gate = Gate(home, "run", Budget(float("inf"), 1e-5, "artwork"))
    with pytest.raises((OSError, PrivacyError)):
        gate.send("r0", 0, release)
    assert (tmp_path / "victim").read_text() == "mine"


def test_a_link_in_the_place_of_a_file_or_of_its_partial_file_is_not_followed(tmp_path):
    (tmp_path / "victim").write_text("mine")
    home = tmp_path / "run"
    home.mkdir()
    for name in ("a.json", "a.json.partial", ".a.json.partial", "a.partial"):
        (home / name).symlink_to(tmp_path / "victim")
    files.write_json(home / "a.json", {"x": 1})
    assert (tmp_path / "victim").read_text() == "mine"
    assert not (home / "a.json").is_symlink()
    (home / "b").symlink_to(tmp_path / "victim")
    for attempt in (lambda: files.append(home / "b", b"x"), lambda: files.erase(home / "b")):
        with pytest.raises(OSError, match="symbolic link"):
            attempt()
    assert not files.create(home / "b", b"x")
    assert (tmp_path / "victim").read_text() == "mine"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    files.write_text(tmp_path / "a", "old")

    def full(_):
        raise OSError(28, "no space")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="no space"):
            files.write_text(tmp_path / "a", "new")
        with pytest.raises(OSError, match="no space"):
            files.append(tmp_path / "a", b"new")
        with pytest.raises(OSError, match="no space"):
            files.create(tmp_path / "b", b"new")
    with pytest.raises(TypeError), files.atomic(tmp_path / "a") as file:
        file.write("no bytes")
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"a": "old"}


def test_every_durable_write_syncs_the_file_first_and_its_folder_last(tmp_path, monkeypatch):
    synced, real = [], os.fsync

    def watched(handle):
        synced.append(os.readlink(f"/proc/self/fd/{handle}"))
        real(handle)

    monkeypatch.setattr(os, "fsync", watched)
    home = str(tmp_path.resolve())
    writes = {
        "arrays": lambda path: files.write_arrays(path, {"x": np.ones(3)}, {}),
        "text": lambda path: files.write_text(path, "x"),
        "line": lambda path: files.append(path, b"x"),
        "new": lambda path: files.create(path, b"x"),
    }
    for name, write in writes.items():
        synced.clear()
        write(tmp_path / name)
        assert len(synced) == 2
        assert name in synced[0]
        assert synced[1] == home
    synced.clear()
    files.write_text(tmp_path / "cache", "x", synced=False)
    assert synced == []


def _write_many(path: Path, letter: str) -> None:
    for _ in range(200):
        files.write_text(path, letter * 4096, synced=False)


def test_writers_at_once_leave_a_whole_file_of_one_of_them(tmp_path):
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write_many, args=(tmp_path / "a", letter)) for letter in "xyz"]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        if (tmp_path / "a").exists():
            assert (tmp_path / "a").read_text() in {"x" * 4096, "y" * 4096, "z" * 4096}
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_lock_that_is_held_is_told_where_nobody_waits(tmp_path):
    with files.locked(tmp_path), pytest.raises(BlockingIOError), files.locked(tmp_path, wait=False):
        pass
    with files.locked(tmp_path, wait=False):
        pass


def test_appending_cuts_what_does_not_count(tmp_path):
    files.append(tmp_path / "a", b"one\ntorn")
    files.append(tmp_path / "a", b"two\n", size=4)
    files.append(tmp_path / "a", b"three\n")
    assert (tmp_path / "a").read_bytes() == b"one\ntwo\nthree\n"


named = st.dictionaries(
    st.text(max_size=3), st.sampled_from([np.zeros(2), np.zeros((2, 1)), np.zeros(2, np.int64), -np.zeros(2)])
)


@given(named, named)
def test_two_digests_are_equal_exactly_for_the_same_arrays(ours, theirs):
    def said(arrays):
        return {name: (a.dtype.str, a.shape, a.tobytes()) for name, a in arrays.items()}

    same = files.arrays_digest(ours) == files.arrays_digest(theirs)
    assert same == (said(ours) == said(theirs))
    assert files.arrays_digest(dict(reversed(ours.items()))) == files.arrays_digest(ours)
    assert files.arrays_digest(ours, "{}") != files.arrays_digest(ours)


def test_the_digest_is_the_same_from_version_to_version():
    arrays = {"b": np.arange(3, dtype=np.int64), "a": np.ones((1, 2), np.float32)}
    assert files.arrays_digest(arrays, "[1]").startswith("64e17002449ca578")


def test_a_log_stays_bounded_whoever_causes_errors(tmp_path, monkeypatch):
    """Each message of a stranger left a page in an artist's log, for as long as there was disk."""
    monkeypatch.setattr(files, "_LOG", 1000)
    monkeypatch.setattr(files, "_LOG_ENTRY", 100)
    for i in range(99):
        files.log_text(tmp_path / "artist.log", f"{i}\n" + "x" * 500)
    assert {file.name for file in tmp_path.iterdir()} == {"artist.log", "artist.log.1"}
    assert all(file.stat().st_size <= 1100 for file in tmp_path.iterdir())
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in tmp_path.iterdir())
    assert b"98\n" in (tmp_path / "artist.log").read_bytes()


def test_only_one_file_of_the_package_replaces_locks_or_syncs():
    package = Path(fedstyle_secure.__file__).parent
    forbidden = {"fsync", "flock", "mkstemp", "fchmod", "O_CREAT", "save_file"}
    found = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute | ast.alias)
        and (node.attr if isinstance(node, ast.Attribute) else node.name) in forbidden
    }
    assert found == {"files.py"}


def test_a_folder_that_is_a_link_or_somebody_elses_is_refused(tmp_path, monkeypatch):
    target = tmp_path / "target"
    target.mkdir(mode=0o755)
    (tmp_path / "link").symlink_to(target)
    with pytest.raises(PrivacyError, match="no link to one"):
        files.private_folder(tmp_path / "link")
    assert stat.S_IMODE(target.stat().st_mode) == 0o755, "what the link points to is left as it is"
    monkeypatch.setattr(os, "geteuid", lambda: target.stat().st_uid + 1)
    with pytest.raises(PrivacyError, match="belongs to another user"):
        files.private_folder(target)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "Expecting"),
        (b'{"a": {"b": 1, "b": 2}}', "the key 'b' twice"),
        (b"\xff", "utf-8"),
        (b"[]", "holds a list"),
        (None, "No such"),
    ],
)
def test_json_that_is_not_what_is_asked_for_is_refused_by_the_files_name(tmp_path, content, said):
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AuditError, match=said) as refused:
        files.read_json(path, dict, AuditError)
    assert str(refused.value).startswith(f"{path}: cannot be read: ")
    files.write_json(path, {"x": [1.5, None]})
    assert files.read_json(path, dict) == {"x": [1.5, None]}
