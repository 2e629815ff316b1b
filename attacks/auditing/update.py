"""Audit one captured update: does its description replay, and what does it give away of its pictures?"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from attacks.auditing.audit import Audit
from attacks.auditing.blind import blind_guess
from attacks.auditing.data import Records
from attacks.auditing.findings import Check, Row, Verdict
from attacks.auditing.measures import CONFIDENCE, Judged, as_curves, membership_rows
from attacks.baselines import all_blind
from attacks.errors import AttackError
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
from attacks.ranges import real, whole
from attacks.results import Attack, Budget, Truth

AHEAD = 6.0
"""dB over the best blind picture that count as a reconstruction: a quarter of its error."""

_ALIGNED = "alignment of gradients"
_FEWEST = 4
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
    it names what differs, the optimiser among others. Pictures are reconstructed where the training was SGD,
    with momentum or not; a single step with weight decay or Nesterov's momentum is turned into one without.
    With pictures of others the update is asked which of them all it was made of, whatever the optimiser.

    Args:
        model: The architecture; parameters that require gradients are those that trained.
        before: What the client got: tensors by name, a Flower ArrayRecord, or its list of arrays.
        after: What it sent, of the same kind.
        training: What the client did.
        pictures: The client's own (n, *shape), in [0, 1], in its order.
        targets: Theirs (n, ...).
        others: Pictures and targets of the same kind that it did not train on, or None.
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
    real("confidence", confidence, "(0, 1)")
    whole("seed", seed, 0)
    started = time.perf_counter()
    start, end = (_state(model, given, name) for given, name in ((before, "before"), (after, "after")))
    public = None if others is None else Records.of(others, "others")
    if public is not None and public.targets is None:
        raise AttackError("others need targets as well")
    seen = Observation(
        model, start, tuple(pictures.shape[1:]), (difference(start, end),), training, loss, normalisation,
        public_pictures=None if public is None else public.inputs,
    )  # fmt: skip
    told = replay(seen, pictures, targets)
    inverted = _inverted(seen, told, pictures, targets, attack, budget or Budget(300, 2, 60.0), seed)
    rows, curves = [inverted], {}
    if public is None:
        reason = "no pictures of others were given"
        rows.append(Row(_ALIGNED, "membership AUC", "not run", reason=reason))
    else:
        judged, records, is_member = _aligned(seen, pictures, targets, public)
        enough = min(is_member.sum(), (~is_member).sum()) >= _FEWEST
        blind = blind_guess(records, is_member, seed) if enough else None
        rows += membership_rows([judged], blind, (), confidence)
        curves = dict(as_curves([judged]))
    about: dict[str, Any] = {
        "pictures": len(pictures), "others": 0 if public is None else len(public), "seed": seed,
        "confidence": confidence, "optimizer": training.optimizer, "steps": training.steps,
        "model": type(model).__name__, "replay_error": told.error, "replay_tolerance": told.tolerance,
        "seconds": time.perf_counter() - started, "torch": str(torch.__version__), "notes": [],
    }  # fmt: skip
    return Audit("update", tuple(rows), (_check(told),), None, about, curves)


def _state(model: nn.Module, given: Any, name: str) -> State:
    """Tensors by the model's names.

    Raises:
        AttackError: A list of another length than the model has tensors, or nothing that holds tensors.
    """
    if hasattr(given, "to_torch_state_dict"):
        given = given.to_torch_state_dict()
    names = list(model.state_dict())
    listed = list(given.values()) if isinstance(given, Mapping) else given
    numbered = isinstance(given, Mapping) and all(str(key).isdigit() for key in given) and len(given) > 0
    if isinstance(given, Mapping) and not numbered:
        return {str(key): torch.as_tensor(value).detach().cpu() for key, value in given.items()}
    if not isinstance(listed, list | tuple):
        raise AttackError(f"{name}: give tensors by name or a list of arrays, not {type(given).__name__}")
    if len(listed) != len(names):
        raise AttackError(f"{name}: {len(listed)} arrays for the model's {len(names)} tensors")
    return {key: torch.as_tensor(value).detach().cpu() for key, value in zip(names, listed, strict=True)}


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
    pictures: Tensor,
    targets: Tensor,
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
        return nothing("the description does not replay, so that an attack that fails would show nothing")
    plain = as_plain(seen)
    if isinstance(plain, str):
        return nothing(plain)
    started = time.perf_counter()
    try:
        found = chosen.run(plain, budget, seed)
        result = reconstruction(found, Truth(pictures), all_blind(chosen, plain, budget, seed))
        control = positive_control(
            chosen, plain, pictures.flip(-1), targets, reconstruction, AHEAD, budget, seed
        ).result
    except AttackError as error:
        return nothing(str(error))
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


def _aligned(
    seen: Observation, pictures: Tensor, targets: Tensor, others: Records
) -> tuple[Judged, Records, np.ndarray]:
    """Which of own and others' pictures push where the update went; the control is an undefended update of
    half of the others."""
    assert others.targets is not None
    records = Records(pictures, targets).with_(others)
    is_member = np.arange(len(records)) < len(pictures)
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
