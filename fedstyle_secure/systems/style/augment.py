"""Other scans of the same pictures: what a printer, a century and a scanner change, and style does not."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage


def augment(pictures: np.ndarray, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """One changed version of each picture, independently: mirror, crop, blur, fading, tone, paper, ink.

    Args:
        pictures: uint8, shape (n, s, s, 3), RGB.
        rng: All randomness.

    Returns:
        uint8, shape (n, s, s, 3).
    """
    out = np.empty_like(pictures)
    for i, picture in enumerate(pictures):
        z = _crop(picture.astype(np.float32) / 255, rng)
        z = np.clip(_fade(_blur(z, rng), rng), 0, 1) ** np.exp(rng.normal(0, 0.2))
        out[i] = np.clip(_reprint(z, rng) * 255 + 0.5, 0, 255).astype(np.uint8)
    return out


def _crop(z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A window of 80 to 100 % of the side, brought back to size; mirrored in half of the cases."""
    size = len(z)
    side = max(1, round(size * rng.uniform(0.8, 1)))
    top, left = rng.integers(0, size - side + 1, 2)
    z = z[top : top + side, left : left + side]
    if rng.random() < 0.5:
        z = z[:, ::-1]
    zoomed: np.ndarray = ndimage.zoom(
        z, (size / side, size / side, 1), order=1, mode="nearest", grid_mode=True
    )
    return zoomed


def _blur(z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A little softer or sharper."""
    width, amount = rng.uniform(0.3, 0.8), rng.uniform(-0.8, 0.7)
    sharper: np.ndarray = z + amount * (z - ndimage.gaussian_filter(z, (width, width, 0)))
    return sharper


def _fade(z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Colours a little weaker or stronger."""
    grey = z.mean(2, keepdims=True)
    faded: np.ndarray = grey + (z - grey) * np.exp(rng.normal(0, 0.2))
    return faded


def _reprint(z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """White becomes a paper between white and brown, now and then bluish; black a faded ink."""
    yellowing = np.array([0, rng.uniform(0, 0.1), rng.uniform(0, 0.3)]) * rng.random()
    paper = 1 - rng.uniform(0, 0.3) * rng.random() - (yellowing[::-1] if rng.random() < 0.2 else yellowing)
    ink = rng.uniform(0, 0.18) * rng.random() * (1 + rng.normal(0, 0.1, 3))
    printed: np.ndarray = ink + (paper - ink) * z
    return printed
