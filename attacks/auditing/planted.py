"""Canaries for a training of one's own: records with a wrong label, each in by its own fair coin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import ConcatDataset, Dataset

from attacks.auditing.data import Records
from attacks.auditing.signals import class_labels
from attacks.canaries import Bytes, fair_coins, mislabelled
from attacks.errors import AttackError
from attacks.ranges import whole


@dataclass(frozen=True, eq=False)
class Planted:
    """Records whose presence in a training was decided by coins.

    Attributes:
        records: All of them, in or out.
        inside: bool (m,), the coins; nobody but the auditor may see them.
    """

    records: Records
    inside: np.ndarray

    def added(self, data: Dataset[Any]) -> ConcatDataset[Any]:
        """The user's dataset of (input, target) with the canaries that are in, to train on instead."""
        return ConcatDataset([data, self.records.at(self.inside).dataset()])


def plant(records: Any, classes: int, seed: int = 0, coins: Bytes | None = None) -> Planted:
    """Make canaries of records that are not in the training: their labels are made wrong, coins are thrown.

    Args:
        records: Inputs and class labels, as `audit_model` takes them; each becomes one canary.
        classes: >= 2.
        seed: Of the wrong labels, >= 0.
        coins: Random bytes; None for the operating system's, and anything else is for tests.

    Raises:
        AttackError: The records have no class labels.

    Example:
        >>> planted = plant((torch.zeros(8, 3), torch.zeros(8).long()), 2, coins=lambda n: bytes([177] * n))
        >>> planted.records.targets.tolist(), len(planted.added(Records(torch.zeros(5, 3), None).dataset()))
        ([1, 1, 1, 1, 1, 1, 1, 1], 9)
    """
    found = Records.of(records, "canaries")
    if found.targets is None:
        raise AttackError("canaries need class labels, which are then made wrong")
    whole("seed", seed, 0)
    labels = class_labels(found.targets).cpu().numpy()
    wrong = mislabelled(labels, classes, np.random.default_rng(seed))
    inside = fair_coins(len(found)) if coins is None else fair_coins(len(found), coins)
    targets = torch.from_numpy(wrong).to(found.targets.dtype).reshape(found.targets.shape)
    return Planted(Records(found.inputs, targets), inside)
