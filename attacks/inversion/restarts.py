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
_SHORTEST = 2.0**-22
"""Share of a first move of `rate` below which float32 can no longer tell a move from none."""
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
            less than 1 % over the last tenth of its steps and its budget is spent; bool (r,).
        stuck: Whether nothing smaller lay along its gradient, so that more steps are in vain; bool (r,).
        steps: Steps taken: each is one evaluation of the objective and its gradient, whatever the method.
        seconds: CPU time spent, of this thread.
    """

    points: Tensor
    values: Tensor
    history: Tensor
    converged: Tensor
    stuck: Tensor
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
        schedule: `steps` divides Adam's rate by 10 after 3/8, 5/8 and 7/8 of the budget, `cosine` lets it
            fall to zero along a quarter wave. What is spent of the budget is the share of its steps or of
            its seconds, whichever is more, so that rates have fallen when the time is up.
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
        """Take `budget.steps` steps from every row of `start` (r, k).

        A step is one evaluation of the objective and its gradient, so that steps of all methods cost alike:
        where `lbfgs` refuses a move, the shorter one that it tries next is a step of its own.
        """
        clock = _Clock(budget, progress)
        if self.method == "lbfgs":
            return _lbfgs(self, objective, start, clock)
        return _adam(self, objective, start, clock)

    def rate_at(self, spent: float) -> float:
        """Adam's rate after a share of the budget, in [0, 1]."""
        if self.schedule == "cosine":
            return self.rate * math.cos(math.pi / 2 * spent)
        return self.rate * 0.1 ** sum(spent >= share for share in (3 / 8, 5 / 8, 7 / 8))


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
        self._started = time.thread_time()

    def seconds(self) -> float:
        return time.thread_time() - self._started

    def share(self, done: int) -> float:
        """How much of the budget is spent, in [0, 1]."""
        timed = 0.0 if self.budget.seconds is None else self.seconds() / self.budget.seconds
        return min(max(done / self.budget.steps, timed), 1.0)

    def goes_on(self, done: int) -> bool:
        if self._progress is not None:
            self._progress(done, self.budget.steps, self.seconds() / done * (self.budget.steps - done))
        return self.share(done) < 1


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
        if earlier is not None and clock.share(len(histories)) == 1:
            rest = earlier - self.values <= _REST * self.values.abs()
        best = histories.amin(1)
        return Minimum(self.points, self.values, best, rest | stuck, stuck, len(histories), clock.seconds())


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
        x = x - how.rate_at(clock.share(step)) * unbiased / scale
        if how.box is not None:
            x = x.clamp(*how.box)
        if not clock.goes_on(step + 1):
            break
    with torch.no_grad():
        values = objective(x)
    best.see(x, values.masked_fill(~values.isfinite(), torch.inf))
    return best.result(clock, torch.zeros(len(x), dtype=torch.bool))


class _Memory:
    """The last moves and gradient changes of every row, and the direction that they give.

    A ring for each row: a row's next pair goes where its oldest was, whatever the other rows did.
    """

    def __init__(self, points: Tensor) -> None:
        rows, numbers = points.shape
        self._moves = points.new_zeros(_MEMORY, rows, numbers)
        self._changes = points.new_zeros(_MEMORY, rows, numbers)
        self._inverses = points.new_zeros(_MEMORY, rows)
        self._kept = torch.zeros(rows, dtype=torch.long)

    def keep(self, rows: Tensor, move: Tensor, change: Tensor) -> None:
        """Pairs (m, k) of some rows (m,); rows without positive curvature keep nothing of this step."""
        curvature = (move * change).sum(1)
        good = curvature > 1e-10 * move.norm(dim=1) * change.norm(dim=1)
        rows, place = rows[good], self._kept[rows[good]] % _MEMORY
        self._moves[place, rows], self._changes[place, rows] = move[good], change[good]
        self._inverses[place, rows] = 1 / curvature[good]
        self._kept[rows] += 1

    def forget(self, rows: Tensor) -> None:
        """Start those rows (bool) anew."""
        self._inverses[:, rows] = 0
        self._kept[rows] = 0

    def known(self) -> Tensor:
        """Which rows have a history, bool (r,)."""
        return self._kept > 0

    def direction(self, gradient: Tensor) -> Tensor:
        """Minus the inverse Hessian times the gradient: the two loops of Nocedal 1980."""
        q, shares, every = gradient.clone(), [], torch.arange(len(gradient))
        places = [(self._kept - back) % _MEMORY for back in range(1, 1 + min(_MEMORY, int(self._kept.max())))]
        triples = [(self._moves[p, every], self._changes[p, every], self._inverses[p, every]) for p in places]
        for move, change, inverse in triples:
            share = inverse * (move * q).sum(1)
            q -= share[:, None] * change
            shares.append(share)
        if triples:
            _, change, inverse = triples[0]
            scale = 1 / (inverse * change.square().sum(1)).clamp(min=1e-30)
            q *= torch.where(inverse > 0, scale, 1)[:, None]
        for (move, change, inverse), share in zip(reversed(triples), reversed(shares), strict=True):
            q += (share - inverse * (change * q).sum(1))[:, None] * move
        return -q


def _lbfgs(how: Descent, objective: Objective, start: Tensor, clock: _Clock) -> Minimum:
    x, best, memory = start.clone(), _Best(start), _Memory(start)
    values, gradient = _evaluate(objective, x)
    best.see(x, values)
    direction, slope, size = torch.zeros_like(x), torch.zeros_like(values), torch.ones_like(values)
    stuck, fresh = (torch.zeros(len(x), dtype=torch.bool) for _ in range(2))
    turning = ~stuck
    for step in range(clock.budget.steps):
        if turning.any():
            new = memory.direction(gradient)
            new_slope = (new * gradient).sum(1)
            anew = turning & (~memory.known() | (new_slope >= 0))
            # The first move, and any after the history failed: along the gradient, of a known size.
            steepest = -gradient * (how.rate / gradient.abs().amax(1).clamp(min=1e-30))[:, None]
            memory.forget(anew)
            new = torch.where(anew[:, None], steepest, new)
            direction = torch.where(turning[:, None], new, direction)
            slope = torch.where(turning, (new * gradient).sum(1), slope)
            fresh = torch.where(turning, anew, fresh)
            size = size.masked_fill(turning, 1)
        rows = (~stuck).nonzero()[:, 0]
        tried = x[rows] + size[rows, None] * direction[rows]
        found, slopes = _evaluate(objective, tried)
        accepted = found <= values[rows] + _SUFFICIENT * size[rows] * slope[rows]
        taken, idle = rows[accepted], rows[accepted & (found >= values[rows])]
        memory.keep(taken, tried[accepted] - x[taken], slopes[accepted] - gradient[taken])
        x[taken], values[taken], gradient[taken] = tried[accepted], found[accepted], slopes[accepted]
        refused, above = rows[~accepted], found[~accepted] - values[rows[~accepted]]
        size[refused] *= _shorter(size[refused] * slope[refused], above)
        # A row that found no way down along its gradient is at rest; along its history it starts anew.
        out = size < _SHORTEST
        out[idle] = True
        stuck |= out & fresh
        memory.forget(out)
        turning = out.clone()
        turning[taken] = True
        best.see(x, values)
        best.close_step()
        if not clock.goes_on(step + 1) or bool(stuck.all()):
            break
    return best.result(clock, stuck)


def _shorter(promised: Tensor, found: Tensor) -> Tensor:
    """Factors in [1/10, 1/2] on refused moves: to the lowest point of the parabola through what is known.

    Args:
        promised: Change that the slope alone would give, (m,), < 0.
        found: Change that the move gave, (m,); may be infinite.

    (Nocedal and Wright 2006, eq. 3.57-3.58.)
    """
    return (-promised / (2 * (found - promised))).clamp(0.1, 0.5)
