"""What a crop of a word is: how a picture file becomes one, and what its text may be."""

from __future__ import annotations

import numpy as np
from PIL import Image

from fedstyle_secure.galleries.assemble import Reading
from fedstyle_secure.galleries.pictures import PictureError
from fedstyle_secure.visible import controls

HEIGHT, WIDTH = 32, 128

LONGEST = 32
"""Characters of the longest text."""

_LEAST_SIDE = 4


def line_of_text(rgb: Image.Image, height: int) -> np.ndarray:
    """A picture fitted into a crop four times as wide as high, at its left.

    It keeps its proportions, unless it is wider than that and is squeezed; to its right is the middle colour
    of its border.

    Args:
        rgb: Of any size.
        height: Of the crop.

    Returns:
        uint8, shape (height, 4 * height, 3). A picture of that size keeps its exact pixels.
    """
    width = 4 * height
    wide = min(max(1, round(rgb.width * height / rgb.height)), width)
    fitted = np.asarray(rgb.resize((wide, height), Image.Resampling.LANCZOS), np.uint8)
    border = np.concatenate([fitted[0], fitted[-1], fitted[:, -1]])
    crop = np.empty((height, width, 3), np.uint8)
    crop[:] = np.median(border, axis=0)
    crop[:, :wide] = fitted
    return crop


def check_text(text: str) -> None:
    """Refuse what nobody can read in a crop, whatever letters a system knows.

    Raises:
        PictureError: The text is blank, too long, or holds control characters. It never holds the text.
    """
    if not text.strip():
        raise PictureError("has no text; valid: the word in the picture")
    if len(text) > LONGEST:
        raise PictureError(f"has a text of {len(text)} characters; valid: at most {LONGEST}")
    if controls(text):
        raise PictureError("has control characters in its text; valid: what stands in the picture")


WORDS = Reading(line_of_text, _LEAST_SIDE, check_text)
