"""FedAvg (McMahan et al. 2017, algorithm 1), with all artists in a round and all pictures in a step."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from fedstyle_secure.systems.style.rivals.budget import Spend
from fedstyle_secure.systems.style.rivals.learner import Learner, noisy_cards
from fedstyle_secure.systems.style.rivals.settings import Conditions, Settings
from fedstyle_secure.systems.style.rivals.task import Found, Task, nearest_card

Local = Callable[[Learner, Settings, Tensor], Tensor]
"""Local training: the shared model (p,) to every artist's own (artists, p)."""


def spends(conditions: Conditions, settings: Settings, beside: int = 0) -> dict[str, Spend]:
    """What leaves an artist: in each round a sum of gradients a step and `beside` more, then a card."""
    return {
        "training": Spend(settings.rounds * (settings.steps + beside), settings.share, conditions.clip_norm),
        "card": Spend(1, 1 - settings.share),
    }


def averaged(learner: Learner, settings: Settings, local: Local) -> Tensor:
    """The shared model (p,) after all rounds: the mean of what local training makes of it."""
    shared = learner.start()
    for _ in range(settings.rounds):
        own = local(learner, settings, shared)
        shared = shared + learner.mean(own - shared, settings.rate)
    return shared


def local_steps(learner: Learner, settings: Settings, shared: Tensor) -> Tensor:
    """Steps of gradient descent from the shared model."""
    own = learner.copies(shared)
    for _ in range(settings.steps):
        own = own - settings.rate * learner.gradient(own)
    return own


def judged(task: Task, settings: Settings, conditions: Conditions, local: Local, beside: int = 0) -> Found:
    """Train a shared model, publish cards with what is left of the budget, and find artists."""
    noise = conditions.budget.mechanisms(spends(conditions, settings, beside))
    learner = Learner(task, conditions, noise["training"], shared=conditions.shared)
    head = learner.head(averaged(learner, settings, local))
    return nearest_card(task, head, noisy_cards(task.sums(task.train), noise["card"], conditions.seed))


def fedavg(task: Task, settings: Settings, conditions: Conditions) -> Found:
    """FedAvg on a task."""
    return judged(task, settings, conditions, local_steps)
