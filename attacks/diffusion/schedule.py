"""How a diffusion model's pictures are noised, and what its three sorts of predictions say of each other.

A noisy picture is sqrt(a_t) picture + sqrt(1 - a_t) noise (Ho et al. 2020, eq. 4). The network predicts the
noise ("epsilon"), the picture ("sample"), or sqrt(a_t) noise - sqrt(1 - a_t) picture ("v_prediction",
Salimans and Ho 2022): the names are those of diffusers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from attacks.errors import AttackError

PredictionType = Literal["epsilon", "sample", "v_prediction"]


@dataclass(frozen=True, eq=False)
class Schedule:
    """A schedule of noise in whole steps, and what the network predicts.

    Results are at least float32, whatever the pictures are: half precision rounds what attacks look for.

    Attributes:
        alphas_cumprod: (steps,), what is left of a picture's variance at each time: 1 is all of it, 0 is
            nothing; never rising.
        prediction_type: `epsilon`, `sample` or `v_prediction`.

    Example:
        >>> schedule = Schedule(torch.tensor([0.99, 0.5, 0.01]), "v_prediction")
        >>> picture, noise, time = torch.zeros(1, 3, 2, 2), torch.ones(1, 3, 2, 2), torch.tensor([1])
        >>> noisy = schedule.noised(picture, noise, time)
        >>> told = schedule.wanted(picture, noise, time)
        >>> torch.allclose(schedule.noise(told, noisy, time), noise)
        True
    """

    alphas_cumprod: Tensor
    prediction_type: PredictionType

    def __post_init__(self) -> None:
        if self.prediction_type not in get_args(PredictionType):
            named = ", ".join(get_args(PredictionType))
            raise AttackError(f"prediction_type must be one of {named}, not {self.prediction_type!r}")
        kept = torch.as_tensor(self.alphas_cumprod)
        if kept.ndim != 1 or len(kept) < 2 or not kept.is_floating_point():
            raise AttackError(
                f"alphas_cumprod must be floats (steps,) of two steps or more, not {kept.dtype} "
                f"{tuple(kept.shape)}"
            )
        kept = kept.detach().double()
        if not ((kept >= 0) & (kept <= 1)).all() or (kept.diff() > 0).any():
            raise AttackError("alphas_cumprod must be between 0 and 1 and never rise")
        object.__setattr__(self, "alphas_cumprod", kept)

    @property
    def steps(self) -> int:
        """Times are 0, hardly any noise, to steps - 1."""
        return len(self.alphas_cumprod)

    def parts(self, time: Tensor) -> tuple[Tensor, Tensor]:
        """How much of the picture and of the noise there is, float64 (b, 1, 1, 1) each.

        Args:
            time: (b,), from 0 to steps - 1: int64, or floating for what lies between two steps, which is
                interpolated and can be differentiated.
        """
        if not isinstance(time, Tensor):
            raise AttackError(f"times must be a tensor (b,), not {type(time).__name__}")
        if time.ndim != 1 or not ((time >= 0) & (time <= self.steps - 1)).all():
            raise AttackError(f"times must be (b,) from 0 to {self.steps - 1}, not {tuple(time.shape)}")
        every = self.alphas_cumprod.to(time.device)
        kept = every[time.long()]
        if time.is_floating_point():
            after = every[(time.detach().long() + 1).clamp(max=self.steps - 1)]
            kept = kept + (time.double() - time.detach().double().floor()) * (after - kept)
        kept = kept[:, None, None, None]
        return kept.sqrt(), (1 - kept).sqrt()

    def noised(self, pictures: Tensor, noise: Tensor, time: Tensor) -> Tensor:
        """Pictures (b, c, h, w) with so much of the noise as belongs to a time (b,)."""
        keep, add = self._parts_for(pictures, time)
        return keep * pictures + add * noise

    def wanted(self, pictures: Tensor, noise: Tensor, time: Tensor) -> Tensor:
        """What a network that knew both would predict, (b, c, h, w)."""
        if self.prediction_type == "epsilon":
            return noise
        if self.prediction_type == "sample":
            return pictures
        keep, add = self._parts_for(pictures, time)
        return keep * noise - add * pictures

    def noise(self, told: Tensor, noisy: Tensor, time: Tensor) -> Tensor:
        """The noise that a prediction `told` (b, c, h, w) of noisy pictures comes to."""
        told, noisy = _wide(told), _wide(noisy)
        if self.prediction_type == "epsilon":
            return told
        keep, add = self._parts_for(noisy, time)
        if self.prediction_type == "v_prediction":
            return keep * told + add * noisy
        return (noisy - keep * told) / _divisor(add, time, "noise")

    def picture(self, told: Tensor, noisy: Tensor, time: Tensor) -> Tensor:
        """The picture that a prediction `told` (b, c, h, w) of noisy pictures comes to."""
        told, noisy = _wide(told), _wide(noisy)
        if self.prediction_type == "sample":
            return told
        keep, add = self._parts_for(noisy, time)
        if self.prediction_type == "v_prediction":
            return keep * noisy - add * told
        return (noisy - add * told) / _divisor(keep, time, "picture")

    def told(self, pictures: Tensor, noisy: Tensor, time: Tensor) -> Tensor:
        """The prediction (b, c, h, w) that comes to these pictures: `picture` backwards."""
        pictures, noisy = _wide(pictures), _wide(noisy)
        if self.prediction_type == "sample":
            return pictures
        keep, add = self._parts_for(noisy, time)
        noise = (noisy - keep * pictures) / _divisor(add, time, "noise")
        return noise if self.prediction_type == "epsilon" else keep * noise - add * pictures

    def moved(self, told: Tensor, noisy: Tensor, time: Tensor, to: Tensor) -> Tensor:
        """Noisy pictures at another time `to` (b,), by the prediction alone.

        A step of DDIM without randomness, either way (Song et al. 2021, eq. 12 with sigma 0).
        """
        return self.noised(self.picture(told, noisy, time), self.noise(told, noisy, time), to)

    def _parts_for(self, like: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """`parts` in the dtype of pictures, float32 at least."""
        if like.ndim != 4 or len(time) != len(like):
            raise AttackError(
                f"pictures must be (b, c, h, w) with a time for each, not {tuple(like.shape)} and "
                f"{tuple(time.shape)}"
            )
        keep, add = self.parts(time)
        dtype = torch.promote_types(like.dtype, torch.float32)
        return keep.to(dtype), add.to(dtype)


def _wide(pictures: Tensor) -> Tensor:
    return pictures.to(torch.promote_types(pictures.dtype, torch.float32))


def _divisor(part: Tensor, time: Tensor, what: str) -> Tensor:
    if not (part > 0).all():
        at = float(time[int(part.flatten().argmin())])
        raise AttackError(f"at time {at:g} a noisy picture holds no {what}, and none can be told from it")
    return part
