"""Attacks on the product: the final model, as anybody gets it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from attacks.membership.federated import picture_gradients
from attacks.observation import Observation
from attacks.references import Cited
from attacks.roc import auc
from fedstyle_secure.audit.findings import MEMBERSHIP
from fedstyle_secure.audit.limits import Limit
from fedstyle_secure.audit.measures import AttackCard, Outcome, Setting, membership
from fedstyle_secure.audit.scene import Scene

_STEPS, _BATCH, _RATE = 1500, 64, 1e-2
_STEPS_OF_IMAGES = 100
"""Of the control's training: heads are cheap, whole encoders are not."""
_DEAR_STEPS, _DEAR_BATCH, _DEAR_RATE, _DEAR_WORKS, _DEAR_ARTISTS = 150, 8, 4e-2, 12, 4
"""Of the control where each picture takes long: few pictures are known by heart within few steps."""

GRADIENT = AttackCard(
    "model_gradient", "Gradient length at the final model",
    "Asks whether the final model has less left to learn from pictures that trained.",
    "membership inference", "L1", "artwork", MEMBERSHIP,
    (Cited("nasr2019", "the length of a record's gradient at the final weights"),),
)  # fmt: skip


def gradient_length(scene: Scene) -> Outcome:
    """Minus the length of each picture's gradient at the final weights (Nasr et al. 2019)."""
    scene.require_trained()
    scene.require_trained_as_assumed()
    started, sent, targets = time.perf_counter(), scene.last, product_targets(scene)

    def of(model: nn.Module, artist: str) -> np.ndarray:
        if not scene.system.plain:
            return standardised(-_lengths(scene, model, artist))
        weights, loss = model.state_dict(), scene.smooth_loss(model, sent)
        pictures = scene.seen(both(scene, artist))
        seen = Observation(
            model, weights, tuple(pictures.shape[1:]), loss=loss, normalisation=scene.normalisation,
        )  # fmt: skip
        values = -picture_gradients(seen, weights, pictures, targets[artist]).norm(dim=1).double().numpy()
        return standardised(values)

    found = on_product(scene, GRADIENT, of, started)
    return _less_weights(scene, found, of) if scene.system.plain else found


def _less_weights(scene: Scene, found: Outcome, of: Callable[[nn.Module, str], np.ndarray]) -> Outcome:
    """With the figure at the weights before training: a loss may compare with what was published beside the
    weights, and that can tell who trained where the weights do not."""
    start, everyone = scene.model(scene.first), found.findings[0]
    values = np.concatenate([of(start, artist) for artist in scene.artists])
    inside = np.concatenate([scene.members(artist) for artist in scene.artists])
    before = auc(values[inside], values[~inside])
    told: dict[str, Any] = {"details": {**everyone.details, "AUC at the weights before training": before}}
    if everyone.verdict == "leaks" and everyone.low is not None and before > everyone.low:
        # Nothing shows then that training made the leak; what was to be known of the figure stays beside it.
        why = f"{before:.3f} at the weights before training too: what the loss compares with tells as much"
        told["reason"] = "; ".join(filter(None, (why, everyone.reason)))
    return replace(found, findings=(replace(everyone, **told), *found.findings[1:]))


def standardised(values: np.ndarray) -> np.ndarray:
    """Scores of an artist's pictures (n,) in units of their deviation, so that artists' compare."""
    scaled: np.ndarray = (values - values.mean()) / max(float(values.std()), 1e-12)
    return scaled


def _lengths(scene: Scene, model: nn.Module, artist: str) -> np.ndarray:
    """Of the gradients of an artist's tried pictures over all their views, float64 (n,)."""
    parts = [scene.tried(artist, which) for which in ("train", "test")]
    rows = [scene.gradients(scene.last, artist, works, defended=False, model=model) for works in parts]
    lengths: np.ndarray = np.linalg.norm(np.concatenate(rows).astype(np.float64), axis=1)
    return lengths


def on_product(
    scene: Scene, card: AttackCard, of: Callable[[nn.Module, str], np.ndarray], started: float
) -> Outcome:
    """The control is the same attack on an encoder that was made to fit the pictures by heart."""
    values = [of(scene.model(scene.last), artist) for artist in scene.artists]
    known = _known(scene)
    memorised = _overfitted(scene, known)
    # Pictures that trained and are not known by heart would be neither.
    asked = {artist: mine | ~scene.members(artist) for artist, mine in known.items()}
    control = [of(memorised, artist)[mine] for artist, mine in asked.items()]
    inside = np.concatenate([known[artist][mine] for artist, mine in asked.items()])
    truth = np.concatenate([scene.members(artist) for artist in scene.artists])
    how = Setting(
        card, scene.settings.seed, scene.settings.confidence, time.perf_counter() - started, "closed form"
    )  # fmt: skip
    return membership(
        how, card.scores(values), truth, np.repeat(list(scene.artists), [len(v) for v in values]),
        scene.blind, Limit(scene.costs(), hops=2), (card.scores(control), inside), scene.settings.fpr,
    )  # fmt: skip


def _known(scene: Scene) -> dict[str, np.ndarray]:
    """Which of their tried pictures are known by heart in the control, bool (n,), by artist: those that
    trained, or a few of them."""
    if not scene.system.dear:
        return {artist: scene.members(artist) for artist in scene.artists}
    artists = scene.artists[:_DEAR_ARTISTS]
    most = _DEAR_WORKS // len(artists)
    members = {artist: scene.members(artist) for artist in artists}
    return {artist: inside & (np.arange(len(inside)) < most) for artist, inside in members.items()}


def _overfitted(scene: Scene, known: Mapping[str, np.ndarray]) -> nn.Module:
    """Where it knows some of the tried training pictures by heart."""
    works = {artist: scene.tried(artist, "train") for artist in known}
    chosen = [works[artist].some(mine[: len(works[artist])]) for artist, mine in known.items()]
    parts = [scene.records(scene.last, some) for some in chosen]
    inputs, targets = (torch.cat([getattr(p, name) for p in parts]) for name in ("inputs", "targets"))
    if scene.system.plain:
        return memorised(scene, inputs[:, 0], targets)
    return memorised(scene, inputs.flatten(0, 1), targets.repeat_interleave(inputs.shape[1], dim=0))


def memorised(scene: Scene, inputs: torch.Tensor, targets: torch.Tensor) -> nn.Module:
    """The final model, trained on without any defence until it knows some records.

    Args:
        scene: The run.
        inputs: Float32 (n, ...), one view of each.
        targets: (n, ...).
    """
    model, steps, batch, rate = scene.model(scene.last), _STEPS, _BATCH, _RATE
    if scene.images:
        steps = _STEPS_OF_IMAGES
    if scene.system.dear:
        steps, batch, rate = _DEAR_STEPS, _DEAR_BATCH, _DEAR_RATE
    loss = scene.system.loss(model, scene.last)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=rate)
    draws = torch.Generator().manual_seed(scene.settings.seed)
    model.train()
    for _ in range(steps):
        chosen = torch.randperm(len(inputs), generator=draws)[:batch]
        optimizer.zero_grad()
        loss(model(inputs[chosen]), targets[chosen]).mean().backward()
        optimizer.step()
    return model


def product_targets(scene: Scene) -> dict[str, torch.Tensor]:
    """What the loss wants of each of `both`, under the product, by artist."""
    return {
        artist: torch.cat(
            [scene.records(scene.last, scene.tried(artist, w)).targets for w in ("train", "test")]
        )
        for artist in scene.artists
    }


def both(scene: Scene, artist: str) -> torch.Tensor:
    """An artist's tried training pictures, then those held out, float32 (n, ...)."""
    return torch.cat([scene.tried(artist, "train").prepared, scene.tried(artist, "test").prepared])
