"""The most that a guarantee lets any attack reach, on the scales that attacks are measured on."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import numpy as np

from fedstyle_secure.privacy.accounting import merge, rdp_epsilon
from fedstyle_secure.privacy.events import Event

_EPSILONS = np.r_[0.0, np.geomspace(1e-3, 80.0, 240)]
_DELTAS = np.geomspace(1e-12, 0.5, 40)
_CHORDS = 1e-5
_BEYOND_USE = 200.0
"""Epsilon above which everything counts as possible."""


class Limit:
    """What holds for everything made of some releases, for one artwork (or artist) added or removed.

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
        return np.minimum(np.minimum(grown, kept).min(axis=0), 1.0)

    @cached_property
    def _pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Epsilons and deltas that the releases satisfy."""
        if rdp_epsilon(self._events, _DELTAS[0]) > _BEYOND_USE:
            # Grids grow with epsilon, without bound, and such a limit would say nothing.
            return np.array([0.0]), np.array([1.0])
        known = [event.dp_event() for event in self._events]
        if all(event is not None for event in known):
            from dp_accounting import dp_event
            from dp_accounting.pld import PLDAccountant

            with np.errstate(divide="ignore"):
                accountant = PLDAccountant().compose(dp_event.ComposedDpEvent(known))
                return _EPSILONS, np.array([accountant.get_delta(epsilon) for epsilon in _EPSILONS])
        epsilons = np.array([rdp_epsilon(self._events, delta) for delta in _DELTAS])
        finite = np.isfinite(epsilons)
        return np.r_[epsilons[finite], 0.0], np.r_[_DELTAS[finite], 1.0]
