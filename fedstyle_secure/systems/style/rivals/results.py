"""The table as files and as cells: JSON lines, CSV, and text for a terminal."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fedstyle_secure.errors import RunError
from fedstyle_secure.files import write_text
from fedstyle_secure.systems.style.rivals.compare import Gap, Row

LINES, TABLE = "rivals.jsonl", "rivals.csv"

FOUND = ("method", "top-1", "less FedStyle", "mAP")
GIVEN = ("method", "leaks", "gives away", "guarantee")

NOTE = (
    "Which artist's card is nearest to a held-out picture; ± one standard error over pictures, of "
    "differences picture by picture. All are simulated in one process on prepared features, without "
    "Flower and without ciphertexts; rivals' settings were chosen on public and procedural artists."
)

LEAKS = "Leaks: mean cosine between what is published of an artist and its true mean; all: the pictures are."


def require_free(folder: Path, *, force: bool) -> None:
    """Check that nobody's table is overwritten.

    Raises:
        RunError: There is one.
    """
    if (folder / LINES).exists() and not force:
        raise RunError(f"{folder}: holds a comparison already; --force makes it anew")


def flat(row: Row) -> dict[str, Any]:
    """A row as JSON: numbers, texts, None, and what was chosen as an object."""
    values: dict[str, Any] = {"method": row.method}
    for name, gap in (
        ("artist_top1", row.artist_top1),
        ("artist_map", row.artist_map),
        ("top1_less_fedstyle", row.top1_gap),
        ("map_less_fedstyle", row.map_gap),
    ):
        values |= {name: None if gap is None else gap.mean, f"{name}_se": None if gap is None else gap.error}
    return values | {
        "leaks_cosine": row.leaks,
        "gives_away": row.gives,
        "guarantee": row.guarantee,
        "draws": row.draws,
        "pictures": row.pictures,
        "chosen": row.chosen,
    }


def write(rows: Sequence[Row], folder: Path) -> tuple[Path, Path]:
    """Write JSON lines and CSV; what was chosen is JSON in one cell there."""
    values = [flat(row) for row in rows]
    write_text(folder / LINES, "".join(json.dumps(one) + "\n" for one in values))
    sheet = io.StringIO(newline="")
    writer = csv.DictWriter(sheet, list(values[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(one | {"chosen": json.dumps(one["chosen"])} for one in values)
    write_text(folder / TABLE, sheet.getvalue())
    return folder / LINES, folder / TABLE


def found_cells(row: Row) -> tuple[str, ...]:
    """A row for a terminal, under `FOUND`."""
    return row.method, _shown(row.artist_top1), _shown(row.top1_gap, "+"), _shown(row.artist_map)


def given_cells(row: Row) -> tuple[str, ...]:
    """A row for a terminal, under `GIVEN`."""
    return row.method, "all" if row.leaks is None else f"{row.leaks:.2f}", row.gives, row.guarantee


def chosen(row: Row) -> str:
    """What was tuned, as text; "" where nothing was."""
    return ", ".join(f"{name} {value:g}" for name, value in row.chosen.items())


def _shown(gap: Gap | None, sign: str = "") -> str:
    return "-" if gap is None else f"{gap.mean:{sign}.3f} ± {gap.error:.3f}"
