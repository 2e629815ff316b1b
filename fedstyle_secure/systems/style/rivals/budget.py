"""The one budget that every rival splits over what it releases, by the product's mechanism and accountant."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fedstyle_secure.config import Config
from fedstyle_secure.privacy.accounting import calibrate
from fedstyle_secure.privacy.events import Event
from fedstyle_secure.privacy.mechanisms import GaussianSum


@dataclass(frozen=True)
class Spend:
    """Something that a method releases.

    Attributes:
        times: How often, >= 1.
        share: Of the budget, > 0; the shares of a method add up to 1.
        clip_norm: L2 bound on what one artwork adds, > 0.
    """

    times: int
    share: float
    clip_norm: float = 1.0


@dataclass(frozen=True)
class Budget:
    """A total epsilon as a noise scale; shares are shares of the sum of (1 / noise multiplier)^2.

    Full-batch Gaussians of one such sum cost the same however it is split (Dong, Roth and Su 2022), so
    that the scale is solved for once.

    Attributes:
        scale: Noise multiplier of one release that takes everything; 0: no noise and no clip.
    """

    scale: float

    @classmethod
    def of(cls, config: Config) -> Budget:
        """What `privacy.target_epsilon` and `privacy.delta` allow.

        Raises:
            PrivacyError: No noise reaches the target.
        """
        privacy = config.privacy
        if privacy.dp == "off":
            return cls(0.0)
        whole = GaussianSum(1.0, 0.0)

        def events(scale: float) -> list[Event]:
            event = whole.scaled(scale, 1, 1.0).event("artwork")
            return [event] if event else []

        return cls(calibrate(events, privacy.target_epsilon, privacy.delta))

    def mechanisms(self, spends: Mapping[str, Spend]) -> dict[str, GaussianSum]:
        """Clip and noise of one release of each.

        Example:
            >>> both = Budget(2.0).mechanisms({"card": Spend(1, 0.75), "update": Spend(4, 0.25)})
            >>> round(sum(n / both[k].noise_multiplier**2 for k, n in (("card", 1), ("update", 4))), 6)
            0.25
        """
        return {
            name: GaussianSum(one.clip_norm if self.scale else math.inf, 0.0).scaled(
                self.scale, one.times, one.share
            )
            for name, one in spends.items()
        }


def events_of(spends: Mapping[str, Spend], mechanisms: Mapping[str, GaussianSum]) -> Iterable[Event]:
    """Everything that an artist releases, for an accountant."""
    for name, one in spends.items():
        event = mechanisms[name].event("artwork")
        yield from [event] * one.times if event else []
