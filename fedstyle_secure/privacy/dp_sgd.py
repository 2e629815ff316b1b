"""DP-SGD on one portfolio, one record at a time, with Opacus' optimiser.

The guarantee stands on one condition that Opacus does not check: the gradient of a record must depend on
that record alone, as it is computed. So no two records ever share a product, rows are added up as integers,
and what would mix records all the same is refused here, by name and by behaviour.
"""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from opacus.optimizers import DPOptimizer
from torch import Tensor, nn

from fedstyle_secure.errors import PrivacyError
from fedstyle_secure.privacy.clipping import GRID, ClippedSum, to_grid
from fedstyle_secure.privacy.mechanisms import DpSgd
from fedstyle_secure.privacy.noise import ByteSource
from fedstyle_secure.privacy.picture_loss import PictureLoss

_ROUNDING = 1e-3
"""What another order of float32 sums may change in a unit embedding."""

_TOGETHER = 64
"""Records in one product, where nothing is promised of any one."""

_CHECKED = 3
"""Records that module and loss are tried on before a step is taken."""


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


NO_CANARIES = GradientCanaries((), 1.0)


class _ExactOptimizer(DPOptimizer):  # type: ignore[misc]  # Opacus has no types.
    """Opacus' optimiser, fed a record at a time: sums that no order changes, noise from OS entropy."""

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
        self._sum = self._zeros()

    def _zeros(self) -> ClippedSum:
        return ClippedSum(sum(p.numel() for p in self.params), self.max_grad_norm)

    def add(self, row: np.ndarray) -> None:
        """Clip a record's gradient, flat in the order of the parameters, and add it to the batch."""
        self._sum.add(row)

    def clip_and_accumulate(self) -> None:
        """Nothing is left to do: every record was clipped as it came."""

    def add_noise(self) -> None:
        total, self._sum = self._sum.released(self.noise_multiplier, self._read), self._zeros()
        start = 0
        for p in self.params:
            part = total[start : start + p.numel()].reshape(p.shape)
            p.grad = torch.from_numpy(part).to(p.dtype)
            start += p.numel()

    @property
    def grad_samples(self) -> list[Tensor]:
        """One accumulated batch: rows were added one by one."""
        return [p.detach() for p in self.params]

    @property
    def accumulated_iterations(self) -> int:
        """One: the expected batch size is that of the whole step."""
        return 1


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
        canaries: GradientCanaries = NO_CANARIES,
    ) -> None:
        """Take the plan's steps.

        Args:
            inputs: float32, shape (n, views, ...).
            targets: int64, shape (n, ...); what the loss wants to know of a picture.
            rng: Draws the Poisson batches. It must be secret where the plan's epsilon counts on it.
            canaries: More records, planted by an auditor.

        Raises:
            PrivacyError: The loss or the module was seen to mix pictures, a record's gradient is not its own,
                or a canary lies in no parameter.
        """
        self._check(inputs, targets, canaries)
        optimizer = _ExactOptimizer(_trainable(self._module), self._plan, self._rate, self._read)
        for _ in range(self._plan.steps):
            drawn = rng.random(len(inputs) + len(canaries.coordinates)) < self._plan.sampling_rate
            pictures, planted = torch.from_numpy(drawn[: len(inputs)]), drawn[len(inputs) :]
            inside = tuple(np.array(canaries.coordinates, np.int64)[planted].tolist())
            for row in self._rows(inputs[pictures], targets[pictures], replace(canaries, coordinates=inside)):
                optimizer.add(row)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def gradient_sum(
        self, inputs: Tensor, targets: Tensor, grid: int, canaries: GradientCanaries = NO_CANARIES
    ) -> np.ndarray:
        """The sum of all records' clipped gradients at the module's weights, which stay as they are.

        Args:
            inputs: float32, shape (n, views, ...).
            targets: int64, shape (n, ...).
            grid: Integer steps to the clip norm.
            canaries: More records, planted by an auditor.

        Returns:
            int64 (p,), without noise, in steps of clip_norm / grid: not to be released as it is.

        Raises:
            PrivacyError: As for `fit`.
        """
        self._check(inputs, targets, canaries)
        total = ClippedSum(self._size, self._plan.clip_norm, grid)
        for row in self._rows(inputs, targets, canaries):
            total.add(row)
        return total.integers

    @property
    def _size(self) -> int:
        return sum(p.numel() for p in _trainable(self._module))

    def _check(self, inputs: Tensor, targets: Tensor, canaries: GradientCanaries) -> None:
        self._module.train()
        if len(inputs):
            tried, wanted = stand_ins(inputs, targets, _CHECKED)
            refuse_mixing(self._module, self._loss, tried[:, 0], wanted)
            require_own_rows(self._module, self._loss, tried[:2], wanted[:2])
        _check_canaries(self._size, canaries)

    def _rows(self, inputs: Tensor, targets: Tensor, canaries: GradientCanaries) -> Iterator[np.ndarray]:
        """Rows of one step, each checked to be its record's own; without a clip, of a few of them."""
        first = None
        if math.isinf(self._plan.clip_norm):
            yield from _batch_rows(self._module, self._loss, inputs, targets)
            inputs, targets = inputs[:0], targets[:0]
        for row in record_rows(self._module, self._loss, inputs, targets):
            first = row if first is None else first
            yield row
        if first is not None:
            self._require_no_memory(first, inputs[:1], targets[:1])
        for place in canaries.coordinates:
            row = np.zeros(self._size)
            row[place] = canaries.norm
            yield row

    def _require_no_memory(self, first: np.ndarray, inputs: Tensor, targets: Tensor) -> None:
        """Compute a step's first row again after its others: what remembers records gives another one."""
        (again,) = record_rows(self._module, self._loss, inputs, targets)
        if not np.array_equal(first, again, equal_nan=True):
            raise PrivacyError(
                f"module {type(self._module).__name__} or loss {self._loss.name!r} remembers records: one "
                "gave another gradient after others"
            )


def record_rows(
    module: nn.Module, loss: PictureLoss, inputs: Tensor, targets: Tensor
) -> Iterator[np.ndarray]:
    """Each record's gradient at the module's weights, by itself.

    Every record is copied into memory of its own and passed alone, so that its row is a function of the
    record, the weights and the loss, to the last bit, whatever other records there are.

    Args:
        module: Maps inputs (b, ...) to embeddings (b, d).
        loss: Per-picture loss.
        inputs: float32, shape (n, views, ...).
        targets: int64, shape (n, ...).

    Yields:
        float32 (p,), the flattened trainable parameters' gradient of the mean loss over a record's views.
    """
    parameters, frozen = _trainable(module), loss.frozen()
    for views, target in zip(inputs, targets, strict=True):
        wanted = target.expand(len(views), *target.shape).contiguous()
        record = views.clone(memory_format=torch.contiguous_format)
        value = frozen(module(record), wanted).sum() / len(views)
        parts = torch.autograd.grad(value, parameters, allow_unused=True, materialize_grads=True)
        yield torch.cat([part.flatten() for part in parts]).numpy()


def _batch_rows(
    module: nn.Module, loss: PictureLoss, inputs: Tensor, targets: Tensor
) -> Iterator[np.ndarray]:
    """The sums of records' gradients, those of a few records in one product, where no clip bounds a record:
    nothing is promised of one then, and products of many are several times faster. Memory does not grow with
    the records, and one whose gradient is not finite takes no others with it but the few in its product."""
    parameters, views = _trainable(module), inputs.shape[1]
    for some, theirs in zip(inputs.split(_TOGETHER), targets.split(_TOGETHER), strict=True):
        if not len(some):
            continue
        wanted = theirs.repeat_interleave(views, dim=0)
        value = loss.frozen()(module(some.flatten(0, 1)), wanted).sum() / views
        parts = torch.autograd.grad(value, parameters, allow_unused=True, materialize_grads=True)
        yield torch.cat([part.flatten() for part in parts]).numpy()


def clipped_gradient_sum(
    module: nn.Module, loss: PictureLoss, inputs: Tensor, targets: Tensor, clip_norm: float
) -> Tensor:
    """The sum that DP-SGD adds noise to, for the sensitivity probe and for tests.

    Args:
        module: As for DPTrainer.
        loss: As for DPTrainer.
        inputs: float32, shape (n, views, ...).
        targets: int64, shape (n, ...); what the loss wants to know of a picture.
        clip_norm: L2 bound on a picture's gradient.

    Returns:
        float64, the flattened trainable parameters' clipped gradient sum.
    """
    total = ClippedSum(sum(p.numel() for p in _trainable(module)), clip_norm)
    for row in record_rows(module, loss, inputs, targets):
        total.add(row)
    return torch.from_numpy(total.released(0.0))


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
    rows = record_rows(module, loss, inputs, targets)
    if math.isinf(clip_norm):
        return torch.stack([torch.from_numpy(row) for row in rows])
    step = clip_norm / GRID
    return torch.stack([torch.from_numpy(to_grid(row, clip_norm) * step).float() for row in rows])


def require_own_rows(module: nn.Module, loss: PictureLoss, inputs: Tensor, targets: Tensor) -> None:
    """Check rows and do not believe them: each must be, to the last bit, what its record alone gives on a
    fresh copy of the module. What differs is named: a layer that keeps a state between records or draws at
    random, or one whose gradient is computed in another way, wrongly.

    Args:
        module: As for DPTrainer.
        loss: As for DPTrainer.
        inputs: float32, shape (n, views, ...).
        targets: int64, shape (n, ...).

    Raises:
        PrivacyError: Names the parameter whose gradient differs most.
    """
    worst, name = 0.0, ""
    for i, row in enumerate(record_rows(module, loss, inputs, targets)):
        twin, views, start = copy.deepcopy(module), len(inputs[i]), 0
        twin.zero_grad()
        wanted = targets[i].repeat(views, *[1] * targets[i].ndim)
        (loss.frozen()(twin(inputs[i].clone()), wanted).sum() / views).backward()
        for each, p in twin.named_parameters():
            if not p.requires_grad:
                continue
            theirs = np.zeros(p.numel(), np.float32) if p.grad is None else p.grad.flatten().numpy()
            ours, start = row[start : start + p.numel()], start + p.numel()
            if not np.array_equal(ours, theirs, equal_nan=True):
                error = float(np.linalg.norm(ours - theirs)) / max(float(np.linalg.norm(theirs)), 1e-30)
                if not name or not error <= worst:
                    worst, name = error, each
    if name:
        raise PrivacyError(
            f"the gradient of {name!r} for one record is not that of the record alone (relative error "
            f"{worst:.2g}): its layer draws at random, keeps a state between records, or its rows are "
            "computed wrongly"
        )


def stand_ins(inputs: Tensor, targets: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Records for the checks that come before training: of the shape of the artist's own and with the target
    of its first, but made of noise that everybody knows, so that a refusal tells nothing of its pictures.

    Returns:
        Inputs (count, views, ...) and targets (count, ...).
    """
    made = torch.randn(count, *inputs.shape[1:], generator=torch.Generator().manual_seed(0))
    return made.to(inputs.dtype), targets[:1].expand(count, *targets.shape[1:]).contiguous()


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
            "nothing; contrast against what is public already"
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


def _check_canaries(size: int, canaries: GradientCanaries) -> None:
    if not all(0 <= c < size for c in canaries.coordinates):
        raise PrivacyError(f"canaries lie in coordinates 0 to {size - 1}, not {canaries.coordinates}")
