"""Was this work in a diffusion model's training? Errors, calibrated by a model that never saw the works.

How hard a picture is decides most of its error. A reference of the same difficulties takes that away (Watson
et al. 2022): where an adapter's raw loss says nothing, its loss beside that of the model below it does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from torch import Tensor

from attacks.diffusion.ideal import memoriser
from attacks.diffusion.model import Denoiser, checked_pictures
from attacks.diffusion.signals import Signal
from attacks.errors import AttackError
from attacks.membership.scores import MembershipScores, evaluate_membership
from attacks.results import Result
from attacks.roc import auc

Calibration = Literal["ratio", "difference"]

_ROUNDING = 1e-12
"""Of a mean square in float32: below it, errors are alike."""


def error_scores(
    attack: str, errors: np.ndarray, reference: np.ndarray | None = None, how: Calibration = "ratio"
) -> MembershipScores:
    """Scores from errors, larger for what looks trained on: minus the mean error, or how far below reference.

    Every draw is set against the same draw of the reference before the mean is taken: `ratio` is the mean
    log of reference over target, `difference` the mean of reference minus target. The values are signals for
    `attacks.membership.lira` and its shadow models as well.

    Args:
        attack: Name.
        errors: (n,) or (n, k), finite and >= 0, as from `attacks.diffusion.signals`.
        reference: The same of a model that never saw the works, or None for the raw score.
        how: `ratio` weighs all times alike; `difference` weighs those most whose errors are largest. Errors
            below 1e-12 are float32's rounding, and count as that in a ratio.

    Example:
        >>> error_scores("mine", np.array([[1.0, 4.0]]), np.array([[2.0, 8.0]])).values.round(4).tolist()
        [0.6931]
        >>> error_scores("mine", np.array([1.0, 3.0])).values.tolist()
        [-1.0, -3.0]
    """
    errors = _checked("errors", errors)
    if how not in get_args(Calibration):
        raise AttackError(f"how must be one of {', '.join(get_args(Calibration))}, not {how!r}")
    if reference is None:
        return MembershipScores.of(attack, -errors.mean(1))
    reference = _checked("reference errors", reference)
    if reference.shape != errors.shape:
        raise AttackError(
            f"the reference must be asked the same: errors are {errors.shape}, its are {reference.shape}"
        )
    if (reference == errors).all():
        raise AttackError("the reference has the target's own errors: it is the same model")
    if how == "difference":
        return MembershipScores.of(attack, (reference - errors).mean(1))
    logs = np.log(np.maximum(reference, _ROUNDING)) - np.log(np.maximum(errors, _ROUNDING))
    return MembershipScores.of(attack, logs.mean(1))


@dataclass(frozen=True)
class MembershipFinding:
    """What a model gives away of membership, and whether the attack could have seen it.

    Attributes:
        raw: AUC and TPRs of the uncalibrated score.
        calibrated: The same, calibrated by the reference. The baseline of both is what the reference alone
            tells: it never saw the works, so whatever it tells is how members and others differ as pictures.
        control: AUC of the calibrated score where the model has learned the members by heart.
        won: Whether the control's interval lies above 0.5 and above the baseline. If not, these times and
            draws show nothing, and an AUC near 0.5 is `inconclusive`.
    """

    raw: tuple[Result, ...]
    calibrated: tuple[Result, ...]
    control: Result
    won: bool


def membership(
    attack: str,
    signal: Signal,
    model: Denoiser,
    reference: Denoiser,
    pictures: Tensor,
    is_member: np.ndarray,
    how: Calibration = "ratio",
    rates: tuple[float, ...] = (),
    confidence: float = 0.95,
) -> MembershipFinding:
    """One attack on one model, with its blind baseline and its positive control: where it meets the truth.

    Args:
        attack: Name.
        signal: Such as `partial(denoising_losses, draws=draws)`; both models are asked with the same.
        model: The target.
        reference: A model that saw none of the pictures: the backbone below an adapter, the model of an
            earlier round. Its type of prediction must be the target's where the signal is a loss.
        pictures: (n, c, h, w), in the range that the models take; members and others from one source.
        is_member: bool (n,), the truth.
        how: As for `error_scores`.
        rates: False-positive rates, each at least one in the number of non-members.
        confidence: Of each interval by itself, in (0, 1).

    Example:
        >>> from functools import partial
        >>> import torch
        >>> from attacks.diffusion.signals import proximal_errors
        >>> from attacks.diffusion.schedule import Schedule
        >>> works = torch.randn(60, 1, 4, 4, generator=torch.Generator().manual_seed(0))
        >>> schedule = Schedule(torch.linspace(0.99, 0.01, 100), "epsilon")
        >>> model = memoriser(works[:20], schedule, bandwidth=0.8)
        >>> before = memoriser(works[40:], schedule, bandwidth=0.8)
        >>> signal = partial(proximal_errors, time=50)
        >>> found = membership("PIA", signal, model, before, works[:40], np.arange(40) < 20)
        >>> found.won, found.calibrated[0].value > 0.9
        (True, True)
    """
    pictures = checked_pictures(pictures)
    is_member = np.asarray(is_member)
    if is_member.shape != (len(pictures),) or is_member.dtype != bool:
        raise AttackError(f"is_member must be bool ({len(pictures)},), not {is_member.dtype}")
    if model.schedule.prediction_type != reference.schedule.prediction_type:
        raise AttackError(
            f"the model predicts {model.schedule.prediction_type} and the reference "
            f"{reference.schedule.prediction_type}: their errors cannot be compared"
        )
    errors, others = signal(model, pictures), signal(reference, pictures)
    alone = error_scores(attack, others).values
    blind = auc(alone[is_member], alone[~is_member])
    raw, calibrated = error_scores(f"{attack}, raw", errors), error_scores(attack, errors, others, how)
    by_heart = signal(memoriser(pictures[is_member], model.schedule), pictures)
    learned = error_scores(f"{attack}, control", by_heart, others, how)
    (control,) = evaluate_membership(learned, is_member, (), confidence, blind)
    assert control.low is not None
    return MembershipFinding(
        evaluate_membership(raw, is_member, rates, confidence, blind),
        evaluate_membership(calibrated, is_member, rates, confidence, blind),
        control,
        control.low > max(0.5, blind),
    )


def _checked(name: str, errors: np.ndarray) -> np.ndarray:
    """float64 (n, k)."""
    found = np.asarray(errors, np.float64)
    if found.ndim == 1:
        found = found[:, None]
    if found.ndim != 2 or 0 in found.shape:
        raise AttackError(f"{name} must be (n,) or (n, k), one or more, not {np.shape(errors)}")
    within = np.isfinite(found) & (found >= 0)
    if not within.all():
        row, column = np.argwhere(~within)[0]
        raise AttackError(f"{name}: that of picture {row}, draw {column}, must be finite and >= 0")
    return found
