"""What operators watch: health and Prometheus figures on the loopback interface, and logs as JSON lines.

Nothing private is in any of them: kinds of messages, codes, numbers. An artist's pictures, names of files and
texts of exceptions stay in its own log.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from fedstyle_secure.errors import ConfigError
from fedstyle_secure.version import __version__


class Tally:
    """Counts of what a part did, for `/metrics`, and whether it is online, for `/healthz`."""

    def __init__(self, role: str, online: threading.Event) -> None:
        """
        Args:
            role: Of the part.
            online: Set while it is online.

        Raises:
            ConfigError: The extra `sites` is not installed.
        """
        try:
            from prometheus_client import CollectorRegistry, Counter, Gauge, Info
        except ImportError:
            raise ConfigError('--watch needs an extra: pip install "fedstyle-secure[sites]"') from None
        self._online = online
        self._registry = CollectorRegistry()
        Info("fedstyle_part", "Which part this is.", registry=self._registry).info(
            {"role": role, "version": __version__}
        )
        Gauge(
            "fedstyle_online", "1 while the SuperLink takes it for online.", registry=self._registry
        ).set_function(lambda: float(online.is_set()))
        self._messages = Counter(
            "fedstyle_messages", "Messages by type and outcome: 0, or why it was declined.", ["kind", "code"],
            registry=self._registry,
        )  # fmt: skip

    def answered(self, kind: str, code: int) -> None:
        """Count a message. Args: kind: Its type. code: 0, or of the decline."""
        self._messages.labels(kind, code).inc()

    @contextmanager
    def served(self, port: int) -> Iterator[int]:
        """Serve `/healthz` and `/metrics` on a port of 127.0.0.1 while the block lasts; 0: a free one."""
        from prometheus_client import generate_latest

        tally = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/metrics":
                    self._send(200, generate_latest(tally._registry))
                elif self.path == "/healthz":
                    well = tally._online.is_set()
                    self._send(200 if well else 503, b"online\n" if well else b"not online\n")
                else:
                    self._send(404, b"/healthz or /metrics\n")

            def _send(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Whoever watches is nothing for the log."""

        server = ThreadingHTTPServer(("127.0.0.1", port), Answer)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
            server.server_close()


class JsonLines(logging.Formatter):
    """A log record as one JSON line."""

    def format(self, record: logging.LogRecord) -> str:
        """`at`, `level` and `said`."""
        at = self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z")
        return json.dumps({"at": at, "level": record.levelname, "said": record.getMessage()})
