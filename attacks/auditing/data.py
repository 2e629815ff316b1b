"""Somebody's records as tensors, whatever they came in: tensors, arrays, a dataset, a loader."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from attacks.errors import AttackError, one_line


@dataclass(frozen=True, eq=False)
class Records:
    """Inputs, and targets where there are any.

    Attributes:
        inputs: (n, ...).
        targets: (n, ...), or None.

    Example:
        >>> records = Records.of((torch.zeros(3, 2), torch.tensor([0, 1, 1])), "members")
        >>> len(records), records.targets.tolist()
        (3, [0, 1, 1])
    """

    inputs: Tensor
    targets: Tensor | None

    @classmethod
    def of(cls, given: Any, name: str) -> Records:
        """Read records.

        Args:
            given: Records, a tensor or array of inputs, a pair (inputs, targets) of them, or a dataset or
                loader that yields inputs or such pairs. Either is read once, a loader in its own order, so
                that what shuffles or augments is one draw for all that is asked of it. Sparse tensors are
                made dense.
            name: For errors.

        Raises:
            AttackError: It is none of these, is empty, or inputs and targets differ in number.
        """
        if isinstance(given, Records):
            return given
        if _is_pair(given):
            inputs, targets = _tensor(given[0], name), _tensor(given[1], f"{name}: targets")
        elif _array(given):
            inputs, targets = _tensor(given, name), None
        elif isinstance(given, Dataset) or hasattr(given, "__getitem__") or isinstance(given, Iterable):
            inputs, targets = _read(given, name)
        else:
            raise AttackError(
                f"{name} must be tensors, a dataset or a loader of (input, target), not "
                f"{type(given).__name__}"
            )
        if not inputs.ndim or not len(inputs):
            raise AttackError(f"{name}: there is no record")
        if targets is not None and (not targets.ndim or len(targets) != len(inputs)):
            raise AttackError(f"{name}: {len(inputs)} inputs, but {targets.numel()} targets")
        return cls(inputs, targets)

    def __len__(self) -> int:
        return len(self.inputs)

    def at(self, places: np.ndarray) -> Records:
        """Those at places, int or bool (k,)."""
        chosen = torch.from_numpy(np.asarray(places))
        chosen = chosen.to(self.inputs.device)
        targets = self.targets
        return Records(self.inputs[chosen], None if targets is None else targets[chosen.to(targets.device)])

    def with_(self, other: Records) -> Records:
        """These, then the others.

        Raises:
            AttackError: Shapes or kinds differ.
        """
        if self.inputs.shape[1:] != other.inputs.shape[1:]:
            raise AttackError(
                f"inputs are {tuple(self.inputs.shape[1:])} here and {tuple(other.inputs.shape[1:])} there"
            )
        if (self.targets is None) != (other.targets is None):
            raise AttackError("some records have targets and others none")
        inputs = torch.cat([self.inputs.cpu(), other.inputs.cpu()])
        if self.targets is None or other.targets is None:
            return Records(inputs, None)
        if self.targets.shape[1:] != other.targets.shape[1:]:
            raise AttackError(
                f"targets are {tuple(self.targets.shape[1:])} here and {tuple(other.targets.shape[1:])} there"
            )
        return Records(inputs, torch.cat([self.targets.cpu(), other.targets.cpu()]))

    def dataset(self) -> TensorDataset:
        """As a dataset of (input, target), or of (input,)."""
        return TensorDataset(self.inputs, *([] if self.targets is None else [self.targets]))

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor | None]]:
        """In order, `size` at a time."""
        for start in range(0, len(self), size):
            part = slice(start, start + size)
            yield self.inputs[part], None if self.targets is None else self.targets[part]


def identities(records: Records) -> np.ndarray:
    """int (n,): the same number for records whose inputs and targets are the same to the last bit.

    Example:
        >>> identities(Records(torch.tensor([[1.0], [2.0], [1.0]]), None)).tolist()
        [0, 1, 0]
    """
    seen: dict[bytes, int] = {}
    parts = [records.inputs] if records.targets is None else [records.inputs, records.targets]
    found = np.empty(len(records), int)
    for k in range(len(records)):
        digest = hashlib.blake2b(digest_size=16)
        for part in parts:
            # By way of bytes: numpy has no bfloat16.
            digest.update(part[k].cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        found[k] = seen.setdefault(digest.digest(), len(seen))
    return found


def _array(given: Any) -> bool:
    return isinstance(given, Tensor | np.ndarray)


def refuse_twice(sides: Mapping[str, np.ndarray]) -> None:
    """A record cannot be on two sides: it would be asked for where it surely is.

    Args:
        sides: `identities` of all records together, by side.

    Raises:
        AttackError: Some are on two.
    """
    for one, other in combinations(sides, 2):
        if both := len(np.intersect1d(sides[one], sides[other])):
            raise AttackError(f"{both} records are in {one} and in {other} alike: leave them out of {other}")


def repeats(numbers: np.ndarray) -> list[str]:
    """A note where records come again, by their `identities`."""
    again = len(numbers) - len(np.unique(numbers))
    return [f"{again} of {len(numbers)} records come again, and intervals count them anew"] if again else []


def _is_pair(given: Any) -> bool:
    """Inputs and targets, the latter as numbers in a list at most."""
    if not isinstance(given, tuple | list) or len(given) != 2 or not _array(given[0]):
        return False
    listed = (
        isinstance(given, tuple) and isinstance(given[1], list | tuple) and len(given[1]) == len(given[0])
    )
    return _array(given[1]) or listed


def _tensor(given: Any, name: str) -> Tensor:
    """Dense and without a graph. Raises AttackError where torch has no such numbers."""
    try:
        found = torch.as_tensor(given).detach()
        return found if found.layout == torch.strided else found.to_dense()
    except (TypeError, ValueError, RuntimeError) as error:
        raise AttackError(f"{name}: {type(given).__name__} holds no numbers: {one_line(error)}") from None


def _read(given: Any, name: str) -> tuple[Tensor, Tensor | None]:
    """All that a loader or a dataset yields."""
    loader = hasattr(given, "batch_size") and isinstance(given, Iterable)
    items = given if loader else _items(given)
    # A loader that was told to make no batches gives its data set's items, which may be batches themselves.
    batched = loader and not (given.batch_size is None and getattr(given, "batch_sampler", None) is None)
    inputs: list[Tensor] = []
    targets: list[Tensor] = []
    for item in items:
        one = item if isinstance(item, tuple | list) else (item,)
        if isinstance(item, dict) or not 1 <= len(one) <= 2 or not isinstance(one[0], Tensor | np.ndarray):
            raise AttackError(
                f"{name}: each item must be an input tensor or a pair (input, target), not a "
                f"{type(item).__name__}"
            )
        inputs.append(_tensor(one[0], name))
        targets += [_tensor(part, f"{name}: a target") for part in one[1:]]
    if not inputs:
        raise AttackError(f"{name}: there is no record")
    if targets and len(targets) != len(inputs):
        raise AttackError(f"{name}: some items have a target and others none")
    if loader and not batched and targets:
        batched = all(
            t.ndim > 0 and i.ndim > 0 and len(t) == len(i) for i, t in zip(inputs, targets, strict=True)
        )
    joined = torch.cat if batched else torch.stack
    try:
        return joined(inputs), joined(targets) if targets else None
    except RuntimeError as error:
        raise AttackError(f"{name}: records differ in shape: {one_line(error)}") from None


def _items(given: Any) -> Iterator[Any]:
    """A dataset's items; one that only counts its length is not asked beyond it."""
    if hasattr(given, "__len__") and hasattr(given, "__getitem__"):
        return (given[k] for k in range(len(given)))
    return iter(given)
