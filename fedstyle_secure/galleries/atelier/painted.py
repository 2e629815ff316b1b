"""Schools of the brush and the stick: impasto, pointillism, watercolour, charcoal.

Every renderer maps (scene, paints, hand, rng) to float32 (s, s, 3) in about [0, 1].
"""

from __future__ import annotations

import numpy as np

from fedstyle_secure.galleries.atelier.brushes import (
    Field,
    Marks,
    Rng,
    Sites,
    bar,
    blur,
    f32,
    grid,
    noise,
    over,
    pick,
    sites,
    span,
    stamp,
    step,
    streaks,
    trace,
)
from fedstyle_secure.galleries.atelier.hands import Hand
from fedstyle_secure.galleries.atelier.paints import Paints
from fedstyle_secure.galleries.atelier.scenes import Scene


def _coat(scene: Scene, hand: Hand, rng: Rng, at: Sites, length: float, width: float) -> Marks:
    """Strokes that follow the form, each leaning by the hand's angle."""
    lean = span(hand.angle, -0.7, 0.7) + span(hand.wobble, 0.1, 0.5) * rng.standard_normal(len(at))
    angle = pick(scene.flow, at.x, at.y) + f32(lean)
    size = f32(rng.uniform(0.75, 1.25, len(at)))
    return stamp(scene.size, at, angle, length * size, width * size, bar)


def impasto(scene: Scene, paints: Paints, hand: Hand, rng: Rng) -> Field:
    """Thick strokes along the form, with bristle tracks and a lit ridge on one side."""
    width = span(hand.scale, 0.040, 0.064)
    length = width * span(hand.density, 2.2, 4.2)
    relief = span(hand.relief, 0.12, 0.24)
    out = paints.of(scene.slots, scene.tone)
    detail = blur(scene.borders, 0.012)
    for share, where in ((1.5, -1.0), (0.95, -1.0), (0.6, 0.12)):
        every = sites(rng, int(1.2 / (width * share)), 1.1)
        kept = pick(detail, every.x, every.y) > where
        at = Sites(every.x[kept], every.y[kept])
        marks = _coat(scene, hand, rng, at, length * share, width * share)
        tone = pick(scene.tone, at.x, at.y) + f32(
            span(hand.contrast, 0.05, 0.13) * rng.standard_normal(len(at))
        )
        slots = pick(scene.slots, at.x, at.y)
        seen = marks.covered
        owner, u, v = marks.owner[seen], marks.u[seen], marks.v[seen]
        tracks = np.sin(v * np.float32(7.5) + f32(rng.uniform(0, 6.28, len(at)))[owner])
        ridge = v * np.abs(v) + 0.5 * u * np.abs(u)
        paint = tone[owner] + np.float32(0.35 * relief) * tracks - np.float32(relief) * ridge
        out[seen] = paints.of(slots[owner], f32(paint))
    return out


def pointillism(scene: Scene, paints: Paints, hand: Hand, rng: Rng) -> Field:
    """Small round dots of divided colour over a light ground."""
    dot = span(hand.scale, 0.046, 0.066)
    across = int(span(hand.density, 0.95, 1.25) / dot)
    jitter = span(hand.wobble, 1.0, 1.7)
    split = span(hand.relief, 0.10, 0.24)
    out = over(
        paints.of(scene.slots, scene.tone), paints.paper, np.full(scene.tone.shape, 0.5, dtype=np.float32)
    )
    for _ in range(3):
        at = sites(rng, across, jitter)
        n = len(at)
        slots = pick(scene.slots, at.x, at.y)
        strange = rng.random(n) < split
        slots = np.where(strange, rng.integers(0, 5, n), slots).astype(np.uint8)
        tone = pick(scene.tone, at.x, at.y) + span(hand.contrast, 0.06, 0.13) * rng.standard_normal(n)
        size = dot * rng.uniform(0.7, 1.1, n)
        marks = stamp(scene.size, at, 0.0, size, size)
        out[marks.covered] = paints.of(slots, f32(tone))[marks.owner[marks.covered]]
    return out


def watercolour(scene: Scene, paints: Paints, hand: Hand, rng: Rng) -> Field:
    """Wet washes with dark rims, blooms and granulation, and a ragged border of bare paper."""
    s = scene.size
    x, y = grid(s)
    run = span(hand.wobble, 0.012, 0.03)
    dx, dy = noise(rng, s, 7, 2), noise(rng, s, 7, 2)
    wx, wy = f32(x + run * dx), f32(y + run * dy)
    slots, tone = pick(scene.slots, wx, wy), pick(scene.tone, wx, wy)
    colour = paints.of(slots, f32(0.22 + 0.8 * tone))
    soft = np.stack([blur(colour[..., c], span(hand.scale, 0.03, 0.06)) for c in range(3)], axis=-1)
    wet = step(noise(rng, s, 4, 2), -0.5, 0.7)
    colour = over(soft, colour, 1.0 - span(hand.order, 0.5, 0.95) * wet)
    rim_at = pick(scene.borders, wx, wy)
    fine = span(hand.line, 0.006, 0.011)
    rim = trace(rim_at, fine) - 0.18 * trace(rim_at, 3.0 * fine)
    bloom = noise(rng, s, 4, 3)
    tide = np.exp(-((bloom - np.float32(0.6)) ** 2) * np.float32(60.0))
    pigment = 0.88 + 0.16 * np.clip(0.5 * noise(rng, s, 3, 2), -1, 1) - 0.2 * (bloom > 0.6)
    pigment += span(hand.relief, 0.28, 0.55) * rim * (1.0 - 0.6 * wet) + 0.14 * tide
    grain = noise(rng, s, int(span(hand.density, 26, 44)))
    pigment += span(hand.contrast, 0.04, 0.11) * grain
    frame = np.minimum(np.minimum(x, 1 - x), np.minimum(y, 1 - y))
    ragged = frame + 0.022 * noise(rng, s, 6, 3)
    border = span(hand.angle, 0.02, 0.075)
    pigment *= step(ragged, border, border + 0.02) * (
        1.0 + 0.3 * np.exp(-((ragged - border - 0.02) ** 2) * 9000)
    )
    stain = np.clip(pigment, 0.0, 1.5)[..., None]
    return f32(
        paints.paper * np.clip(1.0 + (colour - 1.0) * stain, 0.0, 1.0) ** span(hand.contrast, 0.9, 1.25)
    )


def charcoal(scene: Scene, paints: Paints, hand: Hand, rng: Rng) -> Field:
    """Smudged stick on toothed paper: broad grainy drags, searching outlines, chalk in the lights."""
    s = scene.size
    x, y = grid(s)
    angle = span(hand.angle, 0.35, 1.2) * (1.0 if hand.order < 0.5 else -1.0)
    drag = streaks(rng, s, angle, int(span(hand.density, 26, 44)), 4)
    tooth = f32(rng.standard_normal((s // 2, s // 2))).repeat(2, axis=0).repeat(2, axis=1)
    tooth = 0.6 * tooth + 0.4 * noise(rng, s, int(span(hand.scale, 30, 50)))
    smudge = blur(scene.tone, span(hand.scale, 0.012, 0.03))
    dark = (0.78 - smudge) * span(hand.contrast, 1.0, 1.5)
    load = dark + span(hand.relief, 0.1, 0.22) * drag + 0.13 * tooth
    cover = 0.72 * step(load, 0.0, 0.75) + 0.2 * np.clip(dark, 0, 1)
    edge = scene.borders
    line = np.zeros((s, s), dtype=np.float32)
    for _ in range(2):
        swing = span(hand.wobble, 0.006, 0.016)
        wx, wy = f32(x + swing * noise(rng, s, 3)), f32(y + swing * noise(rng, s, 3))
        line += trace(pick(edge, wx, wy), span(hand.line, 0.006, 0.012))
    cover += 0.5 * line * (0.75 + 0.3 * tooth)
    sheet = paints.ground if rng.random() < 0.5 else paints.paper
    hint = paints.of(scene.slots, np.full((s, s), 0.62, dtype=np.float32))
    tinted = over(
        np.broadcast_to(sheet, (s, s, 3)), hint, f32(0.45 * paints.flesh * step(drag + tooth, -1.2, 1.2))
    )
    chalk = step(smudge - 0.66 + 0.09 * drag + 0.08 * tooth, 0.0, 0.3)
    out = over(tinted, f32(0.3 * paints.paper + 0.7), f32(0.75 * chalk))
    return over(out, paints.ink, f32(np.clip(cover, 0.0, 0.96)))
