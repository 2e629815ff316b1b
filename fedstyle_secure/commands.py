"""Commands as functions of a folder's path, where what does the work wants more than that."""

from __future__ import annotations

from pathlib import Path

from fedstyle_secure.accounts import Account, Withdrawn, accounts
from fedstyle_secure.accounts import withdraw as write_withdrawal
from fedstyle_secure.audit.integrity import Checked, check_finished
from fedstyle_secure.policy.own import all_checks
from fedstyle_secure.report.held import Check
from fedstyle_secure.runs import RunFolder


def check(
    path: Path | str, policy: Path | str, opener: str | None = None, studios: Path | None = None
) -> list[Check]:
    """What of a policy a run, or an audit of somebody's own model, does not meet; empty where all is met.

    Args:
        path: The folder.
        policy: The policy's file.
        opener: Of a run: the opener's public key.
        studios: Of a run: where the artists' own ledgers lie.

    Raises:
        ConfigError: The policy cannot be read, or asks for nothing.
        RunError, AuditError: The folder is none, or was edited.
    """
    return [one for one in all_checks(path, policy, opener, studios) if one.problem]


def ledger(run: Path | str, artist: str | None = None, studios: Path | None = None) -> list[Account]:
    """What the artists of a run have given away. Args and raises as `accounts.accounts`."""
    return accounts(RunFolder(Path(run)), artist, studios=studios)


def verify(run: Path | str, opener: str | None = None, studios: Path | None = None) -> Checked:
    """Check a finished run's files, ledgers and signatures. Raises as `audit.integrity.check_finished`."""
    return check_finished(RunFolder(Path(run)), opener, studios)


def withdraw(run: Path | str, artist: str, studios: Path | None = None) -> Withdrawn:
    """Withdraw an artist from all runs on its portfolio. Args and raises as `accounts.withdraw`."""
    return write_withdrawal(RunFolder(Path(run)), artist, studios)
