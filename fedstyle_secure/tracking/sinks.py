"""Where figures, facts and files go: one small interface, and who has it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from fedstyle_secure.errors import ConfigError

TRACKERS: Mapping[str, str] = {
    "mlflow": "fedstyle_secure.tracking.to_mlflow",
    "tensorboard": "fedstyle_secure.tracking.to_tensorboard",
    "wandb": "fedstyle_secure.tracking.to_wandb",
}
"""Modules by the tracker's name, which is its extra's too. Each has `begin(name, at)`."""


class Sink(Protocol):
    """A run of a tracker that is being written."""

    @property
    def place(self) -> str:
        """Where it lies, in words."""
        ...

    def figures(self, step: int, values: Mapping[str, float]) -> None:
        """Add numbers by name, at a step; a step is never less than the one before."""

    def facts(self, values: Mapping[str, str]) -> None:
        """Add short texts by name, once."""

    def file(self, name: str, path: Path) -> None:
        """Add a copy of a file under a relative name."""

    def end(self, whole: bool) -> None:
        """Close it, marked as failed where it is not whole."""


@contextmanager
def opened(to: str, name: str, at: str | None = None) -> Iterator[Sink]:
    """A run in a tracker, closed when the block ends and marked as failed where the block fails.

    Args:
        to: Of `TRACKERS`.
        name: What the run is called there.
        at: A folder, or for MLflow a tracking server's URI; None: `mlruns`, `tensorboard`, or `wandb` here.

    Raises:
        ConfigError: There is no such tracker, its package is not installed, or it has no such place.
    """
    sink: Sink = tracker(to).begin(name, at)
    try:
        yield sink
    except BaseException:
        sink.end(False)
        raise
    sink.end(True)


def tracker(to: str) -> Any:
    """The module of a tracker. Raises ConfigError where there is none, or its package is not installed."""
    if to not in TRACKERS:
        raise ConfigError(f"--to {to!r} is none of {', '.join(TRACKERS)}")
    try:
        return import_module(TRACKERS[to])
    except ImportError:
        raise ConfigError(f'--to {to} needs an extra: pip install "fedstyle-secure[{to}]"') from None
