"""A kind of release: in which rounds, by which mechanism, for which share of the budget, and how it leaves.

What a system releases is a list of kinds; whatever must know them all is a loop over that list.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from fedstyle_secure.config import Config
from fedstyle_secure.errors import ConfigError, PrivacyError
from fedstyle_secure.privacy.mechanisms import DpSgd, GaussianSum, NoisyCounts
from fedstyle_secure.privacy.shared_noise import SharedNoise

UPDATE = "update"
"""The kind that local training makes, with DP-SGD: what all steps of a round changed in the weights."""

SUM = "sum"
"""What leaves where the unit is the artist: everything of a round in one vector, in a sum of all artists'."""

_TAKEN = (SUM, "reply", "upload", "round", "offer", "fixed", "trained", "public", "opened")
"""Names of records that travel or are kept beside releases."""

Leaves = Literal["named", "summed", "clear"]


@dataclass(frozen=True)
class Kind:
    """A kind of release.

    Attributes:
        name: For ledgers, files and messages.
        rounds: Rounds in which an artist is asked for it.
        mechanism: Bound, noise and cost of one release.
        share: Of the budget, relative to the other kinds, > 0.
        setting: The setting that says the share.
        leaves: `named`: published under its artist's name, if that artist agreed to it. `summed`: inside the
            encrypted sum, where there is one. `clear`: readable by the platform.
        least: Artists that a sum of it needs before anybody may use it, >= 2.
        count: Where a release falls into groups, blocks of equal length: what one record adds to the last
            value of its block, > 0. A group is used only if `least` artists contribute to it. 0: no groups.
        largest: Largest absolute value in a record's row, which fixes the range of a sum's integers.
        optional: Whether artists may have nothing to say of it, as what is public by then decides.
        ages: Whether a release hangs on the trained weights of its round, and not on the fixed part alone.
    """

    name: str
    rounds: frozenset[int]
    mechanism: DpSgd | GaussianSum | NoisyCounts
    share: float
    setting: str
    leaves: Leaves
    least: int = 2
    count: float = 0.0
    largest: float = 1.0
    optional: bool = False
    ages: bool = False

    def __post_init__(self) -> None:
        update = isinstance(self.mechanism, DpSgd)
        for wrong, why in (
            (not re.fullmatch(r"[a-z][a-z0-9_]*", self.name), "must have a name of small letters"),
            (self.name in _TAKEN, "has a name of another use"),
            (update != (self.name == UPDATE), "must be updates exactly if DP-SGD makes it"),
            (not 0 < self.share < math.inf, "must have a share > 0"),
            (self.least < 2 or self.count < 0, "must need two artists at least, and count from 0"),
            (not 0 < self.largest < math.inf, "must have a largest value > 0"),
            (self.integer and self.leaves == "summed", "is of integers, and those are not summed so"),
            (min(self.rounds, default=0) < 0, "must have rounds from 0"),
        ):
            if wrong:
                raise PrivacyError(f"kind {self.name!r} of the system {why}")

    @property
    def integer(self) -> bool:
        """Whether its values are integers, int64; else they are float32."""
        return isinstance(self.mechanism, NoisyCounts)

    @property
    def shared(self) -> SharedNoise | None:
        """How artists share the noise of its sum; None: what leaves has all of its own."""
        return None if isinstance(self.mechanism, NoisyCounts) else self.mechanism.shared

    def scaled(self, scale: float) -> Kind:
        """With as much noise as its share of the budget asks for at a noise scale; 0: none."""
        return replace(self, mechanism=self.mechanism.scaled(scale, max(1, len(self.rounds)), self.share))


def rounds_of(kinds: Sequence[Kind]) -> int:
    """Rounds in all, the opening one included."""
    return 1 + max((number for kind in kinds for number in kind.rounds), default=0)


def spread(releases: int, last: int) -> frozenset[int]:
    """Rounds of a number of releases, spread evenly from round 0 to the last one.

    Raises:
        ConfigError: They do not fit.
    """
    if releases > last + 1:
        raise ConfigError(
            f"{releases} releases do not fit into {last + 1} rounds; lower releases or raise run.rounds"
        )
    return frozenset(round(i * last / max(1, releases - 1)) for i in range(releases))


def update_kind(config: Config, least: int = 2) -> Kind:
    """Updates of local training as the settings ask for them, in the rounds after the opening one.

    Args:
        config: The settings.
        least: Artists that a sum of updates needs.
    """
    training, private = config.training, config.privacy.dp == "on" and config.privacy.unit == "artwork"
    return Kind(
        name=UPDATE,
        rounds=frozenset(range(1, config.run.rounds + 1)) if training.local_steps else frozenset(),
        mechanism=DpSgd(
            # Where the unit is the artist, what is clipped is the whole vector.
            clip_norm=config.privacy.clip_norm if private else math.inf,
            noise_multiplier=0.0,
            sampling_rate=training.sampling_rate,
            steps=max(1, training.local_steps),
            expected_batch_size=training.sampling_rate * training.expected_pictures,
        ),
        share=config.share.sgd,
        setting="share.sgd",
        leaves="summed" if config.secure_sum.updates else "clear",
        least=least,
    )
