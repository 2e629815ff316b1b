"""Does a model draw near copies of works it was trained on? A distance, and a cut-off with a stated error.

Carlini et al. 2023 call a generated picture a copy where it is much nearer to one work than to that work's
fellows, and take the largest distance over tiles, as flat backgrounds are near to each other. No cut-off from
another model or another collection means anything here: this one is set by works that the model never saw.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from attacks.errors import AttackError
from attacks.intervals import clopper_pearson, paired_difference
from attacks.ranges import real, unit_pictures, whole
from attacks.results import Result

Null = Literal["works", "drawings"]

_CONTROLS = 100
"""Planted copies of the positive control, at most."""

_PLANTED_NOISE = 0.02
"""Deviation of the noise on each pixel of a planted copy: 34 dB, and never seen by eye."""


def tiled_distances(pictures: Tensor, works: Tensor, tiles: int = 4, batch: int = 64) -> np.ndarray:
    """Root mean square difference in the tile where it is largest, float64 (n, m).

    Args:
        pictures: (n, c, h, w) in [0, 1].
        works: (m, c, h, w) in [0, 1].
        tiles: A side is cut into so many, >= 1, each as large as the others; 1 is the whole picture.
        batch: Pictures at once, >= 1.

    Example:
        >>> grey = torch.full((1, 1, 4, 4), 0.5)
        >>> corner = grey.clone()
        >>> corner[:, :, :2, :2] = 1.0
        >>> [tiled_distances(grey, corner, tiles).item() for tiles in (1, 2)]
        [0.25, 0.5]
    """
    _paired(pictures, works)
    whole("tiles", tiles, 1)
    whole("batch", batch, 1)
    if pictures.shape[2] % tiles or pictures.shape[3] % tiles:
        raise AttackError(
            f"pictures {tuple(pictures.shape[2:])} cannot be cut into {tiles} equal tiles a side"
        )
    cut_works = _cut(works, tiles)
    found = []
    for some in pictures.split(batch):
        # The exact form: that by products rounds copies away from zero.
        apart = torch.cdist(_cut(some, tiles), cut_works, compute_mode="donot_use_mm_for_euclid_dist")
        found.append(apart.amax(0))
    return np.asarray(torch.cat(found).double().numpy() / cut_works.shape[2] ** 0.5)


def relative_distances(distances: np.ndarray, neighbours: int = 10) -> np.ndarray:
    """Distance to the nearest work over the mean distance to the k nearest, float64 (n,) in [0, 1].

    Carlini et al. 2023, section 5.1, without their factor 0.5 in the denominator. 0 is a copy, 1 is as near
    to one as to the others. Where all k are at distance zero it is 1: nothing is nearer than its fellows.

    Args:
        distances: (n, m), as from `tiled_distances`, finite and >= 0.
        neighbours: k, 2 to m, the nearest work itself among them.

    Example:
        >>> relative_distances(np.array([[1.0, 4.0, 7.0], [2.0, 2.0, 2.0]]), neighbours=3).tolist()
        [0.25, 1.0]
    """
    distances = np.asarray(distances, np.float64)
    if distances.ndim != 2 or not len(distances) or not (np.isfinite(distances) & (distances >= 0)).all():
        raise AttackError(f"distances must be finite (n, m) and >= 0, not {distances.shape}")
    whole("neighbours", neighbours, 2, distances.shape[1])
    nearest = np.partition(distances, neighbours - 1, axis=1)[:, :neighbours]
    mean = nearest.mean(1)
    return np.where(mean > 0, np.minimum(nearest.min(1) / np.where(mean > 0, mean, 1.0), 1.0), 1.0)


def copy_cut_off(null: np.ndarray, false_alarm: float) -> float:
    """The distance below which a picture like those of the null comes with probability `false_alarm` at most.

    The k-th smallest of them, k the largest with k / (n + 1) <= false_alarm: exact for one more that is
    exchangeable with them, ties or not, as below means strictly below (Vovk et al. 2005, conformal).

    Args:
        null: Distances (n,), finite, of pictures that are no copies.
        false_alarm: In (0, 1), at least 1 / (n + 1).

    Example:
        >>> copy_cut_off(np.arange(19.0), false_alarm=0.1)
        1.0
    """
    null = np.asarray(null, np.float64)
    if null.ndim != 1 or not len(null) or not np.isfinite(null).all():
        raise AttackError(f"distances of the null must be finite (n,), one or more, not {null.shape}")
    real("false_alarm", false_alarm, "(0, 1)")
    place = int(np.floor(false_alarm * (len(null) + 1) * (1 + 1e-12)))
    if place < 1:
        needed = int(np.ceil(1 / false_alarm - 1e-9)) - 1
        raise AttackError(
            f"a false-alarm rate of {false_alarm:g} needs {needed} pictures that are no copies, not "
            f"{len(null)}"
        )
    return float(np.sort(null)[place - 1])


@dataclass(frozen=True, eq=False)
class Extraction:
    """Which generated pictures are near copies of works that a model was trained on.

    Attributes:
        rate: Share of generated pictures that are; its interval is over pictures drawn anew, the baseline is
            the same share with held-out works in place of training works, all else alike.
        advantage: How much more often than with held-out works, on the same pictures; p of McNemar's test.
        copied: Works that were copied, ascending.
        nearest: int (n,), each generated picture's nearest work.
        is_copy: bool (n,).
        distances: float64 (n,), relative, of each generated picture to its nearest work.
        cut_off: Below it a picture is a copy; where works come in blocks, that of each.
        false_alarm: What was asked of it.
        control: Share found and rightly named of copies that were planted, with noise of deviation 0.02.
        won: Whether the control's interval lies above the false-alarm rate. If not, no copy could be seen.
    """

    rate: Result
    advantage: Result
    copied: tuple[int, ...]
    nearest: np.ndarray
    is_copy: np.ndarray
    distances: np.ndarray
    cut_off: float
    false_alarm: float
    control: Result
    won: bool


def extraction(
    attack: str,
    generated: Tensor,
    works: Tensor,
    held_out: Tensor,
    false_alarm: float = 0.05,
    null: Null = "works",
    tiles: int = 4,
    neighbours: int = 10,
    confidence: float = 0.95,
) -> Extraction:
    """Count near copies among generated pictures.

    What no copy looks like, by `null`:
      * `works`: new works of the same artists. The cut-off comes from the held-out works' distances to the
        training works; for the baseline the two change places. What a model draws may be flatter than any
        work, and nearer to all: the baseline shows it.
      * `drawings`: the generated pictures' own distances to the held-out works. Finer where many are
        generated. Works are searched in blocks no larger than the held-out set, at a share of the rate each,
        as the nearest of more works is nearer.

    Args:
        attack: Name.
        generated: (n, c, h, w) in [0, 1], each drawn from noise of its own.
        works: (m, c, h, w) in [0, 1], what the model was trained on, without doubles.
        held_out: (k, c, h, w) in [0, 1], works of the same artists that it never saw.
        false_alarm: In (0, 1), for each generated picture.
        null: `works` or `drawings`.
        tiles: >= 1, as for `tiled_distances`.
        neighbours: >= 2, as for `relative_distances`; at most the smaller number of works.
        confidence: Of each interval by itself, in (0, 1).

    Raises:
        AttackError: A held-out work is among the training works, or there are too few of them for the rate.

    Example:
        >>> draws = torch.Generator().manual_seed(0)
        >>> works, held_out, free = (torch.rand(30, 3, 8, 8, generator=draws) for _ in range(3))
        >>> found = extraction("mine", torch.cat([works[3:6], free]), works, held_out)
        >>> found.copied, found.won, round(found.rate.value, 2), round(found.rate.baseline, 2)
        ((3, 4, 5), True, 0.09, 0.03)
    """
    _paired(generated, works)
    _paired(held_out, works)
    real("false_alarm", false_alarm, "(0, 1)")
    if min(len(works), len(held_out)) < 2:
        raise AttackError("there must be two works and two held-out works at least: distances are relative")
    whole("neighbours", neighbours, 2, min(len(works), len(held_out)))
    if null not in get_args(Null):
        raise AttackError(f"null must be one of {', '.join(get_args(Null))}, not {null!r}")
    to_works = tiled_distances(generated, works, tiles)
    to_others = tiled_distances(generated, held_out, tiles)
    between = tiled_distances(held_out, works, tiles)
    if (same := np.argwhere(between == 0)).size:
        raise AttackError(f"held-out work {same[0][0]} is training work {same[0][1]}")
    setting = _Setting(false_alarm, null, neighbours)
    distances, cut_off = setting.judged(to_works, between, to_others)
    blind, blind_cut_off = setting.judged(to_others, between.T, to_works)
    is_copy, without = distances < cut_off, blind < blind_cut_off
    nearest = to_works.argmin(1)
    n, hits = len(generated), int(is_copy.sum())
    copied = tuple(np.unique(nearest[is_copy]).tolist())
    low, high = clopper_pearson(hits, n, confidence)
    rate = Result(
        attack, "share of near copies", hits / n, n, low, high, confidence, float(without.mean()),
        f"Clopper-Pearson; cut-off of {false_alarm:g} false alarms, null: {null}",
        {"works": len(works), "works copied": len(copied), "cut-off": cut_off},
    )  # fmt: skip
    more = paired_difference(is_copy, without, confidence)
    advantage = Result(
        attack, "copies beyond held-out works", more.value, n, more.low, more.high, confidence, 0.0,
        "difference of Clopper-Pearson bounds of the discordant pictures; p of exact McNemar, one-sided",
        {"p_value": more.p_value},
    )  # fmt: skip
    planted = planted_copies(works[:_CONTROLS], seed=0)
    from_planted = tiled_distances(planted, works, tiles)
    found, _ = setting.judged(from_planted, between, to_others)
    named = np.diagonal(from_planted) <= from_planted.min(1)
    won = int(((found < cut_off) & named).sum())
    low, high = clopper_pearson(won, len(planted), confidence)
    control = Result(
        f"{attack}, control", "share of planted copies found", won / len(planted), len(planted), low, high,
        confidence, false_alarm, "Clopper-Pearson",
    )  # fmt: skip
    return Extraction(
        rate, advantage, copied, nearest, is_copy, distances, cut_off, false_alarm, control, low > false_alarm
    )


def planted_copies(works: Tensor, seed: int, noise: float = _PLANTED_NOISE) -> Tensor:
    """The works themselves with a little noise, (m, c, h, w) in [0, 1]: copies that an attack must find.

    Args:
        works: (m, c, h, w) in [0, 1].
        seed: Of the noise.
        noise: Deviation on each pixel, in [0, 1].
    """
    _paired(works, works)
    real("noise", noise, "[0, 1]")
    drawn = torch.randn(works.shape, generator=torch.Generator().manual_seed(seed))
    return (works + noise * drawn.to(works)).clamp(0, 1)


@dataclass(frozen=True)
class _Setting:
    false_alarm: float
    null: Null
    neighbours: int

    def judged(
        self, to_works: np.ndarray, between: np.ndarray, to_others: np.ndarray
    ) -> tuple[np.ndarray, float]:
        """Relative distances (n,) to the works, and the cut-off that a copy is below.

        Args:
            to_works: Distances (n, m) of the pictures to judge to the works.
            between: Distances (k, m) of the held-out works to the works.
            to_others: Distances (g, k) of generated pictures to the held-out works.
        """
        if self.null == "works":
            null = relative_distances(between, self.neighbours)
            return relative_distances(to_works, self.neighbours), copy_cut_off(null, self.false_alarm)
        blocks = -(-to_works.shape[1] // to_others.shape[1])
        if to_works.shape[1] // blocks < self.neighbours:
            raise AttackError(
                f"{blocks} blocks of works, none larger than the held-out set, have fewer than "
                f"{self.neighbours} neighbours each"
            )
        cut_off = copy_cut_off(relative_distances(to_others, self.neighbours), self.false_alarm / blocks)
        parts = np.array_split(to_works, blocks, axis=1)
        return np.min([relative_distances(part, self.neighbours) for part in parts], axis=0), cut_off


def _paired(pictures: Tensor, works: Tensor) -> None:
    for name, given in (("pictures", pictures), ("works", works)):
        if not isinstance(given, Tensor) or given.ndim != 4:
            what = tuple(given.shape) if isinstance(given, Tensor) else type(given).__name__
            raise AttackError(f"{name} must be a tensor (n, c, h, w), not {what}")
        unit_pictures(name, given)
    if pictures.shape[1:] != works.shape[1:]:
        raise AttackError(
            f"pictures {tuple(pictures.shape[1:])} and works {tuple(works.shape[1:])} differ in shape"
        )


def _cut(pictures: Tensor, tiles: int) -> Tensor:
    """(tiles * tiles, n, d), float32 at least."""
    n, c, h, w = pictures.shape
    cut = pictures.reshape(n, c, tiles, h // tiles, tiles, w // tiles).permute(2, 4, 0, 1, 3, 5)
    return cut.reshape(tiles**2, n, -1).to(torch.promote_types(pictures.dtype, torch.float32)).cpu()
