"""Audit somebody's own model: which membership attacks apply, what they find, and what that is worth."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from attacks.auditing.audit import Audit
from attacks.auditing.blind import blind_guess
from attacks.auditing.control import knowing_by_heart
from attacks.auditing.data import Records, identities, refuse_twice, repeats
from attacks.auditing.findings import Claim
from attacks.auditing.measures import (
    CONFIDENCE,
    Judged,
    as_curves,
    check_asked,
    epsilon_row,
    membership_rows,
    met,
)
from attacks.auditing.planted import Planted
from attacks.auditing.references import Fit, read_pool, refuse_shared, trained
from attacks.auditing.scorers import FEWEST_ELSEWHERE, Board, Scorer, hardness, refused, scorers
from attacks.auditing.signals import Reader, Signals, Views
from attacks.errors import AttackError, one_line
from attacks.observation import Loss
from attacks.plots import AttackScores
from attacks.ranges import whole

RATES = (0.1, 0.01, 0.001)

_FEWEST = 4
"""Records of either side."""


def audit_model(
    model: nn.Module,
    members: Any,
    non_members: Any,
    *,
    fit: Fit | None = None,
    shadows: int = 16,
    references: Sequence[nn.Module] = (),
    trained_on: np.ndarray | None = None,
    population: Any = None,
    loss: Loss | None = None,
    views: Views | None = None,
    canaries: Planted | None = None,
    claim: Claim | None = None,
    rates: Sequence[float] = RATES,
    confidence: float = CONFIDENCE,
    batch: int = 256,
    control: bool = True,
    seed: int = 0,
) -> Audit:
    """Attack a model with what is known of its training, and say what each attack's figure is worth.

    Always: thresholds on loss, and for a classifier on entropy, modified entropy and margin, each beside a
    guess from the records alone and beside the same attack on a copy of the model that was made to know some
    non-members by heart. With reference models also LiRA and RMIA; with enough non-members, a quarter of
    which then stands for records from elsewhere, or a population, quantile regression; with planted canaries
    a lower bound on epsilon.

    Args:
        model: On any device, in any precision; stays in its mode and is not changed.
        members: What it was trained on, or some of it: tensors, a pair (inputs, targets), a dataset or a
            loader. No fewer than 4.
        non_members: The like, of the same kind, that it was not trained on, no fewer than 4.
        fit: Your own training, `fit(dataset, seed) -> model`: trains the reference models, each on as many
            records as there are members.
        shadows: How many it trains, >= 2.
        references: Reference models that are there already, in place of `fit`.
        trained_on: bool (members + non-members, models): which of them trained on what, members first; None
            where none trained on any.
        population: Further records of the same kind that neither the model nor a reference trained on.
        loss: Losses (b,) of outputs and targets, or of outputs and inputs where there are no targets; None
            for a classifier's cross-entropy.
        views: For an encoder without targets: `views(inputs, generator)` makes an augmented view of each.
        canaries: Records of `plant` that the model was trained with.
        claim: The epsilon that is claimed for the training.
        rates: False-positive rates, each in (0, 1), at which the true-positive rate is told.
        confidence: In (0, 1), of all intervals together.
        batch: Records at once, >= 1.
        control: Whether to make the positive control, which trains a copy of the model for up to 200 steps;
            without it nothing is said not to be broken.
        seed: Of everything drawn, >= 0.

    Raises:
        AttackError: The records are too few or do not fit, or the model cannot be read; one line.

    Example:
        >>> _ = torch.manual_seed(1)
        >>> x, y = torch.randn(120, 8), torch.randint(0, 2, (120,))
        >>> net = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 2))
        >>> optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
        >>> for _ in range(100):  # It learns the first half by heart.
        ...     optimizer.zero_grad()
        ...     nn.functional.cross_entropy(net(x[:60]), y[:60]).backward()
        ...     optimizer.step()
        >>> audit_model(net, (x[:60], y[:60]), (x[60:], y[60:])).row("loss threshold").verdict
        'leaks'
    """
    check_asked(rates, confidence)
    whole("batch", batch, 1)
    whole("seed", seed, 0)
    inside, outside = Records.of(members, "members"), Records.of(non_members, "non_members")
    if min(len(inside), len(outside)) < _FEWEST:
        raise AttackError(
            f"{len(inside)} members and {len(outside)} non-members tell nothing: at least {_FEWEST} of each"
        )
    reader = Reader(loss, views, batch, seed)
    candidates = inside.with_(outside)
    is_member = np.arange(len(candidates)) < len(inside)
    more = None if population is None else Records.of(population, "population")
    records = candidates if more is None else candidates.with_(more)
    notes = _repeats(records, len(inside), len(candidates))
    board = _board(records, is_member, more is None, seed)
    signals = reader.read(model, records)
    notes += [note] if (note := reader.own(model, records)) else []
    if fit is not None or len(references):
        models, sets = _reference_models(fit, shadows, references, trained_on, candidates, len(inside), seed)
        rest = np.zeros((len(records) - len(candidates), len(models)), bool)
        if sets.dtype != bool or sets.shape != (len(candidates), len(models)):
            raise AttackError(
                f"trained_on must be bool ({len(candidates)}, {len(models)}): members first, then "
                f"non-members, and a column a reference model; not {sets.dtype} {sets.shape}"
            )
        refuse_shared({"audited model": model} | {f"reference model {k}": m for k, m in enumerate(models)})
        pool = read_pool(models, np.concatenate([sets, rest]), reader, records)
        board = Board(board.records, board.judged, board.apart, pool, seed)
        notes.append(f"{len(models)} reference models of {int(sets.sum(0).mean())} records")
    truth = np.zeros(len(records), bool)
    truth[: len(candidates)] = is_member
    known, by_heart = _control(model, reader, board, truth, seed) if control else (None, "has no control")
    judged = [
        _judged(name, scorer, signals, truth, board, known, by_heart)
        for name, scorer in scorers(signals, board).items()
    ]
    known_hard = None if board.pool is None else hardness(board)[board.judged]
    blind = blind_guess(candidates, is_member, seed, hardness=known_hard)
    rows = membership_rows(judged, blind, tuple(rates), confidence)
    if canaries is not None:
        said = reader.read(model, canaries.records)
        rows += (epsilon_row("planted records", -said.losses, canaries.inside, claim, confidence),)
    about = {
        "members": len(inside), "non_members": len(outside), "seed": seed, "confidence": confidence,
        "blind_auc": blind.auc, "blind_p": blind.p_value, "blind_n": blind.n,
        "model": type(model).__name__, "parameters": sum(p.numel() for p in model.parameters()),
        "torch": str(torch.__version__), "notes": notes,
    }  # fmt: skip
    return Audit("model", rows, (), claim, about, as_curves(judged))


def _repeats(records: Records, inside: int, candidates: int) -> list[str]:
    """A note where records come again; a record cannot be on two sides.

    Raises:
        AttackError: Members are among the non-members or the population, or non-members in the latter.
    """
    numbers = identities(records)
    sides = {
        "members": numbers[:inside], "non_members": numbers[inside:candidates],
        "population": numbers[candidates:],
    }  # fmt: skip
    refuse_twice(sides)
    return repeats(numbers[:candidates])


def _board(records: Records, is_member: np.ndarray, borrow: bool, seed: int) -> Board:
    """Candidates, and where there is no population a quarter of the non-members that stands for one."""
    judged = np.arange(len(records)) < len(is_member)
    apart = np.zeros(len(records), bool)
    outside = np.flatnonzero(~is_member)
    if borrow and len(outside) // 4 >= FEWEST_ELSEWHERE:
        rng = np.random.default_rng(seed)
        apart[rng.permutation(outside)[: len(outside) // 4]] = True
    return Board(records, judged, apart, None, seed)


def _reference_models(
    fit: Fit | None,
    shadows: int,
    references: Sequence[nn.Module],
    trained_on: np.ndarray | None,
    candidates: Records,
    set_size: int,
    seed: int,
) -> tuple[Sequence[nn.Module], np.ndarray]:
    if fit is not None and len(references):
        raise AttackError("give fit= or references=, not both")
    if fit is not None:
        # Drawn apart from the audited model's own set, whose members they would tell.
        return trained(fit, candidates, set_size, shadows, seed)
    none = np.zeros((len(candidates), len(references)), bool)
    return references, none if trained_on is None else np.asarray(trained_on)


def _control(
    model: nn.Module, reader: Reader, board: Board, truth: np.ndarray, seed: int
) -> tuple[tuple[Signals, np.ndarray, np.ndarray] | None, str]:
    """Signals of a copy that knows some non-members by heart, which those are, and which it may be judged
    on; or why there is none."""
    outside = np.flatnonzero(board.judged & ~truth & ~board.apart)
    learnt = np.random.default_rng(seed + 1).permutation(outside)[: max(1, len(outside) // 2)][:64]
    try:
        knowing = knowing_by_heart(model, reader, board.records.at(learnt), seed)
        signals = reader.read(knowing, board.records, "control")
    except (ValueError, RuntimeError) as error:
        return None, f"has no positive control: {one_line(error)}"
    known = np.zeros(len(truth), bool)
    known[learnt] = True
    among = np.zeros(len(truth), bool)
    among[outside] = True
    return (signals, known, among), ""


def _judged(
    name: str,
    scorer: Scorer | str,
    signals: Signals,
    truth: np.ndarray,
    board: Board,
    known: tuple[Signals, np.ndarray, np.ndarray] | None,
    by_heart: str,
) -> Judged:
    """One attack on the model and on its control."""
    if isinstance(scorer, str):
        return Judged(name, scorer, "")
    started = time.perf_counter()
    scores = refused(scorer, signals)
    if isinstance(scores, str):
        return Judged(name, scores, "")
    judged = met(scores, truth, board.judged, telling=True)
    control: AttackScores | str = by_heart
    if known is not None:
        told, which, among = known
        found = refused(scorer, told)
        control = found if isinstance(found, str) else met(found, which, among)
    return Judged(name, judged, control, scores.notes, time.perf_counter() - started)
