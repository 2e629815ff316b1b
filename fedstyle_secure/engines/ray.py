"""Flower's own simulation as an engine: a SuperLink of our own, the same apps, artists in Ray actors.

Nothing is installed and nothing outside this machine is reached while it runs.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli_w

from fedstyle_secure.config import Config
from fedstyle_secure.engines.flower import environment, free_port, tool, wait_for_port
from fedstyle_secure.errors import ConfigError, FederationError
from fedstyle_secure.federation.bundle import app_files
from fedstyle_secure.galleries.canaries import roster
from fedstyle_secure.galleries.opening import open_gallery
from fedstyle_secure.privacy.kinds import rounds_of
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.system import system_bound

if TYPE_CHECKING:
    import psutil

_POLL_S = 0.5
_ASK_EVERY_S = 5.0
_LONGEST_RAY_PATH = 40


def train_with_ray(
    config: Config, run: RunFolder, on_round: Callable[[dict[str, Any], int], None] | None
) -> None:
    """Train in Flower's simulation until the run is finished.

    Args:
        config: The settings, `run.folder` and `gallery.path` absolute.
        run: The run's folder.
        on_round: As for `fedstyle_secure.train`.

    Raises:
        ConfigError: The extra `simulation` is not installed.
        FederationError: Flower failed; names its log, which is kept in the run's folder.
    """
    if find_spec("ray") is None:
        raise ConfigError('the engine "ray" needs an extra: pip install "fedstyle-secure[simulation]"')
    nodes = len(roster(config, open_gallery(config.gallery))) + config.secure_sum.enabled
    with tempfile.TemporaryDirectory(prefix="fedstyle-ray-") as scratch:
        folder = Path(scratch)
        variables = _environment(folder / "home")
        app = _write_app(folder / "app", config)
        with _superlink(folder, variables, run.path / "flower.log"):
            options = f"num-supernodes={nodes} client-resources-num-cpus=1"
            _flwr(variables, "run", str(app), "own", "--federation-config", options)
            _follow(run, variables, on_round)


def _environment(home: Path) -> dict[str, str]:
    """Ray's files go with ours, unless the path is longer than a socket's name may be."""
    place = {"RAY_TMPDIR": str(home.parent)} if len(str(home.parent)) <= _LONGEST_RAY_PATH else {}
    return environment(home) | place | {"RAY_USAGE_STATS_ENABLED": "0"}


def _write_app(folder: Path, config: Config) -> Path:
    folder.mkdir()
    for name, content in app_files(config).items():
        (folder / name).write_bytes(content)
    return folder


@contextmanager
def _superlink(folder: Path, variables: Mapping[str, str], log: Path) -> Iterator[None]:
    """A SuperLink on a free port of the loopback interface, and all its children, until the end."""
    port = free_port()
    address = f"127.0.0.1:{port}"
    connection = {"superlink": {"default": "own", "own": {"address": address, "insecure": True}}}
    (Path(variables["FLWR_HOME"]) / "config.toml").write_text(tomli_w.dumps(connection), encoding="utf-8")
    # An empty folder to start in: Ray workers would import an old copy of the package from there.
    empty = folder / "empty"
    empty.mkdir()
    command = ["flower-superlink", "--insecure", "--simulation", "--disable-runtime-dependency-installation"]
    with log.open("ab") as output:
        process = subprocess.Popen(
            [tool(command[0]), *command[1:], "--host", "127.0.0.1", "--port", str(port)],
            cwd=empty,
            env=dict(variables),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_for_port(process, "127.0.0.1", port, log)
        yield
    finally:
        _end_all(process.pid, variables["FLWR_HOME"])
        process.wait(timeout=20)


def _end_all(root: int, home: str) -> None:
    """End a process and everything that it started, sessions of their own included, and what these still
    started meanwhile: all of them inherit the Flower home."""
    import psutil

    processes = []
    with suppress(psutil.NoSuchProcess):
        processes = [psutil.Process(root), *psutil.Process(root).children(recursive=True)]
    while processes:
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.terminate()
        _, alive = psutil.wait_procs(processes, timeout=10)
        for process in alive:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(alive, timeout=10)
        processes = [process for process in psutil.process_iter() if _lives_in(process, home)]


def _lives_in(process: psutil.Process, home: str) -> bool:
    import psutil

    try:
        lives: bool = process.environ().get("FLWR_HOME") == home
        return lives
    except psutil.Error:
        return False


def _follow(
    run: RunFolder, variables: Mapping[str, str], on_round: Callable[[dict[str, Any], int], None] | None
) -> None:
    """Report rounds as their lines appear, until Flower says that the run has ended."""
    rounds = rounds_of(system_bound(run.config()).kinds())
    seen = 0
    asked = time.monotonic()
    while True:
        for line in run.metrics()[seen:]:
            seen += 1
            if on_round:
                on_round(line, rounds)
        if run.finished:
            return
        if time.monotonic() - asked > _ASK_EVERY_S:
            asked = time.monotonic()
            listed = json.loads(_flwr(variables, "ls", "--format", "json"))
            status = listed["runs"][0]["status"]
            # `flwr run` itself ends with 0 even where the run failed; only the status tells.
            if status.startswith("finished") and not run.finished:
                detail = listed["runs"][0].get("status-details", "")
                raise FederationError(
                    f"Flower's run ended as {status} ({detail}); see {run.path / 'flower.log'}"
                )
        time.sleep(_POLL_S)


def _flwr(variables: Mapping[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [tool("flwr"), *arguments], env=dict(variables), capture_output=True, text=True, check=False
    )
    if done.returncode:
        # Flower frames its errors; one line without the frame is what a person can read.
        said = " ".join(line.strip(" │╭╮╰╯─") for line in (done.stderr or done.stdout).splitlines())
        raise FederationError(f"`flwr {arguments[0]}` failed: {' '.join(said.split()) or 'no output'}")
    return done.stdout
