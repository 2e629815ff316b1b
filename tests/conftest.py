"""What several tests share."""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import hypothesis
import pytest
from PIL import Image

import fedstyle_secure
from fedstyle_secure.config import Config
from fedstyle_secure.galleries.opening import open_gallery
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.threads import one_thread

# No test depends on how fast the machine is, or on chance: examples follow from the test itself.
# `pytest --hypothesis-profile "new examples"` looks at others.
hypothesis.settings.register_profile(
    "any machine",
    deadline=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.register_profile(
    "new examples", hypothesis.settings.get_profile("any machine"), derandomize=False
)
hypothesis.settings.load_profile("any machine")

TINY = (
    "gallery.artists=4",
    "gallery.public_artists=3",
    "gallery.pictures=12",
    "gallery.size=32",
    "style.encoder=cnn",
    "style.dim=8",
    "style.pretrain_steps=3",
    "style.practice_artists=0",
    "style.views=2",
    "styles.count=3",
    "run.rounds=2",
    # A whole head that trains in clear; what is summed is prototypes.
    "secure_sum.updates=false",
    "style.rank=0",
    "style.scatter=off",
    "style.temperature=0.1",
    "style.alignment=0.1",
    "training.expected_pictures=9",
    # Solving for a target takes seconds; tests that need it set "auto".
    "privacy.noise_multiplier=2",
)


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory) -> Iterator[None]:
    """Practice encoders are learned once a session, and nothing is left in the home of whoever tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
        yield


@pytest.fixture(scope="session")
def tiny() -> Config:
    """A run of seconds: four small procedural artists, a hardly trained CNN, two rounds."""
    return Config().override(list(TINY))


@pytest.fixture(scope="session")
def finished(tiny, tmp_path_factory) -> RunFolder:
    """The run of `tiny`, trained once a session: to be read. `own` is a copy to be written."""
    return fedstyle_secure.train(tiny, tmp_path_factory.mktemp("finished") / "runs" / "run").folder


@pytest.fixture(scope="session")
def benchmark_module() -> Callable[[str], ModuleType]:
    """`benchmarks/NAME.py` by its name: peers and planted bugs that tests use, too."""
    folder = str(Path(__file__).parents[1] / "benchmarks")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return importlib.import_module


@pytest.fixture(scope="session")
def train_run(tmp_path_factory) -> Callable[..., RunFolder]:
    """Trains with settings (`key=value`), in a folder of its own: small runs to be audited, made for real."""

    def build(*settings: str) -> RunFolder:
        folder = tmp_path_factory.mktemp("trained")
        with one_thread():
            config = Config().override([f"run.studios={folder / 'studios'}", *settings])
            return fedstyle_secure.train(config, folder / "run").folder

    return build


@pytest.fixture(scope="session")
def product_run(train_run) -> Callable[..., RunFolder]:
    """`train_run` of six artists whose product has something to attack."""
    return partial(
        train_run,
        "gallery.artists=6", "gallery.public_artists=5", "gallery.pictures=20", "gallery.size=32",
        "style.dim=48", "style.practice_artists=0", "styles.count=3", "run.rounds=2",
        "training.expected_pictures=15", "audit.record=all",
    )  # fmt: skip


@pytest.fixture(scope="session")
def noisy_product(product_run) -> RunFolder:
    return product_run("privacy.noise_multiplier=6", "cards.releases=1")


@pytest.fixture(scope="session")
def exact_product(product_run) -> RunFolder:
    """The same weights whenever it is trained, as nothing in it is drawn by chance."""
    return product_run("privacy.dp=off", "cards.releases=1")


@pytest.fixture
def limit_of(monkeypatch) -> Callable[..., Any]:
    """Events and hops of the one limit that an attack (of a module, on a scene) is held against."""
    from fedstyle_secure.privacy.accounting import merge

    def build(module, attack, scene):
        seen = []

        class Kept(module.Limit):
            def __init__(self, events, hops=1):
                events = list(events)
                seen.append((merge(events), hops))
                super().__init__(events, hops)

        monkeypatch.setattr(module, "Limit", Kept)
        attack(scene)
        (found,) = seen
        return found

    return build


@pytest.fixture(scope="module")
def scene_of():
    """Opens a run for attacks; its pictures are prepared once a module, and a blind guess finds nothing."""
    # Loading these takes seconds that most tests do not need.
    from fedstyle_secure.audit.blind import Blind
    from fedstyle_secure.audit.scene import Scene

    prepared: dict[Path, Scene] = {}

    def build(run, settings) -> Scene:
        at = Scene(run, settings)
        first = prepared.setdefault(run.path, at)
        at._works, at._public = first._works, first.public
        at.blind = Blind(0.5)
        return at

    return build


@pytest.fixture
def own(finished, tmp_path) -> RunFolder:
    """A copy of the finished run and its studios, in `tmp_path / "runs"`."""
    shutil.copytree(finished.path.parent, tmp_path / "runs")
    return RunFolder(tmp_path / "runs" / "run")


@pytest.fixture(scope="session")
def query(tiny, tmp_path_factory) -> Path:
    """A test picture of `mosaic-1`, to search with."""
    path = tmp_path_factory.mktemp("query") / "picture.png"
    Image.fromarray(open_gallery(tiny.gallery).portfolio("mosaic-1").test_pictures[0]).save(path)
    return path


@pytest.fixture(scope="session")
def pretended():
    """`elsewhere.py`: a device that is not there."""
    spec = importlib.util.spec_from_file_location("elsewhere", Path(__file__).with_name("elsewhere.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
