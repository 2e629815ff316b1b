"""Runs a sweep: all cells of a grid, as many at a time as there are cores, then tables and plots."""

from __future__ import annotations

import logging
import os
import re
import secrets
import shutil
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedstyle_secure.errors import AuditError, ConfigError, RunError, resumable
from fedstyle_secure.files import alone, file_sha256, read_json, write_json, write_text
from fedstyle_secure.frames import frame
from fedstyle_secure.registry import words_named
from fedstyle_secure.sweep.cells import CODE, CellFolder
from fedstyle_secure.sweep.code import code_digest
from fedstyle_secure.sweep.grid import Grid, plain
from fedstyle_secure.sweep.plots import draw_all
from fedstyle_secure.sweep.sessions import Sessions
from fedstyle_secure.sweep.table import Row, Table, tabulate
from fedstyle_secure.sweep.tuning import tuning_cost
from fedstyle_secure.sweep.workers import run_cells
from fedstyle_secure.version import __version__

if TYPE_CHECKING:
    import pandas

FORMAT = 2
_MARK = ".fedstyle-sweep"
_CELLS, _PLOTS, _GRID, _ABOUT = "cells", "plots", "grid.toml", "sweep.json"
_FILES = (
    _CELLS, _PLOTS, _GRID, _ABOUT, "results.csv", "results.parquet", "columns.json", "sessions.json",
    "report", ".lock", _MARK,
)  # fmt: skip
"""Everything that a sweep writes; deleting one deletes nothing else."""

_TABLES = ("results.csv", "results.parquet", "columns.json")

_PACKAGES = ("torch", "opacus", "flwr", "tenseal", "numpy", "scipy", "dp-accounting", "matplotlib", "pyarrow")

OnCell = Callable[[str, str, int, int, float], None]
"""Called with a cell's name, its error or "", cells done, cells in all, and seconds left as estimated. The
first call, before any cell runs, has no name: it says how many were done before, and how long the others will
take by what those took; NaN where none was done."""


@dataclass(frozen=True)
class Sweep:
    """A sweep that came to its end.

    Attributes:
        folder: Where it lies.
        table: One row a cell.
        about: What `sweep.json` says.
    """

    folder: Path
    table: Table
    about: Mapping[str, Any]

    @property
    def failed(self) -> Mapping[str, str]:
        """Cells that failed, and why."""
        return {row["cell"]: row["error"] for row in self.table.rows if row["state"] != "finished"}

    def to_pandas(self) -> pandas.DataFrame:
        """A row a cell, as in `results.csv`. Raises ConfigError where pandas is missing."""
        return frame(self.table.rows, {column.name: column.kind for column in self.table.columns})

    @classmethod
    def open(cls, path: Path | str) -> Sweep:
        """Read a sweep.

        Raises:
            AuditError: There is none, it is not finished, or a file was edited; names the file.
        """
        folder = Path(path)
        if not is_sweep(folder):
            raise AuditError(f"{folder}: no sweep here; `fedstyle sweep` makes one")
        if not (folder / _ABOUT).exists():
            raise AuditError(f"{folder}: the sweep is not finished; go on with `fedstyle sweep --resume`")
        try:
            about = read_json(folder / _ABOUT, dict, AuditError)
            if about["format"] != FORMAT:
                raise AuditError(
                    f"{folder / _ABOUT}: format {about['format']!r} is not known; this reads {FORMAT}"
                )
            for name in (_GRID, *_TABLES):
                if name not in about["files"]:
                    raise AuditError(
                        f"{folder / _ABOUT}: has no hash of {name}; `fedstyle sweep --resume` writes it anew"
                    )
            for name, expected in about["files"].items():
                if not (folder / name).is_file() or file_sha256(folder / name) != expected:
                    raise AuditError(f"{folder / name}: is missing or was edited since the sweep was made")
            table = Table.read(folder)
            for row in table.rows:
                _require_hashes(folder, about, row)
            return cls(folder, table, about)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise AuditError(f"{folder / _ABOUT}: cannot be read: {error}") from None


def is_sweep(folder: Path) -> bool:
    """Whether a sweep was begun in a folder."""
    return (folder / _MARK).exists()


def sweep(
    grid: Grid | Path | str,
    out: Path | str,
    *,
    resume: bool = False,
    force: bool = False,
    paper: bool = False,
    on_cell: OnCell | None = None,
) -> Sweep:
    """Train and audit every cell of a grid, and write tables and plots.

    A sweep that was killed goes on: finished cells are kept, unfinished ones go on where they stopped. So
    does one whose grid was changed: cells that are in both are kept. Cells that another version of this
    program made are not used; how many lie there is said. Finished cells are checked file by file. A cell
    that fails does not stop the others; what it failed of is in its row, and resuming tries it again. Cells
    run in processes that are spawned, so a script that calls this needs the usual
    `if __name__ == "__main__":`.

    Args:
        grid: A grid, or a TOML file with one.
        out: The sweep's folder.
        resume: Go on with what is there.
        force: Delete what is there.
        paper: Draw figures for a column of a paper too, as PDF.
        on_cell: Told of progress.

    Raises:
        ConfigError: The grid is not allowed.
        RunError: A sweep is there and neither `resume` nor `force` was asked for, or nothing is there to go
            on with, or another process is writing it.
        AuditError: A finished cell was edited, or has other pictures than those it is compared with.
    """
    grid = grid if isinstance(grid, Grid) else Grid.load(Path(grid))
    if resume and force:
        raise ConfigError("--resume goes on with a sweep and --force deletes it: choose one")
    root = Path(out).resolve()
    _prepare(root, resume=resume, force=force)
    again = resumable(root, "go on with `fedstyle sweep --resume`")
    with again, _lock(root), Sessions(root / "sessions.json", code_digest()) as sessions:
        # Until the end this is no finished sweep, whatever it was before.
        (root / _ABOUT).unlink(missing_ok=True)
        write_text(root / _GRID, grid.to_toml())
        cells = [CellFolder(root / _CELLS / cell.name, cell) for cell in grid.cells()]
        left_over = _left_over(root, cells)
        for words in left_over.values():
            logging.getLogger("fedstyle_secure").warning("%s: %s", root, words)
        known = {cell.path for cell in cells if cell.finished}
        _verify([cell for cell in cells if cell.path in known])
        _run(grid, cells, on_cell, sessions)
        done = [cell for cell in cells if cell.finished]
        _verify([cell for cell in done if cell.path not in known])
        _same_pictures(done)
        table = tabulate(grid, cells, root)
        delta = min(cell.cell.config.privacy.delta for cell in cells)
        cost = tuning_cost(sorted((root / _CELLS).glob("*")), delta)
        shutil.rmtree(root / _PLOTS, ignore_errors=True)
        headlines = words_named(grid.base.run.system).headlines
        drawn = draw_all(table.rows, grid.axes, headlines, cost, root / _PLOTS, paper=paper)
        files = [root / _GRID, *table.write(root), *drawn]
        files += [path for cell in done for path in cell.stated]
        sessions.note()
        about = {
            "format": FORMAT,
            "name": grid.name,
            "began": sessions.began,
            "wall_s": sessions.wall_s,
            "sessions": sessions.number,
            "versions": {"fedstyle-secure": __version__}
            | {name: metadata.version(name) for name in _PACKAGES},
            "code": code_digest(),
            "audit": None if grid.audit is None else grid.audit.model_dump(mode="json"),
            "axes": {
                axis.name: {p.name: plain(p.settings) for p in axis.points} for axis in grid.axes
            },
            "seeds": grid.seeds,
            "processes": _processes(grid),
            "cells": [
                {"cell": row["cell"], "state": row["state"], "error": row["error"]} for row in table.rows
            ],
            "left_over": left_over,
            "tuning_cost": cost.to_dict(),
            "files": {str(path.relative_to(root)): file_sha256(path) for path in files},
        }  # fmt: skip
        write_json(root / _ABOUT, about)
    return Sweep.open(root)


def _left_over(root: Path, cells: list[CellFolder]) -> dict[str, str]:
    """Cells that are in the folder and not in the grid, in words; they count in the tuning cost alone."""
    ours = {cell.path for cell in cells}
    others = [path for path in sorted((root / _CELLS).glob("*")) if path.is_dir() and path not in ours]
    notes = [path / CODE for path in others]
    known = [path.read_text(encoding="utf-8").strip() if path.is_file() else "" for path in notes]
    older = sum(digest != code_digest() for digest in known)
    counts = {
        "another_version": (older, "of another version of the program"),
        "another_grid": (len(others) - older, "of another grid"),
    }
    return {
        key: f"{number} {'cell' if number == 1 else 'cells'} {what} {'is' if number == 1 else 'are'} left in "
        f"{_CELLS}/; {'it is' if number == 1 else 'they are'} not used, but for the tuning cost"
        for key, (number, what) in counts.items()
        if number
    }


def _verify(cells: list[CellFolder]) -> None:
    for cell in cells:
        cell.verify()


def _same_pictures(cells: list[CellFolder]) -> None:
    """Cells whose gallery has the same settings are compared with one another: their pictures must agree."""
    groups: dict[str, list[CellFolder]] = {}
    for cell in cells:
        groups.setdefault(cell.cell.config.gallery.model_dump_json(), []).append(cell)
    for group in groups.values():
        digests = [cell.pictures for cell in group]
        usual = max(dict.fromkeys(digests), key=digests.count)
        for cell, digest in zip(group, digests, strict=True):
            if digest != usual:
                raise AuditError(
                    f"{cell.run.manifest_file}: the cell's pictures are not those of "
                    f"{group[digests.index(usual)].path.name}, which has the same gallery and the same seed"
                )


def _run(grid: Grid, cells: list[CellFolder], on_cell: OnCell | None, sessions: Sessions) -> None:
    left = [cell for cell in cells if not cell.finished]
    tell = on_cell or (lambda *_: None)
    done, started = len(cells) - len(left), time.perf_counter()
    before = [_seconds(cell) for cell in cells if cell.finished]
    each = statistics.fmean(before) / min(_processes(grid), max(len(left), 1)) if before else float("nan")
    tell("", "", done, len(cells), each * len(left))
    for cell in left:
        cell.begin(code_digest())
    for fresh, number in enumerate(run_cells([cell.work for cell in left], _processes(grid)), start=1):
        sessions.note()
        spent = time.perf_counter() - started
        seconds = spent / fresh * (len(left) - fresh)
        tell(left[number].path.name, left[number].error, done + fresh, len(cells), seconds)


def _seconds(cell: CellFolder) -> float:
    """How long a finished cell took, with its audit."""
    return float(cell.summary()["time"]["wall_s"] + cell.audit()[0].get("wall_s", 0.0))


def _require_hashes(folder: Path, about: Mapping[str, Any], row: Row) -> None:
    """A finished cell's results have hashes, and its folder is where a sweep puts it."""
    if row["folder"] != f"{_CELLS}/{row['cell']}" or not re.fullmatch(r"[\w-][\w.-]*", row["cell"], re.ASCII):
        raise AuditError(f"{folder / 'results.parquet'}: cell {row['cell']!r} has no folder of its own")
    if row["state"] != "finished":
        return
    names = ["summary.json", *(["audit/audit.json", "audit/findings.json"] if about["audit"] else [])]
    for name in (f"{row['folder']}/run/{name}" for name in names):
        if name not in about["files"]:
            raise AuditError(
                f"{folder / _ABOUT}: has no hash of {name}; `fedstyle sweep --resume` writes them anew"
            )


def _processes(grid: Grid) -> int:
    if grid.processes:
        return grid.processes
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _prepare(root: Path, *, resume: bool, force: bool) -> None:
    begun = is_sweep(root)
    if resume and not begun:
        raise RunError(f"{root}: no sweep here to go on with")
    if begun and not resume and not force:
        raise RunError(
            f"{root}: holds a sweep; `--resume` goes on with it, `--force` deletes it, `--out` names another "
            "folder"
        )
    if not begun and root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise RunError(f"{root}: is there already and holds no sweep; name a new or empty folder")
    if begun and force:
        with _lock(root):
            for name in _FILES:
                path = root / name
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
    root.mkdir(parents=True, exist_ok=True)
    if not (root / _MARK).exists():
        write_text(root / _MARK, secrets.token_hex(16))


def _lock(root: Path) -> AbstractContextManager[None]:
    return alone(root, "another process is writing this sweep")
