"""Sums that fall into groups: which groups enough artists contribute to, seen from what they released.

A release has a block a group, of equal lengths, and a block's last value counts records. All of this is
post-processing of noisy values, so it costs nothing.
"""

from __future__ import annotations

import numpy as np


def contributes(release: np.ndarray, groups: int, count: float, deviation: float) -> np.ndarray:
    """Which groups an artist contributes to: its count stands out of the noise by two deviations.

    Args:
        release: float (groups * length,), of one artist.
        groups: Number of groups.
        count: What one record adds to the last value of its block, > 0.
        deviation: Of the noise in each value; 0 where there is none.

    Returns:
        bool (groups,).
    """
    counts = np.asarray(release, np.float64).reshape(groups, -1)[:, -1] / count
    return counts > max(0.5, 2 * deviation / count)


def weight_stands_out(
    total: np.ndarray, groups: int, count: float, deviation: float, least: int
) -> np.ndarray:
    """Which groups have a summed weight of at least `least` artists, beyond two deviations of the noise.

    An artist's weights over all groups add up to 1, so a weight of `least` takes at least that many artists.

    Args:
        total: float (groups * length,), sum over artists of the mean row of each.
        groups: Number of groups.
        count: What one record adds to the last value of its block, > 0.
        deviation: Of the noise in each value.
        least: Artists that a group needs.

    Returns:
        bool (groups,).
    """
    weights = np.asarray(total, np.float64).reshape(groups, -1)[:, -1] / count
    return weights - 2 * deviation / count >= least - 1e-6
