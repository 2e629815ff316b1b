"""The folder of runs as the page may read it.

What a browser sends is looked up in a listing of the folder and never made into a path. A run in which
anything is a link, a pipe or a device is not read at all: a link leads out of the folder, and a pipe never
ends. Whoever can change the folder between the look and the reading is out of scope: it is the user's own.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fedstyle_secure.errors import RunError
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.studios import has_studios, studios_root

_SWEEP_MARK = ".fedstyle-sweep"
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_MOST_FILES = 100_000


class MissingError(RunError):
    """Nothing of that name is here."""


@dataclass(frozen=True)
class Place:
    """A run or a sweep in the folder.

    Attributes:
        key: What a browser calls it: the folder's name where that is plain, else a hash of it; a cell of a
            sweep has its sweep's before a colon.
        name: As people read it.
        path: The folder.
    """

    key: str
    name: str
    path: Path

    @property
    def run(self) -> RunFolder:
        """As a run."""
        return RunFolder(self.path)


@dataclass(frozen=True)
class Listing:
    """What a folder holds.

    Attributes:
        runs: By name.
        sweeps: By name.
        hidden: How many entries are links, which are not followed.
    """

    runs: tuple[Place, ...]
    sweeps: tuple[Place, ...]
    hidden: int


class Shelf:
    """A folder of runs.

    Args:
        root: The folder.

    Raises:
        RunError: It is no folder, or a run itself.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise RunError(f"{root}: no such folder; give the one that holds the runs, such as runs/")
        if RunFolder(root).begun:
            raise RunError(f"{root}: is a run itself; give the folder that it lies in")
        self.root = root.resolve()

    def listing(self) -> Listing:
        """Runs and sweeps that lie here now."""
        runs, sweeps, hidden = [], [], 0
        for name, path in _folders(self.root):
            if path is None:
                hidden += 1
            elif _marked(path, ".fedstyle-run"):
                runs.append(Place(_key(name), _shown(name), path))
            elif _marked(path, _SWEEP_MARK):
                sweeps.append(Place(_key(name), _shown(name), path))
        return Listing(tuple(runs), tuple(sweeps), hidden)

    def run(self, key: str) -> Place:
        """The run that a browser means. Raises MissingError where there is none, RunError as `whole`."""
        sweep, colon, _ = key.partition(":")
        known = self.cells(self.sweep(sweep)).values() if colon else self.listing().runs
        return self._found(key, {place.key: place for place in known}, "run")

    def sweep(self, key: str) -> Place:
        """The sweep that a browser means. Raises as `run`."""
        return self._found(key, {place.key: place for place in self.listing().sweeps}, "sweep")

    def cells(self, sweep: Place) -> Mapping[str, Place]:
        """The runs of a sweep's cells, by the cell's folder as its table has it: `cells/NAME`."""
        home = sweep.path / "cells"
        if home.is_symlink() or not home.is_dir():
            return {}
        return {
            f"cells/{name}": Place(f"{sweep.key}:{_key(name)}", f"{sweep.name}, {_shown(name)}", path / "run")
            for name, path in _folders(home)
            if path is not None and not (path / "run").is_symlink() and _marked(path / "run", ".fedstyle-run")
        }

    def studios(self, run: RunFolder) -> Path | None:
        """The studios of a run where they lie in this folder too; None where nothing may be read of them.

        Raises:
            RunError: As `whole`.
        """
        place = studios_root(run.config(), run)
        if not place.is_relative_to(self.root) or not place.is_dir():
            return None
        whole(place)
        return place if has_studios(run, place) else None

    def _found(self, key: str, known: Mapping[str, Place], what: str) -> Place:
        if key not in known:
            raise MissingError(f"no {what} of that name is in {self.root}")
        whole(known[key].path)
        return known[key]


def whole(folder: Path) -> str:
    """Check that a folder holds folders and plain files alone.

    Returns:
        What changes with any file of it: a hash of their names, sizes and times.

    Raises:
        RunError: Something in it is a link or no plain file, it cannot be listed, or there is too much; names
            it.
    """
    found = hashlib.sha256()
    try:
        for number, (name, info) in enumerate(_walk(folder, "")):
            if number == _MOST_FILES:
                raise RunError(f"{folder}: holds more than {_MOST_FILES} files, and is not shown")
            found.update(os.fsencode(f"{name}\0{info.st_size}\0{info.st_mtime_ns}\0"))
    except (OSError, RecursionError) as error:
        raise RunError(f"{folder}: cannot be listed: {error}") from None
    return found.hexdigest()


def _walk(folder: Path, inside: str) -> Iterator[tuple[str, os.stat_result]]:
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            try:
                info = entry.stat(follow_symlinks=False)
            except FileNotFoundError:  # A run that goes on replaces its files.
                continue
            if stat.S_ISDIR(info.st_mode):
                yield from _walk(folder / entry.name, f"{inside}{entry.name}/")
            elif stat.S_ISREG(info.st_mode):
                yield inside + entry.name, info
            else:
                raise RunError(
                    f"{folder / entry.name}: is a link or no plain file, so nothing of this folder is shown"
                )


def _folders(root: Path) -> list[tuple[str, Path | None]]:
    """Folders in a folder by name; None for links."""
    with os.scandir(root) as entries:
        found = sorted((entry.name, entry.is_symlink(), entry.is_dir()) for entry in entries)
    return [
        (name, None if link else root / name)
        for name, link, folder in found
        if link or (folder and not name.startswith("."))
    ]


def _marked(folder: Path, mark: str) -> bool:
    try:
        return stat.S_ISREG((folder / mark).lstat().st_mode)
    except OSError:
        return False


def _key(name: str) -> str:
    if _PLAIN.fullmatch(name):
        return name
    return f"~{hashlib.sha256(os.fsencode(name)).hexdigest()[:24]}"


def _shown(name: str) -> str:
    """A folder's name as text, whatever bytes it is of."""
    return os.fsencode(name).decode(errors="backslashreplace")
