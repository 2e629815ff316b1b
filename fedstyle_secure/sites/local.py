"""A whole federation on one machine, each part in a process of its own that sees its own folder alone.

For trying it out and for tests. Where the system allows it (Linux with namespaces), every other part's folder
is hidden from a process; elsewhere the folders lie beside each other, and `hidden` says so.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

from fedstyle_secure.engines.flower import environment, free_port
from fedstyle_secure.errors import FederationError
from fedstyle_secure.sites.homes import Home, enrol, init_artist, init_opener, init_platform

_HIDE = (
    # The own folder stays, as what this shell stands in; an empty file system covers all of them, and the
    # own one is put back into it.
    'cd "$2" && mount --make-rprivate / && mount -t tmpfs none "$1" && mkdir -p "$2" '
    '&& mount -c --bind . "$2" && cd "$2" && shift 2 && exec "$@"'
)
_LONGEST_START_S = 120.0
_LONGEST_END_S = 20.0


class LocalSites:
    """Sites side by side in one folder, and their processes; leaving the block ends all of them.

    Attributes:
        platform: The platform's home.
        opener: The opener's home.
        artists: The artists' homes, by name.
        hidden: Whether each process sees its own site alone.
    """

    def __init__(self, root: Path, artists: Mapping[str, Path], public: Path) -> None:
        """Make all homes, and enrol everybody who needs to know each other.

        Args:
            root: A new folder; each part gets a folder in it, its site.
            artists: By name: a folder that becomes the artist's gallery, copied to its site.
            public: Gallery of the platform's pictures, copied to its site.
        """
        self._root = root.resolve()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._last: dict[Path, subprocess.Popen[bytes]] = {}
        self.hidden = _can_hide()
        self.platform = init_platform(
            self._home("platform"), "localhost", free_port(), self._copied("platform", public)
        )
        self.opener = init_opener(self._home("opener"))
        self.artists = {
            name: init_artist(self._home(f"artist-{i}"), name, self._copied(f"artist-{i}", pictures))
            for i, (name, pictures) in enumerate(artists.items())
        }
        cards = [home.card for home in self.artists.values()]
        for card in (self.opener.card, *cards):
            enrol(self.platform, card)
        for card in (self.platform.card, *cards):
            enrol(self.opener, card)
        for home in self.artists.values():
            enrol(home, self.platform.card)
            enrol(home, self.opener.card)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the SuperLink and all nodes, and wait until all are online.

        Raises:
            FederationError: One ended, or does not come online; names its log.
        """
        self.spawn(self.platform, "platform", "serve")
        for home in (self.opener, *self.artists.values()):
            self.spawn(home, "node")
        self.await_line(self.platform, "ready for runs")
        for home in (self.opener, *self.artists.values()):
            self.await_line(home, "online as node")

    def spawn(self, home: Home, *command: str, more: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
        """Start `fedstyle COMMAND HOME MORE` in the site of a home; its output goes to `log(home)`."""
        site = home.path.parent
        argv = [sys.executable, "-m", "fedstyle_secure", *command, str(home.path), *more]
        if self.hidden:
            unshare = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-Urm"]
            argv = [*unshare, "sh", "-c", _HIDE, "sh", str(self._root), str(site), *argv]
        variables = environment(site / "flwr") | {"XDG_CACHE_HOME": str(site / "cache")}
        with self.log(home).open("ab") as output:
            process = subprocess.Popen(
                argv, cwd=site, env=variables, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        self._processes.append(process)
        self._last[home.path] = process
        return process

    def process(self, home: Home) -> subprocess.Popen[bytes]:
        """The process that was last started for a home."""
        return self._last[home.path]

    def log(self, home: Home) -> Path:
        """What a part's processes say."""
        return home.path.parent / "output.log"

    def await_line(self, home: Home, text: str, times: int = 1, seconds: float = _LONGEST_START_S) -> None:
        """Wait until a part has said something so often.

        Raises:
            FederationError: It does not; names its log.
        """
        end = time.monotonic() + seconds
        while self.log(home).read_text(encoding="utf-8", errors="replace").count(text) < times:
            if time.monotonic() > end:
                raise FederationError(f"{self.log(home)}: no {text!r} in {seconds:g} s")
            time.sleep(0.2)

    def stop(self) -> None:
        """End every process that is left, and everything that it started."""
        for process in self._processes:
            end(process, signal.SIGTERM)
        deadline = time.monotonic() + _LONGEST_END_S
        for process in self._processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=max(0.1, deadline - time.monotonic()))
            end(process, signal.SIGKILL)
            process.wait()
        self._processes.clear()

    def _home(self, part: str) -> Path:
        return self._root / part / "home"

    def _copied(self, part: str, pictures: Path) -> Path:
        return Path(shutil.copytree(pictures, self._root / part / "pictures"))


def end(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal to a process and to everything that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


@cache
def _can_hide() -> bool:
    """Whether a process can be given a view of the disk of its own."""
    if shutil.which("unshare") is None:
        return False
    unshare = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-Urm"]
    tried = subprocess.run(
        [*unshare, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False
    )
    return tried.returncode == 0
