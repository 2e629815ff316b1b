"""FedProto (Tan et al. 2022): prototypes travel, weights do not.

An artist has one class, so that the mean over contributors of a class is one artist's prototype, passed on as
it is: published under a name, and noised like a card.
"""

from __future__ import annotations

import torch

from fedstyle_secure.systems.style.rivals.budget import Spend
from fedstyle_secure.systems.style.rivals.learner import Learner, Term, noisy_cards
from fedstyle_secure.systems.style.rivals.settings import Conditions, Settings
from fedstyle_secure.systems.style.rivals.task import Found, Task, nearest_by_own_heads


def spends(conditions: Conditions, settings: Settings) -> dict[str, Spend]:
    """Steps of the own model, which prototypes hang on, and a prototype before and after each round."""
    return {
        "training": Spend(settings.rounds * settings.steps, settings.share, conditions.clip_norm),
        "prototypes": Spend(settings.rounds + 1, 1 - settings.share),
    }


def fedproto(task: Task, settings: Settings, conditions: Conditions) -> Found:
    """Own models trained on cross-entropy against the prototypes of all, plus lambda times the squared
    distance to the own one; a picture that is asked about goes to every artist's own model."""
    noise = conditions.budget.mechanisms(spends(conditions, settings))
    learner = Learner(task, conditions, noise["training"], shared=False, averaged=False)
    own = learner.copies(learner.start())
    # One seed a release: two releases with the same noise would be none.
    seeds = iter(range(conditions.seed * 10_007, conditions.seed * 10_007 + settings.rounds + 1))
    prototypes = noisy_cards(task.sums(task.train), noise["prototypes"], next(seeds))
    for _ in range(settings.rounds):
        for _ in range(settings.steps):
            pull = _pull(prototypes, settings.weight)
            own = own - settings.rate * learner.gradient(own, pull, classes=prototypes)
        prototypes = noisy_cards(task.sums(learner.rows(own)), noise["prototypes"], next(seeds))
    return nearest_by_own_heads(task, learner.head(own), prototypes)


def _pull(prototypes: torch.Tensor, weight: float) -> Term:
    def squared(embeddings: torch.Tensor) -> torch.Tensor:
        return weight * (embeddings - prototypes[:, None]).square().sum(2)

    return squared
