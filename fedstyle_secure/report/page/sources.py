"""Figures from where they were read: pointers into a run's files, the few rules that make one value of
several, and how values are printed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, median
from typing import Any
from urllib.parse import quote, unquote

from fedstyle_secure.errors import AuditError
from fedstyle_secure.privacy.figures import rounded_up
from fedstyle_secure.report.page.pieces import Figure, Piece

RULES: Mapping[str, Callable[[Sequence[Any]], Any]] = {
    "value": lambda values: values[0],
    "count": len,
    "sum": sum,
    "min": min,
    "max": max,
    "median": median,
    "ratio": lambda values: values[0] / values[1],
    "difference": lambda values: values[0] - values[1],
    "distinct": lambda values: len(set(values)),
    "day": lambda values: max(values)[:10],
    "mean": fmean,
    "mean difference": lambda values: fmean(_differences(values)),
    "min difference": lambda values: min(_differences(values)),
    "max difference": lambda values: max(_differences(values)),
    "pairs above": lambda values: sum(difference > 0 for difference in _differences(values)),
    "pairs": lambda values: len(_differences(values)),
}
"""How the values at a figure's sources become the figure. Rules of pairs take the first less the second, the
third less the fourth, and so on."""


def _differences(values: Sequence[float]) -> list[float]:
    return [one - other for one, other in zip(values[::2], values[1::2], strict=True)]


def _whole(value: float) -> str:
    return f"{value:,.0f}"


def _rate(value: float) -> str:
    """Three decimals; what rounds to zero has no sign."""
    return f"{round(value, 3) + 0.0:.3f}"


def _short(value: float) -> str:
    text = f"{value:.4g}"
    mantissa, e, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}" if e else text


STYLES: Mapping[str, Callable[[Any], str]] = {
    "whole": _whole,
    "rate": _rate,
    "epsilon": rounded_up,
    "short": _short,
    "seconds": lambda value: f"{value:,.1f}",
    "text": str,
}
"""Counts are whole, rates have three places, epsilon is rounded up to two, others have four digits."""


def escape(key: str | int) -> str:
    """A key as a token of a pointer (RFC 6901, section 6)."""
    return quote(str(key).replace("~", "~0").replace("/", "~1"), safe="~")


class Sources:
    """What the files of a run hold, by file name."""

    def __init__(self, files: Mapping[str, Any]) -> None:
        """Args: files: JSON values by the name that figures cite."""
        self._files = files

    def resolve(self, source: str) -> list[Any]:
        """All values at a `file#pointer`, or at several separated by spaces.

        Raises:
            AuditError: There is nothing; names the file and the pointer.
        """
        found: list[Any] = []
        for one in source.split(" "):
            file, _, pointer = one.partition("#")
            try:
                values = [self._files[file]]
                for token in pointer.split("/")[1:]:
                    values = _step(values, unquote(token).replace("~1", "/").replace("~0", "~"))
            except (KeyError, IndexError, TypeError, ValueError):
                raise AuditError(f"{file}: holds nothing at {unquote(pointer)!r}") from None
            found.extend(values)
        return found

    def value(self, source: str, rule: str = "value") -> Any:
        """The value that a figure with this source and rule stands for."""
        return RULES[rule](self.resolve(source))

    def figure(self, source: str, style: str = "short", rule: str = "value", none: str = "none") -> Piece:
        """The figure at a source. Where the file says null, the word `none` stands there, marked as cited."""
        value = self.value(source, rule)
        if value is None:
            return Figure(none, source, rule, number=False)
        if isinstance(value, bool):
            return Figure("yes" if value else "no", source, rule, "true" if value else "false", number=False)
        if isinstance(value, str):
            return Figure(value, source, rule, number=False)
        if isinstance(value, list):  # Names; one may hold what stands between two.
            return Figure(json.dumps(value, ensure_ascii=False), source, rule, number=False)
        if not math.isfinite(value):
            raise AuditError(f"{source}: is not finite")
        return Figure(STYLES[style](value), source, rule, repr(value))

    def text(self, source: str) -> Figure:
        """A text, cited."""
        value = self.value(source)
        if not isinstance(value, str):
            raise AuditError(f"{source}: is no text")
        return Figure(value, source, number=False)


def _step(values: list[Any], token: str) -> list[Any]:
    found: list[Any] = []
    for value in values:
        # The opener signs texts that are JSON themselves.
        inner = json.loads(value) if isinstance(value, str) else value
        if token == "*":
            found.extend(inner.values() if isinstance(inner, Mapping) else inner)
        else:
            found.append(inner[int(token)] if isinstance(inner, list) else inner[token])
    return found
