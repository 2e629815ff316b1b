"""A platform that sends a model made to copy pictures: Robbing the Fed (Fowl et al. 2022).

A linear layer in front of the model measures every picture with the same row h and k thresholds. What its
k neurons get as gradient are sums over the pictures above each threshold, so the difference of two
neighbouring neurons holds only the pictures that fall between their thresholds: alone, exactly.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attacks.errors import AttackError
from attacks.inversion.analytic import LinearLayer, linear_layers, sees_picture
from attacks.observation import Capability, Observation
from attacks.results import Budget, Evidence, generator

_PARALLEL = 1e-5
"""Largest sine of the angle between rows that count as the same measurement."""


class Imprinted(nn.Module):
    """A model with an imprint layer in front. Its output stays near the model's own."""

    def __init__(
        self, model: nn.Module, thresholds: Tensor, size: int, gain: float = 1e-2, scale: float = 1e-2
    ) -> None:
        """Wrap a model.

        Args:
            model: Takes inputs (b, c, h, w).
            thresholds: Ascending (k,), of the mean of an input; see `quantile_thresholds`.
            size: Numbers of one input, c * h * w.
            gain: How much of the measurements is added to every input.
            scale: Makes the layer's weights smaller and its gradients larger, so that float32 does not
                round them away when the client adds the step to its weights.
        """
        super().__init__()
        if thresholds.ndim != 1 or len(thresholds) < 2 or not (thresholds.diff() > 0).all():
            raise AttackError("an imprint needs at least two ascending thresholds (k,)")
        bins = len(thresholds)
        self.measure = nn.Linear(size, bins)
        self.spread = nn.Linear(bins, 1, bias=False)
        self.model = model
        with torch.no_grad():
            self.measure.weight.fill_(scale / size)
            self.measure.bias.copy_(-scale * thresholds)
            # Equal weights: every neuron gets the same gradient from a picture that it fires for.
            self.spread.weight.fill_(gain / scale / bins)
        # Added along a pattern, since many models do not see a change of brightness.
        self.register_buffer("pattern", torch.randn(size, generator=generator(0)))

    def forward(self, x: Tensor) -> Tensor:
        fired = F.relu(self.measure(x.flatten(1)))
        moved: Tensor = self.model(x + (self.spread(fired) * self.get_buffer("pattern")).view_as(x))
        return moved


def quantile_thresholds(observation: Observation, bins: int) -> Tensor:
    """Thresholds (k,) that cut the means of the public pictures' inputs into equally likely bins.

    Between k thresholds and above the last lie k bins. Of n pictures, n (1 - 1/k)^(n-1) are expected alone
    in one where every bin is equally likely (Fowl et al. 2022, section 4); the share of pictures below the
    first threshold, 1/(2k) here, is lost.

    Args:
        observation: Its public pictures are measured; without them N(0, 1) stands in for their means.
        bins: k, >= 2.
    """
    if bins < 2:
        raise AttackError(f"an imprint needs at least 2 bins, not {bins}")
    at = (torch.arange(bins, dtype=torch.float64) + 0.5) / bins
    if observation.public_pictures is None:
        return (2**0.5 * torch.erfinv(2 * at - 1)).float()
    means = observation.inputs(observation.public_pictures).flatten(1).double().mean(1)
    # A smooth fit: as many thresholds as pictures would make bins that no new picture falls into evenly.
    steps = torch.quantile(means, at)
    normal = means.mean() + means.std() * 2**0.5 * torch.erfinv(2 * at - 1)
    return (steps if bins <= len(means) // 4 else normal).float()


@dataclass(frozen=True)
class ImprintRecovery:
    """Reads the pictures out of an imprint layer's update, and says why there are none.

    Scores are the sizes of the bias differences bin by bin (k,): what each bin holds. The objective is the
    share of occupied bins whose content is no picture in [0, 1]: mixtures, noise or rounding.

    Attributes:
        slack: How far outside of [0, 1] a value of a recovered picture may lie.
    """

    slack: float = 0.02

    @property
    def name(self) -> str:
        return "imprint"

    @property
    def requires(self) -> frozenset[Capability]:
        return frozenset({Capability.SEES_UPDATE, Capability.CHOOSES_WEIGHTS})

    def run(self, observation: Observation, budget: Budget, seed: int) -> Evidence:
        """Solve; needs neither budget nor seed."""
        started = time.perf_counter()
        layer = imprint_layer(observation)
        if layer is None or layer.bias is None:
            why = "no hits: no trained linear layer that sees the picture has parallel rows: an honest model"
            return Evidence(self.name, 1.0, converged=True, notes=(why,))
        bias = observation.weights[layer.bias]
        ascending = bias.argsort(descending=True)  # of the thresholds
        update = observation.updates[0]
        weights, biases = update[layer.weight][ascending].double(), update[layer.bias][ascending].double()
        # Neuron i holds the pictures above threshold i; the last one has nobody above it to take away.
        found_w = torch.cat([weights[:-1] - weights[1:], weights[-1:]])
        found_b = torch.cat([biases[:-1] - biases[1:], biases[-1:]])
        ulp = torch.finfo(bias.dtype).eps * bias.abs().max().double()
        occupied = found_b.abs() > 4 * ulp
        ratios = found_w[occupied] / found_b[occupied][:, None]
        pictures = observation.denormalise(ratios.view(-1, *observation.picture_shape))
        flat = pictures.flatten(1)
        inside = (flat.amin(1) >= -self.slack) & (flat.amax(1) <= 1 + self.slack)
        # The strongest gradient has the least rounding.
        order = found_b[occupied][inside].abs().argsort(descending=True)
        hits = pictures[inside][order].clamp(0, 1).float()
        notes = [f"{int(occupied.sum())} of {len(bias)} bins are occupied, {len(hits)} hold a picture"]
        notes += _reasons(biases, occupied, inside, ulp)
        return Evidence(
            self.name, float(1 - inside.double().mean()) if len(inside) else 1.0, converged=True,
            pictures=hits if len(hits) else None, scores=found_b.abs().float(),
            seconds=time.perf_counter() - started, notes=tuple(notes),
        )  # fmt: skip


def imprint_layer(observation: Observation) -> LinearLayer | None:
    """The trained linear layer that sees the picture and has parallel rows with different biases, or None."""
    for layer in linear_layers(observation):
        weight = observation.weights[layer.weight]
        if layer.bias is None or weight.shape[1] != math.prod(observation.picture_shape) or len(weight) < 2:
            continue
        unit = F.normalize(weight.double(), dim=1)
        alike = (1 - (unit @ unit[0]) ** 2).clamp(min=0).sqrt() < _PARALLEL
        shifted = observation.weights[layer.bias].unique().numel() > 1
        if alike.all() and shifted and sees_picture(observation, layer):
            return layer
    return None


def bin_occupancy(observation: Observation, pictures: Tensor) -> Tensor:
    """How many of the true pictures fall into each bin, int64 (k + 1,); index 0 is below the first threshold.

    For evaluators: it looks at the truth.

    Args:
        observation: With an imprint layer.
        pictures: (n, c, h, w) in [0, 1].
    """
    layer = imprint_layer(observation)
    if layer is None or layer.bias is None:
        raise AttackError("the model has no imprint layer")
    weight, bias = observation.weights[layer.weight], observation.weights[layer.bias]
    measured = observation.inputs(pictures).flatten(1) @ weight[0]
    bins = torch.searchsorted((-bias).sort().values, measured)
    return torch.bincount(bins, minlength=len(bias) + 1)


def _reasons(biases: Tensor, occupied: Tensor, inside: Tensor, ulp: Tensor) -> list[str]:
    """Why there are few or no hits, in words."""
    if not occupied.any():
        if (biases.abs() > 4 * ulp).any():
            return ["no hits: every neuron fired for the same pictures"]
        return [
            "no hits: no neuron fired; every picture lies below the first threshold, "
            "or the step is too small for float32"
        ]
    reasons = []
    if occupied[-1] and occupied.sum() == 1:
        reasons.append("every picture lies above the last threshold: the bins do not fit these inputs")
    if not inside.any():
        reasons.append(
            "no hits: what the bins hold is no picture; several pictures share each bin, "
            "or clip and noise cover them"
        )
    if occupied.all() and not inside.all():
        reasons.append("every bin is occupied, which noise does and pictures seldom do")
    return reasons
