"""What a system calls its parts and its figures, for tables, plots and reports that know no system."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Figure:
    """A figure of utility.

    Attributes:
        key: In a summary's `utility`, and in lines of metrics.
        kind: What its values are.
        unit: Of measurement.
        meaning: In a sentence, for tables of many runs.
        told: In words, for the table of one run.
    """

    key: str
    kind: Literal["number", "whole"]
    unit: str
    meaning: str
    told: str


@dataclass(frozen=True)
class Headline:
    """A figure that says how good a run is, where the run has it.

    Attributes:
        key: Of the figure, a share in [0, 1]; more is better.
        start: Of the same figure before any private training.
        label: For an axis.
        missing: Why a run may lack it, in a sentence.
        choices: Of the figure that says among how many a guess is made; "": a guess has no such chance.
    """

    key: str
    start: str
    label: str
    missing: str = ""
    choices: str = ""


@dataclass(frozen=True)
class Words:
    """What reports call things, each in the singular.

    Attributes:
        does: What a run makes, for whoever never heard of it: "a shared model that ...".
        model: What trains.
        kinds: A release of each kind, by the kind's name; the name itself where there is no better one.
        records: What artists train on, in the plural.
        moved: What sums over artists make of the public arrays.
        purpose: What somebody publishes under its own name for.
        consents: By what is published so, the setting that says who agreed to it.
        thresholds: Settings that say how many artists a sum needs.
        told: Settings that a report on many runs tells whatever they are.
        figures: Of utility.
        headlines: The first one that a run has is what it is judged by.
        glossary: Words of the system that its reports use: key to name and meaning. A key of the house's own
            glossary takes that word's place.
    """

    does: str = "a shared model"
    model: str = "model"
    kinds: Mapping[str, str] = field(default_factory=dict)
    records: str = "artworks"
    moved: str = "public array"
    purpose: str = "as it agreed to"
    consents: Mapping[str, str] = field(default_factory=dict)
    thresholds: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
    headlines: tuple[Headline, ...] = ()
    glossary: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def of(self, kind: str) -> str:
        """A release of a kind."""
        return "sum over artists" if kind == "sum" else self.kinds.get(kind, kind)

    def headline(self, utility: Mapping[str, Any]) -> Headline | None:
        """What a run with these figures is judged by; None where it has none of the headlines."""
        return next((one for one in self.headlines if utility.get(one.key) is not None), None)
