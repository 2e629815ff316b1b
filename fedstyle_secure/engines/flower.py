"""Flower's own programs as processes of ours: where they lie, what they see, and their end."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fedstyle_secure.errors import ConfigError, FederationError

_POLL_S = 0.5
_LONGEST_START_S = 60.0


def tool(name: str) -> str:
    """The path of one of Flower's programs. Raises ConfigError where it is missing."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise ConfigError(f"the program {name!r} is missing; flwr installs it")
    return found


def environment(home: Path) -> dict[str, str]:
    """Variables of every process of Flower: a home of its own, no telemetry, no look-ups, no installation."""
    home.mkdir(exist_ok=True)
    return os.environ | {
        "FLWR_HOME": str(home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "OMP_NUM_THREADS": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }


def wait_for_port(process: subprocess.Popen[bytes], host: str, port: int, log: Path) -> None:
    """Wait until a process answers on a port.

    Raises:
        FederationError: It ended, or does not answer; names its log.
    """
    for _ in range(int(_LONGEST_START_S / _POLL_S)):
        if process.poll() is not None:
            raise FederationError(f"Flower's SuperLink ended at once; see {log}")
        with suppress(OSError), socket.create_connection((host, port), timeout=1):
            return
        time.sleep(_POLL_S)
    raise FederationError(f"Flower's SuperLink does not answer; see {log}")


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def quiet() -> Iterator[None]:
    """Flower logs every round; here the metrics and the progress bar say the same."""
    logger = logging.getLogger("flwr")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)
