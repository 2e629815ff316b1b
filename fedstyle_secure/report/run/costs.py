"""What was given away: the ledger with both units, and what each kind of release was protected by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedstyle_secure.report.page.pieces import Block, Bullets, Line, Para, Piece, Table, Term
from fedstyle_secure.report.page.sources import escape
from fedstyle_secure.report.run.facts import Facts

_KINDS = {
    "update": "model update",
    "card": "style card",
    "prototypes": "prototype sum",
    "metrics": "noisy counts",
    "sum": "sum over artists",
}
_PARAMETERS = ("noise_multiplier", "parameter", "clip_norm", "sampling_rate", "local_steps")
_NO = "no guarantee"


def spending(facts: Facts) -> list[Block]:
    """Epsilon of every artist, for both units."""
    figure = facts.sources.figure
    rows: list[list[Line]] = []
    for i, row in enumerate(facts.summary["privacy"]["per_artist"]):
        at, entries = f"summary.json#/privacy/per_artist/{i}", facts.ledger[row["artist"]]
        releases: Piece = "ledger unreadable"
        if entries is not None:
            releases = (
                figure(facts.ledger_pointer(row["artist"], "*", "kind"), "whole", "count")
                if entries
                else "none"
            )
        rows.append(
            [
                [facts.sources.text(f"{at}/artist")],
                [releases],
                [figure(f"{at}/epsilon_artwork", "epsilon", none=_NO)],
                [figure(f"{at}/epsilon_artist", "epsilon", none=_NO)],
                [figure(f"{at}/lifetime_epsilon_artwork", "epsilon", none=_NO)],
                [facts.withdrawn(i)],
            ]
        )
    caption: Line = [
        "What each artist spent at ",
        Term("delta", "delta"),
        " ",
        figure("summary.json#/privacy/delta"),
        ", composed over all releases: ",
        Term("epsilon", "epsilon"),
        " for both ",
        Term("units of privacy", "unit"),
        ", rounded up.",
    ]
    head: list[Line] = [
        ["Artist"],
        ["Releases, all runs until this one ended"],
        ["Epsilon per artwork"],
        ["Epsilon per artist"],
        ["Per artwork, all runs until this one ended"],
        ["Withdrawn"],
    ]
    blocks: list[Block] = [Table("spending", caption, head, rows, frozenset({1, 2, 3, 4})), *_since(facts)]
    if facts.summary["privacy"]["epsilon_artist_max"] is None:
        blocks.append(
            Para(
                [
                    "No figure holds for an artist as a whole. An epsilon per artwork says little about an "
                    "artist "
                    "with many artworks, and a style card is published so that its artist is found."
                ],
                "note",
            )
        )
    return blocks


def _since(facts: Facts) -> list[Block]:
    """What artists released after this run ended, in others, as far as their own ledgers lie beside it."""
    figure = facts.sources.figure
    rows: list[Line] = []
    for artist in facts.own["since"]:
        at = f"report.json#/since/{escape(artist)}"
        rows.append(
            [
                facts.called(artist),
                ": ",
                figure(f"{at}/releases", "whole"),
                " more releases in other runs; all together now cost per artwork ",
                figure(f"{at}/epsilon_artwork", "epsilon", none=_NO),
                ", per artist ",
                figure(f"{at}/epsilon_artist", "epsilon", none=_NO),
                ".",
            ]
        )
    if rows:
        told = "Since this run ended, these artists have released more. The table does not cover that:"
        return [Para([told], "note"), Bullets(rows)]
    compared = figure("report.json#/checked/artists_ledgers", "whole")
    line: Line = [
        "Artists whose own ledger lies beside the run and was compared with the table: ",
        compared,
        ". None of these has released anything since. Of others nobody here can tell.",
    ]
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
    figure = facts.sources.figure
    rows: list[list[Line]] = []
    for places in groups.values():
        first = known[artist][places[0]]
        at = facts.ledger_pointer(artist, places[0])
        every = " ".join(facts.ledger_pointer(artist, i, "kind") for i in places)
        rows.append(
            [
                [_KINDS.get(first["kind"], first["kind"])],
                [figure(every, "whole", "count")],
                [facts.sources.text(f"{at}/mechanism")],
                _parameters(facts, first["parameters"], f"{at}/parameters"),
                [figure(f"{at}/sensitivity", none="nothing was clipped")],
                ["yes" if facts.covered(first, "artwork") else "no"],
                ["yes" if facts.covered(first, "artist") else "no"],
            ]
        )
    caption: Line = [
        "Every release of ",
        facts.called(artist),
        ", who released most. The parameters are the original ones, so that others can convert them.",
    ]
    head: list[Line] = [
        ["Release"],
        ["Times"],
        ["Mechanism"],
        ["Parameters"],
        ["Sensitivity"],
        ["Covers artwork"],
        ["Covers artist"],
    ]
    return [Table("kinds", caption, head, rows, frozenset({1, 4}), frozenset({3}))]


def _parameters(facts: Facts, values: Mapping[str, Any], at: str) -> Line:
    line: list[Piece] = []
    for place, found in ((at, values), (f"{at}/noise", values.get("noise"))):
        if not isinstance(found, dict):
            continue
        for key in [*(k for k in _PARAMETERS if k in found), *(k for k in found if k not in _PARAMETERS)]:
            if isinstance(found[key], int | float | str):
                line += [", "] * bool(line) + [key.replace("_", " ") + " "]
                line += [facts.sources.figure(f"{place}/{escape(key)}")]
    return line or ["none"]
