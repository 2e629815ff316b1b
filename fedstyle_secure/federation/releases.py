"""What artists release in a round, by kind, tensor and shape: one answer for strategy, record and auditor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fedstyle_secure.config import Config
from fedstyle_secure.federation.sums import RoundSum, round_sum
from fedstyle_secure.federation.vectors import VectorLayout, layout_of
from fedstyle_secure.privacy.plan import METRICS, Plan

Shapes = dict[str, dict[str, tuple[int, ...]]]
"""Kinds of release to tensors' shapes by name."""


@dataclass(frozen=True)
class Layouts:
    """What a run's rounds look like, before anything is in them.

    Attributes:
        config: The settings.
        plan: What is released in which round.
        trained: Shapes of the tensors that train, by name.
        styles: Number of styles.
        dim: Width of a prototype or card.
        artists: Length of the roster.
    """

    config: Config
    plan: Plan
    trained: Mapping[str, tuple[int, ...]]
    styles: int
    dim: int
    artists: int

    def released(self, number: int) -> Shapes:
        """What an artist may release in a round."""
        schedule = self.plan.schedule
        if self.plan.shared is not None:
            return {"sum": {"sum": (self.vector(number).size,)}} if number in schedule.sums else {}
        shapes: Shapes = {}
        if number in schedule.updates:
            shapes["update"] = dict(self.trained)
        if number in schedule.cards:
            shapes["card"] = {"card": (self.dim,)}
        if number in schedule.prototypes:
            shapes["prototypes"] = {"sums": (self.styles * (self.dim + 1),)}
        if number in schedule.metrics:
            shapes["metrics"] = {"counts": (len(METRICS),)}
        return shapes

    def in_clear(self, number: int) -> Shapes:
        """The part of it that does not leave inside an encrypted sum only."""
        summed = self.summed(number)
        kinds = {part.kind for part in summed.parts} if summed else set()
        return {kind: tensors for kind, tensors in self.released(number).items() if kind not in kinds}

    def summed(self, number: int) -> RoundSum | None:
        """What a round sums under encryption; None where it sums nothing."""
        return round_sum(self.config, self.plan, number, self.trained, self.styles, self.dim, self.artists)

    def vector(self, number: int) -> VectorLayout:
        """The layout of an artist's vector, where the unit is the artist."""
        schedule, share = self.plan.schedule, self.config.share
        return layout_of(
            self.trained if number in schedule.updates else {},
            self.styles * (self.dim + 1) if number in schedule.prototypes else 0,
            self.config.privacy.clip_norm,
            share.sgd,
            share.prototypes,
        )
