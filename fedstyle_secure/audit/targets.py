"""Pictures that are attacked one at a time, each among others that it is sought in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from attacks.inversion.candidates import candidate_scores
from attacks.inversion.objectives import Kind, UpdateDistance
from fedstyle_secure.audit.limits import NO_GUARANTEE
from fedstyle_secure.audit.replay import flat
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


def gradient_of_one(
    scene: Scene, sent: State, artist: str, works: Works, index: int, purpose: str, *, defended: bool
) -> Tensor:
    """What the update of a batch of one shows of that picture's gradient, float64 (p,), as an artist would
    send it: the mean over the steps of a round; with noise of deviation `noise_of_one` on each value.

    Args:
        scene: The run.
        sent: What the artist was sent.
        artist: Who sends it.
        works: What the picture is one of.
        index: Which.
        purpose: Names the draw of the noise.
        defended: With the run's clip and noise, or without either.
    """
    update = scene.update_of_one(sent, artist, works, index, purpose, defended=defended)
    plan = scene.sgd
    pushed = -flat(scene, update) * plan.expected_batch_size / (scene.config.learning_rate * plan.steps)
    return torch.from_numpy(pushed)


def noise_of_one(scene: Scene) -> float:
    """Deviation of the noise on each value of `gradient_of_one`, where it is defended."""
    return scene.sgd.deviation / float(np.sqrt(scene.sgd.steps))


def fits(seen: Tensor, rows: np.ndarray, deviation: float) -> Tensor:
    """How well each candidate's gradient (n, p) fits one that was seen (p,), (n,), larger is more likely.

    With known noise by likelihood, which nobody can beat who has the candidates; without (0) by cosine, which
    asks for neither clip nor step size.
    """
    kind: Kind = "likelihood" if deviation else "cosine"
    distance = UpdateDistance(kind, {"all": seen}, {"all": 1.0}, deviation)
    return candidate_scores(distance, list(rows), lambda row: {"all": torch.from_numpy(row).double()})


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
