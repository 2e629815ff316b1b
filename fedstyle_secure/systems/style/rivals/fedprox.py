"""FedProx (Li et al. 2020, algorithm 2): FedAvg with a pull of each local model back to the shared one."""

from __future__ import annotations

from torch import Tensor

from fedstyle_secure.systems.style.rivals.fedavg import judged
from fedstyle_secure.systems.style.rivals.learner import Learner
from fedstyle_secure.systems.style.rivals.settings import Conditions, Settings
from fedstyle_secure.systems.style.rivals.task import Found, Task


def proximal_steps(learner: Learner, settings: Settings, shared: Tensor) -> Tensor:
    """Steps on the loss plus mu / 2 |w - w_t|^2. The pull sees no picture, so it costs no privacy; in the
    first step of a round it is zero."""
    own = learner.copies(shared)
    for _ in range(settings.steps):
        own = own - settings.rate * (learner.gradient(own) + settings.weight * (own - shared))
    return own


def fedprox(task: Task, settings: Settings, conditions: Conditions) -> Found:
    """FedProx on a task."""
    return judged(task, settings, conditions, proximal_steps)
