"""Attacks on the product of text recognition: the final recogniser, as anybody gets it."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from attacks.bounds import Terms
from attacks.exposure import exposure as bits_of_ranks
from attacks.exposure import exposure_epsilon, sampled_exposure
from attacks.membership.threshold import loss_score
from attacks.references import Cited
from fedstyle_secure.audit.findings import MEMBERSHIP, PROVEN, Finding, judge
from fedstyle_secure.audit.measures import AttackCard, Outcome
from fedstyle_secure.audit.model import both, memorised, on_product, product_targets, standardised
from fedstyle_secure.audit.scene import Scene, Works, merged
from fedstyle_secure.errors import AuditError
from fedstyle_secure.galleries.canaries import PICTURES, Canaries, PlantedGallery
from fedstyle_secure.privacy.accounting import epsilon, merge
from fedstyle_secure.system import State

GAIN = AttackCard(
    "crop_gain", "What the recogniser learned of a crop",
    "Asks whether the final recogniser reads a crop with its word more surely than the public one, by more "
    "than it does for crops that did not train.",
    "membership inference", "L1", "artwork", MEMBERSHIP,
    (
        Cited("yeom2018", "a loss that is low shows that a record trained"),
        Cited("watson2022", "held against a reference of the same difficulty, here the public recogniser"),
    ),
)  # fmt: skip

EXPOSURE = AttackCard(
    "exposure", "Exposure of planted crops",
    "Ranks each crop that an auditor planted among those whose coin kept them out (Carlini et al. 2019), and "
    "proves from the coins what is given away at least.",
    "regurgitation", "L1", "artwork", PROVEN,
    (
        Cited("carlini2019", "exposure by sampling", "section 4.4"),
        Cited("steinke2023", "what the coins prove", "theorem 5.2"),
    ),
)  # fmt: skip

_BATCH = 64


def crop_gain(scene: Scene) -> Outcome:
    """The loss at the public start less that at the final weights, of each artist's crops."""
    scene.require_trained()
    scene.require_trained_as_assumed()
    started, start, targets = time.perf_counter(), _start(scene), product_targets(scene)
    before = scene.model(start)

    def of(model: nn.Module, artist: str) -> np.ndarray:
        inputs, words = both(scene, artist), targets[artist]
        gains = _losses(scene, before, start, inputs, words) - _losses(
            scene, model, scene.last, inputs, words
        )
        return standardised(gains)

    return on_product(scene, GAIN, of, started)


def exposure(scene: Scene) -> Outcome:
    """Exposure of planted crops that are in, and the bound on epsilon that their coins prove.

    References are the planted crops that are out: drawn like those that are in. Losses are taken relative to
    the public start, as some crops are hard to read for anybody. The control is the same bound for a model
    that was made to know those in by heart; with too few coins it proves nothing either.
    """
    scene.require_trained()
    scene.require_trained_as_assumed()
    started, start, settings = time.perf_counter(), _start(scene), scene.settings
    inputs, words, inside = _planted(scene)
    before = _losses(scene, scene.model(start), start, inputs, words)
    terms = Terms(scene.config.privacy.delta, "add-remove", scene.config.privacy.unit, settings.confidence)

    def gains(model: nn.Module) -> np.ndarray:
        return loss_score(_losses(scene, model, scene.last, inputs, words) - before)

    def proved(scores: np.ndarray) -> float:
        return exposure_epsilon(scores[inside], scores[~inside], terms).epsilon

    scores = gains(scene.model(scene.last))
    there = torch.from_numpy(inside)
    control = proved(gains(memorised(scene, inputs[there], words[there])))
    bits, outside = sampled_exposure(-scores[inside], -scores[~inside]), int((~inside).sum())
    none = bits_of_ranks(np.arange(1, outside + 2), outside + 1).mean()
    value, allowed = proved(scores), merge(scene.costs())
    spent = None if any(e.noiseless for e in allowed) else epsilon(allowed, scene.config.privacy.delta)
    verdict = judge(value > 0, control > 0, able=True)
    note = "planted crops are easier to tell than others, and the bound holds if their coins were fair"
    if verdict == "inconclusive":
        note = f"the attack proved nothing where planted crops were known by heart either; {note}"
    if not np.ptp(scores):
        note = f"the final recogniser reads them as the public one does: noise left nothing to learn; {note}"
    return Outcome(
        (
            Finding(
                view="", attack=EXPOSURE.name, target="all", unit=EXPOSURE.unit, metric=PROVEN,
                value=value, low=value, high=None, confidence=settings.confidence, n=len(inside),
                baseline=0.0, bound=spent, verdict=verdict, seconds=time.perf_counter() - started,
                seed=settings.seed, level=EXPOSURE.level, category=EXPOSURE.category, reason=note,
                method=f"one run, guesses both, delta {terms.delta:g}, {terms.adjacency} neighbours",
                control=control, budget=f"{len(inside)} planted crops",
                details={
                    "median exposure in bits": float(np.median(bits)),
                    "mean exposure in bits": float(bits.mean()), "mean without a leak in bits": float(none),
                    "in": float(inside.sum()), "out": float(outside),
                },
            ),
        )
    )  # fmt: skip


def _start(scene: Scene) -> State:
    """What everybody had before anything private, as it was sent."""
    if not scene.rounds:
        raise AuditError("the run kept no record, so the public start is not at hand (audit.record)")
    return scene.first


def _planted(scene: Scene) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """Inputs (m, ...) and targets (m, ...) of all planted crops, and which are in, bool (m,)."""
    if not scene.config.audit.canaries or scene.config.privacy.unit == "artist":
        raise AuditError("the run holds no planted crops (audit.canaries)")
    canaries = Canaries.load(scene.run.canaries_file, scene.config, scene.gallery)
    if canaries.kind not in PICTURES:
        raise AuditError(
            f"the run's canaries are of kind {canaries.kind!r}, and no crops (audit.canary_kind)"
        )
    # As if all were in: those that are out are shown alike.
    everybody = Canaries(canaries.kind, tuple(replace(canary, inside=True) for canary in canaries.each))
    gallery = PlantedGallery(scene.config, scene.gallery, everybody)
    inputs, words, inside = [], [], []
    for artist in scene.gallery.artists:
        if not (mine := canaries.of(artist, inside_only=False)):
            continue
        portfolio = gallery.portfolio(artist)
        planted = np.arange(len(portfolio.pictures)) >= len(portfolio.pictures) - len(mine)
        only = merged(artist, [portfolio], [planted])
        works = Works(artist, only, scene.system.inputs(scene.model(scene.last), only))
        inputs.append(works.prepared)
        words.append(scene.records(scene.last, works).targets)
        inside += [canaries.each[i].inside for i in mine]
    truth = np.array(inside)
    if truth.all() or not truth.any():
        raise AuditError("all coins fell alike, so there is nothing to tell apart")
    return torch.cat(inputs), torch.cat(words), truth


def _losses(
    scene: Scene, model: nn.Module, state: State, inputs: torch.Tensor, targets: torch.Tensor
) -> np.ndarray:
    """float64 (n,)."""
    loss = scene.system.loss(model, state)
    model.eval()
    with torch.no_grad():
        parts = [loss(model(x), y) for x, y in zip(inputs.split(_BATCH), targets.split(_BATCH), strict=True)]
    return torch.cat(parts).double().numpy()
