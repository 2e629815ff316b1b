"""The figures of a combination of settings over its seeds: the same for the page, for JSON and for CSV."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from fedstyle_secure.audit.findings import Verdict
from fedstyle_secure.report.page.pieces import Figure, Line, Piece
from fedstyle_secure.report.page.say import listed
from fedstyle_secure.report.page.words import ORDER
from fedstyle_secure.report.sweep.facts import Combination, SweepFacts
from fedstyle_secure.sweep.grid import EPSILON, NO_DP, Axis
from fedstyle_secure.sweep.table import AUC, RATE, VIEWS

NO = "no guarantee"

_OVER_SEEDS = ("mean", "min", "max")

_MEASURES: Mapping[str, str] = {
    **{f"{view}.{leak}": "rate" for view in VIEWS for leak in (AUC, RATE)},
    "time.wall_s": "seconds",
    "time.audit_s": "seconds",
}
"""Columns that are averaged over seeds beside the headlines, with how they are printed."""

_WORST = ("", "_low", "_high", "_baseline", "_bound", "_attack", "_view")
"""What is told of the largest figure of all seeds."""

_VERDICTS = tuple(f"{view}.verdict{ending}" for view in VIEWS for ending in ("", "_artwork"))


def name_of(facts: SweepFacts, place: int, axes: Iterable[Axis]) -> Line:
    """A run's points on some axes, cited; `all runs` where there is no axis."""
    return listed(_point(facts, place, axis) for axis in axes) or ["all runs"]


def _point(facts: SweepFacts, place: int, axis: Axis) -> Line:
    point = facts.at([place], f"axis.{axis.name}")
    if axis.name == EPSILON:
        no_dp = facts.sources.value(point) == NO_DP
        return facts.say("{point:text}" if no_dp else "target epsilon {point:text}", point=point)
    name = f"report.json#/axes/{facts.axes.index(axis)}"
    return facts.say("{name:text} {point:text}", name=name, point=point)


def largest(facts: SweepFacts, places: Iterable[int], column: str) -> int | None:
    """The row with the largest value in a column, the first of equal ones; None where none has a value."""
    known = facts.known(places, column)
    return max(known, key=lambda i: facts.rows[i][column]) if known else None


def worst_verdict(facts: SweepFacts, places: Iterable[int], column: str) -> tuple[Verdict, int] | None:
    """The worst verdict in a column, and a row that has it; None where no row has one."""
    known = facts.known(places, column)
    if not known:
        return None
    place = min(known, key=lambda i: ORDER.index(facts.rows[i][column]))
    return facts.rows[place][column], place


def epsilon(facts: SweepFacts, places: Iterable[int], unit: str) -> Piece:
    """The largest epsilon of some finished runs; where one of them has none, that one's."""
    column, places = f"privacy.epsilon_{unit}_max", tuple(places)
    bare = [i for i in places if facts.rows[i][column] is None]
    if bare:
        return facts.sources.figure(facts.at(bare[:1], column), none=NO)
    return facts.sources.figure(facts.at(places, column), "epsilon", "max")


def over_seeds(facts: SweepFacts, places: Iterable[int], column: str, style: str = "rate") -> list[Piece]:
    """Mean, smallest and largest of the rows that have a value; [] where none has."""
    known = facts.known(places, column)
    source = facts.at(known, column)
    return [facts.sources.figure(source, style, rule) for rule in _OVER_SEEDS] if known else []


def figures(facts: SweepFacts, one: Combination) -> dict[str, Piece | None]:
    """Everything about a combination, by name; None where there is no figure."""
    sources, at = facts.sources, facts.at
    found: dict[str, Piece | None] = {
        f"axis.{axis.name}": sources.text(at(one.places[:1], f"axis.{axis.name}")) for axis in facts.varied
    }
    found["runs"] = sources.figure(at(one.places, "cell"), "whole", "count")
    found["finished"] = sources.figure(at(one.done, "cell"), "whole", "count") if one.done else None
    for key in ("privacy.unit", "privacy.delta"):
        found[key] = sources.figure(at(one.places[:1], key))
    for unit in ("artwork", "artist"):
        found[f"privacy.epsilon_{unit}_max"] = epsilon(facts, one.done, unit) if one.done else None
    there = {column.name for column in facts.sweep.table.columns}
    shares = [f"utility.{key}" for one in facts.words.headlines for key in (one.key, one.start)]
    for column, style in (dict.fromkeys(shares, "rate") | dict(_MEASURES)).items():
        if column in there:
            values = over_seeds(facts, one.done, column, style)
            for number, rule in enumerate(_OVER_SEEDS):
                found[f"{column}.{rule}"] = values[number] if values else None
    for column in (f"{view}.{leak}" for view in VIEWS for leak in (AUC, RATE)):
        if column in there:
            found |= dict(_worst(facts, one, column))
    for column in _VERDICTS:
        if column in there:
            verdict = worst_verdict(facts, one.done, column)
            found[column] = None if verdict is None else sources.text(at([verdict[1]], column))
    if "alarms" in there:
        known = facts.known(one.done, "alarms")
        found["alarms"] = sources.figure(at(known, "alarms"), "whole", "sum") if known else None
    return found


def _worst(facts: SweepFacts, one: Combination, column: str) -> Iterator[tuple[str, Piece | None]]:
    """The largest figure over seeds, its interval, baseline and bound, and where it was measured."""
    place = largest(facts, one.done, column)
    for ending in _WORST:
        if f"{column}{ending}" in {c.name for c in facts.sweep.table.columns}:
            at = "" if place is None else facts.at([place], column + ending)
            yield f"{column}.worst{ending}", facts.sources.figure(at, "rate") if at else None
    yield f"{column}.worst_run", None if place is None else facts.sources.text(facts.at([place], "cell"))


def value_of(facts: SweepFacts, piece: Piece | None) -> object:
    """What a figure stands for, in full; None where there is none."""
    return facts.sources.value(piece.source, piece.rule) if isinstance(piece, Figure) else None
