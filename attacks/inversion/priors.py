"""What the adversary believes of pictures before it looks at the update.

A prior is either a term of the objective, one number for a batch of pictures, or a way to write pictures
down from which unlikely ones are hard to reach. All run under `torch.func.vmap`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from attacks.errors import AttackError
from attacks.ranges import real, unit_pictures

_CORNER = 1e-3
"""Differences of neighbours much below this count by their square: an edge at zero stops quasi-Newton."""

_BRIGHTEST = 0.98


class Prior(Protocol):
    """A term of the objective."""

    def __call__(self, pictures: Tensor) -> Tensor:
        """Pictures (n, c, h, w), about [0, 1], to one number; smaller is likelier."""


@dataclass(frozen=True)
class TotalVariation:
    """Mean absolute difference of neighbours, down plus across (Rudin et al. 1992; Geiping et al. 2020).

    Attributes:
        coupled: Whether a difference is the root of the mean square over channels (Blomgren and Chan 1998),
            so that edges of several colours in one place cost less than apart; greys cost the same.
    """

    coupled: bool = False

    def __call__(self, pictures: Tensor) -> Tensor:
        total = pictures.new_zeros(())
        for apart in (pictures.diff(dim=-2), pictures.diff(dim=-1)):
            squares = apart.square()
            if self.coupled:
                squares = squares.mean(-3)
            total = total + ((squares + _CORNER**2).sqrt() - _CORNER).mean()
        return total


@dataclass(frozen=True)
class OutOfRange:
    """Mean square of what lies outside of [0, 1], for optimisers that keep to no box."""

    def __call__(self, pictures: Tensor) -> Tensor:
        return (pictures - pictures.clamp(0, 1)).square().mean()


@dataclass(frozen=True, eq=False)
class PublicContrast:
    """Squared relative distance of a picture's contrast from the public set's, the mean over pictures.

    Contrast is the 16-norm of what lies away from the zero of the inputs, which is nearly the largest. Where
    a norm hides the gain, nothing else holds it, and smoothness would drive it down to where the norm's
    epsilon spoils the gradients.

    Attributes:
        zero: The picture value that becomes an input of zero, (c, 1, 1).
        contrast: The public set's median.
    """

    zero: Tensor
    contrast: float

    @classmethod
    def learn(cls, public: Tensor, zero: Tensor) -> PublicContrast:
        """Fit to public pictures (m, c, h, w) in [0, 1]."""
        return cls(zero, float(_contrast(public, zero).median()))

    def __call__(self, pictures: Tensor) -> Tensor:
        return (_contrast(pictures, self.zero) / self.contrast - 1).square().mean()


def _contrast(pictures: Tensor, zero: Tensor) -> Tensor:
    return ((pictures - zero).flatten(1).pow(16).mean(1) + 1e-30).pow(1 / 16)


@dataclass(frozen=True, eq=False)
class PublicSpectrum:
    """A Gaussian, the same everywhere in the picture, with the public set's mean colour and spectrum.

    Colours are rotated to the public set's principal axes; each of them has its own power at every
    frequency (Field 1987: about one over the frequency's square). The value is minus the log-density per
    number of a picture, without its constant: 1/2 on average where a picture is like the public ones.

    Attributes:
        mean: (c, 1, 1).
        axes: Orthonormal columns (c, c).
        deviation: Of every coefficient, (c, h, w).
    """

    mean: Tensor
    axes: Tensor
    deviation: Tensor

    @classmethod
    def learn(cls, public: Tensor) -> PublicSpectrum:
        """Fit to public pictures (m, c, h, w) in [0, 1]; takes well under a second.

        Raises:
            AttackError: There are fewer than two pictures.
        """
        if public.ndim != 4 or len(public) < 2:
            raise AttackError(f"a prior needs at least two public pictures, not {tuple(public.shape)}")
        unit_pictures("public", public)
        mean = public.mean((0, 2, 3))[:, None, None]
        colours = (public - mean).transpose(0, 1).flatten(1)
        axes = torch.linalg.eigh(colours @ colours.T / colours.shape[1])[1]
        power = torch.fft.fft2(_rotated(public - mean, axes), norm="ortho").abs().square().mean(0)
        # A picture is real, so opposite frequencies have the same power; the floor is one part in 8 bits.
        opposite = power.flip(1, 2).roll((1, 1), (1, 2))
        return cls(mean, axes, ((power + opposite) / 2).sqrt().clamp(min=1 / 255))

    def __call__(self, pictures: Tensor) -> Tensor:
        return 0.5 * self.whiten(pictures).square().mean()

    def whiten(self, pictures: Tensor) -> Tensor:
        """To numbers of the same shape that are standard normal where pictures are like the public set."""
        spectrum = torch.fft.fft2(_rotated(pictures - self.mean, self.axes), norm="ortho")
        whitened: Tensor = torch.fft.ifft2(spectrum / self.deviation, norm="ortho").real
        return whitened

    def colour(self, white: Tensor) -> Tensor:
        """The inverse of `whiten`."""
        spectrum = torch.fft.fft2(white, norm="ortho") * self.deviation
        return self.mean + _rotated(torch.fft.ifft2(spectrum, norm="ortho").real, self.axes.T)


def _rotated(pictures: Tensor, axes: Tensor) -> Tensor:
    return torch.einsum("nchw,cd->ndhw", pictures, axes)


class Canvas(Protocol):
    """How pictures are written down: a point is a flat vector (k,)."""

    def start(self, shape: tuple[int, ...], draws: torch.Generator) -> Tensor:
        """One restart's first point for pictures of `shape` (n, c, h, w)."""

    def pictures(self, point: Tensor, shape: tuple[int, ...]) -> Tensor:
        """The pictures (n, c, h, w) of a point."""


@dataclass(frozen=True)
class Pixels:
    """Every pixel by itself, beginning at mid-grey with noise.

    Attributes:
        noise: Standard deviation of the start, > 0: a flat picture is singular behind a norm.
    """

    noise: float = 0.1

    def __post_init__(self) -> None:
        real("noise of the start", self.noise, "(0, inf)")

    def start(self, shape: tuple[int, ...], draws: torch.Generator) -> Tensor:
        return 0.5 + self.noise * torch.randn(shape, generator=draws).flatten()

    def pictures(self, point: Tensor, shape: tuple[int, ...]) -> Tensor:
        return point.view(shape)


class _Decoder(nn.Module):
    """Fixed noise to a picture, by convolutions that double the side."""

    def __init__(self, channels: int, width: int, doublings: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(doublings + 1))
        self.last = nn.Conv2d(width, channels, 1)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        for number, layer in enumerate(self.layers):
            if number:
                x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
            x = F.group_norm(F.leaky_relu(layer(x), 0.1), 1)
        return torch.sigmoid(F.interpolate(self.last(x), size, mode="bilinear", align_corners=False))


class DeepImage:
    """Deep image prior: the weights of an untrained network that paints the picture (Ulyanov et al. 2018).

    Each picture of a batch and each restart has its own network and its own fixed input.
    """

    def __init__(self, channels: int = 3, width: int = 32, doublings: int = 3) -> None:
        """Args: channels, of a picture; width, of every layer; doublings of the side before the last size."""
        # Only the architecture is used: every restart draws its own weights, and none are drawn here.
        with torch.device("meta"):
            self._net = _Decoder(channels, width, doublings)
        self._shapes = {name: p.shape for name, p in self._net.named_parameters()}
        self._width, self._doublings = width, doublings

    def start(self, shape: tuple[int, ...], draws: torch.Generator) -> Tensor:
        return torch.cat([self._one(shape, draws) for _ in range(shape[0])])

    def pictures(self, point: Tensor, shape: tuple[int, ...]) -> Tensor:
        painted = [self._paint(part, shape) for part in point.view(shape[0], -1)]
        return torch.cat(painted)

    def _one(self, shape: tuple[int, ...], draws: torch.Generator) -> Tensor:
        parts = []
        for size in self._shapes.values():
            fan = size[1:].numel() if len(size) > 1 else 1
            parts.append(torch.randn(size, generator=draws).flatten() * (2 / fan) ** 0.5 * (len(size) > 1))
        parts.append(torch.randn(self._seed_shape(shape), generator=draws).flatten())
        return torch.cat(parts)

    def _paint(self, part: Tensor, shape: tuple[int, ...]) -> Tensor:
        weights, at = {}, 0
        for name, size in self._shapes.items():
            weights[name] = part[at : at + size.numel()].view(size)
            at += size.numel()
        # The input is drawn with the point and moves with it, which changes nothing that matters.
        seed = part[at:].view(self._seed_shape(shape))
        painted: Tensor = functional_call(self._net, weights, (seed, (shape[2], shape[3])))
        return painted

    def _seed_shape(self, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
        share = 2**self._doublings
        return 1, self._width, max(shape[2] // share, 1), max(shape[3] // share, 1)


def calibrated_gain(
    pictures: Tensor, public: Tensor, zero: Tensor, distance: Callable[[Tensor], Tensor], room: float
) -> Tensor:
    """Undo a gain that the update cannot show, where a norm hides it.

    Behind a first layer without bias and a norm, a picture and its multiple about the zero of the inputs
    give the same gradients, and smoothness favours a smaller one. If the data do not mind, each picture is
    stretched until its 98th percentile of |pixel - zero| is the public set's median one.

    Args:
        pictures: (n, c, h, w).
        public: (m, c, h, w) in [0, 1].
        zero: The picture value that becomes an input of zero, (c, 1, 1).
        distance: The data term for pictures (n, c, h, w).
        room: How much it may rise, >= 0.

    Returns:
        (n, c, h, w), the pictures as given where the stretched ones fit the update less well.
    """

    unit_pictures("public", public)
    real("room", room, "[0, inf)")

    def reach(x: Tensor) -> Tensor:
        return (x - zero).abs().flatten(1).quantile(_BRIGHTEST, dim=1)

    gain = reach(public).median() / reach(pictures).clamp(min=1e-6)
    stretched = zero + gain[:, None, None, None] * (pictures - zero)
    with torch.no_grad():
        return stretched if distance(stretched) <= distance(pictures) + room else pictures
