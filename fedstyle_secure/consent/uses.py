"""Purposes and uses in the words of CAWG's training-and-data-mining assertion 1.1, and what they decide.

The strictest counts: one voice that refuses is enough, and without one that allows nothing is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

Purpose = Literal["ai_training", "ai_generative_training", "data_mining", "ai_inference"]
"""What a work could be used for. `ai_training` is of models that make no works themselves, and allowing it
allows no `ai_generative_training`."""

Use = Literal["allowed", "notAllowed", "constrained"]
"""What an entry says. `constrained` is never enough: terms in somebody's own words cannot be held to by a
program, and without terms the assertion itself counts it as notAllowed."""

Way = Literal["consent.toml", "credentials", "reservation", "consent.jsonl", "unsaid"]
"""Where it is said: the file beside the works; the picture's signed content credentials (C2PA); a reservation
of text and data mining, in `tdmrep.json` or in the picture's XMP; its artist's own log of decisions; or
nowhere."""

PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
USES: tuple[Use, ...] = get_args(Use)
WAYS: tuple[Way, ...] = get_args(Way)

_WIDER: Mapping[Purpose, tuple[Purpose, ...]] = {
    "ai_training": ("data_mining",),
    "ai_generative_training": ("ai_training", "data_mining"),
    "data_mining": (),
    "ai_inference": (),
}
"""Who refuses one of these, and says nothing of the purpose itself, has not allowed it."""


@dataclass(frozen=True)
class Said:
    """What one voice says of one work and one purpose.

    Attributes:
        way: Where.
        use: What.
        reason: In words, after "its use is not allowed: "; holds nothing of what is private.
    """

    way: Way
    use: Use
    reason: str

    @property
    def allows(self) -> bool:
        """Whether it allows the use; if not, nobody else can."""
        return self.use == "allowed"


def refusal(purpose: Purpose, said: Iterable[Said]) -> Said | None:
    """The first voice that refuses; one that says that nobody allowed it; None where the use is allowed.

    Args:
        purpose: For which use.
        said: What all ways say, in the order in which they are asked.
    """
    voices = list(said)
    for voice in voices:
        if not voice.allows:
            return voice
    if voices:
        return None
    return Said("unsaid", "notAllowed", f"nobody has allowed {purpose}")


def of_purpose(uses: Mapping[Purpose, Use], purpose: Purpose) -> tuple[Purpose, Use] | None:
    """The entry that decides about a purpose, and what it says: its own, else a wider one that refuses; None
    where neither is there.

    Args:
        uses: By purpose.
        purpose: Which is asked for.
    """
    if purpose in uses:
        return purpose, uses[purpose]
    return next(((p, uses[p]) for p in _WIDER[purpose] if uses.get(p, "allowed") != "allowed"), None)


def read_use(entry: Any) -> Use | None:
    """What an entry `{"use": ..., "constraint_info": ...}` says; None where it is no such entry."""
    use = entry.get("use") if isinstance(entry, Mapping) else None
    return next((known for known in USES if known == use), None)
