"""A hand: what one artist's lettering always has in common, drawn once from the artist's seed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from fedstyle_secure.systems.text.letterer.faces import PRIVATE_FONTS, PUBLIC_FONTS, Glyph, penned, printed
from fedstyle_secure.systems.text.letterer.glyphs import CHARACTERS, OTHER_FORMS, is_small, strokes

TERMS = 6
"""Coefficients of a bend in each direction."""

_UPRIGHT = 0.6
"""Width over height up to which a stroke is upright enough to stand on a serif."""


@dataclass(frozen=True, eq=False)
class Hand:
    """How an artist letters. Lengths are in ems.

    Attributes:
        font: A font's name, "" for strokes of its own.
        other_forms: Characters that it writes the other way.
        heights: Of an x, of capitals, of the top of a b, and the depth of a p.
        roundness: See `glyphs.strokes`.
        bends: float64 (62, 6, 2), how each character always differs from the table.
        thickness: Of the thinnest stroke; with a font, of what is added around its outlines.
        nib: Half of a broad nib's edge as a vector; zeros for a round one.
        serif: Length of a serif, 0 for none.
        slant: Shift to the right at the height of one em.
        squeeze: Width of letters over that of the table or the font.
        spacing: Between the ink of letters; with a font, beyond what that leaves.
        wave: Height and length of the line's waves.
        shake: Deviation of what differs from one letter to the next.
    """

    font: str
    other_forms: frozenset[str]
    heights: tuple[float, float, float, float]
    roundness: float
    bends: np.ndarray
    thickness: float
    nib: tuple[float, float]
    serif: float
    slant: float
    squeeze: float
    spacing: float
    wave: tuple[float, float]
    shake: float

    @cached_property
    def letters(self) -> dict[str, Glyph]:
        """Every character as this hand always begins it."""
        write = partial(printed, self.font) if self.font else self._written
        return {character: write(character) for character in CHARACTERS}

    def _written(self, character: str) -> Glyph:
        found = strokes(character, character in self.other_forms, self.roundness)
        bend = self.bends[CHARACTERS.index(character)]
        placed = [self._placed(stroke, stroke + powers(stroke) @ bend, character) for stroke in found]
        if self.serif:
            placed += [
                serif
                for table, real in zip(found, placed, strict=True)
                for serif in self._serifs(table, real, is_small(character))
            ]
        return penned(placed, self.spacing + self.thickness + 2 * abs(self.nib[0]))

    def _placed(self, table: np.ndarray, bent: np.ndarray, character: str) -> np.ndarray:
        """A stroke in ems, from the units of the table."""
        x, capital, top, foot = self.heights
        if not is_small(character):
            return bent * [capital * self.squeeze, capital]
        y = bent[:, 1]
        y = np.where(y > 1, x + (y - 1) * (top - x), np.where(y < 0, y * foot, y * x))
        return np.stack([bent[:, 0] * x * self.squeeze, y], axis=1)

    def _serifs(self, table: np.ndarray, real: np.ndarray, small: bool) -> list[np.ndarray]:
        """Short strokes across the ends of upright ones."""
        found = []
        for end, inner in ((0, 1), (-1, -2)):
            across, up = np.abs(table[end] - table[inner])
            if up > 0.2 and across <= _UPRIGHT * up and table[end, 1] in (-1.0, 0.0, 1.0, 2.0):
                # A small letter's upper serif is on the left alone.
                right = 0.0 if small and table[end, 1] >= 1 else self.serif
                found.append(real[end] + np.array([[-self.serif, 0.0], [right, 0.0]]))
        return found


def powers(points: np.ndarray) -> np.ndarray:
    """float64 (n, 6): 1, x, y, xy, xx and yy of points (n, 2), about the middle of a letter."""
    x, y = (points - [0.4, 0.5]).T
    return np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], axis=1)


def draw_hand(rng: np.random.Generator, index: int, public: bool) -> Hand:
    """An artist's hand.

    Every fourth private artist uses a font and the others strokes of their own, which differ freely; two in
    three public ones use a font and the others regular strokes, as a platform knows few sorts of lettering.

    Args:
        rng: The artist's.
        index: Its number among those of its sort.
        public: Which sort.
    """
    fonts = PUBLIC_FONTS if public else PRIVATE_FONTS
    prints = index % 3 != 2 if public else index % 4 == 2
    number = (index // 3 * 2 + index % 3) if public else index // 4
    free = 0.5 if public else 1.0
    x = float(rng.uniform(0.46, 0.58))
    capital = float(rng.uniform(0.66, 0.76))
    heights = (x, capital, float(rng.uniform(0.74, 0.84)), float(rng.uniform(0.2, 0.28)))
    other = frozenset(c for c in OTHER_FORMS if rng.random() < 0.5)
    size = np.array([0.015, 0.04, 0.04, 0.04, 0.04, 0.04])[:, None]
    bends = free * size * rng.standard_normal((len(CHARACTERS), TERMS, 2))
    broad = float(rng.uniform(0.03, 0.08)) if rng.random() < 0.5 else 0.0
    angle = float(rng.choice([0.0, 0.5, 0.7, 2.4]) + rng.normal(0, 0.1))
    hair = float(rng.uniform(0.05, 0.07)) if broad else float(rng.uniform(0.06, 0.13))
    bold = float(max(0.0, rng.normal(0, 0.012)))
    return Hand(
        font=fonts[number % len(fonts)] if prints else "",
        other_forms=other,
        heights=heights,
        roundness=float(rng.uniform(1.9, 2.2 + 0.7 * free)),
        bends=bends,
        thickness=bold if prints else hair,
        nib=(broad / 2 * float(np.cos(angle)), broad / 2 * float(np.sin(angle))),
        serif=float(rng.uniform(0.06, 0.1)) if not public and rng.random() < 0.3 else 0.0,
        slant=float(np.clip(rng.normal(0.05, 0.08 if public else 0.1), -0.12, 0.25)),
        squeeze=float(rng.uniform(1 - 0.15 * free, 1 + 0.12 * free)),
        spacing=float(rng.uniform(0.0, 0.06)) if prints else float(rng.uniform(0.04, 0.13)),
        wave=(float(abs(rng.normal(0, 0.02 * free))), float(rng.uniform(2.0, 4.0))),
        shake=0.0 if prints else free * float(rng.uniform(0.006, 0.022)),
    )
