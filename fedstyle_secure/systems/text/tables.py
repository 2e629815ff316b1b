"""Tables that say what stands in a picture: `labels.csv`, or the field's `gt.txt`.

Texts are as private as pictures: a row is called by its place, and no message holds anything out of one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fedstyle_secure.errors import GalleryError
from fedstyle_secure.galleries.assemble import is_inside
from fedstyle_secure.galleries.folder import SPLIT_VALUES, Split, table_rows
from fedstyle_secure.names import nfc

LABELS, TRUTH = "labels.csv", "gt.txt"

# A tab; or else the first comma or space, as neither is in the paths of tables that are written so.
_LINE = re.compile(r"([^\t]*)\t(.*)|([^,\s]+)(?:\s*(,)\s*|\s+)(.*)", re.DOTALL)


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        place: The table's name and the row's line.
        path: Of the picture, as written.
        text: What stands in it, "" where nothing is said.
        split: What the table says, or that the picture's content does.
        artist: As written, "" where the table has no such column.
        problem: Why the row cannot be used, "" if it may.
    """

    place: str
    path: str
    text: str
    split: Split = "seeded"
    artist: str = ""
    problem: str = ""


def table_in(folder: Path) -> Path | None:
    """The table in a folder, if there is one.

    Raises:
        GalleryError: There are two, or it is a link out of the folder.
    """
    found = [folder / name for name in (LABELS, TRUTH) if (folder / name).is_file()]
    if len(found) > 1:
        raise GalleryError(f"both {LABELS} and {TRUTH} are there; valid: one of them")
    if found and not is_inside(found[0], folder):
        raise GalleryError(f"{found[0].name} is a link out of its folder; valid: the file itself")
    return found[0] if found else None


def read_table(table: Path, split_column: str, *, artists: bool) -> list[Row]:
    """All rows of a table.

    Args:
        table: `labels.csv`: UTF-8 with commas and a first line that names columns `path`, `text`, and where
            there is a split the split column (train, test or nothing). `gt.txt`: no first line; path, a tab,
            comma or space, and the text, in quotes or not after a comma.
        split_column: Its name; only `split` may be missing.
        artists: Whether the rows say whose they are: `labels.csv` in a column `artist`, `gt.txt` by the first
            folder of a path.

    Raises:
        GalleryError: The table cannot be read, or has not these columns.
    """
    if table.name == LABELS:
        return list(_labels(table, split_column, artists))
    if split_column != "split":
        raise GalleryError(f"gallery.split_column is {split_column!r}, but {TRUTH} has no columns")
    return list(_truth(table, artists))


def _labels(table: Path, split_column: str, artists: bool) -> Iterator[Row]:
    needed = ["path", "text", *(["artist"] if artists else []), *({nfc(split_column)} - {"split"})]
    for line, row in table_rows(table, needed, private=True):
        place = f"{LABELS} row {line}"
        if not row:
            yield Row(
                place, "", "", problem="has another number of values than the first line; valid: as many"
            )
            continue
        value = row.get(nfc(split_column))
        split = "seeded" if value is None else SPLIT_VALUES.get(value.strip())
        problem = "" if split else "has no such split; valid: train, test or nothing"
        artist = row["artist"].strip() if artists else ""
        yield Row(place, row["path"].strip(), nfc(row["text"].strip()), split or "unused", artist, problem)


def _truth(table: Path, artists: bool) -> Iterator[Row]:
    try:
        lines = table.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise GalleryError(f"{TRUTH} cannot be read ({error}); valid: UTF-8 text") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        path, text = _parted(line.strip())
        artist, inside, _ = path.partition("/")
        yield Row(f"{TRUTH} row {number}", path, nfc(text), artist=artist if artists and inside else "")


def _parted(line: str) -> tuple[str, str]:
    found = _LINE.fullmatch(line)
    if found is None:
        return line, ""
    tabbed, after_tab, path, comma, text = found.groups()
    if tabbed is not None:
        return tabbed.strip(), after_tab.strip()
    if comma and len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1].replace('\\"', '"')
    return path, text
