"""Can members be told from non-members without the model? Where they can, an attack has shown nothing yet.

Three guesses by ridge regression, each judged on records that it was not fitted on: from simple numbers of
the records themselves (a coarse picture of each input, its moments, its label); from how labels go with
inputs, as labels of one side may be noisier; and from how hard a record is to models that never saw it, where
there are such. The best of them counts, and relabelled records say what chance gives the best of three.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from attacks.auditing.data import Records
from attacks.errors import AttackError
from attacks.ranges import whole
from attacks.roc import auc

_COARSE, _WIDEST, _CLASSES = 6, 64, 100
_FOLDS = 5
_LARGEST = 1e100
_APART, _SUSPECT = 0.01, 0.1
_MOST = 1500
"""Records that the regression looks at; more are thinned by the seed."""


@dataclass(frozen=True)
class Blind:
    """A guess that looks at no model.

    Attributes:
        auc: On records that it was not fitted on.
        p_value: How often relabelled records are told apart as well.
        n: Records that it looked at.
    """

    auc: float
    p_value: float
    n: int

    @property
    def apart(self) -> bool:
        """Whether members and non-members differ without any model; falsely so once in a hundred audits."""
        return self.p_value <= _APART

    @property
    def baseline(self) -> float:
        """The AUC to be beaten: the guess's own, or one half where chance explains as much in one of ten
        relabellings. What lies above one half with its whole interval is further from chance than that."""
        return max(0.5, self.auc) if self.p_value <= _SUSPECT else 0.5


def blind_guess(
    records: Records,
    is_member: np.ndarray,
    seed: int,
    shuffles: int = 199,
    hardness: np.ndarray | None = None,
) -> Blind:
    """Tell members from non-members by the records alone.

    Args:
        records: n of them.
        is_member: bool (n,), two or more of either kind.
        seed: Of folds, thinning and relabelling, >= 0.
        shuffles: Relabellings, >= 99.
        hardness: (n, k) numbers of each record from models that did not train on it, or None.

    Example:
        >>> draws = torch.Generator().manual_seed(0)
        >>> records = Records(torch.randn(80, 3, generator=draws), None)
        >>> blind_guess(records, np.arange(80) < 40, seed=0).apart
        False
        >>> records.inputs[:40] += 2
        >>> blind_guess(records, np.arange(80) < 40, seed=0).apart
        True
    """
    whole("seed", seed, 0)
    whole("shuffles", shuffles, 99)
    is_member = np.asarray(is_member, bool)
    if min(is_member.sum(), (~is_member).sum()) < 2:
        raise AttackError("a blind baseline needs at least two members and two non-members")
    rng = np.random.default_rng(seed)
    if len(is_member) > _MOST:
        kept = [rng.permutation(np.flatnonzero(is_member == side))[: _MOST // 2] for side in (True, False)]
        places = np.sort(np.concatenate(kept))
        records, is_member = records.at(places), is_member[places]
        hardness = None if hardness is None else hardness[places]
    fold = np.empty(len(is_member), int)
    for side in (True, False):
        own = np.flatnonzero(is_member == side)
        fold[rng.permutation(own)] = np.arange(len(own)) % _FOLDS
    guesses = [_predicts(kernel, fold) for kernel in _kernels(records, hardness)]

    def area(member: np.ndarray) -> float:
        told = [predicts @ (member - member.mean()) for predicts in guesses]
        return max(auc(said[member], said[~member]) for said in told)

    found = area(is_member)
    by_chance = sum(area(_relabelled(is_member, fold, rng)) >= found for _ in range(shuffles))
    return Blind(found, (1 + by_chance) / (1 + shuffles), len(is_member))


def blind_features(records: Records) -> np.ndarray:
    """Simple numbers of each record, float64 (n, d), each column of mean 0 and deviation 1 at most."""
    told = _of_inputs(records)
    return _scaled(
        told if records.targets is None else np.concatenate([told, _of_targets(records.targets)], 1)
    )


def _kernels(records: Records, hardness: np.ndarray | None) -> list[np.ndarray]:
    """Of each guess, (n, n)."""
    features = blind_features(records)
    found = [features @ features.T + 1.0]
    if records.targets is not None:
        inputs, labels = _scaled(_of_inputs(records)), _scaled(_of_targets(records.targets))
        found.append((inputs @ inputs.T) * (labels @ labels.T))
    if hardness is not None:
        hard = _scaled(hardness)
        found.append(hard @ hard.T + 1.0)
    return found


def _predicts(kernel: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """(n, n), which maps labels to what ridge regression on the other folds says of each record."""
    strength = max(np.trace(kernel) / len(kernel), 1e-9)
    found = np.zeros((len(fold), len(fold)))
    for k in range(_FOLDS):
        out, fit = np.flatnonzero(fold == k), np.flatnonzero(fold != k)
        ridge = kernel[np.ix_(fit, fit)] + strength * np.eye(len(fit))
        found[np.ix_(out, fit)] = np.linalg.solve(ridge, kernel[np.ix_(fit, out)]).T
    return found


def _of_inputs(records: Records) -> np.ndarray:
    inputs = records.inputs.detach().cpu()
    values = torch.nan_to_num(inputs.double() if not inputs.is_complex() else inputs.abs().double())
    # Squares of more overflow.
    values = values.clamp(-_LARGEST, _LARGEST)
    flat = values.flatten(1)
    parts = [flat.mean(1, keepdim=True), flat.std(1, unbiased=False, keepdim=True)]
    parts += [flat.amin(1, keepdim=True), flat.amax(1, keepdim=True)]
    if values.ndim == 4:
        parts += [F.adaptive_avg_pool2d(values, _COARSE).flatten(1), values.mean((2, 3)), values.std((2, 3))]
    elif flat.shape[1] <= _WIDEST:
        parts.append(flat)
    else:
        parts.append(F.adaptive_avg_pool1d(flat[:, None], _WIDEST)[:, 0])
    told: np.ndarray = torch.cat(parts, 1).numpy()
    return told


def _of_targets(targets: Tensor) -> np.ndarray:
    told = targets.detach().cpu().flatten(1 if targets.ndim > 1 else 0)
    if told.ndim == 1 and not told.is_floating_point():
        found = (told[:, None] == torch.unique(told)[:_CLASSES]).double()
    else:
        found = torch.nan_to_num(told.reshape(len(told), -1)[:, :_WIDEST].double())
    numbers: np.ndarray = found.clamp(-_LARGEST, _LARGEST).numpy()
    return numbers


def _scaled(found: np.ndarray) -> np.ndarray:
    """Each column of mean 0 and deviation 1 at most, over the root of their number."""
    found = found - found.mean(0)
    spread = found.std(0)
    scaled: np.ndarray = found / np.where(spread > 1e-12, spread, 1.0) / np.sqrt(found.shape[1])
    return scaled


def _relabelled(is_member: np.ndarray, fold: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Members drawn anew within each fold."""
    found = is_member.copy()
    for k in range(_FOLDS):
        own = np.flatnonzero(fold == k)
        found[own] = is_member[rng.permutation(own)]
    return found
