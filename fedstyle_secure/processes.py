"""Processes that end with the one that started them, even where that one was killed."""

from __future__ import annotations

import multiprocessing
import os
import threading
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


def _wait_for(parent: int) -> None:
    connection.wait([parent])
    leave(1)
