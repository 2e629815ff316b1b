"""Cells in processes of their own: one numerical thread each, and none outlives the sweep."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

from fedstyle_secure.config import Scalar
from fedstyle_secure.files import locked, write_text
from fedstyle_secure.processes import leave, leave_with_parent
from fedstyle_secure.sweep.work import ERROR, Work, run_cell
from fedstyle_secure.threads import one_thread_for_good

_PATIENCE = 10.0
"""Seconds that a worker has for ending its own processes."""


def run_cells(work: Sequence[Work], processes: int) -> Iterator[int]:
    """Run cells, each in a process of its own, and yield the number of each that has ended.

    A process of its own costs some seconds of loading, and gives a cell its own peak of memory: where one is
    killed for want of memory, one cell is lost.

    Args:
        work: The cells.
        processes: How many at a time, >= 1.
    """
    context = multiprocessing.get_context("spawn")
    running: dict[int, tuple[int, SpawnProcess]] = {}
    waiting = iter(enumerate(work))
    try:
        while True:
            while len(running) < processes and (following := next(waiting, None)) is not None:
                number, task = following
                Path(task[0]).mkdir(parents=True, exist_ok=True)
                (Path(task[0]) / ERROR).unlink(missing_ok=True)
                process = context.Process(target=_work, args=task)
                process.start()
                running[process.sentinel] = (number, process)
            if not running:
                return
            for sentinel in connection.wait(list(running)):
                assert isinstance(sentinel, int)
                number, process = running.pop(sentinel)
                process.join()
                _note_sudden_end(Path(work[number][0]) / ERROR, process.exitcode)
                process.close()
                yield number
    finally:
        _end([process for _, process in running.values()])


def _note_sudden_end(error: Path, code: int | None) -> None:
    if code and not error.exists():
        how = (
            f"by {signal.Signals(-code).name}, perhaps for want of memory"
            if code < 0
            else f"with code {code}"
        )
        write_text(error, f"its process was ended {how}")


def _end(processes: Sequence[SpawnProcess]) -> None:
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + _PATIENCE
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()
        process.close()


def _work(home: str, settings: dict[str, Scalar], audit: str) -> None:
    """A process' whole life."""
    # Who interrupts a sweep at the keyboard interrupts the process that started this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: leave(143))
    leave_with_parent()
    path = Path(home)
    # Workers of a sweep that was killed end by themselves, a moment later.
    with locked(path):
        problem = _tried(lambda: _run(path, settings, audit))
        if problem:
            write_text(path / ERROR, problem)
    sys.exit(1 if problem else 0)


def _run(home: Path, settings: dict[str, Scalar], audit: str) -> None:
    one_thread_for_good()
    run_cell(home, settings, audit)


def _tried(work: Callable[[], None]) -> str:
    """What went wrong, in one line, or "". The traceback of what nobody expected is printed."""
    from fedstyle_secure.errors import FedStyleError

    try:
        work()
    except FedStyleError as error:
        return str(error)
    except Exception as error:
        traceback.print_exc()
        return f"{type(error).__name__}: {error}"
    return ""
