"""Sums that fall into groups: which groups enough artists contribute to, seen from what they released.

A release has a block a group, of equal lengths, and a block's last value counts records. All of this is
post-processing of noisy values, so it costs nothing.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

CROWD = 8
"""Records of a group with which an artist counts as one whole contributor, where noise is shared: its count
is held to so many before it is added up, so that the sum counts artists."""

_BY_CHANCE = 0.01
"""How often, in a sum and a group, some artist without any record of it may be taken for a contributor."""


def contributes(release: np.ndarray, groups: int, count: float, deviation: float, artists: int) -> np.ndarray:
    """Which groups an artist contributes to: its count stands out of the noise, so far that among all artists
    together one that has none of a group passes by chance once in a hundred sums.

    Args:
        release: float (groups * length,), of one artist.
        groups: Number of groups.
        count: What one record adds to the last value of its block, > 0.
        deviation: Of the noise in each value; 0 where there is none.
        artists: Who may release one, >= 1.

    Returns:
        bool (groups,).
    """
    counts = np.asarray(release, np.float64).reshape(groups, -1)[:, -1] / count
    return counts > max(0.5, float(ndtri(1 - _BY_CHANCE / artists)) * deviation / count)


def weight_stands_out(
    total: np.ndarray, groups: int, count: float, deviation: float, least: int
) -> np.ndarray:
    """Which groups have a summed weight of at least `least` artists, so far beyond the noise that in a
    hundred sums about one group of fewer passes by chance.

    No artist weighs more than 1 in a group, so a weight of `least` takes at least that many artists.

    Args:
        total: float (groups * length,), summed over artists.
        groups: Number of groups.
        count: What an artist of weight 1 adds to the last value of its block, > 0.
        deviation: Of the noise in each value.
        least: Artists that a group needs.

    Returns:
        bool (groups,).
    """
    weights = np.asarray(total, np.float64).reshape(groups, -1)[:, -1] / count
    beyond = float(ndtri(1 - _BY_CHANCE / groups))
    return weights - beyond * deviation / count >= least - 1e-6


def held_counts(groups: int, size: int, count: int, most: int) -> np.ndarray:
    """What the values of an artist's sum are held to where noise is shared, so that it weighs 1 at most in
    each group.

    Args:
        groups: Number of groups; 0: nothing is counted.
        size: Values in the sum.
        count: Steps of the grid that one record adds to the last value of its block.
        most: Bound on all other values.

    Returns:
        int64 (size,).

    Example:
        >>> held_counts(groups=2, size=6, count=10, most=1000).tolist()
        [1000, 1000, 80, 1000, 1000, 80]
    """
    bounds = np.full(size, most, np.int64)
    if groups:
        bounds.reshape(groups, -1)[:, -1] = CROWD * count
    return bounds
