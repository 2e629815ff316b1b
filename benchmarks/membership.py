"""Membership attacks and epsilon bounds at full size, in worlds whose right answers are known.

Prints JSON lines; every line has what was measured beside what is right (`truth`, `published`) or what
was asked (`wanted`). One torch thread; medians over repeats where time is measured.

Usage: python benchmarks/membership.py [CHECK]...
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from scipy.special import expit
from scipy.stats import norm
from torch import Tensor, nn

from attacks.canaries import DiracCanaries, fair_coins
from attacks.epsilon import (
    Bonferroni,
    Bound,
    Explicit,
    Frontier,
    Split,
    Terms,
    clopper_pearson_epsilon,
    gaussian_epsilon,
    one_run_epsilon,
    one_run_gaussian_epsilon,
)
from attacks.membership.federated import combined_rounds, round_alignments
from attacks.membership.lira import lira
from attacks.membership.quantile import fit_quantile
from attacks.membership.rmia import rmia
from attacks.membership.scores import MembershipScores, References
from attacks.membership.shadows import Recipe, balanced_sets, stacked_outputs, train_shadows
from attacks.membership.threshold import confidence_score, logit_score
from attacks.observation import LocalTraining, Observation, cross_entropy
from attacks.roc import auc, null_deviation, operating_points, roc_curve
from attacks.tradeoff import gaussian_epsilon_of

Line = dict[str, object]
Auditor = Callable[[np.ndarray, np.ndarray], Bound]

TERMS = Terms(delta=1e-5, adjacency="add-remove", unit="example")
PURE = Terms(delta=0.0, adjacency="add-remove", unit="example")
AUDITORS: dict[str, Auditor] = {
    "clopper-pearson, every rank": partial(clopper_pearson_epsilon, terms=TERMS, strategy=Bonferroni()),
    "clopper-pearson, 25 ranks": partial(clopper_pearson_epsilon, terms=TERMS, strategy=Bonferroni(25)),
    "clopper-pearson, split": partial(clopper_pearson_epsilon, terms=TERMS, strategy=Split()),
    "gaussian, every rank": partial(gaussian_epsilon, terms=TERMS, strategy=Bonferroni()),
    "gaussian, 25 ranks": partial(gaussian_epsilon, terms=TERMS, strategy=Bonferroni(25)),
    "gaussian, split": partial(gaussian_epsilon, terms=TERMS, strategy=Split()),
    "one run, every rank": partial(one_run_epsilon, terms=TERMS, strategy=Bonferroni()),
    "one run, 25 ranks, both": partial(one_run_epsilon, terms=TERMS, strategy=Bonferroni(25), guesses="both"),
    "one run, split": partial(one_run_epsilon, terms=TERMS, strategy=Split()),
    "one run f-DP, 25 ranks": partial(one_run_gaussian_epsilon, terms=TERMS, strategy=Bonferroni(25)),
}


def published_bounds() -> Iterator[Line]:
    """Midpoint quantiles of N(0, 1) and N(mu, 1), 10 000 each, delta 1e-6."""
    out = norm.ppf((np.arange(10_000) + 0.5) / 10_000)
    terms = Terms(delta=1e-6, adjacency="add-remove", unit="example")
    published = {1: (1.133, 2.165), 2: (2.312, 4.722), 4: (4.396, 9.134)}
    for mu, (steinke, f_dp) in published.items():
        yield {
            "check": "published one-run figures",
            "mu": mu,
            "frontier": one_run_epsilon(out + mu, out, terms, Frontier()).epsilon,
            "published": steinke,
            "frontier_f_dp": one_run_gaussian_epsilon(out + mu, out, terms, Frontier()).epsilon,
            "published_f_dp": f_dp,
            "proved_every_rank": one_run_epsilon(out + mu, out, terms, Bonferroni()).epsilon,
            "proved_25_ranks": one_run_epsilon(out + mu, out, terms, Bonferroni(25)).epsilon,
            "proved_25_ranks_both": one_run_epsilon(out + mu, out, terms, Bonferroni(25), "both").epsilon,
            "proved_f_dp_25_ranks": one_run_gaussian_epsilon(out + mu, out, terms, Bonferroni(25)).epsilon,
            "gaussian_25_ranks": gaussian_epsilon(out + mu, out, terms, Bonferroni(25)).epsilon,
            "truth": gaussian_epsilon_of(mu, 1e-6),
        }


def randomised_response() -> Iterator[Line]:
    """A mechanism that attains the one-run bound: 400 runs of 1000 and 5000 coins."""
    for m in (1000, 5000):
        for epsilon in (0.5, 1.0, 2.0, 4.0):
            rng = np.random.default_rng(m + int(10 * epsilon))
            found = []
            for _ in range(400):
                coins = rng.random(m) < 0.5
                answers = np.where(rng.random(m) < expit(epsilon), coins, ~coins).astype(float)
                bound = one_run_epsilon(answers[coins], answers[~coins], PURE, Explicit(0.5), "both")
                found.append(bound.epsilon)
            yield {
                "check": "randomised response",
                "m": m,
                "truth": epsilon,
                "mean_share": float(np.mean(found) / epsilon),
                "violations": float((np.array(found) > epsilon).mean()),
                "wanted": "violations <= 0.083; share >= 0.9 at 5000",
            }


def null_mechanism() -> Iterator[Line]:
    """400 runs of 1000 scores that say nothing, threshold chosen from them."""
    for name, auditor in AUDITORS.items():
        rng = np.random.default_rng(0)
        claims, largest = 0, 0.0
        for _ in range(400):
            scores, coins = rng.standard_normal(1000), rng.random(1000) < 0.5
            epsilon = auditor(scores[coins], scores[~coins]).epsilon
            claims, largest = claims + (epsilon > 0), max(largest, epsilon)
        yield {
            "check": "null mechanism",
            "auditor": name,
            "claims": claims / 400,
            "largest": largest,
            "wanted": 0.083,
        }


def gaussian_mechanism() -> Iterator[Line]:
    """Means over 40 runs; m scores a side, and the share of runs above the truth."""
    for mu, m in ((1.0, 500), (1.0, 2500), (2.0, 500), (2.0, 2500), (1.0, 100_000), (2.0, 100_000)):
        rng = np.random.default_rng(m)
        found = []
        for _ in range(40):
            pair = rng.normal(mu, 1, m), rng.standard_normal(m)
            found.append([gaussian_epsilon(*pair, TERMS, Bonferroni(points)).epsilon for points in (5, 25)])
        truth = gaussian_epsilon_of(mu, 1e-5)
        yield {
            "check": "Gaussian mechanism",
            "mu": mu,
            "scores_a_side": m,
            "mean_5_ranks": float(np.mean(found, axis=0)[0]),
            "mean_25_ranks": float(np.mean(found, axis=0)[1]),
            "truth": truth,
            "violations": float((np.array(found) > truth).any(1).mean()),
        }


def dirac_canaries() -> Iterator[Line]:
    """Full batches, 4 rounds at multiplier 2: mu = 1, and with half or none of the noise. 20 runs each."""
    strict = Terms(delta=1e-5, adjacency="add-remove", unit="example", confidence=0.999)
    truth = gaussian_epsilon_of(1.0, 1e-5)
    for m in (1000, 5000):
        for noise in (1.0, 0.5, 0.0):
            usual, one_run, flagged = [], [], 0
            for seed in range(20):
                rng = np.random.default_rng(seed)
                canaries = DiracCanaries.draw(m, 2 * m, 1.0, rng)
                inside = fair_coins(m, rng.bytes)
                sums = canaries.total(inside) + 2 * noise * rng.standard_normal((4, 2 * m))
                scores = canaries.scores(sums)
                pair = scores[inside], scores[~inside]
                usual.append(gaussian_epsilon(*pair, TERMS, Bonferroni(5)).epsilon)
                one_run.append(one_run_epsilon(*pair, TERMS, Bonferroni(5), "both").epsilon)
                flagged += gaussian_epsilon(*pair, strict, Bonferroni(25)).epsilon > truth
            yield {
                "check": "Dirac canaries",
                "canaries": m,
                "noise": noise,
                "gaussian_share_of_claim": float(np.mean(usual) / truth),
                "one_run_share_of_claim": float(np.mean(one_run) / truth),
                "flagged_at_1e-3": flagged / 20,
            }


def interval_coverage() -> Iterator[Line]:
    """How often the bound of the FPR at an order statistic holds, 200 000 draws; truth 0.95."""
    rng = np.random.default_rng(0)
    ordered = np.sort(rng.random((200_000, 50)), axis=1)[:, ::-1]
    for rank in (1, 10, 50):
        high = operating_points(np.zeros(1), ordered[0], np.array([rank]), 0.1).fpr_high[0]
        yield {
            "check": "order-statistic bound",
            "rank": rank,
            "coverage": float((1 - ordered[:, rank - 1] <= high).mean()),
            "truth": 0.95,
        }


def ties() -> Iterator[Line]:
    """Binary scores whose AUC is 0.572; dropping tied rows makes 0.278 of them."""
    members, others = np.repeat([1, 0], [644, 356]), np.repeat([1, 0], [500, 500])
    curve = roc_curve(members, others)
    yield {
        "check": "binary scores",
        "auc": auc(members, others),
        "trapezoids": float(np.trapezoid(curve.tpr, curve.fpr)),
        "truth": 0.572,
    }


def unequal_variances() -> Iterator[Line]:
    """LiRA where candidates' deviations are equal, and where their logarithms spread by 0.4.

    `knows_deviations` has the same models and knows every deviation, `knows_all` the means too: with few
    models nobody reaches it. `best_possible` has the same models and is the exact likelihood ratio of who
    knows every deviation, the lift and the law of hardness: by Neyman and Pearson no attack with these models
    has a larger rate at any false-positive rate.
    """
    for spread in (0.0, 0.4):
        for side in (8, 16, 32, 64):
            rng = np.random.default_rng(side)
            hardness, deviation = rng.normal(0, 4, 40_000), np.exp(rng.normal(0, spread, 40_000))
            trained_on = rng.random((40_000, 2 * side)) < 0.5
            trained_on[:, 0], trained_on[:, 1] = True, False
            is_member = rng.random(40_000) < 0.5
            victim = hardness + 1.5 * is_member + deviation * rng.standard_normal(40_000)
            noise = deviation[:, None] * rng.standard_normal(trained_on.shape)
            references = References(hardness[:, None] + 1.5 * trained_on + noise, trained_on)
            apart = (victim - references.mean(False)) ** 2 - (victim - references.mean(True)) ** 2
            scores = {
                "lira": lira(victim, references, "online").values,
                "one_variance": lira(victim, references, "online", 1e6).values,
                "own_variances": lira(victim, references, "online", 1e-6).values,
                "prior_of_8": lira(victim, references, "online", 8.0).values,
                "knows_deviations": apart / deviation**2,
                "best_possible": _best_possible(victim, references, deviation, 1.5, 4.0),
                "knows_all": (victim - hardness - 0.75) / deviation**2,
            }
            for name, found in scores.items():
                members, others = found[is_member], found[~is_member]
                rates = {
                    f"tpr_at_{fpr}": float((members > np.quantile(others, 1 - fpr)).mean())
                    for fpr in (0.01, 0.001)
                }
                yield {
                    "check": "unequal variances", "spread": spread, "models_a_side": side, "score": name,
                    "auc": auc(members, others), **rates,
                }  # fmt: skip


def _best_possible(
    victim: np.ndarray, references: References, deviation: np.ndarray, lift: float, spread: float
) -> np.ndarray:
    """Log-likelihood ratio (n,) of hardness N(0, spread^2), a known lift and known deviations."""
    models = references.signals.shape[1]
    precision = models / deviation**2 + 1 / spread**2
    plain = (references.signals - lift * references.trained_on).sum(1)
    apart = victim - plain / deviation**2 / precision
    ratio: np.ndarray = lift * (apart - lift / 2) / (deviation**2 + 1 / precision)
    return ratio


def trained_references(victims: int = 48, oracle: int = 1024) -> Iterator[Line]:
    """LiRA on trained heads whose candidates differ in deviation: records of lengths from 1 to 16.

    Each of the victims is a head like the references; rates and AUC are over all their candidates together.
    `by_definition` has means and variances of each candidate's own on either side; the oracle is that from
    `oracle` further heads.
    """
    draws = torch.Generator().manual_seed(0)
    n, classes = 400, 12
    length = 16 ** torch.rand(n, 1, generator=draws)
    features = length * nn.functional.normalize(torch.randn(n, 96, generator=draws), dim=1)
    targets = torch.randint(0, classes, (n,), generator=draws)
    rng = np.random.default_rng(0)
    total = victims + 128 + oracle
    sets = np.column_stack([rng.permutation(n) < n // 2 for _ in range(total)])
    recipe = Recipe("trained", n // 2, epochs=10, batch_size=20, learning_rate=0.02, momentum=0.9)
    with tempfile.TemporaryDirectory() as cache:
        state = train_shadows(head, cross_entropy, features, targets, sets, recipe, cache, group=64)
    outputs = stacked_outputs(head(0), state, features)
    signals = np.stack([logit_score(o.numpy(), targets.numpy()) for o in outputs], 1)
    own = References(signals[:, victims + 128 :], sets[:, victims + 128 :])
    between = np.quantile(_deviation(own, False), [0.05, 0.95])
    for side in (8, 16, 32, 64):
        # A set drawn anew may leave a candidate without a model on a side, where there are few.
        few = References(signals[:, victims : victims + 2 * side], sets[:, victims : victims + 2 * side])
        told: dict[str, list[np.ndarray]] = {}
        for k in range(victims):
            said = signals[:, k]
            for name, freedom in (("lira", None), ("one_variance", 1e6), ("own_variances", 1e-6)):
                told.setdefault(name, []).append(lira(said, few, "online", freedom).values)
            told.setdefault("by_definition", []).append(_by_definition(said, few))
            told.setdefault("oracle", []).append(_by_definition(said, own))
        members = sets[:, :victims].T.ravel()
        for name, parts in told.items():
            values = np.concatenate(parts)
            kept = np.isfinite(values)
            inside, outside = values[members & kept], values[~members & kept]
            rates = {
                f"tpr_at_{fpr}": float((inside > np.quantile(outside, 1 - fpr)).mean())
                for fpr in (0.01, 0.001)
            }
            yield {
                "check": "trained references", "models_a_side": side, "score": name,
                "deviations_5_to_95": [round(float(d), 2) for d in between],
                "auc": auc(inside, outside), **rates,
            }  # fmt: skip


def _by_definition(said: np.ndarray, references: References) -> np.ndarray:
    """Carlini et al. 2022, eq. 4."""
    within, outside = (
        norm.logpdf(said, references.mean(side), _deviation(references, side)) for side in (True, False)
    )
    ratio: np.ndarray = within - outside
    return ratio


def _deviation(references: References, inside: bool) -> np.ndarray:
    """Each candidate's own (n,)."""
    kept = np.where(references.trained_on == inside, references.signals, np.nan)
    found: np.ndarray = np.nanstd(kept, axis=1, ddof=1)
    return found


def rmia_ties() -> Iterator[Line]:
    """The rate at 0.1 % of RMIA and of the share alone, which ties at the top; 16 models."""
    rng = np.random.default_rng(0)
    victim, references, victim_z, references_z, is_member = hardness_world(rng, 16, 1.5)
    as_p, as_p_z = (References(expit(r.signals), r.trained_on) for r in (references, references_z))
    found = rmia(expit(victim), as_p, expit(victim_z), as_p_z, "online").values
    shares = np.floor((len(victim_z) + 1) * found + 1e-9)
    for name, values in (("RMIA", found), ("share alone", shares)):
        curve = roc_curve(values[is_member], values[~is_member])
        yield {
            "check": "RMIA's ties",
            "score": name,
            "tied_at_the_top": float((values == values.max()).mean()),
            "tpr_at_0.001": float(curve.tpr[curve.fpr <= 1e-3].max()),
            "auc": auc(values[is_member], values[~is_member]),
            "best_possible_tpr": float(norm.sf(norm.isf(1e-3) - 1.5)),
        }


def hardness_world(
    rng: np.random.Generator, models: int, shift: float, n: int = 20_000, elsewhere: int = 2000
) -> tuple[np.ndarray, References, np.ndarray, References, np.ndarray]:
    """Candidates of hardness N(0, 16), lifted by training; and pictures that no model trained on."""
    hardness, other = rng.normal(0, 4, n), rng.normal(0, 4, elsewhere)
    trained_on = rng.random((n, models)) < 0.5
    trained_on[:, 0], trained_on[:, 1] = True, False
    is_member = rng.random(n) < 0.5
    victim = hardness + shift * is_member + rng.standard_normal(n)
    signals = hardness[:, None] + shift * trained_on + rng.standard_normal((n, models))
    signals_z = other[:, None] + rng.standard_normal((elsewhere, models))
    return (
        victim,
        References(signals, trained_on),
        other + rng.standard_normal(elsewhere),
        References(signals_z, np.zeros((elsewhere, models), bool)),
        is_member,
    )


def hardness_attacks(
    rng: np.random.Generator, models: int, shift: float, n: int = 20_000
) -> dict[str, float]:
    """AUC of every attack in one world."""
    victim, references, victim_z, references_z, is_member = hardness_world(rng, models, shift, n)

    def area(scores: MembershipScores) -> float:
        kept = scores.scored
        return auc(scores.values[kept & is_member], scores.values[kept & ~is_member])

    as_p, as_p_z = (References(expit(r.signals), r.trained_on) for r in (references, references_z))
    of_rmia = partial(rmia, expit(victim), as_p, expit(victim_z), as_p_z, offline_a=0.9)
    quantile = fit_quantile(victim_z, references_z.mean(False)[:, None], 0.1, rng)
    # One model a side has no variance.
    likelihood = (
        {
            "lira_online": area(lira(victim, references, "online")),
            "lira_offline": area(lira(victim, references, "offline")),
        }
        if models > 2
        else {}
    )
    return likelihood | {
        "threshold": area(MembershipScores.of("threshold", victim)),
        "rmia_online": area(of_rmia(mode="online")),
        "rmia_offline": area(of_rmia(mode="offline")),
        "quantile": area(quantile.score(victim, references.mean(False)[:, None])),
    }


def closed_form_world() -> Iterator[Line]:
    """Training lifts a signal by 1.5: the best AUC there is, 0.856."""
    for models in (2, 4, 16, 64):
        yield {
            "check": "closed-form world",
            "models": models,
            **hardness_attacks(np.random.default_rng(models), models, 1.5)
            | {"truth": float(norm.cdf(1.5 / 2**0.5))},
        }


def null_world() -> Iterator[Line]:
    """Training lifts nothing: how many of 20 worlds lie beyond two standard deviations."""
    beyond: dict[str, int] = {}
    for seed in range(20):
        rng = np.random.default_rng(1000 + seed)
        for name, area in hardness_attacks(rng, 8, 0.0, 4000).items():
            beyond[name] = beyond.get(name, 0) + (abs(area - 0.5) > 2 * null_deviation(2000, 2000))
    yield {"check": "null world", "beyond_two_deviations_of_20": beyond, "expected": 0.9}


def federated() -> Iterator[Line]:
    """A client of 8 pictures, one clipped step a round, alone and among others; means over 5 clients."""
    for noise, others in ((0.0, 0), (0.02, 0), (0.1, 0), (0.02, 7)):
        rows: dict[str, list[tuple[float, float]]] = {}
        for seed in range(5):
            observation, pictures, targets = federated_rounds(seed, noise, others)
            for statistic in ("cosine", "residual", "traced"):
                background = (pictures[220:], targets[220:]) if statistic == "traced" else None
                found = round_alignments(observation, pictures[:220], targets[:220], statistic, background)
                scores = combined_rounds(found[:, :150], found[:, 150:], np.ones(len(found), bool)).values
                each = float(np.mean([auc(row[:8], row[8:150]) for row in found]))
                rows.setdefault(statistic, []).append((each, auc(scores[:8], scores[8:])))
        yield {
            "check": "federated",
            "noise": noise,
            "other_clients": others,
            "rounds": 10,
            **{f"{name}_one_round": float(np.mean([row[0] for row in v])) for name, v in rows.items()},
            **{f"{name}_all_rounds": float(np.mean([row[1] for row in v])) for name, v in rows.items()},
        }


def federated_rounds(seed: int, noise: float, others: int) -> tuple[Observation, Tensor, Tensor]:
    """Ten rounds of one client, or of the mean of several; the first 8 of 300 pictures are the client's."""
    draws = torch.Generator().manual_seed(seed)
    pictures = torch.rand(300 + 8 * others, 1, 8, 8, generator=draws)
    targets = torch.randint(0, 4, (len(pictures),), generator=draws)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 4))
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.copy_(torch.randn(tensor.shape, generator=draws) / tensor.shape[-1] ** 0.5)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    members = torch.cat([torch.arange(8), 300 + torch.arange(8 * others)])
    states, updates = [], []
    for _ in range(10):
        states.append(weights)
        model.load_state_dict(weights)
        total = {name: torch.zeros_like(tensor) for name, tensor in weights.items()}
        for k in members:
            model.zero_grad()
            cross_entropy(model(pictures[k : k + 1]), targets[k : k + 1]).sum().backward()
            gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
            length = torch.cat([gradient.flatten() for gradient in gradients.values()]).norm()
            for name, gradient in gradients.items():
                total[name] += gradient * min(1.0, 0.5 / float(length)) / len(members)
        update = {
            name: -0.1 * (tensor + noise * torch.randn(tensor.shape, generator=draws))
            for name, tensor in total.items()
        }
        updates.append(update)
        weights = {name: tensor + update[name] for name, tensor in weights.items()}
    observation = Observation(
        model=model,
        weights=states[0],
        later_weights=tuple(states[1:]),
        updates=tuple(updates),
        training=LocalTraining(0.1, batch_size=len(members), clip_norm=0.5, noise_std=noise),
        loss=cross_entropy,
        picture_shape=(1, 8, 8),
    )
    return observation, pictures[:300], targets[:300]


def shadow_models() -> Iterator[Line]:
    """64 heads over shared features: one stack beside one by one, three repeats; the attack with either."""
    draws = torch.Generator().manual_seed(0)
    features = nn.functional.normalize(torch.randn(600, 96, generator=draws), dim=1) * 4
    targets = torch.randint(0, 12, (600,), generator=draws)
    rng = np.random.default_rng(0)
    # Drawn apart from the shadows' sets: balanced with theirs, theirs would tell it.
    is_member = rng.permutation(600) < 300
    sets = balanced_sets(600, 64, 300, rng)
    recipe = Recipe("benchmark", 300, epochs=30, batch_size=32, learning_rate=0.5, momentum=0.9)
    stacked_seconds, single_seconds = [], []
    for _ in range(3):
        with tempfile.TemporaryDirectory() as cache:
            start = time.perf_counter()
            state = train_shadows(head, cross_entropy, features, targets, sets, recipe, cache)
            stacked_seconds.append(time.perf_counter() - start)
        start = time.perf_counter()
        singles = [one_by_one(k, features, targets, sets[:, k], recipe) for k in range(64)]
        single_seconds.append(time.perf_counter() - start)
    far = max(
        float((state[name][k] - tensor.detach()).abs().max())
        for k, single in enumerate(singles)
        for name, tensor in single.named_parameters()
    )
    victim = one_by_one(1000, features, targets, is_member, recipe)
    labels = targets.numpy()
    with torch.no_grad():
        outputs = victim(features).numpy()
        one = np.stack([logit_score(single(features).numpy(), labels) for single in singles], 1)
    stack = np.stack([logit_score(o.numpy(), labels) for o in stacked_outputs(head(0), state, features)], 1)
    areas = [
        auc(scores[is_member], scores[~is_member])
        for scores in (
            lira(logit_score(outputs, labels), References(stack, sets), "online").values,
            lira(logit_score(outputs, labels), References(one, sets), "online").values,
            confidence_score(outputs, labels),
        )
    ]
    yield {
        "check": "64 shadow heads",
        "seconds_stacked": float(np.median(stacked_seconds)),
        "seconds_one_by_one": float(np.median(single_seconds)),
        "ratio": float(np.median(np.array(single_seconds) / np.array(stacked_seconds))),
        "largest_difference": far,
        "lira_auc_stacked": areas[0],
        "lira_auc_one_by_one": areas[1],
        "loss_auc": areas[2],
        "wanted": "ratio >= 3, difference of AUC < 0.005",
    }


def head(seed: int) -> nn.Module:
    """An untrained linear head from a seed."""
    made = nn.Linear(96, 12)
    draws = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in made.parameters():
            tensor.copy_(0.05 * torch.randn(tensor.shape, generator=draws))
    return made


def one_by_one(k: int, features: Tensor, targets: Tensor, members: np.ndarray, recipe: Recipe) -> nn.Module:
    """The peer: torch's own optimiser and loss."""
    model = head(recipe.seed + k)
    optimiser = torch.optim.SGD(model.parameters(), lr=recipe.learning_rate, momentum=recipe.momentum)
    draws = torch.Generator().manual_seed(recipe.seed + k)
    own = torch.from_numpy(np.flatnonzero(members))
    for _ in range(recipe.epochs):
        for batch in own[torch.randperm(len(own), generator=draws)].split(recipe.batch_size):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(features[batch]), targets[batch]).backward()
            optimiser.step()
    return model


def main() -> None:
    """All checks."""
    torch.set_num_threads(1)
    checks = (
        ties,
        interval_coverage,
        published_bounds,
        randomised_response,
        null_mechanism,
        gaussian_mechanism,
        dirac_canaries,
        closed_form_world,
        unequal_variances,
        trained_references,
        rmia_ties,
        null_world,
        federated,
        shadow_models,
    )
    named = {check.__name__ for check in checks}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("checks", nargs="*", metavar="CHECK", help=f"of {', '.join(sorted(named))}; or all")
    asked = parser.parse_args().checks
    if unknown := set(asked) - named:
        parser.error(f"no such check: {', '.join(sorted(unknown))}; there are {', '.join(sorted(named))}")
    for check in checks:
        for line in check() if not asked or check.__name__ in asked else ():
            rounded = {k: float(f"{v:.5g}") if isinstance(v, float) else v for k, v in line.items()}
            print(json.dumps(rounded), flush=True)


if __name__ == "__main__":
    main()
