"""What a rival may choose, and under which conditions it works."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product

from fedstyle_secure.config import Config
from fedstyle_secure.systems.style.rivals.budget import Budget
from fedstyle_secure.systems.style.settings import StyleConfig


@dataclass(frozen=True)
class Settings:
    """Hyper-parameters; a method reads those that its paper has.

    Attributes:
        rate: Step size of local training, > 0.
        rounds: Rounds of averaging, >= 1.
        steps: Local steps a round, >= 1.
        share: Of the budget that training takes where privacy is on, in (0, 1); the rest is the card's.
        weight: Of the method's own term: FedProx' mu, MOON's mu, FedProto's lambda.
        inverse_penalty: scikit-learn's C of a logistic regression, > 0.
    """

    rate: float = 1.0
    rounds: int = 10
    steps: int = 1
    share: float = 0.25
    weight: float = 0.0
    inverse_penalty: float = 1.0


@dataclass(frozen=True)
class Conditions:
    """What all rivals share.

    Attributes:
        budget: What may be spent.
        shared: Whether a sum over artists carries one noise, as encrypted ones can, and not every artist's.
        colluders: Artists whose shares of a shared noise others know.
        clip_norm: L2 bound on an artwork's gradient.
        expected_pictures: Public guess of a portfolio's size, which sums are divided by.
        temperature: Divides cosines.
        roster: Private artists. A task of more, to practise on, gets as much noise in a mean over artists as
            one over the roster has.
        seed: Of the simulated noise.
    """

    budget: Budget
    shared: bool
    colluders: int
    clip_norm: float
    expected_pictures: int
    temperature: float
    roster: int
    seed: int = 0

    @classmethod
    def of(cls, config: StyleConfig, budget: Budget, roster: int) -> Conditions:
        """As the settings of a run of so many artists say."""
        return cls(
            budget=budget,
            shared=config.secure_sum.enabled and config.privacy.dp == "on",
            colluders=config.privacy.colluders,
            clip_norm=config.privacy.clip_norm,
            expected_pictures=config.training.expected_pictures,
            temperature=config.style.temperature,
            roster=roster,
            seed=config.run.seed,
        )

    @property
    def apart(self) -> float:
        """What a shared noise grows by, as colluders' shares of it do not count."""
        return math.sqrt(self.roster / max(self.roster - self.colluders, 1))

    def drawn(self, draw: int) -> Conditions:
        """With the noise of another draw."""
        return replace(self, seed=self.seed + draw)


def grid(values: Mapping[str, Sequence[float]]) -> Iterator[Settings]:
    """Every combination of values, the last name varying fastest.

    Example:
        >>> [(one.rate, one.rounds) for one in grid({"rate": [0.3, 1.0], "rounds": [10]})]
        [(0.3, 10), (1.0, 10)]
    """
    for chosen in product(*values.values()):
        yield Settings(**dict(zip(values, chosen, strict=True)))  # type: ignore[arg-type]


def told(settings: Settings, names: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The values of those settings that were chosen, by name."""
    return {one.name: getattr(settings, one.name) for one in fields(settings) if one.name in names}


def base_grid(config: Config) -> dict[str, Sequence[float]]:
    """What every rival that trains by steps is tuned over; its own weight comes on top.

    A shared noise lies in the sum of a round alone, so that local steps after the first would see nothing
    noised: there one step a round is all.
    """
    if config.privacy.dp == "off":
        return {"rate": (0.03, 0.3, 1.0, 3.0), "rounds": (10, 40), "steps": (1, 4)}
    steps = (1,) if config.secure_sum.enabled else (1, 4)
    return {"rate": (0.03, 0.3, 1.0, 3.0), "rounds": (1, 4, 16), "steps": steps, "share": (0.1, 0.25)}
