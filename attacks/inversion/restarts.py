"""Minimises from many starts at once: one row a restart, all rows in one tensor.

The rows never meet: each has its own step sizes and its own history, so that a restart's result does not
depend on which others it runs beside, up to the rounding of float sums in another order.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from attacks.errors import AttackError
from attacks.ranges import real
from attacks.results import Budget, Progress

Objective = Callable[[Tensor], Tensor]
"""Maps points (r, k) to values (r,), each from its own row alone, differentiable."""

Method = Literal["signed-adam", "adam", "lbfgs"]

_BETAS, _EPSILON = (0.9, 0.999), 1e-8
_MEMORY = 30
_SUFFICIENT = 1e-4
_HALVINGS = 22
"""From a first move of `rate` down to what float32 can still tell from none."""
_WINDOW = 0.1
"""A run is at rest where this last share of its steps improved the objective by less than _REST of it."""
_REST = 0.01


@dataclass(frozen=True, eq=False)
class Minimum:
    """Where the restarts ended.

    Attributes:
        points: The best point that each restart saw, (r, k).
        values: Its objective (r,).
        history: The best restart's objective so far, after each step, (steps,).
        converged: Whether each restart came to rest: nothing smaller lay along its gradient, or it fell by
            less than 1 % over the last tenth of its steps, all of which it was allowed to take; bool (r,).
        steps: Steps taken.
        seconds: Wall time spent.
    """

    points: Tensor
    values: Tensor
    history: Tensor
    converged: Tensor
    steps: int
    seconds: float

    @property
    def best(self) -> int:
        """The restart with the smallest objective."""
        return int(self.values.argmin())


@dataclass(frozen=True)
class Descent:
    """How to go down.

    Attributes:
        method: `signed-adam` steps by the sign of Adam's input (Geiping et al. 2020), `adam` is Kingma and
            Ba 2015, `lbfgs` is Liu and Nocedal 1989 with backtracking to Armijo's condition.
        rate: Step size, > 0, of the two Adams; largest first move of a coordinate for `lbfgs`.
        schedule: `steps` divides Adam's rate by 10 after 3/8, 5/8 and 7/8 of the steps, `cosine` lets it
            fall to zero along a quarter wave.
        box: Coordinates are kept within these bounds by the Adams; None for no bounds.
    """

    method: Method = "lbfgs"
    rate: float = 0.05
    schedule: Literal["steps", "cosine"] = "cosine"
    box: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise AttackError(f"method must be one of {', '.join(get_args(Method))}, not {self.method!r}")
        if self.schedule not in ("steps", "cosine"):
            raise AttackError(f"schedule must be 'steps' or 'cosine', not {self.schedule!r}")
        real("rate", self.rate, "(0, inf)")

    def minimise(
        self, objective: Objective, start: Tensor, budget: Budget, progress: Progress | None = None
    ) -> Minimum:
        """Take `budget.steps` steps from every row of `start` (r, k)."""
        clock = _Clock(budget, progress)
        if self.method == "lbfgs":
            return _lbfgs(self, objective, start, clock)
        return _adam(self, objective, start, clock)

    def rate_at(self, step: int, steps: int) -> float:
        """Adam's rate at step 0, 1, ... of `steps`."""
        if self.schedule == "cosine":
            return self.rate * math.cos(math.pi / 2 * step / steps)
        return self.rate * 0.1 ** sum(step >= share * steps for share in (3 / 8, 5 / 8, 7 / 8))


def joined(parts: Sequence[Minimum]) -> Minimum:
    """Stages that followed each other, as one: the last one's result with all the steps."""
    last = parts[-1]
    return replace(
        last,
        history=torch.cat([part.history for part in parts]),
        steps=sum(part.steps for part in parts),
        seconds=sum(part.seconds for part in parts),
    )


class _Clock:
    """Counts steps, tells the caller, and says when to stop."""

    def __init__(self, budget: Budget, progress: Progress | None) -> None:
        self.budget, self._progress = budget, progress
        self._started = time.perf_counter()

    def seconds(self) -> float:
        return time.perf_counter() - self._started

    def goes_on(self, done: int) -> bool:
        spent, steps = self.seconds(), self.budget.steps
        if self._progress is not None:
            self._progress(done, steps, spent / done * (steps - done))
        return self.budget.seconds is None or spent < self.budget.seconds


class _Best:
    """The best point of each restart so far."""

    def __init__(self, start: Tensor) -> None:
        self.points = start.clone()
        self.values = start.new_full((len(start),), torch.inf)
        self._histories: list[Tensor] = []

    def see(self, points: Tensor, values: Tensor) -> None:
        better = values < self.values
        self.points = torch.where(better[:, None], points, self.points)
        self.values = torch.where(better, values, self.values)

    def close_step(self) -> None:
        self._histories.append(self.values)

    def result(self, clock: _Clock, stuck: Tensor) -> Minimum:
        histories = torch.stack(self._histories)
        earlier = histories[-1 - max(1, math.ceil(_WINDOW * len(histories)))] if len(histories) > 1 else None
        rest = torch.zeros_like(stuck)
        if earlier is not None and len(histories) == clock.budget.steps:
            rest = earlier - self.values <= _REST * self.values.abs()
        best = histories.amin(1)
        return Minimum(self.points, self.values, best, rest | stuck, len(histories), clock.seconds())


def _evaluate(objective: Objective, points: Tensor) -> tuple[Tensor, Tensor]:
    """Values (r,) and gradients (r, k). A row that is not finite counts as infinitely bad."""
    leaf = points.detach().requires_grad_(True)
    values = objective(leaf)
    (gradients,) = torch.autograd.grad(values.sum(), leaf)
    values = values.detach()
    bad = ~(values.isfinite() & gradients.isfinite().all(1))
    return values.masked_fill(bad, torch.inf), gradients.masked_fill(bad[:, None], 0)


def _adam(how: Descent, objective: Objective, start: Tensor, clock: _Clock) -> Minimum:
    x, best = start.clone(), _Best(start)
    mean, square = torch.zeros_like(x), torch.zeros_like(x)
    for step in range(clock.budget.steps):
        values, gradient = _evaluate(objective, x)
        best.see(x, values)
        best.close_step()
        if how.method == "signed-adam":
            gradient = gradient.sign()
        mean = _BETAS[0] * mean + (1 - _BETAS[0]) * gradient
        square = _BETAS[1] * square + (1 - _BETAS[1]) * gradient.square()
        unbiased = mean / (1 - _BETAS[0] ** (step + 1))
        scale = (square / (1 - _BETAS[1] ** (step + 1))).sqrt() + _EPSILON
        x = x - how.rate_at(step, clock.budget.steps) * unbiased / scale
        if how.box is not None:
            x = x.clamp(*how.box)
        if not clock.goes_on(step + 1):
            break
    with torch.no_grad():
        values = objective(x)
    best.see(x, values.masked_fill(~values.isfinite(), torch.inf))
    return best.result(clock, torch.zeros(len(x), dtype=torch.bool))


class _Memory:
    """The last moves and gradient changes of every row, and the direction that they give."""

    def __init__(self) -> None:
        self._moves: list[Tensor] = []
        self._changes: list[Tensor] = []
        self._inverses: list[Tensor] = []

    def keep(self, move: Tensor, change: Tensor) -> None:
        """Rows without positive curvature keep nothing of this step."""
        curvature = (move * change).sum(1)
        good = curvature > 1e-10 * move.norm(dim=1) * change.norm(dim=1)
        self._moves.append(move)
        self._changes.append(change)
        self._inverses.append(torch.where(good, 1 / torch.where(good, curvature, 1), 0))
        if len(self._moves) > _MEMORY:
            for kept in (self._moves, self._changes, self._inverses):
                del kept[0]

    def forget(self, rows: Tensor) -> None:
        """Start those rows (bool) anew."""
        self._inverses = [inverse.masked_fill(rows, 0) for inverse in self._inverses]

    def known(self, rows: int) -> Tensor:
        """Which rows have a history, bool (r,)."""
        return sum((inverse > 0 for inverse in self._inverses), torch.zeros(rows, dtype=torch.bool))

    def direction(self, gradient: Tensor) -> Tensor:
        """Minus the inverse Hessian times the gradient: the two loops of Nocedal 1980."""
        q, shares = gradient.clone(), []
        triples = list(zip(self._moves, self._changes, self._inverses, strict=True))
        scale = gradient.new_ones(len(gradient))
        for _, change, inverse in triples:
            scale = torch.where(inverse > 0, 1 / (inverse * change.square().sum(1)).clamp(min=1e-30), scale)
        for move, change, inverse in reversed(triples):
            share = inverse * (move * q).sum(1)
            q -= share[:, None] * change
            shares.append(share)
        q *= scale[:, None]
        for (move, change, inverse), share in zip(triples, reversed(shares), strict=True):
            q += (share - inverse * (change * q).sum(1))[:, None] * move
        return -q


def _lbfgs(how: Descent, objective: Objective, start: Tensor, clock: _Clock) -> Minimum:
    x, best, memory = start.clone(), _Best(start), _Memory()
    values, gradient = _evaluate(objective, x)
    best.see(x, values)
    stuck = torch.zeros(len(x), dtype=torch.bool)
    for step in range(clock.budget.steps):
        direction = memory.direction(gradient)
        slope = (direction * gradient).sum(1)
        fresh = ~memory.known(len(x)) | (slope >= 0)
        if fresh.any():
            # The first move, and any after the history failed: along the gradient, of a known size.
            largest = gradient.abs().amax(1).clamp(min=1e-30)
            steepest = -gradient * (how.rate / largest)[:, None]
            memory.forget(fresh)
            direction = torch.where(fresh[:, None], steepest, direction)
            slope = (direction * gradient).sum(1)
        size, open_rows = torch.ones_like(values), ~stuck
        new_x, new_values, new_gradient = x.clone(), values.clone(), gradient.clone()
        for _ in range(_HALVINGS):
            rows = open_rows.nonzero()[:, 0]
            if not len(rows):
                break
            tried = x[rows] + size[rows, None] * direction[rows]
            found, slopes = _evaluate(objective, tried)
            accepted = found <= values[rows] + _SUFFICIENT * size[rows] * slope[rows]
            taken = rows[accepted]
            new_x[taken], new_values[taken] = tried[accepted], found[accepted]
            new_gradient[taken] = slopes[accepted]
            open_rows[taken] = False
            size[rows[~accepted]] *= 0.5
        # A row that found no way down along its gradient is at rest; along its history it starts anew.
        stuck |= open_rows & fresh
        memory.forget(open_rows)
        memory.keep(new_x - x, new_gradient - gradient)
        x, values, gradient = new_x, new_values, new_gradient
        best.see(x, values)
        best.close_step()
        if not clock.goes_on(step + 1) or bool(stuck.all()):
            break
    return best.result(clock, stuck)
