"""The platform's service: a catalogue, an encoder, and scores of queries that it cannot read.

Plain HTTP without state. It writes no log. TLS, and limits on whole networks, are a proxy's in front of it.
"""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from fedstyle_secure.errors import FedStyleError, SearchError
from fedstyle_secure.private_search.messages import ID_BYTES, MOST_QUERY_BYTES
from fedstyle_secure.private_search.shelf import Served, Shelf

MOST_CONNECTIONS = 16
_SECONDS = 30
_WINDOW = 60
_MOST_ADDRESSES = 10_000


class Allowance:
    """How many queries an address may ask a minute: whoever asks for all basis vectors has every card.

    Args:
        a_minute: Queries.
        clock: Seconds that only go forward.

    Example:
        >>> one = Allowance(1, clock=lambda: 0.0)
        >>> one.take("a"), one.take("a"), one.take("b")
        (True, False, True)
    """

    def __init__(self, a_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock = a_minute, clock
        self._lock = threading.Lock()
        self._window, self._taken = -1, Counter[str]()

    def take(self, address: str) -> bool:
        """Count a query of this address; False where it has none left, or too many addresses ask."""
        with self._lock:
            window = int(self._clock() // _WINDOW)
            if window != self._window:
                self._window, self._taken = window, Counter()
            known = address in self._taken or len(self._taken) < _MOST_ADDRESSES
            if not known or self._taken[address] >= self._most:
                return False
            self._taken[address] += 1
            return True


class SearchServer(ThreadingHTTPServer):
    """Serves a shelf until `shutdown`; a query is computed after the other.

    Args:
        shelf: What is served.
        host: Address to listen on.
        port: Port; 0: any that is free.
        a_minute: Queries of one address.
        clock: Seconds that only go forward.

    Raises:
        SearchError: The address cannot be listened on.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = MOST_CONNECTIONS

    def __init__(
        self,
        shelf: Shelf,
        host: str = "127.0.0.1",
        port: int = 0,
        a_minute: int = 30,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.shelf = shelf
        self.allowance = Allowance(a_minute, clock)
        self.computing = threading.Lock()
        self._room = threading.BoundedSemaphore(MOST_CONNECTIONS)
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            raise SearchError(f"{host}:{port} cannot be listened on: {error.strerror or error}") from None

    @property
    def url(self) -> str:
        """Where buyers find it."""
        return f"http://{self.server_address[0]!s}:{self.server_port}"

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: a buyer that hangs up is no event, and what it sent is nobody's to read."""


class _Handler(BaseHTTPRequestHandler):
    """One request, and the connection ends."""

    server: SearchServer
    timeout: ClassVar[int] = _SECONDS
    server_version = "search"
    sys_version = ""

    def do_GET(self) -> None:
        self._answer(self._read)

    def do_POST(self) -> None:
        self._answer(self._search)

    def _answer(self, made: Callable[[Served], tuple[int, bytes]]) -> None:
        try:
            status, body = made(self.server.shelf.now())
        except FedStyleError:
            # What is wrong with the platform's own files is not the buyer's to read.
            status, body = 503, b"nothing can be searched here now"
        self.send_response(status)
        self.send_header("Content-Type", "application/octet-stream" if status == 200 else "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _read(self, served: Served) -> tuple[int, bytes]:
        if self.path == "/catalogue":
            return 200, served.catalogue.to_bytes()
        if self.path == f"/encoder/{served.catalogue.encoder}":
            return 200, served.offer.encoder
        return 404, b"there are /catalogue, /encoder/SHA256 and /search"

    def _search(self, served: Served) -> tuple[int, bytes]:
        if self.path != "/search":
            return 404, b"there are /catalogue, /encoder/SHA256 and /search"
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch("[0-9]{1,12}", length):
            return 411, b"a query says its length"
        if int(length) > MOST_QUERY_BYTES:
            return 413, f"no query has more than {MOST_QUERY_BYTES} bytes".encode()
        body = self.rfile.read(int(length))
        if not self.server.allowance.take(self.client_address[0]):
            return 429, b"this address has asked as often as it may; try again in a minute"
        if body[:ID_BYTES] != served.catalogue.id:
            return 409, b"the catalogue has changed; read it again"
        try:
            with self.server.computing:
                return 200, served.index.answer(body)
        except SearchError as error:
            return 400, str(error).encode("ascii", "replace")

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: who asked when is nobody's to keep."""
