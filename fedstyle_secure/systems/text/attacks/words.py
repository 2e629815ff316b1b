"""Words that are attacked one at a time, each among others that it might have been."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fedstyle_secure.audit.scene import Scene, Works, merged
from fedstyle_secure.audit.targets import gradient_of_one
from fedstyle_secure.errors import AuditError
from fedstyle_secure.system import State

_MOST = 60
"""Words that one is sought among, at most."""

_FEWEST = 4


@dataclass(frozen=True, eq=False)
class Sought:
    """One word that is attacked.

    Attributes:
        artist: Whose update it is in.
        candidates: Crops of words that all differ, the sought one among them, as of one portfolio.
        number: Which one it is.
        targets: int64 (c, 1 + most letters), the candidates' words.
    """

    artist: str
    candidates: Works
    number: int
    targets: Tensor

    @property
    def word(self) -> Tensor:
        """int64 (1 + most letters,)."""
        return self.targets[self.number]


def private_words(scene: Scene, sent: State, count: int) -> list[Sought]:
    """Crops that trained, of the artists in turns, each among words of like length of all artists."""
    owners = [scene.works(artist, "train") for artist in scene.artists]
    others = [scene.works(artist, "test") for artist in scene.artists]
    return _sought(scene, sent, owners, [*owners, *others], count, "words")


def public_words(scene: Scene, sent: State, count: int) -> list[Sought]:
    """Public crops as an artist would send them, each among public words of like length."""
    return _sought(scene, sent, [scene.public], [scene.public], count, "public words")


def words_in(scene: Scene, sent: State, works: Works) -> Tensor:
    """The words of crops as training sees them, int64 (n, 1 + most letters)."""
    return scene.records(sent, works, _artist(scene, works)).targets


def seen_gradient(scene: Scene, sent: State, sought: Sought, *, defended: bool) -> Tensor:
    """What an update of a batch of this word shows of its gradient, float64 (p,), as an artist would send it.

    The mean over the steps of a round; with noise of deviation `targets.noise_of_one` on each value.

    Args:
        scene: The run.
        sent: What the artist was sent.
        sought: The word.
        defended: With the run's clip and noise, or without either.
    """
    works, number = sought.candidates, sought.number
    purpose = f"word {sought.artist} {works.portfolio.names[number]} {defended}"
    return gradient_of_one(scene, sent, sought.artist, works, number, purpose, defended=defended)


def part_of(scene: Scene, gradient: Tensor, name: str) -> Tensor:
    """One trained tensor of a flat gradient, 1-D."""
    shapes: Mapping[str, tuple[int, ...]] = {n: scene.first.trained[n].shape for n in scene.trained}
    sizes = [int(np.prod(shape)) for shape in shapes.values()]
    parts: tuple[Tensor, ...] = gradient.split(sizes)
    return dict(zip(shapes, parts, strict=True))[name]


def _sought(
    scene: Scene, sent: State, owners: Sequence[Works], pool: Sequence[Works], count: int, purpose: str
) -> list[Sought]:
    rng = scene.rng(purpose)
    words = torch.cat([words_in(scene, sent, works) for works in pool])
    starts = dict(zip(map(id, pool), np.cumsum([0, *map(len, pool)]), strict=False))
    orders = [[(works, int(i)) for i in rng.permutation(len(works))] for works in owners]
    turns = itertools.chain.from_iterable(itertools.zip_longest(*orders))
    among = min(scene.settings.candidates, _MOST, len(words.unique(dim=0)))
    chosen = [pair for pair in turns if pair is not None][:count]
    if len(chosen) < _FEWEST or among < 2:
        raise AuditError(f"only {len(chosen)} words to attack, among {among}")
    found = []
    for works, i in chosen:
        own = int(starts[id(works)]) + i
        picks = _like(words, own, among, rng)
        crops, number = _gathered(pool, picks, own)
        found.append(Sought(_artist(scene, works), crops, number, words[np.sort(picks)]))
    return found


def _like(words: Tensor, own: int, among: int, rng: np.random.Generator) -> np.ndarray:
    """Numbers (among,) of crops whose words all differ: one's own, and others of like length."""
    order = np.r_[own, rng.permutation(len(words))]
    firsts = np.unique(words[order].numpy(), axis=0, return_index=True)[1]
    distinct = order[np.sort(firsts)]
    apart = (words[distinct, 0] - words[own, 0]).abs().numpy()
    apart[0] = -1
    picked: np.ndarray = distinct[np.argsort(apart, kind="stable")[:among]]
    return picked


def _gathered(pool: Sequence[Works], picks: np.ndarray, own: int) -> tuple[Works, int]:
    """Some crops of a pool, in its order, as of one portfolio; and which of them `own` is."""
    chosen = np.isin(np.arange(sum(map(len, pool))), picks)
    parts = np.split(chosen, np.cumsum([len(works) for works in pool])[:-1])
    portfolio = merged("(candidates)", [works.portfolio for works in pool], parts)
    inputs = torch.cat([works.inputs[torch.from_numpy(c)] for works, c in zip(pool, parts, strict=True)])
    return Works("(candidates)", portfolio, inputs), int(chosen[:own].sum())


def _artist(scene: Scene, works: Works) -> str:
    """Whose records the crops are taken for: public ones are taken for the first artist's."""
    return works.artist if works.artist in scene.gallery.artists else scene.gallery.artists[0]


def undefended(scene: Scene) -> bool:
    """Whether a run is its own control."""
    return not (scene.noise or scene.clip)


def told(sought: Sequence[Sought]) -> dict[str, float]:
    """Figures of the words that are attacked, for a finding's details."""
    lengths = [float(one.word[0]) for one in sought]
    return {"words": float(len(lengths)), "mean letters": float(np.mean(lengths))}
