"""The files of `configs/`, which come with the package: presets that a command takes by name."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from fedstyle_secure.errors import ConfigError

FOLDER = Path(__file__).with_name("presets")
"""In the sources a link to `configs/`, in an installed package a folder with its files."""

Kind = Literal["run", "audit", "sweep", "policy"]

_BEGINS: dict[Kind, str] = {"audit": "audit_", "sweep": "tradeoff", "policy": "policy"}
"""How the names of a kind begin; a run's are the others."""


def presets(kind: Kind) -> dict[str, Path]:
    """The presets of a kind, by name."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.toml")) if _kind(path.stem) == kind}


def file_of(given: Path, kind: Kind) -> Path:
    """The file that a path or a preset's name means; a file of that name wins.

    Args:
        given: As it was written. What has a folder or an ending is a path, whether or not something is there.
        kind: What the file is for.

    Raises:
        ConfigError: It is a mere name, of no file and of no preset; lists the presets of the kind.
    """
    there = presets(kind)
    if given.name in there and str(given) == given.name and not given.is_file():
        return there[given.name]
    if given.exists() or given.suffix or str(given) != given.name:
        return given
    raise ConfigError(f"{given}: no such file, and no preset of a {kind}; presets: {', '.join(there)}")


def _kind(name: str) -> Kind:
    return next((kind for kind, begin in _BEGINS.items() if name.startswith(begin)), "run")
