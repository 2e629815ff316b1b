"""Reference models for LiRA and RMIA: trained by the user's own function, or given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.utils.data import TensorDataset

from attacks.auditing.data import Records
from attacks.auditing.signals import Reader, Signals
from attacks.errors import AttackError
from attacks.membership.shadows import balanced_sets
from attacks.membership.threshold import logit_score
from attacks.ranges import whole

Fit = Callable[[TensorDataset, int], nn.Module]
"""Trains a model as the audited one was trained: a dataset of (input, target), and a seed."""

_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class Pool:
    """Reference models' signals.

    Attributes:
        signals: One a model, each of n records.
        trained_on: bool (n, k), whether a model trained on a record.
    """

    signals: tuple[Signals, ...]
    trained_on: np.ndarray


def trained(
    fit: Fit, records: Records, set_size: int, models: int, seed: int
) -> tuple[list[nn.Module], np.ndarray]:
    """Train reference models, each on as many records as the audited model.

    Args:
        fit: The user's own training.
        records: n candidates, members and non-members.
        set_size: Records a model, 1 to n - 1.
        models: How many, >= 2.
        seed: Of who trains on what; the k-th model is trained with seed + k.

    Returns:
        The models, and who trained on what, bool (n, models).

    Raises:
        AttackError: Too few models for every candidate, or `fit` returns no model.
    """
    whole("models", models, 2)
    sets = balanced_sets(len(records), models, set_size, np.random.default_rng(seed))
    found = []
    for k in range(models):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + k)
            with torch.enable_grad():
                model = fit(records.at(sets[:, k]).dataset(), seed + k)
        if not isinstance(model, nn.Module):
            raise AttackError(f"fit must return the trained model, not {type(model).__name__}")
        found.append(model)
        refuse_shared({f"reference model {j}": one for j, one in enumerate(found)})
    return found, sets


def refuse_shared(models: Mapping[str, nn.Module]) -> None:
    """Refuse models that are one and the same: the last training has overwritten those before.

    Args:
        models: By the name that an error calls them.

    Raises:
        AttackError: All weights of one are another's; frozen parts may be common.
    """
    owned = {name: {id(p) for p in model.parameters()} for name, model in models.items()}
    for later, name in enumerate(owned):
        for other in list(owned)[:later]:
            if models[name] is models[other] or (owned[name] and owned[name] <= owned[other]):
                raise AttackError(
                    f"{name} is the {other}, with the same weights: give one of its own; a fit must make and "
                    "return a new model at every call"
                )


def read_pool(models: Sequence[nn.Module], trained_on: np.ndarray, reader: Reader, records: Records) -> Pool:
    """Signals of reference models on all candidates.

    Raises:
        AttackError: Shapes differ, or a model cannot be read; names which.
    """
    if trained_on.dtype != bool or trained_on.shape != (len(records), len(models)):
        raise AttackError(
            f"trained_on must be bool ({len(records)}, {len(models)}): members first, then non-members, and "
            f"a column a reference model; not {trained_on.dtype} {trained_on.shape}"
        )
    signals = tuple(reader.read(model, records, f"reference model {k}") for k, model in enumerate(models))
    return Pool(signals, trained_on)


def lira_signal(signals: Signals) -> np.ndarray:
    """What LiRA takes, (n,), near normal over models: the logit of the label's probability, or minus the
    logarithm of another loss.

    Example:
        >>> lira_signal(Signals(np.array([1.0]), np.array([[3.0, 1.0]]), np.array([0]))).tolist()
        [2.0]
    """
    if signals.logits is not None and signals.labels is not None:
        return logit_score(signals.logits, signals.labels)
    if signals.views is not None:
        agreed: np.ndarray = np.arctanh(np.clip(-signals.losses, -1 + 1e-9, 1 - 1e-9))
        return agreed
    if (signals.losses < 0).any():
        return -signals.losses
    found: np.ndarray = -np.log(signals.losses + _TINY)
    return found


def probability(signals: Signals) -> np.ndarray:
    """Of the label, (n,), as RMIA takes it. Raises AttackError where the model is no classifier."""
    if signals.logits is None:
        raise AttackError("RMIA compares probabilities of labels, and this model gives none")
    found: np.ndarray = np.clip(np.exp(-signals.losses), _TINY, 1.0)
    return found
