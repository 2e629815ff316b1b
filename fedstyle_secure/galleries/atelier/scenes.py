"""What a picture shows, drawn without any knowledge of who will paint it.

A scene is a stack of shapes, each with a palette slot, a tone and a direction of form. Any school renders any
scene.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedstyle_secure.galleries.atelier.brushes import (
    Field,
    Index,
    Mask,
    Rng,
    borders,
    f32,
    grid,
    noise,
    turn,
)
from fedstyle_secure.galleries.atelier.paints import SLOTS


@dataclass(frozen=True)
class Scene:
    """What a picture shows, on a square of s x s pixels.

    Attributes:
        kind: `landscape`, `seascape`, `city`, `still life`, `figure` or `abstract`.
        labels: int32, shape (s, s). Region of each pixel, 0 <= label < regions.
        slots: uint8, shape (s, s). Palette slot of each pixel, constant within a region.
        tone: float32, shape (s, s). Lightness in [0.02, 0.98], with light and shade.
        flow: float32, shape (s, s). Direction in which the form runs, radians.
        regions: Number of regions.
    """

    kind: str
    labels: Index
    slots: npt.NDArray[np.uint8]
    tone: Field
    flow: Field
    regions: int

    @property
    def size(self) -> int:
        """Side in pixels."""
        return int(self.labels.shape[0])

    @property
    def borders(self) -> Field:
        """float32, shape (s, s): 1 where a pixel's right or lower neighbour belongs to another region."""
        return borders(self.labels)


class Stage:
    """Shapes are laid over each other here until the scene is done."""

    def __init__(self, rng: Rng, s: int) -> None:
        self.rng = rng
        self.x, self.y = grid(s)
        self.s = s
        # Slots are shuffled so that no palette entry always means sky.
        self.order = rng.permutation(SLOTS)
        self.side = 1.0 if rng.random() < 0.5 else -1.0
        self.height = rng.uniform(0.25, 0.8)
        self.labels = np.zeros((s, s), dtype=np.int32)
        self.slots = np.full((s, s), self.order[0], dtype=np.uint8)
        self.tone = np.full((s, s), 0.5, dtype=np.float32)
        self.flow = np.zeros((s, s), dtype=np.float32)
        self.count = 1

    def lay(self, mask: Mask, slot: int, tone: Field | float, flow: Field | float = 0.0) -> None:
        """Cover `mask` with a region of its own."""
        self.labels[mask] = self.count
        self.slots[mask] = self.order[slot % SLOTS]
        self.tone[mask] = tone[mask] if isinstance(tone, np.ndarray) else tone
        self.flow[mask] = flow[mask] if isinstance(flow, np.ndarray) else flow
        self.count += 1

    def shade(self, mask: Mask, amount: float) -> None:
        """Darken `mask` (or lighten it, with a negative amount) without a region of its own."""
        self.tone[mask] -= np.float32(amount)

    def ball(
        self, cx: float, cy: float, rx: float, ry: float, slot: int, tone: float, form: float = 0.3
    ) -> None:
        """An ellipsoid lit from the scene's side."""
        u, v = (self.x - cx) / rx, (self.y - cy) / ry
        r2 = u * u + v * v
        z = np.sqrt(np.clip(1.0 - r2, 0.0, 1.0))
        light = -self.side * 0.62 * u - self.height * v + 0.55 * z
        self.lay(
            r2 <= 1.0, slot, f32(tone + form * (light - 0.25)), f32(np.arctan2(v * ry, u * rx) + np.pi / 2)
        )

    def box(self, left: float, top: float, right: float, bottom: float) -> Mask:
        """An upright rectangle."""
        return (self.x >= left) & (self.x < right) & (self.y >= top) & (self.y < bottom)

    def polygon(self, *corners: tuple[float, float]) -> Mask:
        """A convex polygon, in either order of its corners."""
        around = np.array(corners)
        shifted = np.roll(around, -1, axis=0)
        area = float(np.sum(around[:, 0] * shifted[:, 1] - shifted[:, 0] * around[:, 1]))
        sign = np.float32(1.0 if area >= 0 else -1.0)
        inside = np.ones((self.s, self.s), dtype=np.bool_)
        for (ax, ay), (bx, by) in zip(around.tolist(), shifted.tolist(), strict=True):
            inside &= ((bx - ax) * (self.y - ay) - (by - ay) * (self.x - ax)) * sign >= 0
        return inside

    def upright(self, cx: float, top: float, bottom: float, half: Field, slot: int, tone: float) -> None:
        """A body of revolution: half its width for every row in `half` (s, 1), shaded like a column."""
        u = (self.x - cx) / np.maximum(half, 1e-4)
        mask = (np.abs(u) <= 1.0) & (self.y >= top) & (self.y < bottom)
        self.lay(mask, slot, f32(tone - self.side * 0.24 * u - 0.16 * u * u), np.pi / 2)

    def sky(self, low: float) -> None:
        """Fill everything above `low` (and below, until it is covered) with a sky."""
        rng = self.rng
        top, bottom = rng.uniform(0.35, 0.9), rng.uniform(0.45, 0.95)
        clouds = noise(rng, self.s, 2, 3, tall=int(rng.integers(2, 6)))
        fade = self.y / max(low, 0.2)
        tone = f32(top + (bottom - top) * fade + rng.uniform(0.02, 0.12) * clouds)
        self.lay(self.y < 2.0, 0, tone, f32(0.25 * clouds))
        if rng.random() < 0.35:
            bank = clouds + rng.uniform(-0.5, 0.5) - 2.0 * np.abs(fade - rng.uniform(0.2, 0.7))
            self.lay(bank > 0.15, 3, f32(tone + rng.uniform(-0.15, 0.25)), f32(0.3 * clouds))
        if rng.random() < 0.55:
            cx, cy, r = (
                rng.uniform(0.12, 0.88),
                rng.uniform(0.1, max(0.15, low - 0.08)),
                rng.uniform(0.05, 0.13),
            )
            u, v = self.x - cx, self.y - cy
            lit = 0.96 if rng.random() < 0.75 else 0.2
            self.lay(u * u + v * v < r * r, 1, lit, f32(np.arctan2(v, u) + np.pi / 2))

    def finish(self, kind: str) -> Scene:
        """Turn the stage left or right, light it, and hand out what it shows."""
        rng = self.rng
        if rng.random() < 0.5:
            for name in ("labels", "slots", "tone", "flow"):
                setattr(self, name, np.ascontiguousarray(getattr(self, name)[:, ::-1]))
            self.flow = f32(-self.flow)
        across, down = turn(self.x, self.y, float(rng.uniform(0.0, 2.0 * np.pi)))
        beam = rng.uniform(0.0, 0.25) * across - rng.uniform(0.0, 0.3) * (across * across + down * down)
        tone = 0.5 + (self.tone + beam - 0.5) * rng.uniform(0.8, 1.2) + rng.uniform(-0.1, 0.1)
        return Scene(kind, self.labels, self.slots, f32(np.clip(tone, 0.02, 0.98)), self.flow, self.count)
