"""Where membership says nothing, no attack may say anything: every attack on candidates with drawn labels."""

import numpy as np
import pytest
import torch
from scipy.special import expit

from attacks.membership.encoder import prototype_similarity, prototype_tracing, view_agreement
from attacks.membership.federated import alignment, combined_rounds
from attacks.membership.lira import lira
from attacks.membership.participation import participation_scores
from attacks.membership.quantile import fit_quantile
from attacks.membership.rmia import rmia
from attacks.membership.scores import References
from attacks.membership.shadows import balanced_sets
from attacks.membership.threshold import (
    confidence_score,
    entropy_score,
    logit_score,
    modified_entropy_score,
)
from attacks.roc import auc, null_deviation, tpr_at_fpr

N = 300


def untrained(rng, n=N):
    """Logits of a model that has not seen the candidates, and labels."""
    return rng.normal(0, 2, (n, 5)), rng.integers(0, 5, n)


def references(rng, n=N):
    trained_on = rng.random((n, 8)) < 0.5
    trained_on[:, 0], trained_on[:, 1] = True, False
    return References(rng.uniform(0.01, 1, (n, 8)), trained_on)


def of_rounds(rng):
    gradients, elsewhere = (torch.from_numpy(rng.standard_normal((n, 30))) for n in (N, 50))
    updates = [torch.from_numpy(rng.standard_normal(30)) for _ in range(4)]
    mine, theirs = (
        np.stack([alignment(g, u, "cosine").numpy() for u in updates]) for g in (gradients, elsewhere)
    )
    return combined_rounds(mine, theirs, np.ones(4, bool)).values


ATTACKS = {
    "confidence": lambda rng: confidence_score(*untrained(rng)),
    "entropy": lambda rng: entropy_score(untrained(rng)[0]),
    "modified entropy": lambda rng: modified_entropy_score(*untrained(rng)),
    "logit": lambda rng: logit_score(*untrained(rng)),
    "lira online": lambda rng: lira(rng.random(N), references(rng), "online").values,
    "lira offline": lambda rng: lira(rng.random(N), references(rng), "offline").values,
    "rmia online": lambda rng: (
        rmia(
            rng.uniform(0.01, 1, N),
            references(rng),
            rng.uniform(0.01, 1, 400),
            references(rng, 400),
            "online",
        ).values
    ),
    "rmia offline": lambda rng: (
        rmia(
            rng.uniform(0.01, 1, N),
            references(rng),
            rng.uniform(0.01, 1, 400),
            references(rng, 400),
            "offline",
        ).values
    ),
    "quantile": lambda rng: (
        fit_quantile(rng.standard_normal(200), rng.standard_normal((200, 3)), 0.1, rng)
        .score(rng.standard_normal(N), rng.standard_normal((N, 3)))
        .values
    ),
    "prototype": lambda rng: (
        prototype_similarity(
            rng.standard_normal((N, 8)), rng.standard_normal((4, 8)), rng.integers(0, 4, N)
        ).values
    ),
    "views": lambda rng: view_agreement(rng.standard_normal((N, 3, 8))).values,
    "tracing": lambda rng: (
        prototype_tracing(
            rng.standard_normal((N, 8)), rng.standard_normal(8), rng.standard_normal((100, 8))
        ).values
    ),
    "rounds": of_rounds,
    "participation": lambda rng: (
        participation_scores(
            rng.standard_normal(3 * N),
            np.repeat(np.arange(N), 3),
            rng.standard_normal(90),
            N + np.repeat(np.arange(30), 3),
        )[1].values
    ),
}


def test_no_attack_finds_what_is_not_there():
    """14 attacks, 20 seeds each, at two standard deviations: 4.6 % of 280 by chance, over 26 1e-3.

    Per attack over 5 of 20 has probability 2e-4.
    """
    violations, rates = {}, []
    for name, attack in ATTACKS.items():
        violations[name] = 0
        for seed in range(20):
            rng = np.random.default_rng(seed)
            scores, is_member = attack(rng), rng.permutation(N) < 150
            members, others = scores[is_member], scores[~is_member]
            violations[name] += abs(auc(members, others) - 0.5) > 2 * null_deviation(150, 150)
            rates.append(tpr_at_fpr(members, others, 0.1).value)
    assert max(violations.values()) <= 5, violations
    assert sum(violations.values()) <= 26, violations
    # Expected about 0.1 (and lower where scores tie); a standard error of 0.034 / sqrt(280) = 0.002.
    assert 0.08 < np.mean(rates) < 0.11


@pytest.mark.parametrize("models", [64, 65])
def test_balanced_references_say_nothing_of_a_victim_that_is_one_of_them(models):
    """The counts of the other columns give such a victim away; a score must not pass that on.

    Signals that know nothing, with a spread of each candidate's own; 3 attacks, 20 seeds at two standard
    deviations, 4.6 % each: over 5 of 20 has probability 2e-4. Scores whose form hangs on the counts have an
    AUC of 0.2 to 0.4 here.
    """
    violations = dict.fromkeys(("lira online", "lira offline", "rmia online"), 0)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        sets = balanced_sets(600, models, 300, rng)
        signals = rng.standard_normal((600, models)) * np.exp(0.7 * rng.standard_normal((600, 1)))
        is_member, rest = sets[:, 0], sets[:, 1:]
        refs = References(signals[:, 1:], rest)
        elsewhere = References(rng.random((100, models - 1)), np.zeros((100, models - 1), bool))
        found = {
            "lira online": lira(signals[:, 0], refs, "online"),
            "lira offline": lira(signals[:, 0], refs, "offline"),
            "rmia online": rmia(
                expit(signals[:, 0]),
                References(expit(refs.signals), rest),
                rng.random(100),
                elsewhere,
                "online",
            ),
        }
        for name, scores in found.items():
            area = auc(scores.values[is_member], scores.values[~is_member])
            violations[name] += abs(area - 0.5) > 2 * null_deviation(300, 300)
    assert max(violations.values()) <= 5, violations


@pytest.mark.parametrize("seed", range(3))
def test_the_same_attack_finds_what_is_there(seed):
    """The positive control of the test above: one planted shift, the same call."""
    rng = np.random.default_rng(seed)
    refs, is_member = references(rng), rng.permutation(N) < 150
    scores = lira(refs.mean(False) + 0.5 * is_member, refs, "offline").values
    assert auc(scores[is_member], scores[~is_member]) > 0.9
