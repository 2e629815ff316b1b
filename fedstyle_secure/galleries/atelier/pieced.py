"""Schools that piece a picture together: mosaic, stained glass, cubist facets, pixel art.

Every renderer maps (scene, paints, hand, rng) to float32 (s, s, 3) in about [0, 1].
"""

from __future__ import annotations

import numpy as np

from fedstyle_secure.galleries.atelier.brushes import (
    Field,
    Rng,
    blur,
    borders,
    cells,
    f32,
    grid,
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

_BAYER = (
    np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]], dtype=np.float32) / 16.0 - 0.47
)


def mosaic(scene: Scene, paints: Paints, hand: Hand, rng: Rng) -> Field:
    """Small square stones in bending rows, each of one colour, with grout between."""
    s = scene.size
    x, y = grid(s)
    across = int(span(hand.scale, 22, 16))
    sway = span(hand.wobble, 0.015, 0.05)
    u, v = turn(
        f32(x + sway * noise(rng, s, 2)), f32(y + sway * noise(rng, s, 2)), span(hand.angle, -0.35, 0.35)
    )
    stones = cells(rng, across, span(hand.order, 0.15, 0.45), f32(u + 0.5), f32(v + 0.5), square=True)
    n = len(stones.x)
    colour_at = f32(mean_by(stones.owner, x, n)), f32(mean_by(stones.owner, y, n))
    tone = mean_by(stones.owner, scene.tone, n) + f32(
        span(hand.contrast, 0.03, 0.08) * rng.standard_normal(n)
    )
    colour = paints.of(pick(scene.slots, *colour_at), tone)[stones.owner]
    seam = span(hand.line, 0.005, 0.009)
    tilt = f32(rng.uniform(-1, 1, (2, n)))[:, stones.owner]
    facet = tilt[0] * (x - colour_at[0][stones.owner]) + tilt[1] * (y - colour_at[1][stones.owner])
    colour = colour * (1.0 + np.float32(across * span(hand.relief, 0.1, 0.35)) * facet[..., None])
    grout = paints.ink if rng.random() < 0.5 else f32(0.5 * (paints.paper + paints.ground))
    return over(
        f32(np.broadcast_to(grout, (s, s, 3))), f32(colour), step(stones.gap, seam - 0.004, seam + 0.004)
    )


def stained_glass(scene: Scene, paints: Paints, hand: Hand, rng: Rng) -> Field:
    """Large glowing panes cut along the shapes, held by thick dark lead."""
    s = scene.size
    x, y = grid(s)
    sway = span(hand.wobble, 0.01, 0.04)
    wx, wy = f32(x + sway * noise(rng, s, 3)), f32(y + sway * noise(rng, s, 3))
    panes = cells(rng, int(span(hand.density, 5, 8)), span(hand.order, 0.6, 1.0), wx, wy)
    # Small shapes are painted on the glass, not cut: too much lead would hide the picture.
    area = np.bincount(scene.labels.ravel(), minlength=scene.regions)
    rim = np.bincount(scene.labels.ravel(), scene.borders.ravel(), minlength=scene.regions)
    stout = (area > 0.02 * s * s) & (area > 0.02 * s * rim)
    shapes = np.where(stout[scene.labels], scene.labels, 0)
    both = panes.owner * np.int32(scene.regions) + shapes
    _, piece = np.unique(both, return_inverse=True)
    piece = piece.reshape(s, s).astype(np.int32)
    n = int(piece.max()) + 1
    tone = mean_by(piece, scene.tone, n) + f32(span(hand.contrast, 0.04, 0.1) * rng.standard_normal(n))
    edge = borders(piece)
    lead = span(hand.line, 0.02, 0.03)
    near = trace(edge, 0.45 * lead)
    cover = step(near, 0.42, 0.68)
    glow = 0.16 * np.clip(1.0 - 0.43 * trace(edge, 2.2 * lead), -0.4, 1.0)
    ripple = span(hand.relief, 0.02, 0.06) * noise(rng, s, int(span(hand.scale, 14, 26)), tall=10)
    sun = 0.12 * (turn(x, y, span(hand.angle, 0.4, 2.6))[0])
    colour = paints.of(scene.slots, f32(0.12 + 0.5 * tone[piece] + 0.35 * scene.tone + glow + ripple + sun))
    grey = colour.mean(axis=-1, keepdims=True)
    colour = grey + (colour - grey) * np.float32(1.2)
    came = f32(paints.ink * np.float32(0.7)) + 0.14 * step(near, 0.85, 1.1)[..., None]
    return over(f32(colour), f32(came), cover)


def cubism(scene: Scene, paints: Paints, hand: Hand, rng: Rng) -> Field:
    """Sharp planes that shift the view, each shaded from one of its edges, with drawn borders."""
    s = scene.size
    x, y = grid(s)
    cuts = int(span(hand.density, 7, 11))
    main = span(hand.angle, 0.0, 1.2)
    facet = np.zeros((s, s), dtype=np.int32)
    border = np.full((s, s), 9.0, dtype=np.float32)
    shade = np.zeros((s, s), dtype=np.float32)
    for k in range(cuts):
        angle = main + (0.0, 1.05, 2.1)[k % 3] + rng.normal(0.0, span(hand.wobble, 0.1, 0.35))
        _, across = turn(x, y, angle)
        side = across - np.float32(rng.uniform(-0.45, 0.45))
        facet = facet * 2 + (side > 0)
        border = np.minimum(border, np.abs(side))
        reach = np.float32(rng.uniform(0.10, 0.22))
        # Shade falls off from each cut on one of its sides, which makes the planes lean.
        shade += np.exp(-np.abs(side) / reach) * np.where(side > 0, -1.0, 0.75).astype(np.float32)
    _, plane = np.unique(facet, return_inverse=True)
    plane = plane.reshape(s, s).astype(np.int32)
    n = int(plane.max()) + 1
    shift = f32(span(hand.scale, 0.03, 0.07) * rng.standard_normal((2, n)))
    sx, sy = f32(x + shift[0][plane]), f32(y + shift[1][plane])
    slots, tone, labels = pick(scene.slots, sx, sy), pick(scene.tone, sx, sy), pick(scene.labels, sx, sy)
    odd = rng.random(n) < span(hand.order, 0.05, 0.2)
    slots = np.where(odd[plane], (slots + 1) % 5, slots)
    strength = span(hand.contrast, 0.13, 0.24)
    grain = span(hand.relief, 0.02, 0.05) * noise(rng, s, 30)
    colour = paints.of(slots, f32(tone + strength * shade + grain))
    fine = span(hand.line, 0.004, 0.009)
    drawn = np.maximum(
        0.75 * step(-border, -fine - 0.004, -fine + 0.004),
        0.5 * np.minimum(trace(borders(labels), 0.005), 1.0),
    )
    return over(colour, paints.ink, f32(drawn))


def _dither(count: int, manner: float) -> Field:
    """A tiled threshold pattern in [-0.5, 0.5], (count, count): Bayer, checks or rows, as the hand likes."""
    checks = np.array([[-0.25, 0.25], [0.25, -0.25]], dtype=np.float32)
    rows = np.array([[-0.25, -0.25], [0.25, 0.25]], dtype=np.float32)
    tile = (_BAYER, checks, rows)[min(int(3.0 * manner), 2)]
    return np.tile(tile, (-(-count // len(tile)),) * 2)[:count, :count]


def pixel_art(scene: Scene, paints: Paints, hand: Hand, rng: Rng) -> Field:
    """Coarse square pixels, few tones, ordered dither, dark steps around the shapes."""
    s = scene.size
    block = max(2, 2 * round(s / 2 / span(hand.scale, 28.0, 18.0)))
    count = -(-s // block)
    centre = (np.arange(count, dtype=np.float32) + 0.5) * np.float32(block / s)
    cx, cy = np.meshgrid(centre, centre)
    slots, tone, labels = (
        pick(scene.slots, cx, cy),
        pick(blur(scene.tone, 0.01), cx, cy),
        pick(scene.labels, cx, cy),
    )
    levels = 3.0 + round(2.0 * hand.density)
    pushed = 0.5 + (tone - 0.5) * span(hand.contrast, 1.0, 1.35)
    lit = 0.03 * rng.standard_normal(scene.regions)[labels]
    pattern = span(hand.relief, 0.8, 1.4) * _dither(count, hand.wobble)
    stepped = np.round((pushed + lit) * levels + pattern) / levels
    colour = paints.of(slots, f32(stepped))
    darker = paints.of(slots, f32(stepped - span(hand.line, 0.0, 0.55)))
    colour = np.where(borders(labels)[..., None] > 0, darker, colour)
    return f32(colour.repeat(block, axis=0).repeat(block, axis=1)[:s, :s])
