"""Whether a work trained: the denoising loss at the final model, beside that at the public start."""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import Tensor, nn

from attacks.diffusion.membership import error_scores
from attacks.references import Cited
from fedstyle_secure.audit.findings import MEMBERSHIP
from fedstyle_secure.audit.measures import AttackCard, Outcome
from fedstyle_secure.audit.model import on_product, standardised
from fedstyle_secure.audit.scene import Scene
from fedstyle_secure.errors import AuditError
from fedstyle_secure.systems.art.system import ArtSystem

GAIN = AttackCard(
    "work_gain", "What the model learned of a work",
    "Asks whether the final model takes noise off a work better than the public backbone, by more than it "
    "does for works that did not train.",
    "membership inference", "L1", "artwork", MEMBERSHIP,
    (Cited("watson2022", "held against a reference of the same difficulty, here the public backbone"),),
)  # fmt: skip

_BATCH = 64


def work_gain(scene: Scene) -> Outcome:
    """The loss at the public start over that at the final weights, for the looks that training takes at each
    work: they follow from the work and the run's settings, so whoever has both can take them."""
    scene.require_trained()
    scene.require_trained_as_assumed()
    if not any(array.any() for array in scene.last.trained.values()):
        raise AuditError("the final model is the public backbone: nothing of the artists' works moved it")
    assert isinstance(scene.system, ArtSystem)
    started, before = time.perf_counter(), scene.model(scene.system.begun(scene.last))

    def of(model: nn.Module, artist: str) -> np.ndarray:
        works = torch.cat([scene.tried(artist, "train").inputs, scene.tried(artist, "test").inputs])
        return standardised(error_scores(GAIN.name, errors(model, works), errors(before, works)).values)

    return on_product(scene, GAIN, of, started)


@torch.no_grad()
def errors(model: nn.Module, works: Tensor) -> np.ndarray:
    """The denoising loss of each look at works (n, looks, 7, s, s), float64 (n, looks)."""
    parts = [model(some).square().mean(dim=1) for some in works.flatten(0, 1).split(_BATCH)]
    found: np.ndarray = torch.cat(parts).double().numpy().reshape(works.shape[:2])
    return found
