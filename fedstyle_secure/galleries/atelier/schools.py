"""The schools, and how one of them turns a scene into a finished picture."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from fedstyle_secure.galleries.atelier import painted, pieced, printed
from fedstyle_secure.galleries.atelier.brushes import Field, Rng
from fedstyle_secure.galleries.atelier.hands import Hand
from fedstyle_secure.galleries.atelier.paints import Paints, reproduce
from fedstyle_secure.galleries.atelier.scenes import Scene

Renderer = Callable[[Scene, Paints, Hand, Rng], Field]

SCHOOLS: tuple[tuple[str, Renderer], ...] = (
    ("impasto", painted.impasto),
    ("hatching", printed.hatching),
    ("mosaic", pieced.mosaic),
    ("watercolour", painted.watercolour),
    ("halftone", printed.halftone),
    ("woodcut", printed.woodcut),
    ("stained-glass", pieced.stained_glass),
    ("pointillism", painted.pointillism),
    ("ukiyo-e", printed.ukiyo_e),
    ("charcoal", painted.charcoal),
    ("pixel-art", pieced.pixel_art),
    ("scratchboard", printed.scratchboard),
    ("cubism", pieced.cubism),
    ("poster", printed.poster),
)
SCHOOL_NAMES = tuple(name for name, _ in SCHOOLS)

# Pictures are painted at this multiple of their size, then averaged down.
OVERSAMPLE = 2


def paint(school: int, scene: Scene, paints: Paints, hand: Hand, rng: Rng) -> npt.NDArray[np.uint8]:
    """Paint a scene in a school's manner and a hand.

    Args:
        school: Index into `SCHOOLS`.
        scene: At OVERSAMPLE times the finished size.
        paints: The picture's colours.
        hand: The artist's habits.
        rng: Source of everything accidental: the fall of marks, the tremor of lines, the exposure.

    Returns:
        uint8, shape (size, size, 3), RGB.
    """
    size = scene.size // OVERSAMPLE
    painting = np.clip(SCHOOLS[school][1](scene, paints, hand, rng), 0.0, 1.0)
    small = painting.reshape(size, OVERSAMPLE, size, OVERSAMPLE, 3).mean(axis=(1, 3), dtype=np.float32)
    pixels: npt.NDArray[np.uint8] = np.rint(reproduce(small, rng) * 255.0).astype(np.uint8)
    return pixels
