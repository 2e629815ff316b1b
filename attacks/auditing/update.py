"""Audit one captured update: does its description replay, and what does it give away of its pictures?"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from attacks.auditing.audit import Audit
from attacks.auditing.blind import blind_guess
from attacks.auditing.data import Records, identities, refuse_twice, repeats
from attacks.auditing.findings import Check, Row, Verdict
from attacks.auditing.measures import CONFIDENCE, Judged, as_curves, check_asked, membership_rows
from attacks.baselines import all_blind
from attacks.errors import AttackError, one_line
from attacks.evaluation import reconstruction
from attacks.inversion.race import strong_inversion
from attacks.membership.federated import round_alignments
from attacks.observation import (
    LocalTraining,
    Loss,
    Normalisation,
    Observation,
    State,
    cross_entropy,
    difference,
)
from attacks.plots import AttackScores
from attacks.preflight import Replay, positive_control, replay, undefended
from attacks.ranges import unit_pictures, whole
from attacks.results import Attack, Budget, Truth

AHEAD = 6.0
"""dB over the best blind picture that count as a reconstruction: a quarter of its error."""

_ALIGNED = "alignment of gradients"
_FEWEST = 4
"""Pictures of either side."""

_DIFFERS = "the description does not replay, so that an attack that fails would show nothing"
_UNTOLD = "whether these pictures made this update is not known, so that an attack that fails shows nothing"
_FAILED = (
    "the attack failed, not the defence held: it does not win either on an undefended update of the same "
    "pictures, mirrored"
)


def audit_update(
    model: nn.Module,
    before: Any,
    after: Any,
    training: LocalTraining,
    pictures: Tensor,
    targets: Tensor,
    *,
    others: Any = None,
    loss: Loss = cross_entropy,
    normalisation: Normalisation | None = None,
    attack: Attack | None = None,
    budget: Budget | None = None,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> Audit:
    """Check the description of a client's training against its update, and attack the update.

    The check comes first: if the true pictures do not give this update, an attack that fails shows nothing;
    it names what differs, the optimiser among others, and nothing is then said not to be broken, nor where
    noise or rounding hides whether they give it. Pictures are reconstructed where the training was SGD,
    with momentum or not; a single step with weight decay or Nesterov's momentum is turned into one without.
    With pictures of others the update is asked which of them all it was made of, whatever the optimiser;
    fewer than four of either are inconclusive. torch's global generator is left as it was.

    Args:
        model: The architecture; parameters that require gradients are those that trained.
        before: What the client got: tensors by name, a Flower ArrayRecord, or its arrays in the model's
            order, as a list or by their numbers from "0".
        after: What it sent, of the same kind.
        training: What the client did.
        pictures: The client's own (n, *shape), floating, in its order; in [0, 1] where they are (c, h, w).
        targets: Theirs (n, ...).
        others: Pictures and targets of the same kind that it did not train on, none of its own, or None.
        loss: Losses (b,) of outputs and targets.
        normalisation: From pictures to inputs.
        attack: That reconstructs; None for `strong_inversion`.
        budget: Of the attack; None for 300 steps, two starts and 60 seconds.
        confidence: In (0, 1), of all intervals together.
        seed: Of everything drawn, >= 0.

    Raises:
        AttackError: Weights, pictures or description do not fit; one line.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> net, x, y = nn.Linear(3, 2), torch.rand(4, 3), torch.tensor([0, 1, 1, 0])
        >>> sent = {name: tensor.clone() for name, tensor in net.state_dict().items()}
        >>> optimizer = torch.optim.Adam(net.parameters(), 0.01)
        >>> for _ in range(3):
        ...     optimizer.zero_grad()
        ...     cross_entropy(net(x), y).mean().backward()
        ...     optimizer.step()
        >>> told = LocalTraining(0.01, steps=3, epochs=3, batch_size=4)
        >>> audit_update(net, sent, net.state_dict(), told, x, y).checks[0].says
        'the update is not what the description gives: optimiser: Adam'
    """
    check_asked((), confidence)
    whole("seed", seed, 0)
    started = time.perf_counter()
    start, end = (_state(model, given, name) for given, name in ((before, "before"), (after, "after")))
    own, notes = _own(pictures, targets), list[str]()
    assert own.targets is not None
    public = None if others is None else Records.of(others, "others")
    if public is not None:
        if public.targets is None:
            raise AttackError("others need targets as well")
        numbers = identities(own.with_(public))
        refuse_twice({"pictures": numbers[: len(own)], "others": numbers[len(own) :]})
        notes = repeats(numbers)
    seen = Observation(
        model, start, tuple(own.inputs.shape[1:]), (difference(start, end),), training, loss, normalisation,
        public_pictures=None if public is None else public.inputs,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        # Dropout in the replay draws from it.
        torch.default_generator.manual_seed(seed)
        told = _replayed(seen, own)
        rows = [_inverted(seen, told, own, attack, budget or Budget(300, 2, 60.0), seed)]
        asked, curves = _membership(seen, own, public, confidence, seed)
    rows = [_as_told(row, told) for row in (*rows, *asked)]
    about: dict[str, Any] = {
        "pictures": len(own), "others": 0 if public is None else len(public), "seed": seed,
        "confidence": confidence, "optimizer": training.optimizer, "steps": training.steps,
        "model": type(model).__name__, "replay_error": told.error if math.isfinite(told.error) else None,
        "replay_tolerance": told.tolerance, "seconds": time.perf_counter() - started,
        "torch": str(torch.__version__), "notes": notes,
    }  # fmt: skip
    return Audit("update", tuple(rows), (_check(told),), None, about, curves)


def _own(pictures: Any, targets: Any) -> Records:
    """The client's pictures and targets, as others' are read.

    Raises:
        AttackError: They are none, differ in number, or are not what a model sees before normalisation.
    """
    found = Records.of((pictures, targets), "pictures")
    if found.targets is None:
        raise AttackError("pictures need targets as well")
    if found.inputs.ndim == 4:
        unit_pictures("pictures", found.inputs)
    elif not found.inputs.is_floating_point() or not found.inputs.isfinite().all():
        raise AttackError(f"pictures must be floating and finite, not {found.inputs.dtype} or NaN")
    return Records(found.inputs.cpu(), found.targets.cpu())


def _replayed(seen: Observation, own: Records) -> Replay:
    assert own.targets is not None
    try:
        return replay(seen, own.inputs, own.targets)
    except AttackError:
        raise
    except (AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise AttackError(f"the training cannot be replayed on this model: {one_line(error)}") from None


def _as_told(row: Row, told: Replay) -> Row:
    """A row that says that nothing was broken says so only of an update that these pictures made."""
    if told.holds or row.verdict != "not broken by this attack":
        return row
    why = _DIFFERS if told.verdict == "differs" else _UNTOLD
    return replace(row, verdict="inconclusive", reason="; ".join(part for part in (why, row.reason) if part))


def _state(model: nn.Module, given: Any, name: str) -> State:
    """Tensors by the model's names.

    Raises:
        AttackError: A list of another length than the model has tensors, or nothing that holds tensors.
    """
    if hasattr(given, "to_torch_state_dict"):
        given = given.to_torch_state_dict()
    names = list(model.state_dict())
    if isinstance(given, Mapping):
        by_name = {str(key): value for key, value in given.items()}
        numbers = [str(k) for k in range(len(by_name))]
        if not by_name or set(by_name) == set(names) or set(by_name) != set(numbers):
            return {key: _array(value, f"{name}: tensor {key!r}") for key, value in by_name.items()}
        # Files hold them in an order of their own.
        given = [by_name[number] for number in numbers]
    if not isinstance(given, list | tuple):
        raise AttackError(f"{name}: give tensors by name or a list of arrays, not {type(given).__name__}")
    if len(given) != len(names):
        raise AttackError(f"{name}: {len(given)} arrays for the model's {len(names)} tensors")
    return {key: _array(value, f"{name}: tensor {key!r}") for key, value in zip(names, given, strict=True)}


def _array(value: Any, name: str) -> Tensor:
    try:
        found = torch.as_tensor(value).detach().cpu()
        return found.dequantize() if found.is_quantized else found.to_dense()
    except (TypeError, ValueError, RuntimeError) as error:
        raise AttackError(f"{name} holds no numbers: {one_line(error)}") from None


def _check(told: Replay) -> Check:
    if told.verdict == "holds":
        return Check("replay", True, f"the pictures give this update, to {told.error:.2g}")
    if told.verdict == "says nothing":
        return Check("replay", None, f"the replay says nothing: {told.mismatch}")
    return Check("replay", False, f"the update is not what the description gives: {told.mismatch}")


def as_plain(seen: Observation) -> Observation | str:
    """The same update as one of SGD with momentum at most, or why there is none.

    A single step -rate (1 + m) (gradient + decay weights), m only with Nesterov, gives its gradient away.

    Args:
        seen: With one update.
    """
    training = seen.training
    assert training is not None
    if len(set(training.schedule)) == 1:
        rate = training.learning_rate * training.rate_factor(0)
        training = replace(training, learning_rate=rate, schedule=())
        seen = replace(seen, training=training)
    if training.plain:
        return seen
    if training.optimizer != "sgd":
        return f"{training.optimizer} sends little more than signs of gradients, which this attack cannot use"
    if training.steps > 1:
        return f"{training.steps} steps with {training.differs} are not unrolled by this attack"
    rate = training.learning_rate * training.rate_factor(0)
    length = rate * (1 + training.momentum * training.nesterov)
    update = {
        name: tensor + length * training.weight_decay * seen.weights[name]
        if name in seen.trainable
        else tensor
        for name, tensor in seen.updates[0].items()
    }
    plain = replace(
        training, learning_rate=length, momentum=0.0, nesterov=False, weight_decay=0.0, schedule=()
    )
    return replace(seen, updates=(update,), training=plain)


def _inverted(
    seen: Observation,
    told: Replay,
    own: Records,
    attack: Attack | None,
    budget: Budget,
    seed: int,
) -> Row:
    """The pictures out of the update, beside the best blind ones and beside an undefended update's."""
    chosen = strong_inversion(public=seen.public_pictures is not None) if attack is None else attack
    name = chosen.name

    def nothing(reason: str) -> Row:
        return Row(name, "reconstruction PSNR", "not run", reason=reason)

    if len(seen.picture_shape) != 3:
        return nothing("what trained here sees features, not pictures")
    if told.verdict == "differs":
        return nothing(_DIFFERS)
    plain = as_plain(seen)
    if isinstance(plain, str):
        return nothing(plain)
    started = time.perf_counter()
    assert own.targets is not None
    try:
        found = chosen.run(plain, budget, seed)
        result = reconstruction(found, Truth(own.inputs), all_blind(chosen, plain, budget, seed))
        control = positive_control(
            chosen, plain, own.inputs.flip(-1), own.targets, reconstruction, AHEAD, budget, seed
        ).result
    except (AttackError, RuntimeError) as error:
        # Some layers have no second derivative.
        return nothing(one_line(error))
    baseline = result.baseline or 0.0
    won = control.value - (control.baseline or 0.0) >= AHEAD
    reason = ""
    verdict: Verdict = "not broken by this attack"
    if result.value - baseline >= AHEAD:
        verdict = "leaks"
    elif not won:
        verdict, reason = "inconclusive", _FAILED
    return Row(
        name, "reconstruction PSNR", verdict, result.value, result.low, result.high, result.confidence,
        result.n, baseline, None, control.value, reason=reason,
        method=f"median in dB; leaks from {AHEAD:g} dB above the baseline; {result.method}",
        seconds=time.perf_counter() - started, details=result.details,
    )  # fmt: skip


def _membership(
    seen: Observation, own: Records, public: Records | None, confidence: float, seed: int
) -> tuple[tuple[Row, ...], dict[str, AttackScores]]:
    """Rows and curves of the question which pictures the update was made of."""

    def nothing(reason: str) -> tuple[tuple[Row, ...], dict[str, AttackScores]]:
        return (Row(_ALIGNED, "membership AUC", "not run", reason=reason),), {}

    if public is None:
        return nothing("no pictures of others were given")
    try:
        judged, records, is_member = _aligned(seen, own, public)
    except RuntimeError as error:
        return nothing(f"this model gives no gradients of single pictures: {one_line(error)}")
    enough = min(len(own), len(public)) >= _FEWEST
    rows = membership_rows(
        [judged], blind_guess(records, is_member, seed) if enough else None, (), confidence
    )
    if not enough:
        few = f"{len(own)} pictures and {len(public)} of others tell nothing: at least {_FEWEST} of each"
        rows = tuple(replace(row, verdict="inconclusive", reason=few) for row in rows)
    return rows, dict(as_curves([judged]))


def _aligned(seen: Observation, own: Records, others: Records) -> tuple[Judged, Records, np.ndarray]:
    """Which of own and others' pictures push where the update went; the control is an undefended update of
    half of the others."""
    assert others.targets is not None
    records = own.with_(others)
    is_member = np.arange(len(records)) < len(own)
    assert records.targets is not None
    values = round_alignments(seen, records.inputs, records.targets, "cosine")[0]
    half = len(others) // 2
    control: AttackScores | str = "has no control: others are too few"
    if half >= 2:
        plain = undefended(seen, others.inputs[:half], others.targets[:half])
        told = round_alignments(plain, others.inputs, others.targets, "cosine")[0]
        control = AttackScores(told[:half], told[half:])
    scores = AttackScores(values[is_member], values[~is_member])
    return (
        Judged(_ALIGNED, scores, control, ("of each picture's gradient at the weights before",)),
        records,
        is_member,
    )
