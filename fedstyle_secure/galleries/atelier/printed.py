"""Schools of the line and the press: hatching, woodcut, scratchboard, halftone, poster, ukiyo-e.

Every renderer maps (scene, paints, hand, rng) to float32 (s, s, 3) in about [0, 1].
"""

from __future__ import annotations

import numpy as np

from fedstyle_secure.galleries.atelier.brushes import (
    Field,
    Rng,
    Sites,
    blur,
    dot_screen,
    f32,
    grid,
    line_screen,
    mean_by,
    noise,
    over,
    pick,
    sites,
    span,
    stamp,
    step,
    streaks,
    trace,
    turn,
)
from fedstyle_secure.galleries.atelier.hands import Hand
from fedstyle_secure.galleries.atelier.paints import Paints
from fedstyle_secure.galleries.atelier.scenes import Scene


def _sheet(scene: Scene, paints: Paints, tone: Field, most: float) -> Field:
    """Paper with local colour washed over it as far as the picture's `flesh` allows."""
    colour = paints.of(scene.slots, tone)
    return f32(paints.paper + (colour - paints.paper) * np.float32(most * paints.flesh))


def _outline(scene: Scene, rng: Rng, width: float, swing: float, ragged: float) -> Field:
    """Ink coverage (s, s) of outlines about `width` thick, unsteady by `swing` and `ragged` in weight."""
    s = scene.size
    x, y = grid(s)
    wx, wy = f32(x + swing * noise(rng, s, 6)), f32(y + swing * noise(rng, s, 6))
    level = trace(pick(scene.borders, wx, wy), 0.5 * width)
    return step(level * (1.0 + ragged * np.clip(noise(rng, s, 9), -1.5, 1.5)), 0.3, 0.75)


def hatching(scene: Scene, paints: Paints, hand: Hand, rng: Rng) -> Field:
    """Pen lines in crossed layers, closer in the shade, over a faint wash."""
    s = scene.size
    x, y = grid(s)
    lines = span(hand.density, 14.0, 20.0)
    dark = (0.94 - scene.tone) * span(hand.contrast, 0.95, 1.25)
    swing = span(hand.wobble, 0.004, 0.02)
    wx, wy = f32(x + swing * noise(rng, s, 4)), f32(y + swing * noise(rng, s, 4))
    first = span(hand.angle, 0.3, 1.25)
    crossing = span(hand.order, 0.6, 1.2)
    cover = np.zeros((s, s), dtype=np.float32)
    for layer, (start, share) in enumerate(((0.10, 1.0), (0.48, 1.0), (0.66, 1.3))):
        angle = first + (0.0, crossing, -0.5 * crossing)[layer]
        _, across = turn(wx, wy, angle)
        weight = np.clip((dark - start) * 2.2, 0.0, 1.0) * span(hand.scale, 0.28, 0.44)
        broken = 1.0 + 0.25 * noise(rng, s, 8)
        screen = line_screen(f32(across * lines * share), f32(weight * broken), 0.22)
        cover = np.maximum(cover, screen * (weight > 0.03))
    outline = _outline(scene, rng, span(hand.line, 0.008, 0.014), 0.004, 0.15)
    return over(
        _sheet(scene, paints, f32(0.5 + 0.45 * scene.tone), 0.75), paints.ink, np.maximum(cover, outline)
    )


def woodcut(scene: Scene, paints: Paints, hand: Hand, rng: Rng) -> Field:
    """Swelling gouged lines that turn with every form, solid blacks, a second block of flat colour."""
    s = scene.size
    x, y = grid(s)
    lines = span(hand.density, 9.0, 14.0)
    angle_of = mean_by(scene.labels, scene.flow, scene.regions) + span(hand.angle, -0.6, 0.6)
    angle_of += f32(rng.choice([-0.5, 0.0, 0.5], scene.regions))
    angle = angle_of[scene.labels]
    soft = blur(scene.tone, 0.02)
    along, across = turn(x, y, angle)
    bend = span(hand.wobble, 0.5, 1.6) * soft + 0.2 * noise(rng, s, 4)
    dark = 0.5 + (0.52 - scene.tone) * span(hand.contrast, 1.5, 2.2)
    swell = 1.0 + 0.25 * np.sin(along * np.float32(span(hand.scale, 18, 34)) + 5.0 * noise(rng, s, 3))
    cover = line_screen(f32(across * lines + bend), f32(np.clip(dark, 0.0, 1.2) * swell), 0.25)
    cover *= step(dark, 0.02, 0.12)
    at = sites(rng, int(span(hand.order, 10, 16)), 1.0)
    chips = stamp(s, at, pick(angle, at.x, at.y), span(hand.relief, 0.04, 0.08), 0.014)
    chipped = chips.covered & (np.abs(dark - 0.55) > 0.35)
    cover = np.where(chipped, 1.0 - cover, cover)
    cover = np.maximum(cover, _outline(scene, rng, span(hand.line, 0.016, 0.028), 0.006, 0.3))
    frame = np.minimum(np.minimum(x, 1 - x), np.minimum(y, 1 - y)) + 0.006 * noise(rng, s, 10, 2)
    cover = np.maximum(cover, (frame < 0.028) & (frame > 0.008))
    tone_of = mean_by(scene.labels, scene.tone, scene.regions)
    block = _sheet(scene, paints, f32(0.45 + 0.5 * tone_of[scene.labels]), 0.95)
    return over(block, paints.ink, f32(cover))


def scratchboard(scene: Scene, paints: Paints, hand: Hand, rng: Rng) -> Field:
    """Fine light scratches out of a dark ground, denser in the lights."""
    s = scene.size
    ground = f32(paints.ink * np.float32(0.7))
    out = np.tile(ground, (s, s, 1))
    length = span(hand.scale, 0.06, 0.11)
    width = span(hand.line, 0.011, 0.015)
    spread = span(hand.wobble, 0.06, 0.28)
    for layer in range(3):
        every = sites(rng, int(span(hand.density, 36, 48)), 1.3)
        light = pick(scene.tone, every.x, every.y)
        wanted = np.minimum((light - 0.2 - 0.17 * layer) * span(hand.contrast, 0.9, 1.4), 0.75)
        kept = rng.random(len(every)) < wanted
        at, light = Sites(every.x[kept], every.y[kept]), light[kept]
        lean = span(hand.angle, -0.8, 0.8) + layer * span(hand.order, 0.35, 1.2)
        angle = pick(scene.flow, at.x, at.y) + f32(lean + spread * rng.standard_normal(len(at)))
        marks = stamp(s, at, angle, length * rng.uniform(0.5, 1.2, len(at)), width)
        colour = paints.of(pick(scene.slots, at.x, at.y), f32(0.5 + 0.5 * light))
        line = paints.paper * (0.7 + 0.3 * light[:, None])
        line = line + (colour - line) * np.float32(0.9 * paints.flesh)
        out[marks.covered] = line[marks.owner[marks.covered]]
    edge = _outline(scene, rng, 0.012, 0.003, 0.2)
    return over(out, ground, f32(span(hand.relief, 0.5, 0.9) * edge))


def halftone(scene: Scene, paints: Paints, hand: Hand, rng: Rng) -> Field:
    """Screens of round dots: one of local colour, one of key ink, with a firm comic outline."""
    s = scene.size
    x, y = grid(s)
    dots = span(hand.density, 15.0, 21.0)
    angle = span(hand.angle, 0.15, 0.75)
    u, v = turn(x, y, angle)
    soft = dots / s * 1.6
    tone = np.clip(0.5 + (scene.tone - 0.5) * span(hand.contrast, 1.0, 1.4), 0.0, 1.0)
    key = np.sqrt(np.clip(0.78 - tone, 0.0, 1.0)) * span(hand.scale, 0.62, 0.74)
    u2, v2 = turn(x, y, angle + span(hand.order, 0.4, 0.9))
    slip = span(hand.relief, 0.0, 0.012)
    tint = np.sqrt(np.clip(1.15 - tone, 0.0, 1.0)) * span(hand.wobble, 0.5, 0.7)
    colour = paints.of(scene.slots, np.full((s, s), 0.58, dtype=np.float32))
    plate = f32(colour[np.clip(np.arange(s) + int(slip * s), 0, s - 1)])
    out = over(
        np.broadcast_to(paints.paper, (s, s, 3)), plate, dot_screen(u2 * dots, v2 * dots, f32(tint), soft)
    )
    out = over(out, paints.ink, dot_screen(u * dots, v * dots, f32(key), soft))
    return over(out, paints.ink, _outline(scene, rng, span(hand.line, 0.008, 0.02), 0.002, 0.0))


def poster(scene: Scene, paints: Paints, hand: Hand, rng: Rng) -> Field:
    """Flat shapes in a few steps of tone with crisp borders: no outline, no texture."""
    s = scene.size
    x, y = grid(s)
    swing = span(hand.wobble, 0.002, 0.012)
    wx, wy = f32(x + swing * noise(rng, s, 4)), f32(y + swing * noise(rng, s, 4))
    labels, slots, tone = (pick(f, wx, wy) for f in (scene.labels, scene.slots, scene.tone))
    tone_of = mean_by(scene.labels, scene.tone, scene.regions)
    middle = 0.5 + (tone_of[labels] - 0.5) * span(hand.contrast, 1.1, 1.5)
    steps = 1.0 + round(2.0 * hand.density)
    shade = (tone - tone_of[labels]) * span(hand.scale, 5.0, 9.0)
    cut = np.round(np.clip(shade, -1.0, 1.0) * steps) / steps
    colour = paints.of(slots, f32(middle + span(hand.relief, 0.10, 0.19) * cut))
    if hand.line > 0.5:  # slivers of paper where the plates do not quite meet
        apart = trace(scene.borders, 0.005)
        colour = over(colour, paints.paper, step(pick(apart, wx, wy), 0.3, 0.6))
    margin = span(hand.order, -0.02, 0.06)
    frame = np.minimum(np.minimum(x, 1 - x), np.minimum(y, 1 - y))
    return over(colour, paints.paper, f32(frame < margin))


def _scales(x: Field, y: Field, across: float) -> Field:
    """Seigaiha: rows of overlapping fans made of concentric arcs; coverage (s, s)."""
    best = np.full(x.shape, 9.0, dtype=np.float32)
    # Fans of lower rows lie over those above; the first that reaches a pixel owns it.
    px, py = x * np.float32(across), y * np.float32(2.0 * across)
    for down in (2, 1, 0):
        row = np.floor(py) + down
        shift = np.float32(0.5) * (row % 2)
        dx = px - (np.floor(px - shift) + np.float32(0.5) + shift)
        r = np.hypot(dx, (row - py) * np.float32(0.5))
        best = np.where(r <= 0.5, r, best)
    return line_screen(f32(best * 5.0 + 0.25), 0.45, 0.5)


def ukiyo_e(scene: Scene, paints: Paints, hand: Hand, rng: Rng) -> Field:
    """Fine key-block lines, flat colour, bokashi gradients, a patterned cloth, grain of the plank."""
    s = scene.size
    x, y = grid(s)
    tone_of = mean_by(scene.labels, scene.tone, scene.regions)
    pixels = np.bincount(scene.labels.ravel(), minlength=scene.regions)
    tone = f32(0.3 + 0.62 * tone_of[scene.labels])
    # Bokashi: the wiped gradient runs down each large region from its upper border.
    top = np.full(scene.regions, 2.0, dtype=np.float32)
    np.minimum.at(top, scene.labels.ravel(), y.ravel())
    large = pixels > 0.08 * s * s
    depth = (y - top[scene.labels]) / np.float32(span(hand.scale, 0.16, 0.34))
    wiped = np.clip(1.0 - depth, 0.0, 1.0) * large[scene.labels]
    tone -= np.float32(span(hand.contrast, 0.25, 0.5)) * wiped
    plank = streaks(rng, s, 0.0 if hand.angle < 0.6 else np.pi / 2, int(span(hand.density, 18, 30)), 2)
    colour = paints.of(scene.slots, f32(tone + span(hand.wobble, 0.015, 0.04) * plank))
    out = f32(colour + (paints.paper - colour) * np.float32(0.12))
    order = np.argsort(-pixels)
    patterned = np.isin(scene.labels, order[1 : 2 + round(2 * hand.relief)])
    fans = _scales(x, y, span(hand.order, 6.0, 9.0))
    out = over(out, paints.paper, f32(0.55 * fans * patterned))
    key = _outline(scene, rng, span(hand.line, 0.007, 0.013), 0.002, 0.25)
    return over(out, paints.ink, f32(0.95 * key))
