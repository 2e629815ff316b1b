"""One record at a time: what is computed from a record hangs on that record alone, to the last bit.

Libraries of linear algebra choose their kernels by the size of a product, and with the kernel the rounding
of every row: a row in company differs from the same row alone. Weights can be made that blow this up until
one picture more changes all rows (SECURITY.md). So private records never share a product.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def one_at_a_time(function: Callable[[Tensor], Tensor], records: Tensor) -> Tensor:
    """`function` of each record by itself.

    Args:
        function: Maps a batch of one (1, ...) to (1, ...).
        records: Shape (n, ...).

    Returns:
        Shape (n, ...): row i is function(records[i : i + 1]).
    """
    if not len(records):
        return function(records)
    return torch.cat([function(alone(record)) for record in records])


def alone(record: Tensor) -> Tensor:
    """A record (...) as a batch of one (1, ...), in memory of its own: sums may also hang on where a row lies
    between others."""
    return record[None].clone(memory_format=torch.contiguous_format)
