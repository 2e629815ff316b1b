"""Procedural pictures to practise on: they show what varies within an artist, beside a small public set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from fedstyle_secure import textures
from fedstyle_secure.cache import cache_folder, key_of, remembered
from fedstyle_secure.galleries import atelier
from fedstyle_secure.galleries.base import Portfolio
from fedstyle_secure.systems.style.whitened import Measure, measured
from fedstyle_secure.textures.statistics import texture_features

_PICTURES = 10
_SIZE = 96
# Any seed does; a fixed one, so that the same public set gives the same encoder.
_SEED = 7

SOURCES = (*atelier.SOURCES, *textures.SOURCES, Path(__file__).parent)
"""What features of practice pictures follow from."""


def practice_portfolios(artists: int) -> list[Portfolio]:
    """Ten pictures each of `artists` procedural artists, none of whom is in any gallery of ours."""
    if artists == 0:
        return []
    painters = atelier.Atelier(
        artists=1,
        pictures=_PICTURES,
        public=artists,
        size=_SIZE,
        seed=_SEED,
        cache=cache_folder() / "atelier",
    )
    return [painters.portfolio(name) for name in painters.public_artists]


def practice_features(
    artists: int, measure: Measure = texture_features, *follows: str
) -> tuple[np.ndarray, np.ndarray]:
    """Features of the practice pictures, without a picture where they were measured before.

    Args:
        artists: Procedural artists, >= 1.
        measure: What is measured in them.
        follows: What features follow from beside this program: names of packages, digests of weights.

    Returns:
        float32 (n, D0), and int64 (n,): which artist painted each.
    """
    # A kernel's rounding may hang on the processor and on the number of threads.
    machine = (torch.backends.cpu.get_cpu_capability(), torch.get_num_threads())
    key = key_of(SOURCES, artists, _PICTURES, _SIZE, _SEED, *machine, *follows)
    kept = remembered(cache_folder() / "practice", "features", key, lambda: _measured(artists, measure))
    return kept["features"], kept["artists"]


def _measured(artists: int, measure: Measure) -> dict[str, np.ndarray]:
    features, owners = measured(practice_portfolios(artists), measure)
    return {"features": features, "artists": owners}
