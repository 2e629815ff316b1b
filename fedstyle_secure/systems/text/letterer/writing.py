"""A word in a hand, as ink on a crop: laid out in ems, fitted, and drawn at four times the size."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw

from fedstyle_secure.systems.text.crops import HEIGHT, WIDTH
from fedstyle_secure.systems.text.letterer.hands import TERMS, Hand, powers

_OVERSAMPLE = 4
_THINNEST = 1.2 * _OVERSAMPLE
_TALLEST_EM = 40.0
_NARROWEST = 0.72


def write(hand: Hand, text: str, rng: np.random.Generator) -> np.ndarray:
    """A word at the left of a crop, as a reader's detector would cut it out: with a small margin.

    Args:
        hand: The artist's.
        text: ASCII letters and digits.
        rng: The crop's.

    Returns:
        float32 (32, 128), [0, 1]: how much of each pixel is ink.
    """
    glyphs = [hand.letters[character] for character in text]
    parts, holes, joints = (
        [one for glyph in glyphs for one in getattr(glyph, name)] for name in ("parts", "holes", "joints")
    )
    letter = np.repeat(np.arange(len(glyphs)), [sum(map(len, glyph.parts)) for glyph in glyphs])
    points = _line(hand, np.concatenate(parts), letter, [glyph.width for glyph in glyphs], rng)
    pixels, scale = _fitted(hand, points, rng)
    splits = np.split(pixels, np.cumsum([len(part) for part in parts])[:-1])
    canvas = Image.new("L", (_OVERSAMPLE * WIDTH, _OVERSAMPLE * HEIGHT))
    draw = ImageDraw.Draw(canvas)
    nib = np.array(hand.nib) * scale
    for part, hole, places in zip(splits, holes, joints, strict=True):
        if hand.font:
            _outline(draw, part, hole, hand.thickness * scale)
        else:
            _stroke(draw, part, places, max(hand.thickness * scale, _THINNEST), nib)
    return np.asarray(canvas.reduce(_OVERSAMPLE), np.float32) / 255


def _line(
    hand: Hand, points: np.ndarray, letter: np.ndarray, widths: list[float], rng: np.random.Generator
) -> np.ndarray:
    """The points of all letters, each letter in its place on the line and a little its own way."""
    if hand.shake:
        scale = hand.shake * np.array([0.6, 1.5, 1.5, 1.5, 1.5, 1.5])[:, None]
        own = scale * rng.standard_normal((len(widths), TERMS, 2))
        points = points + np.einsum("nt,ntd->nd", powers(points), own[letter])
    squeeze = hand.squeeze if hand.font else 1.0
    gap = hand.spacing if hand.font else 0.0
    starts = np.concatenate([[0.0], np.cumsum(np.array(widths) * squeeze + gap)[:-1]])
    x, y = points[:, 0] * squeeze + starts[letter], points[:, 1]
    height, length = hand.wave
    y = y + height * np.sin(2 * np.pi * (x / length + rng.random()))
    return np.stack([x + hand.slant * y, y + float(rng.normal(0, 0.01)) * x], axis=1)


def _fitted(hand: Hand, points: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Points in pixels of the canvas, y downwards, and pixels in an em."""
    edge = hand.thickness / 2 + np.abs(hand.nib)
    low, high = points.min(axis=0) - edge, points.max(axis=0) + edge
    wide, tall = high - low
    left, right = rng.uniform(1.5, 5.0, 2)
    scale = min(float(rng.uniform(0.72, 0.9)) * HEIGHT / tall, _TALLEST_EM)
    squeeze = min(1.0, (WIDTH - left - right) / (wide * scale))
    if squeeze < _NARROWEST:
        scale *= squeeze / _NARROWEST
        squeeze = _NARROWEST
    free = HEIGHT - tall * scale
    bottom = HEIGHT - free * float(rng.uniform(0.35, 0.65))
    x = left + (points[:, 0] - low[0]) * scale * squeeze
    y = bottom - (points[:, 1] - low[1]) * scale
    return np.stack([x, y], axis=1) * _OVERSAMPLE, scale * _OVERSAMPLE


def _outline(draw: ImageDraw.ImageDraw, outline: np.ndarray, hole: bool, weight: float) -> None:
    flat = outline.ravel().tolist()
    draw.polygon(flat, fill=0 if hole else 255)
    if weight >= 1:
        draw.line(flat + flat[:2], fill=255, width=round(weight))


def _stroke(
    draw: ImageDraw.ImageDraw, points: np.ndarray, joints: np.ndarray, thickness: float, nib: np.ndarray
) -> None:
    """What a nib passes over: its edge along the stroke, and around it the least thickness."""
    if not nib.any():
        _round_line(draw, points, joints, thickness)
        return
    # Between the paths of the edge's ends, cut where the stroke passes from one side of the edge to another:
    # an outline that covers something twice leaves a hole there.
    steps = np.diff(points, axis=0)
    side = steps[:, 0] * nib[1] > steps[:, 1] * nib[0]
    cuts = [0, *(np.flatnonzero(side[1:] != side[:-1]) + 1).tolist(), len(steps)]
    for start, end in pairwise(cuts):
        run = points[start : end + 1]
        draw.polygon(np.concatenate([run + nib, (run - nib)[::-1]]).ravel().tolist(), fill=255)
    _round_line(draw, points + nib, joints, thickness)
    _round_line(draw, points - nib, joints, thickness)


def _round_line(draw: ImageDraw.ImageDraw, points: np.ndarray, joints: np.ndarray, thickness: float) -> None:
    draw.line(points.ravel().tolist(), fill=255, width=round(thickness))
    r = thickness / 2
    for x, y in points[joints].tolist():
        draw.ellipse((x - r, y - r, x + r, y + r), fill=255)
