"""Attacks on the product: the final encoder with its prototypes and cards, as anybody gets them."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

from attacks.identification import rank_by_distance
from attacks.inversion.prototypes import PrototypeInversion
from attacks.membership.encoder import prototype_similarity
from attacks.membership.federated import combined_rounds, picture_gradients
from attacks.metrics import mean_square
from attacks.observation import Observation
from attacks.results import Budget
from fedstyle_secure.audit.cards import CardSide
from fedstyle_secure.audit.findings import IDENTIFICATION, MEMBERSHIP
from fedstyle_secure.audit.limits import Limit
from fedstyle_secure.audit.measures import AttackCard, Outcome, Setting, identification, membership
from fedstyle_secure.audit.scene import CENTRED, Scene
from fedstyle_secure.errors import AuditError
from fedstyle_secure.style.encoder import StyleEncoder

_STEPS, _BATCH, _RATE = 1500, 64, 1e-2
_STEPS_OF_IMAGES = 100
"""Of the control's training: heads are cheap, whole encoders are not."""

SIMILARITY = AttackCard(
    "model_similarity", "Similarity to the own card",
    "Asks whether pictures that trained lie nearer to their artist's card under the final encoder.",
    "membership inference", "L1", "artwork", MEMBERSHIP,
)  # fmt: skip
GRADIENT = AttackCard(
    "model_gradient", "Gradient length at the final encoder",
    "Asks whether the final encoder has less left to learn from pictures that trained.",
    "membership inference", "L1", "artwork", MEMBERSHIP,
)  # fmt: skip
INVERSION = AttackCard(
    "model_inversion", "Inversion of a style card",
    "Looks for a picture whose embedding is an artist's card, by descent through the encoder.",
    "model inversion", "L4", "artwork", IDENTIFICATION,
)  # fmt: skip


def similarity(scene: Scene) -> Outcome:
    """Cosine to the own card, calibrated on public pictures."""
    scene.require_trained_as_assumed()
    started, sent = time.perf_counter(), scene.last

    def of(encoder: StyleEncoder, artist: str) -> np.ndarray:
        anchors = encoder.place(np.concatenate([sent.styles.prototypes, sent.cards])).numpy()
        outside, prepared = encoder.embed(scene.public.prepared), _both(scene, artist)
        _, targets = scene.objective(encoder, sent, artist, _styles(scene, artist))
        own = targets[:, 0].numpy()
        inside = prototype_similarity(encoder.embed(prepared), anchors, own).values
        elsewhere = prototype_similarity(outside, anchors, np.full(len(outside), own[0])).values
        return combined_rounds(inside[None], elsewhere[None], np.ones(1, bool)).values

    return _membership(scene, SIMILARITY, of, started)


def gradient_length(scene: Scene) -> Outcome:
    """Minus the length of each picture's gradient at the final weights (Nasr et al. 2019)."""
    scene.require_trained()
    scene.require_trained_as_assumed()
    started, sent = time.perf_counter(), scene.last

    def of(encoder: StyleEncoder, artist: str) -> np.ndarray:
        weights = encoder.state_dict()
        loss, targets = scene.objective(encoder, sent, artist, _styles(scene, artist))
        pictures = scene.seen(_both(scene, artist))
        seen = Observation(
            encoder, weights, tuple(pictures.shape[1:]), loss=loss,
            normalisation=CENTRED if scene.images else None,
        )  # fmt: skip
        values = -picture_gradients(seen, weights, pictures, targets).norm(dim=1).double().numpy()
        scaled: np.ndarray = (values - values.mean()) / max(float(values.std()), 1e-12)
        return scaled

    return _membership(scene, GRADIENT, of, started)


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
    carded = [a for a in scene.artists if a in sent.card_artists][: settings.pictures]
    if len(carded) < 2:
        raise AuditError("inversion needs cards of at least two audited artists")
    cards = encoder.place(sent.cards)
    budget = Budget(settings.steps, settings.restarts)
    ranks: list[int] = []
    foreign: list[int] = []
    control: list[int] = []
    size = 2
    for number, artist in enumerate(carded):
        candidates = _one_among_others(scene, artist)
        size = len(candidates)
        own = cards[sent.card_artists.index(artist)]
        other = cards[sent.card_artists.index(carded[number - 1])]
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


def _membership(
    scene: Scene, card: AttackCard, of: Callable[[StyleEncoder, str], np.ndarray], started: float
) -> Outcome:
    """The control is the same attack on an encoder that was made to fit the pictures by heart."""
    values = [of(scene.encoder(scene.last), artist) for artist in scene.artists]
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


def _overfitted(scene: Scene) -> StyleEncoder:
    """The final encoder, trained on without any defence until it knows the audited artists' pictures."""
    encoder = scene.encoder(scene.last)
    parts = [
        (scene.works(artist, "train").prepared, *scene.objective(encoder, scene.last, artist, styles))
        for artist in scene.artists
        for styles in [scene.works(artist, "train").styles]
    ]
    loss, inputs = parts[0][1], torch.cat([prepared for prepared, _, _ in parts])
    targets = torch.cat([wanted for _, _, wanted in parts])
    optimizer = torch.optim.Adam([p for p in encoder.parameters() if p.requires_grad], lr=_RATE)
    draws = torch.Generator().manual_seed(scene.settings.seed)
    encoder.train()
    for _ in range(_STEPS_OF_IMAGES if scene.images else _STEPS):
        chosen = torch.randperm(len(inputs), generator=draws)[:_BATCH]
        optimizer.zero_grad()
        loss(encoder(inputs[chosen]), targets[chosen]).mean().backward()
        optimizer.step()
    return encoder


def _both(scene: Scene, artist: str) -> torch.Tensor:
    return torch.cat([scene.works(artist, "train").prepared, scene.works(artist, "test").prepared])


def _styles(scene: Scene, artist: str) -> np.ndarray:
    return np.concatenate([scene.works(artist, "train").styles, scene.works(artist, "test").styles])
