"""Can members be told from non-members without the model? Where they can, an attack has shown nothing yet.

Simple numbers of the records themselves (a coarse picture of each input, its moments, its label) and ridge
regression, judged on records that it was not fitted on; relabelled records say what chance gives.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from attacks.auditing.data import Records
from attacks.errors import AttackError
from attacks.ranges import whole
from attacks.roc import auc

_COARSE, _WIDEST, _CLASSES = 6, 64, 100
_FOLDS = 5
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


def blind_guess(records: Records, is_member: np.ndarray, seed: int, shuffles: int = 199) -> Blind:
    """Tell members from non-members by the records alone.

    Args:
        records: n of them.
        is_member: bool (n,), two or more of either kind.
        seed: Of folds, thinning and relabelling, >= 0.
        shuffles: Relabellings, >= 99.

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
    features = blind_features(records)
    fold = np.empty(len(is_member), int)
    for side in (True, False):
        own = np.flatnonzero(is_member == side)
        fold[rng.permutation(own)] = np.arange(len(own)) % _FOLDS
    kernel = features @ features.T + 1.0
    strength = max(np.trace(kernel) / len(kernel), 1e-9)
    predicts = np.zeros((len(fold), len(fold)))
    for k in range(_FOLDS):
        out, fit = np.flatnonzero(fold == k), np.flatnonzero(fold != k)
        ridge = kernel[np.ix_(fit, fit)] + strength * np.eye(len(fit))
        predicts[np.ix_(out, fit)] = np.linalg.solve(ridge, kernel[np.ix_(fit, out)]).T

    def area(member: np.ndarray) -> float:
        said = predicts @ (member - member.mean())
        return auc(said[member], said[~member])

    found = area(is_member)
    by_chance = sum(area(_relabelled(is_member, fold, rng)) >= found for _ in range(shuffles))
    return Blind(found, (1 + by_chance) / (1 + shuffles), len(is_member))


def blind_features(records: Records) -> np.ndarray:
    """Simple numbers of each record, float64 (n, d), each column of mean 0 and deviation 1 at most."""
    inputs = records.inputs.detach().cpu()
    values = torch.nan_to_num(inputs.double() if not inputs.is_complex() else inputs.abs().double())
    flat = values.flatten(1)
    parts = [flat.mean(1, keepdim=True), flat.std(1, unbiased=False, keepdim=True)]
    parts += [flat.amin(1, keepdim=True), flat.amax(1, keepdim=True)]
    if values.ndim == 4:
        parts += [F.adaptive_avg_pool2d(values, _COARSE).flatten(1), values.mean((2, 3)), values.std((2, 3))]
    elif flat.shape[1] <= _WIDEST:
        parts.append(flat)
    else:
        parts.append(F.adaptive_avg_pool1d(flat[:, None], _WIDEST)[:, 0])
    targets = records.targets
    if targets is not None:
        told = targets.detach().cpu().flatten(1 if targets.ndim > 1 else 0)
        if told.ndim == 1 and not told.is_floating_point():
            kinds = torch.unique(told)[:_CLASSES]
            parts.append((told[:, None] == kinds).double())
        else:
            parts.append(told.reshape(len(told), -1)[:, :_WIDEST].double())
    found = torch.cat(parts, 1).numpy()
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
