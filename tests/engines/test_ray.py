"""Flower's simulation: the same apps give the same weights as the local engine, offline."""

import tempfile
import tomllib
from contextlib import suppress

import numpy as np
import psutil
import pytest
import tomli_w

import fedstyle_secure
from fedstyle_secure.config import Config
from fedstyle_secure.engines import ray as engine
from fedstyle_secure.errors import FederationError
from fedstyle_secure.files import read_arrays
from fedstyle_secure.runs import RunFolder

pytestmark = pytest.mark.long

pytest.importorskip("ray", reason="needs the extra `simulation`")

# A proxy that nobody answers: a look-up or an installation at run time would fail.
OFFLINE = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9") | {
    "NO_PROXY": "127.0.0.1,localhost",
    "PIP_NO_INDEX": "1",
    "UV_OFFLINE": "1",
}


def processes_below(folder):
    """Processes on this machine whose Flower home lies in `folder`."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if str(folder) in process.environ().get("FLWR_HOME", ""):
                found.append(process.name())
    return found


def largest_difference(a, b):
    x, y = read_arrays(a)[0], read_arrays(b)[0]
    assert set(x) == set(y)
    return max(np.abs(x[name] - y[name]).max(initial=0.0) for name in x)


def test_flwr_run_of_this_project_equals_the_local_engine(tiny, tmp_path, monkeypatch, request):
    for name, value in OFFLINE.items():
        monkeypatch.setenv(name, value)
    quiet = tiny.override(["privacy.noise_multiplier=0"])
    here = fedstyle_secure.train(quiet, tmp_path / "local")
    there = RunFolder(tmp_path / "flower")
    there.begin(quiet, resume=False, force=False)
    flat = quiet.to_flat() | {"run.folder": str(there.path)}
    settings = tmp_path / "run-config.toml"
    settings.write_text(tomli_w.dumps(flat))
    environment = engine._environment(tmp_path / "home")
    with engine._superlink(tmp_path, environment, there.path / "flower.log"):
        engine._flwr(
            environment,
            "run",
            str(request.config.rootpath),
            "own",
            "--run-config",
            str(settings),
            "--federation-config",
            "num-supernodes=5 client-resources-num-cpus=1",
        )
        engine._follow(there, environment, None)
    assert largest_difference(here.folder.product_file, there.product_file) <= 1e-5
    utility = there.summary()["utility"]
    assert utility == here.summary["utility"]


@pytest.mark.slow
def test_the_ray_engine_equals_the_local_engine_and_leaves_no_process(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    quiet = tiny.override(["privacy.noise_multiplier=0"])
    here = fedstyle_secure.train(quiet, tmp_path / "local")
    rounds, during = [], []

    def on_round(line, n):
        rounds.append(line["round"])
        during.extend(processes_below(tmp_path))

    there = fedstyle_secure.train(quiet, tmp_path / "ray", engine="ray", on_round=on_round)
    assert largest_difference(here.folder.product_file, there.folder.product_file) <= 1e-5
    assert rounds == [line["round"] for line in here.folder.metrics()]
    assert during
    assert processes_below(tmp_path) == []


@pytest.mark.slow
def test_a_run_that_fails_in_flower_is_an_error_here(tiny, tmp_path):
    with pytest.raises(FederationError, match=r"flower\.log"):
        fedstyle_secure.train(tiny.override(["styles.count=999"]), tmp_path / "ray", engine="ray")


def test_the_thin_app_carries_every_setting(tiny, tmp_path):
    app = engine._write_app(tmp_path / "app", tiny)
    flower = tomllib.loads((app / "pyproject.toml").read_text())["tool"]["flwr"]["app"]
    assert Config.from_flat(flower["config"]) == tiny
