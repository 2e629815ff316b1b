"""What the commands share: options, and how they print."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines and nothing else.")]


def say(text: str) -> None:
    """A line for people."""
    typer.echo(text)


def print_json(value: Any) -> None:
    """Everything at once, for machines."""
    typer.echo(json.dumps(value, indent=2))


def short(path: Path) -> Path:
    """The path as seen from here, where it lies below."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def table(title: str, head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """A table of text; the first column is never cut.

    Args:
        title: Above it.
        head: Headings.
        rows: Cells, as many a row as headings; at least one row.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    drawn = Table(title=title, title_justify="left", title_style="bold")
    drawn.add_column(head[0], no_wrap=True, overflow="ignore", min_width=max(len(row[0]) for row in rows))
    for column in head[1:]:
        drawn.add_column(column, overflow="fold")
    for row in rows:
        drawn.add_row(*(escape(cell) for cell in row))
    Console().print(drawn)
