"""An auditor's checks for a DP training that is not ours: rows, bound, sampling, canaries, in one call."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from attacks.auditing.audit import Audit
from attacks.auditing.data import Records
from attacks.auditing.findings import Check, Claim, Row
from attacks.auditing.measures import CONFIDENCE, epsilon_row
from attacks.auditing.sampling import check_sampling
from attacks.auditing.signals import class_labels
from attacks.errors import AttackError, one_line
from attacks.observation import Loss, cross_entropy
from attacks.ranges import real, whole
from attacks.rows import RowsOf, probe_rows
from attacks.sensitivity import probe_sensitivity

_RANDOM = "the model draws at random at every call, so that two batches cannot be compared"

_ROWS, _POOL, _BATCH = 6, 32, 4


@dataclass(frozen=True)
class Drawn:
    """How a training drew its batches.

    Attributes:
        sizes: Records of each batch, in order.
        records: In the data set, >= 1.
        rate: That the accountant was told, in (0, 1].
    """

    sizes: Sequence[int]
    records: int
    rate: float


def audit_private(
    model: nn.Module,
    records: Any,
    *,
    clip: float,
    loss: Loss = cross_entropy,
    rows: RowsOf | None = None,
    drawn: Drawn | None = None,
    scores: np.ndarray | None = None,
    coins: np.ndarray | None = None,
    claim: Claim | None = None,
    trials: int = 60,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> Audit:
    """Check what a DP-SGD training's guarantee stands on, and bound its epsilon from below.

    Per-record gradients are compared with those of each record alone, which finds Opacus' silent fault with
    convolutions; a probe tries whether one record ever moves the clipped sum beyond the clip, as batch
    statistics and contrastive losses make it; batch sizes are held against the sampling that is accounted.
    It clips by itself: what the training clipped, and what noise it drew, only `AuditedEngine` sees.

    Args:
        model: As it trains, in the mode that it trains in; left as it is.
        records: Inputs and targets, 2 or more, laid out in memory as training has them.
        clip: L2 bound on a record's gradient, > 0.
        loss: Losses (b,), one a record.
        rows: The training's own per-record gradients; None for Opacus' hooks.
        drawn: How it drew its batches, or None.
        scores: Of canaries (m,), larger is more likely in, or None.
        coins: bool (m,), which of them were in.
        claim: The epsilon that is claimed.
        trials: Of the sensitivity probe, >= 1.
        confidence: Of the bound on epsilon, in (0, 1).
        seed: Of the probe, >= 0.

    Raises:
        AttackError: Records, clip or canaries do not fit; one line.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> x, y = torch.randn(12, 4), torch.randint(0, 3, (12,))
        >>> found = audit_private(nn.Linear(4, 3), (x, y), clip=1.0)
        >>> [(check.name, check.holds) for check in found.checks]
        [('per-record gradients', True), ('sensitivity', True), ('sampling', None)]
    """
    real("clip", clip, "(0, inf)")
    whole("trials", trials, 1)
    whole("seed", seed, 0)
    real("confidence", confidence, "(0, 1)")
    found = Records.of(records, "records")
    if found.targets is None or len(found) < 2:
        raise AttackError("records must be 2 or more inputs with targets")
    started = time.perf_counter()
    # What drops at random is a record's own affair, and would only hide what is compared.
    model = without_dropout(model)
    rows_of = _checked(rows) if rows is not None else opacus_rows(model, loss)
    checks = [_rows(model, loss, found, rows_of), _sensitivity(model, found, rows_of, clip, trials, seed)]
    if drawn is None:
        checks.append(Check("sampling", None, "batch sizes were not given"))
    else:
        checks.append(check_sampling(drawn.sizes, drawn.records, drawn.rate))
    figures: tuple[Row, ...] = ()
    if scores is not None:
        if coins is None:
            raise AttackError("scores of canaries need their coins")
        figures = (epsilon_row("canaries", scores, coins, claim, confidence),)
    else:
        figures = (Row("canaries", "epsilon lower bound", "not run", reason="no canaries were planted"),)
    about = {
        "clip": clip, "records": len(found), "trials": trials, "seed": seed, "confidence": confidence,
        "seconds": time.perf_counter() - started, "torch": str(torch.__version__), "notes": [],
    }  # fmt: skip
    return Audit("private training", figures, tuple(checks), claim, about)


def opacus_rows(model: nn.Module, loss: Loss) -> RowsOf:
    """Per-record gradients as Opacus' hooks make them, on a copy of the model.

    Args:
        model: Wrapped by Opacus or not; left as it is.
        loss: Losses (b,), one a record.

    Raises:
        AttackError: Opacus is not installed.
    """
    try:
        from opacus import GradSampleModule
    except ImportError:
        raise AttackError("Opacus is not installed: give rows=, your own per-record gradients") from None
    try:
        wrapped = GradSampleModule(bare_copy(model), loss_reduction="sum", strict=False)
    except (NotImplementedError, ValueError) as error:
        raise AttackError(f"Opacus does not take this model: {one_line(error)}") from None

    def rows_of(inputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        wrapped.zero_grad()
        # The hooks warn where a module's inputs carry no gradient.
        given = inputs.detach().clone(memory_format=torch.preserve_format)
        if given.is_floating_point():
            given.requires_grad_(True)
        try:
            loss(wrapped(given), targets).sum().backward()
        except NotImplementedError as error:
            raise AttackError(f"Opacus has no rows for this model: {one_line(error)}; give rows=") from None
        found = {}
        for name, p in unwrapped(wrapped).named_parameters():
            if p.requires_grad:
                sample = getattr(p, "grad_sample", None)
                # A parameter that the model does not use gets none.
                found[name] = torch.zeros(len(given), *p.shape) if sample is None else sample.detach()
        return found

    return rows_of


def unwrapped(model: nn.Module) -> nn.Module:
    """The user's own module of one that Opacus wrapped."""
    inner = getattr(model, "_module", model)
    return inner if isinstance(inner, nn.Module) else model


def bare_copy(model: nn.Module) -> nn.Module:
    """A copy of the user's own module in its mode, without what Opacus hung onto it."""
    copied = copy.deepcopy(unwrapped(model))
    for module in copied.modules():
        for hooks in (module._forward_hooks, module._backward_hooks, module._backward_pre_hooks):
            hooks.clear()
        module.__dict__.pop("autograd_grad_sample_hooks", None)
    for parameter in copied.parameters():
        for name in ("grad_sample", "summed_grad", "_forward_counter"):
            parameter.__dict__.pop(name, None)
        parameter.grad = None
    return copied


def without_dropout(model: nn.Module) -> nn.Module:
    """A copy of the user's own module in its mode, but that dropout layers drop nothing."""
    copied = bare_copy(model)
    for module in copied.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.eval()
    return copied


def _checked(rows: RowsOf) -> RowsOf:
    """The user's own rows, refused where they are no rows."""

    def rows_of(inputs: Tensor, targets: Tensor) -> Mapping[str, Tensor]:
        found = rows(inputs, targets)
        if not isinstance(found, Mapping):
            raise AttackError(f"rows must give tensors by parameter name, not {type(found).__name__}")
        for name, row in found.items():
            if not isinstance(row, Tensor) or not row.ndim or len(row) != len(inputs):
                what = tuple(row.shape) if isinstance(row, Tensor) else type(row).__name__
                raise AttackError(f"rows: {name!r} is {what} for {len(inputs)} records, not a row for each")
        return found

    return rows_of


def _drawn(rows_of: RowsOf, few: Records) -> bool:
    """Whether the same batch has other rows at the next call."""
    assert few.targets is not None
    once, again = (rows_of(few.inputs, few.targets) for _ in range(2))
    return any(not torch.allclose(once[k], again[k], 1e-3, 1e-5, equal_nan=True) for k in once if k in again)


def _rows(model: nn.Module, loss: Loss, records: Records, rows_of: RowsOf) -> Check:
    few = records.at(np.arange(min(_ROWS, len(records))))
    assert few.targets is not None
    plain = bare_copy(model)
    try:
        if _drawn(rows_of, few):
            return Check("per-record gradients", None, _RANDOM)
        report = probe_rows(plain, loss, few.inputs, few.targets, rows_of)
    except (ValueError, RuntimeError) as error:
        if isinstance(error, AttackError):
            raise
        return Check("per-record gradients", False, f"one record alone is refused: {one_line(error)}")
    return Check("per-record gradients", report.holds, str(report))


def _sensitivity(
    model: nn.Module, records: Records, rows_of: RowsOf, clip: float, trials: int, seed: int
) -> Check:
    """The probe, on rows of the input's numbers with the label behind them."""
    batch = min(_BATCH, len(records) - 1)
    if batch < 2:
        return Check("sensitivity", None, "needs 3 records or more")
    few = records.at(np.arange(min(_POOL, len(records))))
    assert few.targets is not None
    try:
        labels = class_labels(few.targets)
    except AttackError:
        return Check("sensitivity", None, "the probe needs class labels as targets")
    if not few.inputs.is_floating_point():
        return Check("sensitivity", None, "the probe needs floating inputs, which it exaggerates")
    shape, most, kind = few.inputs.shape[1:], int(labels.max()), few.inputs.dtype
    pool = torch.cat([few.inputs.double().flatten(1), labels[:, None].double()], 1).cpu().numpy()

    def clipped_sum(rows: np.ndarray) -> np.ndarray:
        given = torch.from_numpy(rows)
        inputs = given[:, :-1].to(kind).reshape(-1, *shape).to(few.inputs.device)
        targets = given[:, -1].nan_to_num().round().clamp(0, most).long().to(few.inputs.device)
        named = rows_of(inputs, targets)
        gradients = torch.cat([g.double().flatten(1) for g in named.values()], 1)
        lengths = gradients.norm(dim=1, keepdim=True).clamp(min=1e-12)
        total: np.ndarray = (gradients * (clip / lengths).clamp(max=1)).sum(0).cpu().numpy()
        return total

    rng = np.random.default_rng(seed)
    try:
        if _drawn(rows_of, few.at(np.arange(2))):
            return Check("sensitivity", None, _RANDOM)
        report = probe_sensitivity(clipped_sum, pool, clip, "add-remove", rng, trials, batch)
    except (ValueError, RuntimeError) as error:
        if isinstance(error, AttackError):
            raise
        return Check("sensitivity", None, f"a smaller batch is refused: {one_line(error)}")
    says = f"one record moved the clipped sum by {report.worst:.4g} at most in {report.trials} trials"
    if report.holds:
        return Check("sensitivity", True, f"{says}, and the clip is {clip:.4g}")
    return Check(
        "sensitivity",
        False,
        f"{says}, beyond the clip of {clip:.4g}: a record's gradient hangs on other records",
    )
