"""MLflow: a tracking server, or a folder with a database and artefacts."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

# Read when the package is imported: nobody is told that it is used.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from mlflow import MlflowClient
from mlflow.entities import Metric, Param

EXPERIMENT = "fedstyle"

_MOST = 1000
"""Figures that MLflow takes at once."""


def begin(name: str, at: str | None) -> MLflow:
    """Begin a run of the experiment `fedstyle`, on a server (`at` has `://`) or in a folder.

    In a new database MLflow itself notes where it lies, and in which folder it was made.
    """
    at = at or "mlruns"
    if "://" in at:
        return MLflow(name, at, None)
    folder = Path(at).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return MLflow(name, f"sqlite:///{folder / 'mlflow.db'}", (folder / "artifacts").as_uri())


class MLflow:
    """A run of an experiment. This client writes what it is given; MLflow's other one adds user, program and
    source."""

    def __init__(self, name: str, uri: str, artifacts: str | None) -> None:
        """Begin it.

        Args:
            name: The run's.
            uri: Of the tracking store.
            artifacts: URI of the folder for files, for an experiment that is new; None: the server's choice.
        """
        self._client = MlflowClient(tracking_uri=uri)
        there = self._client.get_experiment_by_name(EXPERIMENT)
        experiment = (
            there.experiment_id
            if there is not None
            else self._client.create_experiment(EXPERIMENT, artifact_location=artifacts)
        )
        self._run = self._client.create_run(experiment, run_name=name).info.run_id
        self.place = f"{uri}, run {self._run}"

    def figures(self, step: int, values: Mapping[str, float]) -> None:
        """As metrics."""
        now = int(time.time() * 1000)
        rows = [Metric(name, value, now, step) for name, value in values.items()]
        for start in range(0, len(rows), _MOST):
            self._client.log_batch(self._run, metrics=rows[start : start + _MOST])

    def facts(self, values: Mapping[str, str]) -> None:
        """As parameters."""
        self._client.log_batch(self._run, params=[Param(name, value) for name, value in values.items()])

    def file(self, name: str, path: Path) -> None:
        """As an artefact."""
        folder = str(PurePosixPath(name).parent)
        self._client.log_artifact(self._run, str(path), None if folder == "." else folder)

    def end(self, whole: bool) -> None:
        """Finished, or failed."""
        self._client.set_terminated(self._run, "FINISHED" if whole else "FAILED")
