"""Results as pandas frames, for notebooks: every column has the type of what it holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from fedstyle_secure.errors import ConfigError

if TYPE_CHECKING:
    import pandas

_TYPES: Mapping[str, str] = {
    "text": "string",
    "number": "float64",
    "whole": "Int64",
    "yes or no": "boolean",
}
"""Types of pandas that can be empty, by what a column's cells are."""


def frame(rows: Iterable[Mapping[str, Any]], kinds: Mapping[str, str]) -> pandas.DataFrame:
    """Rows as a frame.

    Args:
        rows: Values by column; None is empty, and so is a column that a row lacks.
        kinds: Of every column, in order: `text`, `number`, `whole` or `yes or no`; any other keeps its values
            as they are, such as tuples.

    Raises:
        ConfigError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise ConfigError('to_pandas needs an extra: pip install "fedstyle-secure[pandas]"') from None
    table = list(rows)
    columns = {
        name: pandas.Series([row.get(name) for row in table], dtype=_TYPES.get(kind, "object"))
        for name, kind in kinds.items()
    }
    return pandas.DataFrame(columns)
