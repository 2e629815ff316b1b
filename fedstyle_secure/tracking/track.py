"""A finished run into a tracker, and a run's rounds as they end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fedstyle_secure.audit.findings import attack_keys
from fedstyle_secure.report.run.facts import read_facts
from fedstyle_secure.tracking.figures import facts_of, files_of, of_findings, of_round, of_summary
from fedstyle_secure.tracking.sinks import Sink, opened, tracker


def track(run: Path | str, to: str, at: str | None = None, studios: Path | None = None) -> list[str]:
    """Write a finished run's figures and files into a tracker.

    What goes: the numbers of every round, of the summary and of the findings over all artists, and as files
    `metrics.jsonl`, `summary.json`, `findings.json` and the report, those that are there.

    Args:
        run: The run's folder; it is checked as a report checks it.
        to: `mlflow`, `tensorboard` or `wandb` (offline).
        at: A folder, or for MLflow a server's URI; None: `mlruns`, `tensorboard`, or `wandb` here.
        studios: Where the artists' own ledgers lie; None: where the run says.

    Returns:
        Names of the files that went, and last where all of it lies.

    Raises:
        RunError, AuditError: There is no finished run, a file was edited, or the report is of other files.
        ConfigError: The tracker is none, its package is missing, or it has no such place.
    """
    tracker(to)  # What is missing is said before the run is checked.
    facts = read_facts(run, studios=studios)
    files = files_of(facts)
    keys = attack_keys(facts.audit or {})
    with opened(to, facts.name, at) as sink:
        sink.facts(facts_of(facts.summary))
        for line in facts.metrics:
            sink.figures(line["round"], of_round(line))
        last = max((line["round"] for line in facts.metrics), default=0)
        sink.figures(last, of_summary(facts.summary) | of_findings(facts.findings, keys))
        for name, path in files.items():
            sink.file(name, path)
    return [*files, sink.place]


def each_round(sink: Sink) -> Callable[[Mapping[str, Any], int], None]:
    """An observer for `fedstyle_secure.train(..., on_round=...)`: a tracker is told of each round as it ends.

    Example:
        >>> from fedstyle_secure.tracking.sinks import opened
        >>> def train_and_follow(config, out):  # doctest: +SKIP
        ...     with opened("tensorboard", "mine") as sink:
        ...         return fedstyle_secure.train(config, out, on_round=each_round(sink))
    """
    return lambda line, _: sink.figures(line["round"], of_round(line))
