"""One round of one artist as pure functions: records in, releases out. The artist's studio calls them, and so
does the auditor, who holds a run against what an artist must have done."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Collection, Iterator
from dataclasses import replace

import numpy as np
from torch import nn

from fedstyle_secure.errors import PrivacyError
from fedstyle_secure.federation.groups import held_counts
from fedstyle_secure.federation.releases import Layouts
from fedstyle_secure.federation.vectors import flatten, mean_row, size_of
from fedstyle_secure.galleries.canaries import coordinates
from fedstyle_secure.privacy.clipping import SHARED_GRID
from fedstyle_secure.privacy.dp_sgd import NO_CANARIES, DPTrainer, GradientCanaries
from fedstyle_secure.privacy.gate import Release
from fedstyle_secure.privacy.kinds import SUM, UPDATE, Kind
from fedstyle_secure.privacy.mechanisms import DpSgd, GaussianSum, NoisyCounts, Rows
from fedstyle_secure.privacy.noise import ByteSource
from fedstyle_secure.system import AnySystem, Records, State, split_arrays


def train(
    system: AnySystem,
    model: nn.Module,
    state: State,
    records: Records,
    sgd: DpSgd,
    rng: np.random.Generator,
    canaries: GradientCanaries = NO_CANARIES,
    read: ByteSource = os.urandom,
) -> dict[str, np.ndarray]:
    """An artist's update: what DP-SGD on its records changes in the weights.

    Args:
        system: What is learned.
        model: With the state's weights; trained in place.
        state: What the artist was sent.
        records: The artist's.
        sgd: Clip, noise, sampling and steps.
        rng: Draws the batches; see `batch_rng`.
        canaries: Gradients that an auditor planted.
        read: Source of the noise's bytes.

    Returns:
        float32 by name of the tensor.
    """
    _, before = split_arrays(model)
    trainer = DPTrainer(model, system.loss(model, state), sgd, system.config.learning_rate, read)
    trainer.fit(records.inputs, records.targets, rng, canaries)
    _, after = split_arrays(model)
    return {name: after[name] - array for name, array in before.items()}


def releases(
    system: AnySystem,
    layouts: Layouts,
    model: nn.Module,
    state: State,
    artist: str,
    records: Records,
    canaries: GradientCanaries = NO_CANARIES,
) -> list[Release]:
    """What an artist releases in a round, by the plan's mechanisms.

    Args:
        system: What is learned.
        layouts: What the run's rounds look like.
        model: With the state's weights; trained in place.
        state: What the artist was sent.
        artist: Whose.
        records: The artist's.
        canaries: Gradients that an auditor planted.
    """
    # Rows first: what is trained below is no longer the model that was sent.
    kinds = layouts.plan.of_round(state.round)
    rows = {k.name: _rows(system, layouts, k, model, state, artist, records) for k in kinds}
    update = {}
    if UPDATE in rows and layouts.plan.kinds[UPDATE].shared is not None:
        update = gradient_share(system, model, state, records, layouts.plan.sgd, canaries)
    elif UPDATE in rows:
        rng = batch_rng(layouts, artist, state.round)
        update = train(system, model, state, records, layouts.plan.sgd, rng, canaries)
    if layouts.plan.shared is not None:
        return _shared(layouts, state.round, rows, update)
    made = []
    for kind in kinds:
        found = rows[kind.name]
        if isinstance(kind.mechanism, DpSgd):
            made.append(Release(kind.name, update, kind.mechanism))
            continue
        ((name, shape),) = layouts.forms[kind.name].tensors.items()
        if isinstance(kind.mechanism, GaussianSum) and kind.shared is not None:
            # Who has nothing to say adds noise all the same, as others count on it.
            none = np.zeros((0, math.prod(shape)))
            values = kind.mechanism.share(none if found is None else found, _held(layouts, kind))
            made.append(Release(kind.name, {name: values.reshape(shape)}, kind.mechanism))
        elif found is not None:
            made.append(
                Release(kind.name, {name: kind.mechanism.apply(found).reshape(shape)}, kind.mechanism)
            )
    return made


def _held(layouts: Layouts, kind: Kind) -> np.ndarray:
    """What the values of an artist's sum of a kind are held to, where noise is shared."""
    assert kind.shared is not None
    assert not isinstance(kind.mechanism, NoisyCounts)
    form = layouts.forms[kind.name]
    count = math.floor(kind.count / kind.mechanism.clip_norm * SHARED_GRID)
    size, most = size_of(tuple(form.tensors.items())), kind.shared.records * SHARED_GRID
    return held_counts(form.groups, size, count, most)


def gradient_share(
    system: AnySystem,
    model: nn.Module,
    state: State,
    records: Records,
    sgd: DpSgd,
    canaries: GradientCanaries = NO_CANARIES,
    read: ByteSource = os.urandom,
) -> dict[str, np.ndarray]:
    """An artist's update where noise is shared: the sum of its records' clipped gradients at the weights that
    it was sent, with its share of the noise. The platform takes the step.

    Args: as for `train`.

    Returns:
        int64 by name of the tensor, in steps of clip_norm / SHARED_GRID.
    """
    if sgd.shared is None:
        raise PrivacyError("noise is not shared here")
    trainer = DPTrainer(model, system.loss(model, state), sgd, system.config.learning_rate, read)
    total = trainer.gradient_sum(records.inputs, records.targets, SHARED_GRID, canaries)
    values = sgd.shared.share(total, sgd.noise_multiplier, read=read)
    found, start = {}, 0
    for name, array in split_arrays(model)[1].items():
        found[name] = values[start : start + array.size].reshape(array.shape)
        start += array.size
    return found


def share(layouts: Layouts, number: int, vector: np.ndarray) -> list[Release]:
    """Unit artist: a vector of a round, with this artist's share of the sum's noise."""
    mechanism = layouts.shared(number)
    return [Release(SUM, {SUM: mechanism.noise.share(vector)}, mechanism)]


def batch_rng(layouts: Layouts, artist: str, number: int) -> np.random.Generator:
    """Draws the Poisson batches of a round.

    Amplification by sampling holds only while nobody knows who was drawn, and the ledger composes draws as
    independent; so with noise on they come from OS entropy, anew for each answer, which the gate keeps.
    Without noise they follow from the seed, so that runs can be compared and made again.
    """
    if layouts.plan.sgd.noise_multiplier > 0:
        return np.random.default_rng(int.from_bytes(os.urandom(32), "little"))
    return seeded(layouts.config.run.seed, artist, f"batches\n{number}")


def seeded(seed: int, artist: str, purpose: str) -> np.random.Generator:
    """Draws that follow from a run's seed, the artist and what they are for: never of noise."""
    digest = hashlib.sha256(f"{seed}\n{artist}\n{purpose}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))


def gradient_canaries(layouts: Layouts, inside: Collection[int]) -> GradientCanaries:
    """An artist's gradient canaries, by their indices in the run."""
    if not inside:
        return NO_CANARIES
    config = layouts.config
    places = coordinates(config.run.seed, config.audit.canaries, trained_size(layouts))
    return GradientCanaries(tuple(places[list(inside)].tolist()), config.privacy.clip_norm)


def trained_size(layouts: Layouts) -> int:
    """Values that train."""
    return sum(math.prod(shape) for shape in layouts.forms[UPDATE].tensors.values())


def averaged(sgd: DpSgd) -> DpSgd:
    """What DP-SGD gives on average: without noise, and every record in every batch."""
    if not sgd.noise_multiplier:
        return sgd
    batch = sgd.expected_batch_size / sgd.sampling_rate
    return replace(sgd, noise_multiplier=0.0, sampling_rate=1.0, expected_batch_size=batch)


class _OneARecord:
    """A system's rows, held to what they must be: at most one a record, all of the kind's length."""

    def __init__(self, rows: Rows, kind: str, records: int, size: int) -> None:
        self._rows, self._kind = rows, kind
        self.shape = (int(rows.shape[0]), size)
        if tuple(rows.shape)[1:] != (size,) or self.shape[0] > records:
            raise PrivacyError(
                f"{kind}: the system gives rows of shape {tuple(rows.shape)} for {records} records; valid "
                f"are as many at most, of {size} values each"
            )

    def __iter__(self) -> Iterator[np.ndarray]:
        for given, row in enumerate(self._rows, start=1):
            if given > self.shape[0]:
                raise PrivacyError(f"{self._kind}: the system gives more rows than it says")
            yield row


def _rows(
    system: AnySystem,
    layouts: Layouts,
    kind: Kind,
    model: nn.Module,
    state: State,
    artist: str,
    records: Records,
) -> Rows | None:
    if isinstance(kind.mechanism, DpSgd):
        return None
    if kind.leaves == "named" and not system.publishes(kind, artist):
        return None
    rows = system.rows(kind, model, state, artist, records)
    if rows is None:
        if not kind.optional:
            raise PrivacyError(f"{kind.name}: the system gives no rows, and this kind is not optional")
        return None
    size = size_of(tuple(layouts.forms[kind.name].tensors.items()))
    return _OneARecord(rows, kind.name, len(records), size)


def _shared(
    layouts: Layouts, number: int, rows: dict[str, Rows | None], update: dict[str, np.ndarray]
) -> list[Release]:
    """Unit artist: one vector for everything."""
    layout = layouts.vector(number)
    if not layout.parts:
        return []
    values = {}
    for part in layout.parts:
        found = rows[part.kind]
        if part.kind == UPDATE:
            values[part.kind] = flatten(part.tensors, update)
        else:
            values[part.kind] = np.zeros(size_of(part.tensors)) if found is None else mean_row(found)
    return share(layouts, number, layout.join(values))
