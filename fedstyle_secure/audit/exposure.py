"""The works that an attack stands closest to naming, and how its scores lie: files beside a curve's.

A work is as exposed as few held-out works score as high: that share is the false-positive rate at which the
attack would name it. Nobody's picture is in these files; a work's name is where the audit may show pictures.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from attacks.plots import AttackScores, score_figure, write_figure
from fedstyle_secure.audit.exposed_works import exposed_file, histogram_file
from fedstyle_secure.audit.measures import Scored
from fedstyle_secure.audit.scene import Scene
from fedstyle_secure.files import write_json

MOST = 20
"""Works that are listed."""


def write_exposed(scene: Scene, curve: str, scored: Scored, drawn: AttackScores) -> None:
    """Write both files into the audit's folder.

    Args:
        scene: The run.
        curve: File name of the attack's curve.
        scored: What the attack said of each record.
        drawn: The same by membership, as the curve has it.
    """
    home = scene.run.audit_folder
    write_json(home / exposed_file(curve), exposed(scene, scored))
    write_figure(score_figure(drawn, scored.undefended), home / histogram_file(curve))


def exposed(scene: Scene, scored: Scored) -> Mapping[str, Any]:
    """The works that stand out: a row a training work, those first that fewest held-out works reach.

    Returns:
        `works`: at most `MOST` rows with `artist`, `work` (its name, or "" where pictures may not be shown),
        `place` (from 1, among the artist's training works), `score`, `as_high` (held-out works that score as
        high); `members` and `held_out`: how many there are.
    """
    values, known = scored.scores.values, scored.scores.scored
    others = np.sort(values[known & ~scored.is_member])
    rows = []
    for artist in dict.fromkeys(scored.artists.tolist()):
        own = np.flatnonzero((scored.artists == artist) & scored.is_member)
        names = _names(scene, artist, len(own))
        for place, i in enumerate(own):
            if known[i]:
                as_high = len(others) - int(np.searchsorted(others, values[i], side="left"))
                rows.append({
                    "artist": artist, "work": names[place], "place": place + 1, "score": float(values[i]),
                    "as_high": as_high,
                })  # fmt: skip
    rows.sort(key=lambda row: (row["as_high"], -row["score"]))
    return {"works": rows[:MOST], "members": len(rows), "held_out": len(others)}


def _names(scene: Scene, artist: str, count: int) -> tuple[str, ...]:
    """Names of an artist's training works as an attack asked about them."""
    if scene.settings.show_pictures and not scene.withdrawn:
        for works in (scene.works(artist, "train"), scene.tried(artist, "train")):
            if len(works) == count:
                return works.portfolio.names
    return ("",) * count
