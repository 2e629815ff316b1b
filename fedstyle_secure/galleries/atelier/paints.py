"""Colours: one pool of palettes for every artist, drawn anew for every picture with a slight tilt.

Schools share the pool, the exposure and the tint of paper and ink, so that colour alone says little about who
painted a picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedstyle_secure.galleries.atelier.brushes import Field, Rng, f32

SLOTS = 5

_POOL_HEX = (
    "264653 2a9d8f e9c46a f4a261 e76f51",
    "0d3b66 faf0ca f4d35e ee964b f95738",
    "355070 6d597a b56576 e56b6f eaac8b",
    "606c38 283618 fefae0 dda15e bc6c25",
    "1d3557 457b9d a8dadc f1faee e63946",
    "5f0f40 9a031e fb8b24 e36414 0f4c5c",
    "003049 d62828 f77f00 fcbf49 eae2b7",
    "582f0e 936639 a68a64 a4ac86 414833",
    "22577a 38a3a5 57cc99 80ed99 c7f9cc",
    "2b2d42 8d99ae edf2f4 ef233c d90429",
    "10002b 3c096c 7b2cbf c77dff e0aaff",
    "6b705c a5a58d b7b7a4 ddbea9 cb997e",
    "03045e 0077b6 00b4d8 90e0ef caf0f8",
    "797d62 9b9b7a d9ae94 f1dca7 d08c60",
    "370617 9d0208 dc2f02 f48c06 ffba08",
    "386641 6a994e a7c957 f2e8cf bc4749",
    "2f3e46 354f52 52796f 84a98c cad2c5",
    "ffcdb2 ffb4a2 e5989b b5838d 6d6875",
    "0b132b 1c2541 3a506b 5bc0be f2d0a4",
    "3d405b 81b29a f2cc8f e07a5f f4f1de",
    "4a4e69 9a8c98 c9ada7 f2e9e4 22223b",
    "7f5539 b08968 ddb892 e6ccb2 9c6644",
    "05668d 028090 00a896 f0f3bd ff7f51",
    "540d6e ee4266 ffd23f 3bceac 0ead69",
)
POOL = len(_POOL_HEX)

_TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_LMS_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
_LAB_TO_LMS = np.linalg.inv(_LMS_TO_LAB)
_FROM_LMS = np.linalg.inv(_TO_LMS)


def _oklab(rgb: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """sRGB in [0, 1] to OKLab, last axis of 3."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    lab: npt.NDArray[np.float64] = np.cbrt(linear @ _TO_LMS.T) @ _LMS_TO_LAB.T
    return lab


def _linear(lab: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """OKLab to linear RGB, out of [0, 1] where the colour cannot be shown."""
    return (lab @ _LAB_TO_LMS.T) ** 3 @ _FROM_LMS.T


def srgb(lab: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """OKLab to sRGB in [0, 1], last axis of 3; colours that cannot be shown lose chroma, not lightness."""
    lab = np.array(lab, dtype=np.float64)
    for _ in range(6):
        linear = _linear(lab)
        outside = ((linear < -0.002) | (linear > 1.002)).any(axis=-1, keepdims=True)
        lab[..., 1:] *= np.where(outside, 0.78, 1.0)
    linear = np.clip(_linear(lab), 0.0, 1.0)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


def _pool() -> npt.NDArray[np.float64]:
    """OKLab of the pool, shape (POOL, SLOTS, 3)."""
    rows = [[list(bytes.fromhex(code)) for code in row.split()] for row in _POOL_HEX]
    return _oklab(np.array(rows, dtype=np.float64) / 255.0)


_POOL_LAB = _pool()


@dataclass(frozen=True)
class Paints:
    """The colours of one picture.

    Attributes:
        ramps: float32, shape (SLOTS, 256, 3). sRGB of each slot from the darkest to the lightest tone.
        paper: float32, shape (3,). A light tint.
        ink: float32, shape (3,). A dark tint.
        ground: float32, shape (3,). A middle tint.
        flesh: How much local colour goes with ink, in [0, 1]; schools of line print on a tinted wash.
    """

    ramps: Field
    paper: Field
    ink: Field
    ground: Field
    flesh: float

    def of(self, slots: npt.NDArray[np.integer], tone: Field) -> Field:
        """Colours of slots at tones in [0, 1] (clipped): float32, shape (..., 3)."""
        level = np.clip(tone * np.float32(255.0), 0.0, 255.0).astype(np.intp)
        colours: Field = self.ramps.reshape(-1, 3).take(slots.astype(np.intp) * 256 + level, axis=0)
        return colours


def draw_paints(rng: Rng, tilt: npt.NDArray[np.float64]) -> Paints:
    """Draw the colours of one picture.

    Args:
        rng: Source of the palette, its turn, its strength and its mood.
        tilt: float64, shape (POOL,), the artist's weights over the pool; they sum to 1.
    """
    lab = _POOL_LAB[rng.choice(POOL, p=tilt)][rng.permutation(SLOTS)]
    turned = rng.normal(0.0, 0.22)
    hue = np.arctan2(lab[:, 2], lab[:, 1]) + turned
    chroma = np.hypot(lab[:, 1], lab[:, 2]) * rng.uniform(0.5, 1.05)
    mood = rng.random()
    if mood < 0.14:  # one tint throughout
        hue = np.full(SLOTS, hue[0])
        chroma = chroma * rng.uniform(0.15, 0.8)
    elif mood < 0.32:  # two tints
        hue = np.where(np.arange(SLOTS) % 2 == 0, hue[0], hue[1])
    dark, light = rng.uniform(0.16, 0.36), rng.uniform(0.84, 0.97)
    t = np.linspace(0.0, 1.0, 256)
    level = dark + (light - dark) * (0.84 * t[None, :] + 0.16 * lab[:, :1])
    # Full chroma in the middle tones; shadows and lights keep some of it.
    strength = chroma[:, None] * (0.45 + 0.55 * np.sin(np.pi * np.clip(t, 0.02, 0.98)))[None, :]
    ramps = srgb(np.stack([level, strength * np.cos(hue)[:, None], strength * np.sin(hue)[:, None]], axis=-1))

    def tint(low: float, high: float, most: float, slot: int) -> Field:
        c = min(rng.uniform(0.1, 1.0) * most, 1.2 * float(chroma[slot]) + 0.01)
        tone = rng.uniform(low, high)
        return f32(srgb(np.array([tone, c * np.cos(hue[slot]), c * np.sin(hue[slot])])))

    return Paints(
        ramps=f32(ramps),
        paper=tint(0.80, 0.97, 0.07, 0),
        ink=tint(0.16, 0.40, 0.12, 1),
        ground=tint(0.45, 0.78, 0.08, 2),
        flesh=float(rng.uniform(0.15, 1.0)),
    )


def reproduce(picture: Field, rng: Rng, strength: float = 0.65) -> Field:
    """Photograph a picture: one range of exposures for all, so that brightness and contrast name nobody.

    Args:
        picture: float32, shape (s, s, 3), [0, 1].
        rng: Source of the exposure wanted: mean and deviation of lightness, black and white point.
        strength: How far lightness is moved to the exposure wanted, in [0, 1].

    Returns:
        float32, shape (s, s, 3), [0, 1].
    """
    mean_wanted, deviation_wanted = rng.uniform(0.36, 0.66), rng.uniform(0.14, 0.26)
    black, white = rng.uniform(0.0, 0.10), rng.uniform(0.92, 1.0)
    light = 0.299 * picture[..., 0] + 0.587 * picture[..., 1] + 0.114 * picture[..., 2]
    mean, deviation = float(light.mean()), float(light.std()) + 1e-3
    gain = (deviation_wanted / deviation) ** strength
    centre = mean + strength * (mean_wanted - mean)
    out = (picture - np.float32(mean)) * np.float32(min(gain, 2.5)) + np.float32(centre)
    # A soft shoulder and toe instead of clipping: hard whites and blacks would mark high-contrast schools.
    out = 0.5 + 0.5 * np.tanh((out - 0.5) * 2.0) / np.float32(np.tanh(1.0))
    return f32(np.clip(black + (white - black) * out, 0.0, 1.0))
