"""Which program made a cell: a hash of its sources, as a version's number stays while bounds change."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import attacks
import fedstyle_secure
from fedstyle_secure.files import sources_digest


@cache
def code_digest() -> str:
    """SHA-256, 64 hexadecimal digits, of all sources of this program as they lie on the disk at the first
    call. Library versions have no part in it; every run's manifest has those."""
    return sources_digest(Path(package.__path__[0]) for package in (fedstyle_secure, attacks))
