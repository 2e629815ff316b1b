"""Private style search of a finished run: the artists of the plain search, and what buyers are handed."""

from __future__ import annotations

import json
import re
import sys
import threading

import numpy as np
import pytest
from PIL import Image

from fedstyle_secure import cli
from fedstyle_secure.accounts import withdraw
from fedstyle_secure.errors import RunError, SearchError
from fedstyle_secure.files import read_arrays, write_arrays
from fedstyle_secure.private_search.layout import SCALE
from fedstyle_secure.private_search.service import SearchServer
from fedstyle_secure.private_search.shelf import Shelf
from fedstyle_secure.system import State
from fedstyle_secure.systems.style import private
from fedstyle_secure.systems.style.private import Found, offer, search_at, search_here
from fedstyle_secure.systems.style.search import search


@pytest.fixture
def service(finished):
    with SearchServer(Shelf(lambda: offer(finished))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def same(found, plain, run):
    """Whether a private search found what the plain one of all artists says: each at its plain score, nearest
    first. Cards and query are rounded to steps of 1 / SCALE, which moves a score of unit vectors by
    sqrt(dim) / SCALE at most, so that of two that are nearer than that either may come first."""
    most = run.config().style.dim ** 0.5 / SCALE + 1e-6
    scores = {match.artist: match.score for match in plain}
    assert [match.rank for match in found] == list(range(1, len(found) + 1))
    assert len({match.artist for match in found}) == len(found)
    for match, nearest in zip(found, plain, strict=False):
        assert match.score == pytest.approx(scores[match.artist], abs=most)
        assert match.score == pytest.approx(nearest.score, abs=most)
    return True


def call(capsys, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["fedstyle", *map(str, arguments)])
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out, err = capsys.readouterr()
    return ended.value.code or 0, out, err


@pytest.mark.long
@pytest.mark.parametrize("run", ["finished", "noisy_product"])
def test_a_private_search_finds_whom_the_plain_one_finds(run, query, request):
    """A network of pixels, and textures with a directed head."""
    run = request.getfixturevalue(run)
    found = search_here(run, query, 4)
    assert len(found.matches) == 4
    assert same(found.matches, search(run, query, 99), run)
    assert found.platform_s is not None
    assert min(found.up, found.down) > 10_000


def test_a_service_finds_the_same_and_its_encoder_is_kept(finished, query, service, tmp_path):
    kept = tmp_path / "encoder.safetensors"
    first = search_at(service.url, query, 3, kept)
    assert len(first.matches) == 3
    assert same(first.matches, search(finished, query, 99), finished)
    assert kept.read_bytes() == offer(finished).encoder
    kept.write_bytes(b"an old one")
    assert search_at(service.url, query, 3, kept).matches == first.matches
    assert kept.read_bytes() == offer(finished).encoder
    assert search_at(service.url, query, 3).matches == first.matches


def test_a_kept_encoder_is_not_fetched_again(finished, query, service, tmp_path, monkeypatch):
    kept = tmp_path / "encoder.safetensors"
    kept.write_bytes(offer(finished).encoder)
    monkeypatch.setattr(private.Client, "encoder", lambda *_: pytest.fail("it was fetched"))
    search_at(service.url, query, 3, kept)


def test_neither_picture_nor_name_nor_embedding_is_in_what_a_buyer_sends(
    finished, query, service, tmp_path, monkeypatch
):
    """Each byte that goes into a socket of the client is kept; a planted name is found by the same look."""
    named = tmp_path / "the secret commission.png"
    named.write_bytes(query.read_bytes())
    sent, embeddings = bytearray(), []
    from http.client import HTTPConnection

    whole, asked = HTTPConnection.send, private.ask

    def send(self, data):
        sent.extend(data)
        return whole(self, data)

    def ask(vector, catalogue):
        embeddings.append(vector)
        return asked(vector, catalogue)

    monkeypatch.setattr(HTTPConnection, "send", send)
    monkeypatch.setattr(private, "ask", ask)
    search_at(service.url, named)
    (embedding,) = embeddings
    pixels = np.asarray(Image.open(named).convert("RGB"))
    hidden = {
        "name": b"secret commission",
        "folder": str(tmp_path).encode(),
        "file": named.read_bytes()[33:97],
        "pixels": pixels.tobytes()[:64],
        "float32": embedding.astype("<f4").tobytes()[:8],
        "float64": embedding.astype("<f8").tobytes()[:16],
        "int64": np.rint(embedding * (1 << 17)).astype("<i8").tobytes()[:16],
        "text": str(float(embedding[0])).encode()[:8],
    }
    assert len(sent) > 50_000
    assert [what for what, data in hidden.items() if data in sent] == []
    assert [what for what, data in hidden.items() if data in bytes(sent) + b"".join(hidden.values())] == list(
        hidden
    )


def test_the_encoder_that_buyers_get_holds_no_card_prototype_path_or_other_setting(finished):
    data = offer(finished).encoder
    state = State.load(finished.product_file)
    for name in ("cards", "prototypes"):
        for row in state.public[name]:
            assert row.astype("<f4").tobytes() not in data
    assert state.trained
    assert all(array.astype("<f4").tobytes() in data for array in state.trained.values())
    size = int.from_bytes(data[:8], "little")
    told = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["encoder"])
    assert set(told) == {"encoder", "dim", "train", "backbone", "rank", "size"}
    assert str(finished.path).encode() not in data


def test_who_withdrew_is_never_offered(own, query):
    assert "mosaic-1" in offer(own).names
    withdraw(own, "mosaic-1")
    assert "mosaic-1" not in offer(own).names
    assert len(offer(own).cards) == 3
    assert "mosaic-1" not in [match.artist for match in search_here(own, query, 9).matches]
    for artist in offer(own).names:
        withdraw(own, artist)
    with pytest.raises(RunError, match="withdrawn"):
        offer(own)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda arrays, told: (arrays, {}),
        lambda arrays, told: (arrays, told | {"size": 10**6}),
        lambda arrays, told: (arrays, told | {"size": "x"}),
        lambda arrays, told: (arrays, told | {"rank": -1}),
        lambda arrays, told: (arrays, told | {"weights": "/etc/passwd"}),
        lambda arrays, told: (arrays, told | {"dim": 10**9}),
        lambda arrays, told: (arrays, told | {"encoder": "none"}),
        lambda arrays, told: (dict(list(arrays.items())[1:]), told),
        lambda arrays, told: ({n: a * np.float32("nan") for n, a in arrays.items()}, told),
        lambda arrays, told: ({n: a[:1] for n, a in arrays.items()}, told),
    ],
)
def test_an_encoder_that_no_honest_service_sends_is_refused_in_one_line(finished, query, tmp_path, spoil):
    path = tmp_path / "encoder.safetensors"
    path.write_bytes(offer(finished).encoder)
    arrays, metadata = read_arrays(path)
    arrays, told = spoil(arrays, json.loads(metadata["encoder"]))
    write_arrays(path, arrays, {"encoder": json.dumps(told)})
    for data in (path.read_bytes(), path.read_bytes()[:-1], b""):
        with pytest.raises(SearchError, match="this is no encoder") as caught:
            private._embed(data, query)
        assert "\n" not in str(caught.value)


def test_the_command_says_what_a_private_search_took(capsys, monkeypatch, finished, query):
    run = finished.path
    _, plain, _ = call(capsys, monkeypatch, "search", run, query, "--json")
    code, out, _ = call(capsys, monkeypatch, "search", run, query, "--private", "--json")
    found = json.loads(out)
    assert code == 0
    assert set(found) == set(Found.__dataclass_fields__)
    assert [m["artist"] for m in found["matches"]] == [m["artist"] for m in json.loads(plain)]
    code, out, _ = call(capsys, monkeypatch, "search", run, query, "--private")
    assert code == 0
    assert re.search(r"\d+ bytes up, \d+ down", out)


def test_the_command_asks_a_service(capsys, monkeypatch, finished, query, service):
    code, out, _ = call(capsys, monkeypatch, "search", service.url, query, "--private", "--json")
    assert code == 0
    assert json.loads(out)["platform_s"] is None
    assert [m["artist"] for m in json.loads(out)["matches"]] == [m.artist for m in search(finished, query)]
    code, _, err = call(capsys, monkeypatch, "search", service.url, query)
    assert (code, "--private" in err) == (2, True)
    code, _, err = call(capsys, monkeypatch, "search", finished.path, query, "--encoder", "file")
    assert (code, "--encoder" in err) == (2, True)
    code, _, err = call(capsys, monkeypatch, "search", "http://127.0.0.1:1", query, "--private")
    assert (code, len(err.splitlines())) == (10, 1)


def test_the_command_serves_until_it_is_interrupted(capsys, monkeypatch, finished, query):
    asked = []

    def serve(self, poll_interval=0.5):
        asked.append(self.url)
        raise KeyboardInterrupt

    monkeypatch.setattr(SearchServer, "serve_forever", serve)
    code, out, err = call(capsys, monkeypatch, "search-service", finished.path, "--port", "0")
    assert code == 0
    assert asked[0] in out
    assert out.startswith("4 artists can be searched")
    assert "ended" in err
