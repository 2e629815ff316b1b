"""A headless Chromium, spoken to over its own debugging pipe; the report tests' runs and sweeps."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

_SPEC = importlib.util.spec_from_file_location("sweeps", Path(__file__).parents[1] / "report" / "sweeps.py")
assert _SPEC is not None
assert _SPEC.loader is not None
_SWEEPS = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_SWEEPS)
_RUNS = _SWEEPS.load("conftest")
trained, bare, run, audited = _RUNS.trained, _RUNS.bare, _RUNS.run, _RUNS.audited
swept, swept_copy = _SWEEPS.swept, _SWEEPS.swept_copy

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_LONGEST = 60.0


class Browser:
    """Speaks the DevTools protocol: JSON messages that end in a zero byte, on the process' files 3 and 4."""

    def __init__(self, program: str, profile: Path) -> None:
        ours, theirs = os.pipe(), os.pipe()
        self._number, self._read, self._write, self._rest = 0, theirs[0], ours[1], b""
        self.events: list[dict[str, Any]] = []
        command = [
            program, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
            "--disable-dev-shm-usage", "--no-first-run", f"--user-data-dir={profile}", "about:blank",
        ]  # fmt: skip
        shell = f'exec "$@" 3<&{ours[0]} 4>&{theirs[1]}'
        self._process = subprocess.Popen(
            ["bash", "-c", shell, "browser", *command],
            pass_fds=(ours[0], theirs[1]),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(ours[0])
        os.close(theirs[1])
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.ask(f"{domain}.enable")

    def send(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """Send a command and wait for its result; events are kept."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """The same, of the page."""
        return self.send(method, self._session, **params)

    def open(self, url: str) -> None:
        """Load a page and wait until it says that it is loaded."""
        self.events.clear()
        self.ask("Page.navigate", url=url)
        self.wait("Page.loadEventFired")

    def wait(self, event: str) -> None:
        """Wait until the page has said something since events were last cleared."""
        while not any(known["method"] == event for known in self.events):
            self._next()

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page."""
        return self.ask("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def close(self) -> None:
        """End the browser that this started."""
        self.send("Browser.close")
        self._process.wait(timeout=_LONGEST)
        os.close(self._read)
        os.close(self._write)

    def _next(self) -> dict[str, Any]:
        import select

        until = time.monotonic() + _LONGEST
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], max(until - time.monotonic(), 0))
            assert ready, "the browser does not answer"
            self._rest += os.read(self._read, 1 << 16)
        message, _, self._rest = self._rest.partition(b"\0")
        found = json.loads(message)
        if "method" in found:
            self.events.append(found)
        return found


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None or sys.platform == "win32":
        pytest.skip(
            f"needs a Chromium, which is not installed: {', '.join(NAMES)} (Debian: apt install chromium)"
        )
    found = Browser(program, tmp_path_factory.mktemp("browser"))
    yield found
    found.close()


def pytest_configure(config: pytest.Config) -> None:
    """The mark is known also where the project's settings do not name it."""
    config.addinivalue_line("markers", "browser: needs a Chromium, run by `make test-browser`")
