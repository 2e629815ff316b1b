"""Train a model over artists who never share their pictures, and say what it costs them.

The functions mirror the `fedstyle` commands: `train`, `audit`, `report`, `check`, `sweep`, `search`,
`ledger`, `verify`, `withdraw`, `rehearse`, `track`. Importing the package loads none of torch, opacus or
flwr.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fedstyle_secure.version import __version__

if TYPE_CHECKING:
    from fedstyle_secure.commands import check, ledger, verify, withdraw
    from fedstyle_secure.config import Config
    from fedstyle_secure.galleries.opening import open_gallery
    from fedstyle_secure.runs import list_runs
    from fedstyle_secure.systems.style.rehearsal import rehearse
    from fedstyle_secure.systems.style.search import search
    from fedstyle_secure.tracking.track import track
    from fedstyle_secure.training import Run, train

_EXPORTS = {
    "Config": "fedstyle_secure.config",
    "Run": "fedstyle_secure.training",
    "check": "fedstyle_secure.commands",
    "ledger": "fedstyle_secure.commands",
    "list_runs": "fedstyle_secure.runs",
    "open_gallery": "fedstyle_secure.galleries.opening",
    "rehearse": "fedstyle_secure.systems.style.rehearsal",
    "search": "fedstyle_secure.systems.style.search",
    "track": "fedstyle_secure.tracking.track",
    "train": "fedstyle_secure.training",
    "verify": "fedstyle_secure.commands",
    "withdraw": "fedstyle_secure.commands",
}

_PACKAGES = ("audit", "report", "sweep")
"""Packages that answer calls, as their commands do."""

__all__ = [
    "Config",
    "Run",
    "__version__",
    "audit",
    "check",
    "ledger",
    "list_runs",
    "open_gallery",
    "rehearse",
    "report",
    "search",
    "sweep",
    "track",
    "train",
    "verify",
    "withdraw",
]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    if name in _PACKAGES:
        return import_module(f"fedstyle_secure.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
