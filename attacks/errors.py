"""What went wrong, in one line that names the tensor, file or setting and says what would be valid."""

from __future__ import annotations


class AttackError(ValueError):
    """An observation, a budget or a setting that no attack can work with."""


def one_line(error: BaseException) -> str:
    r"""What an error says in its first line, or its kind where it says nothing, as a bare `assert` does.

    Example:
        >>> one_line(ValueError("no\nmore")), one_line(AssertionError())
        ('no', 'AssertionError')
    """
    said, kind = next(iter(str(error).splitlines()), ""), type(error).__name__
    # A KeyError says the key and nothing else.
    return f"{kind} {said}" if isinstance(error, KeyError) else said or kind
