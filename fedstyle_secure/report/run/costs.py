"""What was given away: the ledger with both units, and what each kind of release was protected by."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from fedstyle_secure.privacy.units import Unit
from fedstyle_secure.report.page.pieces import Block, Bullets, Line, Para, Table
from fedstyle_secure.report.page.say import listed
from fedstyle_secure.report.page.sources import escape
from fedstyle_secure.report.run.facts import Facts

_PARAMETERS = ("noise_multiplier", "parameter", "clip_norm", "sampling_rate", "local_steps")


SHOWN = 8
"""Artists whose costs the body of a report shows."""


def spending(facts: Facts, most: int | None = None) -> list[Block]:
    """Epsilon of every artist, for both units; or of so many, those who spent most first."""
    caption = facts.say(
        "What each artist spent at [delta](delta) {summary.json#/privacy/delta}, composed over all releases: "
        "[epsilon](epsilon) for both [units of privacy](unit), rounded up"
    )
    # Over sites an artist states what it released for this run, and its other runs stay its own.
    which = "as it states" if facts.over_sites else "all runs until this one ended"
    unit: Unit = facts.config.privacy.unit
    lifetime = "" if facts.over_sites else f"Per {unit}, all runs until this one ended | "
    head = facts.row(
        f"Artist | Releases, {which} | Epsilon per artwork | Epsilon per artist | {lifetime}Withdrawn"
    )
    everybody = facts.summary["privacy"]["per_artist"]
    shown = list(range(len(everybody)))
    if most is not None and len(shown) > most:
        shown = sorted(shown, key=lambda i: -_spent(everybody[i]))[:most]
        caption += ["; those who spent most. All artists are in the annex."]
    else:
        caption += ["."]
    rows = [
        facts.row(
            "{artist:text} | {releases} | {epsilon_artwork:epsilon|no guarantee} | "
            "{epsilon_artist:epsilon|no guarantee} | "
            + _lifetime(facts, everybody[i]["artist"])
            + "{withdrawn}",
            at=f"summary.json#/privacy/per_artist/{i}",
            releases=_releases(facts, everybody[i]["artist"]),
            withdrawn=facts.withdrawn(i),
        )
        for i in shown
    ]
    key = "spending" if most is None else "spent-most"
    blocks: list[Block] = [
        Table(key, caption, head, rows, frozenset(range(1, len(head) - 1))),
        *_since(facts),
    ]
    if facts.summary["privacy"]["epsilon_artist_max"] is None:
        told = (
            "No figure holds for an artist as a whole. An epsilon per artwork says little about an artist "
            "with many artworks"
        )
        if facts.words.consents:
            told += ", and a style card is published so that its artist is found"
        told += "."
        blocks.append(Para([told], "note"))
    if facts.shares:
        told = (
            "Noise of sums is shared: what these figures say of sums does not hold against platform and "
            "opener together. See “Who holds what”."
        )
        blocks.append(Para([told], "note"))
    return blocks


def _lifetime(facts: Facts, artist: str) -> str:
    """The cell of everything that an artist released, and why there is no guarantee for all of that."""
    if facts.over_sites:
        return ""
    unit = facts.config.privacy.unit
    other: Unit = "artwork" if unit == "artist" else "artist"
    bare = [entry for entry in facts.ledger[artist] or () if not facts.covered(entry, unit)]
    why = f"released for the unit {other}" if all(facts.covered(e, other) for e in bare) else "without noise"
    return f"{{lifetime_epsilon_{unit}:epsilon|no guarantee{f': {why}' if bare else ''}}} | "


def many(facts: Facts) -> bool:
    """Whether there are more artists than the body of a report shows."""
    return len(facts.summary["privacy"]["per_artist"]) > SHOWN


def every_artist(facts: Facts) -> list[Block]:
    """What every artist spent, without what is said of all."""
    return spending(facts)[:1]


def _spent(row: Mapping[str, Any]) -> float:
    found = row["epsilon_artwork"]
    return math.inf if found is None else float(found)


def _releases(facts: Facts, artist: str) -> Line:
    entries = facts.ledger[artist]
    if not entries:
        return ["ledger unreadable" if entries is None else "none"]
    return facts.say("{all:whole count}", all=facts.ledger_pointer(artist, "*", "kind"))


def _since(facts: Facts) -> list[Block]:
    """What artists released after this run ended, in others, as far as their own ledgers lie beside it."""
    rows = [
        facts.say(
            "{whom}: {releases:whole} more releases in other runs; all together now cost per artwork "
            "{epsilon_artwork:epsilon|no guarantee}, per artist {epsilon_artist:epsilon|no guarantee}.",
            at=f"report.json#/since/{escape(artist)}",
            whom=facts.called(artist),
        )
        for artist in facts.own["since"]
    ]
    if rows:
        told = "Since this run ended, these artists have released more. The table does not cover that:"
        return [Para([told], "note"), Bullets(rows)]
    line = facts.say(
        "Artists whose own ledger lies beside the run and was compared with the table: "
        "{report.json#/checked/artists_ledgers:whole}. None of these has released anything since. Of others "
        "nobody here can tell."
    )
    return [Para(line, "note")]


def kinds(facts: Facts) -> list[Block]:
    """Every kind of release of the artist who released most: how often, with which noise."""
    known = {artist: entries for artist, entries in facts.ledger.items() if entries}
    if not known:
        return [Para(["Nothing was released, or no ledger can be read."], "note")]
    artist = max(known, key=lambda name: len(known[name]))
    groups: dict[str, list[int]] = {}
    for i, entry in enumerate(known[artist]):
        groups.setdefault(repr((entry["kind"], entry["mechanism"], entry["parameters"])), []).append(i)
    caption = facts.say(
        "Every release of {whom}, who released most. The parameters are the original ones, so that others "
        "can convert them.",
        whom=facts.called(artist),
    )
    head = facts.row(
        "Release | Times | Mechanism | Parameters | Sensitivity | Covers artwork | Covers artist"
    )
    rows = [_kind(facts, artist, places) for places in groups.values()]
    return [Table("kinds", caption, head, rows, frozenset({1, 4}), frozenset({3}))]


def _kind(facts: Facts, artist: str, places: list[int]) -> list[Line]:
    entry, at = facts.ledger[artist][places[0]], facts.ledger_pointer(artist, places[0])
    return facts.row(
        "{kind} | {times:whole count} | {mechanism:text} | {parameters} | "
        "{sensitivity|nothing was clipped} | {artwork} | {artist}",
        at=at,
        kind=facts.words.of(entry["kind"]),
        times=" ".join(facts.ledger_pointer(artist, i, "kind") for i in places),
        parameters=_parameters(facts, entry["parameters"], f"{at}/parameters"),
        artwork="yes" if facts.covered(entry, "artwork") else "no",
        artist="yes" if facts.covered(entry, "artist") else "no",
    )


def _parameters(facts: Facts, values: Mapping[str, Any], at: str) -> Line:
    told: list[Line] = []
    for place, found in ((at, values), *((f"{at}/{key}", values.get(key)) for key in ("noise", "shared"))):
        if not isinstance(found, dict):
            continue
        for key in [*(k for k in _PARAMETERS if k in found), *(k for k in found if k not in _PARAMETERS)]:
            if isinstance(found[key], int | float | str):
                source, name = f"{place}/{escape(key)}", key.replace("_", " ")
                told.append(facts.say("{name} {value:short}", name=name, value=source))
    return listed(told) or ["none"]
