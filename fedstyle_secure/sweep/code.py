"""Which program made a cell: a hash of its sources, as a version's number stays while bounds change."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import attacks
import fedstyle_secure

_ENDINGS = (".py", ".j2", ".css", ".typ")
"""Sources, and the templates of reports."""


@cache
def code_digest() -> str:
    """SHA-256, 64 hexadecimal digits, of all sources of this program as they lie on the disk at the first
    call. Library versions have no part in it; every run's manifest has those."""
    return digest_of([Path(package.__path__[0]) for package in (fedstyle_secure, attacks)])


def digest_of(packages: list[Path]) -> str:
    """SHA-256 of the sources in some packages' folders: names and contents, each with its length before it.

    Args:
        packages: Folders; their own names count, where they lie does not.
    """
    whole = hashlib.sha256()
    for package in packages:
        files = [path for path in package.rglob("*") if path.suffix in _ENDINGS and path.is_file()]
        for name, path in sorted((path.relative_to(package.parent).as_posix(), path) for path in files):
            for part in (name.encode(), path.read_bytes()):
                whole.update(len(part).to_bytes(8, "big") + part)
    return whole.hexdigest()
