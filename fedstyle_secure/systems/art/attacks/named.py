"""Which work an update is of, among candidates that the adversary has."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from attacks.identification import rank_of_target
from fedstyle_secure.audit.findings import IDENTIFICATION
from fedstyle_secure.audit.limits import Limit
from fedstyle_secure.audit.measures import AttackCard, Outcome, Setting, identification
from fedstyle_secure.audit.replay import require_one_remade
from fedstyle_secure.audit.scene import Scene, Works
from fedstyle_secure.audit.targets import batches_of_one, cost_of_one, fits, gradient_of_one, noise_of_one
from fedstyle_secure.errors import AuditError

NAMED = AttackCard(
    "work_named", "A work named among candidates",
    "Takes the looks that training takes at every candidate, makes its gradient, and picks the one that is "
    "nearest to the update of a batch of one.",
    "reconstruction", "L4", "artwork", IDENTIFICATION,
)  # fmt: skip

_FEWEST = 4
_SHARE = 16
"""Of the pictures that are tried, one in so many is attacked by itself: each takes a round of training."""


@dataclass(frozen=True, eq=False)
class _Sought:
    """A work that is attacked.

    Attributes:
        works: What it is one of.
        index: Which.
        number: Of its gradient among all of the pool.
        others: Numbers of those that it is sought among beside its own.
    """

    works: Works
    index: int
    number: int
    others: np.ndarray


def work_named(scene: Scene) -> Outcome:
    """The work of a batch of one among others of all artists, by all that trains.

    Times and noises of the looks follow from a candidate and the run's settings, so they are known. Blind:
    the same attack on the update of a public work.
    """
    scene.require_own_noise()
    started, sent, settings = time.perf_counter(), scene.first, scene.settings
    require_one_remade(scene, sent)
    defended, first = scene.noise or scene.clip, scene.gallery.artists[0]
    private = [scene.tried(artist, which) for artist in scene.artists for which in ("train", "test")]
    public = [scene.some_public]
    count = settings.targets
    if settings.tried:
        count = min(count, max(_FEWEST, settings.tried // _SHARE))
    among = min(settings.candidates, _distinct(private), _distinct(public))
    sought = _chosen(scene, private[::2], private, count, among, "works")
    known = _chosen(scene, public, public, count, among, "public works")
    rows = np.concatenate([scene.gradients(sent, works.artist, works) for works in private])
    deviation = noise_of_one(scene) if scene.noise else 0.0

    def seen(one: _Sought, artist: str, whole: bool) -> Tensor:
        purpose = f"work {artist} {one.works.portfolio.names[one.index]} {whole}"
        return gradient_of_one(scene, sent, artist, one.works, one.index, purpose, defended=whole)

    foreign = [seen(one, first, True) for one in known[:_FEWEST]]
    ranks, blind = [], []
    for i, one in enumerate(sought):
        candidates = rows[np.r_[one.number, one.others]]
        ranks.append(rank_of_target(fits(seen(one, one.works.artist, True), candidates, deviation), 0))
        blind.append(rank_of_target(fits(foreign[i % len(foreign)], candidates, deviation), 0))
    control = ranks
    if defended:
        plain = scene.strangers(sent, first, defended=False)
        control = [
            rank_of_target(fits(seen(one, first, False), plain[np.r_[one.number, one.others]], 0.0), 0)
            for one in known
        ]
    how = Setting(
        NAMED, settings.seed, settings.confidence, time.perf_counter() - started,
        f"{among} gradients a work", batches_of_one(scene),
    )  # fmt: skip
    limit = Limit(cost_of_one(scene, sent))
    return Outcome((identification(how, np.array(ranks), np.array(blind), among, limit, np.array(control)),))


def _distinct(pool: Sequence[Works]) -> int:
    return len({picture.tobytes() for works in pool for picture in works.pictures})


def _chosen(
    scene: Scene, owners: Sequence[Works], pool: Sequence[Works], count: int, among: int, purpose: str
) -> list[_Sought]:
    """Works of the owners in turns, each with others that it is sought among; no two of those are alike."""
    rng = scene.rng(purpose)
    alike: dict[bytes, int] = {}
    told = np.array([alike.setdefault(p.tobytes(), len(alike)) for works in pool for p in works.pictures])
    starts = dict(zip(map(id, pool), np.cumsum([0, *map(len, pool)]), strict=False))
    orders = [[(works, int(i)) for i in rng.permutation(len(works))] for works in owners]
    turns = itertools.chain.from_iterable(itertools.zip_longest(*orders))
    chosen = [pair for pair in turns if pair is not None][:count]
    if len(chosen) < _FEWEST or among < 2:
        raise AuditError(f"only {len(chosen)} works to attack, among {among}")
    found = []
    for works, i in chosen:
        own = int(starts[id(works)]) + i
        order = np.r_[own, rng.permutation(len(told))]
        firsts = np.sort(np.unique(told[order], return_index=True)[1])
        found.append(_Sought(works, i, own, order[firsts][1:among]))
    return found
