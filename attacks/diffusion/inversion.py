"""Pictures out of a diffusion model's gradient (GIDM, Huang et al. 2024).

Find pictures whose gradient is the observed one: where times and noises are known, pictures alone; where they
are not, pictures, noises and times together (their GIDM+). The search starts anywhere, without a generator to
begin from, so that what it finds is what the gradient gives away.
"""

from __future__ import annotations

import math
import time as clock
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import get_args

import torch
from torch import Tensor

from attacks.diffusion.gradients import GradientAt, GradientOf, checked_gradient
from attacks.errors import AttackError
from attacks.inversion.objectives import Kind, UpdateDistance, tensor_weights
from attacks.inversion.priors import OutOfRange, TotalVariation
from attacks.inversion.restarts import Descent, Minimum
from attacks.ranges import real, whole
from attacks.results import Budget, Evidence, Progress, generator

_NEAR = 1e-3
"""Distance above which a run that came to rest sits in a poor local minimum."""


@dataclass(frozen=True, eq=False)
class DiffusionInversion:
    """How pictures are searched for.

    Attributes:
        name: Short, for tables.
        distance: `euclidean` where the gradient's scale is known, `cosine` where a clip may have changed it.
        sizes: Numbers of each parameter, in the order of the gradient, so that every one counts for its share
            (`power`); None takes it as a whole.
        power: A parameter of k numbers counts k^power in all; None weighs every number alike.
        smoothness: Weight of the pictures' total variation, >= 0; where draws are unknown, 0.01 helps much.
        noise_weight: Weight, >= 0, of the mean square of unknown noises: they are normal.
        low: What the model takes for 0 of a picture.
        high: What it takes for 1; above `low`.
        descent: The way down.
        relax_times: Move unknown times too, between whole steps: the network must take floating ones. Else
            each restart keeps the times that it begins with, and those of all restarts cover the schedule.
        progress: Told of steps done, steps in all and seconds left; or None.
    """

    name: str = "diffusion inversion"
    distance: Kind = "euclidean"
    sizes: Sequence[int] | None = None
    power: float | None = None
    smoothness: float = 0.0
    noise_weight: float = 1e-2
    low: float = -1.0
    high: float = 1.0
    descent: Descent = field(default_factory=Descent)
    relax_times: bool = False
    progress: Progress | None = None

    def __post_init__(self) -> None:
        if self.distance not in get_args(Kind) or self.distance == "likelihood":
            raise AttackError(f"distance must be euclidean or cosine, not {self.distance!r}")
        real("smoothness", self.smoothness, "[0, inf)")
        real("noise_weight", self.noise_weight, "[0, inf)")
        real("low", self.low, "(-inf, inf)")
        real("high", self.high, "(-inf, inf)")
        if not self.low < self.high:
            raise AttackError(f"low must be below high, not {self.low} and {self.high}")

    def known(
        self, observed: Tensor, gradient_of: GradientOf, shape: tuple[int, ...], budget: Budget, seed: int
    ) -> Evidence:
        """Search for pictures where times and noises are known, in `gradient_of`.

        Args:
            observed: (p,), finite and not zero.
            gradient_of: Differentiable; as the victim made the gradient.
            shape: Of the victim's pictures, (n, c, h, w).
            budget: Steps and restarts.
            seed: Of the starts.
        """
        _check_shape(shape)
        observed = checked_gradient(observed)
        distance = self._distance(observed)

        def data_term(point: Tensor) -> Tensor:
            found = gradient_of(self._to_model(point.view(shape)))
            return distance(self._parted(found, observed))

        draws = generator(seed)
        starts = torch.stack([self._grey(shape, draws) for _ in range(budget.restarts)]).to(observed)
        return self._searched(data_term, starts, shape, 0, budget)

    def unknown(
        self,
        observed: Tensor,
        gradient_at: GradientAt,
        shape: tuple[int, ...],
        views: int,
        steps: int,
        budget: Budget,
        seed: int,
    ) -> Evidence:
        """Search for pictures, noises and times together.

        Args:
            observed: (p,), finite and not zero.
            gradient_at: Differentiable, such as `DiffusionGradient.at`.
            shape: Of the victim's pictures, (n, c, h, w).
            views: Draws of a picture, >= 1.
            steps: Of the schedule, >= 2.
            budget: Steps and restarts; without `relax_times`, restarts are what finds the time.
            seed: Of the starts.
        """
        _check_shape(shape)
        whole("views", views, 1)
        whole("steps", steps, 2)
        observed = checked_gradient(observed)
        distance, pixels, n = self._distance(observed), math.prod(shape), shape[0]
        noises = pixels * views

        def parts(point: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            noise = point[pixels : pixels + noises].view(n, views, *shape[1:])
            times = (point[pixels + noises :].clamp(0, 1) * (steps - 1)).view(n, views)
            return point[:pixels].view(shape), noise, times if self.relax_times else times.round().long()

        def data_term(point: Tensor) -> Tensor:
            pictures, noise, times = parts(point)
            return distance(self._parted(gradient_at(self._to_model(pictures), noise, times), observed))

        draws, restarts = generator(seed), budget.restarts
        starts = []
        for number in range(restarts):
            stretch = (number + torch.rand(n * views, generator=draws)) / restarts
            noise = torch.randn(noises, generator=draws)
            starts.append(torch.cat([self._grey(shape, draws), noise, stretch]))
        return self._searched(data_term, torch.stack(starts).to(observed), shape, noises, budget)

    def _searched(
        self,
        data_term: Callable[[Tensor], Tensor],
        starts: Tensor,
        shape: tuple[int, ...],
        noises: int,
        budget: Budget,
    ) -> Evidence:
        started, pixels = clock.perf_counter(), math.prod(shape)

        def value(point: Tensor) -> Tensor:
            pictures = point[:pixels].view(shape)
            total = data_term(point) + OutOfRange()(pictures)
            if self.smoothness:
                total = total + self.smoothness * TotalVariation()(pictures)
            if noises and self.noise_weight:
                total = total + self.noise_weight * point[pixels : pixels + noises].square().mean()
            return total

        def objective(points: Tensor) -> Tensor:
            return torch.stack([value(point) for point in points])

        found = self.descent.minimise(objective, starts, budget, self.progress)
        best = found.points[found.best]
        if not best.isfinite().all() or not found.values[found.best].isfinite():
            raise AttackError(f"{self.name}: no start has a finite objective")
        with torch.no_grad():
            distance = float(data_term(best))
        rested = bool(found.converged[found.best])
        return Evidence(
            self.name, float(found.values[found.best]), rested and distance <= _NEAR,
            pictures=best[:pixels].view(shape).clamp(0, 1).float(), scores=-found.values,
            history=tuple(found.history.tolist()), seconds=clock.perf_counter() - started,
            notes=self._notes(found, budget, distance, rested),
        )  # fmt: skip

    def _notes(self, found: Minimum, budget: Budget, distance: float, rested: bool) -> tuple[str, ...]:
        notes = [f"distance {distance:.2g} after {found.steps} steps of {budget.restarts} restarts"]
        if not rested:
            notes.append("not converged: the objective still fell; more steps may find more")
        elif distance > _NEAR:
            notes.append("not converged: at rest away from the observed gradient; noise, or a poor start")
        return tuple(notes)

    def _distance(self, observed: Tensor) -> UpdateDistance:
        parts = self._parted(observed, observed)
        return UpdateDistance(self.distance, parts, tensor_weights(parts, self.power))

    def _parted(self, flat: Tensor, observed: Tensor) -> dict[str, Tensor]:
        if flat.shape != observed.shape:
            raise AttackError(
                f"the gradient of pictures is {tuple(flat.shape)}, and what was observed is "
                f"{tuple(observed.shape)}"
            )
        sizes = [len(flat)] if self.sizes is None else list(self.sizes)
        if sum(sizes) != len(flat):
            raise AttackError(f"sizes add up to {sum(sizes)}, and the gradient has {len(flat)} numbers")
        return {str(number): part for number, part in enumerate(flat.split(sizes))}

    def _to_model(self, pictures: Tensor) -> Tensor:
        return self.low + (self.high - self.low) * pictures

    def _grey(self, shape: tuple[int, ...], draws: torch.Generator) -> Tensor:
        return 0.5 + 0.1 * torch.randn(math.prod(shape), generator=draws)


def _check_shape(shape: tuple[int, ...]) -> None:
    if len(shape) != 4 or min(shape) < 1:
        raise AttackError(f"shape must be that of pictures, (n, c, h, w), not {tuple(shape)}")
