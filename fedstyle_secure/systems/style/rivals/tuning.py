"""Settings of rivals, chosen alike and on public artists alone: no private picture is ever looked at."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

import numpy as np

from fedstyle_secure.cache import cache_folder
from fedstyle_secure.galleries.atelier import SCHOOL_NAMES, Atelier
from fedstyle_secure.galleries.base import Portfolio
from fedstyle_secure.systems.style.encoder import StyleEncoder
from fedstyle_secure.systems.style.rivals.catalogue import Method
from fedstyle_secure.systems.style.rivals.settings import Conditions, Settings, grid
from fedstyle_secure.systems.style.rivals.task import Task, practice_task
from fedstyle_secure.systems.style.settings import StyleConfig

DRAWS = 3
"""Of noise, that a setting is tried under where there is any."""

LEAST = 30
"""Artists to be found: among few procedural ones nearly every picture is, whatever the settings."""

_SEED = 11
"""Another one than that of the pictures which the encoder practised on."""

_MOST = 60
"""Training pictures of a procedural artist, as painting takes time."""

_ALIKE = 3
"""At least so many of a school are there to be told apart."""

_SPARE = 3
"""Procedural artists who play the public ones where public artists are to be found."""


def practice(
    config: StyleConfig,
    encoder: StyleEncoder,
    public: Sequence[Portfolio],
    prototypes: np.ndarray,
    artists: int,
) -> Task:
    """A task of as many artists as there are private ones, or of `LEAST`: the public ones, and procedural
    ones beside them.

    Procedural artists come school by school, so that those who look alike are told apart; each has as many
    training pictures as the settings expect of an artist, 60 at most.

    Args:
        config: Size and number of pictures.
        encoder: As for the private task.
        public: The gallery's public portfolios.
        prototypes: float32 (k, d), of the shared styles.
        artists: How many private ones there are.
    """
    artists, schools = max(artists, LEAST), len(SCHOOL_NAMES)
    most = schools * (math.ceil((artists + _SPARE) / schools) + _ALIKE)
    painters = Atelier(
        artists=1,
        pictures=max(4, min(config.training.expected_pictures, _MOST) * 4 // 3),
        public=most,
        size=config.gallery.size,
        seed=_SEED,
        cache=cache_folder() / "atelier",
    )
    # Painted one by one when asked for: only those that are used.
    by_school = sorted(painters.public_artists)
    needed = max(artists - len(public), 0)
    names = [*by_school[:needed], *by_school[-_SPARE:]]
    painted = [painters.portfolio(name) for name in names]
    asked = [*public, *painted[:needed]][:artists]
    return practice_task(encoder, asked, painted[needed:], prototypes)


def tuned(
    task: Task, method: Method, conditions: Conditions, values: Mapping[str, Sequence[float]]
) -> Settings:
    """The settings of a grid whose mean average precision on a practice task is largest; the first of equals.

    Args:
        task: Of public artists.
        method: What is tuned.
        conditions: As on the private task.
        values: Of each setting.
    """
    draws = DRAWS if conditions.budget.scale else 1

    def found(settings: Settings) -> float:
        each = [method(task, settings, conditions.drawn(draw)).ranks for draw in range(draws)]
        return statistics.fmean(float((1 / ranks).mean()) for ranks in each if ranks is not None)

    return max(grid(values), key=found)
