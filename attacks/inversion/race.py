"""A race of inversion attacks: short stages of each, and most of the budget to the one that comes nearest.

No one way down is best for every model. On smooth activations L-BFGS with what a linear layer gives away is
twenty decibels ahead of signed Adam; on ReLU, whose gradients jump, it ends where nothing is to be seen.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from attacks.errors import AttackError
from attacks.inversion.optimisation import (
    STRONGEST,
    GradientInversion,
    Search,
    bottleneck_inversion,
    inverting_gradients,
)
from attacks.inversion.priors import Pixels
from attacks.observation import Capability, Observation
from attacks.ranges import real
from attacks.results import Budget, Evidence, Progress


@dataclass(frozen=True, eq=False)
class InversionRace:
    """Several `GradientInversion`s on one budget.

    In every heat each contender goes on from where it is, for its share of the steps and of the CPU seconds
    where the budget has a limit. What is left goes to who would come nearest to the update if distances went
    on falling by the same power of the steps: L-BFGS is often nearer at first, and stays there. Where that
    one gets stuck far from the update, the next one takes what it did not use; the nearest is handed over.
    Nearness is one for all: 1 - cosine over all tensors, each counted by its size, of the pictures in [0, 1].
    It is the evidence's objective; the history is of the winner's own objective.

    Attributes:
        name: Short, for tables.
        contenders: Two or more, with names of their own.
        heats: Share of the budget, in (0, 1), that every contender gets in each heat; together below 1.
        decisive: A contender this many times nearer than all others, > 1, needs no further heat.
        progress: Told of steps done, steps in all and seconds left; or None.
    """

    name: str
    contenders: Sequence[GradientInversion]
    heats: Sequence[float] = (0.05, 0.1)
    decisive: float = 20.0
    progress: Progress | None = None

    def __post_init__(self) -> None:
        names = {one.name for one in self.contenders}
        if len(self.contenders) < 2 or len(names) < len(self.contenders):
            raise AttackError(f"{self.name}: contenders must be two or more, with names of their own")
        for share in self.heats:
            real(f"{self.name}: a share of heats", share, "(0, 1)")
        if not self.heats or sum(self.heats) * len(self.contenders) >= 1:
            raise AttackError(f"{self.name}: heats must be at least one, and leave some of the budget")
        real(f"{self.name}: decisive", self.decisive, "(1, inf)")

    @property
    def requires(self) -> frozenset[Capability]:
        return frozenset().union(*(one.requires for one in self.contenders))

    def each(self, **changes: object) -> InversionRace:
        """The same race with attributes of every contender changed, such as `choices`."""
        changed = tuple(replace(one, **changes) for one in self.contenders)  # type: ignore[arg-type]
        return replace(self, contenders=changed)

    def run(self, observation: Observation, budget: Budget, seed: int) -> Evidence:
        """Race. The seed draws every contender's starts, the same ones for all.

        Where there are fewer steps than a heat and a finish take, the first contender has them alone.

        Raises:
            AttackError: A contender cannot run on the observation, or has more stages than there are steps.
        """
        started = time.perf_counter()
        stages = [len(one.anneal) for one in self.contenders]
        if budget.steps < sum(stages) + max(stages):
            alone = replace(self.contenders[0], progress=self.progress).run(observation, budget, seed)
            notes = (f"too few steps for a race: {alone.attack} alone", *alone.notes)
            others = tuple(one.name for one in self.contenders[1:])
            return replace(alone, attack=self.name, notes=notes, others=others)
        course = _Course(self, observation, budget, seed)
        for number in range(len(self.heats)):
            if not course.heat(number):
                break
        winner = course.finish()
        evidence = winner.evidence()
        others = tuple(one.attack.name for one in course.searches if one is not winner)
        told = [f"{one.attack.name} at {one.common():.2g}" for one in course.searches]
        notes = (f"{winner.attack.name} came nearest: distances {', '.join(told)}", *evidence.notes)
        return replace(
            evidence, attack=self.name, objective=winner.common(), notes=notes, others=others,
            seconds=time.perf_counter() - started,
        )  # fmt: skip


class _Course:
    """One race under way."""

    def __init__(self, race: InversionRace, observation: Observation, budget: Budget, seed: int) -> None:
        self._race, self._budget = race, budget
        self._clock, self._done = time.thread_time(), 0
        self.searches = [Search(one, observation, budget.restarts, seed) for one in race.contenders]
        self._fewest = [len(one.anneal) for one in race.contenders]
        self._reached: list[list[float]] = [[] for _ in race.contenders]

    def heat(self, number: int) -> bool:
        """Let each go on for its share; whether the race is still open after that."""
        share = self._race.heats[number]
        steps = [max(few, int(share * self._budget.steps)) for few in self._fewest]
        if number and self._left() < sum(steps) + max(self._fewest):
            return False
        for k, one in enumerate(self.searches):
            if not one.stuck:
                self._go(k, steps[k], share)
        for seen, one in zip(self._reached, self.searches, strict=True):
            seen.append(one.common())
        nearest, second = sorted(seen[-1] for seen in self._reached)[:2]
        return second < self._race.decisive * nearest

    def finish(self) -> Search:
        """Give the rest to who promises most, and to the next where that one is stuck far from the update."""
        for k in sorted(range(len(self.searches)), key=self._promise):
            one, share = self.searches[k], 1.0
            if one.stuck and one.evidence().converged:
                break
            if self._budget.seconds is not None:
                share = max(1 - (time.thread_time() - self._clock) / self._budget.seconds, 0.0)
            if not one.stuck and self._left() >= self._fewest[k] and share > 0:
                self._go(k, self._left(), share)
            if not one.stuck or one.evidence().converged:
                break
        return min(self.searches, key=Search.common)

    def _promise(self, k: int) -> float:
        """Its distance at the end, if it fell on by the power of its steps of the last heat."""
        *before, last = self._reached[k]
        if not before or not before[-1] > 0:
            return last
        *_, earlier, now = accumulate(self._race.heats[: len(before) + 1])
        rest = 1 - len(self.searches) * now
        power = math.log1p(rest / now) / math.log(now / earlier)
        return float(last * (last / before[-1]) ** power)

    def _left(self) -> int:
        return self._budget.steps - self._done

    def _go(self, k: int, steps: int, share: float) -> None:
        limit = None if self._budget.seconds is None else share * self._budget.seconds
        self._done += self.searches[k].go(Budget(steps, seconds=limit), self._told()).steps

    def _told(self) -> Progress | None:
        """Progress of one stage, told as that of the whole."""
        tell, done, of = self._race.progress, self._done, self._budget.steps
        if tell is None:
            return None

        def told(step: int, _: int, __: float) -> None:
            now, spent = done + step, time.thread_time() - self._clock
            tell(now, of, spent / now * (of - now))

        return told


def strong_inversion(
    smoothness: float = 5e-3, public: bool = True, progress: Progress | None = None
) -> InversionRace:
    """The strongest we know against an undefended client: `bottleneck_inversion` against signed Adam.

    The second one is Inverting Gradients (Geiping et al. 2020) from a rougher start, at the rate that was
    best on ReLU nets, with the total variation of all colours together. It jumps out of the many poor minima
    that L-BFGS stays in.

    Args:
        smoothness: Weight of the total variation, >= 0; signed Adam takes four times as much.
        public: Whether to learn from the observation's public pictures, which must then be there.
        progress: Told of the steps.
    """
    smooth = bottleneck_inversion(smoothness, public)
    signed = replace(
        inverting_gradients(4 * smoothness, rate=0.05),
        name="plain cosine and signed Adam",
        canvas=Pixels(0.5),
        coupled=True,
        survivors=1,
        contrast=1e-2 if public else 0.0,
    )
    return InversionRace(STRONGEST, (smooth, signed), progress=progress)
