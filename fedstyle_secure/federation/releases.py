"""What is released in a round, by kind, tensor and shape: one answer for all who ask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fedstyle_secure.config import Config
from fedstyle_secure.errors import PrivacyError
from fedstyle_secure.federation.sums import RoundSum, is_summed, round_sum
from fedstyle_secure.federation.vectors import VectorLayout, VectorPart, size_of
from fedstyle_secure.privacy.kinds import SUM, UPDATE, Kind
from fedstyle_secure.privacy.mechanisms import ArtistSum, Mechanism
from fedstyle_secure.privacy.plan import Plan
from fedstyle_secure.system import Form, Shapes


@dataclass(frozen=True)
class Layouts:
    """What a run's rounds look like, before anything is in them.

    Attributes:
        config: The settings.
        plan: What is released in which round.
        forms: What a release of each kind looks like, by the kind's name.
        artists: Length of the roster.
    """

    config: Config
    plan: Plan
    forms: Mapping[str, Form]
    artists: int

    def __post_init__(self) -> None:
        for kind in self.plan.kinds.values():
            form = self.forms.get(kind.name)
            size = 0 if form is None else size_of(tuple(form.tensors.items()))
            if form is None or (form.groups > 0) != (kind.count > 0) or (form.groups and size % form.groups):
                raise PrivacyError(
                    f"kind {kind.name!r} of the system: its form has {form and form.groups} groups in {size} "
                    "values, which do not go with its count"
                )

    def released(self, number: int) -> dict[str, Shapes]:
        """What an artist may release in a round: shapes by kind and tensor."""
        if self.plan.shared is not None:
            return {SUM: {SUM: (self.vector(number).size,)}} if number in self.plan.sums else {}
        return {kind.name: dict(self.forms[kind.name].tensors) for kind in self.plan.of_round(number)}

    def in_clear(self, number: int) -> dict[str, Shapes]:
        """The part of it that does not leave inside an encrypted sum only."""
        inside = self.summed_kinds(number)
        return {kind: shapes for kind, shapes in self.released(number).items() if kind not in inside}

    def summed_kinds(self, number: int) -> frozenset[str]:
        """Kinds of release that leave inside an encrypted sum only."""
        if self.plan.shared is not None:
            inside = self.config.secure_sum.enabled and number in self.plan.sums
            return frozenset({SUM} if inside else ())
        return frozenset(k.name for k in self.plan.of_round(number) if is_summed(self.config, self.plan, k))

    def summed(self, number: int) -> RoundSum | None:
        """What a round sums under encryption; None where it sums nothing."""
        return round_sum(self.config, self.plan, number, self.forms, self.artists)

    def vector(self, number: int) -> VectorLayout:
        """The layout of an artist's vector, where the unit is the artist."""
        return VectorLayout(tuple(self._part(kind) for kind in self.plan.of_round(number)))

    def mechanisms(self, number: int) -> dict[str, Mechanism]:
        """The mechanism of each release of a round, by kind."""
        if self.plan.shared is not None:
            return {SUM: self.shared(number)} if number in self.plan.sums else {}
        return {kind.name: kind.mechanism for kind in self.plan.of_round(number)}

    def shared(self, number: int) -> ArtistSum:
        """The mechanism of a round's sum, where the unit is the artist."""
        return self.plan.shared_for(self.vector(number).size)

    @property
    def integers(self) -> frozenset[str]:
        """Kinds whose values are integers."""
        kinds = self.plan.kinds.values()
        return frozenset({SUM, *(kind.name for kind in kinds if kind.integer or kind.shared is not None)})

    def _part(self, kind: Kind) -> VectorPart:
        bound = kind.mechanism.sensitivity("add-remove")
        return VectorPart(
            kind.name,
            tuple(sorted(self.forms[kind.name].tensors.items())),
            self.config.privacy.clip_norm if kind.name == UPDATE else bound,
            kind.share,
        )
