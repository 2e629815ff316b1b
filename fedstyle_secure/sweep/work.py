"""The work of one cell: what is handed to a process, and doing it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fedstyle_secure.audit.settings import AuditSettings
from fedstyle_secure.config import Config, Scalar
from fedstyle_secure.runs import RunFolder

ERROR = "error.txt"
"""File in a cell's folder that says why it failed."""

Work = tuple[str, dict[str, Scalar], str]
"""A cell's folder, its settings, and its audit's as JSON; "" where there is no audit."""


def run_cell(home: Path, settings: Mapping[str, Scalar], audit_settings: str) -> None:
    """Train and audit; what was done before is kept.

    Args:
        home: The cell's folder.
        settings: The run's, by `section.key`.
        audit_settings: JSON; "" for no audit.
    """
    from fedstyle_secure.audit.runner import audit
    from fedstyle_secure.training import train

    run = RunFolder(home / "run")
    if not run.finished:
        # Killed between its first two files, a run has released nothing and cannot go on.
        goes_on = run.begun and run.config_file.exists()
        train(Config.from_flat(settings), run.path, resume=goes_on, force=run.begun and not goes_on)
    if audit_settings and not audited(run):
        audit(run, AuditSettings.model_validate_json(audit_settings))


def audited(run: RunFolder) -> bool:
    """Whether an audit lies there whole."""
    return (run.audit_folder / "audit.json").exists()
