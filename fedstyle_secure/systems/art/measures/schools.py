"""A judge of the atelier's schools, which learned from public artists that are in nobody's gallery."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import torch

from fedstyle_secure import textures
from fedstyle_secure.cache import cache_folder, key_of, remembered
from fedstyle_secure.galleries import atelier
from fedstyle_secure.galleries.atelier import SCHOOL_NAMES, Atelier
from fedstyle_secure.systems.art.measures.judge import Judge, statistics

_SEED = 2**62 + 1
"""Another one than the backbone's artists have, and than any gallery."""

_HANDS, _PICTURES = 10, 16

SOURCES = (*atelier.SOURCES, *textures.SOURCES, Path(__file__).parent)
"""What the judge's statistics follow from."""


def school_judge(size: int, hands: int = _HANDS, pictures: int = _PICTURES) -> Judge:
    """A judge that tells the schools apart.

    Its statistics are kept in the cache: a machine measures them once.

    Args:
        size: Side of the pictures that it learns from, 32 to 256: as those that it is to judge.
        hands: Public artists a school.
        pictures: Of each.
    """
    # A kernel's rounding may hang on the processor and on the number of threads.
    machine = (torch.backends.cpu.get_cpu_capability(), torch.get_num_threads())
    key = key_of(SOURCES, size, hands, pictures, _SEED, *machine)
    kept = remembered(cache_folder() / "judge", "schools", key, lambda: _measured(size, hands, pictures))
    return Judge.fit_statistics(kept["statistics"], [SCHOOL_NAMES[i] for i in kept["schools"].tolist()])


def school_pictures(
    size: int,
    hands: int = _HANDS,
    pictures: int = _PICTURES,
    seed: int = _SEED,
    schools: Collection[str] = SCHOOL_NAMES,
) -> tuple[np.ndarray, list[str]]:
    """Pictures uint8 (n, size, size, 3) of public artists of some schools, and the school of each."""
    shown = Atelier(
        artists=1,
        pictures=pictures,
        public=hands * len(SCHOOL_NAMES),
        size=size,
        seed=seed,
        test_fraction=0,
    )
    chosen = (
        artist for artist in shown.public_artists if artist.split("-", 1)[1].rsplit("-", 1)[0] in schools
    )
    portfolios = [shown.portfolio(artist) for artist in chosen]
    return np.concatenate([p.pictures for p in portfolios]), [name for p in portfolios for name in p.labels]


def _measured(size: int, hands: int, pictures: int) -> dict[str, np.ndarray]:
    shown, schools = school_pictures(size, hands, pictures)
    return {
        "statistics": statistics(shown),
        "schools": np.array([SCHOOL_NAMES.index(name) for name in schools]),
    }
