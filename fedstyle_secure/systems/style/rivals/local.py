"""Local only: every artist trains a head of its own and gives away nothing but a card made with it."""

from __future__ import annotations

import torch
from torch import Tensor

from fedstyle_secure.systems.style.rivals.fedavg import local_steps, spends
from fedstyle_secure.systems.style.rivals.learner import Learner, noisy_cards
from fedstyle_secure.systems.style.rivals.settings import Conditions, Settings
from fedstyle_secure.systems.style.rivals.task import Found, Task, nearest_card


def trained_alone(learner: Learner, settings: Settings) -> Tensor:
    """Every artist's own model (artists, p), which meets no other."""
    own = learner.copies(learner.start())
    for _ in range(settings.rounds):
        own = local_steps(learner, settings, own)
    return own


def local_only(task: Task, settings: Settings, conditions: Conditions) -> Found:
    """Cards of what own heads make of the training pictures; pictures are asked about without a head.

    The head hangs on all pictures of its artist, and every row of the card on the head: so its training is
    noised and paid for, with the artist's own noise, as no sum of others hides it.
    """
    noise = conditions.budget.mechanisms(spends(conditions, settings))
    learner = Learner(task, conditions, noise["training"], shared=False, averaged=False)
    rows = learner.rows(trained_alone(learner, settings))
    cards = noisy_cards(task.sums(rows), noise["card"], conditions.seed)
    return nearest_card(task, torch.eye(task.dim), cards)
