"""Whom private training serves: the run's headline artist by artist, small portfolios first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedstyle_secure.report.page.pieces import Block, Bullets, Line, Para, Piece, Table
from fedstyle_secure.report.run.facts import Facts

AT = "summary.json#/utility/fairness"

_SHOWN = 10
"""Rows from either end of a long table."""

_EXPERIMENTER = (
    "These figures look at every artist's private test records, as all figures of utility do: they belong "
    "to an experiment, and no artist or platform of the protocol sees them. An artist has few test records, "
    "so a single artist's figure is coarse, and the lowest of many is low by chance alone."
)


def whom_it_serves(facts: Facts) -> list[Block]:
    """Means of small and of large portfolios, then the artists by the size of theirs."""
    found = facts.summary["utility"].get("fairness")
    if found is None:
        return [Para(["Nothing was measured artist by artist in this run."], "note")]
    blocks: list[Block] = [Bullets(_sums(facts, found))]
    return [*blocks, *_labels(facts, found), *_artists(facts, found), Para([_EXPERIMENTER], "note")]


def gap(facts: Facts) -> Line:
    """The gap between large and small portfolios, in a sentence; [] where nothing is known of it."""
    found = facts.summary["utility"].get("fairness")
    if found is None:
        return []
    if found["gap_after"] is None:
        return ["Portfolios hardly differ in size, so nothing tells small ones from large ones."]
    return facts.say(
        "Artists with large portfolios have {gap_after:rate} more than those with small ones, where before "
        "any private training it was {gap_before:rate}.",
        at=AT,
    )


def _sums(facts: Facts, found: Mapping[str, Any]) -> list[Line]:
    lines: list[Line] = [
        facts.say(
            f"Artists with {whom} {facts.words.records} to train on, {{artists:whole}} in number: "
            "{after:rate} on average, before any private training {before:rate}.",
            at=f"{AT}/{key}",
        )
        for key, whom in (("smallest", "at most {works:whole}"), ("largest", "at least {works:whole}"))
        if found[key] is not None
    ]
    lines.append(gap(facts))
    lowest, hit = f"{AT}/lowest", f"{AT}/hardest_hit"
    lines.append(facts.say("Lowest of all: {artist:text}, {after:rate}< (before {before:rate})>.", at=lowest))
    if found["hardest_hit"] is not None:
        lines.append(
            facts.say(
                "{fell:whole} of {all:whole count} artists lost by private training. The least gain is that "
                "of {who:text}: {gain:rate}.",
                fell=f"{AT}/fell",
                all=f"{AT}/artists/*/artist",
                who=f"{hit}/artist",
                gain=f"{hit}/gain",
            )
        )
    return lines


def _labels(facts: Facts, found: Mapping[str, Any]) -> list[Block]:
    if not found["labels"]:
        return []
    caption = facts.say(
        "Means over artists by the label of most of their works, the lowest first. Between the lowest and "
        "the highest lie {label_gap_after:rate}, before any private training {label_gap_before:rate}.",
        at=AT,
    )
    rows = [
        facts.row(
            "{label:text} | {artists:whole} | {before:rate} | {after:rate} | {gain:rate}",
            at=f"{AT}/labels/{i}",
        )
        for i in range(len(found["labels"]))
    ]
    head = facts.row("Label | Artists | Before private training | After it | Gain")
    return [Table("fairness-labels", caption, head, rows, frozenset({1, 2, 3, 4}))]


def _artists(facts: Facts, found: Mapping[str, Any]) -> list[Block]:
    told = next((one.told for one in facts.words.figures if one.key == found["figure"]), "the headline")
    number = len(found["artists"])
    caption: list[Piece] = [f"Artists by the size of their portfolio, the smallest first: {told}."]
    shown = list(range(number))
    if number > 2 * _SHOWN:
        shown = [*range(_SHOWN), *range(number - _SHOWN, number)]
        caption += facts.say(
            " Of {all:whole count} artists, those with the smallest and with the largest portfolios are "
            "shown; all are in summary.json.",
            all=f"{AT}/artists/*/artist",
        )
    rows = [
        facts.row(
            "{artist:text} | {works:whole} | {label} | {before:rate|not known} | {after:rate} | "
            "{gain:rate|not known}",
            at=f"{AT}/artists/{i}",
            label=facts.say("{label:text}", at=f"{AT}/artists/{i}") if found["artists"][i]["label"] else "",
        )
        for i in shown
    ]
    head = facts.row(
        f"Artist | Training {facts.words.records} | Label | Before private training | After it | Gain"
    )
    return [Table("fairness", caption, head, rows, frozenset({1, 3, 4, 5}))]
