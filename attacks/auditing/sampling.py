"""Are batches drawn as the accountant assumes? Poisson batches scatter, and shuffled ones do not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import chi2, norm

from attacks.auditing.findings import Check
from attacks.ranges import real, whole, wholes

_FALSE_ALARM = 1e-3
_FEWEST = 8
"""Batches that the scatter can be judged on."""


def check_sampling(sizes: Sequence[int], records: int, rate: float) -> Check:
    """Hold batch sizes against Poisson sampling, each record in each batch by itself with a probability.

    Mean and variance of the sizes are those of binomial(records, rate), tested as normal and as chi-square:
    a right sampler is called wrong once in a thousand runs. Shuffled batches of one size, the usual loader,
    have no variance; an accountant that assumes amplification by Poisson sampling says too little of them.

    Args:
        sizes: Records of each batch, each 0 to `records`.
        records: In the data set, >= 1.
        rate: That the accountant was told, in (0, 1].

    Example:
        >>> rng = np.random.default_rng(0)
        >>> check_sampling(rng.binomial(1000, 0.1, 50).tolist(), 1000, 0.1).holds
        True
        >>> check_sampling([100] * 50, 1000, 0.1).holds
        False
    """
    whole("records", records, 1)
    real("rate", rate, "(0, 1]")
    found = wholes(
        "sizes", np.asarray(sizes, dtype=int) if len(sizes) == 0 else np.asarray(sizes), 0, records
    )
    n, expected, variance = len(found), records * rate, records * rate * (1 - rate)
    if n < _FEWEST:
        return Check("sampling", None, f"{n} batches are too few to tell: {_FEWEST} would do")
    mean = float(found.mean())
    if rate == 1:
        holds = bool((found == records).all())
        return Check("sampling", holds, f"batches have {mean:.6g} records of {records}, and all are assumed")
    off = abs(mean - expected) / np.sqrt(variance / n)
    if off > norm.isf(_FALSE_ALARM / 4):
        return Check(
            "sampling", False, f"batches have {mean:.4g} records on average, and {expected:.4g} are assumed"
        )
    if len(set(found.tolist())) == 1:
        says = (
            f"all {n} batches have {found[0]} records, as a shuffling loader makes them, and the accountant "
            "assumes Poisson"
        )
        return Check("sampling", False, says)
    scatter = float(((found - expected) ** 2).sum()) / variance
    low, high = chi2.ppf(_FALSE_ALARM / 4, n), chi2.isf(_FALSE_ALARM / 4, n)
    if not low <= scatter <= high:
        says = f"batch sizes scatter {scatter / n:.3g} times as much as Poisson sampling makes them"
        return Check("sampling", False, says)
    return Check("sampling", True, f"{n} batches scatter as Poisson sampling at rate {rate:.4g} makes them")
