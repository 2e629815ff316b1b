"""What the commands share: options, and how they print."""

from __future__ import annotations

import io
import json
import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedstyle_secure.errors import RunError
from fedstyle_secure.visible import visible

if TYPE_CHECKING:
    from rich.console import Console

OpenerKey = Annotated[
    str | None,
    typer.Option(
        "--opener",
        metavar="KEY",
        help="The opener's public key, 64 hexadecimal digits, as the opener itself gave it.",
        show_default="the studios', or the one that the run states",
    ),
]
StudiosPath = Annotated[
    Path | None,
    typer.Option(
        "--studios",
        help="The folder of the artists' own ledgers.",
        show_default="where the run says",
    ),
]
DeviceOption = Annotated[
    str | None,
    typer.Option(
        "--device", help="auto, cpu, cuda or mps: where it is computed.", show_default="as run.device says"
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines and nothing else.")]

_WIDEST = 60
"""Places of a terminal that a first column takes at most on one line."""


@contextmanager
def everything_shown() -> Iterator[None]:
    """Write out, as `\\u0141`, what the terminal's encoding lacks, instead of failing of it."""
    streams = [s for s in (sys.stdout, sys.stderr) if isinstance(s, io.TextIOWrapper)]
    before = [stream.errors for stream in streams]
    for stream in streams:
        stream.reconfigure(errors="backslashreplace")
    try:
        yield
    finally:
        for stream, errors in zip(streams, before, strict=True):
            stream.reconfigure(errors=errors)


@contextmanager
def notices_on(console: Console) -> Iterator[None]:
    """Show the package's notices there for a while; its logger is left as it was found."""
    from rich.logging import RichHandler

    logger = logging.getLogger("fedstyle_secure")
    handler = RichHandler(console=console, show_time=False, show_path=False, markup=False)
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


def say(text: str, *, err: bool = False) -> None:
    """One line for people. A line break within it is written out: a name must not forge a line."""
    typer.echo(visible(text), err=err)


class Heartbeat:
    """Lines for whoever reads a log, where a progress bar would not be seen: the first, the last, and of
    those between them one each half a minute at most.

    Example:
        >>> now = iter([0.0, 5.0, 31.0, 32.0])
        >>> beat = Heartbeat(print, clock=lambda: next(now)).beat
        >>> for done in (1, 2, 3, 4):
        ...     beat(f"{done} of 4", last=done == 4)
        1 of 4
        3 of 4
        4 of 4
    """

    def __init__(
        self,
        tell: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        every: float = 30.0,
    ) -> None:
        """Args: tell: Writes a line. clock: Seconds. every: Seconds between lines."""
        self._tell, self._clock, self._every = tell, clock, every
        self._told: float | None = None

    def beat(self, text: str, *, last: bool = False) -> None:
        """Say it, unless something was said a moment ago."""
        now = self._clock()
        if last or self._told is None or now - self._told >= self._every:
            self._told = now
            self._tell(text)


def heartbeat(console: Console) -> Heartbeat:
    """For a console: silent where it is quiet, or shows a bar."""
    silent = console.quiet or console.is_terminal
    return Heartbeat((lambda text: None) if silent else (lambda text: say(text, err=True)))


def print_json(value: Any) -> None:
    """Everything at once, for machines."""
    typer.echo(json.dumps(value, indent=2))


def require_folder(path: Path) -> None:
    """Say what is misspelt before seconds go by in which torch is imported.

    Raises:
        RunError: There is no such folder.
    """
    if not path.is_dir():
        raise RunError(f"{path}: no run here, nor any folder; `fedstyle runs` lists the runs")


def short(path: Path) -> Path:
    """The path as seen from here, where it lies below."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def table(title: str, head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """A table of text; the first column is never cut, and goes over several lines only beyond 60 places.

    Args:
        title: Above it.
        head: Headings.
        rows: Cells, as many a row as headings; at least one row. Nothing in them is markup.
    """
    from rich.box import MINIMAL
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    cells = [[Text(visible(cell)) for cell in row] for row in rows]
    # No frame: seven columns have to fit into 80 places. Lines between them, as names may have spaces.
    drawn = Table(box=MINIMAL, pad_edge=False)
    widest = max(row[0].cell_len for row in cells)
    if widest <= _WIDEST:
        drawn.add_column(head[0], no_wrap=True, overflow="ignore", min_width=widest)
    else:  # One very long name must not push every other column off the screen.
        drawn.add_column(head[0], overflow="fold", max_width=_WIDEST)
    for column in head[1:]:
        drawn.add_column(column, overflow="fold")
    for row in cells:
        drawn.add_row(*row)
    Console().print(Text(visible(title), style="bold"), drawn)
