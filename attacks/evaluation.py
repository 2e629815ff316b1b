"""Evaluators: the only place where evidence and truth meet."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from attacks.errors import AttackError
from attacks.intervals import median_interval
from attacks.matching import arranged, match
from attacks.metrics import gmsd, mean_square, psnr, psnr_affine, ssim
from attacks.results import Evidence, Result, Truth


def reconstruction(evidence: Evidence, truth: Truth, blind: Mapping[str, Tensor] | None = None) -> Result:
    """Median PSNR in dB of the pictures, matched to the truth by the least squared difference.

    For n true pictures the first n guesses count, the best in the attack's own eyes: the truth must not
    choose among restarts. A picture that the attack gave no guess for counts as grey. The details hold the
    other figures, medians over the pictures where nothing else is said. The best picture matters most: it is
    somebody's artwork.

    Args:
        evidence: What the attack found.
        truth: With the pictures.
        blind: What was guessed without looking, pictures (g, c, h, w) by name, as from
            `attacks.baselines.all_blind`. The baseline is the best median of these and of every truth's own
            mean colour, the best constant, and `method` says which that was. Where the attack did not
            converge and is no better than that, `method` says that it failed: no defence held.

    Example:
        >>> truth = Truth(torch.zeros(1, 3, 2, 2))
        >>> found = Evidence("guess", 0.0, True, pictures=torch.full((1, 3, 2, 2), 0.1))
        >>> result = reconstruction(found, truth)
        >>> result.metric, round(result.value, 3), result.baseline  # Black's own mean colour is black.
        ('median PSNR', 20.0, 100.0)
    """
    if truth.pictures is None:
        raise AttackError("reconstruction needs the true pictures")
    truths = truth.pictures
    guesses = truths[:0] if evidence.pictures is None else evidence.pictures[: len(truths)]
    found = arranged(guesses, truths, mean_square)
    values = psnr(found, truths)
    low, high = _interval(values)
    colour = truths.mean((2, 3), keepdim=True).expand_as(truths)
    details = {
        "guesses": float(0 if evidence.pictures is None else len(evidence.pictures)),
        "best PSNR": float(values.max()),
        "mean PSNR": float(values.mean()),
        "PSNR after affine fit": _median(psnr_affine(found, truths)),
        "baseline PSNR after affine fit": _median(psnr_affine(colour, truths)),
    }
    if min(truths.shape[2:]) >= 11:
        details |= {"SSIM": _median(ssim(found, truths)), "GMSD": _median(gmsd(found, truths))}
    rivals = {"own mean colour": _median(psnr(colour, truths))}
    for name, guess in (blind or {}).items():
        rivals[name] = _median(psnr(arranged(guess[: len(truths)], truths, mean_square), truths))
    best = max(rivals, key=rivals.__getitem__)
    method = f"order statistics; baseline: {best}"
    if not evidence.converged and _median(values) <= rivals[best]:
        method += f"; the attack failed, not the defence held{_instead(evidence)}"
    return Result(
        evidence.attack, "median PSNR", _median(values), len(truths), low, high,
        None if low is None else 0.95, rivals[best], method, details,
    )  # fmt: skip


def _instead(evidence: Evidence) -> str:
    return f": try {' or '.join(evidence.others)}" if evidence.others else ""


def feature_agreement(evidence: Evidence, truth: Truth) -> Result:
    """Median cosine between true features and those of the evidence, matched by cosine.

    For n true features the first n guesses count. A feature that the attack gave no guess for counts as zero.

    Example:
        >>> found = Evidence("guess", 0.0, True, features=torch.tensor([[3.0, 4.0]]))
        >>> round(feature_agreement(found, Truth(features=torch.tensor([[1.0, 0.0]]))).value, 6)
        0.6
    """
    if truth.features is None:
        raise AttackError("feature agreement needs the true features")
    truths = truth.features.double()
    guesses = truths[:0] if evidence.features is None else evidence.features[: len(truths)].double()
    order = match(guesses, truths, lambda a, b: -torch.cosine_similarity(a, b))
    cosines = torch.stack([
        truths.new_zeros(()) if guess is None else torch.cosine_similarity(guesses[guess], truths[row], 0)
        for row, guess in enumerate(order)
    ])  # fmt: skip
    low, high = _interval(cosines)
    worst = {"worst cosine": float(cosines.min())}
    return Result(
        evidence.attack, "median cosine", _median(cosines), len(truths), low, high,
        None if low is None else 0.95, 0.0, "order statistics", worst,
    )  # fmt: skip


def label_agreement(evidence: Evidence, truth: Truth) -> Result:
    """Share of the batch's classes that the inferred counts name, each as often as it occurs.

    The baseline is what equal counts share with the truth on average.

    Example:
        >>> counts = Evidence("labels", 0.0, True, features=torch.tensor([[2, 1, 0]]))
        >>> result = label_agreement(counts, Truth(targets=torch.tensor([0, 1, 2])))
        >>> round(result.value, 3), result.baseline
        (0.667, 1.0)
    """
    if truth.targets is None or evidence.features is None or len(evidence.features) != 1:
        raise AttackError("label agreement needs the true targets (n,) and inferred counts (1, k)")
    counts, targets = evidence.features[0].long(), truth.targets
    if targets.ndim != 1 or targets.is_floating_point() or not len(targets):
        raise AttackError(
            f"label agreement needs targets int64 (n,), not {targets.dtype} {tuple(targets.shape)}"
        )
    if targets.min() < 0 or targets.max() >= len(counts):
        raise AttackError(f"targets must be in 0 to {len(counts) - 1}, the classes that were counted")
    true = torch.bincount(truth.targets, minlength=len(counts))
    n = len(truth.targets)
    shared = int(torch.minimum(counts, true).sum())
    even = float(torch.minimum(true.double(), torch.full((len(true),), n / len(true))).sum())
    return Result(evidence.attack, "share of labels", shared / n, n, baseline=even / n)


def _median(values: Tensor) -> float:
    return float(np.median(values.numpy()))


def _interval(values: Tensor) -> tuple[float | None, float | None]:
    """The median's 95 % interval; None where there are too few values for one."""
    low, high = median_interval(values.numpy())
    return (low, high) if math.isfinite(low) else (None, None)
