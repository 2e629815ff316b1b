"""Processes that end with the one that started them, even where that one was killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import connection


def leave_with_parent() -> None:
    """Watch, from a thread of this process, over the one that started it, and end when it ends."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_wait_for, args=(parent.sentinel,), daemon=True).start()


def leave(code: int) -> None:
    """End at once, with the processes that this one has started."""
    for child in multiprocessing.active_children():
        child.kill()
    os._exit(code)


@contextmanager
def exit_on_sigterm() -> Iterator[None]:
    """Turn SIGTERM into SystemExit with 143 for a while, so that engines end what they started.

    The handler that was there comes back. Outside the main thread, which no signal reaches, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        yield
    finally:
        # None: set by something else than Python, which cannot be set again from here.
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


def _wait_for(parent: int) -> None:
    connection.wait([parent])
    leave(1)
