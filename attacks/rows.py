"""Are the per-record gradients of a private training right? Checked against one record at a time.

DP-SGD clips and adds up a gradient a record. Libraries compute these rows for a whole batch at once, layer by
layer, and where a layer's rule does not fit, they are wrong without any error: the clip still bounds what one
record moves, so the guarantee stands, while the model learns from noise. Opacus 1.6 gives wrong rows for
convolutions whose input does not lie in memory channel by channel (after an attention block's transpose, or
channels-last), and its validator finds nothing; compare meta-pytorch/opacus issue 820.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from attacks.errors import AttackError
from attacks.observation import Loss, losses_of
from attacks.ranges import real

RowsOf = Callable[[Tensor, Tensor], Mapping[str, Tensor]]
"""Maps inputs (b, ...) and targets (b, ...) to the gradient of each record's loss by parameter name, each of
shape (b, *parameter)."""

_FAINT = 1e-6
"""Of a record's whole gradient: what a parameter's share below it is held to."""


@dataclass(frozen=True)
class RowsReport:
    """How far per-record gradients are from those of one record at a time.

    Attributes:
        errors: By parameter, in the model's order: the largest relative L2 error over records; infinite where
            a row is missing, misshapen or not finite.
        tolerance: Largest error that is taken for rounding.
        records: How many were compared.
    """

    errors: Mapping[str, float]
    tolerance: float
    records: int

    @property
    def wrong(self) -> tuple[str, ...]:
        """Parameters whose rows are wrong, in the model's order."""
        return tuple(name for name, error in self.errors.items() if not error <= self.tolerance)

    @property
    def holds(self) -> bool:
        """Whether all rows are right."""
        return not self.wrong

    def __str__(self) -> str:
        """One line: the parameters that are wrong, or that none is."""
        if self.holds:
            return f"rows of {len(self.errors)} parameters are right for {self.records} records"
        named = ", ".join(f"{name} ({self.errors[name]:.2g})" for name in self.wrong)
        return f"rows are wrong, relative error in brackets: {named}"


def probe_rows(
    model: nn.Module,
    loss: Loss,
    inputs: Tensor,
    targets: Tensor,
    rows_of: RowsOf,
    tolerance: float = 1e-3,
) -> RowsReport:
    """Compare somebody's per-record gradients with those of each record by itself.

    The reference is made on a copy of the model, in its mode, from batches of one. Forward and backward
    hooks, by which libraries collect rows, are taken off the copy. What draws at random or takes statistics
    over a batch differs and is named as well.

    Args:
        model: Whose parameters that require gradients are trained; left as it is.
        loss: Maps outputs and targets to losses (b,), one a record.
        inputs: (b, ...), laid out in memory as training would have them, b >= 2: what only goes wrong in
            company cannot show alone.
        targets: (b, ...).
        rows_of: The rows under test, at the model's weights.
        tolerance: Relative L2 error that is taken for rounding, > 0.

    Returns:
        The report; `holds` is False as soon as a parameter's rows are wrong for one record.

    Raises:
        AttackError: There are fewer than two records, numbers of inputs and targets differ, nothing trains,
            or the tolerance is not positive.

    Example:
        >>> from torch.nn import functional as F
        >>> _ = torch.manual_seed(0)
        >>> model, x, y = nn.Linear(3, 2), torch.randn(4, 3), torch.tensor([0, 1, 1, 0])
        >>> def loss(outputs, targets):
        ...     return F.cross_entropy(outputs, targets, reduction="none")
        >>> def all_alike(inputs, targets):
        ...     gradients = torch.autograd.grad(loss(model(inputs), targets).mean(), list(model.parameters()))
        ...     return {n: g.expand(4, *g.shape) for (n, _), g in zip(model.named_parameters(), gradients)}
        >>> probe_rows(model, loss, x, y, all_alike).wrong
        ('weight', 'bias')
    """
    if len(inputs) < 2 or len(inputs) != len(targets):
        raise AttackError(
            f"rows take 2 records or more and a target each, not {len(inputs)} and {len(targets)}"
        )
    real("tolerance", tolerance, "(0, inf)")
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    if not names:
        raise AttackError("no parameter of the model requires a gradient")
    given = rows_of(inputs, targets)
    errors = dict.fromkeys(names, 0.0)
    for i in range(len(inputs)):
        twin = _bare_copy(model)
        parameters = [p for p in twin.parameters() if p.requires_grad]
        value = losses_of(loss, twin(inputs[i : i + 1].clone()), targets[i : i + 1]).sum()
        rows = torch.autograd.grad(value, parameters, allow_unused=True, materialize_grads=True)
        whole = math.sqrt(sum(float(row.double().square().sum()) for row in rows))
        for name, row in zip(names, rows, strict=True):
            errors[name] = max(errors[name], _error(given.get(name), i, row, _FAINT * whole))
    return RowsReport(errors, tolerance, len(inputs))


def _bare_copy(model: nn.Module) -> nn.Module:
    twin = copy.deepcopy(model)
    for module in twin.modules():
        for hooks in (module._forward_hooks, module._backward_hooks, module._backward_pre_hooks):
            hooks.clear()
    return twin


def _error(given: Tensor | None, place: int, row: Tensor, faint: float) -> float:
    if given is None or given.ndim == 0 or len(given) <= place or given[place].shape != row.shape:
        return math.inf
    difference = float((given[place].detach().double() - row.double()).norm())
    if not math.isfinite(difference):
        return math.inf
    return difference / max(float(row.double().norm()), faint, 1e-30)
