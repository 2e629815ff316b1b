"""The usual way to per-record gradients, beside ours: Opacus' hooks on one batch (`GradSampleModule`)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from opacus import GradSampleModule
from torch import Tensor, nn

from fedstyle_secure.privacy.picture_loss import PictureLoss


def hooked_rows(
    module: nn.Module, loss: PictureLoss, inputs: Tensor, targets: Tensor
) -> Iterator[np.ndarray]:
    """As `fedstyle_secure.privacy.dp_sgd.record_rows`, with all records in one batch."""
    rows = torch.cat([g.flatten(1) for g in hooked(module, loss, inputs, targets).values()], dim=1)
    yield from rows.numpy()


def hooked(module: nn.Module, loss: PictureLoss, inputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Per-record gradients by parameter, float32 (n, ...): the mean over a record's views.

    Args:
        module: Maps inputs (b, ...) to embeddings (b, d).
        loss: Per-picture loss; nothing is refused.
        inputs: float32, shape (n, views, ...).
        targets: int64, shape (n, ...).
    """
    n, views = inputs.shape[:2]
    trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
    if n == 0:
        return {name: torch.zeros(0, *p.shape) for name, p in trained.items()}
    wrapped = GradSampleModule(module, loss_reduction="sum", strict=False)
    try:
        # The hooks warn where a module's inputs carry no gradient.
        outputs = wrapped(inputs.flatten(0, 1).detach().requires_grad_(True))
        (loss(outputs, targets.repeat_interleave(views, dim=0)).sum() / views).backward()
        # Rows come one a view, each already divided by `views`.
        rows = {name: p.grad_sample.reshape(n, views, *p.shape).sum(1) for name, p in trained.items()}
        for p in trained.values():
            p.grad = p.grad_sample = None
    finally:
        wrapped.to_standard_module()
    return rows
