"""Which optimiser made an update, where the one that is stated did not: tried one after the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from scipy.optimize import minimize_scalar

from attacks.observation import LocalTraining
from attacks.ranges import real

ErrorOf = Callable[[LocalTraining], float]
"""Relative error that a description of the training leaves."""

_MOMENTA = (0.9, 0.5, 0.8, 0.95, 0.99)
_DECAYS = (0.01, 1e-4, 5e-4, 1e-3, 0.05, 0.1)
_BETAS = ((0.9, 0.999), (0.9, 0.99), (0.9, 0.95), (0.8, 0.95), (0.5, 0.999))
_EXACT = 1e-5
"""Error below which no other is tried."""

_PROMISING = 0.5
"""Of the best error so far, below which a value is searched on a line."""


def other_optimiser(error_of: ErrorOf, stated: LocalTraining, largest: float) -> tuple[str, float]:
    """The optimiser that explains an update best, and the error that it leaves.

    Nesterov's momentum, weight decay with and without momentum, schedules, Adam and AdamW at the stated rate
    and at the one that the largest number of the update suggests, as Adam's first steps are as long as its
    rate. Decays and factors that are not among the usual ones are searched on a line.

    Args:
        error_of: Plays a training and says how far it is off.
        stated: What the training was said to be.
        largest: Largest absolute number of the update, > 0.

    Example:
        >>> stated = LocalTraining(0.1, steps=2, epochs=2)
        >>> right = LocalTraining(0.1, steps=2, epochs=2, momentum=0.9, nesterov=True)
        >>> other_optimiser(lambda t: 0.0 if t == right else 1.0, stated, 0.2)
        ("optimiser: SGD with Nesterov's momentum 0.9", 0.0)
    """
    real("largest", largest, "(0, inf)")
    best = ("", math.inf)
    for training in _candidates(stated, largest):
        error = error_of(training)
        if error < best[1]:
            best = (_words(training, stated), error)
        if error <= _EXACT:
            return best
    for name, made, low, high in _lines(stated, largest):
        found = _on_a_line(lambda value, made=made: error_of(made(value)), low, high)  # type: ignore[misc]
        if found[1] < _PROMISING * best[1]:
            best = (f"{name} {found[0]:.4g}", found[1])
        if found[1] <= _EXACT:
            return best
    return best


def _candidates(stated: LocalTraining, largest: float) -> Iterator[LocalTraining]:
    sgd = replace(stated, optimizer="sgd")
    if stated.steps > 1:
        for momentum in dict.fromkeys((stated.momentum, *_MOMENTA)):
            if momentum:
                yield replace(sgd, momentum=momentum, nesterov=True)
        for factors in _schedules(stated.steps):
            yield replace(sgd, schedule=factors)
    for momentum in dict.fromkeys((stated.momentum, 0.9)):
        for decay in _DECAYS:
            yield replace(sgd, momentum=momentum, weight_decay=decay)
            if momentum and stated.steps > 1:
                yield replace(sgd, momentum=momentum, weight_decay=decay, nesterov=True)
    if stated.noise_std:
        return
    plain = replace(stated, momentum=0.0, nesterov=False)
    for rate in dict.fromkeys((stated.learning_rate, _usual(largest), _usual(largest / stated.steps))):
        for betas in _BETAS if stated.steps > 1 else _BETAS[:1]:
            adam = replace(plain, learning_rate=rate, betas=betas, optimizer="adam", weight_decay=0.0)
            yield adam
            for decay in _DECAYS:
                yield replace(adam, optimizer="adamw", weight_decay=decay)
                yield replace(adam, weight_decay=decay)


def _schedules(steps: int) -> Iterator[tuple[float, ...]]:
    """Factors of the usual ones; one that is zero is left away, as no step is then taken."""
    ends = range(steps)
    for factor in (0.5, 0.1, 0.9, 0.95, 0.99):
        yield tuple(factor**k for k in ends)
    yield tuple(1 - k / steps for k in ends)
    yield tuple(0.5 * (1 + math.cos(math.pi * k / steps)) for k in ends)
    yield tuple((k + 1) / steps for k in ends)


def _lines(
    stated: LocalTraining, largest: float
) -> Iterator[tuple[str, Callable[[float], LocalTraining], float, float]]:
    sgd = replace(stated, optimizer="sgd")
    yield "weight decay:", lambda value: replace(sgd, weight_decay=value), 1e-6, 1.0
    if stated.steps > 1:
        powers = range(stated.steps)
        yield (
            "schedule: the learning rate of each step was that of the one before times",
            lambda value: replace(sgd, schedule=tuple(value**k for k in powers)),
            0.05,
            1.5,
        )
    if not stated.noise_std:
        plain = replace(stated, momentum=0.0, nesterov=False, optimizer="adam")
        low, high = largest / stated.steps / 3, 3 * largest
        yield "optimiser: Adam at a learning rate of", lambda v: replace(plain, learning_rate=v), low, high


def _on_a_line(error_at: Callable[[float], float], low: float, high: float) -> tuple[float, float]:
    """The value with the least error between two, by a coarse look at its logarithm and then a fine one."""
    grid = np.linspace(math.log(low), math.log(high), 13)
    errors = [error_at(math.exp(value)) for value in grid]
    k = int(np.argmin(errors))
    ends = float(grid[max(0, k - 1)]), float(grid[min(len(grid) - 1, k + 1)])
    line = minimize_scalar(
        lambda value: error_at(math.exp(value)), bounds=ends, method="bounded", options={"xatol": 1e-9}
    )
    return math.exp(float(line.x)), float(line.fun)


def _usual(rate: float) -> float:
    """The rate of one digit, or of two that end in 5, that is nearest."""
    power = 10.0 ** math.floor(math.log10(rate))
    digits = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0)
    nearest = min(digits, key=lambda digit: abs(digit - rate / power))
    return float(f"{nearest * power:.2g}")


def _words(training: LocalTraining, stated: LocalTraining) -> str:
    """What sets a training apart from the stated one."""
    names = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW"}
    parts = []
    if training.nesterov:
        parts.append(f"Nesterov's momentum {training.momentum:g}")
    elif training.momentum:
        parts.append(f"momentum {training.momentum:g}")
    if training.optimizer != "sgd" and training.learning_rate != stated.learning_rate:
        parts.append(f"learning rate {training.learning_rate:g}")
    if training.optimizer != "sgd" and training.betas != _BETAS[0]:
        parts.append(f"betas {training.betas[0]:g} and {training.betas[1]:g}")
    if training.weight_decay:
        parts.append(f"weight decay {training.weight_decay:g}")
    if training.schedule:
        told = ", ".join(f"{factor:.3g}" for factor in training.schedule[:4])
        parts.append(f"a schedule: rates times {told}{', ...' if len(training.schedule) > 4 else ''}")
    return f"optimiser: {names[training.optimizer]}" + (f" with {', '.join(parts)}" if parts else "")
