"""The subjects: how landscapes, seascapes, cities, still lifes, figures and abstractions are composed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fedstyle_secure.galleries.atelier.brushes import Rng, f32, noise, profile, turn
from fedstyle_secure.galleries.atelier.scenes import Scene, Stage


def _tree(stage: Stage, cx: float, foot: float, tall: float, slot: int, tone: float) -> None:
    rng = stage.rng
    stage.lay(
        stage.box(cx - 0.02 * tall - 0.008, foot - 0.55 * tall, cx + 0.02 * tall + 0.008, foot),
        4,
        0.2,
        np.pi / 2,
    )
    if rng.random() < 0.35:  # a fir
        for k in range(3):
            top, wide = foot - tall * (1.0 - 0.24 * k), tall * (0.14 + 0.06 * k)
            low = top + 0.42 * tall
            lean = f32(tone - 0.6 * stage.side * (stage.x - cx))
            stage.lay(stage.polygon((cx, top), (cx + wide, low), (cx - wide, low)), slot, lean, 1.2)
        return
    for _ in range(int(rng.integers(2, 5))):
        r = tall * rng.uniform(0.18, 0.3)
        stage.ball(
            cx + rng.normal(0, 0.12) * tall, foot - tall * rng.uniform(0.55, 0.85), r, r * 0.9, slot, tone
        )


def _house(stage: Stage, cx: float, foot: float, wide: float) -> None:
    rng, lit = stage.rng, stage.side
    tall, roof = wide * rng.uniform(0.45, 0.7), wide * rng.uniform(0.35, 0.6)
    front = rng.uniform(0.6, 0.9)
    stage.lay(stage.box(cx - wide / 2, foot - tall, cx + wide / 2, foot), 3, front, np.pi / 2)
    dark = stage.box(cx + 0.12 * wide, foot - tall, cx + wide / 2, foot)
    stage.shade(dark if lit > 0 else stage.box(cx - wide / 2, foot - tall, cx - 0.12 * wide, foot), 0.28)
    eave = foot - tall
    peak = (cx - 0.15 * wide * lit, eave - roof)
    stage.lay(
        stage.polygon((cx - 0.6 * wide, eave), peak, (cx + 0.6 * wide, eave)), 1, rng.uniform(0.25, 0.55), 0.7
    )
    stage.lay(stage.box(cx - 0.1 * wide, foot - 0.6 * tall, cx + 0.06 * wide, foot), 4, 0.14, np.pi / 2)


def _landscape(stage: Stage) -> None:
    rng, x, y, s = stage.rng, stage.x, stage.y, stage.s
    horizon = rng.uniform(0.38, 0.66)
    stage.sky(horizon)
    ridges = int(rng.integers(1, 4))
    near, far = rng.uniform(0.2, 0.5), rng.uniform(0.45, 0.8)
    for k in range(ridges):
        nearness = (k + 1) / ridges
        line = profile(rng, s, int(rng.integers(2, 5)), 4) * rng.uniform(0.05, 0.13)
        crest = horizon - rng.uniform(0.05, 0.2) * (1.0 - 0.5 * nearness) + line
        slope = f32(np.arctan(np.gradient(line) * s))
        tone = f32(
            far + (near - far) * nearness + 0.35 * (y - crest) + 0.12 * stage.side * np.sin(2.0 * slope)
        )
        stage.lay(y > crest, 1 + k, tone, f32(np.broadcast_to(slope, (s, s)) + 0.5 * stage.side))
    edge = horizon + 0.02 * profile(rng, s, 3)
    plain = y > edge
    vanish = rng.uniform(0.2, 0.8)
    depth = (y - horizon) / (1.0 - horizon)
    if rng.random() < 0.35:
        ripple = np.sin(45.0 * np.sqrt(np.clip(depth, 0.0, 1.0)) + 2.0 * noise(rng, s, 3))
        stage.lay(plain, 2, f32(rng.uniform(0.4, 0.75) + 0.08 * ripple - 0.2 * depth), 0.0)
        bank = y > 0.92 - 0.25 * np.abs(x - vanish) + 0.03 * profile(rng, s, 4)
        stage.lay(bank, 4, f32(rng.uniform(0.25, 0.5) + 0.1 * x), 0.2)
    else:
        fan = (x - vanish) / np.clip(depth + 0.15, 0.1, None)
        furrow = np.sin(rng.uniform(8.0, 16.0) * fan) * rng.uniform(0.0, 0.14)
        towards = f32(np.arctan2(y - horizon + 0.15, x - vanish))
        stage.lay(plain, 4, f32(rng.uniform(0.35, 0.65) + furrow + 0.15 * depth), towards)
        if rng.random() < 0.5:
            bend = vanish + 0.18 * np.sin(rng.uniform(2, 5) * depth + rng.uniform(0, 6))
            path = np.abs(x - bend) < 0.02 + 0.16 * depth
            stage.lay(plain & path, 3, f32(0.78 + 0.1 * depth), towards)
    if rng.random() < 0.5:
        _house(stage, rng.uniform(0.2, 0.8), horizon + rng.uniform(0.06, 0.2), rng.uniform(0.16, 0.3))
    for _ in range(int(rng.integers(0, 5))):
        foot = horizon + rng.uniform(0.05, 0.35)
        tall = rng.uniform(0.7, 1.3) * (foot - horizon + 0.22)
        _tree(stage, rng.uniform(0.03, 0.97), foot, tall, int(rng.integers(1, 5)), rng.uniform(0.28, 0.55))


def _seascape(stage: Stage) -> None:
    rng, x, y, s = stage.rng, stage.x, stage.y, stage.s
    horizon = rng.uniform(0.35, 0.6)
    stage.sky(horizon)
    if rng.random() < 0.6:
        crest = horizon - 0.04 - 0.05 * profile(rng, s, 3) * rng.uniform(0.5, 2.0) - 0.12 * (x - rng.random())
        stage.lay((y > crest) & (y < horizon), 1, f32(rng.uniform(0.35, 0.65) - 0.2 * x), 0.1)
    depth = np.clip((y - horizon) / (1.0 - horizon), 0.0, 1.0)
    waves = np.sin(38.0 * np.sqrt(depth) + 2.5 * noise(rng, s, 3, 2))
    deep, foam = rng.uniform(0.3, 0.6), rng.uniform(0.04, 0.16)
    swell = f32(0.3 * noise(rng, s, 3))
    stage.lay(y > horizon, 2, f32(deep + foam * waves - 0.12 * depth), swell)
    for band in range(int(rng.integers(0, 3))):
        row = horizon + (0.35 + 0.25 * band) * (1 - horizon) + 0.025 * profile(rng, s, 5)
        stage.lay((y > row) & (y < row + 0.03 + 0.02 * band), 3, f32(0.8 + 0.1 * waves), swell)
    if rng.random() < 0.45:  # rocks or a shore
        coast = y > 0.95 - 0.4 * np.clip(x - rng.uniform(0.3, 0.7), 0, 1) - 0.05 * profile(rng, s, 4)
        stage.lay(coast, 4, f32(rng.uniform(0.2, 0.5) + 0.15 * (1 - y)), 0.6)
    for _ in range(int(rng.integers(1, 4))):
        cx, foot = rng.uniform(0.15, 0.85), horizon + rng.uniform(0.02, 0.3) * (1 - horizon)
        w = 0.05 + 0.5 * (foot - horizon) + rng.uniform(0.0, 0.1)
        lit = rng.uniform(0.7, 0.95)
        sail = [(cx, foot - 2.3 * w), (cx, foot - 0.35 * w), (cx + stage.side * 0.95 * w, foot - 0.35 * w)]
        stage.lay(stage.polygon(*sail), 3, lit, 1.3)
        jib = [(cx, foot - 2.0 * w), (cx, foot - 0.35 * w), (cx - stage.side * 0.6 * w, foot - 0.35 * w)]
        stage.lay(stage.polygon(*jib), 1, lit - 0.25, 1.8)
        hull = [
            (cx - 1.1 * w, foot - 0.25 * w),
            (cx + 1.1 * w, foot - 0.25 * w),
            (cx + 0.75 * w, foot + 0.15 * w),
        ]
        stage.lay(stage.polygon(*hull, (cx - 0.75 * w, foot + 0.15 * w)), 4, 0.18, 0.0)


def _city(stage: Stage) -> None:
    rng, x, y = stage.rng, stage.x, stage.y
    horizon = rng.uniform(0.6, 0.82)
    stage.sky(horizon)
    rows = int(rng.integers(2, 4))
    for row in range(rows):
        left = -rng.uniform(0.0, 0.2)
        base = 0.72 - 0.22 * row + rng.uniform(-0.08, 0.08)
        while left < 1.0:
            wide = rng.uniform(0.12, 0.26)
            top = horizon - rng.uniform(0.1, 0.55 - 0.1 * row)
            slot, tone = int(rng.integers(1, 5)), base + rng.uniform(-0.1, 0.1)
            face = stage.box(left, top, left + wide, 1.0)
            stage.lay(face, slot, f32(tone - 0.12 * y), np.pi / 2)
            shaded = left + wide * (0.68 if stage.side > 0 else 0.0)
            stage.shade(face & stage.box(shaded, top, shaded + 0.32 * wide, 1.0), 0.16)
            roof = rng.random()
            if roof < 0.3:
                tip = (left + wide / 2, top - rng.uniform(0.05, 0.14))
                stage.lay(stage.polygon((left, top), tip, (left + wide, top)), slot + 1, tone - 0.2, 0.8)
            elif roof < 0.45:
                stage.ball(left + wide / 2, top, wide * 0.4, wide * 0.4, slot + 1, tone, 0.2)
            if row == rows - 1 or rng.random() < 0.4:
                panes = int(rng.integers(2, 4))
                step_x, step_y = wide / panes, rng.uniform(0.08, 0.12)
                u, v = (x - left) / step_x % 1.0, (y - top) / step_y % 1.0
                glass = face & (np.abs(u - 0.5) < 0.25) & (np.abs(v - 0.55) < 0.28)
                lit = 0.88 if rng.random() < 0.4 else 0.15
                stage.lay(glass & (y > top), slot + 2, lit, np.pi / 2)
            left += wide * rng.uniform(0.85, 1.2)
    street = y > horizon
    stage.lay(street, 4, f32(rng.uniform(0.4, 0.75) - 0.25 * (y - horizon)), 0.0)
    if rng.random() < 0.6:
        kerb = horizon + 0.35 * (1.0 - horizon)
        stage.lay(y > kerb + 0.1 * (x - 0.5), 3, rng.uniform(0.25, 0.6), 0.1)


def _still_life(stage: Stage) -> None:
    rng, x, y, s = stage.rng, stage.x, stage.y, stage.s
    table = rng.uniform(0.52, 0.7)
    wall = rng.uniform(0.3, 0.8)
    stage.lay(y < 2.0, 0, f32(wall + 0.35 * stage.side * (0.5 - x) + 0.05 * noise(rng, s, 2)), np.pi / 2)
    if rng.random() < 0.4:  # a window or a picture on the wall
        left, top = rng.uniform(0.05, 0.55), rng.uniform(0.03, 0.15)
        stage.lay(stage.box(left, top, left + 0.36, top + 0.36), 4, wall - 0.25, 0.0)
        stage.lay(stage.box(left + 0.04, top + 0.04, left + 0.32, top + 0.32), 1, wall + 0.2, 0.8)
    stage.lay(y > table, 2, f32(rng.uniform(0.4, 0.85) - 0.25 * (y - table)), 0.0)
    if rng.random() < 0.5:  # a cloth hanging over the table
        hem = 0.9 + 0.05 * profile(rng, s, 4)
        fold = np.sin(rng.uniform(14, 26) * x + rng.uniform(0, 6) + 3.0 * y) * 0.12
        span = np.abs(x - rng.uniform(0.3, 0.7)) < rng.uniform(0.22, 0.4)
        stage.lay(span & (y > table + 0.06) & (y < hem), 3, f32(0.75 + fold), np.pi / 2)
    things = int(rng.integers(3, 6))
    feet = np.sort(table + rng.uniform(0.03, 0.28, things))
    places = (np.arange(things) + rng.uniform(0.2, 0.8, things)) / things
    for foot, cx in zip(feet.tolist(), rng.permutation(places).tolist(), strict=True):
        slot, tone = int(rng.integers(1, 5)), rng.uniform(0.35, 0.75)
        cx = 0.1 + 0.8 * cx
        wide = rng.uniform(0.07, 0.13)
        cast = ((x - cx - stage.side * 1.1 * wide) / (1.7 * wide)) ** 2 + (
            (y - foot) / (0.35 * wide)
        ) ** 2 < 1.0
        stage.shade(cast, 0.3)
        kind = rng.random()
        if kind < 0.42:
            for k in range(int(rng.integers(1, 4))):
                stage.ball(cx + 1.3 * k * wide, foot - 0.85 * wide, wide, wide * 0.92, slot, tone + 0.08 * k)
        elif kind < 0.8:  # a vase or a bottle
            tall = wide * rng.uniform(2.6, 4.4)
            t = np.clip((foot - y[:, :1]) / tall, 0.0, 1.0)
            belly, neck = rng.uniform(0.2, 0.5), rng.uniform(0.25, 0.6)
            bulge = np.exp(-(((t - belly) / 0.28) ** 2))
            half = wide * f32(neck * 0.8 + (1.1 - neck) * bulge + 0.2 * (t > 0.94))
            stage.upright(cx, foot - tall, foot, f32(half), slot, tone)
            for _ in range(int(rng.integers(0, 2)) * 5):  # flowers
                px, py = cx + rng.normal(0, 0.08), foot - tall - abs(rng.normal(0.07, 0.06))
                stage.ball(
                    px, py, 0.045, 0.045, slot + 1 + int(rng.integers(0, 3)), rng.uniform(0.5, 0.9), 0.2
                )
        else:  # a bowl with fruit
            for k in (-1, 0, 1):
                stage.ball(
                    cx + 0.8 * k * wide, foot - 1.2 * wide, 0.6 * wide, 0.6 * wide, slot + 1, tone + 0.15
                )
            u, v = (x - cx) / (1.7 * wide), (y - foot + 1.05 * wide) / (1.05 * wide)
            bowl = (u * u + v * v < 1.0) & (v > 0)
            stage.lay(bowl, slot, f32(tone - 0.3 * stage.side * u), 0.0)


def _figure(stage: Stage) -> None:
    rng, x, y, s = stage.rng, stage.x, stage.y, stage.s
    back = rng.uniform(0.25, 0.85)
    stage.lay(y < 2.0, 0, f32(back + 0.3 * stage.side * (0.5 - x) + 0.06 * noise(rng, s, 2, 2)), 0.9)
    scenery = rng.random()
    if scenery < 0.4:
        edge = rng.uniform(0.15, 0.4)
        fold = 0.12 * np.sin(rng.uniform(30, 55) * x + 4.0 * y)
        stage.lay(x < edge + 0.05 * profile(rng, s, 2)[:, None], 4, f32(back - 0.2 + fold), np.pi / 2)
    elif scenery < 0.7:
        stage.lay(y > rng.uniform(0.5, 0.75), 4, back - 0.25, 0.0)
        stage.ball(rng.uniform(0.1, 0.9), 0.2, 0.09, 0.09, 3, 0.9, 0.1)
    cx, head = rng.uniform(0.38, 0.62), rng.uniform(0.11, 0.17)
    cy = rng.uniform(0.26, 0.36)
    lean = rng.uniform(-0.12, 0.12)
    skin, cloth = rng.uniform(0.6, 0.85), rng.uniform(0.25, 0.75)
    long_hair = rng.random() < 0.5
    hair_tone = rng.uniform(0.1, 0.5)
    if long_hair:
        stage.ball(cx, cy + 0.5 * head, 1.25 * head, 1.9 * head, 3, hair_tone, 0.15)
    shoulder, low = cy + 1.5 * head, 1.05
    wide = head * rng.uniform(1.8, 2.6)
    t = np.clip((y - shoulder) / (low - shoulder), 0.0, 1.0)
    half = wide * np.sqrt(np.clip(t * 6.0, 0.0, 1.0)) * (1.0 + 0.25 * t)
    u = (x - cx - lean * (y - shoulder)) / np.maximum(half, 1e-4)
    torso = (np.abs(u) <= 1.0) & (y > shoulder)
    stage.lay(torso, 1, f32(cloth - 0.22 * stage.side * u - 0.12 * u * u), f32(np.pi / 2 + 0.5 * u))
    if rng.random() < 0.6:  # a sash, a collar, or stripes
        stage.lay(
            torso & (np.abs(u - rng.uniform(-0.5, 0.5) - 1.5 * (t - 0.3)) < 0.22), 2, f32(0.85 - 0.3 * u), 1.0
        )
    stage.lay(
        stage.box(cx - 0.42 * head, cy + 0.6 * head, cx + 0.42 * head, shoulder + 0.35 * head),
        2,
        skin - 0.22,
        1.5,
    )
    stage.ball(cx, cy, 0.82 * head, 1.08 * head, 2, skin, 0.26)
    gaze = -stage.side * 0.18 * head
    for eye in (-0.34, 0.34):
        at = ((x - cx - gaze - eye * head) / (0.13 * head)) ** 2 + (
            (y - cy + 0.05 * head) / (0.09 * head)
        ) ** 2
        stage.shade(at < 1.0, 0.4)
    stage.shade((np.abs(x - cx - gaze) < 0.22 * head) & (np.abs(y - cy - 0.52 * head) < 0.06 * head), 0.3)
    stage.shade(
        stage.box(cx + gaze - 0.05 * head, cy - 0.05 * head, cx + gaze + 0.06 * head, cy + 0.28 * head), 0.12
    )
    fringe = ((x - cx) / (0.9 * head)) ** 2 + ((y - cy) / (1.16 * head)) ** 2 < 1.0
    part = y < cy - (0.3 + rng.uniform(0.0, 0.2)) * head + 0.35 * (x - cx) * rng.uniform(-1, 1)
    stage.lay(fringe & part, 3, f32(hair_tone + 0.2 * (cy - y) / head), 0.4)
    if rng.random() < 0.4:  # a hat
        brim = cy - 0.5 * head
        stage.lay(stage.box(cx - 0.75 * head, brim - 0.8 * head, cx + 0.75 * head, brim), 4, 0.3, 0.0)
        stage.ball(cx, brim, 1.4 * head, 0.2 * head, 4, 0.35, 0.1)


def _abstract(stage: Stage) -> None:
    rng, x, y, s = stage.rng, stage.x, stage.y, stage.s
    stage.lay(y < 2.0, 0, f32(rng.uniform(0.4, 0.9) + 0.2 * (x - 0.5)), rng.uniform(0, np.pi))
    for k in range(int(rng.integers(5, 10))):
        slot, tone = k + 1, rng.uniform(0.1, 0.95)
        angle = float(rng.uniform(0.0, np.pi))
        cx, cy, r = rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.9), rng.uniform(0.08, 0.3)
        u, v = turn(f32(x - cx + 0.5), f32(y - cy + 0.5), angle)
        fade = f32(tone + rng.uniform(-0.8, 0.8) * u)
        kind = rng.random()
        round_flow = f32(np.arctan2(y - cy, x - cx) + np.pi / 2)
        distance = np.hypot(u, v)
        if kind < 0.25:
            stage.ball(cx, cy, r, r, slot, tone, float(rng.uniform(0.0, 0.4)))
        elif kind < 0.4:
            stage.lay(np.abs(distance - r) < 0.28 * r, slot, fade, round_flow)
        elif kind < 0.6:
            stage.lay(np.abs(v + 0.08 * np.sin(8 * u) * rng.integers(0, 2)) < 0.35 * r, slot, fade, angle)
        elif kind < 0.75:
            corners = angle + np.array([0.0, 2.1, 4.2]) + rng.uniform(-0.3, 0.3, 3)
            points = [(cx + 1.3 * r * float(np.cos(a)), cy + 1.3 * r * float(np.sin(a))) for a in corners]
            stage.lay(stage.polygon(*points), slot, fade, angle)
        elif kind < 0.9:
            stage.lay((distance < 1.2 * r) & (v > 0), slot, fade, round_flow)
        else:
            wave = 0.5 + 0.12 * profile(rng, s, 3)
            stage.lay((y > wave + cy - 0.5) & (y < wave + cy - 0.5 + 0.6 * r), slot, fade, 0.0)


SUBJECTS: tuple[tuple[str, Callable[[Stage], None]], ...] = (
    ("landscape", _landscape),
    ("seascape", _seascape),
    ("city", _city),
    ("still life", _still_life),
    ("figure", _figure),
    ("abstract", _abstract),
)


def draw_scene(rng: Rng, s: int) -> Scene:
    """Draw a scene of a random kind, composition and light on s x s pixels."""
    kind, compose = SUBJECTS[int(rng.integers(len(SUBJECTS)))]
    stage = Stage(rng, s)
    compose(stage)
    return stage.finish(kind)
