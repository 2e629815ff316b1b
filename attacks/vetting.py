"""The artist's side: look for signs that a model was made to copy pictures, before training it.

Nothing here proves a model harmless. `vet_weights` knows rows that measure the same at shifted thresholds
(Fowl et al. 2022), blown-up gains and broken tensors. `self_audit` makes the artist's own would-be update
and looks for the artist's own pictures in it. `vet_architecture` compares shapes only; `vet_forward` compares
what two modules do with the same weights on probe inputs. Safest is to train one's own copy of the agreed
module with the weights that came, and never code that came.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attacks.errors import AttackError
from attacks.inversion.analytic import layer_inputs
from attacks.metrics import PSNR_CAP
from attacks.observation import Observation, State
from attacks.ranges import real, whole
from attacks.replay import simulate
from attacks.results import generator

_WIDE = 64
"""Rows of fewer weights resemble each other in honest models: a tenth of the angle counts for them."""
_SMALLEST_PART = 48
"""Numbers of the smallest patch whose return counts as a copy of a part of a picture: 4x4 in colour."""
_MOST_PARTS = 2048
_MOST_ROWS = 256
_AHEAD = 10.0
"""Decibels by which an own picture must come out better than its mirror images: smooth pictures resemble."""
_SHARE = 16
"""A tensor that is not read counts as able to hold a picture from this fraction of its numbers."""
_AFFINE = 1e-4
_ALONE = 60.0


@dataclass(frozen=True)
class VettingLimits:
    """What is still believed to be honest. The defaults pass trained and fresh models of common kinds.

    Attributes:
        parallel_rows: Most rows of one weight that may point the same way with different thresholds.
        angle: Sine below which two rows count as parallel; a tenth of it for rows of fewer than 64 weights.
        smallest_row: Rows with fewer weights are not compared; small filters resemble each other.
        value: Largest absolute value of a weight or bias, and of anything of two or more axes.
        other_value: Largest absolute value of another vector, such as a buffer of means in 0 to 255.
        gain: Largest spectral norm of a weight of two or more axes.
        running_variance: Range of a batch norm's running variance. Up to half of the channels may lie below
            it, as dead channels do; none may be negative.
    """

    parallel_rows: int = 3
    angle: float = 0.1
    smallest_row: int = 16
    value: float = 100.0
    other_value: float = 1e4
    gain: float = 100.0
    running_variance: tuple[float, float] = (1e-6, 1e4)

    def __post_init__(self) -> None:
        for name in ("parallel_rows", "smallest_row"):
            whole(f"vetting limits: {name}", getattr(self, name), 1)
        for name in ("angle", "value", "other_value", "gain"):
            real(f"vetting limits: {name}", getattr(self, name), "(0, inf)")
        low, high = self.running_variance
        real("vetting limits: lower running_variance", low, "(0, inf)")
        real("vetting limits: upper running_variance", high, f"[{low!r}, inf)")


@dataclass(frozen=True)
class Objection:
    """Why a model should not be trained.

    Attributes:
        tensor: Name of the tensor, or `forward` where the code is meant.
        reason: What is wrong with it.
    """

    tensor: str
    reason: str


def vet_architecture(model: nn.Module, agreed: Mapping[str, Sequence[int]]) -> list[Objection]:
    """Compare a model's tensors with those that were agreed on: names and shapes only.

    A model whose `forward` takes another way through the same tensors passes; see `vet_forward`.

    Args:
        model: What the platform wants trained.
        agreed: Shape of every tensor of the `state_dict`, from a source other than this message.

    Example:
        >>> [str(o.reason) for o in vet_architecture(nn.Linear(2, 3), {"weight": (3, 2), "bias": (4,)})]
        ['is (3,), not (4,)']
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = []
    for name in sorted(set(shapes) | set(agreed)):
        if name not in agreed:
            found.append(Objection(name, "was not agreed on"))
        elif name not in shapes:
            found.append(Objection(name, "was agreed on and is missing"))
        elif shapes[name] != tuple(agreed[name]):
            found.append(Objection(name, f"is {shapes[name]}, not {tuple(agreed[name])}"))
    return found


def vet_forward(model: nn.Module, agreed: nn.Module, inputs: Tensor) -> list[Objection]:
    """Compare what a model does with what the agreed module does with the model's weights.

    Outputs, gradients of all parameters and buffers afterwards, in eval and in train mode, with the same
    random draws. A model that behaves on these inputs and misbehaves on others passes.

    Args:
        model: What the platform wants trained; not changed.
        agreed: The module that was agreed on, from a source other than this message; not changed.
        inputs: Probes as the model takes them (b, ...), from the artist's side, b >= 2.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in agreed.state_dict().items()}
    if objections := vet_architecture(model, shapes):
        return objections
    for train in (False, True):
        mode = "train" if train else "eval"
        theirs, ours = copy.deepcopy(model), copy.deepcopy(agreed)
        ours.load_state_dict(model.state_dict())
        there, here = _behaviour(theirs, inputs, train), _behaviour(ours, inputs, train)
        for name in sorted(set(there) | set(here)):
            if name not in there or name not in here or not _same(there[name], here[name]):
                what = "outputs" if name == "" else f"what becomes of {name!r}"
                return [Objection("forward", f"{what} in {mode} mode is not that of the agreed module")]
    return []


def vet_weights(weights: State, limits: VettingLimits | None = None) -> list[Objection]:
    """Look for weights that no honest training makes.

    Rows count as measuring the same where they are parallel and their thresholds differ: by their own bias,
    or where there is none by any vector of the same length, such as the shift of a norm that follows. Rows
    that share their threshold too, as those of classes never seen do, are let through.

    Args:
        weights: Every tensor of the `state_dict`.
        limits: What counts as honest; None for the defaults.

    Returns:
        Objections, at most one a tensor; empty where nothing was found, which proves nothing: rows that are
        not parallel can copy as well (Boenisch et al. 2023).

    Example:
        >>> [o.reason for o in vet_weights({"bias": torch.tensor([float("nan")])})]
        ['is not finite']
    """
    limits = limits or VettingLimits()
    found = []
    for name, tensor in weights.items():
        reason = _objection(name, tensor, weights, limits)
        if reason is not None:
            found.append(Objection(name, reason))
    return found


@dataclass(frozen=True)
class SelfAudit:
    """What the artist's own update would give away in closed form.

    Attributes:
        verdict: `refuse`: an own picture, or a patch of one, comes out. `no copy found`: every layer was
            read and none does. `not judged`: none was found, and something could not be read.
        worst: PSNR in dB of the best copy of an own picture or patch, up to a factor, its peak the range of
            what the layer sees; None where no layer that sees the picture could be read.
        blind: The same for the mirrored pictures, which the update knows nothing of; None likewise.
        where: Name of the layer and how the copy comes out; empty where `worst` is None.
        reasons: What was not read, and why.
    """

    verdict: Literal["refuse", "no copy found", "not judged"]
    worst: float | None
    blind: float | None
    where: str
    reasons: tuple[str, ...]

    @property
    def refuse(self) -> bool:
        """Whether the artist should refuse. False does not mean that the model was judged: see `verdict`."""
        return self.verdict == "refuse"


def self_audit(observation: Observation, pictures: Tensor, targets: Tensor, most: float = 30.0) -> SelfAudit:
    """Make the update that these pictures would send, and look for these pictures in it.

    Of every trained `nn.Linear` and ungrouped `nn.Conv2d` whose input is an affine function of the picture,
    each row of the update, each difference of two rows and the space that the rows span are compared with
    what the layer saw of each picture, up to a factor: what a platform that knows the thresholds can read
    off. Takes the observation's clip into account but no noise: noise must be judged by its epsilon.

    What it cannot see it says: layers of other kinds, and layers behind a nonlinearity that give their own
    input away, which `attacks.inversion.optimisation` may turn into a picture.

    Args:
        observation: The model and weights to be vetted, and how they would be trained; updates are ignored.
        pictures: The artist's own (n, c, h, w), in [0, 1].
        targets: Their targets (n, ...).
        most: PSNR in dB above which the artist should refuse, if it is 10 dB above `blind` too.
    """
    if len(observation.picture_shape) != 3:
        raise AttackError(f"a self-audit looks for pictures, and {observation.picture_shape} is no picture's")
    update = simulate(observation, pictures, targets)
    update = {name: update[name] for name in observation.trainable}
    mirrored = [pictures.flip(-1), pictures.flip(-2), pictures.flip(-1, -2)]
    seen = layer_inputs(observation, pictures)
    seen_mirrored = [layer_inputs(observation, x) for x in mirrored]
    affine = _affine_layers(observation)
    best: tuple[float, float, str] | None = None
    reasons = _unread(observation, update, seen)
    for name, inputs in seen.items():
        weight = f"{name}.weight" if name else "weight"
        if weight not in update or not update[weight].any():
            continue
        module, rows = observation.model.get_submodule(name), update[weight].flatten(1).double()
        if len(rows) > _MOST_ROWS:
            reasons.append(f"layer {name!r}: differences were tried among {_MOST_ROWS} of {len(rows)} rows")
        parts = _parts(module, inputs)
        if name not in affine:
            value, how = _best_copy(rows, parts)
            if value > _ALONE:
                reasons.append(
                    f"layer {name!r} gives its input away ({how}), and sees no affine function of the "
                    "picture: inversion may make a picture of it"
                )
            continue
        if parts.shape[1] < min(_SMALLEST_PART, math.prod(observation.picture_shape)):
            continue  # patches too small to be anybody's work
        value, how = _best_copy(rows, parts)
        blind = min(_best_copy(rows, _parts(module, other[name]))[0] for other in seen_mirrored)
        if best is None or value - blind > best[0] - best[1]:
            best = (value, blind, f"layer {name or '(the model)'}, {how}")
    if best is None:
        return SelfAudit("not judged", None, None, "", (*reasons, *_no_layer(seen, affine)))
    worst, blind, where = best
    if worst > most and worst > blind + _AHEAD:
        return SelfAudit("refuse", worst, blind, where, tuple(reasons))
    return SelfAudit("not judged" if reasons else "no copy found", worst, blind, where, tuple(reasons))


def _no_layer(seen: Mapping[str, list[Tensor]], affine: set[str]) -> tuple[str, ...]:
    if affine & set(seen):
        return ("the layers that see the picture see patches too small to compare, or got no gradient",)
    return ("no linear or convolution layer that trained sees an affine function of the picture",)


def _unread(observation: Observation, update: State, seen: Mapping[str, list[Tensor]]) -> list[str]:
    """Trained tensors that are not the weight or bias of a layer that is read."""
    read = {f"{name}.{kind}" if name else kind for name in seen for kind in ("weight", "bias")}
    size = math.prod(observation.picture_shape) / _SHARE
    found = []
    for name, tensor in update.items():
        if name in read or not tensor.any():
            continue
        if tensor.squeeze().ndim >= 2 or tensor.numel() >= max(size, _SMALLEST_PART):
            found.append(f"tensor {name!r} {tuple(tensor.shape)} belongs to no layer that is read")
    return found


def _affine_layers(observation: Observation) -> set[str]:
    """Layers whose input is an affine function of the picture in eval mode, tried on random pictures."""
    draws = generator(0)
    a, b = (torch.rand(1, *observation.picture_shape, generator=draws) for _ in range(2))
    was_training = observation.model.training
    observation.model.eval()
    try:
        one, two, between = (layer_inputs(observation, x) for x in (a, b, 0.3 * a + 0.7 * b))
    finally:
        observation.model.train(was_training)
    found = set()
    for name in set(one) & set(two) & set(between):
        pairs = zip(one[name], two[name], between[name], strict=True)
        # An input that does not move with the picture is no function of it to speak of.
        if all(
            x.shape == z.shape
            and (0.3 * x + 0.7 * y - z).abs().max() <= _AFFINE * (x - y).abs().max()
            and bool((x != y).any())
            for x, y, z in pairs
        ):
            found.add(name)
    return found


def _parts(module: nn.Module, inputs: list[Tensor]) -> Tensor:
    """What a layer's rows are multiplied with, float64 (p, d): whole inputs, or patches of a convolution."""
    found = []
    for x in inputs:
        if isinstance(module, nn.Conv2d):
            assert not isinstance(module.padding, str)
            unfolded = F.unfold(x, module.kernel_size, module.dilation, module.padding, module.stride)
            x = unfolded.transpose(1, 2)
        found.append(x.flatten(0, -2))
    parts = torch.cat(found).double()
    if len(parts) <= _MOST_PARTS:
        return parts
    return parts[torch.linspace(0, len(parts) - 1, _MOST_PARTS).long()]


def _best_copy(rows: Tensor, parts: Tensor) -> tuple[float, str]:
    """PSNR of the best copy of any part (p, d) in rows (m, d), up to a factor, and how it comes out.

    The peak is the range of the parts. A flat part is left out: any flat row is a copy of it.
    """
    span = parts.max() - parts.min()
    parts = parts[parts.std(1, unbiased=False) > 0.02 * span]
    if not len(parts) or span == 0:
        return 0.0, ""
    squares = parts.square().sum(1)
    some = rows[torch.linspace(0, len(rows) - 1, min(len(rows), _MOST_ROWS)).long()]
    directions = [("a row of its update", rows[rows.norm(dim=1) > 0])]
    if len(some) > 1:
        first, second = torch.triu_indices(len(some), len(some), 1)
        directions.append(("a difference of two rows", _closest(some, first, second, parts)))
    left: list[tuple[float, str]] = []
    for how, found in directions:
        unit = F.normalize(found, dim=1)
        along = (parts @ unit.T).square().amax(1) if len(unit) else torch.zeros(len(parts))
        left.append((float((squares - along).clamp(min=0).min()), how))
    # Where the rows span everything, everything lies in their span.
    basis = _row_space(rows)
    if len(basis) < rows.shape[1]:
        along = (parts @ basis.T).square().sum(1)
        left.append((float((squares - along).clamp(min=0).min()), "the span of its rows"))
    error, how = min(left)
    mean_square = error / parts.shape[1] / float(span) ** 2
    return min(-10 * math.log10(max(mean_square, 1e-30)), PSNR_CAP), how


def _closest(rows: Tensor, first: Tensor, second: Tensor, parts: Tensor) -> Tensor:
    """The difference of two rows (first[k] minus second[k]) that lies nearest to each part, (p, d)."""
    gram, along = rows @ rows.T, rows @ parts.T
    lengths = gram[first, first] + gram[second, second] - 2 * gram[first, second]
    apart = lengths > 1e-12 * (gram[first, first] + gram[second, second])
    first, second, lengths = first[apart], second[apart], lengths[apart]
    if not len(first):
        return rows[:0]
    chosen = torch.stack([
        ((along[first, k] - along[second, k]).square() / lengths).argmax() for k in range(len(parts))
    ])  # fmt: skip
    chosen = chosen.unique()
    return rows[first[chosen]] - rows[second[chosen]]


def _row_space(rows: Tensor) -> Tensor:
    """Orthonormal rows (r, d) that span the rows (m, d), as far as float32 can tell them from rounding."""
    _, roots, axes = torch.linalg.svd(rows, full_matrices=False)
    spanning: Tensor = axes[roots > 1e-6 * roots[0]]
    return spanning


def _behaviour(model: nn.Module, inputs: Tensor, train: bool) -> dict[str, Tensor]:
    """Outputs under an empty name, gradients and buffers after a pass under their own."""
    model.train(train)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        outputs = model(inputs)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    flat = torch.cat([o.flatten() for o in outputs])
    # Fixed random weights: a plain sum is blind to what a softmax or a norm takes out.
    weights = torch.randn(len(flat), generator=generator(0), dtype=flat.dtype)
    (flat * weights).sum().backward()
    found = {"": flat.detach()}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            found[name] = parameter.grad
    return found | dict(model.named_buffers())


def _same(there: Tensor, here: Tensor) -> bool:
    return there.shape == here.shape and torch.allclose(there, here, rtol=1e-4, atol=1e-6, equal_nan=True)


def _objection(name: str, tensor: Tensor, weights: State, limits: VettingLimits) -> str | None:
    if tensor.is_complex():
        return "is complex, as no layer of an agreed kind is"
    if not tensor.numel():
        return "is empty"
    if not tensor.is_floating_point():
        return None
    if not tensor.isfinite().all():
        return "is not finite"
    if name.endswith("running_var"):
        low, high = limits.running_variance
        dead = float((tensor < low).double().mean())
        if tensor.min() < 0 or tensor.max() > high or dead > 0.5:
            return f"is a running variance outside of [{low:g}, {high:g}]"
        return None
    flat = tensor.squeeze().ndim < 2
    weighs = not flat or name.rpartition(".")[2] in ("weight", "bias")
    most = limits.value if weighs else limits.other_value
    if tensor.abs().max() > most:
        return f"has a value of {float(tensor.abs().max()):.3g}, more than {most:g}"
    if flat:
        return None
    rows = tensor.flatten(1).double()
    gain = float(torch.linalg.matrix_norm(rows, 2))
    if gain > limits.gain:
        return f"amplifies by {gain:.3g}, more than {limits.gain:g}"
    if rows.shape[1] < limits.smallest_row:
        return None
    parallel = max((_shifted(rows, shift, limits) for shift in _shifts(name, weights, len(rows))), default=0)
    if parallel > limits.parallel_rows:
        return f"has {parallel} rows that measure the same with shifted biases, as an imprint does"
    return None


def _shifts(name: str, weights: State, length: int) -> list[Tensor]:
    """Vectors that may be a weight's thresholds: its own bias, else any other of that length."""
    own = name.removesuffix("weight") + "bias" if name.endswith("weight") else ""
    names = [own] if own in weights else [n for n in weights if n != name]
    vectors = [weights[n] for n in names]
    return [v.double() for v in vectors if v.is_floating_point() and tuple(v.shape) == (length,)]


def _shifted(rows: Tensor, shift: Tensor, limits: VettingLimits) -> int:
    """The most rows that are parallel and have different thresholds."""
    lengths = rows.norm(dim=1)
    # Rows that have died point anywhere.
    alive = lengths > 1e-3 * lengths.max()
    rows, thresholds = rows[alive], shift[alive] / lengths[alive]
    if not len(rows):
        return 0
    unit = F.normalize(rows, dim=1)
    cosines = unit @ unit.T
    angle = limits.angle if rows.shape[1] >= _WIDE else limits.angle / 10
    alike = (1 - cosines.square()).clamp(min=0).sqrt() < angle
    most = 0
    for row in range(len(rows)):
        # A row that points the other way has its threshold on the other side.
        here = (thresholds * cosines[row].sign())[alike[row]].sort().values
        steps = here.diff() > 1e-5 * here.abs().max()
        most = max(most, 1 + int(steps.sum()))
    return most
