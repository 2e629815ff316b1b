"""Attacks on the product of style search: the encoder with its cards and prototypes, as anybody gets it."""

from __future__ import annotations

import time
from typing import cast

import numpy as np
import torch
from torch import nn

from attacks.identification import rank_by_distance
from attacks.inversion.prototypes import PrototypeInversion
from attacks.membership.encoder import prototype_similarity
from attacks.membership.federated import combined_rounds
from attacks.metrics import mean_square
from attacks.observation import Observation
from attacks.references import Cited
from attacks.results import Budget
from fedstyle_secure.audit.findings import IDENTIFICATION, MEMBERSHIP
from fedstyle_secure.audit.limits import Limit
from fedstyle_secure.audit.measures import AttackCard, Outcome, Setting, identification
from fedstyle_secure.audit.model import both, on_product, product_targets
from fedstyle_secure.audit.scene import CENTRED, Scene
from fedstyle_secure.errors import AuditError
from fedstyle_secure.systems.style.attacks.cards import CardSide
from fedstyle_secure.systems.style.encoder import StyleEncoder

SIMILARITY = AttackCard(
    "model_similarity", "Similarity to the own card",
    "Asks whether pictures that trained lie nearer to their artist's card under the final encoder.",
    "membership inference", "L1", "artwork", MEMBERSHIP,
)  # fmt: skip

INVERSION = AttackCard(
    "model_inversion", "Inversion of a style card",
    "Looks for a picture whose embedding is an artist's card, by descent through the encoder.",
    "model inversion", "L4", "artwork", IDENTIFICATION,
    (Cited("geiping2020", "descent with total variation, towards a card in place of a gradient"),),
)  # fmt: skip


def similarity(scene: Scene) -> Outcome:
    """Cosine to the own card, calibrated on public pictures."""
    scene.require_trained_as_assumed()
    started, sent, targets = time.perf_counter(), scene.last, product_targets(scene)

    def of(model: nn.Module, artist: str) -> np.ndarray:
        encoder = cast(StyleEncoder, model)
        anchors = encoder.place(np.concatenate([sent.public["prototypes"], sent.public["cards"]])).numpy()
        outside, prepared = encoder.embed(scene.public.prepared), both(scene, artist)
        own = targets[artist][:, 0].numpy()
        inside = prototype_similarity(encoder.embed(prepared), anchors, own).values
        elsewhere = prototype_similarity(outside, anchors, np.full(len(outside), own[0])).values
        return combined_rounds(inside[None], elsewhere[None], np.ones(1, bool)).values

    return on_product(scene, SIMILARITY, of, started)


def inversion(scene: Scene) -> Outcome:
    """A picture out of each artist's card, sought among one of that artist's and others' pictures.

    The encoder is the one that the card was made with, where the round was recorded.

    The control inverts the embedding of that one picture; the prior is another artist's card.
    """
    if not scene.images:
        raise AuditError("the fixed statistics in front of the head pass no gradient back to a picture")
    scene.require_trained_as_assumed()
    started, settings, sent = time.perf_counter(), scene.settings, scene.last
    side = CardSide.of(scene)
    encoder = side.encoder
    carded = [a for a in scene.artists if a in sent.texts["cards"]][: settings.pictures]
    if len(carded) < 2:
        raise AuditError("inversion needs cards of at least two audited artists")
    cards = encoder.place(sent.public["cards"])
    budget = Budget(settings.steps, settings.restarts)
    ranks: list[int] = []
    foreign: list[int] = []
    control: list[int] = []
    size = 2
    for number, artist in enumerate(carded):
        candidates = _one_among_others(scene, artist)
        size = len(candidates)
        own = cards[sent.texts["cards"].index(artist)]
        other = cards[sent.texts["cards"].index(carded[number - 1])]
        alone = encoder(CENTRED.normalise(candidates[:1])).detach()[0]
        for vector, found in ((own, ranks), (other, foreign), (alone, control)):
            found.append(_rank_of_rebuilt(encoder, vector, candidates, budget, settings.seed + number))
    how = Setting(
        INVERSION, settings.seed, settings.confidence, time.perf_counter() - started,
        f"{budget.steps} steps, {budget.restarts} restarts", "the control inverts one picture's embedding",
    )  # fmt: skip
    limit = Limit(side.events())
    return Outcome((identification(how, np.array(ranks), np.array(foreign), size, limit, np.array(control)),))


def _one_among_others(scene: Scene, artist: str) -> torch.Tensor:
    """A training picture of an artist, then pictures that the artist did not train on, (n, 3, h, w)."""
    rng = scene.rng(f"card {artist}")
    works = scene.works(artist, "train")
    target = scene.seen(works.prepared[[int(rng.integers(len(works)))]])
    pool = [scene.works(a, "train").prepared for a in scene.artists if a != artist]
    pool += [scene.works(a, "test").prepared for a in scene.artists]
    others = scene.seen(torch.cat(pool))
    distinct = (others != target).flatten(1).any(1).numpy()
    chosen = rng.permutation(np.flatnonzero(distinct))[: scene.settings.candidates - 1]
    return torch.cat([target, others[chosen]])


def _rank_of_rebuilt(
    encoder: StyleEncoder, vector: torch.Tensor, candidates: torch.Tensor, budget: Budget, seed: int
) -> int:
    """Rank of the first candidate by its distance to the picture that has this embedding."""
    seen = Observation(
        encoder, encoder.state_dict(), tuple(candidates.shape[1:]), prototypes={"card": vector[None]},
        embed=lambda pictures: encoder(CENTRED.normalise(pictures)),
    )  # fmt: skip
    found = PrototypeInversion("card").run(seen, budget, seed)
    assert found.pictures is not None
    return rank_by_distance(found.pictures[0], candidates, 0, mean_square)
