"""Schools that no backbone of this package has seen: relief maps, spirals, neon, quilts.

Every renderer maps (scene, paints, hand, rng) to float32 (s, s, 3) in about [0, 1].
"""

from __future__ import annotations

import numpy as np

from fedstyle_secure.galleries.atelier.brushes import (
    Field,
    Rng,
    blur,
    f32,
    grid,
    line_screen,
    mean_by,
    noise,
    over,
    pick,
    span,
    step,
    trace,
    turn,
)
from fedstyle_secure.galleries.atelier.hands import Hand
from fedstyle_secure.galleries.atelier.paints import Paints
from fedstyle_secure.galleries.atelier.scenes import Scene
from fedstyle_secure.galleries.atelier.schools import Renderer


def _even(value: float, s: int) -> Field:
    """The same everywhere, (s, s)."""
    return np.full((s, s), value, np.float32)


def relief_map(scene: Scene, paints: Paints, hand: Hand, rng: Rng) -> Field:
    """Light as height: pale tints in steps, with a fine dark line along each."""
    s = scene.size
    levels = int(span(hand.density, 5, 9))
    height = blur(scene.tone, span(hand.scale, 0.03, 0.06)) + np.float32(0.03) * noise(rng, s, 4, 2)
    lowest, highest = float(height.min()), float(height.max())
    floors = f32((height - lowest) / max(highest - lowest, 1e-3) * levels)
    tint = paints.of(
        np.full((s, s), int(5 * hand.order) % 5, np.uint8), f32(0.45 + 0.5 * np.floor(floors) / levels)
    )
    sheet = f32(np.broadcast_to(paints.paper, (s, s, 3)))
    sheet = over(sheet, tint, _even(span(hand.contrast, 0.55, 0.95), s))
    edge = np.zeros((s, s), np.float32)
    whole = np.floor(floors)
    edge[:, :-1] = whole[:, 1:] != whole[:, :-1]
    edge[:-1] = np.maximum(edge[:-1], whole[1:] != whole[:-1])
    line = np.clip(trace(edge, span(hand.line, 0.006, 0.012)), 0, 1)
    return over(sheet, paints.ink, f32(span(hand.relief, 0.7, 1.0) * line))


def spiral(scene: Scene, paints: Paints, hand: Hand, rng: Rng) -> Field:
    """One line that winds from the middle outwards, thick where the picture is dark."""
    s = scene.size
    x, y = grid(s)
    cx, cy = rng.uniform(0.35, 0.65, 2)
    sway = span(hand.wobble, 0.0, 0.012)
    u, v = f32(x - cx + sway * noise(rng, s, 3)), f32(y - cy + sway * noise(rng, s, 3))
    turns = span(hand.density, 8.0, 13.0)
    phase = f32(np.hypot(u, v) * turns * 1.4 + np.arctan2(v, u) / (2 * np.pi))
    dark = np.clip((1.0 - scene.tone) * span(hand.contrast, 0.8, 1.2), 0.08, 0.9)
    line = line_screen(phase, f32(0.9 * dark), span(hand.line, 0.12, 0.25))
    sheet = f32(np.broadcast_to(paints.paper, (s, s, 3)))
    wash = paints.of(scene.slots, np.full((s, s), 0.8, np.float32))
    return over(over(sheet, wash, _even(span(hand.relief, 0.0, 0.45), s)), paints.ink, line)


def neon(scene: Scene, paints: Paints, hand: Hand, rng: Rng) -> Field:
    """Outlines that glow in the dark, each in its shape's colour."""
    s = scene.size
    x, y = grid(s)
    sway = span(hand.wobble, 0.004, 0.015)
    edge = pick(scene.borders, f32(x + sway * noise(rng, s, 4)), f32(y + sway * noise(rng, s, 4)))
    glow = paints.of(scene.slots, np.full((s, s), 0.75, np.float32))
    glow = np.stack([blur(glow[..., c], 0.02) for c in range(3)], axis=-1)
    tube = np.clip(trace(edge, span(hand.line, 0.009, 0.016)), 0, 1)
    halo = np.clip(blur(edge, span(hand.scale, 0.03, 0.06)) * 8.0 * span(hand.relief, 0.5, 1.0), 0, 1)
    night = f32(0.25 * paints.ink * np.ones((s, s, 1), np.float32))
    night = over(night, glow, f32(span(hand.contrast, 0.0, 0.12) * scene.tone))
    lit = over(night, f32(np.clip(glow * 1.1, 0, 1)), f32(0.75 * halo))
    return over(lit, f32(np.clip(0.35 * glow + 0.65, 0, 1)), tube)


def quilt(scene: Scene, paints: Paints, hand: Hand, rng: Rng) -> Field:
    """Patches of cloth cut along their diagonals, each of one colour or striped, with light seams."""
    s = scene.size
    x, y = grid(s)
    across = round(span(hand.scale, 5, 8))
    u, v = turn(x, y, span(hand.angle, -0.12, 0.12))
    column, row = np.floor(u * across).astype(np.int32), np.floor(v * across).astype(np.int32)
    left, down = f32(u * across - column), f32(v * across - row)
    half = (left + down > 1) if hand.order < 0.5 else (left > down)
    key = ((column + 64) * 256 + row + 64) * 2 + half
    _, patch = np.unique(key, return_inverse=True)
    patch = patch.reshape(s, s).astype(np.int32)
    n = int(patch.max()) + 1
    at = f32(mean_by(patch, x, n)), f32(mean_by(patch, y, n))
    tone = mean_by(patch, scene.tone, n) + f32(span(hand.contrast, 0.05, 0.14) * rng.standard_normal(n))
    colour = paints.of(pick(scene.slots, *at), f32(tone))[patch]
    striped = rng.random(n) < span(hand.density, 0.2, 0.6)
    stripes = line_screen(f32((u + v) * across * 3), np.full((s, s), 0.5, np.float32), 0.3)
    colour = f32(colour * (1 - span(hand.relief, 0.2, 0.45) * (stripes * striped[patch])[..., None]))
    gap = np.minimum(np.minimum(left, 1 - left), np.minimum(down, 1 - down)) / across
    seam = span(hand.line, 0.008, 0.016)
    return over(colour, paints.paper, f32(0.85 * (1 - step(f32(gap), 0.3 * seam, seam))))


SCHOOLS: tuple[tuple[str, Renderer], ...] = (
    ("relief-map", relief_map),
    ("spiral", spiral),
    ("neon", neon),
    ("quilt", quilt),
)
SCHOOL_NAMES = tuple(name for name, _ in SCHOOLS)
