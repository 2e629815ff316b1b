"""What every school paints with: smooth noise, jittered cells, stamped marks, line screens, soft steps.

Fields are float32 of shape (s, s) over the unit square, row = y downwards, column = x to the right.
All lengths are fractions of the picture's side, so that a hand looks the same at any size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Field = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Index = npt.NDArray[np.int32]
Rng = np.random.Generator

# Elements of one block of stamped marks: bounds the memory at large sizes without slowing small ones.
_BLOCK = 1 << 20


def span(unit: float, low: float, high: float) -> float:
    """Map a habit in [0, 1] to the range [low, high] that a school gives it."""
    return low + (high - low) * unit


def f32(value: npt.ArrayLike) -> Field:
    """The value as a float32 array."""
    return np.asarray(value, dtype=np.float32)


@lru_cache(maxsize=8)
def grid(s: int) -> tuple[Field, Field]:
    """Pixel centres (x, y), each float32 (s, s) in (0, 1), read-only."""
    line = (np.arange(s, dtype=np.float32) + 0.5) / np.float32(s)
    x = np.ascontiguousarray(np.broadcast_to(line, (s, s)))
    y = np.ascontiguousarray(x.T)
    x.flags.writeable = False
    y.flags.writeable = False
    return x, y


def step(field: Field, low: float, high: float) -> Field:
    """Smooth step from 0 at `low` to 1 at `high`, float32 of the same shape; low < high."""
    t = np.clip((field - np.float32(low)) * np.float32(1.0 / (high - low)), 0.0, 1.0)
    return f32(t * t * (3.0 - 2.0 * t))


def blur(field: Field, sigma: float) -> Field:
    """Gaussian blur; `sigma` is a fraction of the side."""
    return f32(ndimage.gaussian_filter(field, sigma * field.shape[0], mode="nearest", truncate=2.5))


def borders(labels: npt.NDArray[Any]) -> Field:
    """float32 (s, s): 1 where a pixel's right or lower neighbour has another label, else 0."""
    edge = np.zeros(labels.shape, dtype=np.float32)
    edge[:, :-1] = labels[:, 1:] != labels[:, :-1]
    edge[:-1] = np.maximum(edge[:-1], labels[1:] != labels[:-1])
    return edge


def trace(edge: Field, sigma: float) -> Field:
    """Soft lines of deviation `sigma` along borders, about 1 on a border at any size."""
    # A line one pixel wide blurs to a peak of 1 / (sigma sqrt(2 pi)) pixels.
    return blur(edge, sigma) * np.float32(2.5 * max(sigma * edge.shape[0], 0.4))


def _taps(s: int, cells: int) -> tuple[npt.NDArray[np.intp], Field]:
    """Cubic B-spline taps that stretch cells + 3 knots over s pixels: first knot (s,), weights (4, s)."""
    at = (np.arange(s) + 0.5) * (cells / s)
    first = np.floor(at).astype(np.intp)
    t = at - first
    weights = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]) / 6.0
    return first, f32(weights)


def stretch(knots: npt.NDArray[np.floating[Any]], s: int) -> Field:
    """Stretch knots of shape (rows + 3, columns + 3) smoothly over (s, s)."""
    row, wr = _taps(s, knots.shape[0] - 3)
    column, wc = _taps(s, knots.shape[1] - 3)
    k = f32(knots)
    tall = sum(k[row + i] * wr[i][:, None] for i in range(4))
    return f32(sum(tall[:, column + i] * wc[i] for i in range(4)))


def noise(rng: Rng, s: int, cells: int, octaves: int = 1, tall: int | None = None) -> Field:
    """Smooth noise of about unit deviation, float32 (s, s).

    Args:
        rng: Source of the knots.
        s: Side in pixels.
        cells: Waves across the picture in the first octave; each octave more doubles them at half the weight.
        octaves: At least 1.
        tall: Waves down the picture where they differ from `cells`, for streaks.
    """
    total = np.zeros((s, s), dtype=np.float32)
    down = cells if tall is None else tall
    for octave in range(octaves):
        knots = rng.standard_normal(((down << octave) + 3, (cells << octave) + 3))
        total += np.float32(2.2 * 0.5**octave) * stretch(knots, s)
    return total


def profile(rng: Rng, s: int, cells: int, octaves: int = 3) -> Field:
    """Smooth noise along one line of s pixels, float32 (s,), about unit deviation."""
    total = np.zeros(s, dtype=np.float32)
    for octave in range(octaves):
        first, weights = _taps(s, cells << octave)
        knots = f32(rng.standard_normal((cells << octave) + 3))
        total += np.float32(1.5 * 0.5**octave) * sum(knots[first + i] * weights[i] for i in range(4))
    return total


def streaks(rng: Rng, s: int, angle: float, fine: int, long: int) -> Field:
    """Noise drawn out along `angle` (radians): `fine` waves across the streaks, `long` along them; (s, s)."""
    x, y = grid(s)
    c, n = float(np.cos(angle)), float(np.sin(angle))
    # The rotated picture fits into a square of twice the side, hence the doubled waves.
    u = 0.5 + 0.5 * ((x - 0.5) * c + (y - 0.5) * n)
    v = 0.5 + 0.5 * (-(x - 0.5) * n + (y - 0.5) * c)
    sheet = noise(rng, 2 * s, 2 * long, tall=2 * fine)
    row = np.clip(v * (2 * s), 0, 2 * s - 1).astype(np.intp)
    column = np.clip(u * (2 * s), 0, 2 * s - 1).astype(np.intp)
    return sheet[row, column]


def pick(field: npt.NDArray[Any], x: npt.NDArray[Any], y: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Read a (s, s, ...) field at positions x, y of the unit square, clamped to its border."""
    s = field.shape[0]
    column = np.clip(x * s, 0, s - 1).astype(np.intp)
    row = np.clip(y * s, 0, s - 1).astype(np.intp)
    read: npt.NDArray[Any] = field[row, column]
    return read


@dataclass(frozen=True)
class Sites:
    """Points on a jittered grid that reaches over the picture's border.

    Attributes:
        x: float32, shape (n,).
        y: float32, shape (n,).
    """

    x: Field
    y: Field

    def __len__(self) -> int:
        return len(self.x)


def sites(rng: Rng, across: int, jitter: float) -> Sites:
    """A shuffled jittered grid of (across + 2)^2 points; `jitter` is in cells, 0 = a strict grid."""
    at = (np.arange(across + 2) - 0.5) / across
    x, y = np.meshgrid(at, at)
    shake = (rng.random((2, *x.shape)) - 0.5) * (jitter / across)
    order = rng.permutation(x.size)
    return Sites(f32((x + shake[0]).ravel()[order]), f32((y + shake[1]).ravel()[order]))


@dataclass(frozen=True)
class Marks:
    """Which mark lies on top at each pixel, and where within the mark the pixel is.

    Attributes:
        owner: int32, shape (s, s). Index of the topmost mark, -1 where the ground shows.
        u: float32, shape (s, s), [-1, 1] along the mark.
        v: float32, shape (s, s), [-1, 1] across the mark.
    """

    owner: Index
    u: Field
    v: Field

    @property
    def covered(self) -> Mask:
        """bool, shape (s, s)."""
        return self.owner >= 0


def oval(u: Field, v: Field) -> Field:
    """1 or less inside an ellipse."""
    return u * u + v * v


def bar(u: Field, v: Field) -> Field:
    """1 or less inside a stroke with blunt ends."""
    u2 = u * u
    return f32(np.maximum(u2 * u2, v * v) + 0.15 * u2)


def _lattice(half: float) -> Field:
    """Points in [-1, 1] no more than 0.7 pixel apart on a mark that reaches `half` pixels either way."""
    return np.linspace(-1.0, 1.0, max(3, 1 + int(np.ceil(2.0 * half / 0.7))), dtype=np.float32)


def stamp(
    s: int,
    at: Sites,
    angle: npt.ArrayLike,
    length: npt.ArrayLike,
    width: npt.ArrayLike,
    shape: Callable[[Field, Field], Field] = oval,
) -> Marks:
    """Lay marks over each other in order, the last one on top.

    Args:
        s: Side in pixels.
        at: n positions.
        angle: Radians, scalar or (n,).
        length: Full length, scalar or (n,).
        width: Full width, scalar or (n,).
        shape: Maps (u, v) to values that are <= 1 inside the mark.
    """
    n = len(at)
    a, half_l, half_w = (np.broadcast_to(f32(p), (n,)) for p in (angle, length, width))
    half_l, half_w = half_l * 0.5, half_w * 0.5
    # Marks are sampled on a lattice of their own; spacing below 1/sqrt(2) pixel reaches every pixel inside.
    u_line, v_line = (_lattice(float(h.max(initial=0.0)) * s) for h in (half_l, half_w))
    v_all, u_all = (f.ravel() for f in np.meshgrid(v_line, u_line, indexing="ij"))
    inside = shape(u_all, v_all) <= 1.0
    u_in, v_in = u_all[inside], v_all[inside]
    owner = np.full(s * s, -1, dtype=np.int32)
    u_map = np.zeros(s * s, dtype=np.float32)
    v_map = np.zeros(s * s, dtype=np.float32)
    block = max(1, _BLOCK // len(u_in))
    for start in range(0, n, block):
        part = slice(start, min(start + block, n))
        along = np.stack([np.cos(a[part]), np.sin(a[part])]) * half_l[part] * np.float32(s)
        across = np.stack([-np.sin(a[part]), np.cos(a[part])]) * half_w[part] * np.float32(s)
        px, py = (
            np.floor(
                centre[part, None] * np.float32(s) + along[k, :, None] * u_in + across[k, :, None] * v_in
            )
            for k, centre in enumerate((at.x, at.y))
        )
        seen = (px >= 0) & (px < s) & (py >= 0) & (py < s)
        mark, point = np.nonzero(seen)
        flat = (py[seen] * s + px[seen]).astype(np.intp)
        # Repeated indices: numpy keeps the last value, which is the mark on top.
        owner[flat] = mark + start
        u_map[flat] = u_in[point]
        v_map[flat] = v_in[point]
    return Marks(owner.reshape(s, s), u_map.reshape(s, s), v_map.reshape(s, s))


@dataclass(frozen=True)
class Cells:
    """A division of the picture into cells around jittered sites.

    Attributes:
        owner: int32, shape (s, s), index of the cell.
        x: float32, shape (n,), sites.
        y: float32, shape (n,).
        gap: float32, shape (s, s), distance to the nearest border of cells, about, as a fraction of the side.
    """

    owner: Index
    x: Field
    y: Field
    gap: Field


def cells(rng: Rng, across: int, jitter: float, x: Field, y: Field, square: bool = False) -> Cells:
    """Voronoi cells around a jittered grid, read at positions x, y (s, s), which may be warped.

    Args:
        rng: Source of the jitter.
        across: Cells along a side.
        jitter: In cells, up to 1.
        x: float32, (s, s).
        y: float32, (s, s).
        square: Measure by the longer leg, which makes tiles instead of honeycombs.
    """
    n = across + 4  # two cells beyond each border, so that a warped position still finds its neighbours
    shake = f32((rng.random((2, n, n)) - 0.5) * jitter)
    sx = (np.arange(n, dtype=np.float32) - np.float32(1.5))[None, :] + shake[0]
    sy = (np.arange(n, dtype=np.float32) - np.float32(1.5))[:, None] + shake[1]
    px, py = x * np.float32(across), y * np.float32(across)
    column = np.clip(np.floor(px).astype(np.int32) + 2, 1, n - 2)
    row = np.clip(np.floor(py).astype(np.int32) + 2, 1, n - 2)
    near = np.full(x.shape, np.inf, dtype=np.float32)
    second = near.copy()
    owner = np.zeros(x.shape, dtype=np.int32)
    for dr in (-1, 0, 1):
        for dc in (-1, 0, 1):
            index = (row + dr) * n + (column + dc)
            ax = np.abs(sx.ravel()[index] - px)
            ay = np.abs(sy.ravel()[index] - py)
            d = np.maximum(ax, ay) if square else np.sqrt(ax * ax + ay * ay)
            closer = d < near
            second = np.where(closer, near, np.minimum(second, d))
            near = np.where(closer, d, near)
            owner = np.where(closer, index, owner).astype(np.int32)
    return Cells(owner, sx.ravel() / across, sy.ravel() / across, (second - near) * np.float32(0.5 / across))


def line_screen(phase: Field, width: Field | float, soft: float) -> Field:
    """Coverage in [0, 1] of parallel lines: one a unit of phase, `width` of it inked, with soft borders."""
    distance = np.abs(phase - np.floor(phase) - np.float32(0.5)) * np.float32(2.0)
    return f32(np.clip((width - distance) / np.float32(soft) + 0.5, 0.0, 1.0))


def dot_screen(u: Field, v: Field, size: Field, soft: float) -> Field:
    """Coverage in [0, 1] of round dots, one a unit of (u, v), with radius `size` in units."""
    du = u - np.floor(u) - np.float32(0.5)
    dv = v - np.floor(v) - np.float32(0.5)
    return f32(np.clip((size - np.sqrt(du * du + dv * dv)) / np.float32(soft) + 0.5, 0.0, 1.0))


def turn(x: Field, y: Field, angle: float | Field) -> tuple[Field, Field]:
    """Coordinates along and across `angle` (radians), centred on the picture."""
    c, n = f32(np.cos(angle)), f32(np.sin(angle))
    dx, dy = x - np.float32(0.5), y - np.float32(0.5)
    return dx * c + dy * n, dy * c - dx * n


def over(ground: Field, colour: Field, cover: Field) -> Field:
    """Lay `colour` (3,) or (s, s, 3) over `ground` (s, s, 3) where `cover` (s, s) is 1."""
    return f32(ground + (colour - ground) * cover[..., None])


def mean_by(owner: Index, field: Field, count: int) -> Field:
    """Mean of the field over each owner, float32 (count,), 0 where an owner has no pixel."""
    total = np.bincount(owner.ravel(), weights=field.ravel(), minlength=count)
    pixels = np.bincount(owner.ravel(), minlength=count)
    return f32(total / np.maximum(pixels, 1))
