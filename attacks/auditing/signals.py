"""What a model says of records: losses, and logits where it is a classifier. Measured in evaluation mode."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attacks.auditing.data import Records
from attacks.errors import AttackError, one_line
from attacks.membership.threshold import checked_logits
from attacks.observation import Loss, losses_of

Views = Callable[[Tensor, torch.Generator], Tensor]
"""Maps inputs (b, ...) to one augmented view of each, (b, ...), drawn by a generator."""

_VIEWS = 8
"""Of every record."""

_ALIKE = 0.05
"""Relative and absolute room for two answers on one record: half precision and int8 differ by less."""

_MASKED = 1e4
"""How far below the largest logit a masked class is put; its probability is zero in double precision."""


@dataclass(frozen=True, eq=False)
class Signals:
    """One model's answers on n records.

    Attributes:
        losses: float64 (n,); for an encoder minus the agreement of a record's views.
        logits: float64 (n, c), or None where the model is no classifier.
        labels: int64 (n,), with the logits.
        views: Embeddings float64 (n, v, d) of an encoder's views, or None.
    """

    losses: np.ndarray
    logits: np.ndarray | None = None
    labels: np.ndarray | None = None
    views: np.ndarray | None = None

    def at(self, places: np.ndarray) -> Signals:
        """Those of some records, int or bool (k,)."""
        parts = (self.logits, self.labels, self.views)
        return Signals(self.losses[places], *(None if part is None else part[places] for part in parts))


@dataclass(frozen=True, eq=False)
class Reader:
    """How signals are read, the same for every model of an audit.

    Attributes:
        loss: Losses (b,) of outputs and targets; None for a classifier's cross-entropy. Where records have no
            targets it is given the inputs, as an autoencoder's is.
        views: For an encoder without targets and loss: what makes views of a record.
        batch: Records at once.
        seed: Of the views, the same for every model.
    """

    loss: Loss | None
    views: Views | None
    batch: int
    seed: int

    def read(self, model: nn.Module, records: Records, name: str = "model") -> Signals:
        """Signals of records, on the model's own device and in its own precision.

        Raises:
            AttackError: The model takes statistics over a batch, holds no values, does not take the records,
                or says something that is not finite; one line each.
        """
        refuse_unreadable(model, name)
        draws = torch.Generator().manual_seed(self.seed)
        losses, logits, views = [], [], []
        with evaluating(model), torch.no_grad():
            for inputs, targets in records.batches(self.batch):
                if self.views is not None:
                    seen = [embedded(model, self.views, inputs, draws, name) for _ in range(_VIEWS)]
                    views.append(torch.stack(seen, 1).double().cpu())
                    losses.append(-agreement(views[-1]))
                    continue
                outputs = called(model, inputs, name)
                losses.append(self.losses(outputs, inputs, targets).double().cpu())
                if self.loss is None and targets is not None:
                    logits.append(class_logits(outputs).double().cpu())
        found = torch.cat(losses).numpy()
        if bad := int((~np.isfinite(found)).sum()):
            raise AttackError(
                f"{name}: its loss is not finite for {bad} of {len(found)} records; in half precision values "
                "overflow: model.float() may help"
            )
        if views:
            return Signals(found, views=torch.cat(views).numpy())
        if not logits:
            return Signals(found)
        assert records.targets is not None
        # A class that is masked out has no finite logit, and a probability of nothing all the same.
        told = torch.cat(logits)
        told = torch.where(told == -math.inf, told.amax(1, keepdim=True) - _MASKED, told)
        said, labels = checked_logits(told.numpy(), class_labels(records.targets).cpu().numpy())
        return Signals(found, said, labels)

    def own(self, model: nn.Module, records: Records, name: str = "model") -> str:
        """Whether the answer on a record is its own, tried on a few.

        Returns:
            A note where it is drawn anew at every call; else "".

        Raises:
            AttackError: It hangs on what else is in the batch: members and non-members would be told by
                their company.
        """
        few = records.at(np.unique(np.r_[np.arange(min(4, len(records))), np.arange(len(records))[-4:]]))
        half = few.at(np.arange((len(few) + 1) // 2))

        def asked(some: Records) -> Tensor:
            if self.views is not None:
                found = called(model, some.inputs, name)
                return (
                    found.double().cpu().flatten(1)[: len(half)]
                    if isinstance(found, Tensor)
                    else torch.zeros(1)
                )
            told = self.losses(called(model, some.inputs, name), some.inputs, some.targets)
            return told.double().cpu()[: len(half)]

        with evaluating(model), torch.no_grad():
            whole, again, alone = asked(few), asked(few), asked(half)
        if not torch.allclose(whole, again, _ALIKE, _ALIKE, equal_nan=True):
            return f"the {name} answers the same record differently each time: figures are of one draw"
        if not torch.allclose(whole, alone, _ALIKE, _ALIKE, equal_nan=True):
            raise AttackError(
                f"{name}: what it says of a record hangs on the others in its batch, so that members and "
                "non-members would be told by their company: normalise by running statistics, or by record"
            )
        return ""

    def losses(self, outputs: Any, inputs: Tensor, targets: Tensor | None) -> Tensor:
        """Losses (b,), in double precision where they are a classifier's."""
        if self.views is not None:
            raise AttackError("an encoder's views have an agreement, and no loss")
        if self.loss is not None:
            wanted = inputs if targets is None else targets
            return losses_of(self.loss, outputs, wanted.to(_device_of(outputs)))
        if targets is None:
            raise AttackError(
                "records have no targets: give loss=, which is called with outputs and inputs, or for an "
                "encoder views=, which makes an augmented view of inputs"
            )
        logits = class_logits(outputs).double()
        labels = class_labels(targets).to(logits.device)
        if len(logits) != len(labels):
            raise AttackError(f"the model gives {len(logits)} rows of logits for {len(labels)} records")
        if len(labels) and (labels.min() < 0 or labels.max() >= logits.shape[1]):
            raise AttackError(f"targets must be classes 0 to {logits.shape[1] - 1}, as the model has outputs")
        return F.cross_entropy(logits, labels, reduction="none")


def agreement(views: Tensor) -> Tensor:
    """Mean cosine (n,) of a record's embeddings (n, v, d) with each other."""
    unit = F.normalize(views, dim=2)
    v = views.shape[1]
    return (unit.sum(1).square().sum(1) - v) / (v * (v - 1))


def class_logits(outputs: Any) -> Tensor:
    """A classifier's logits (b, c) with c >= 2; a single output is the second class's against zero, and
    probabilities, whose rows add up to one, are taken by their logarithm.

    Raises:
        AttackError: The outputs are nothing of the kind.
    """
    outputs = getattr(outputs, "logits", outputs)
    if not isinstance(outputs, Tensor) or not outputs.is_floating_point() or outputs.ndim not in (1, 2):
        what = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise AttackError(f"the model gives {what}, which are no logits (b, classes): give loss=")
    wide = outputs[:, None] if outputs.ndim == 1 else outputs
    if wide.shape[1] == 1:
        return torch.cat([torch.zeros_like(wide), wide], 1)
    room = 10 * torch.finfo(wide.dtype).eps * wide.shape[1]
    if len(wide) and (wide >= 0).all() and ((wide.double().sum(1) - 1).abs() <= room).all():
        return wide.clamp(min=torch.finfo(wide.dtype).tiny).log()
    return wide


def embedded(model: nn.Module, views: Views, inputs: Tensor, draws: torch.Generator, name: str) -> Tensor:
    """Embeddings (b, d) of one view of each input.

    Raises:
        AttackError: The views or the model give none.
    """
    seen = views(inputs, draws)
    found = called(model, seen, name) if isinstance(seen, Tensor) else seen
    if not isinstance(found, Tensor) or found.ndim < 2 or len(found) != len(inputs):
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise AttackError(
            f"{name}: views and model give {shape} for {len(inputs)} inputs, not embeddings (b, d)"
        )
    return found.flatten(1)


def class_labels(targets: Tensor) -> Tensor:
    """int64 (b,). Raises AttackError where the targets are no classes."""
    flat = targets[:, 0] if targets.ndim == 2 and targets.shape[1] == 1 else targets
    whole = flat.ndim == 1 and not flat.is_complex() and bool((flat == flat.round()).all())
    if not whole:
        raise AttackError(
            f"targets {targets.dtype} {tuple(targets.shape)} are no classes (b,): give loss=, which is "
            "called with outputs and targets"
        )
    return flat.long()


def called(model: nn.Module, inputs: Tensor, name: str) -> Any:
    """What a model says of inputs brought to its device and precision.

    Raises:
        AttackError: It does not take them.
    """
    like = next((p for p in model.parameters() if p.is_floating_point()), None)
    if like is not None:
        inputs = inputs.to(like.device, like.dtype if inputs.is_floating_point() else None)
    try:
        return model(inputs)
    except (AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        what = f"{inputs.dtype} {tuple(inputs.shape)} on {inputs.device}"
        raise AttackError(f"{name}: does not take inputs {what}: {one_line(error)}") from None


def refuse_unreadable(model: nn.Module, name: str) -> None:
    """Refuse a model whose answer on a record is not the record's own, or that holds no values.

    Raises:
        AttackError: Names the layer or the device.
    """
    for layer_name, layer in model.named_modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.running_mean is None:
            raise AttackError(
                f"{name}: layer {layer_name!r} takes its statistics from the batch in evaluation mode too, "
                "so that what it says of a record hangs on the others: give it running statistics"
            )
    if any(p.is_meta for p in model.parameters()):
        raise AttackError(f"{name}: its weights lie on the meta device and hold no values")


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode; modes and buffers, which some count in, are brought back afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    held = [(buffer, buffer.detach().clone()) for buffer in model.buffers() if not buffer.is_meta]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        with torch.no_grad():
            for buffer, value in held:
                buffer.copy_(value)


def _device_of(outputs: Any) -> torch.device:
    outputs = getattr(outputs, "logits", outputs)
    first = outputs[0] if isinstance(outputs, tuple | list) else outputs
    return first.device if isinstance(first, Tensor) else torch.device("cpu")
