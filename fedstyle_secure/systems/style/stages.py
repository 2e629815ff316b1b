"""What stages of a frozen network say of a picture: mean and log deviation of each channel.

Style is a matter of statistics rather than of places (Gatys et al. 2016, Huang & Belongie 2017), and of early
and middle stages rather than of the last one, which knows what is in a picture.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from fedstyle_secure.devices import device_of
from fedstyle_secure.privacy.alone import one_at_a_time
from fedstyle_secure.systems.style.whitening import LARGEST_MEAN

_SMALLEST = 1e-3
"""Added to each channel's deviation, so that the logarithm of a dead channel is finite."""


class Affine(nn.Module):
    """BatchNorm as it is in evaluation: a scale and a shift a channel, which no batch moves."""

    scale: Tensor
    shift: Tensor

    def __init__(self, norm: nn.modules.batchnorm._BatchNorm) -> None:
        super().__init__()
        if norm.running_mean is None or norm.running_var is None:
            raise ValueError("a BatchNorm without running statistics mixes the pictures of a batch")
        scale = (norm.running_var.double() + norm.eps).rsqrt()
        if norm.weight is not None:
            scale = scale * norm.weight.detach().double()
        shift = -norm.running_mean.double() * scale
        if norm.bias is not None:
            shift = shift + norm.bias.detach().double()
        self.register_buffer("scale", scale.float())
        self.register_buffer("shift", shift.float())

    def forward(self, x: Tensor) -> Tensor:
        shape = (-1, *[1] * (x.ndim - 2))
        return x * self.scale.view(shape) + self.shift.view(shape)


def without_batches(network: nn.Module) -> nn.Module:
    """The network with every BatchNorm, its own layers behind it kept, as an `Affine`; changed in place."""
    for name, child in network.named_children():
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            # Some libraries keep the activation inside of the norm.
            setattr(network, name, nn.Sequential(Affine(child), *child.children()))
        else:
            without_batches(child)
    return network


class InOrder(nn.Module):
    """Parts of a network one after the other; what each of them gives is a stage."""

    def __init__(self, parts: Sequence[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Tensor) -> list[Tensor]:
        stages = []
        for part in self.parts:
            x = part(x)
            # The next part may work in place.
            stages.append(x.clone())
        return stages


class StageStatistics(nn.Module):
    """A frozen network whose stages are measured in pictures, each by itself; always in evaluation."""

    def __init__(
        self, stages: nn.Module, size: int, mean: Sequence[float], deviation: Sequence[float]
    ) -> None:
        """Freeze a network.

        Args:
            stages: float32 (1, 3, size, size) to a list of (1, channels, ...), one a stage.
            size: Side that pictures are brought to.
            mean: Of red, green and blue in [0, 1], subtracted.
            deviation: Of these, divided by.
        """
        super().__init__()
        self.stages = stages.requires_grad_(False)
        self.size = size
        self._mean: Tensor
        self._deviation: Tensor
        for name, values in (("_mean", mean), ("_deviation", deviation)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)
        self.eval()
        with torch.no_grad():
            channels = [stage.shape[1] for stage in self.stages(torch.zeros(1, 3, size, size))]
        self.widths = tuple(channels * 2)
        """Columns of each group: the stages' means, then their log deviations."""

    def train(self, mode: bool = True) -> StageStatistics:
        """Stay in evaluation: dropout and the like would make a picture's numbers hang on chance."""
        return super().train(False)

    def measure(self, pictures: np.ndarray) -> np.ndarray:
        """uint8 (n, s, s, 3) to float32 (n, sum of `widths`), each picture by itself, always finite."""
        if not len(pictures):
            return np.zeros((0, sum(self.widths)), np.float32)
        with torch.no_grad():
            return one_at_a_time(self._of_one, torch.from_numpy(pictures).to(device_of(self))).cpu().numpy()

    def _of_one(self, picture: Tensor) -> Tensor:
        x = picture.permute(0, 3, 1, 2).contiguous().float() / 255
        if x.shape[-1] != self.size:
            size = (self.size, self.size)
            x = functional.interpolate(x, size, mode="bicubic", antialias=True, align_corners=False)
        x = (x.clamp(0, 1) - self._mean) / self._deviation
        stages = [stage.flatten(2) for stage in self.stages(x)]
        means = [stage.mean(2) for stage in stages]
        deviations = [torch.log(stage.var(2, unbiased=False).sqrt() + _SMALLEST) for stage in stages]
        # Crafted weights may overflow: what they give is then a value of this picture's all the same.
        return torch.cat(means + deviations, 1).nan_to_num(nan=0.0).clamp(-LARGEST_MEAN, LARGEST_MEAN)
