"""A run's folder: names that cannot leave it, files that are whole or absent, locks."""

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedstyle_secure.config import Config
from fedstyle_secure.errors import RunError
from fedstyle_secure.files import read_arrays, write_arrays, write_json
from fedstyle_secure.runs import RunFolder, folder_name, list_runs
from fedstyle_secure.studios import claim, studio_home

NAMES = ["../x", "..", ".", "/etc", "a/b", "a\\b", "", ".hidden", " x", "n" * 400, "\0"]


@pytest.mark.parametrize("artist", NAMES)
@pytest.mark.parametrize("source", ["atelier", "folder"])
def test_a_studio_lies_directly_among_the_studios(tmp_path, artist, source):
    home = studio_home(tmp_path, Config().override([f"gallery.source={source}"]).gallery, artist)
    home.mkdir(parents=True)
    assert home.resolve().parent == tmp_path.resolve()


def test_a_portfolio_keeps_its_studio_over_runs_and_splits_but_not_over_seeds(tmp_path):
    def home(*settings):
        return studio_home(tmp_path, Config().override(settings).gallery, "ann")

    assert home("gallery.source=folder", "gallery.path=a") == home(
        "gallery.source=folder", "gallery.path=b", "gallery.split_column=other"
    )
    assert home("gallery.seed=1") != home("gallery.seed=2")
    assert home("gallery.artists=5") == home("gallery.artists=50", "gallery.pictures=9")


def test_studios_do_not_settle_in_a_folder_of_something_else(tmp_path):
    claim(tmp_path / "studios")
    claim(tmp_path / "studios")
    (tmp_path / "art").mkdir()
    (tmp_path / "art" / "picture.png").touch()
    with pytest.raises(RunError, match=r"art: holds something else .* run\.studios"):
        claim(tmp_path / "art")


def test_a_run_is_known_by_the_same_name_wherever_it_lies(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.begin(Config(), resume=False, force=False)
    name = run.identity
    assert re.fullmatch("[0-9a-f]{32}", name)
    (tmp_path / "run").rename(tmp_path / "moved")
    assert RunFolder(tmp_path / "moved").identity == name
    RunFolder(tmp_path / "moved").begin(Config(), resume=False, force=True)
    assert RunFolder(tmp_path / "moved").identity != name


@pytest.mark.parametrize(
    "mark", [b"", b"../../elsewhere", b"\xff" * 32, b"0" * 31, b"0" * 32 + b"\n", b"A" * 32]
)
def test_a_run_with_another_mark_is_refused_before_a_file_is_named_by_it(tmp_path, mark):
    run = RunFolder(tmp_path / "run")
    run.begin(Config(), resume=False, force=False)
    (tmp_path / "run" / ".fedstyle-run").write_bytes(mark)
    with pytest.raises(RunError, match=r"\.fedstyle-run: is no identity of a run"):
        _ = run.identity


@given(st.lists(st.text(max_size=120), min_size=2, max_size=2, unique=True))
def test_different_artists_have_different_folders(names):
    assert folder_name(names[0]) != folder_name(names[1])


def test_plain_names_stay_readable():
    assert folder_name("walter_crane") == "walter_crane"
    assert folder_name("Käthe Kollwitz") == "K%C3%A4the Kollwitz"


def test_lines_of_rounds_that_will_come_again_are_dropped(tmp_path):
    run = RunFolder(tmp_path)
    for i in range(4):
        run.append_metrics({"round": i})
    with run.metrics_file.open("a") as file:
        file.write('{"round": 4, "sec')
    assert [line["round"] for line in run.metrics()] == [0, 1, 2, 3]
    run.keep_metrics(2)
    assert run.metrics_file.read_text() == '{"round": 0}\n{"round": 1}\n'


def test_arrays_survive_and_damage_is_named(tmp_path):
    path = tmp_path / "x.safetensors"
    write_arrays(path, {"a": np.arange(6, dtype=np.float32).reshape(2, 3)}, {"k": "v"})
    arrays, metadata = read_arrays(path)
    assert np.array_equal(arrays["a"], np.arange(6).reshape(2, 3))
    assert metadata == {"k": "v"}
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(RunError, match=r"x\.safetensors"):
        read_arrays(path)
    with pytest.raises(RunError, match=r"none\.safetensors"):
        read_arrays(tmp_path / "none.safetensors")


def test_json_with_infinity_is_refused_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"a": float("inf")})
    assert json.loads(path.read_text()) == {"a": 1}


def test_folders_without_a_run_are_not_listed(tmp_path):
    (tmp_path / "other").mkdir()
    assert list_runs(tmp_path) == []
    assert list_runs(tmp_path / "none") == []
    with pytest.raises(RunError, match="no run here"):
        RunFolder(tmp_path / "other").summary()
