"""A package that can be called: `fedstyle_secure.audit` holds modules, `fedstyle_secure.audit(run)` audits.

A package and a function of one name meet where commands are mirrored; what was imported first must not decide
which of them one gets.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


def answers_calls(package: str, function: str) -> None:
    """Make a package pass calls on to a function, which is imported when it is first called.

    Args:
        package: Its name; it is being imported.
        function: `module:name`.
    """
    where, _, name = function.partition(":")

    class Callable(ModuleType):
        """A module that is also its main function."""

        def __call__(self, *given: Any, **named: Any) -> Any:
            return getattr(import_module(where), name)(*given, **named)

    sys.modules[package].__class__ = Callable
