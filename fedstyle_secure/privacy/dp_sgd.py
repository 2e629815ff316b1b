"""DP-SGD on one portfolio, with Opacus' per-picture gradients and optimiser.

The guarantee stands on one condition that Opacus does not check: the gradient of a picture must depend
on that picture alone. What would break it is refused here, by name and by behaviour.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer
from torch import Tensor, nn

from fedstyle_secure.errors import PrivacyError
from fedstyle_secure.privacy.mechanisms import DpSgd
from fedstyle_secure.privacy.noise import ByteSource, gaussian

_ROWS = "grad_sample"
"""The attribute of a parameter where Opacus keeps per-picture gradients."""

_ROUNDING = 1e-3
"""What another order of float32 sums may change in a unit embedding."""


class PictureLoss(Protocol):
    """A loss that splits over pictures."""

    name: str

    def __call__(self, embeddings: Tensor, targets: Tensor) -> Tensor:
        """(b, d) and int64 (b, ...) to losses (b,), the i-th from the i-th embedding alone."""


@dataclass(frozen=True)
class GradientCanaries:
    """Records without a picture, each with a gradient that is zero but for one coordinate (Nasr et al. 2023).

    They are sampled, clipped and noised like pictures, and cost the ledger nothing more than a picture does.

    Attributes:
        coordinates: Of each, in the flattened trainable parameters in the module's order.
        norm: Value of that coordinate before clipping, > 0.
    """

    coordinates: tuple[int, ...]
    norm: float


_NO_CANARIES = GradientCanaries((), 1.0)


class _NoisyOptimizer(DPOptimizer):
    """Opacus' optimiser with noise from OS entropy instead of a seeded torch generator."""

    def __init__(
        self, parameters: Sequence[nn.Parameter], plan: DpSgd, rate: float, read: ByteSource
    ) -> None:
        super().__init__(
            torch.optim.SGD(parameters, lr=rate),
            noise_multiplier=plan.noise_multiplier,
            max_grad_norm=plan.clip_norm,
            expected_batch_size=plan.expected_batch_size,
        )
        self._read = read

    def add_noise(self) -> None:
        if self.noise_multiplier == 0:  # also where the clip norm is infinite
            std = 0.0
        else:
            std = self.noise_multiplier * self.max_grad_norm
        for p in self.params:
            # Added in float64: noise that was rounded first would leave gaps that show what it was added to.
            noise = torch.from_numpy(gaussian(tuple(p.shape), std, self._read))
            p.grad = (p.summed_grad.double() + noise).to(p.dtype)


class DPTrainer:
    """Trains the trainable weights of a module on one portfolio under a DP-SGD plan.

    Every picture may come as several views; its gradient is the mean over its views, so that the views
    count as one record. A Poisson batch that comes out empty is a step of pure noise. A picture whose
    gradient is not finite counts as zero.
    """

    def __init__(
        self,
        module: nn.Module,
        loss: PictureLoss,
        plan: DpSgd,
        learning_rate: float,
        read: ByteSource = os.urandom,
    ) -> None:
        """Prepare training.

        Args:
            module: Maps inputs (b, ...) to embeddings (b, d). Its parameters that require gradients
                are trained in place.
            loss: Per-picture loss.
            plan: Sampler, clip and noise, the same object that the ledger gets.
            learning_rate: Step size, > 0.
            read: Source of the noise's bytes.

        Raises:
            PrivacyError: A layer or the loss mixes pictures; names it.
        """
        _refuse_batch_layers(module)
        self._module = module
        self._loss = loss
        self._plan = plan
        self._rate = learning_rate
        self._read = read

    def fit(
        self,
        inputs: Tensor,
        targets: Tensor,
        rng: np.random.Generator,
        canaries: GradientCanaries = _NO_CANARIES,
    ) -> None:
        """Take the plan's steps.

        Args:
            inputs: float32, shape (n, views, ...).
            targets: int64, shape (n, ...); what the loss wants to know of a picture.
            rng: Draws the Poisson batches. It must be secret where the plan's epsilon counts on it.
            canaries: More records, planted by an auditor.

        Raises:
            PrivacyError: The loss or the module was seen to mix pictures, or a canary lies in no parameter.
        """
        self._module.train()
        refuse_mixing(self._module, self._loss, inputs[:, 0], targets)
        parameters = _trainable(self._module)
        _check_canaries(parameters, canaries)
        optimizer = _NoisyOptimizer(parameters, self._plan, self._rate, self._read)
        # strict=False admits frozen buffers; layers that mix pictures were refused above.
        wrapped = GradSampleModule(self._module, loss_reduction="sum", strict=False)
        try:
            for _ in range(self._plan.steps):
                records = len(inputs) + len(canaries.coordinates)
                drawn = torch.from_numpy(rng.random(records) < self._plan.sampling_rate)
                pictures = drawn[: len(inputs)]
                _fill_grad_samples(wrapped, self._loss, inputs[pictures], targets[pictures])
                _add_canaries(parameters, canaries, drawn[len(inputs) :])
                optimizer.step()
                optimizer.zero_grad()
        finally:
            wrapped.to_standard_module()


def clipped_gradient_sum(
    module: nn.Module, loss: PictureLoss, inputs: Tensor, targets: Tensor, clip_norm: float
) -> Tensor:
    """The sum that DP-SGD adds noise to, for the sensitivity probe and for tests.

    Refuses nothing: the probe must be able to show what a mixing loss would do.

    Args:
        module: As for DPTrainer.
        loss: As for DPTrainer.
        inputs: float32, shape (n, views, ...).
        targets: int64, shape (n, ...); what the loss wants to know of a picture.
        clip_norm: L2 bound on a picture's gradient.

    Returns:
        float32, the flattened trainable parameters' clipped gradient sum.
    """
    plan = DpSgd(clip_norm, 0.0, 1.0, 1, 1.0)
    wrapped = GradSampleModule(module, loss_reduction="sum", strict=False)
    try:
        optimizer = _NoisyOptimizer(_trainable(module), plan, 1.0, os.urandom)
        _fill_grad_samples(wrapped, loss, inputs, targets)
        optimizer.clip_and_accumulate()
        total = torch.cat([p.summed_grad.flatten() for p in optimizer.params])
        optimizer.zero_grad()
    finally:
        wrapped.to_standard_module()
    return total


def picture_gradients(
    module: nn.Module, loss: PictureLoss, inputs: Tensor, targets: Tensor, clip_norm: float
) -> Tensor:
    """The rows that DP-SGD adds up: each picture's clipped gradient, for an auditor.

    Args:
        module: As for DPTrainer.
        loss: As for DPTrainer.
        inputs: float32, shape (n, views, ...), n >= 1.
        targets: int64, shape (n, ...).
        clip_norm: L2 bound on a picture's gradient; infinite: none.

    Returns:
        float32 (n, p), the flattened trainable parameters in the module's order.
    """
    wrapped = GradSampleModule(module, loss_reduction="sum", strict=False)
    parameters = _trainable(module)
    try:
        _fill_grad_samples(wrapped, loss, inputs, targets)
        rows = torch.cat([getattr(p, _ROWS).flatten(1) for p in parameters], dim=1)
        for p in parameters:
            p.grad = None
            setattr(p, _ROWS, None)
    finally:
        wrapped.to_standard_module()
    lengths = rows.norm(dim=1, keepdim=True)
    return rows if math.isinf(clip_norm) else rows * (clip_norm / lengths.clamp(min=clip_norm))


def refuse_mixing(module: nn.Module, loss: PictureLoss, inputs: Tensor, targets: Tensor) -> None:
    """Refuse a module or loss by behaviour: the first picture's loss must not move with another picture.

    Args:
        module: Maps inputs (b, ...) to embeddings (b, d).
        loss: Per-picture loss.
        inputs: float32, shape (n, ...); with fewer than two rows there is nothing to mix.
        targets: int64, shape (n, ...); what the loss wants to know of a picture.

    Raises:
        PrivacyError: Names the module or the loss.
    """
    if len(inputs) < 2:
        return
    probe, labels = inputs[:4].detach().clone().requires_grad_(True), targets[:4]
    before = {name: buffer.clone() for name, buffer in module.named_buffers()}
    embeddings = module(probe)
    others = torch.cat([probe[:1], -2 * probe[1:]]).detach()
    with torch.no_grad():
        moved = (module(others)[0] - embeddings[0]).abs().max()
    (gradient,) = torch.autograd.grad(embeddings[0].square().sum() + embeddings[0].sum(), probe)
    changed = any(not torch.equal(before[name], buffer) for name, buffer in module.named_buffers())
    if moved > _ROUNDING or gradient[1:].abs().max() > 0 or changed:
        raise PrivacyError(f"module {type(module).__name__} mixes the pictures of a batch")
    leaf = embeddings.detach().requires_grad_(True)
    losses = loss(leaf, labels)
    if losses.shape != (len(leaf),):
        raise PrivacyError(f"loss {loss.name!r} gives shape {tuple(losses.shape)}, not one value a picture")
    (gradient,) = torch.autograd.grad(losses[0], leaf, retain_graph=True)
    with torch.no_grad():
        alone = loss(torch.cat([leaf[:1], -leaf[1:]]), labels)[0]
    if gradient[1:].abs().max() > 0 or (alone - losses[0]).abs() > _ROUNDING * (1 + losses[0].abs()):
        raise PrivacyError(
            f"loss {loss.name!r} contrasts the pictures of a batch with each other, so a clip bounds "
            "nothing; contrast against released prototypes and cards"
        )


def _refuse_batch_layers(module: nn.Module) -> None:
    for name, layer in module.named_modules():
        if isinstance(layer, nn.modules.batchnorm._NormBase) and (
            isinstance(layer, nn.modules.batchnorm._BatchNorm) or layer.track_running_stats
        ):
            raise PrivacyError(
                f"layer {name or '(root)'!r} ({type(layer).__name__}) mixes the pictures of a batch; "
                "use GroupNorm"
            )


def _trainable(module: nn.Module) -> list[nn.Parameter]:
    return [p for p in module.parameters() if p.requires_grad]


def _check_canaries(parameters: Sequence[nn.Parameter], canaries: GradientCanaries) -> None:
    size = sum(p.numel() for p in parameters)
    if not all(0 <= c < size for c in canaries.coordinates):
        raise PrivacyError(f"canaries lie in coordinates 0 to {size - 1}, not {canaries.coordinates}")


def _add_canaries(parameters: Sequence[nn.Parameter], canaries: GradientCanaries, drawn: Tensor) -> None:
    """Append the rows of the canaries that were drawn, bool (canaries,), to those of the pictures."""
    if not drawn.any():
        return
    places = torch.tensor(canaries.coordinates)[drawn]
    start = 0
    for p in parameters:
        rows = torch.zeros((len(places), p.numel()), dtype=p.dtype)
        here = (places >= start) & (places < start + p.numel())
        rows[here.nonzero()[:, 0], places[here] - start] = canaries.norm
        setattr(p, _ROWS, torch.cat([getattr(p, _ROWS), rows.reshape(-1, *p.shape)]))
        start += p.numel()


def _fill_grad_samples(wrapped: GradSampleModule, loss: PictureLoss, inputs: Tensor, targets: Tensor) -> None:
    """Set `grad_sample` of every trainable parameter to the pictures' gradients, one row a picture."""
    pictures, views = inputs.shape[:2]
    parameters = _trainable(wrapped)
    if pictures == 0:
        for p in parameters:
            setattr(p, _ROWS, torch.zeros((0, *p.shape), dtype=p.dtype))
        return
    flat, wanted = inputs.flatten(0, 1), targets.repeat_interleave(views, dim=0)
    count = len(flat)
    if count == 1:
        # One row alone takes another path through BLAS, whose rounding a crafted head could blow up.
        flat, wanted = torch.cat([flat, flat]), torch.cat([wanted, wanted])
    # Opacus' backward hooks warn where a module's inputs carry no gradient.
    embeddings = wrapped(flat.detach().requires_grad_(True))
    (loss(embeddings, wanted).sum() / views).backward()
    # Opacus' rows come one a view, each already divided by `views`; their sum is the picture's gradient.
    rows = [getattr(p, _ROWS)[:count].reshape(pictures, views, *p.shape).sum(1) for p in parameters]
    finite = torch.stack([row.flatten(1).isfinite().all(1) for row in rows]).all(0)
    for p, row in zip(parameters, rows, strict=True):
        row[~finite] = 0
        setattr(p, _ROWS, row)
