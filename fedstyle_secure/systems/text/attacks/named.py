"""Which word an update is of, among candidates whose crops the adversary has."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from attacks.identification import rank_of_target
from fedstyle_secure.audit.findings import IDENTIFICATION
from fedstyle_secure.audit.limits import Limit
from fedstyle_secure.audit.measures import AttackCard, Outcome, Setting, identification
from fedstyle_secure.audit.replay import require_one_remade
from fedstyle_secure.audit.scene import Scene
from fedstyle_secure.audit.targets import batches_of_one, cost_of_one, fits, noise_of_one
from fedstyle_secure.errors import AuditError
from fedstyle_secure.systems.text.attacks.words import (
    Sought,
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

    def ranks_of(word: Sought, seen: Sequence[Sought], defended: bool) -> list[int]:
        """Ranks of a word by the updates of some."""
        rows = scene.gradients(sent, word.artist, word.candidates, defended=defended)
        deviation = noise_of_one(scene) if defended and scene.noise else 0.0
        pushed = [seen_gradient(scene, sent, one, defended=defended) for one in seen]
        return [rank_of_target(fits(one, rows, deviation), word.number) for one in pushed]

    if not undefended(scene) and len(known[0].targets) < among:
        raise AuditError(
            f"there are {len(known[0].targets)} public words, too few for a control among {among}: set "
            "candidates to that"
        )
    both = [ranks_of(word, (word, known[i % len(known)]), True) for i, word in enumerate(sought)]
    ranks, blind = np.array(both).T
    control = ranks
    if not undefended(scene):
        control = np.array([ranks_of(word, (word,), False)[0] for word in known])
    how = Setting(
        NAMED, settings.seed, settings.confidence, time.perf_counter() - started,
        f"{among} gradients a word", batches_of_one(scene),
    )  # fmt: skip
    finding = identification(how, ranks, blind, among, Limit(cost_of_one(scene, sent)), control)
    return Outcome((replace(finding, details=dict(finding.details) | told(sought)),))
