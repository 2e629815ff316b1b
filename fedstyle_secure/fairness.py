"""Whom a run serves: its headline by artist, small portfolios first, before and after private training.

A mean over artists hides whom noise costs most: artists with few works, and looks that few share. All of it
is the experimenter's look at private test records, as utility is, and no part of the protocol.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

BY_ARTIST = "by_artist"
"""Key of what `by_artist` gives, in a line of metrics."""

_PARTS = 4
"""Smallest and largest portfolios are those of so many-th of the artists."""


def by_artist(
    shares: Mapping[str, float],
    labels: Mapping[str, str] | None = None,
    before: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """What a system's meter says of single artists, for a line of metrics.

    Args:
        shares: Of each artist's own test records, the headline, in [0, 1]; more is better. An artist without
            any is left out.
        labels: What most of an artist's works are known by, such as a school; "" and none: nothing.
        before: The same shares before what the line is about; without, those of the run's first line that has
            shares stand for it.
    """
    told = {}
    for artist, share in shares.items():
        label = (labels or {}).get(artist, "")
        told[artist] = {
            "share": share,
            **({"label": label} if label else {}),
            **({"before": before[artist]} if before else {}),
        }
    return {BY_ARTIST: told}


def main_label(labels: Sequence[str]) -> str:
    """The label of more than half of the works; "" where there is none.

    Example:
        >>> main_label(["mosaic", "mosaic", "poster"]), main_label(["a", "b"])
        ('mosaic', '')
    """
    label, times = Counter(labels).most_common(1)[0] if labels else ("", 0)
    return label if 2 * times > len(labels) else ""


def paired_gain(told: Mapping[str, Any] | None) -> tuple[float, float] | None:
    """The mean gain over artists and its standard error, from what `fairness` gives; None for fewer than two.

    Example:
        >>> rows = [{"gain": 0.1}, {"gain": 0.3}]
        >>> tuple(round(x, 3) for x in paired_gain({"artists": rows}))
        (0.2, 0.1)
    """
    gains = [row["gain"] for row in (told or {}).get("artists", ()) if row["gain"] is not None]
    if len(gains) < 2:
        return None
    return fmean(gains), stdev(gains) / len(gains) ** 0.5


def fairness(
    lines: Iterable[Mapping[str, Any]], works: Mapping[str, int], figure: str | None
) -> dict[str, Any] | None:
    """What a summary says of single artists; None where its lines say nothing of them.

    The smallest portfolios are those of a quarter of the artists, and all others of the same size; so are the
    largest. Where an artist would be in both, as sizes hardly differ, there are none. Few test records an
    artist make single figures coarse: the lowest of many is low by chance alone.

    Args:
        lines: Of metrics.
        works: Training records of each artist.
        figure: Key of the headline.
    """
    seen = [line[BY_ARTIST] for line in lines if line.get(BY_ARTIST)]
    if not seen:
        return None
    rows = [_row(artist, works[artist], seen[0], told) for artist, told in seen[-1].items()]
    rows.sort(key=lambda row: (row["works"], row["artist"]))
    known = [row for row in rows if row["before"] is not None]
    smallest, largest = _ends(known)
    labels = _labels(known)
    return {
        "figure": figure,
        "artists": rows,
        "smallest": smallest,
        "largest": largest,
        **{
            f"gap_{when}": largest[when] - smallest[when] if smallest and largest else None
            for when in ("before", "after")
        },
        "lowest": min(rows, key=lambda row: row["after"]),
        "hardest_hit": min(known, key=lambda row: row["gain"], default=None),
        "fell": sum(row["gain"] < 0 for row in known),
        "labels": labels,
        **{
            f"label_gap_{when}": max(one[when] for one in labels) - min(one[when] for one in labels)
            if labels
            else None
            for when in ("before", "after")
        },
    }


def _row(
    artist: str, works: int, first: Mapping[str, Mapping[str, Any]], told: Mapping[str, Any]
) -> dict[str, Any]:
    before = told.get("before", first.get(artist, {}).get("share"))
    return {
        "artist": artist,
        "works": works,
        "label": told.get("label", ""),
        "before": before,
        "after": told["share"],
        "gain": None if before is None else told["share"] - before,
    }


def _ends(rows: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Means over the smallest and over the largest portfolios, of rows in order of size."""
    if len(rows) < 2:
        return None, None
    part = max(1, len(rows) // _PARTS)
    least, most = rows[part - 1]["works"], rows[-part]["works"]
    if least >= most:
        return None, None
    few = [row for row in rows if row["works"] <= least]
    many = [row for row in rows if row["works"] >= most]
    return _mean(few) | {"works": least}, _mean(many) | {"works": most}


def _labels(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Means over artists of a label, the lowest first; none where there is but one label."""
    names = sorted({row["label"] for row in rows if row["label"]})
    if len(names) < 2:
        return []
    found = [{"label": name} | _mean([row for row in rows if row["label"] == name]) for name in names]
    return sorted(found, key=lambda one: (one["after"], one["label"]))


def _mean(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    means = {key: fmean(row[key] for row in rows) for key in ("before", "after", "gain")}
    return {"artists": len(rows), **means}
