"""What somebody may have meant who wrote a name that is not known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_MOST = 24
"""Most names that are listed."""


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """`; did you mean 'x'?` where a known name is near, else `; valid: ` and what is known.

    Args:
        name: What was written.
        valid: What is known, in the order to be listed in. Of `section.key` the key alone is compared too.
    """
    valid = list(valid)
    last = {key.rpartition(".")[2]: key for key in reversed(valid)}
    match = difflib.get_close_matches(name, valid, n=1, cutoff=0.5) or [
        last[near] for near in difflib.get_close_matches(name, list(last), n=1, cutoff=0.5)
    ]
    if match:
        return f"; did you mean {match[0]!r}?"
    more = f" and {len(valid) - _MOST} more" if len(valid) > _MOST else ""
    return f"; valid: {', '.join(valid[:_MOST])}{more}"
