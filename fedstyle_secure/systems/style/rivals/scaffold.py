"""SCAFFOLD (Karimireddy et al. 2020, algorithm 1, option I): local steps corrected for the artist's drift."""

from __future__ import annotations

from torch import Tensor

from fedstyle_secure.systems.style.rivals.fedavg import judged
from fedstyle_secure.systems.style.rivals.learner import Learner
from fedstyle_secure.systems.style.rivals.settings import Conditions, Settings
from fedstyle_secure.systems.style.rivals.task import Found, Task


def corrections(controls: Tensor) -> Tensor:
    """c - c_i for control variates c_i (artists, p), c their mean: adds up to zero over artists."""
    return controls.mean(0) - controls


class ControlVariates:
    """Local training of SCAFFOLD; it remembers every artist's control variate.

    A control variate is the gradient at the shared model, a second release beside the update. With one
    local step a round, which is all that a shared noise allows, corrections cancel in the sum: what is left
    is FedAvg on half the budget.
    """

    def __init__(self) -> None:
        self._controls: Tensor | None = None

    def __call__(self, learner: Learner, settings: Settings, shared: Tensor) -> Tensor:
        """Steps along the gradient less the artist's control variate plus the mean one."""
        own = learner.copies(shared)
        correction = 0.0 if self._controls is None else corrections(self._controls)
        self._controls = learner.gradient(own)
        for _ in range(settings.steps):
            own = own - settings.rate * (learner.gradient(own) + correction)
        return own


def scaffold(task: Task, settings: Settings, conditions: Conditions) -> Found:
    """SCAFFOLD on a task: control variates are paid for like a step; with one step a round they take half."""
    return judged(task, settings, conditions, ControlVariates(), beside=1)
