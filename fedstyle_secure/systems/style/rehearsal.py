"""Rehearsal: a run is played on procedural artists before it begins: what would private training be worth?

It costs no privacy, as no private picture is looked at: the platform plays as many artists with as many
pictures under the same budget, plan by plan, on an encoder that has not seen them. The plan that finds most
pictures' artists is proposed, if it beats the whole budget on cards by more than the rehearsal's error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from fedstyle_secure.cache import cache_folder
from fedstyle_secure.errors import ConfigError
from fedstyle_secure.federation.simulation import play
from fedstyle_secure.galleries.atelier import Atelier
from fedstyle_secure.galleries.base import Portfolio
from fedstyle_secure.privacy.plan import solve
from fedstyle_secure.system import State, system_bound
from fedstyle_secure.systems.style.settings import StyleConfig
from fedstyle_secure.systems.style.system import StyleSystem

PLANS: Mapping[str, tuple[str, ...]] = {
    "cards": ("style.train=none", "style.scatter=off"),
    "scatter": ("style.train=none", "style.scatter=on"),
    "head": ("style.train=head", "style.scatter=off"),
    "scatter and head": ("style.train=head", "style.scatter=on"),
}
"""Plans that are played, with the settings that make them; the first spends nothing on training."""

MOST_ARTISTS = 112
"""More are not played: on procedural artists the gain grew from 28 to 112, and was about that with 1,000."""

DRAWS = 4
"""Times that each plan is played, each with noise of its own."""

_UNPRACTISED = {True: (), False: ("style.practice_artists=0",)}
"""Real artists are of no procedural school, so that an encoder that practised on all of them would know those
who are played too well."""

_SEED = 11
_FEWEST_SCHOOLS = 3


@dataclass(frozen=True)
class Played:
    """What a plan reached in rehearsal.

    Attributes:
        plan: Of `PLANS`.
        top1: Share of held-out pictures whose own artist was nearest, over all draws.
        gain: Of it over the whole budget on cards, paired over artists.
        error: Standard error of the gain over artists.
    """

    plan: str
    top1: float
    gain: float
    error: float

    @property
    def sentence(self) -> str:
        """For a log."""
        return f"rehearsal: {self.plan}: top-1 {self.top1:.3f}, {self.gain:+.3f} (se {self.error:.3f})"


@dataclass(frozen=True)
class Rehearsal:
    """All plans, played.

    Attributes:
        plans: In the order of `PLANS`.
        artists: How many were played.
        pictures: Each of so many.
    """

    plans: tuple[Played, ...]
    artists: int
    pictures: int

    @property
    def chosen(self) -> Played:
        """The plan of the largest gain, if that is above its error; else the whole budget for cards."""
        best = max(self.plans, key=lambda played: played.gain)
        return best if best.gain > best.error else self.plans[0]

    @property
    def settings(self) -> tuple[str, ...]:
        """The settings of the chosen plan, as for `-s`."""
        return PLANS[self.chosen.plan]

    @property
    def verdict(self) -> str:
        """What to expect, in one sentence."""
        best = self.chosen
        if best is self.plans[0]:
            return "no gain is to be expected of private training: the whole budget goes to the cards"
        return (
            f"expect {best.gain:+.3f} (standard error {best.error:.3f}) of private training by "
            f"{best.plan}: {', '.join(self.settings)}"
        )


def rehearse(
    config: StyleConfig,
    artists: int,
    draws: int = DRAWS,
    on_plan: Callable[[Played], None] = lambda _: None,
) -> Rehearsal:
    """Play a run's plans on procedural artists.

    Args:
        config: The run's settings.
        artists: Its number of private artists.
        draws: Times that each plan is played, >= 1.
        on_plan: Called with each plan when it was played.

    Raises:
        ConfigError: The run has no budget to share out between training and cards.
    """
    if config.privacy.unit != "artwork" or config.cards.consent == ("none",):
        raise ConfigError(
            "a rehearsal weighs training against cards: it takes privacy.unit = 'artwork' and artists' cards"
        )
    config = config.override(["style.train=head", *_UNPRACTISED[config.gallery.source == "atelier"]])
    if not config.shares_noise:
        config = config.override(["secure_sum.enabled=false", "privacy.noise=own"])
    count = min(artists, MOST_ARTISTS)
    private, public = _galleries(config, count)
    system = StyleSystem(config)
    start = system.learn(public)
    model = system.model(start)
    inputs = {portfolio.artist: system.inputs(model, portfolio) for portfolio in private}
    tests = {portfolio.artist: model.prepare(portfolio.test_pictures) for portfolio in private}
    found: dict[str, np.ndarray] = {}
    played: list[Played] = []
    for name, settings in _plans(config).items():
        own = config.override(settings)
        rates = [_played(own, start, private, inputs, tests, public) for _ in range(draws)]
        found[name] = np.mean(rates, axis=0)
        gains = found[name] - found["cards"]
        error = float(gains.std(ddof=1) / math.sqrt(count)) if count > 1 else math.inf
        played.append(Played(name, float(found[name].mean()), float(gains.mean()), error))
        on_plan(played[-1])
    return Rehearsal(tuple(played), count, len(private[0].pictures))


def rehearsed(config: StyleConfig, artists: int, tell: Callable[[str], None]) -> tuple[str, ...]:
    """Settings of the plan to choose, as for `-s`; tells each plan's figures."""
    found = rehearse(config, artists, on_plan=lambda played: tell(played.sentence))
    tell(found.verdict)
    return found.settings


def _plans(config: StyleConfig) -> dict[str, tuple[str, ...]]:
    """Those that the settings allow: second moments need one noise, or none."""
    noisy = config.privacy.dp == "on" and config.privacy.noise_multiplier != 0
    return {
        name: settings
        for name, settings in PLANS.items()
        if "style.scatter=on" not in settings or config.shares_noise or not noisy
    }


def _played(
    config: StyleConfig,
    start: State,
    private: Sequence[Portfolio],
    inputs: Mapping[str, Tensor],
    tests: Mapping[str, Tensor],
    public: Sequence[Portfolio],
) -> np.ndarray:
    """Each artist's share of held-out pictures that are nearest to its own card, float64 (artists,)."""
    system = StyleSystem(config)
    plan = solve(config, system.kinds(), len(private))
    state = play(system_bound(config), plan, start, private, inputs, public)
    encoder, names = system.model(state), state.texts["cards"]
    cards = encoder.place(state.public["cards"]).numpy()
    shares = []
    for portfolio in private:
        nearest = (encoder.embed(tests[portfolio.artist]) @ cards.T).argmax(axis=1)
        shares.append(np.mean(nearest == names.index(portfolio.artist)))
    return np.array(shares)


def _galleries(config: StyleConfig, artists: int) -> tuple[list[Portfolio], list[Portfolio]]:
    """Procedural artists who play the private ones, and a few who play the public ones.

    What a platform owns is narrower than what artists bring, so the public ones are of few schools.
    """
    gallery = config.gallery
    pictures = max(2, round(config.training.expected_pictures / (1 - gallery.test_fraction)))
    owned = gallery.public_artists if gallery.source == "atelier" else len(gallery.public)
    painters = Atelier(
        artists=artists,
        pictures=pictures,
        public=max(owned, _FEWEST_SCHOOLS),
        size=min(gallery.size, 96),
        seed=_SEED,
        test_fraction=gallery.test_fraction,
        cache=cache_folder() / "atelier",
    )
    private = [painters.portfolio(name) for name in painters.artists]
    return private, [painters.portfolio(name) for name in painters.public_artists]
