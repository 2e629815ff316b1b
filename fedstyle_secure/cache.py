"""What follows from the program and its settings alone, kept so that a machine makes it once.

Only what the program itself painted, or measured in that, is ever kept here: no picture of anybody's and
nothing that was learned from one. A file counts where it is whole, by a checksum inside it, and of the same
key; else what it held is made anew. The folder must be one that nobody else can write to.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
from platformdirs import user_cache_path

from fedstyle_secure.errors import PrivacyError, RunError
from fedstyle_secure.files import arrays_digest, private_folder, read_arrays, sources_digest, write_arrays

FOLDER = "FEDSTYLE_CACHE"
"""Environment variable that names the folder."""

_LIBRARIES = ("numpy", "pillow", "scipy", "torch")


def cache_folder() -> Path:
    """The folder that `FEDSTYLE_CACHE` names, or the one that the platform has for caches."""
    named = os.environ.get(FOLDER)
    return Path(named) if named else user_cache_path("fedstyle")


def key_of(sources: tuple[Path, ...], *parameters: int | str) -> str:
    """The text of all that something made follows from; another text is another thing.

    Args:
        sources: Folders of the sources that make it.
        parameters: What they are given.
    """
    return json.dumps([_digest(sources), _versions(), platform.machine(), parameters])


def remembered(
    folder: Path, name: str, key: str, make: Callable[[], Mapping[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """Arrays that were kept under a key, or are made now and kept.

    Processes that come at the same time make the same file, each as a whole. Where the folder cannot be used,
    one line of the log says so, and the arrays are made every time.

    Args:
        folder: Where files of this sort lie.
        name: Begins the file's name.
        key: See `key_of`.
        make: Makes them.
    """
    path = folder / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.safetensors"
    try:
        private_folder(folder)
    except (OSError, PrivacyError) as error:
        _go_without(folder, str(error))
        return dict(make())
    if (kept := _read(path, key)) is not None:
        return kept
    made = dict(make())
    try:
        write_arrays(path, made, {"sha256": arrays_digest(made, key)}, synced=False)
    except OSError as error:
        _go_without(folder, str(error))
    return made


def _read(path: Path, key: str) -> dict[str, np.ndarray] | None:
    """What a file holds, or None where there is none, or one that is damaged or was made for another key."""
    try:
        arrays, metadata = read_arrays(path)
    except RunError:
        return None
    return arrays if metadata.get("sha256") == arrays_digest(arrays, key) else None


@cache
def _digest(sources: tuple[Path, ...]) -> str:
    return sources_digest(sources)


@cache
def _versions() -> dict[str, str]:
    return {name: version(name) for name in _LIBRARIES}


@cache
def _go_without(folder: Path, reason: str) -> None:
    """Say so, once a process."""
    logging.getLogger("fedstyle_secure").warning(
        "the cache %s cannot be used, which costs time only: %s", folder, reason
    )
