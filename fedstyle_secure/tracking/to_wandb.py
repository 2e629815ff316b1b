"""Weights & Biases: a folder on this machine; `wandb sync FOLDER` sends it, if its owner wants that."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

# Read when the package is imported: its errors are not reported to its makers.
os.environ.setdefault("WANDB_ERROR_REPORTING", "false")

import wandb

from fedstyle_secure.errors import ConfigError

PROJECT = "fedstyle"


def begin(name: str, at: str | None) -> WandB:
    """Begin a run, offline, in the folder `wandb` below `at`."""
    if "://" in str(at):
        raise ConfigError(f"--at {at}: runs are written offline; name a folder, and send it by `wandb sync`")
    home = Path(at or ".").resolve()
    home.mkdir(parents=True, exist_ok=True)
    return WandB(name, home)


class WandB:
    """A run. What the package gathers of itself is off: the machine, its user, the program, its source and
    what it prints, the packages, and the load."""

    def __init__(self, name: str, home: Path) -> None:
        """Begin it.

        Args:
            name: The run's.
            home: A folder that is there.
        """
        quiet = wandb.Settings(
            mode="offline", root_dir=str(home), console="off", silent=True, disable_git=True,
            disable_code=True, save_code=False, disable_job_creation=True, host="", username="", program="",
            x_disable_meta=True, x_disable_stats=True, x_disable_machine_info=True, x_save_requirements=False,
        )  # fmt: skip
        self._run = wandb.init(project=PROJECT, name=name, settings=quiet)
        self._files = Path(self._run.dir)
        self.place = str(self._files.parent)

    def figures(self, step: int, values: Mapping[str, float]) -> None:
        """As a line of its history."""
        self._run.log(dict(values), step=step)

    def facts(self, values: Mapping[str, str]) -> None:
        """As its settings."""
        self._run.config.update(dict(values))

    def file(self, name: str, path: Path) -> None:
        """Among the run's files: an artefact of theirs would leave a copy below the user's home."""
        to = self._files / name
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, to)
        self._run.save(str(to), base_path=str(self._files), policy="end")

    def end(self, whole: bool) -> None:
        """Finished, or failed. Its logs, which are never sent, name folders of this machine; they go."""
        self._run.finish(exit_code=0 if whole else 1)
        shutil.rmtree(self._files.parent / "logs", ignore_errors=True)
