"""Attacks on the product: the final model, as anybody gets it."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from attacks.membership.federated import picture_gradients
from attacks.observation import Observation
from fedstyle_secure.audit.findings import MEMBERSHIP
from fedstyle_secure.audit.limits import Limit
from fedstyle_secure.audit.measures import AttackCard, Outcome, Setting, membership
from fedstyle_secure.audit.scene import Scene

_STEPS, _BATCH, _RATE = 1500, 64, 1e-2
_STEPS_OF_IMAGES = 100
"""Of the control's training: heads are cheap, whole encoders are not."""

GRADIENT = AttackCard(
    "model_gradient", "Gradient length at the final model",
    "Asks whether the final model has less left to learn from pictures that trained.",
    "membership inference", "L1", "artwork", MEMBERSHIP,
)  # fmt: skip


def gradient_length(scene: Scene) -> Outcome:
    """Minus the length of each picture's gradient at the final weights (Nasr et al. 2019)."""
    scene.require_trained()
    scene.require_trained_as_assumed()
    started, sent, targets = time.perf_counter(), scene.last, product_targets(scene)

    def of(model: nn.Module, artist: str) -> np.ndarray:
        weights, loss = model.state_dict(), scene.smooth_loss(model, sent)
        pictures = scene.seen(both(scene, artist))
        seen = Observation(
            model, weights, tuple(pictures.shape[1:]), loss=loss, normalisation=scene.normalisation,
        )  # fmt: skip
        values = -picture_gradients(seen, weights, pictures, targets[artist]).norm(dim=1).double().numpy()
        scaled: np.ndarray = (values - values.mean()) / max(float(values.std()), 1e-12)
        return scaled

    return on_product(scene, GRADIENT, of, started)


def on_product(
    scene: Scene, card: AttackCard, of: Callable[[nn.Module, str], np.ndarray], started: float
) -> Outcome:
    """The control is the same attack on an encoder that was made to fit the pictures by heart."""
    values = [of(scene.model(scene.last), artist) for artist in scene.artists]
    memorised = _overfitted(scene)
    control = [of(memorised, artist) for artist in scene.artists]
    truth = np.concatenate([scene.members(artist) for artist in scene.artists])
    how = Setting(
        card, scene.settings.seed, scene.settings.confidence, time.perf_counter() - started, "closed form"
    )  # fmt: skip
    return membership(
        how, card.scores(values), truth, np.repeat(list(scene.artists), [len(v) for v in values]),
        scene.blind, Limit(scene.costs(), hops=2), (card.scores(control), truth), scene.settings.fpr,
    )  # fmt: skip


def _overfitted(scene: Scene) -> nn.Module:
    """Where it knows the audited artists' pictures by heart."""
    parts = [scene.records(scene.last, scene.works(artist, "train")) for artist in scene.artists]
    inputs = torch.cat([part.inputs[:, 0] for part in parts])
    return memorised(scene, inputs, torch.cat([part.targets for part in parts]))


def memorised(scene: Scene, inputs: torch.Tensor, targets: torch.Tensor) -> nn.Module:
    """The final model, trained on without any defence until it knows some records.

    Args:
        scene: The run.
        inputs: Float32 (n, ...), one view of each.
        targets: (n, ...).
    """
    model = scene.model(scene.last)
    loss = scene.system.loss(model, scene.last)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=_RATE)
    draws = torch.Generator().manual_seed(scene.settings.seed)
    model.train()
    for _ in range(_STEPS_OF_IMAGES if scene.images else _STEPS):
        chosen = torch.randperm(len(inputs), generator=draws)[:_BATCH]
        optimizer.zero_grad()
        loss(model(inputs[chosen]), targets[chosen]).mean().backward()
        optimizer.step()
    return model


def product_targets(scene: Scene) -> dict[str, torch.Tensor]:
    """What the loss wants of each of `both`, under the product, by artist."""
    return {
        artist: torch.cat(
            [scene.records(scene.last, scene.works(artist, w)).targets for w in ("train", "test")]
        )
        for artist in scene.artists
    }


def both(scene: Scene, artist: str) -> torch.Tensor:
    """An artist's training pictures, then those held out, float32 (n, ...)."""
    return torch.cat([scene.works(artist, "train").prepared, scene.works(artist, "test").prepared])
