"""Files that lack what they should hold, said in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from fedstyle_secure.errors import AuditError

_T = TypeVar("_T")


def read_safely(folder: Path, read: Callable[[], _T]) -> _T:
    """What is read from a folder.

    Raises:
        AuditError: A file of it is damaged, missing, or of another shape than it should be; names the folder.
        FedStyleError: As `read` raises it.
    """
    try:
        return read()
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError) as error:
        raise AuditError(f"{folder}: a file lacks what it should hold: {error!r}") from None
    except (OSError, RuntimeError) as error:
        raise AuditError(f"{folder}: a file cannot be read: {error}") from None
