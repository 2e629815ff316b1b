"""Processes that work off a list: spawned, and none of them outlives the one that started them.

One that is killed costs its own task, which is named. The executors of the standard library and of joblib
lose everything that runs at that moment, and do not say whose fault it was.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from itertools import islice
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any, Generic, TypeVar

from attacks.ranges import whole

_Task = TypeVar("_Task")

_PATIENCE = 10.0
"""Seconds that a process has for ending its own processes."""


@dataclass(frozen=True)
class Done(Generic[_Task]):
    """A task that has ended.

    Attributes:
        task: Which.
        value: What the work gave.
        killed: How its process ended before the work did, such as `by SIGKILL`; "" where it did not.
    """

    task: _Task
    value: Any
    killed: str = ""


def in_processes(
    work: Callable[..., Any],
    arguments: Callable[[_Task], tuple[Any, ...]],
    tasks: Sequence[_Task],
    processes: int,
    *,
    begin: Callable[[], None] | None = None,
    anew: bool = False,
    finish: bool = False,
) -> Generator[Done[_Task], None, None]:
    """Do tasks, several at a time, and give each as it ends.

    Args:
        work: Importable; its arguments and what it gives can be pickled.
        arguments: What the work is called with, asked for only when a process is free for the task.
        tasks: They are begun in this order.
        processes: How many at a time, >= 1.
        begin: Importable; what each process does first.
        anew: A process for each task, with its own peak of memory, in place of processes that go on.
        finish: Wait for what runs when the caller stops or a task fails; else it is ended.

    Raises:
        AttackError: `processes` is below 1.
        Exception: What the work raised, with its traceback in a note.
    """
    whole("processes", processes, 1)
    waiting, running = iter(tasks), dict[Connection, tuple[_Task, _Worker]]()
    idle: list[_Worker] = []
    try:
        # All at once: what is sent to one that still starts may have to wait for it.
        idle += [_Worker.start(work, begin) for _ in range(min(processes, len(tasks)))]
        while True:
            for task in list(islice(waiting, processes - len(running))):
                worker = idle.pop() if idle else _Worker.start(work, begin)
                running[worker.pipe] = (task, worker)
                worker.give(arguments(task))
            if not running:
                return
            for pipe in connection.wait(list(running)):
                assert isinstance(pipe, Connection)
                task, worker = running.pop(pipe)
                try:
                    value, error = pipe.recv()
                except (EOFError, ConnectionResetError):
                    yield Done(task, None, worker.how_it_ended())
                    continue
                if anew:
                    _end([worker], finish=True)
                else:
                    idle.append(worker)
                if error is not None:
                    raise error
                yield Done(task, value)
    finally:
        _end(idle, finish=True)
        _end([worker for _, worker in running.values()], finish)


def leave_with_parent() -> None:
    """Watch, from a thread of this process, over the one that started it, and end when it ends."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_wait_for, args=(parent.sentinel,), daemon=True).start()


def _wait_for(parent: int) -> None:
    connection.wait([parent])
    _leave(1)


def _leave(code: int) -> None:
    """End at once, with the processes that this one has started."""
    for child in multiprocessing.active_children():
        child.kill()
    os._exit(code)


@dataclass(frozen=True)
class _Worker:
    process: SpawnProcess
    pipe: Connection

    @classmethod
    def start(cls, work: Callable[..., Any], begin: Callable[[], None] | None) -> _Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, work, begin))
        process.start()
        # The process alone holds its end, so that its death closes it.
        theirs.close()
        return cls(process, ours)

    def give(self, arguments: tuple[Any, ...]) -> None:
        try:
            self.pipe.send(arguments)
        except (BrokenPipeError, ConnectionResetError):
            """It has died; reading from it will say so."""

    def how_it_ended(self) -> str:
        self.process.join()
        code = self.process.exitcode or 0
        self.process.close()
        self.pipe.close()
        return f"by {signal.Signals(-code).name}" if code < 0 else f"with code {code}"


def _serve(pipe: Connection, work: Callable[..., Any], begin: Callable[[], None] | None) -> None:
    """A process' whole life."""
    # Who interrupts at the keyboard interrupts the process that started this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: _leave(143))
    leave_with_parent()
    if begin is not None:
        begin()
    try:
        while True:
            pipe.send(_tried(work, pipe.recv()))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        """Nobody wants anything more."""


def _tried(work: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, Exception | None]:
    try:
        return work(*arguments), None
    except Exception as error:
        error.add_note(traceback.format_exc())
        return None, error


def _end(workers: Sequence[_Worker], finish: bool) -> None:
    for worker in workers:
        worker.pipe.close()
        if not finish:
            worker.process.terminate()
    deadline = time.monotonic() + _PATIENCE
    for worker in workers:
        worker.process.join(None if finish else max(0.0, deadline - time.monotonic()))
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
        worker.process.close()
