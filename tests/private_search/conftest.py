"""What tests of private search share."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from fedstyle_secure.private_search.service import SearchServer
from fedstyle_secure.private_search.shelf import Offer, Served


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="session")
def made() -> Callable[..., tuple[np.ndarray, Offer]]:
    """Unit queries (5, d), and an offer of n cards of as many dimensions."""

    def build(cards: int = 40, dim: int = 24, seed: int = 0) -> tuple[np.ndarray, Offer]:
        rng = np.random.default_rng(seed)
        rows = unit(rng.normal(size=(cards, dim)))
        names = tuple(f"artist {number}" for number in range(cards))
        return unit(rng.normal(size=(5, dim))), Offer(names, rows, b"an encoder's file", "")

    return build


@pytest.fixture(scope="session")
def served(made) -> Served:
    return Served.of(made()[1])


@pytest.fixture
def running() -> Iterator[Callable[[SearchServer], SearchServer]]:
    """Serves in a thread until the test ends."""
    begun: list[tuple[SearchServer, threading.Thread]] = []

    def begin(server: SearchServer) -> SearchServer:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        begun.append((server, thread))
        return server

    yield begin
    for server, thread in begun:
        server.shutdown()
        thread.join()
        server.server_close()


class Wire:
    """What went through a proxy: bytes of each connection, up and down."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.up: list[bytes] = []
        self.down: list[bytes] = []


@pytest.fixture
def tapped() -> Callable[[SearchServer], object]:
    """A proxy before a server that keeps every byte."""

    @contextmanager
    def begin(server: SearchServer) -> Iterator[Wire]:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            wire = Wire(listening.getsockname()[1])

            def serve() -> None:
                while True:
                    buyer, _ = listening.accept()
                    with buyer, socket.create_connection(("127.0.0.1", server.server_port)) as platform:
                        up = threading.Thread(target=_pump, args=(buyer, platform, wire.up))
                        up.start()
                        _pump(platform, buyer, wire.down)
                        up.join()
                    if not wire.up[-1]:
                        return

            thread = threading.Thread(target=serve)
            thread.start()
            try:
                yield wire
            finally:
                # A connection that says nothing ends the proxy.
                socket.create_connection(("127.0.0.1", wire.port)).close()
                thread.join()
                wire.up.pop(), wire.down.pop()

    return begin


def _pump(source: socket.socket, sink: socket.socket, kept: list[bytes]) -> None:
    """Pass on what comes, and keep it, until no more comes."""
    parts = []
    while data := source.recv(1 << 16):
        parts.append(data)
        sink.sendall(data)
    kept.append(b"".join(parts))
    sink.shutdown(socket.SHUT_WR)
