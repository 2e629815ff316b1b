"""What a round makes of the state: sums of what artists released, and what the system makes of each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fedstyle_secure.federation.groups import CROWD, contributes, weight_stands_out
from fedstyle_secure.federation.protocol import Reply
from fedstyle_secure.federation.releases import Layouts
from fedstyle_secure.federation.summing import Opened
from fedstyle_secure.federation.vectors import flatten
from fedstyle_secure.galleries.base import Portfolio
from fedstyle_secure.privacy.kinds import SUM, Kind
from fedstyle_secure.system import AnySystem, Arrays, Figures, State, Summed


@dataclass(frozen=True, eq=False)
class Taken:
    """A round, taken.

    Attributes:
        state: The next one.
        sums: What was summed, by kind.
        figures: Of the round.
    """

    state: State
    sums: Mapping[str, Summed]
    figures: Figures


def take(
    system: AnySystem,
    layouts: Layouts,
    state: State,
    replies: Sequence[Reply],
    opened: Opened | None,
    public: Sequence[Portfolio],
) -> Taken:
    """The state after a round. Post-processing of what was released, so it costs nothing.

    Args:
        system: What is learned.
        layouts: What was to be released.
        state: What the artists were sent.
        replies: Theirs, in an order that does not hang on the engine: the same order gives the same bits.
        opened: The opened sum of the round; None where there is none.
        public: The platform's own portfolios.
    """
    number = state.round
    figures: Figures = {}
    sums = _sums(layouts, number, replies, opened)
    now = system.forget(state, [reply.artist for reply in replies if reply.withdrawn])
    for kind in layouts.plan.of_round(number):
        if kind.leaves == "named" and layouts.plan.shared is None:
            for reply in replies:
                if kind.name in reply.arrays:
                    now = system.publish(now, kind, reply.artist, reply.arrays[kind.name])
        elif kind.name in sums:
            now, told = system.take(now, kind, sums[kind.name], public)
            figures |= told
    return Taken(replace(now, round=number + 1), sums, figures)


def _sums(
    layouts: Layouts, number: int, replies: Sequence[Reply], opened: Opened | None
) -> dict[str, Summed]:
    """By kind, what artists released in all: added up here, or opened."""
    if layouts.plan.shared is not None:
        return _shared(layouts, number, replies, opened)
    summed = layouts.summed(number)
    inside = {} if opened is None or summed is None else summed.decode(opened.total)
    found = {}
    for kind in layouts.plan.of_round(number):
        if kind.leaves == "named":
            continue
        groups = layouts.forms[kind.name].groups
        if kind.name in inside and opened is not None:
            kept = opened.kept if groups else np.zeros(0, bool)
            if groups and kind.shared is not None:
                flat = flatten(tuple(sorted(layouts.forms[kind.name].tensors.items())), inside[kind.name])
                noise = layouts.plan.deviation(kind.name) * math.sqrt(opened.artists)
                kept = weight_stands_out(flat, groups, CROWD * kind.count, noise, kind.least)
            found[kind.name] = _summed(layouts, kind, inside[kind.name], opened.artists, kept)
            continue
        given = [reply.arrays[kind.name] for reply in replies if kind.name in reply.arrays]
        if given:
            enough = _enough(layouts, kind, given)
            found[kind.name] = _summed(layouts, kind, _added(given, kind.integer), len(given), enough)
    return found


def _summed(layouts: Layouts, kind: Kind, arrays: Arrays, artists: int, enough: np.ndarray) -> Summed:
    return Summed(arrays, artists, layouts.plan.deviation(kind.name) * math.sqrt(artists), enough)


def _added(given: Sequence[Arrays], integer: bool) -> dict[str, np.ndarray]:
    wide = np.int64 if integer else np.float64
    return {name: np.stack([g[name] for g in given]).sum(axis=0, dtype=wide) for name in given[0]}


def _enough(layouts: Layouts, kind: Kind, given: Sequence[Arrays]) -> np.ndarray:
    """Groups that enough artists contribute to, where releases are read one by one."""
    form = layouts.forms[kind.name]
    if not form.groups:
        return np.zeros(0, bool)
    tensors, deviation = tuple(sorted(form.tensors.items())), layouts.plan.deviation(kind.name)
    crowd = [
        contributes(flatten(tensors, g), form.groups, kind.count, deviation, layouts.artists) for g in given
    ]
    return np.asarray(np.sum(crowd, axis=0) >= kind.least)


def _shared(
    layouts: Layouts, number: int, replies: Sequence[Reply], opened: Opened | None
) -> dict[str, Summed]:
    """Unit artist: the parts of the sum of all shares, and nothing of one share alone."""
    given = [reply.arrays[SUM] for reply in replies if SUM in reply.arrays]
    if opened is not None:
        total, artists = opened.total, opened.artists
    elif given:
        total, artists = _added(given, integer=True)[SUM], len(given)
    else:
        return {}
    layout, noise = layouts.vector(number), layouts.shared(number).noise
    parts, deviation, found = layout.split(noise.decode(total)), noise.deviation(artists), {}
    for kind in layouts.plan.of_round(number):
        form, own = layouts.forms[kind.name], deviation * layout.scale(kind.name)
        enough = np.zeros(0, bool)
        if form.groups:
            flat = flatten(tuple(sorted(form.tensors.items())), parts[kind.name])
            enough = weight_stands_out(flat, form.groups, kind.count, own, kind.least)
        found[kind.name] = Summed(parts[kind.name], artists, own, enough)
    return found
