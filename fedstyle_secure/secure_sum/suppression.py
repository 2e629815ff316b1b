"""Which groups of an opened sum are shown, and which cohorts may be opened beside earlier ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from fedstyle_secure.secure_sum.manifest import Groups


def suppress(total: np.ndarray, groups: Groups) -> tuple[np.ndarray, np.ndarray]:
    """Zero the groups that too few artists contribute to, and all contributor values.

    A group below the threshold is dropped. If the dropped ones together have fewer contributors than the
    threshold, as a single one always has, the smallest group that is left is dropped as well: whoever knows a
    total over all groups (from a free value, say, or another release) could take the shown ones off it and
    have the hidden ones. This is secondary cell suppression as in official statistics (Cox 1980,
    "Suppression methodology and statistical disclosure control"), for one known total.

    Args:
        total: int64 (D,), laid out as `Groups` says.
        groups: Where the groups are.

    Returns:
        (int64 (D,) with zeros for what is not shown, bool (K,) which groups are shown).
    """
    start = len(total) - groups.values
    contributors = total[len(total) - groups.count :]
    kept = contributors >= groups.threshold
    hidden = np.maximum(contributors[~kept], 0)
    if 0 < len(hidden) < groups.count and hidden.sum() < groups.threshold:
        shown = np.flatnonzero(kept)
        kept[shown[contributors[shown].argmin()]] = False
    released = total.copy()
    blocks = released[start : len(total) - groups.count].reshape(groups.count, groups.width)
    blocks[~kept] = 0
    released[len(total) - groups.count :] = 0
    return released, kept


def smallest_difference(cohorts: Sequence[Iterable[str]]) -> int:
    """The fewest artists that any adding and subtracting of the cohorts' sums can single out.

    Artists that are in the same cohorts count alike in every combination, so the finest groups that
    combinations can tell apart are those with equal membership. Leave-one-out cohorts give 1.

    Args:
        cohorts: At least one, none empty.
    """
    sets = [frozenset(cohort) for cohort in cohorts]
    groups = Counter(tuple(artist in s for s in sets) for artist in frozenset().union(*sets))
    return min(groups.values())
