"""Why an artist did not answer. Only the number and its fixed phrase leave; details stay in its own log."""

from __future__ import annotations

from enum import IntEnum

from fedstyle_secure.secure_sum.codes import Code


class Decline(IntEnum):
    """Numbered reasons; Flower's own error codes lie below 100."""

    MALFORMED = 101
    PORTFOLIO = 102
    REFUSED = 103
    BUDGET = 104
    WITHDRAWN = 105
    MACHINE = 106
    FIXED_PART = 107
    POLICY = 108
    BUNDLE = 109
    STRANGER = 110
    INTERNAL = 199

    @property
    def phrase(self) -> str:
        """What the platform is told, the same for every artist and every cause of this code."""
        return _PHRASES[self]


_PHRASES = {
    Decline.MALFORMED: "the instruction is malformed",
    Decline.PORTFOLIO: "the portfolio cannot be used",
    Decline.REFUSED: "answering would break the artist's guarantee",
    Decline.BUDGET: "the round would cost more than the artist's budget",
    Decline.WITHDRAWN: "the artist has withdrawn",
    Decline.MACHINE: "the artist's machine failed: its disk is full, or it has no memory left",
    Decline.FIXED_PART: "the fixed part of the instruction is needed again",
    Decline.POLICY: "the artist's own policy forbids it",
    Decline.BUNDLE: "the bundle is not the one that was asked for, or carries more than settings",
    Decline.STRANGER: "the message is not from the platform that this node knows",
    Decline.INTERNAL: "the artist's program failed",
}
"""Fixed phrases: an exception's text could carry a path, a file name or a value."""


def decline_text(code: int) -> str:
    """What the platform notes of an error: the number and our own words, nothing that a peer wrote."""
    known = {code.value: code.phrase for codes in (Decline, Code) for code in codes}
    return f"code {code}: {known.get(code, 'an error of Flower')}"
