"""Errors a person can act on, each with the exit code that `fedstyle` ends with.

One line names the key, file, artist or tensor and says what would be valid.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class FedStyleError(Exception):
    """Base of every error that `fedstyle` explains in one line. Exit code 1."""

    exit_code = 1


class ConfigError(FedStyleError):
    """A setting is unknown, missing or out of range. Exit code 2."""

    exit_code = 2


class GalleryError(FedStyleError):
    """A picture, portfolio or gallery cannot be used. Exit code 3."""

    exit_code = 3


class RunError(FedStyleError):
    """A run folder is missing, damaged, unfinished or would be overwritten. Exit code 4."""

    exit_code = 4


class PrivacyError(FedStyleError):
    """Something would make the stated guarantee false, so it was refused. Exit code 5."""

    exit_code = 5


class BudgetError(PrivacyError):
    """A release would cost more than what is left of the artist's budget. Exit code 5."""


class WithdrawnError(PrivacyError):
    """The artist has withdrawn; nothing of it is released any more. Exit code 5."""


class PolicyDeclined(PrivacyError):
    """An artist's own policy forbids what a run asks for. Exit code 5.

    Attributes:
        reason: What of the policy forbids it, as a number; it does not leave the artist.
    """

    def __init__(self, reason: int, text: str) -> None:
        super().__init__(f"policy {int(reason)}: {text}")
        self.reason = reason


class FederationError(FedStyleError):
    """A round could not be completed: too few replies, or the engine failed. Exit code 6."""

    exit_code = 6


class StrangerError(FederationError):
    """A message is not from the platform that a node knows. Exit code 6."""


class SecureSumError(FedStyleError):
    """An encrypted sum was refused: parameters, a signature, a cohort or a bound do not hold. Exit code 7."""

    exit_code = 7


class AuditError(FedStyleError):
    """An audit, sweep or report cannot be made: its input is missing, edited or does not fit. Exit code 8."""

    exit_code = 8


class PolicyError(FedStyleError):
    """A run does not meet a policy. Exit code 9."""

    exit_code = 9


class SearchError(FedStyleError):
    """A private search was refused or could not be answered. Exit code 10."""

    exit_code = 10


def error_of(code: int, text: str) -> FedStyleError:
    """An error that another process ended with, from its exit code and its line.

    Example:
        >>> error_of(6, "too few replies")
        FederationError('too few replies')
    """
    kinds = (kind for kind in FedStyleError.__subclasses__() if kind.exit_code == code)
    return next(kinds, FedStyleError)(text)


def first_problem(error: ValidationError) -> str:
    """Where a pydantic model found a value wrong first, and what it says of it.

    Example:
        >>> from pydantic import TypeAdapter, ValidationError
        >>> try:
        ...     _ = TypeAdapter(dict[str, list[int]]).validate_python({"rounds": [1, None]})
        ... except ValidationError as error:
        ...     first_problem(error)
        'rounds.1: Input should be a valid integer'
    """
    problem = error.errors()[0]
    return f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"


def pasted(*words: object) -> str:
    """A command line that can be pasted into a shell as it stands."""
    return shlex.join(str(word) for word in words)


@contextmanager
def resumable(folder: Path, how: str) -> Iterator[None]:
    """Say of a machine that fails under a piece of work (its disk is full, say) where, and how to go on.

    Raises:
        RunError: In place of OSError and MemoryError; a pipe that nobody reads any more passes through.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except MemoryError as error:
        raise RunError(f"{folder}: out of memory; {how}") from error
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        raise RunError(f"{folder}: {error.strerror or error}{where}; {how}") from error
