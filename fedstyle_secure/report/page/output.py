"""Files as a report writes them: the same bytes for the same values, whole or not at all."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fedstyle_secure.files import write_bytes
from fedstyle_secure.spreadsheet import guarded


def json_text(values: Any) -> str:
    """Values as JSON; NaN and infinity are refused."""
    return json.dumps(values, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def csv_text(head: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as CSV. Texts that a spreadsheet would take for a formula get an apostrophe in front."""
    file = io.StringIO()
    writer = csv.DictWriter(file, list(head), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: _cell(value) for key, value in row.items()})
    return file.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, list | tuple):
        value = " ".join(value)
    if isinstance(value, Mapping):
        value = json.dumps(dict(value), sort_keys=True)
    return guarded(value) if isinstance(value, str) else value


def write(path: Path, content: str | bytes) -> Path:
    """Write a file whole or not at all, and return its path."""
    write_bytes(path, as_bytes(content))
    return path


def as_bytes(content: str | bytes) -> bytes:
    """What of a content lies in its file."""
    # JSON can hold lone surrogates, which UTF-8 cannot: they are written as JSON writes them.
    return content.encode(errors="backslashreplace") if isinstance(content, str) else content
