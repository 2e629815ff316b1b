"""What a guess about membership reaches that looks at nothing of the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

_APART = 0.01


@dataclass(frozen=True)
class Blind:
    """A blind guess, from colours and textures of the pictures alone.

    Attributes:
        auc: Over all attacked artists.
        p_value: How often relabelled pictures are told apart as well.
        own: Each artist's own AUC, of those with two pictures of either kind.
    """

    auc: float
    p_value: float = 1.0
    own: Mapping[str, float] = field(default_factory=dict)

    @property
    def apart(self) -> bool:
        """Whether members and the others differ without any model; falsely so once in a hundred audits.

        Then no limit on membership inference follows from differential privacy: it bounds what the run adds
        to what is known, and here membership is known in part before.
        """
        return self.p_value <= _APART

    def baseline(self, artist: str = "all") -> float:
        """The AUC to be beaten: of the guess over all, of the artist's own, and at least one half."""
        return max(0.5, self.auc, self.own.get(artist, 0.0))
