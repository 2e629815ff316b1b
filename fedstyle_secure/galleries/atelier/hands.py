"""A hand: what one artist of a school does habitually."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedstyle_secure.galleries.atelier.paints import POOL

HABITS = ("scale", "density", "wobble", "contrast", "angle", "order", "line", "relief")
# Unrelated irrational steps near 1/2: successive members differ by 0.3 or more in every habit.
_STEPS = np.sqrt([5.0, 2.0, 11.0, 13.0, 19.0, 22.0, 30.0, 31.0]) % 1.0
_STEPS[0] = (np.sqrt(5.0) - 1.0) / 2.0


@dataclass(frozen=True)
class Hand:
    """Habits in [0, 1], which every school maps to ranges of its own, and a slight taste in palettes.

    Attributes:
        scale: Size of marks.
        density: Marks per area.
        wobble: How unsteady lines and positions are.
        contrast: How far tones are pushed apart.
        angle: Direction of marks.
        order: Regularity of placement.
        line: Weight of outlines.
        relief: Strength of the school's own effect within a mark.
        tilt: float64, shape (POOL,), weights over the shared palettes, summing to 1.
    """

    scale: float
    density: float
    wobble: float
    contrast: float
    angle: float
    order: float
    line: float
    relief: float
    tilt: npt.NDArray[np.float64]


def draw_hand(seed: int, school: int, member: int) -> Hand:
    """The hand of a school's artist number `member` (0, 1, ...).

    Habits of a school's artists follow a low-discrepancy sequence, so that neighbours are never alike,
    whatever the number of artists.
    """
    start = np.random.default_rng(np.random.SeedSequence([seed, 11, school])).random(len(HABITS))
    habits = (start + _STEPS * member) % 1.0
    rng = np.random.default_rng(np.random.SeedSequence([seed, 12, school, member]))
    tilt = np.exp(0.35 * rng.standard_normal(POOL))
    return Hand(**dict(zip(HABITS, habits.tolist(), strict=True)), tilt=tilt / tilt.sum())
