"""What the platform does with the artists' mean update. It costs no privacy: it sees what was released only.

Adaptive server optimisers for federated learning: Reddi et al. 2021 ("FedAdam"). Known noise is taken out of
the second moment before it divides (Tang et al. 2023, "DP-AdamBC"), or it would only shorten all steps alike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from fedstyle_secure.config import ServerTrainingSection
from fedstyle_secure.privacy.shrinkage import signal_share
from fedstyle_secure.system import Figures, State, Summed, moved

FIRST, SECOND = "adam.first", "adam.second"
"""Names of the two moments among what is public."""

_BETAS = (0.9, 0.99)
_LEAST = 0.1
"""Of the mean second moment: what remains in a value once noise is taken out counts as that much at least."""

_FAINT = 1 / 16
"""Of the noise's energy: signal fainter than this counts as that much, so that noise is not blown up."""

_ENOUGH, _SURE = 0.05, 3.0
"""Share of an update's energy that must be no noise, by so many deviations; below, steps are shortened in
proportion, down to none: where records are few, noise would undo what the public start can."""


def first_moments(training: ServerTrainingSection, size: int) -> dict[str, np.ndarray]:
    """What the platform's optimiser keeps between rounds, at its beginning, by name: of so many values. It
    follows from what was released, so artists may be sent it."""
    if training.server_optimizer == "mean":
        return {}
    return {name: np.zeros(size, np.float32) for name in (FIRST, SECOND)}


def stepped(
    state: State, summed: Summed, training: ServerTrainingSection, rate: float
) -> tuple[State, Figures]:
    """The state after the artists' updates of a round.

    Args:
        state: Before; its public part has the moments.
        summed: Their updates.
        training: Which optimiser.
        rate: adam: its step size.
    """
    if training.server_optimizer == "mean":
        return moved(state, summed)
    mean = {name: array / summed.artists for name, array in summed.arrays.items()}
    # Updates begin in round 1.
    noise = summed.deviation / summed.artists
    step = adam(state.trained, (state.public[FIRST], state.public[SECOND]), mean, noise, rate, state.round)
    public = {**state.public, FIRST: step.first, SECOND: step.second}
    return replace(state, trained=step.trained, public=public), {"update_kept": step.kept}


def mean_told(before: State, after: State) -> dict[str, np.ndarray] | None:
    """The artists' mean update of a round, as the moments before and after it tell whoever was sent both;
    float32 by name. None where the platform keeps none, and the weights moved by the mean itself."""
    if FIRST not in before.public:
        return None
    way = after.public[FIRST].astype(np.float64) - _BETAS[0] * before.public[FIRST]
    names = sorted(before.trained)
    ends = np.cumsum([before.trained[name].size for name in names])
    parts = np.split((way / (1 - _BETAS[0])).astype(np.float32), ends[:-1])
    return {name: part.reshape(before.trained[name].shape) for name, part in zip(names, parts, strict=True)}


@dataclass(frozen=True, eq=False)
class Step:
    """A step of Adam.

    Attributes:
        trained: float32 by name.
        first: float32 (p,), in order of the sorted names.
        second: float32 (p,).
        kept: Share of the update's energy that is no noise.
    """

    trained: dict[str, np.ndarray]
    first: np.ndarray
    second: np.ndarray
    kept: float


def adam(
    trained: Mapping[str, np.ndarray],
    moments: tuple[np.ndarray, np.ndarray],
    mean: Mapping[str, np.ndarray],
    deviation: float,
    rate: float,
    number: int,
) -> Step:
    """
    Args:
        trained: Weights, float32 by name.
        moments: After the step before; zeros before the first.
        mean: The artists' mean update, by name: the way to go, not the gradient.
        deviation: Of its noise, in each value.
        rate: Step size.
        number: Of the step, from 1.
    """
    names = sorted(trained)
    way = np.concatenate([np.asarray(mean[name], np.float64).ravel() for name in names])
    first = _BETAS[0] * moments[0] + (1 - _BETAS[0]) * way
    second = _BETAS[1] * moments[1] + (1 - _BETAS[1]) * np.square(way)
    # Both begin at zero, which the first steps are corrected for.
    signal = second / (1 - _BETAS[1] ** number) - deviation**2
    floor = max(_LEAST * float(signal.mean()), _FAINT * deviation**2, 1e-30)
    kept = float(signal_share(way, deviation))
    # By chance alone the energy of noise is off by a share of sqrt(2 / values), one deviation.
    sure = kept - _SURE * math.sqrt(2 / way.size) if deviation else kept
    length = rate * min(1.0, max(0.0, sure / _ENOUGH))
    step = length * (first / (1 - _BETAS[0] ** number)) / np.sqrt(np.maximum(signal, floor))
    moved, start = {}, 0
    for name in names:
        part = step[start : start + trained[name].size].reshape(trained[name].shape)
        moved[name] = (trained[name] + part).astype(np.float32)
        start += trained[name].size
    return Step(moved, first.astype(np.float32), second.astype(np.float32), kept)
