"""What a denoiser gives away about a picture: errors that are small where it was trained on it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from attacks.diffusion.draws import Draws
from attacks.diffusion.model import Denoiser, checked_pictures
from attacks.errors import AttackError
from attacks.ranges import real, whole

Signal = Callable[[Denoiser, Tensor], np.ndarray]
"""Maps a model and pictures (n, c, h, w) to errors (n,) or (n, k), such as `denoising_losses` with its draws
bound."""

_MEAN_OF_NORMAL = (2 / np.pi) ** 0.5
"""Mean absolute value of a standard normal variable."""


@torch.no_grad()
def denoising_losses(model: Denoiser, pictures: Tensor, draws: Draws, batch: int = 64) -> np.ndarray:
    """Mean squared error of the prediction at each fixed time and noise, float64 (n, k).

    The loss that the model was trained with, in its own type of prediction. Keep the draws apart: what a
    reference tells of the same ones is what makes them telling.

    Args:
        model: Any.
        pictures: (n, c, h, w), in the range that the model takes.
        draws: The same ones for every model whose losses are to be compared.
        batch: Pictures at once, >= 1.

    Example:
        >>> from attacks.diffusion.schedule import Schedule
        >>> schedule = Schedule(torch.linspace(0.99, 0.01, 100), "epsilon")
        >>> silent = Denoiser(lambda noisy, time: torch.zeros_like(noisy), schedule)
        >>> draws = Draws.make(schedule, (3, 8, 8), count=2, seed=0)
        >>> losses = denoising_losses(silent, torch.zeros(5, 3, 8, 8), draws)
        >>> losses.shape, bool(np.allclose(losses, 1, atol=0.5))  # Nothing said of noise of variance 1.
        ((5, 2), True)
    """
    pictures = checked_pictures(pictures)
    whole("batch", batch, 1)
    if draws.noises.shape[1:] != pictures.shape[1:]:
        raise AttackError(
            f"draws are for pictures {tuple(draws.noises.shape[1:])}, not {tuple(pictures.shape[1:])}"
        )
    found = np.empty((len(pictures), len(draws.times)))
    for column, (time, noise) in enumerate(zip(draws.times.tolist(), draws.noises, strict=True)):

        def error(x: Tensor, time: int = time, noise: Tensor = noise) -> Tensor:
            times, noises = _times(x, time), noise.to(x.device).expand_as(x)
            wanted = model.schedule.wanted(x, noises, times)
            told = model.told(model.schedule.noised(x, noises, times).to(x.dtype), times)
            return (told.double() - wanted.double()).square().flatten(1).mean(1)

        found[:, column] = _in_batches(error, pictures, batch, f"the loss at time {time}")
    return found


@torch.no_grad()
def proximal_errors(
    model: Denoiser,
    pictures: Tensor,
    time: int = 200,
    power: float = 4.0,
    normalised: bool = False,
    batch: int = 64,
) -> np.ndarray:
    """PIA (Kong et al. 2024): how far two predictions of the noise are apart, float64 (n,).

    The noise that the model sees in the clean picture is added to it, and the model is asked what it sees
    now: eps(x, 0) against eps(sqrt(a_t) x + sqrt(1 - a_t) eps(x, 0), t). Two questions, no draw at all. Given
    as the p-norm over the p-th root of the number of pixels.

    Args:
        model: Of any type of prediction; both are read as noise.
        pictures: (n, c, h, w), in the range that the model takes.
        time: 1 to the last of the schedule; 200 of 1000 is the paper's.
        power: p of the norm, >= 1; 4 is the paper's.
        normalised: PIAN: the first noise is scaled to the mean absolute value of a standard normal, which is
            sqrt(2 / pi).
        batch: Pictures at once, >= 1.

    Example:
        >>> from attacks.diffusion.ideal import memoriser
        >>> from attacks.diffusion.schedule import Schedule
        >>> works = torch.randn(6, 3, 4, 4, generator=torch.Generator().manual_seed(0))
        >>> model = memoriser(works[:3], Schedule(torch.linspace(0.99, 0.01, 100), "epsilon"))
        >>> errors = proximal_errors(model, works, time=20)
        >>> bool(errors[:3].max() < errors[3:].min())
        True
    """
    pictures = checked_pictures(pictures)
    whole("time", time, 1, model.schedule.steps - 1)
    real("power", power, "[1, inf)")
    whole("batch", batch, 1)

    def error(x: Tensor) -> Tensor:
        first = model.noise(x, _times(x, 0))
        if normalised:
            size = first.abs().flatten(1).mean(1).clamp(min=1e-12)[:, None, None, None]
            first = first * (_MEAN_OF_NORMAL / size)
        later = _times(x, time)
        second = model.noise(model.schedule.noised(x, first, later).to(x.dtype), later)
        apart = (first.double() - second.double()).abs().flatten(1)
        return apart.pow(power).mean(1).pow(1 / power)

    return _in_batches(error, pictures, batch, f"the proximal error at time {time}")


@torch.no_grad()
def step_errors(
    model: Denoiser, pictures: Tensor, time: int = 100, stride: int = 10, batch: int = 64
) -> np.ndarray:
    """SecMI (Duan et al. 2023, eq. 9): how far one step forth and back misses its start, float64 (n,).

    The picture is taken to `time` by the model's own deterministic steps, then one step further and back. The
    mean square of what is missed; no draw at all, and time / stride + 2 questions.

    Args:
        model: Of any type of prediction.
        pictures: (n, c, h, w), in the range that the model takes.
        time: A multiple of the stride, >= 1; 100 of 1000 is the paper's.
        stride: Of each step, >= 1; 10 is the paper's. Time and stride together lie within the schedule.
        batch: Pictures at once, >= 1.

    Example:
        >>> from attacks.diffusion.ideal import memoriser
        >>> from attacks.diffusion.schedule import Schedule
        >>> works = torch.randn(6, 3, 4, 4, generator=torch.Generator().manual_seed(0))
        >>> model = memoriser(works[:3], Schedule(torch.linspace(0.99, 0.01, 100), "epsilon"), bandwidth=0.5)
        >>> errors = step_errors(model, works, time=20, stride=5)
        >>> bool(errors[:3].mean() < errors[3:].mean())
        True
    """
    pictures = checked_pictures(pictures)
    whole("stride", stride, 1)
    whole("time", time, 1)
    whole("batch", batch, 1)
    last = model.schedule.steps - 1
    if time % stride or time + stride > last:
        raise AttackError(
            f"time must be a multiple of the stride, with one more of them no later than {last}, not "
            f"{time} with {stride}"
        )

    def stepped(noisy: Tensor, at: int, to: int) -> Tensor:
        now = _times(noisy, at)
        return model.schedule.moved(model.told(noisy, now), noisy, now, _times(noisy, to)).to(noisy.dtype)

    def error(x: Tensor) -> Tensor:
        there = x
        for at in range(0, time, stride):
            there = stepped(there, at, at + stride)
        back = stepped(stepped(there, time, time + stride), time + stride, time)
        return (back.double() - there.double()).square().flatten(1).mean(1)

    return _in_batches(error, pictures, batch, f"the step error at time {time}")


def _times(pictures: Tensor, time: int) -> Tensor:
    return torch.full((len(pictures),), time, dtype=torch.int64, device=pictures.device)


def _in_batches(error: Callable[[Tensor], Tensor], pictures: Tensor, batch: int, what: str) -> np.ndarray:
    found: np.ndarray = torch.cat([error(x).cpu() for x in pictures.split(batch)]).numpy()
    if not np.isfinite(found).all():
        raise AttackError(f"{what} of picture {int(np.argmin(np.isfinite(found)))} is not finite")
    return found
