"""Which word an update is of, among candidates whose crops the adversary has."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from attacks.identification import rank_of_target
from attacks.inversion.candidates import candidate_scores
from attacks.inversion.objectives import Kind, UpdateDistance
from fedstyle_secure.audit.findings import IDENTIFICATION
from fedstyle_secure.audit.limits import Limit
from fedstyle_secure.audit.measures import AttackCard, Outcome, Setting, identification
from fedstyle_secure.audit.replay import require_one_remade
from fedstyle_secure.audit.scene import Scene
from fedstyle_secure.audit.targets import batches_of_one, cost_of_one
from fedstyle_secure.errors import AuditError
from fedstyle_secure.systems.text.attacks.words import (
    Sought,
    noise_of,
    private_words,
    public_words,
    seen_gradient,
    told,
    undefended,
)

NAMED = AttackCard(
    "word_named", "A word named among candidates",
    "Makes the gradient of every candidate, a crop with its word, and picks the one that is nearest to the "
    "update of a batch of one.",
    "reconstruction", "L4", "artwork", IDENTIFICATION,
)  # fmt: skip


def word_named(scene: Scene) -> Outcome:
    """The word of a batch of one among others of like length, by all that trains.

    With known noise by likelihood, which nobody can beat who has the candidates; without by cosine, which
    asks for neither clip nor step size. Blind: the same attack on the update of a public word.
    """
    scene.require_own_noise()
    started, sent, settings = time.perf_counter(), scene.first, scene.settings
    require_one_remade(scene, sent)
    sought = private_words(scene, sent, settings.targets)
    known = public_words(scene, sent, settings.targets)
    among = len(sought[0].targets)

    def rank(word: Sought, update_of: Sought, defended: bool) -> int:
        seen = seen_gradient(scene, sent, update_of, defended=defended)
        rows = torch.from_numpy(
            scene.gradients(sent, word.artist, word.candidates, defended=defended)
        ).double()
        deviation = noise_of(scene) if defended and scene.noise else 0.0
        return rank_of_target(_scores(seen, rows, deviation), word.number)

    ranks = np.array([rank(word, word, True) for word in sought])
    blind = np.array([rank(word, known[i % len(known)], True) for i, word in enumerate(sought)])
    control = ranks if undefended(scene) else np.array([rank(word, word, False) for word in known])
    if not undefended(scene) and len(known[0].targets) < among:
        raise AuditError(
            f"public words are {len(known[0].targets)}, too few for a control among {among}: set "
            "candidates to that"
        )
    how = Setting(
        NAMED, settings.seed, settings.confidence, time.perf_counter() - started,
        f"{among} gradients a word", batches_of_one(scene),
    )  # fmt: skip
    finding = identification(how, ranks, blind, among, Limit(cost_of_one(scene, sent)), control)
    return Outcome((replace(finding, details=dict(finding.details) | told(sought)),))


def _scores(seen: Tensor, rows: Tensor, deviation: float) -> Tensor:
    """(n,), larger is more likely."""
    kind: Kind = "likelihood" if deviation else "cosine"
    distance = UpdateDistance(kind, {"all": seen}, {"all": 1.0}, deviation)
    return candidate_scores(distance, list(rows), lambda row: {"all": row})
