"""A process that is asked to end, and takes along what it has started."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager


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
