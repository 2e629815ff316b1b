"""Cells in processes of their own: one numerical thread each, and none outlives the sweep."""

from __future__ import annotations

import traceback
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path

from attacks.pool import in_processes
from fedstyle_secure.config import Scalar
from fedstyle_secure.files import locked, write_text
from fedstyle_secure.sweep.work import ERROR, Work, run_cell
from fedstyle_secure.threads import one_thread_for_good


def run_cells(work: Sequence[Work], processes: int) -> Generator[int, None, None]:
    """Run cells, each in a process of its own, and yield the number of each that has ended.

    A process of its own costs some seconds of loading, and gives a cell its own peak of memory: where one is
    killed for want of memory, one cell is lost.

    Args:
        work: The cells.
        processes: How many at a time, >= 1.
    """
    numbers = range(len(work))
    with closing(
        in_processes(
            _tried, lambda n: _cleared(work[n]), numbers, processes, begin=one_thread_for_good, anew=True
        )
    ) as ended:
        for done in ended:
            error = Path(work[done.task][0]) / ERROR
            if done.killed and not error.exists():
                write_text(error, f"its process was ended {done.killed}, perhaps for want of memory")
            yield done.task


def _cleared(task: Work) -> Work:
    """A cell's folder is there, without what an earlier try failed of."""
    home = Path(task[0])
    home.mkdir(parents=True, exist_ok=True)
    (home / ERROR).unlink(missing_ok=True)
    return task


def _tried(home: str, settings: dict[str, Scalar], audit: str) -> None:
    """Run a cell; what went wrong is written down in one line, and what nobody expected printed whole."""
    from fedstyle_secure.errors import FedStyleError

    path, problem = Path(home), ""
    # Workers of a sweep that was killed end by themselves, a moment later.
    with locked(path):
        try:
            run_cell(path, settings, audit)
        except FedStyleError as error:
            problem = str(error)
        except Exception as error:
            traceback.print_exc()
            problem = f"{type(error).__name__}: {error}"
        if problem:
            write_text(path / ERROR, problem)
