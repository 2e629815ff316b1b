"""The platform's SuperLink: Flower's own program, with TLS and node keys, started again when it ends.

It runs no code of a bundle: it is started in the isolation in which somebody else takes its tasks on, who
needs a secret for that, and that is `sites.hosted` with the installed package.
"""

from __future__ import annotations

import logging
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from flwr.proto.control_pb2 import ListNodesRequest, RegisterNodeRequest, StartRunRequest
from flwr.proto.fab_pb2 import Fab
from flwr.proto.runtime_pb2 import AcquireTaskRequest
from flwr.supercore.constant import TaskType
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor, SuperExecAuthHttpInterceptor
from flwr.supercore.runtime import RuntimeHttpClient

from fedstyle_secure.engines.flower import environment, tool, wait_for_port
from fedstyle_secure.files import read_secret
from fedstyle_secure.sites.cards import Card
from fedstyle_secure.sites.homes import Home, platform_facts
from fedstyle_secure.sites.tls import raw_public

log = logging.getLogger("fedstyle_secure")

_AGAIN_S = 2.0
_LONGEST_AGAIN_S = 30.0


def address(home: Home) -> str:
    """Where the platform itself reaches its SuperLink: past any proxy that nodes see."""
    host, _, port = platform_facts(home)["link"].rpartition(":")
    return f"{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"


def authority(home: Home) -> bytes:
    """What the SuperLink's certificate goes back to, PEM."""
    return (home.path / "ca.crt").read_bytes()


def serve(home: Home, stop: threading.Event, online: threading.Event) -> None:
    """Run the SuperLink of a platform, and start it again when it ends, until it is told to stop.

    Args:
        home: The platform's.
        stop: Ends it.
        online: Set while it answers, with the keys of all enrolled nodes.
    """
    waited = 0.0
    while not stop.is_set():
        began = time.monotonic()
        with (home.path / "superlink.log").open("ab") as output:
            process = subprocess.Popen(
                _command(home), env=environment(home.path / "flwr"), stdout=output, stderr=subprocess.STDOUT
            )
        try:
            host, _, port = address(home).rpartition(":")
            wait_for_port(process, host, int(port), home.path / "superlink.log")
            register(home)
            online.set()
            log.info("the SuperLink answers on %s", address(home))
            while process.poll() is None and not stop.wait(0.5):
                pass
        finally:
            online.clear()
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=15)
            process.kill()
            process.wait()
        if not stop.is_set():
            waited = (
                min(_LONGEST_AGAIN_S, 2 * waited) if time.monotonic() - began < 60 and waited else _AGAIN_S
            )
            log.warning("the SuperLink ended; starting it again in %.0f s", waited)
            stop.wait(waited)


def register(home: Home) -> None:
    """Let the SuperLink know the node keys of everybody who is enrolled, and of nobody else."""
    with _control(home) as control:
        there = {bytes(node.public_key) for node in control.ListNodes(ListNodesRequest()).nodes_info}
        for card in enrolled(home):
            key = raw_public(card.node_key)
            if key not in there:
                control.RegisterNode(RegisterNodeRequest(public_key=key))


def enrolled(home: Home) -> list[Card]:
    """Cards of everybody who has a node."""
    opener = home.known.card("opener")
    return [*home.known.artists(), *([opener] if opener is not None else [])]


def submit(home: Home, bundle: bytes, sha256: str) -> int:
    """Start a run. Returns: Flower's id of it."""
    with _control(home) as control:
        fab = Fab(hash_str=sha256, content=bundle)
        run_id: int = control.StartRun(StartRunRequest(fab=fab, federation="")).run_id
    return run_id


def acquire(home: Home, run_id: int, foreign: Callable[[str], None], stop: threading.Event) -> str | None:
    """Take a run's task on.

    Args:
        home: The platform's.
        run_id: Flower's id of the run.
        foreign: Called with the token of a task of a run that somebody else started.
        stop: Ends the waiting.

    Returns:
        The task's token; None when told to stop.
    """
    client = RuntimeHttpClient.from_server_address(
        address(home),
        False,
        authority(home),
        interceptors=[
            RuntimeVersionHttpInterceptor(component_name="SuperExec"),
            SuperExecAuthHttpInterceptor(
                master_secret=read_secret(home.path / "executor.secret"),
                protected_methods=["/flwr.proto.Runtime/AcquireTask"],
            ),
        ],
    )
    try:
        while not stop.is_set():
            given = client.AcquireTask(AcquireTaskRequest(supported_task_types=[TaskType.SERVER_APP]))
            if given.HasField("task") and given.token:
                if given.task.run_id == run_id:
                    token: str = given.token
                    return token
                foreign(given.token)
            stop.wait(0.2)
    finally:
        client.close()
    return None


def _command(home: Home) -> list[str]:
    path, (host, _, port) = home.path, platform_facts(home)["link"].rpartition(":")
    return [
        tool("flower-superlink"),
        *("--ssl-ca-certfile", str(path / "ca.crt")),
        *("--ssl-certfile", str(path / "server.crt")),
        *("--ssl-keyfile", str(path / "server.key")),
        *("--superexec-auth-secret-file", str(path / "executor.secret")),
        *("--database", str(path / "link.db")),
        *("--host", host, "--port", port),
        *("--isolation", "process"),
        "--enable-supernode-auth",
        "--disable-runtime-dependency-installation",
    ]


def _control(home: Home) -> ControlHttpClient:
    return ControlHttpClient.from_server_address(
        address(home),
        False,
        authority(home),
        interceptors=[RuntimeVersionHttpInterceptor(component_name="flwr CLI")],
    )
