"""A run as ONNX: the same scores elsewhere, with what one must know to read by it, and nothing else told."""

import itertools
import json
import sys

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from fedstyle_secure.cli import app
from fedstyle_secure.errors import ConfigError, RunError
from fedstyle_secure.galleries.opening import open_gallery
from fedstyle_secure.systems.text import export as exporting
from fedstyle_secure.systems.text.export import CLOSE, export
from fedstyle_secure.systems.text.reading import Reader
from fedstyle_secure.systems.text.recogniser.network import prepare

REASON = "needs the extra `onnx`"


@pytest.fixture(scope="module")
def reader(run):
    """Of hashed weights that have moved away from their base."""
    reader = Reader.of(run)
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in reader.model.parameters():
            parameter += 0.03 * torch.randn(parameter.shape, generator=draws)
    return reader


@pytest.fixture(scope="module")
def made(reader, tmp_path_factory):
    """The file, exported once: it takes seconds."""
    pytest.importorskip("onnxscript", reason=REASON)
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    assert export(reader, path) == path.stat().st_size
    return path


@pytest.fixture(scope="module")
def session(made):
    return pytest.importorskip("onnxruntime", reason=REASON).InferenceSession(made)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_any_number_of_crops_has_torchs_scores(reader, session, n):
    crops = torch.rand(n, 1, 32, 128, generator=torch.Generator().manual_seed(n)) * 2 - 1
    (scores,) = session.run(["scores"], {"crops": crops.numpy()})
    assert scores.shape == (n, 32, reader.system.charset.classes)
    assert np.abs(scores - reader.model.read(crops)).max() < 1e-4
    assert np.allclose(np.exp(scores).sum(axis=2), 1, atol=1e-5)


def as_told(picture):
    """What the file's `preprocessing` says of a picture of a crop's size."""
    grey = picture.astype(float).mean(axis=2)
    low, middle, high = np.percentile(grey, [2, 50, 98])
    ink = (grey - low) / max(high - low, 8)
    ink = 1 - ink if middle - low > high - middle else ink
    return (2 * np.clip(ink, 0, 1) - 1).astype(np.float32)


def test_by_what_the_file_tells_crops_are_read_as_the_run_reads_them(run, reader, session):
    told = session.get_modelmeta().custom_metadata_map
    assert set(told) == {"charset", "case", "preprocessing", "decoding"}
    assert told["case"] == "ignored"
    gallery = open_gallery(run.config().gallery)
    pictures = gallery.portfolio(gallery.artists[0]).pictures
    crops = np.stack([as_told(picture) for picture in pictures])[:, None]
    assert np.allclose(crops, prepare(pictures).numpy(), atol=1e-5)
    (scores,) = session.run(["scores"], {"crops": crops})
    read = [
        "".join(told["charset"][c - 1] for c, _ in itertools.groupby(best) if c)
        for best in scores.argmax(axis=2).tolist()
    ]
    assert read == [guess.text for guess in reader.read(pictures)]


def test_a_file_tells_nothing_of_where_it_was_made(made):
    told = pytest.importorskip("onnx", reason=REASON).load(made)
    # Weights may be any bytes, and three of so many spell a file's ending once in a hundred trainings.
    for tensor in told.graph.initializer:
        tensor.ClearField("raw_data")
    data = told.SerializeToString()
    assert 1000 < len(data) < made.stat().st_size / 2
    assert b"fedstyle_secure" in data
    for trace in (b".py", b"File ", b"/site-packages", b"stack_trace", str(made.parent).encode()):
        assert trace not in data


def test_what_is_there_stays_unless_forced(reader, made):
    before = made.read_bytes()
    with pytest.raises(RunError, match="--force overwrites it"):
        export(reader, made)
    assert made.read_bytes() == before


@pytest.mark.long
def test_a_model_of_other_scores_is_not_written(reader, tmp_path, monkeypatch):
    pytest.importorskip("onnxscript", reason=REASON)
    traced = exporting._traced

    def astray(scorer):
        made = traced(scorer)
        with torch.no_grad():
            scorer.model.letters.bias[3] += 10 * CLOSE
        return made

    monkeypatch.setattr(exporting, "_traced", astray)
    with pytest.raises(RunError, match="other scores"):
        export(reader, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("missing", ["onnx", "onnxscript"])
def test_without_the_extra_one_line_says_what_to_install(reader, tmp_path, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ConfigError, match=r'pip install "fedstyle-secure\[onnx\]"'):
        export(reader, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_the_command_refuses_and_tells(run, finished, tmp_path, monkeypatch):
    def write(reader, path, *, force):
        if path.exists() and not force:
            raise RunError("there")
        return path.write_bytes(b"12345")

    monkeypatch.setattr(exporting, "export", write)
    model = tmp_path / "model.onnx"
    shown = CliRunner().invoke(app, ["export", str(run.path), str(model), "--json"])
    assert json.loads(shown.stdout)["bytes"] == 5
    assert isinstance(CliRunner().invoke(app, ["export", str(run.path), str(model)]).exception, RunError)
    assert CliRunner().invoke(app, ["export", str(run.path), str(model), "--force"]).exit_code == 0
    other = CliRunner().invoke(app, ["export", str(finished.path), str(model), "--force"])
    assert isinstance(other.exception, ConfigError)
