"""Inputs of a linear layer in closed form, from the update of its weight (and bias).

For y = W x + b the gradients are sum_n d_n x_n^T and sum_n d_n (Phong et al. 2017; Geiping et al. 2020,
prop. 3.1). One picture makes [dW | db] a matrix of rank one whose row space is (x, 1); the learning rate,
the loss scale and the sign cancel.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from attacks.errors import AttackError
from attacks.observation import Capability, Observation
from attacks.ranges import real
from attacks.replay import simulate
from attacks.results import Budget, Evidence

_SCALE_AXES = 8
_ALIKE = 1e-3
"""Sine of the largest angle between two rows' ratios that count as the same picture."""


@dataclass(frozen=True)
class LinearLayer:
    """A linear layer of the model whose weight trained.

    Attributes:
        name: Of the module; empty for the model itself.
        weight: Name of its weight (m, d) in the update.
        bias: Name of its bias (m,) in the update, or None.
    """

    name: str
    weight: str
    bias: str | None


def linear_layers(observation: Observation) -> list[LinearLayer]:
    """The linear layers that trained, in the model's order."""
    trained, found = set(observation.trainable), []
    for name, layer in observation.model.named_modules():
        prefix = f"{name}." if name else ""
        if isinstance(layer, nn.Linear) and f"{prefix}weight" in trained:
            bias = f"{prefix}bias" if f"{prefix}bias" in trained else None
            found.append(LinearLayer(name, f"{prefix}weight", bias))
    return found


def layer_inputs(observation: Observation, pictures: Tensor) -> dict[str, list[Tensor]]:
    """What linear layers and ungrouped 2-D convolutions with trained weights see, by their module's name.

    Convolutions whose padding is no plain number or not of zeros are left out, as are layers that are not
    called.

    Args:
        observation: Model, weights and normalisation.
        pictures: (n, *picture_shape), in [0, 1].

    Returns:
        One tensor for each time that a layer is called, without gradients.
    """
    trained, found = set(observation.trainable), dict[str, list[Tensor]]()
    handles = []
    for name, layer in observation.model.named_modules():
        if (f"{name}.weight" if name else "weight") not in trained or not _readable(layer):
            continue

        def keep(_: nn.Module, given: tuple[Tensor, ...], name: str = name) -> None:
            found.setdefault(name, []).append(given[0].detach())

        handles.append(layer.register_forward_pre_hook(keep))
    # Copies: a batch norm in train mode moves its buffers.
    weights = {name: tensor.clone() for name, tensor in observation.weights.items()}
    try:
        with torch.no_grad():
            functional_call(observation.model, weights, (observation.inputs(pictures),))
    finally:
        for handle in handles:
            handle.remove()
    return found


def _readable(layer: nn.Module) -> bool:
    if isinstance(layer, nn.Conv2d):
        return layer.groups == 1 and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    return isinstance(layer, nn.Linear)


def sees_picture(observation: Observation, layer: LinearLayer) -> bool:
    """Whether a layer's input is the flattened picture or feature vector itself, tried on random ones."""
    trial = torch.rand(2, *observation.picture_shape, generator=torch.Generator().manual_seed(0))
    seen = layer_inputs(observation, trial).get(layer.name, [])
    wanted = observation.inputs(trial).flatten(1)
    return len(seen) == 1 and seen[0].shape == wanted.shape and torch.allclose(seen[0], wanted, atol=1e-6)


def leading_row(weight: Tensor, bias: Tensor | None) -> tuple[Tensor, float, float]:
    """The row that a layer's update is best written as multiples of: total least squares.

    Noise sits on the weight's and on the bias' update alike, so the best rank-one matrix (Eckart and Young
    1936) is the maximum-likelihood answer under white noise of one size.

    Args:
        weight: Update (m, d).
        bias: Update (m,), or None.

    Returns:
        The row float64, a multiple of the input (d,), or of input and one (d + 1,) where there is a bias;
        the share of the squared norm that it leaves, in [0, 1]; and the noise variance that this share
        amounts to, on each number of the row.
    """
    matrix = weight.double()
    if bias is not None:
        matrix = torch.cat([matrix, bias.double()[:, None]], dim=1)
    total = matrix.square().sum()
    if total == 0:
        raise AttackError("the layer's update is zero: it received no gradient")
    left, roots = _left_vectors(matrix)
    rest = float((1 - roots[0] ** 2 / total).clamp(0, 1))
    freedom = max((matrix.shape[0] - 1) * (matrix.shape[1] - 1), 1)
    return left[:, 0] @ matrix, rest, rest * float(total) / freedom


def single_input(weight: Tensor, bias: Tensor | None) -> Tensor:
    """The one input float64 (d,) that explains a layer's update best.

    With a bias it is exact; without one it has unit length and an unknown sign.

    Args:
        weight: Update (m, d).
        bias: Update (m,), or None.

    Example:
        >>> x, slope = torch.tensor([0.2, 0.7]), torch.tensor([1.0, -2.0, 0.5])
        >>> update = torch.outer(slope, x)  # Of one picture's gradient; the bias' is the slope.
        >>> single_input(update, slope).float()
        tensor([0.2000, 0.7000])
    """
    row = leading_row(weight, bias)[0]
    if bias is None:
        unit: Tensor = row / row.norm()
        return unit
    if row[-1].abs() < 1e-12 * row.norm():
        raise AttackError("the layer's bias update is zero along its weight update: no ratio exists")
    return row[:-1] / row[-1]


def posterior_mean(row: Tensor, variance: float, public: Tensor) -> Tensor:
    """The input x behind a noisy row a * (x, 1), if x is like the public rows: float64 (d,).

    Public rows are taken as Gaussian on their principal axes; outside of their span the variance is what
    one half of them has outside of the other half's. The scale a is the most likely one. Without noise
    this is the ratio, with much noise the public mean.

    Args:
        row: (d + 1,), from `leading_row`.
        variance: Of white noise on each number of the row, >= 0.
        public: (m, d), m >= 4.
    """
    real("variance", variance, "[0, inf)")
    if len(public) < 4:
        raise AttackError(f"public must be at least 4 rows, not {len(public)}")
    if variance == 0:
        return row[:-1].double() / row[-1]
    x, last, rows = row[:-1].double(), row[-1].double(), public.double()
    mean = rows.mean(0)
    _, roots, axes = torch.linalg.svd(rows - mean, full_matrices=False)
    # Centring leaves one direction empty.
    spread, axes = (roots.square() / len(rows))[: len(rows) - 1], axes[: len(rows) - 1]
    halves, other = torch.linalg.qr((rows[::2] - mean).T)[0], rows[1::2] - mean
    outside = (other - other @ halves @ halves.T).square().sum(1).mean() / max(len(x) - len(halves.T), 1)
    scales = last + variance**0.5 * torch.linspace(-6, 6, 241, dtype=torch.float64)
    # The strongest axes are the ones that pictures really are nearly Gaussian on.
    few = axes[:_SCALE_AXES]
    away = (few @ x)[:, None] - scales * (few @ mean)[:, None]
    spread_there = scales**2 * spread[:_SCALE_AXES, None] + variance
    cost = (away.square() / spread_there + spread_there.log()).sum(0) + (last - scales) ** 2 / variance
    scale = scales[int(cost.argmin())]
    moved = x - scale * mean
    along = axes @ moved
    inner = along * (scale * spread / (scale**2 * spread + variance))
    rest = (moved - along @ axes) * (scale * outside / (scale**2 * outside + variance))
    given: Tensor = mean + inner @ axes + rest
    return given


def separate_inputs(weight: Tensor, bias: Tensor) -> list[tuple[Tensor, int]]:
    """Inputs of a batch that some neurons saw alone.

    A row where a single picture's gradient passed (a ReLU that fires for it only) has exactly that picture
    as ratio, and so have all such rows. That two rows agree is a sign of it, and no proof: rows that the same
    pictures pass agree on a mixture where the gradients behind the layer are multiples of one another, as
    with two classes or classes that the batch has none of; see `gradient_rank`.

    Args:
        weight: Update (m, d).
        bias: Update (m,).

    Returns:
        Inputs float64 (d,) with the number of rows that agree on each, most first.
    """
    strong = bias.abs() > 1e-5 * bias.abs().max()
    ratios = weight[strong].double() / bias[strong].double()[:, None]
    if not len(ratios):
        return []
    ones = torch.ones(len(ratios), 1, dtype=torch.float64)
    lifted = torch.nn.functional.normalize(torch.cat([ratios, ones], dim=1), dim=1)
    alike = (lifted @ lifted.T).clamp(max=1) > math.sqrt(1 - _ALIKE**2)
    found, left = [], torch.ones(len(ratios), dtype=torch.bool)
    size = bias[strong].abs()
    for _ in range(len(ratios)):
        support = (alike & left).sum(1) * left
        row = int(support.argmax())
        if support[row] < 2:
            break
        group = alike[row] & left
        # The strongest of the agreeing rows has the least rounding.
        best = int((size * group).argmax())
        found.append((ratios[best], int(group.sum())))
        left &= ~group
    return found


def gradient_rank(observation: Observation, layer: LinearLayer, number: int = 0) -> int:
    """How many independent gradients flowed back into a layer, as far as a later linear layer shows.

    The update of the last linear layer behind it is sum_n d_n h_n^T over the batch, so its rank is at most
    that of the gradients d_n. 1 where no linear layer trained behind it.
    """
    layers = linear_layers(observation)
    if layers[-1].name == layer.name:
        return 1
    roots = torch.linalg.svdvals(observation.updates[number][layers[-1].weight].double())
    return max(int((roots > 1e-4 * roots[0]).sum()), 1)


def row_space(weight: Tensor, rank: int) -> Tensor:
    """Orthonormal rows (r, d) that span what the layer's inputs span, r <= rank.

    Every input of the batch lies in that space where the batch is smaller than both sides of the weight,
    whatever the loss: a candidate that lies in it was very probably there.

    Args:
        weight: Update (m, d).
        rank: Number of pictures.

    Example:
        >>> rows = row_space(torch.outer(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])), rank=1)
        >>> rows.abs().round(decimals=4).tolist()
        [[0.6, 0.8]]
    """
    left, roots = _left_vectors(weight.double())
    kept = min(rank, int((roots > 1e-6 * roots[0]).sum()))
    rows = left[:, :kept].T @ weight.double()
    basis: Tensor = torch.linalg.qr(rows.T)[0].T
    return basis


@dataclass(frozen=True)
class AnalyticInversion:
    """Pictures from the first linear layer's update, or features from any later one.

    Where the layer sees the flattened picture, as a trial shows, the evidence has pictures; else features.
    The objective is the share of the update that one input does not explain: near zero says that there was
    one picture.
    With a public set, the noise on a single picture is weighed against what pictures look like. Of several
    rounds the first is read.

    Attributes:
        layer: Name of the linear layer; None for the one that sees the picture, else the last one.

    Example:
        >>> from torch import nn
        >>> from attacks.observation import LocalTraining, cross_entropy
        >>> _ = torch.manual_seed(0)
        >>> model, x, y = nn.Linear(3, 2), torch.rand(1, 3), torch.tensor([1])
        >>> gradients = torch.autograd.grad(cross_entropy(model(x), y).mean(), list(model.parameters()))
        >>> update = {"weight": -0.1 * gradients[0], "bias": -0.1 * gradients[1]}
        >>> seen = Observation(model, model.state_dict(), (3,), (update,), LocalTraining(0.1), cross_entropy)
        >>> found = AnalyticInversion().run(seen, Budget(), seed=0)
        >>> torch.allclose(found.features.float(), x, atol=1e-4)
        True
    """

    layer: str | None = None

    @property
    def name(self) -> str:
        return "analytic inversion"

    @property
    def requires(self) -> frozenset[Capability]:
        return frozenset({Capability.SEES_UPDATE, Capability.KNOWS_BATCH_SIZE})

    def run(self, observation: Observation, budget: Budget, seed: int) -> Evidence:
        """Solve; needs neither budget nor seed.

        Raises:
            AttackError: No linear layer trained, or it got no gradient.
        """
        started = time.perf_counter()
        layer = self._choose(observation)
        update = observation.updates[0]
        weight, bias = update[layer.weight], update[layer.bias] if layer.bias else None
        row, rest, variance = leading_row(weight, bias)
        single = single_input(weight, bias)
        rows, notes = [single], [f"layer {layer.name or '(the model)'}"]
        assert observation.training is not None
        pictures = observation.training.pictures
        as_input = sees_picture(observation, layer)
        as_picture = as_input and len(observation.picture_shape) == 3
        if pictures > 1 and bias is not None:
            alone = separate_inputs(weight, bias)[:pictures]
            rows = [x for x, _ in alone] or rows
            notes.append(_batch_note(len(alone), pictures, gradient_rank(observation, layer)))
        elif bias is not None and as_picture:
            public = observation.public_pictures
            if public is not None and len(public) >= 4:
                rows = [posterior_mean(row, variance, observation.inputs(public).flatten(1))]
                notes.append("noise was weighed against the public set")
        if bias is None:
            single, note = _with_sign(observation, single, as_input)
            rows = [single] if pictures == 1 else list(row_space(weight, pictures))
            notes.append(note if pictures == 1 else "rows span the features; none is one picture's alone")
        found = torch.stack(rows)
        as_pictures = None
        if bias is not None and as_picture:
            inputs = found.view(-1, *observation.picture_shape)
            as_pictures = observation.denormalise(inputs).clamp(0, 1).float()
        return Evidence(
            self.name, rest, converged=True, pictures=as_pictures, features=found.float(),
            seconds=time.perf_counter() - started, notes=tuple(notes),
        )  # fmt: skip

    def _choose(self, observation: Observation) -> LinearLayer:
        layers = linear_layers(observation)
        if not observation.updates or not layers:
            raise AttackError(f"{self.name}: no linear layer of the model trained")
        if self.layer is not None:
            for layer in layers:
                if layer.name == self.layer:
                    return layer
            names = ", ".join(repr(layer.name) for layer in layers)
            raise AttackError(f"{self.name}: no linear layer {self.layer!r} trained; there are {names}")
        return next((layer for layer in layers if sees_picture(observation, layer)), layers[-1])


@dataclass(frozen=True, eq=False)
class SpanMatch:
    """Which candidates lie in the space that a linear layer's inputs span.

    Attributes:
        candidates: Inputs of that layer (k, d), such as embeddings before the head.
        layer: Name of the linear layer; None for the last one.
    """

    candidates: Tensor
    layer: str | None = None

    @property
    def name(self) -> str:
        return "row-space match"

    @property
    def requires(self) -> frozenset[Capability]:
        return frozenset({Capability.SEES_UPDATE, Capability.KNOWS_BATCH_SIZE, Capability.HAS_CANDIDATES})

    def run(self, observation: Observation, budget: Budget, seed: int) -> Evidence:
        """Score every candidate by the cosine between it and its projection, in [0, 1]."""
        started = time.perf_counter()
        layer = AnalyticInversion(self.layer)._choose(observation)
        assert observation.training is not None
        basis = row_space(observation.updates[0][layer.weight], observation.training.pictures)
        if self.candidates.shape[1:] != basis.shape[1:]:
            raise AttackError(
                f"candidates {tuple(self.candidates.shape)} are no inputs of a layer {basis.shape[1]} wide"
            )
        unit = torch.nn.functional.normalize(self.candidates.double(), dim=1)
        scores = (unit @ basis.T).norm(dim=1)
        notes = (
            () if len(basis) < basis.shape[1] else ("the batch fills the whole space: no candidate differs",)
        )
        return Evidence(
            self.name, float(1 - scores.max()), converged=True, features=basis.float(),
            scores=scores.float(), seconds=time.perf_counter() - started, notes=notes,
        )  # fmt: skip


def _left_vectors(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Left singular vectors (m, m) and singular values (m,), largest first, by the smaller Gram matrix."""
    if matrix.shape[0] > matrix.shape[1]:
        left, roots, _ = torch.linalg.svd(matrix, full_matrices=False)
        return left, roots
    values, vectors = torch.linalg.eigh(matrix @ matrix.T)
    return vectors.flip(1), values.clamp(min=0).sqrt().flip(0)


def _batch_note(found: int, pictures: int, rank: int) -> str:
    if not found:
        return f"no two neurons agree: what is shown is a mixture of the batch of {pictures}"
    words = f"{found} candidates for {pictures} pictures: on each of them at least two neurons agree"
    if rank == 1:
        return f"{words}; they may be mixtures, as nothing shows that the gradients behind the layer differ"
    return f"{words}; the gradients behind the layer have rank {rank}, so that mixtures seldom do"


def _with_sign(observation: Observation, unit: Tensor, as_input: bool) -> tuple[Tensor, str]:
    """Without a bias the row space says nothing of the sign: decide it by what else is known."""
    if observation.targets is not None and as_input:
        observed = observation.updates[0]

        def agreement(sign: int) -> float:
            guess = (sign * unit).to(torch.float32).view(1, *observation.picture_shape)
            assert observation.targets is not None
            again = simulate(observation, observation.denormalise(guess), observation.targets)
            along = sum(float((again[n] * observed[n]).sum()) for n in observation.trainable)
            norm = math.sqrt(sum(float(again[n].square().sum()) for n in observation.trainable))
            return along / max(norm, 1e-30)

        sign = 1 if agreement(1) >= agreement(-1) else -1
        return sign * unit, "no bias: known up to its length, the sign by the known target"
    public = observation.public_pictures
    if public is not None and as_input:
        mean = observation.inputs(public).flatten(1).mean(0).double()
        return unit * (
            1 if mean @ unit >= 0 else -1
        ), "no bias: known up to its length, the sign by the public mean"
    if (unit.abs() * (unit.sign() == unit.sum().sign())).square().sum() > 0.99:
        return unit * unit.sum().sign(), "no bias: known up to its length, taken as not negative"
    return unit, "no bias: known up to its length and sign"
