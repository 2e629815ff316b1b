"""Train a model over artists who never share their pictures, and say what it costs them.

The functions mirror the `fedstyle` commands. Importing the package loads none of torch, opacus or flwr.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fedstyle_secure.version import __version__

if TYPE_CHECKING:
    from fedstyle_secure.config import Config
    from fedstyle_secure.galleries.opening import open_gallery
    from fedstyle_secure.runs import list_runs
    from fedstyle_secure.systems.style.search import search
    from fedstyle_secure.training import Run, train

_EXPORTS = {
    "Config": "fedstyle_secure.config",
    "Run": "fedstyle_secure.training",
    "list_runs": "fedstyle_secure.runs",
    "open_gallery": "fedstyle_secure.galleries.opening",
    "search": "fedstyle_secure.systems.style.search",
    "train": "fedstyle_secure.training",
}

__all__ = ["Config", "Run", "__version__", "list_runs", "open_gallery", "search", "train"]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
