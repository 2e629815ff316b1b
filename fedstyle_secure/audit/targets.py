"""Pictures that are attacked one at a time, each among others that it is sought in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fedstyle_secure.audit.limits import NO_GUARANTEE
from fedstyle_secure.audit.scene import Scene, Works
from fedstyle_secure.errors import AuditError
from fedstyle_secure.privacy.events import Event, SampledGaussian
from fedstyle_secure.privacy.kinds import UPDATE
from fedstyle_secure.system import State


@dataclass(frozen=True, eq=False)
class Target:
    """One picture that is attacked, with what it is sought among.

    Attributes:
        works: What it is one of.
        index: Which.
        candidates: What it is sought among: every view of features (c, views, d), or pictures (c, 3, h, w).
        pictures: The candidates to look at, (c, 3, h, w) in [0, 1].
        number: Which candidate it is.
    """

    works: Works
    index: int
    candidates: Tensor
    pictures: Tensor
    number: int


def targets_of(scene: Scene, count: int) -> list[Target]:
    """Training pictures of the artists in turns, each among others of all artists."""
    pool = [scene.works(artist, which) for artist in scene.artists for which in ("train", "test")]
    return _among(scene, pool[::2], pool, count, "targets")


def control_targets(scene: Scene, count: int) -> list[Target]:
    """Public pictures, each among the same kind of candidates."""
    public = scene.public
    return _among(scene, [public], [public], min(count, len(public)), "control")


def _among(
    scene: Scene, owners: Sequence[Works], pool: Sequence[Works], count: int, purpose: str
) -> list[Target]:
    rng = scene.rng(purpose)
    prepared = torch.cat([scene.seen(works.prepared) for works in pool])
    sought = prepared if scene.images else torch.cat([works.inputs for works in pool])
    pictures = np.concatenate([works.pictures for works in pool])
    starts = np.cumsum([0, *(len(works) for works in pool)])
    orders = [rng.permutation(len(works)) for works in owners]
    found: list[Target] = []
    for turn in range(max(len(order) for order in orders)):
        for works, order in zip(owners, orders, strict=True):
            if len(found) == count or turn >= len(order):
                continue
            index = int(order[turn])
            own = int(starts[next(k for k, w in enumerate(pool) if w is works)]) + index
            distinct = (prepared != prepared[own]).flatten(1).any(1).numpy()
            others = rng.permutation(np.flatnonzero(distinct))[: scene.settings.candidates - 1]
            chosen = np.r_[own, others]
            found.append(Target(works, index, sought[chosen], as_pictures(pictures[chosen]), 0))
    if len(found) < 4:
        raise AuditError(f"only {len(found)} pictures to attack")
    return found


def batches_of_one(scene: Scene) -> str:
    """What the attacked updates are beside those that the run's sampler draws."""
    plan = scene.plan.sgd
    sizes = np.array([len(scene.works(artist, "train")) for artist in scene.artists])
    share = float(np.max(sizes * plan.sampling_rate * (1 - plan.sampling_rate) ** (sizes - 1)))
    often = f"draws in {share:.2g} of an artist's steps at most" if share else "never draws"
    return f"batches of one, made anew: a worst case, which this run's sampler {often}"


def as_pictures(pictures: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))).float() / 255


def cost_of_one(scene: Scene, sent: State) -> list[Event]:
    """What the update of a batch of one costs that picture, which was surely drawn, with what it was made at.

    An update holds more than its own noise covers: it was made at weights, and toward anchors, that earlier
    releases of the same picture went into.
    """
    if scene.plan.kinds[UPDATE].shared is not None:
        # An update that is read by itself has a share of the noise only.
        return [NO_GUARANTEE]
    plan, before = scene.sgd, scene.costs(last=sent.round - 1)
    if any(event.noiseless for event in before):
        return before
    return [SampledGaussian(plan.noise_multiplier, 1.0, plan.steps), *before]
