"""Every range that a docstring of `attacks` names is checked, and the error names the argument."""

from __future__ import annotations

import ast
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import attacks
from attacks import (
    bounds,
    canaries,
    estimates,
    exposure,
    identification,
    intervals,
    metrics,
    one_run,
    plots,
    roc,
    rows,
    sensitivity,
    sheet,
    style,
    tradeoff,
    two_worlds,
    vetting,
)
from attacks.auditing import blind, control, measures, planted, private, references, sampling
from attacks.auditing.data import Records
from attacks.auditing.findings import Claim
from attacks.auditing.model import audit_model
from attacks.auditing.private_engine import AuditedEngine
from attacks.auditing.scores import audit_scores
from attacks.auditing.signals import Reader
from attacks.diffusion import candidates, copies, draws, ideal, inversion, mimicry, schedule, signals
from attacks.diffusion import membership as diffusion_membership
from attacks.diffusion.model import Denoiser
from attacks.errors import AttackError
from attacks.inversion import analytic, letters, objectives, optimisation, priors, prototypes, race, restarts
from attacks.matching import match
from attacks.membership import (
    encoder,
    federated,
    jobs,
    lira,
    participation,
    quantile,
    rmia,
    scores,
    shadows,
    threshold,
    tracing,
)
from attacks.observation import LocalTraining, Normalisation, cross_entropy
from attacks.optimiser_search import other_optimiser
from attacks.results import Budget
from attacks.text.ctc import ctc_loss

NAN, INF = math.nan, math.inf
TERMS = bounds.Terms(1e-5, "add-remove", "artwork")
R = np.random.default_rng(0)
A, B = R.normal(1, 1, 30), R.normal(0, 1, 30)
P = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
OTHERS = torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(1))
VECTORS, ELSEWHERE = R.normal(size=(5, 3)), R.normal(size=(6, 3))
SIGNALS = R.uniform(0.1, 0.9, (6, 8))
TRAINED = np.add.outer(np.arange(6), np.arange(8)) % 2 == 0
REFERENCES = scores.References(SIGNALS, TRAINED)
Z_REFERENCES = scores.References(R.uniform(0.1, 0.9, (7, 8)), np.zeros((7, 8), bool))
V, Z = R.uniform(0.1, 0.9, 6), R.uniform(0.1, 0.9, 7)
T = torch.from_numpy
LINEAR = torch.nn.Linear(3, 2)
RIVALS = (optimisation.inverting_gradients(), optimisation.bottleneck_inversion())
RECIPE = shadows.Recipe("r", 3, 1, 2, 0.1)
SCHEDULE = schedule.Schedule(torch.linspace(0.99, 0.01, 20), "epsilon")
DENOISER = Denoiser(lambda noisy, time: noisy / 2, SCHEDULE)
DREW = draws.Draws.make(SCHEDULE, (3, 16, 16), 2, 0)
WORKS, HELD = (torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(k)) for k in (2, 3))
STYLES = {name: R.normal(size=(5, 3)) for name in "abc"}


def losses(model, pictures):
    return signals.denoising_losses(model, pictures, DREW)


def whole(low, high=None):
    """Values that are no whole number from low to high."""
    return (low - 1, low - 7, low + 0.5, NAN, INF, True, "3", *(() if high is None else (high + 1,)))


def real(allowed, infinite=False):
    """Values outside of an interval."""
    low, high = (float(end) for end in allowed[1:-1].split(","))
    found = [NAN, True, "0.5", None]
    if low > -INF:
        found += [low - 1e-9, low - 1, -INF] + ([low] if allowed[0] == "(" else [])
    if high < INF:
        found += [high + 1e-9, high + 1, INF] + ([high] if allowed[-1] == ")" else [])
    elif not infinite:
        found.append(INF)
    return tuple(found)


def pictures(like):
    """Pictures that are not in [0, 1]."""
    bad = [like.clone() for _ in range(4)]
    for one, value in zip(bad, (-0.01, 1.01, NAN, INF), strict=True):
        one[0, 0, 0, 0] = value
    return (*bad, (255 * like).to(torch.uint8))


def with_value(array, *values):
    """Copies with another first value."""
    found = []
    for value in values:
        other = np.array(array, np.float64)
        other.flat[0] = value
        found.append(other)
    return tuple(found)


RATE, SHARE, UNBOUNDED = real("(0, 1)"), real("[0, 1]"), real("[0, inf)", infinite=True)
NO_BLIND = tuple(value for value in SHARE if value is not None)


def brightness(found):
    return found.sum()


def alone_rows(inputs, targets):
    """Right rows of `LINEAR`, one record at a time."""
    rows = [
        torch.autograd.grad(cross_entropy(LINEAR(x[None]), y[None]).sum(), list(LINEAR.parameters()))
        for x, y in zip(inputs, targets, strict=True)
    ]
    return {name: torch.stack([row[k] for row in rows]) for k, name in enumerate(("weight", "bias"))}


OWN = (torch.arange(24.0).reshape(8, 3) % 5, torch.arange(8) % 2)
OWN_RECORDS, READER = Records(*OWN), Reader(None, None, 4, 0)
COINS = np.arange(30) % 2 == 0

# A function, arguments that it takes, and for some of them values that it must not take.
CASES = [
    (
        Claim,
        {"epsilon": 8.0, "delta": 1e-5},
        {"epsilon": real("[0, inf)", infinite=True), "delta": real("[0, 1)")},
    ),
    (
        blind.blind_guess,
        {"records": OWN_RECORDS, "is_member": np.arange(8) < 4, "seed": 0, "shuffles": 99},
        {"seed": whole(0), "shuffles": whole(99)},
    ),
    (
        control.knowing_by_heart,
        {"model": LINEAR, "reader": READER, "records": OWN_RECORDS, "seed": 0, "steps": 1},
        {"steps": whole(1)},
    ),
    (
        references.trained,
        {
            "fit": lambda data, seed: torch.nn.Linear(3, 2),
            "records": OWN_RECORDS,
            "set_size": 4,
            "models": 2,
            "seed": 0,
        },
        {"models": whole(2), "set_size": whole(4, 4)},
    ),
    (
        measures.membership_rows,
        {"judged": [], "blind": None, "rates": (), "confidence": 0.9},
        {"confidence": RATE},
    ),
    (
        measures.epsilon_row,
        {"name": "c", "scores": A, "inside": COINS, "claim": None, "confidence": 0.9, "delta": 0.0},
        {"confidence": RATE, "delta": real("[0, 1)")},
    ),
    (
        sampling.check_sampling,
        {"sizes": [3, 4] * 5, "records": 8, "rate": 0.5},
        {"sizes": ([9], [-1], [1.5]), "records": whole(1), "rate": real("(0, 1]")},
    ),
    (
        private.audit_private,
        {
            "model": LINEAR,
            "records": OWN,
            "clip": 1.0,
            "rows": alone_rows,
            "trials": 1,
            "confidence": 0.9,
            "seed": 0,
        },
        {"clip": real("(0, inf)"), "trials": whole(1), "confidence": RATE, "seed": whole(0)},
    ),
    (
        other_optimiser,
        {"error_of": lambda training: 0.0, "stated": LocalTraining(0.1), "largest": 0.1},
        {"largest": real("(0, inf)")},
    ),
    (AuditedEngine, {"engine": None, "canaries": 2}, {"canaries": whole(2)}),
    (
        planted.plant,
        {"records": OWN, "classes": 2, "seed": 0},
        {"classes": whole(2), "seed": whole(0)},
    ),
    (
        audit_model,
        {
            "model": LINEAR,
            "members": OWN,
            "non_members": (OWN[0] + 5, OWN[1]),
            "fit": lambda data, seed: torch.nn.Linear(3, 2),
            "shadows": 2,
            "rates": (0.1,),
            "confidence": 0.9,
            "batch": 3,
            "control": False,
            "seed": 0,
        },
        {
            "rates": ((0.0,), (1.0,), (NAN,)),
            "confidence": RATE,
            "batch": whole(1),
            "seed": whole(0),
            "shadows": whole(2),
        },
    ),
    (
        audit_scores,
        {"scores": {"member": COINS, "s": A}, "rates": (0.1,), "confidence": 0.9},
        {"rates": ((0.0,), (1.0,), (NAN,)), "confidence": RATE},
    ),
    (
        exposure.random_words,
        {"count": 2, "letters": 3, "alphabet": 36, "rng": R},
        {"count": whole(1), "letters": whole(1), "alphabet": whole(2)},
    ),
    (
        exposure.exposure,
        {"ranks": np.array([1, 8]), "space": 8},
        {"ranks": (np.array([0]), np.array([9]), np.array([1.5])), "space": whole(2)},
    ),
    (exposure.exposure_p_value, {"exposures": np.ones(3), "bits": 2.0}, {"bits": real("(0, inf)")}),
    (
        exposure.extrapolated_exposure,
        {"losses": np.zeros(2), "references": np.array([1.0, 2.0])},
        {"references": (np.array([1.0]), np.array([1.0, 1.0]), np.array([1.0, NAN]))},
    ),
    (SCHEDULE.parts, {"time": torch.tensor([0, 19])}, {"time": (torch.tensor([20]), torch.tensor([-1.0]))}),
    (
        draws.Draws.make,
        {"schedule": SCHEDULE, "shape": (3, 4, 4), "count": 2, "seed": 0, "span": (0.1, 0.9)},
        {
            "count": whole(1),
            "seed": whole(0),
            "span": ((-0.1, 1.0), (0.0, 1.1), (0.5, 0.5), (0.0, NAN), (0.0, 0.1, 0.2)),
        },
    ),
    (
        ideal.memoriser,
        {"works": P, "schedule": SCHEDULE, "bandwidth": 0.1},
        {"bandwidth": real("[0, inf)")},
    ),
    (
        ideal.normal_law,
        {"mean": torch.zeros(1, 1, 2), "covariance": torch.eye(2), "schedule": SCHEDULE},
        {"covariance": (-torch.eye(2), torch.eye(3), torch.tensor([[1.0, 0.5], [0.0, 1.0]]))},
    ),
    (
        signals.denoising_losses,
        {"model": DENOISER, "pictures": P, "draws": DREW, "batch": 3},
        {"batch": whole(1)},
    ),
    (
        signals.proximal_errors,
        {"model": DENOISER, "pictures": P, "time": 5, "power": 2.0, "batch": 3},
        {"time": whole(1, 19), "power": real("[1, inf)"), "batch": whole(1)},
    ),
    (
        signals.step_errors,
        {"model": DENOISER, "pictures": P, "time": 6, "stride": 3, "batch": 3},
        {"time": (*whole(1), 5, 18), "stride": (*whole(1), 4), "batch": whole(1)},
    ),
    (
        diffusion_membership.error_scores,
        {"attack": "a", "errors": V, "reference": Z[:6], "how": "ratio"},
        {"errors": (*with_value(V, NAN, INF, -0.1), V[:0]), "how": ("quotient",)},
    ),
    (
        diffusion_membership.membership,
        {
            "attack": "a",
            "signal": losses,
            "model": DENOISER,
            "reference": ideal.memoriser(OTHERS, SCHEDULE),
            "pictures": P,
            "is_member": np.arange(4) < 2,
            "rates": (0.5,),
            "confidence": 0.9,
        },
        {"rates": ((0.0,), (1.0,), (NAN,), (0.01,)), "confidence": RATE},
    ),
    (
        copies.tiled_distances,
        {"pictures": P, "works": WORKS, "tiles": 2, "batch": 3},
        {
            "pictures": (*pictures(P), P[:0]),
            "works": (*pictures(WORKS), WORKS[:0]),
            "tiles": whole(1),
            "batch": whole(1),
        },
    ),
    (
        copies.relative_distances,
        {"distances": np.ones((2, 4)), "neighbours": 3},
        {"distances": with_value(np.ones((2, 4)), NAN, INF, -0.1), "neighbours": whole(2, 4)},
    ),
    (
        copies.copy_cut_off,
        {"null": A, "false_alarm": 0.1},
        {"null": (*with_value(A, NAN, INF), A[:0]), "false_alarm": (*RATE, 0.03)},
    ),
    (
        copies.planted_copies,
        {"works": P, "seed": 0, "noise": 0.1},
        {"works": pictures(P), "noise": SHARE},
    ),
    (
        copies.extraction,
        {
            "attack": "a",
            "generated": P,
            "works": WORKS,
            "held_out": HELD,
            "false_alarm": 0.2,
            "tiles": 2,
            "neighbours": 3,
            "confidence": 0.9,
        },
        {
            "generated": (*pictures(P), P[:0]),
            "works": (*pictures(WORKS), HELD, WORKS[:2]),
            "held_out": (*pictures(HELD), WORKS, HELD[:2]),
            "false_alarm": (*RATE, 0.1),
            "tiles": whole(1),
            "neighbours": whole(2, 6),
            "confidence": RATE,
        },
    ),
    (
        candidates.explaining,
        {"observed": torch.ones(768), "candidates": P, "gradient_of": torch.flatten, "deviation": 0.1},
        {"candidates": (P[:1], P[0]), "deviation": real("[0, inf)")},
    ),
    (
        inversion.DiffusionInversion,
        {"smoothness": 0.1, "low": 0.0},
        {
            "distance": ("likelihood", "cosinus"),
            "smoothness": real("[0, inf)"),
            "noise_weight": real("[0, inf)"),
            "low": (*real("(-inf, inf)"), 1.0, 2.0),
        },
    ),
    (
        inversion.DiffusionInversion(descent=restarts.Descent("adam")).unknown,
        {
            "observed": torch.ones(12),
            "gradient_at": lambda pictures, noises, times: (pictures + noises[:, 0]).flatten(),
            "shape": (1, 3, 2, 2),
            "views": 1,
            "steps": 20,
            "budget": Budget(),
            "seed": 0,
        },
        {"views": whole(1), "steps": whole(2)},
    ),
    (
        mimicry.discriminant_judge,
        {"own": VECTORS, "others": ELSEWHERE, "shrinkage": 0.3},
        {
            "own": (*with_value(VECTORS, NAN, INF), VECTORS[:1]),
            "others": (*with_value(ELSEWHERE, NAN, INF), ELSEWHERE[:1]),
            "shrinkage": real("(0, 1]"),
        },
    ),
    (
        mimicry.neighbours_judge,
        {"own": VECTORS, "others": ELSEWHERE, "neighbours": 3},
        {
            "own": (*with_value(VECTORS, NAN, INF), VECTORS[:1]),
            "others": (*with_value(ELSEWHERE, NAN, INF), ELSEWHERE[:1]),
            "neighbours": whole(1, 11),
        },
    ),
    (
        mimicry.mimicry,
        {
            "attack": "a",
            "before": VECTORS,
            "after": ELSEWHERE,
            "works": STYLES,
            "artist": "a",
            "rng": R,
            "repeats": 100,
            "confidence": 0.9,
        },
        {
            "before": (*with_value(VECTORS, NAN, INF), VECTORS[:1]),
            "after": (*with_value(ELSEWHERE, NAN, INF), ELSEWHERE[:1]),
            "works": ({"a": STYLES["a"], "b": STYLES["b"]}, {**STYLES, "b": STYLES["b"][:3]}),
            "repeats": whole(100),
            "confidence": RATE,
        },
    ),
    (
        letters.letters_shown,
        {"gradient": torch.tensor([-0.9, 0.3, -0.2])},
        {"deviation": real("[0, inf)")},
    ),
    (letters.letters_most_shown, {"gradient": torch.zeros(4), "count": 2}, {"count": whole(0, 3)}),
    (
        letters.letter_agreement,
        {"attack": "a", **dict.fromkeys(("named", "truth", "blind"), np.eye(8, dtype=bool))},
        {"confidence": RATE},
    ),
    (
        threshold.likelihood_score,
        {"losses": np.ones(3)},
        {"losses": (np.array([-1.0]), np.array([NAN]), np.array([INF]))},
    ),
    (
        ctc_loss,
        {"logits": torch.zeros(1, 4, 3), "targets": torch.tensor([[2, 1, 2]])},
        {
            "targets": (
                torch.tensor([[2, 1, 3]]),
                torch.tensor([[3, 1, 2]]),
                torch.tensor([[2.0, 1.0, 2.0]]),
            )
        },
    ),
    (bounds.Explicit, {"threshold": 0.5}, {"threshold": (NAN, INF, -INF)}),
    (bounds.ExplicitRank, {"rank": 3}, {"rank": whole(1)}),
    (bounds.Split, {"fraction": 0.5, "seed": 0}, {"fraction": RATE, "seed": whole(0)}),
    (bounds.Bonferroni, {"points": 5}, {"points": whole(1)}),
    (
        bounds.Terms,
        {"delta": 1e-5, "adjacency": "replace", "unit": "artwork", "confidence": 0.9},
        {"delta": real("[0, 1)"), "confidence": RATE},
    ),
    (
        canaries.DiracCanaries,
        {"coordinates": np.arange(3), "norm": 1.0, "dimension": 9},
        {
            "coordinates": (
                np.array([0, 0]),
                np.array([9]),
                np.array([-1]),
                np.array([0.5]),
                np.array([True]),
            ),
            "norm": real("(0, inf)"),
            "dimension": whole(1),
        },
    ),
    (
        canaries.DiracCanaries.draw,
        {"count": 3, "dimension": 9, "norm": 1.0, "rng": R},
        {"count": whole(1, 9), "norm": real("(0, inf)"), "dimension": (2, 9.5, True)},
    ),
    (
        canaries.random_directions,
        {"count": 3, "dimension": 9, "norm": 1.0, "rng": R},
        {"count": whole(1), "norm": real("(0, inf)"), "dimension": whole(2)},
    ),
    (
        canaries.mislabelled,
        {"targets": np.array([0, 1, 2]), "classes": 3, "rng": R},
        {"targets": (np.array([]), np.array([3]), np.array([-1]), np.array([0.0])), "classes": whole(2)},
    ),
    (canaries.fair_coins, {"count": 5}, {"count": whole(1)}),
    (
        estimates.one_shot_federated_estimate,
        {"cosines": A / 9, "dimension": 30, "terms": TERMS},
        {
            "cosines": (A[:1], np.array([])),
            "dimension": whole(2),
            "terms": (replace(TERMS, delta=0.0),),
        },
    ),
    (
        estimates.canife_estimate,
        {"rounds": [(A + 9, B)], "accountant": lambda found: 1.0, "terms": TERMS},
        {"rounds": ([], [(A, np.array([]))]), "terms": (replace(TERMS, delta=0.0),)},
    ),
    (
        estimates.normals_epsilon,
        {"first": (0.0, 1.0), "second": (1.0, 2.0), "delta": 1e-5},
        {
            "first": ((0.0, 0.0), (0.0, -1.0), (NAN, 1.0), (0.0, INF)),
            "second": ((0.0, 0.0), (INF, 1.0), (0.0, NAN)),
            "delta": RATE,
        },
    ),
    (
        identification.rank_of_target,
        {"scores": torch.arange(4.0), "target": 1},
        {"scores": (torch.tensor([NAN, 1.0]),), "target": whole(0, 3)},
    ),
    (
        identification.identification_rate,
        {"attack": "a", "ranks": np.array([1, 2]), "candidates": 4, "confidence": 0.9},
        {
            "ranks": (np.array([0]), np.array([5]), np.array([1.0])),
            "candidates": whole(2),
            "confidence": RATE,
        },
    ),
    (
        identification.advantage,
        {"attack": "a", "ranks": np.array([1, 2]), "prior_ranks": np.array([2, 2]), "confidence": 0.9},
        {"ranks": (np.array([0, 1]), np.array([])), "prior_ranks": (np.array([0, 1]),), "confidence": RATE},
    ),
    (
        identification.Trials,
        {"attack": "a", "wins": np.array([True]), "prior_wins": np.array([False]), "chance": 0.1},
        {"chance": real("[0, 1)"), "wins": (np.array([], bool), np.array([2]))},
    ),
    (
        identification.leak_levels,
        {
            "trials": {
                identification.Level.WORK: identification.Trials(
                    "a", np.ones(9, bool), np.zeros(9, bool), 0.1
                )
            },
            "confidence": 0.9,
        },
        {"confidence": RATE},
    ),
    (
        identification.near_copy,
        {"pictures": P, "truths": P / 2, "others": OTHERS, "limit": 0.05},
        {
            "pictures": pictures(P),
            "truths": pictures(P),
            "others": (*pictures(OTHERS), OTHERS[:0]),
            "limit": real("(0, 1]"),
        },
    ),
    (
        intervals.clopper_pearson,
        {"hits": 2, "n": 5, "confidence": 0.9},
        {"hits": whole(0, 5), "n": whole(1), "confidence": RATE},
    ),
    (
        intervals.paired_difference,
        {"attack": np.array([1, 0]), "rival": np.array([0, 0]), "confidence": 0.9},
        {"attack": (np.array([2, 0]), np.array([])), "confidence": RATE},
    ),
    (
        intervals.median_interval,
        {"values": A, "confidence": 0.9},
        {"values": (np.array([]), np.array([NAN])), "confidence": RATE},
    ),
    (
        metrics.psnr,
        {"pictures": P, "truths": P / 2},
        {"pictures": pictures(P), "truths": pictures(P)},
    ),
    (metrics.psnr_affine, {"pictures": P, "truths": P / 2}, {"pictures": pictures(P), "truths": pictures(P)}),
    (
        metrics.ssim,
        {"pictures": P, "truths": P / 2},
        {"pictures": (*pictures(P), P[..., :10]), "truths": pictures(P)},
    ),
    (
        metrics.gmsd,
        {"pictures": P, "truths": P / 2},
        {"pictures": (*pictures(P), P[..., :5]), "truths": pictures(P)},
    ),
    (
        match,
        {"guesses": P, "truths": P / 2, "cost": metrics.mean_square},
        {"truths": (P[:0],)},
    ),
    (
        one_run.one_run_epsilon,
        {"scores_in": A, "scores_out": B, "terms": TERMS, "strategy": bounds.Bonferroni()},
        {"scores_in": with_value(A, NAN, INF), "scores_out": (np.array([]),)},
    ),
    (
        one_run.one_run_gaussian_epsilon,
        {"scores_in": A, "scores_out": B, "terms": TERMS, "strategy": bounds.Bonferroni()},
        {"terms": (replace(TERMS, delta=0.0),)},
    ),
    (
        one_run.one_run_p_value,
        {"m": 10, "guesses": 5, "right": 4, "epsilon": 1.0, "delta": 1e-5},
        {
            "m": whole(5),
            "guesses": whole(4, 10),
            "right": whole(0, 5),
            "epsilon": UNBOUNDED,
            "delta": SHARE,
        },
    ),
    (
        one_run.largest_refuted_mu,
        {"m": 10, "guesses": np.array([5]), "right": np.array([5]), "error": 0.1},
        {
            "m": whole(5),
            "guesses": (np.array([4]), np.array([11]), np.array([0]), np.array([5.0])),
            "right": (np.array([6]), np.array([-1]), np.array([1.0])),
            "error": RATE,
        },
    ),
    (
        plots.Limits,
        {"epsilon": 1.0, "delta": 1e-5},
        {"epsilon": UNBOUNDED, "delta": SHARE},
    ),
    (
        plots.above_limit,
        {
            "scores": plots.AttackScores(A, B),
            "epsilon": 1.0,
            "delta": 1e-5,
            "confidence": 0.9,
            "points": 5,
        },
        {
            "epsilon": UNBOUNDED,
            "delta": SHARE,
            "confidence": RATE,
            "points": whole(1),
        },
    ),
    (plots.roc_band, {"scores": plots.AttackScores(A, B), "confidence": 0.9}, {"confidence": RATE}),
    (
        roc.auc_interval,
        {"members": A, "non_members": B, "confidence": 0.9},
        {"members": with_value(A, NAN, INF), "confidence": RATE},
    ),
    (
        roc.newcombe_interval,
        {"members": A, "non_members": B, "confidence": 0.9},
        {"members": with_value(A, NAN, INF), "confidence": RATE},
    ),
    (roc.null_deviation, {"n_in": 9, "n_out": 8}, {"n_in": whole(1), "n_out": whole(1)}),
    (
        roc.bootstrap_interval,
        {
            "members": A,
            "non_members": B,
            "statistic": roc.auc,
            "rng": R,
            "confidence": 0.9,
            "repeats": 100,
        },
        {"confidence": RATE, "repeats": whole(100)},
    ),
    (
        roc.tpr_at_fpr,
        {"members": A, "non_members": B, "fpr": 0.1, "confidence": 0.9},
        {"fpr": (*RATE, 0.01), "confidence": RATE},
    ),
    (
        roc.log_log_points,
        {"curve": roc.roc_curve(A, B), "floor": 0.1, "points": 9},
        {"floor": RATE, "points": whole(2)},
    ),
    (roc.rank_ladder, {"n": 9, "points": 3}, {"n": whole(1), "points": whole(1)}),
    (
        roc.operating_points,
        {"members": A, "non_members": B, "ranks": np.array([1, 3]), "error": 0.1},
        {"ranks": (np.array([0]), np.array([31]), np.array([1.0])), "error": RATE},
    ),
    (
        roc.lower_bounds,
        {"hits": np.array([2]), "n": np.array([5]), "error": 0.1},
        {"hits": (np.array([-1]), np.array([6])), "error": RATE},
    ),
    (
        rows.probe_rows,
        {
            "model": LINEAR,
            "loss": cross_entropy,
            "inputs": torch.ones(2, 3),
            "targets": torch.tensor([0, 1]),
            "rows_of": lambda inputs, targets: {},
            "tolerance": 1e-3,
        },
        {"inputs": (torch.ones(1, 3), torch.ones(3, 3)), "tolerance": real("(0, inf)")},
    ),
    (
        sensitivity.probe_sensitivity,
        {
            "clipped_sum": lambda batch: np.zeros(3),
            "pool": VECTORS,
            "bound": 1.0,
            "adjacency": "replace",
            "rng": R,
            "trials": 3,
            "batch_size": 2,
        },
        {
            "pool": (VECTORS[:2],),
            "bound": real("(0, inf)"),
            "trials": whole(1),
            "batch_size": whole(2),
        },
    ),
    (
        sheet.contact_sheet,
        {"truths": P, "columns": {"a": P / 2}, "title": "t", "cell": 32},
        {"truths": (*pictures(P), P[:0]), "columns": ({"a": pictures(P)[0]},), "cell": whole(32)},
    ),
    (style.style_statistics, {"pictures": P}, {"pictures": (*pictures(P), P[..., :15])}),
    (
        style.style_distance,
        {"pictures": P, "truths": P / 2, "reference": OTHERS},
        {"pictures": pictures(P), "truths": pictures(P), "reference": (*pictures(OTHERS), OTHERS[:1])},
    ),
    (
        style.ArtistJudge.fit,
        {"works": [P, OTHERS], "artists": ["a", "b"], "shrinkage": 0.3},
        {
            "works": ([P, OTHERS[:1]], [pictures(P)[0], OTHERS]),
            "artists": (["a"],),
            "shrinkage": real("(0, 1]"),
        },
    ),
    (
        style.ArtistJudge.fit([P, OTHERS], ["a", "b"]).scores,
        {"pictures": P},
        {"pictures": (*pictures(P), P[:0])},
    ),
    (
        tradeoff.dp_limit,
        {"fpr": np.array([0.1]), "epsilon": 1.0, "delta": 1e-5},
        {
            "fpr": (np.array([-0.1]), np.array([1.1]), np.array([NAN])),
            "epsilon": UNBOUNDED,
            "delta": SHARE,
        },
    ),
    (
        tradeoff.gaussian_limit,
        {"fpr": np.array([0.1]), "mu": 1.0},
        {"fpr": (np.array([1.1]), np.array([NAN])), "mu": UNBOUNDED},
    ),
    (
        tradeoff.gaussian_delta,
        {"epsilon": 1.0, "mu": 1.0},
        {"epsilon": UNBOUNDED, "mu": UNBOUNDED},
    ),
    (
        tradeoff.gaussian_epsilon_of,
        {"mu": 1.0, "delta": 1e-5},
        {"mu": UNBOUNDED, "delta": RATE},
    ),
    (
        tradeoff.gaussian_mu_of,
        {"epsilon": 1.0, "delta": 1e-5},
        {"epsilon": real("[0, inf)"), "delta": RATE},
    ),
    (
        tradeoff.check_limit,
        {"members": A, "non_members": B, "limit": np.sqrt, "confidence": 0.9, "points": 5},
        {"limit": (lambda fpr: fpr + 2, lambda fpr: fpr * NAN), "confidence": RATE, "points": whole(1)},
    ),
    (
        two_worlds.rank_p_value,
        {"hits": np.array([3]), "n_in": 9, "ranks": np.array([2]), "n_out": 8, "limit": np.sqrt},
        {
            "hits": (np.array([-1]), np.array([10]), np.array([1.0])),
            "n_in": whole(3),
            "ranks": (np.array([0]), np.array([9]), np.array([1.0])),
            "n_out": whole(2),
        },
    ),
    (
        two_worlds.gaussian_epsilon,
        {"scores_in": A, "scores_out": B, "terms": TERMS, "strategy": bounds.Bonferroni(5)},
        {"terms": (replace(TERMS, delta=0.0),)},
    ),
    (
        vetting.VettingLimits,
        {"parallel_rows": 3, "angle": 0.1, "value": 1.0},
        {
            "parallel_rows": whole(1),
            "smallest_row": whole(1),
            "angle": real("(0, inf)"),
            "value": real("(0, inf)"),
            "other_value": real("(0, inf)"),
            "gain": real("(0, inf)"),
            "running_variance": ((0.0, 1.0), (1.0, INF), (2.0, 1.0), (NAN, 1.0)),
        },
    ),
    (
        analytic.posterior_mean,
        {"row": torch.tensor([1.0, 2.0, 3.0, 1.0]), "variance": 0.1, "public": T(ELSEWHERE)},
        {"variance": real("[0, inf)"), "public": (T(ELSEWHERE[:3]),)},
    ),
    (
        objectives.UpdateDistance,
        {"kind": "cosine", "observed": {"w": torch.ones(2)}, "weights": {"w": 1.0}, "deviation": 0.1},
        {
            "kind": ("cosinus",),
            "weights": ({"w": -1.0}, {"w": NAN}, {"w": INF}),
            "deviation": real("[0, inf)"),
            "numbers": whole(1),
        },
    ),
    (
        optimisation.GradientInversion,
        {"name": "a", "smoothness": 0.1},
        {
            "distance": ("cosinus",),
            "smoothness": real("[0, inf)"),
            "contrast": real("[0, inf)"),
            "feature_weight": real("[0, inf)"),
            "joint_classes": whole(0),
            "survivors": whole(1),
            "anneal": ((), (-1.0,), (NAN,)),
        },
    ),
    (
        optimisation.inverting_gradients,
        {"rate": 0.1},
        {"rate": real("(0, inf)"), "smoothness": real("[0, inf)")},
    ),
    (
        race.InversionRace,
        {"name": "a", "contenders": RIVALS, "heats": (0.1,), "decisive": 2.0},
        {
            "contenders": ((), RIVALS[:1], (RIVALS[0], RIVALS[0])),
            "heats": ((), (0.0,), (0.5,), (NAN,), (-0.1, 0.2)),
            "decisive": real("(1, inf)"),
        },
    ),
    (race.strong_inversion, {"smoothness": 0.1}, {"smoothness": real("[0, inf)")}),
    (optimisation.bottleneck_inversion, {"smoothness": 0.1}, {"smoothness": real("[0, inf)")}),
    (
        restarts.Descent,
        {"rate": 0.1},
        {"rate": real("(0, inf)"), "method": ("sgd",), "schedule": ("linear",)},
    ),
    (priors.Pixels, {"noise": 0.1}, {"noise": real("(0, inf)")}),
    (
        priors.calibrated_gain,
        {"pictures": P, "public": OTHERS, "zero": P[0] / 2, "distance": brightness, "room": 0.1},
        {"public": (*pictures(OTHERS), OTHERS[:0]), "room": real("[0, inf)")},
    ),
    (priors.PublicSpectrum.learn, {"public": OTHERS}, {"public": (*pictures(OTHERS), OTHERS[:1])}),
    (
        prototypes.PrototypeInversion,
        {"target": "a"},
        {"smoothness": real("[0, inf)"), "rate": real("(0, inf)")},
    ),
    (
        prototypes.CandidateMatch,
        {"target": "a", "candidates": P},
        {"candidates": (*pictures(P), P[:1]), "common": real("[0, 1)")},
    ),
    (prototypes.Differencing, {"target": "a", "candidates": P}, {"candidates": pictures(P)}),
    (
        prototypes.ArtistLinkage,
        {"target": "a", "known": [P, OTHERS]},
        {"known": ([P], [P, pictures(OTHERS)[0]], [P, OTHERS[:0]])},
    ),
    (
        prototypes.candidate_scores,
        {
            "prototype": T(VECTORS[0]),
            "candidates": T(VECTORS),
            "n": 3,
            "noise": 0.1,
            "population": None,
            "common": 0.3,
        },
        {
            "candidates": (T(VECTORS[:1]),),
            "n": whole(1),
            "noise": real("[0, inf)"),
            "common": real("[0, 1)"),
        },
    ),
    (
        prototypes.linkage_scores,
        {"prototype": T(VECTORS[0]), "works": [T(VECTORS), T(ELSEWHERE)], "n": 3, "noise": 0.1},
        {"works": ([T(VECTORS)],), "n": whole(1), "noise": real("[0, inf)")},
    ),
    (
        encoder.view_agreement,
        {"views": R.normal(size=(4, 2, 3))},
        {"views": (np.ones((4, 1, 3)), with_value(np.ones((4, 2, 3)), NAN)[0], np.zeros((4, 2, 3)))},
    ),
    (
        encoder.prototype_tracing,
        {"embeddings": VECTORS, "released": VECTORS[0], "elsewhere": ELSEWHERE},
        {
            "elsewhere": (ELSEWHERE[:1],),
            "shrinkage": real("(0, 1]"),
            "noise_variance": real("[0, inf)"),
        },
    ),
    (
        tracing.traced,
        {"candidates": VECTORS, "mean": VECTORS[0], "elsewhere": ELSEWHERE},
        {
            "candidates": with_value(VECTORS, NAN, INF),
            "elsewhere": (ELSEWHERE[:1], with_value(ELSEWHERE, NAN)[0]),
            "shrinkage": real("(0, 1]"),
            "noise_variance": real("[0, inf)"),
        },
    ),
    (
        federated.alignment,
        {"gradients": T(VECTORS), "update": T(VECTORS[0]), "statistic": "residual", "step": 0.1},
        {
            "gradients": tuple(T(one) for one in with_value(VECTORS, NAN, INF)),
            "statistic": ("cosinus",),
            "step": real("(0, inf)"),
        },
    ),
    (
        federated.combined_rounds,
        {"alignments": VECTORS, "elsewhere": VECTORS, "took_part": np.ones(5, bool)},
        {"alignments": with_value(VECTORS, NAN, INF), "elsewhere": (VECTORS[:, :1],)},
    ),
    (
        jobs.made,
        {"work": dict, "jobs": [], "processes": 1, "progress": lambda done, of: None},
        {"processes": whole(1)},
    ),
    (
        lira.lira,
        {"victim": V, "references": REFERENCES, "mode": "online", "prior_freedom": 2.0},
        {
            "victim": with_value(V, NAN, INF, 1e300, -1e160),
            "mode": ("on",),
            "prior_freedom": tuple(v for v in real("(0, inf)") if v is not None),
        },
    ),
    (
        participation.participation_scores,
        {
            "signals": V,
            "artists": np.arange(6),
            "elsewhere": Z,
            "elsewhere_artists": np.array([7, 7, 8, 8, 8, 9, 9]),
        },
        {
            "signals": with_value(V, NAN, INF),
            "elsewhere_artists": (np.full(7, 7), np.arange(7) + 10, np.array([0, 7, 7, 8, 8, 8, 8])),
        },
    ),
    (
        participation.blind_baseline,
        {"features": VECTORS, "is_member": np.array([1, 1, 0, 0, 0], bool), "rng": R, "shuffles": 19},
        {
            "features": with_value(VECTORS, NAN),
            "groups": (np.array([0, 0, 1, 2, 3]), np.array([0, 1, 1, 2, 3])),
            "shuffles": whole(19),
            "ridge": real("(0, inf)"),
        },
    ),
    (
        quantile.fit_quantile,
        {"signals": A, "features": B[:, None], "fpr": 0.1, "rng": R},
        {"signals": with_value(A, NAN), "fpr": (*RATE, 0.01)},
    ),
    (
        quantile.pinball_regression,
        {"features": B[:, None], "targets": A, "level": 0.5},
        {"features": with_value(B[:, None], NAN), "targets": with_value(A, INF), "level": RATE},
    ),
    (
        scores.References,
        {"signals": SIGNALS, "trained_on": TRAINED},
        {"signals": with_value(SIGNALS, NAN, INF, 1e300)},
    ),
    (
        rmia.rmia,
        {
            "victim": V,
            "references": REFERENCES,
            "victim_elsewhere": Z,
            "references_elsewhere": Z_REFERENCES,
            "mode": "online",
            "gamma": 1.0,
            "offline_a": 0.3,
        },
        {
            "victim": with_value(V, 0.0, -0.1, 1.1, NAN),
            "victim_elsewhere": with_value(Z, 0.0, 1.1, NAN),
            "gamma": real("[1, inf)"),
            "offline_a": SHARE,
        },
    ),
    (
        rmia.tune_offline_a,
        {"references": REFERENCES, "references_elsewhere": Z_REFERENCES, "grid": (0.3,), "gamma": 1.0},
        {"grid": ((), (-0.1,), (1.1,), (NAN,)), "gamma": real("[1, inf)")},
    ),
    (
        scores.evaluate_membership,
        {
            "scores": scores.MembershipScores.of("a", np.concatenate([A, B])),
            "is_member": np.arange(60) < 30,
            "rates": (0.1,),
            "confidence": 0.9,
            "blind": 0.5,
        },
        {
            "rates": ((0.0,), (1.0,), (NAN,), (0.01,)),
            "confidence": RATE,
            "blind": NO_BLIND,
        },
    ),
    (
        shadows.Recipe,
        {"name": "r", "set_size": 3, "epochs": 1, "batch_size": 2, "learning_rate": 0.1},
        {
            "set_size": whole(1),
            "epochs": whole(1),
            "batch_size": whole(1),
            "learning_rate": real("(0, inf)"),
            "momentum": real("[0, 1)"),
            "weight_decay": real("[0, inf)"),
            "seed": whole(0),
        },
    ),
    (
        shadows.balanced_sets,
        {"n": 6, "models": 4, "set_size": 3, "rng": R},
        {"n": whole(4), "models": whole(2), "set_size": whole(1, 5)},
    ),
    (
        shadows.order_of,
        {"members": np.ones(3, bool), "recipe": RECIPE, "model": 0},
        {"model": whole(0)},
    ),
    (
        LocalTraining,
        {"learning_rate": 0.1},
        {
            "learning_rate": real("(0, inf)"),
            "steps": whole(1),
            "batch_size": whole(1),
            "epochs": whole(1),
            "momentum": real("[0, 1)"),
            "clip_norm": tuple(v for v in real("(0, inf)", infinite=True) if v is not None),
            "noise_std": real("[0, inf)"),
            "views": whole(1),
            "weight_decay": real("[0, inf)"),
            "betas": ((1.0, 0.9), (0.9, -0.1), (0.9, NAN), 0.9),
            "eps": real("(0, inf)"),
            "schedule": ((0.0,), (-1.0,), (NAN,), (INF,)),
        },
    ),
    (
        Normalisation,
        {"mean": (0.5,), "deviation": (0.2,)},
        {"mean": ((), (NAN,)), "deviation": ((0.0,), (-1.0,), (INF,))},
    ),
    (
        Budget,
        {"steps": 3, "restarts": 1, "seconds": 2.0},
        {
            "steps": whole(1),
            "restarts": whole(1),
            "seconds": tuple(v for v in real("(0, inf)", infinite=True) if v is not None),
        },
    ),
]
TRIES = [
    pytest.param(function, given, name, values, id=f"{function.__qualname__}-{name}")
    for function, given, bad in CASES
    for name, values in bad.items()
]


@pytest.mark.parametrize(("function", "given"), [case[:2] for case in CASES])
def test_what_is_in_range_is_taken(function, given):
    function(**given)


@pytest.mark.parametrize(("function", "given", "name", "values"), TRIES)
def test_what_is_out_of_range_is_refused(function, given, name, values):
    """`one_run_p_value(10, 5, 5, 1, -1)` was -7.47; a signal of 1e300 had a score of NaN."""
    for value in values:
        with pytest.raises(AttackError):
            function(**{**given, name: value})


TOLD = re.compile(r">=|> 0|\bin [\[(]|at least|at most|\d to |[mnkv] >= ")
RESULTS = {
    *("Bound.epsilon", "PairedDifference.value", "RatePoint.value", "RatePoint.reliable"),
    *("OperatingPoints.thresholds", "LimitCheck.excess", "BlindBaseline.shuffles", "QuantileThreshold.fpr"),
}
"""What is given back; nobody passes it in."""

ELSEWHERE_TESTED = {
    # Held against the model's own shape, and a part of an Observation, whose tests are its own.
    *("Observation.prototype_noise", "Observation.public_pictures", "layer_inputs.pictures"),
    *("bin_occupancy.pictures", "UnrolledClient.update.pictures", "replay.pictures", "undefended.pictures"),
    *("positive_control.pictures", "round_alignments.pictures", "round_alignments.background"),
    *("round_alignments.chunk", "vet_forward.inputs", "self_audit.pictures", "quantile_thresholds.bins"),
    # Called with a model.
    *(
        "in_processes.processes",
        "train_farm.processes",
        "farm_outputs.chunk",
        "train_shadows.group",
        "train_shadows.processes",
    ),
    "probe_sensitivity.clipped_sum",
    # Held against the model's own shape.
    *("audit_update.pictures", "audit_update.seed"),
    *("Drawn.records", "Drawn.rate", "AuditedEngine.audit.delta", "AuditedEngine.audit.confidence"),
    *("Job.models", "roc_figure.attacks", "Evidence.pictures", "Truth.pictures"),
}


def told(node, path):
    """Arguments below a class or module of which the docstring tells a range, as `path.argument`."""
    for one in node.body:
        if not isinstance(one, ast.FunctionDef | ast.ClassDef) or one.name.startswith("_"):
            continue
        name = f"{path}{one.name}"
        for section in re.findall(r"(?:Args|Attributes):\n((?:    .*\n?|\n)+)", ast.get_docstring(one) or ""):
            for entry in re.split(r"\n(?=    \S)", "\n" + section):
                found = re.match(r"\s*(\w+): (.*)", entry, re.DOTALL)
                if found and TOLD.search(found[2]):
                    yield f"{name}.{found[1]}"
        if isinstance(one, ast.ClassDef):
            yield from told(one, f"{name}.")


def test_no_range_of_a_docstring_is_left_out():
    package = Path(attacks.__file__).parent
    ranged = {
        one for path in package.rglob("*.py") for one in told(ast.parse(path.read_text(encoding="utf-8")), "")
    }
    tried = {f"{function.__qualname__}.{name}" for function, _, bad in CASES for name in bad}
    assert len(ranged) > 120
    assert ranged - tried - RESULTS - ELSEWHERE_TESTED == set()
