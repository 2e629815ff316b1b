"""Small runs to be audited, made for real, and scenes of them."""

from __future__ import annotations

import pytest

from fedstyle_secure.audit.blind import Blind
from fedstyle_secure.audit.scene import Scene
from fedstyle_secure.config import Config
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.threads import one_thread
from fedstyle_secure.training import train


@pytest.fixture(autouse=True)
def single():
    """As audits run; torch's threads would wait for one another."""
    with one_thread():
        yield


@pytest.fixture(scope="session")
def train_run(tmp_path_factory):
    """Trains with settings (`key=value`), in a folder of its own."""

    def build(*settings: str) -> RunFolder:
        folder = tmp_path_factory.mktemp("trained")
        with one_thread(), pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
            train(Config().override([f"run.studios={folder / 'studios'}", *settings]), folder / "run")
        return RunFolder(folder / "run")

    return build


@pytest.fixture(scope="module")
def scene_of():
    """Opens a run for attacks; its pictures are prepared once a module, and a blind guess finds nothing."""
    prepared: dict[object, Scene] = {}

    def build(run, settings) -> Scene:
        at = Scene(run, settings)
        first = prepared.setdefault(run.path, at)
        at._works, at._public = first._works, first.public
        at.blind = Blind(0.5)
        return at

    return build
