"""The cache saves time and changes nothing: what it holds is as if made anew, or is made anew."""

import json
import logging
import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import torch

from fedstyle_secure import cache
from fedstyle_secure.files import arrays_digest, write_arrays
from fedstyle_secure.systems.style import practice
from fedstyle_secure.systems.style.whitened import measured
from fedstyle_secure.textures.statistics import texture_features

MADE = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array([1, -1])}


class Maker:
    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> dict[str, np.ndarray]:
        self.times += 1
        return MADE


def same(found: dict[str, np.ndarray]) -> bool:
    return arrays_digest(found) == arrays_digest(MADE)


def test_what_was_kept_is_not_made_again_and_another_key_is(tmp_path):
    make = Maker()
    for key, times in (("k", 1), ("k", 1), ("other", 2), ("k", 2)):
        assert same(cache.remembered(tmp_path / "new" / "c", "x", key, make))
        assert make.times == times
    assert len(list((tmp_path / "new" / "c").iterdir())) == 2


def test_whatever_byte_is_damaged_it_is_made_anew(tmp_path):
    make = Maker()
    cache.remembered(tmp_path, "x", "k", make)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    damaged = [
        whole[:i] + bytes([whole[i] ^ flip]) + whole[i + 1 :] for i in range(len(whole)) for flip in (1, 128)
    ]
    for number, data in enumerate([b"", whole[:-1], whole + b"x", b"{}" * 40, *damaged], start=2):
        path.write_bytes(data)
        assert same(cache.remembered(tmp_path, "x", "k", make))
        assert make.times == number
        assert path.read_bytes() == whole


def test_a_whole_file_of_another_key_is_not_trusted(tmp_path):
    make = Maker()
    cache.remembered(tmp_path, "x", "k", make)
    (path,) = tmp_path.iterdir()
    foreign = {"a": np.zeros((2, 3), np.float32), "b": np.array([0, 0])}
    for text in ("another", ""):
        write_arrays(path, foreign, {"sha256": arrays_digest(foreign, text)})
        assert same(cache.remembered(tmp_path, "x", "k", make))


@pytest.mark.parametrize("hindrance", ["a file", "others can write", "a link", "no room"])
def test_a_folder_that_cannot_be_used_costs_time_and_one_line(tmp_path, caplog, monkeypatch, hindrance):
    folder = tmp_path / "cache"
    if hindrance == "a file":
        folder.write_text("x")
    elif hindrance == "others can write":
        folder.mkdir()
        cache.remembered(folder, "x", "k", lambda: {"a": np.ones(1)})
        folder.chmod(0o777)
    elif hindrance == "a link":
        (tmp_path / "elsewhere").mkdir()
        folder.symlink_to(tmp_path / "elsewhere")
    else:

        def full(*_, **__):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(cache, "write_arrays", full)
    make = Maker()
    with caplog.at_level(logging.WARNING, "fedstyle_secure"):
        assert all(same(cache.remembered(folder, "x", "k", make)) for _ in range(3))
    assert make.times == 3
    assert [str(folder) in line for line in caplog.messages] == [True]


def test_the_folder_is_the_one_that_is_named_else_the_platforms(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.cache_folder() == tmp_path / "xdg" / "fedstyle"
    monkeypatch.setenv(cache.FOLDER, str(tmp_path / "named"))
    assert cache.cache_folder() == tmp_path / "named"
    monkeypatch.setenv(cache.FOLDER, "")
    assert cache.cache_folder() == tmp_path / "xdg" / "fedstyle"


def test_a_key_is_another_with_other_sources_versions_or_parameters(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.py").write_text("1")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x.py").write_text("2")
    keys = [cache.key_of((tmp_path / name,), *given) for name in "ab" for given in ((1, 2), (12,), ("1", 2))]
    monkeypatch.setattr(cache, "version", lambda library: "9")
    # They are read once a process.
    monkeypatch.setattr(cache, "_versions", cache._versions.__wrapped__)
    keys.append(cache.key_of((tmp_path / "a",), 1, 2))
    assert len(set(keys)) == 7
    assert json.loads(keys[-1])[1] == {"numpy": "9", "pillow": "9", "scipy": "9", "torch": "9"}


@pytest.mark.long
def test_practice_features_are_to_the_bit_those_of_the_pictures_and_painted_once(tmp_path, monkeypatch):
    monkeypatch.setenv(cache.FOLDER, str(tmp_path))
    features, artists = measured(practice.practice_portfolios(2), texture_features)
    with monkeypatch.context() as patch:
        patch.setenv(cache.FOLDER, str(tmp_path / "empty"))
        made = practice.practice_features(2)
    kept = practice.practice_features(2), practice.practice_features(2)
    for found in (made, *kept):
        assert [a.dtype for a in found] == [features.dtype, artists.dtype]
        assert [a.tobytes() for a in found] == [features.tobytes(), artists.tobytes()]

    def works(*_):
        raise AssertionError("painted or measured")

    monkeypatch.setattr(practice, "practice_portfolios", works)
    monkeypatch.setattr("fedstyle_secure.galleries.atelier.paint", works)
    assert practice.practice_features(2)[0].tobytes() == features.tobytes()
    # Another number of threads may round otherwise.
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        with pytest.raises(AssertionError, match="painted"):
            practice.practice_features(2)
    finally:
        torch.set_num_threads(threads)


def remember(folder: Path, start, results) -> None:
    start.wait()
    for number in range(20):
        found = cache.remembered(folder, "x", str(number), lambda n=number: {"n": np.full(50_000, n)})
        results.put(bool((found["n"] == number).all()))


@pytest.mark.long
def test_two_processes_at_once_get_what_is_right(tmp_path):
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(2), context.Queue()
    processes = [context.Process(target=remember, args=(tmp_path / "c", start, results)) for _ in range(2)]
    for process in processes:
        process.start()
    assert all(results.get(timeout=120) for _ in range(40))
    for process in processes:
        process.join()
    names = sorted(path.name for path in (tmp_path / "c").iterdir())
    assert len(names) == 20
    assert all(name.endswith(".safetensors") for name in names)
