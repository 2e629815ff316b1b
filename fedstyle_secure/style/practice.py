"""Procedural pictures to practise on: they show what varies within an artist, beside a small public set."""

from __future__ import annotations

from fedstyle_secure.galleries.atelier import Atelier
from fedstyle_secure.galleries.base import Portfolio

_PICTURES = 10
_SIZE = 96
# Any seed does; a fixed one, so that the same public set gives the same encoder.
_SEED = 7


def practice_portfolios(artists: int) -> list[Portfolio]:
    """Ten pictures each of `artists` procedural artists, none of whom is in any gallery of ours."""
    if artists == 0:
        return []
    atelier = Atelier(artists=1, pictures=_PICTURES, public=artists, size=_SIZE, seed=_SEED)
    return [atelier.portfolio(name) for name in atelier.public_artists]
