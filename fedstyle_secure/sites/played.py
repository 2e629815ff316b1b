"""A platform's runs, played in the process that serves its SuperLink: that one is loaded already.

A process of a run's own spends more on imports than on the run, where the run is small. `fedstyle platform
run` asks at a socket in the platform's home, whose folder is the platform's alone, and follows. Where nobody
serves there, it plays the run itself.
"""

from __future__ import annotations

import json
import logging
import select
import socket
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from ctypes import c_ulong, py_object, pythonapi
from importlib import import_module
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingUnixStreamServer
from typing import Any

from fedstyle_secure.config import Config
from fedstyle_secure.errors import FederationError, FedStyleError, RunError, error_of
from fedstyle_secure.files import PRIVATE, alone
from fedstyle_secure.sites.homes import Home
from fedstyle_secure.version import __version__

log = logging.getLogger("fedstyle_secure")

SOCKET = "runs.sock"
"""In the platform's home; whoever may open it may read the platform's keys as well."""

_LOOK_S = 0.3
_LONGEST_END_S = 10.0
"""How long a run may take to see that it is told to stop, and then to end, before it is interrupted."""
_LONGEST_SAY_S = 10.0
"""How long who follows may take nothing more, where nothing more fits on the way to it."""
_LONGEST_ASKED = 2**24
"""Bytes of what is asked for: settings."""

OnRound = Callable[[dict[str, Any], int], None]
Say = Callable[[Mapping[str, Any]], None]


@contextmanager
def serving(home: Home, stop: threading.Event) -> Iterator[None]:
    """Play the runs that are asked for in a home, while the block lasts.

    Args:
        home: The platform's.
        stop: Ends the runs that are under way; the same command goes on with each.

    Raises:
        RunError: Another process serves the home.
    """
    with alone(home.path, "another process serves this home; one at a time"):
        yield from _serving(home, stop)


def _serving(home: Home, stop: threading.Event) -> Iterator[None]:
    path = home.path / SOCKET
    path.unlink(missing_ok=True)
    try:
        server = _Server(str(path), home, stop)
    except OSError as error:
        # A socket's path may have a hundred bytes.
        log.warning("%s: %s; ready for runs that `fedstyle platform run` plays itself", path, error)
        yield
        return
    path.chmod(PRIVATE)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # No daemon: a process that ends in the middle of what a library does as it loads may end in a crash.
    threading.Thread(target=_load).start()
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        server.shutdown()
        server.end()


def follow(
    home: Home,
    config: Config,
    out: Path,
    on_round: OnRound,
    *,
    wait: float,
    stop: threading.Event,
) -> bool:
    """Have a run played by whoever serves the home, and follow it to its end.

    Args:
        home: The platform's.
        config: The settings.
        out: The run's folder, anywhere.
        on_round: Called with the metrics of each round and the number of rounds in all.
        wait: As of `run_over_sites`.
        stop: Ends the run.

    Returns:
        Whether it was played to its end; False where nobody serves, or whoever did has ended. A run with a
        folder or file outside the home is not asked for: who serves may not see it, or not write there.

    Raises:
        FedStyleError: What the run failed of, as `run_over_sites` says it.
        RunError: Another version serves the home.
    """
    folder, flat = out.resolve(), config.to_flat()
    places = {key: Path(str(flat[key])).resolve() for key in config.places if flat[key]}
    if not all(place.is_relative_to(home.path.resolve()) for place in (folder, *places.values())):
        return False
    flat |= {key: str(place) for key, place in places.items()}
    asked = {"version": __version__, "config": flat, "out": str(folder), "wait": wait}
    with socket.socket(socket.AF_UNIX) as line:
        try:
            line.connect(str(home.path / SOCKET))
            line.sendall(_packed(asked))
        except OSError:
            return False
        for told in _lines(line, stop):
            if "round" in told:
                on_round(told["round"], told["rounds"])
            elif "warning" in told:
                log.warning("%s", told["warning"])
            elif "error" in told:
                raise error_of(told["code"], told["error"])
            else:
                return True
    log.warning("%s: who served it has ended; going on in this process", home.path)
    return False


def _packed(said: Mapping[str, Any]) -> bytes:
    return json.dumps(said).encode() + b"\n"


def _lines(line: socket.socket, stop: threading.Event) -> Iterator[dict[str, Any]]:
    """What comes, until nothing does; the other side is told once `stop` is set."""
    line.settimeout(_LOOK_S)
    rest, told = b"", False
    while True:
        if stop.is_set() and not told:
            told = True
            line.shutdown(socket.SHUT_WR)
        try:
            came = line.recv(1 << 16)
        except TimeoutError:
            continue
        except OSError:
            return
        if not came:
            return
        *whole, rest = (rest + came).split(b"\n")
        yield from map(json.loads, whole)


def _load() -> None:
    """Import what a run needs, and bring up what torch loads at its first optimiser."""
    import_module("fedstyle_secure.sites.hosted")
    torch = import_module("torch")
    torch.optim.SGD([torch.zeros(1)])
    log.info("ready for runs")


class _Server(ThreadingUnixStreamServer):
    """Runs that are asked for, and what stops each."""

    daemon_threads = True

    def __init__(self, path: str, home: Home, stop: threading.Event) -> None:
        super().__init__(path, _Line)
        self.home, self.stop = home, stop
        self._under_way: dict[threading.Event, tuple[threading.Event, int]] = {}
        self._lock = threading.Lock()

    @contextmanager
    def under_way(self, stopped: threading.Event) -> Iterator[None]:
        """Count a run, once those whose command is gone have ended."""
        ended = threading.Event()
        with self._lock:
            leaving = [run for told, run in self._under_way.items() if told.is_set()]
            self._under_way[stopped] = ended, threading.get_ident()
        for before, thread in leaving:
            if not before.wait(_LOOK_S):
                log.warning("a run whose command is gone has to end first; it is told to")
            _await_end(before, thread)
            # Once: a second interrupt would meet what it does to end.
            before.wait()
        try:
            yield
        finally:
            with self._lock:
                del self._under_way[stopped]
            ended.set()

    def end(self) -> None:
        """Stop what is under way, and wait a while for it: a thread that is left may crash the process at its
        end, and a crash writes keys into a core file."""
        with self._lock:
            left = list(self._under_way.items())
        for stopped, _ in left:
            stopped.set()
        for _, (ended, thread) in left:
            _await_end(ended, thread)
        self.server_close()


def _await_end(ended: threading.Event, thread: int) -> None:
    """Wait a while for a run that was told to stop. One that does not look up from its work (learning from a
    public set, say) is interrupted, as Ctrl-C would in a process of its own."""
    if not ended.wait(_LONGEST_END_S):
        pythonapi.PyThreadState_SetAsyncExc(c_ulong(thread), py_object(KeyboardInterrupt))
        ended.wait(_LONGEST_END_S)


class _Line(StreamRequestHandler):
    """One run: its settings come, what happens goes back."""

    server: _Server

    def handle(self) -> None:
        try:
            asked = json.loads(self.rfile.readline(_LONGEST_ASKED) or "{}")
        except (OSError, ValueError, RecursionError):
            log.warning("%s: what came is no run", self.server.server_address)
            return
        if not isinstance(asked, dict) or not asked:
            return
        # A command that is stopped, and reads no more, would hold its run, and every run after it.
        self.connection.settimeout(_LONGEST_SAY_S)
        stopped, over = threading.Event(), threading.Event()
        watch = threading.Thread(target=self._watch, args=(stopped, over), daemon=True)
        with _warnings_to(self._say), self.server.under_way(stopped):
            watch.start()
            try:
                self._play(asked, stopped)
                said: dict[str, Any] = {"done": True}
            except FedStyleError as error:
                said = {"error": str(error), "code": error.exit_code}
            except KeyboardInterrupt:
                said = {"error": f"{asked['out']}: told to stop; the same command goes on with the run"}
                said["code"] = FederationError.exit_code
            except (OSError, MemoryError) as error:
                said = {"error": f"{type(error).__name__}: {error}", "code": FedStyleError.exit_code}
            except Exception as error:
                log.error("a run failed:\n%s", traceback.format_exc())
                kind = type(error).__name__
                said = {"error": f"the run failed ({kind}); see what the platform's process says", "code": 1}
            over.set()
            watch.join()
            # Before the run counts as ended: the process may end then.
            self._say(said)

    def _play(self, asked: dict[str, Any], stop: threading.Event) -> None:
        from fedstyle_secure.sites.hosted import run_over_sites

        if asked["version"] != __version__:
            raise RunError(
                f"{self.server.home.path}: version {__version__} serves it, and this is {asked['version']}; "
                "start `fedstyle platform serve` again"
            )

        def on_round(line: dict[str, Any], rounds: int) -> None:
            self._say({"round": line, "rounds": rounds})

        config, out = Config.from_flat(asked["config"]), Path(asked["out"])
        run_over_sites(self.server.home, config, out, on_round, wait=asked["wait"], stop=stop)

    def _watch(self, stopped: threading.Event, over: threading.Event) -> None:
        """Stop the run where its command is gone, or where the platform is told to stop."""
        # The line of a command that was killed before it had read everything is reset.
        with suppress(OSError):
            while not over.is_set() and not stopped.is_set() and not self.server.stop.is_set():
                came, _, _ = select.select([self.connection], [], [], _LOOK_S)
                if came and not self.connection.recv(1):
                    break
        stopped.set()

    def _say(self, said: Mapping[str, Any]) -> None:
        try:
            self.wfile.write(_packed(said))
        except OSError:
            # Who follows is gone, or takes nothing more: the run ends, and half a line is the last.
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def _warnings_to(say: Say) -> Iterator[None]:
    """Say what this thread warns of meanwhile, too."""
    own = threading.get_ident()

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == own:
                say({"warning": record.getMessage()})

    handler = Handler(logging.WARNING)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
