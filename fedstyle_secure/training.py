"""Training a run, and what can be done with a finished one. The command line mirrors these functions."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fedstyle_secure.config import Config
from fedstyle_secure.errors import ConfigError, RunError, pasted, resumable
from fedstyle_secure.frames import frame
from fedstyle_secure.idle import idle
from fedstyle_secure.registry import load
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.studios import has_released, studios_root
from fedstyle_secure.system import system_bound

if TYPE_CHECKING:
    import pandas

Engine = Literal["local", "ray"]
OnRound = Callable[[dict[str, Any], int], None]


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        folder: Where it lies.
        summary: Utility, privacy and cost, as in `summary.json`.
    """

    folder: RunFolder
    summary: dict[str, Any]

    @classmethod
    def open(cls, path: Path | str) -> Run:
        """Open a finished run. Raises RunError if there is none."""
        folder = RunFolder(Path(path))
        return cls(folder, folder.summary())

    def to_pandas(self) -> pandas.DataFrame:
        """A row a round, as in `metrics.jsonl`: numbers as numbers, and lists and groups as they are there.

        Raises:
            ConfigError: pandas is missing.
        """
        lines = self.folder.metrics()
        kinds: dict[str, str] = {}
        for line in lines:
            for name, value in line.items():
                number = value is None or (isinstance(value, int | float) and not isinstance(value, bool))
                kinds[name] = "number" if number and kinds.get(name, "number") == "number" else "other"
        return frame(lines, kinds | {"round": "whole"})


def train(
    config: Config,
    out: Path | str,
    engine: Engine = "local",
    *,
    resume: bool = False,
    force: bool = False,
    on_round: OnRound | None = None,
) -> Run:
    """Train a run from public learning to the summary.

    Args:
        config: The settings.
        out: The run's folder.
        engine: `local` runs Flower's apps in this process, `ray` in Flower's simulation.
        resume: Go on with an interrupted run of the same settings.
        force: Delete a run that is there.
        on_round: Called with the metrics of each round and the number of rounds in all.

    Raises:
        ConfigError: A setting does not fit, or the engine's package is missing.
        GalleryError: The gallery cannot be used.
        RunError: The folder holds a run, another process is writing it, or the machine failed (its disk is
            full, say): names what, where, and how to go on.
        PrivacyError: The guarantee cannot be met.
        FederationError: Too few artists answered.
    """
    folder = RunFolder(Path(out).resolve())
    flat = config.to_flat() | {"run.folder": str(folder.path)}
    config = Config.from_flat(
        flat | {key: str(Path(str(flat[key])).resolve()) for key in config.places if flat[key]}
    )
    if resume and force:
        raise ConfigError("--resume goes on with a run and --force deletes it: choose one")
    if resume and not folder.begun:
        raise RunError(f"{folder.path}: no run here to go on with")
    if resume:
        config = _planned_before(config, folder)
    if resume and folder.finished:
        folder.require(config)
        return Run.open(folder.path)
    system_bound(config).require_learnable()
    for sentence in idle(config):
        logging.getLogger("fedstyle_secure").warning(sentence)
    fresh = not resume
    if fresh:
        config = _planned(config)
    again = pasted("fedstyle", "train", "--resume", folder.path)
    with resumable(folder.path, f"the run goes on with `{again}`"):
        folder.begin(config, resume=resume, force=force)
        try:
            if engine == "local":
                _train_here(config, on_round)
            else:
                from fedstyle_secure.engines.ray import train_with_ray

                train_with_ray(config, folder, on_round)
        except (OSError, MemoryError):
            raise
        except Exception:
            # A run that failed before any release left nothing worth keeping, and would block the next try.
            if fresh and not _left_traces(config, folder):
                folder.remove()
            raise
    return Run.open(folder.path)


def _planned(config: Config) -> Config:
    """With the plan that a rehearsal chooses, where the settings leave it to one."""
    if config.run.plan == "set":
        return config
    from fedstyle_secure.galleries.opening import open_gallery

    place = system_bound(config).rehearsal
    if not place:
        raise ConfigError(
            f'run.plan = "auto": the system {config.run.system!r} has no rehearsal; valid is "set"'
        )
    artists, log = len(open_gallery(config.gallery).artists), logging.getLogger("fedstyle_secure")
    return config.override(load(place)(config, artists, log.info))


def _planned_before(config: Config, folder: RunFolder) -> Config:
    """With the plan that was chosen when the run began."""
    if config.run.plan == "set":
        return config
    kept = folder.config().to_flat()
    return config.from_flat(config.to_flat() | {key: kept[key] for key in system_bound(config).planned})


def _left_traces(config: Config, folder: RunFolder) -> bool:
    return (folder.path / "flower.log").exists() or has_released(
        studios_root(config, folder), folder.identity
    )


def _train_here(config: Config, on_round: OnRound | None) -> None:
    from flwr.app import Context, RecordDict

    from fedstyle_secure.engines.flower import quiet
    from fedstyle_secure.engines.local import LocalGrid
    from fedstyle_secure.federation.apps import make_client_app, make_server_app
    from fedstyle_secure.galleries.canaries import roster
    from fedstyle_secure.galleries.opening import open_gallery

    nodes = len(roster(config, open_gallery(config.gallery))) + config.secure_sum.enabled
    with quiet():
        grid = LocalGrid(make_client_app(), nodes, config.to_flat())
        context = Context(
            run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config=dict(config.to_flat())
        )
        make_server_app(on_round)(grid, context)
