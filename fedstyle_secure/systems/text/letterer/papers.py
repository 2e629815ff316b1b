"""Ink and paper: the two colours of an artist, and what is between them on a crop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

_LUMINANCE = np.array([0.299, 0.587, 0.114])
_LEAST_CONTRAST = 0.56


@dataclass(frozen=True, eq=False)
class Paper:
    """What an artist letters on and with.

    Attributes:
        paper, ink: float64 (3,), RGB in [0, 1].
        grain: Deviation of single pixels, of the way from paper to ink.
        clouds: Deviation of patches.
        fade: How much darker one end may be than the other.
    """

    paper: np.ndarray
    ink: np.ndarray
    grain: float
    clouds: float
    fade: float

    def crop(self, ink: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A crop in grey: 0 is paper, 255 is ink.

        Args:
            ink: float32 (h, w), [0, 1], how much of each pixel is ink.
            rng: The crop's.

        Returns:
            uint8 (h, w).
        """
        height, width = ink.shape
        patches = Image.fromarray(rng.standard_normal((5, 17), np.float32))
        tone = 0.08 + (float(rng.uniform(0.8, 0.88)) * ink)
        tone += self.clouds * np.asarray(patches.resize((width, height), Image.Resampling.BICUBIC))
        tone += self.fade * float(rng.uniform(-1, 1)) * np.linspace(-0.5, 0.5, width, dtype=np.float32)
        tone += self.grain * rng.standard_normal(ink.shape, np.float32)
        grey: np.ndarray = (255 * np.clip(tone, 0, 1) + 0.5).astype(np.uint8)
        return grey

    def coloured(self, grey: np.ndarray) -> np.ndarray:
        """uint8 (..., 3) of the uint8 greys that `crop` gives."""
        way = np.linspace(0, 1, 256)[:, None]
        palette = (255 * (self.paper + way * (self.ink - self.paper)) + 0.5).astype(np.uint8)
        crops: np.ndarray = palette[grey]
        return crops


def draw_paper(rng: np.random.Generator) -> Paper:
    """An artist's ink and paper; three in ten write light on dark."""
    light = float(rng.uniform(0.66, 0.96))
    dark = float(rng.uniform(0.04, light - _LEAST_CONTRAST))
    colours = [_colour(light, 0.1, rng), _colour(dark, 0.3, rng)]
    if rng.random() < 0.3:
        colours.reverse()
    grain, clouds, fade = rng.uniform([0.004, 0.0, 0.0], [0.035, 0.025, 0.08]).tolist()
    return Paper(colours[0], colours[1], grain, clouds, fade)


def _colour(luminance: float, strength: float, rng: np.random.Generator) -> np.ndarray:
    hue = rng.uniform(-1, 1, 3)
    colour: np.ndarray = np.clip(luminance + strength * (hue - hue @ _LUMINANCE), 0, 1)
    return colour
