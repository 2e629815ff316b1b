"""MOON (Li, He and Song 2021): FedAvg, and each embedding is pulled to what the shared model makes of the
same picture and away from what the artist's previous model made of it."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from fedstyle_secure.systems.style.rivals.fedavg import judged
from fedstyle_secure.systems.style.rivals.learner import Learner
from fedstyle_secure.systems.style.rivals.settings import Conditions, Settings
from fedstyle_secure.systems.style.rivals.task import Found, Task

TEMPERATURE = 0.5
"""The paper's."""


class ModelContrast:
    """Local training of MOON; it remembers the models of the round before.

    An artist's previous model is what it released, noise and all. Where noise is shared no single artist's
    model has noise, so one that hangs on all of its pictures would break the bound on one of them: there the
    previous shared model takes its place.
    """

    def __init__(self, *, shared: bool) -> None:
        """Args: shared: Whether noise is."""
        self._shared = shared
        self._previous: Tensor | None = None

    def __call__(self, learner: Learner, settings: Settings, shared: Tensor) -> Tensor:
        """Steps on the cross-entropy plus mu times the model contrast."""
        own = learner.copies(shared)
        towards = learner.embedded(own)
        away = learner.embedded(own if self._previous is None else self._previous)

        def contrast(embeddings: Tensor) -> Tensor:
            # -log(e^a / (e^a + e^b)) with a, b the two cosines over the temperature.
            gap = ((away - towards) * embeddings).sum(2) / TEMPERATURE
            return settings.weight * F.softplus(gap)

        for _ in range(settings.steps):
            own = own - settings.rate * learner.gradient(own, contrast)
        self._previous = learner.copies(shared) if self._shared else own
        return own


def moon(task: Task, settings: Settings, conditions: Conditions) -> Found:
    """MOON on a task."""
    return judged(task, settings, conditions, ModelContrast(shared=conditions.shared))
