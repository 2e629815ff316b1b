"""The page on loopback, until interrupted."""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Callable
from pathlib import Path

import uvicorn

from fedstyle_secure.errors import ConfigError
from fedstyle_secure.view.app import view_app
from fedstyle_secure.view.guard import Keys
from fedstyle_secure.view.shelf import Shelf

HOST = "127.0.0.1"


def serve(root: Path, port: int, policy: Path | None, ready: Callable[[Keys], None]) -> None:
    """Serve a folder of runs to this machine until SIGINT or SIGTERM.

    Args:
        root: The folder.
        port: To listen on; 0: any that is free.
        policy: A policy's file that runs are held against, or None.
        ready: Told what opens the page, once it answers.

    Raises:
        RunError: There is no such folder.
        ConfigError: The policy cannot be read, or the port cannot be listened on.
        KeyboardInterrupt: On SIGINT, once all answers are given.
    """
    shelf = Shelf(root)
    if policy is not None and not policy.is_file():
        raise ConfigError(f"{policy}: no policy is here; configs/policy.toml is one")
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, port))
            listening.listen(64)
        except OSError as error:
            why = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used: {error.strerror}"
            raise ConfigError(f"--port {port} {why}; valid: another one, or 0 for any that is free") from None
        keys = Keys(listening.getsockname()[1])
        config = uvicorn.Config(
            view_app(shelf, keys, policy),
            http="h11",
            ws="none",
            loop="asyncio",
            lifespan="off",
            # An access log would hold the token.
            access_log=False,
            log_config=None,
            log_level="critical",
            server_header=False,
            proxy_headers=False,
            limit_concurrency=64,
            timeout_graceful_shutdown=3,
        )
        # What is wrong with a form is said in the answer, not on the terminal.
        logging.getLogger("python_multipart").setLevel(logging.CRITICAL)
        ready(keys)
        uvicorn.Server(config).run(sockets=[listening])
