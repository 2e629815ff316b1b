"""The most that a guarantee lets any attack reach, on the scales that attacks are measured on.

The assumption of every limit on membership inference: members and non-members are exchangeable, so that
nothing but the releases tells them apart. Differential privacy bounds what the releases add to what is
known; where pictures of one book trained and those of another did not, a guess that looks at no release can
lie above any limit here, and none may be stated (`blind.Blind.apart`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from fedstyle_secure.errors import AuditError
from fedstyle_secure.privacy.accounting import epsilon, merge, rdp_epsilon
from fedstyle_secure.privacy.events import Event, SampledGaussian
from fedstyle_secure.privacy.ledger import costs, entry_from_dict
from fedstyle_secure.privacy.plan import Plan

NO_GUARANTEE: Event = SampledGaussian(0.0)
"""What a release counts as that no guarantee covers."""

_EPSILONS = np.r_[0.0, np.geomspace(1e-3, 80.0, 240)]
_DELTAS = np.geomspace(1e-12, 0.5, 40)
_CHORDS = 1e-5
_BEYOND_USE = 200.0
"""Epsilon above which everything counts as possible."""

_AGREES = 1e-3
"""How far a ledger may lie above the plan, as a share of epsilon: sums of another length than the plan's
nominal one cost the same but for terms next to zero."""


def planned(plan: Plan, kinds: Collection[str] | None = None, last: int | None = None) -> list[Event]:
    """What an artist's releases cost an artwork of its own.

    Args:
        plan: Of the run.
        kinds: Kinds of release that count; None: all. Where the unit is the artist there is one kind, the sum
            of everything, and it always counts.
        last: The last round that counts; None: all.

    Returns:
        An event a release, `NO_GUARANTEE` where nothing covers it, as for a share that leaves in clear.
    """
    if plan.shared is not None:
        releases = [(plan.shared.event("artwork"), plan.sums)]
    else:
        wanted = [kind for kind in plan.kinds.values() if kinds is None or kind.name in kinds]
        releases = [(kind.mechanism.event("artwork"), kind.rounds) for kind in wanted]
    return [
        NO_GUARANTEE if event is None else event
        for event, rounds in releases
        for number in sorted(rounds)
        if last is None or number <= last
    ]


def require_planned(ledgers: Mapping[str, Any], run: str, plan: Plan, delta: float) -> None:
    """Hold the plan that limits follow from against what artists wrote down.

    Args:
        ledgers: Each artist's releases as in `ledger.json`; None for one whose ledger was out of reach.
        run: Identity of the run.
        plan: Solved from the run's settings.
        delta: That epsilons are compared at.

    Raises:
        AuditError: What an artist's ledger holds of a kind costs an artwork more than the plan has for it;
            names the artist.
    """
    fine: set[tuple[str, tuple[Event, ...]]] = set()
    for artist, values in ledgers.items():
        entries = [entry for entry in map(entry_from_dict, values or ()) if entry.run == run]
        for kind in sorted({entry.kind for entry in entries}):
            allowed = merge(planned(plan, (kind,)))
            made = costs([entry for entry in entries if entry.kind == kind], "artwork")
            if any(event.noiseless for event in allowed):
                continue
            spent = None if made is None else merge(made)
            if spent is not None and ((kind, spent) in fine or _within(spent, allowed, delta)):
                fine.add((kind, spent))
                continue
            raise AuditError(
                f"ledger.json: artist {artist!r}: its releases of kind {kind!r} cost an artwork more than "
                "the run's plan has for them, so no limit can be stated"
            )


def _within(made: tuple[Event, ...], allowed: tuple[Event, ...], delta: float) -> bool:
    if not (_single(made) - _single(allowed)):
        return True
    return epsilon(made, delta) <= epsilon(allowed, delta) * (1 + _AGREES)


def _single(events: Iterable[Event]) -> Counter[Event]:
    """How many steps of each mechanism."""
    found: Counter[Event] = Counter()
    for event in events:
        found[replace(event, steps=1)] += event.steps  # type: ignore[type-var]
    return found


class Limit:
    """What holds for everything made of some releases, for one artwork (or artist) added or removed.

    On membership inference it holds for members and non-members that are exchangeable (see above).

    The trade-off curve is the lower envelope of all (epsilon, delta) pairs that the releases satisfy: exact
    pairs by the PLD accountant where it knows the releases, RDP's upper bounds otherwise. Finitely many
    pairs make a limit that is a little too high, never too low.
    """

    def __init__(self, events: Iterable[Event], hops: int = 1) -> None:
        """
        Args:
            events: What was released; in the unit that the attack is after.
            hops: How many units the two worlds differ in, >= 1. Members and non-members of a set of fixed
                size differ in two: one out, another in.
        """
        self._events = merge(events)
        self._hops = hops

    @property
    def hops(self) -> int:
        """How many units the two worlds differ in."""
        return self._hops

    @property
    def events(self) -> tuple[Event, ...]:
        """What it covers, equal releases as steps of one."""
        return self._events

    @property
    def none(self) -> bool:
        """Whether nothing is guaranteed: something was released without noise."""
        return any(event.noiseless for event in self._events)

    def success(self, chance: float) -> float | None:
        """Highest probability that the truth is found where guessing finds it with `chance`.

        Reconstruction robustness: with T the trade-off curve, 1 - T(chance) (Balle, Cherubin and Hayes 2022;
        Hayes, Mahloujifar and Balle 2023, theorem 2, with the exact curve in place of its estimate). Also the
        highest true-positive rate at a false-positive rate of `chance`.

        Args:
            chance: In [0, 1].

        Returns:
            None where nothing is guaranteed.
        """
        return None if self.none else float(self._success(np.array([chance]))[0])

    def auc(self) -> float | None:
        """Highest area under a ROC curve; None where nothing is guaranteed."""
        if self.none:
            return None
        rates = np.r_[0.0, np.geomspace(1e-6, 1.0, 4000)]
        # The curve is concave, so that chords lie below it; this is more than by how much.
        return float(min(np.trapezoid(self._success(rates), rates) + _CHORDS, 1.0))

    def curve(self, rates: np.ndarray) -> np.ndarray | None:
        """Highest true-positive rate at each false-positive rate; None where nothing is guaranteed."""
        return None if self.none else self._success(np.asarray(rates, np.float64))

    def pair(self, delta: float = 1e-5) -> tuple[float, float] | None:
        """One (epsilon, delta) that holds over all hops, for a drawing; None where none is worth drawing.

        Args:
            delta: Of one hop, in (0, 1).
        """
        if self.none:
            return None
        epsilons, deltas = self._pairs
        there = epsilons[deltas <= delta]
        if not len(there):
            return None
        epsilon = float(there.min())
        # Group privacy: each hop costs epsilon anew, and multiplies the deltas before it.
        both = sum(float(np.exp(k * epsilon)) for k in range(self._hops)) * delta
        return (self._hops * epsilon, both) if both < 1 else None

    def _success(self, rates: np.ndarray) -> np.ndarray:
        # What is possible after one hop is what the next begins with (Dong, Roth and Su 2022, theorem 2.14).
        for _ in range(self._hops if self._events else 0):
            rates = self._after_one(rates)
        return rates

    def _after_one(self, rates: np.ndarray) -> np.ndarray:
        epsilons, deltas = self._pairs
        with np.errstate(over="ignore"):
            grown = np.exp(epsilons)[:, None] * rates + deltas[:, None]
            # The other side of the same guarantee: what is not found, taken for what is.
            kept = 1 - np.exp(-epsilons)[:, None] * (1 - deltas[:, None] - rates)
        best: np.ndarray = np.minimum(np.minimum(grown, kept).min(axis=0), 1.0)
        return best

    @property
    def _pairs(self) -> tuple[np.ndarray, np.ndarray]:
        return _pairs(self._events)


@lru_cache(maxsize=16)
def _pairs(events: tuple[Event, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Epsilons and deltas that releases satisfy, to be read only. Many attacks see the same releases, and to
    compose them takes longer than most attacks."""
    if rdp_epsilon(events, _DELTAS[0]) > _BEYOND_USE:
        # Grids grow with epsilon, without bound, and such a limit would say nothing.
        return np.array([0.0]), np.array([1.0])
    known = [event.dp_event() for event in events]
    if all(event is not None for event in known):
        from dp_accounting import dp_event
        from dp_accounting.pld import PLDAccountant

        with np.errstate(divide="ignore"):
            accountant = PLDAccountant().compose(dp_event.ComposedDpEvent(known))
            return _EPSILONS, np.array([accountant.get_delta(epsilon) for epsilon in _EPSILONS])
    epsilons = np.array([rdp_epsilon(events, delta) for delta in _DELTAS])
    finite = np.isfinite(epsilons)
    return np.r_[epsilons[finite], 0.0], np.r_[_DELTAS[finite], 1.0]
