"""Attacks on updates: what one artist's answer, or the encoder before and after, says of pictures."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from attacks.baselines import nearest_public, prior_only
from attacks.evaluation import reconstruction
from attacks.identification import rank_by_distance, rank_of_target
from attacks.inversion.analytic import AnalyticInversion, SpanMatch
from attacks.inversion.optimisation import adaptive_inversion, strong_inversion
from attacks.membership.federated import clipped_gradients, combined_rounds
from attacks.membership.scores import MembershipScores
from attacks.membership.tracing import traced
from attacks.metrics import mean_square
from attacks.results import Attack, Budget, Evidence, Truth
from fedstyle_secure.audit.findings import NO_RECORD
from fedstyle_secure.audit.limits import Limit
from fedstyle_secure.audit.measures import (
    AttackCard,
    Outcome,
    Panel,
    Setting,
    guessing,
    identification,
    membership,
)
from fedstyle_secure.audit.scene import Scene, Works
from fedstyle_secure.errors import AuditError
from fedstyle_secure.federation.protocol import Instruction
from fedstyle_secure.privacy.events import Event, SampledGaussian
from fedstyle_secure.privacy.mechanisms import DpSgd

ONE = AttackCard(
    "update_one", "Inversion of an update",
    "Works back from the update of a step whose batch happened to hold one picture to that picture. Such "
    "updates are made anew with the run's own weights, clip and noise, as a run draws few.",
    "reconstruction", "L4", "artwork", "identification rate",
)  # fmt: skip
STYLE = AttackCard(
    "update_style", "Style of a picture from its update",
    "Guesses which shared style the one picture of a batch belongs to, from updates made anew as for the "
    "inversion.",
    "attribute inference", "L3", "artwork", "style named rightly",
)  # fmt: skip
BATCH = AttackCard(
    "update_batch", "Row-space match of an update",
    "Looks for pictures whose features lie in the space that an update's rows span.",
    "membership inference", "L1", "artwork", "membership AUC",
)  # fmt: skip
ROUNDS = AttackCard(
    "update_rounds", "Gradient alignment over rounds",
    "Compares each round's update with the gradient that a candidate picture would have given.",
    "membership inference", "L1", "artwork", "membership AUC",
)  # fmt: skip
MEAN = AttackCard(
    "mean_rounds", "Gradient alignment with the encoder's changes",
    "The same with nothing but the encoder before and after each round.",
    "membership inference", "L1", "artwork", "membership AUC",
)  # fmt: skip


Scored = Callable[[str, bool], tuple[np.ndarray, np.ndarray]]
"""Scores of an artist's pictures and which of them trained, from what was sent or without any defence."""


@dataclass(frozen=True, eq=False)
class _Target:
    """One picture that is attacked, with what it is sought among."""

    works: Works
    index: int
    candidates: Tensor
    pictures: Tensor
    number: int


def update_of_one(scene: Scene) -> Outcome:
    """Inversion of the update of a batch of one, and identification among candidates.

    Features come back in closed form where a linear head trains; pictures by optimisation where the encoder
    does. With noise the attack knows clip and noise.
    """
    scene.require_own_noise()
    started, sent, settings = time.perf_counter(), scene.first, scene.settings
    closed = not scene.images
    count = settings.targets if closed else settings.pictures
    budget = Budget(1) if closed else Budget(settings.steps, settings.restarts)
    targets = _targets(scene, count)
    attack = _attack(scene, closed)
    found = [_attacked(scene, sent, attack, target, budget, True) for target in targets]
    ranks = np.array([_rank(e, t) for (e, _), t in zip(found, targets, strict=True)])
    prior_ranks = np.array([_rank(p, t) for (_, p), t in zip(found, targets, strict=True)])
    # An undefended run is its own control; pictures of the public set stand in where it is defended.
    control = ranks
    if scene.noise or scene.clip:
        plain = AnalyticInversion() if closed else strong_inversion()
        known = _control_targets(scene, count if closed else min(count, 4))
        control = np.array([_rank(_attacked(scene, sent, plain, t, budget, False)[0], t) for t in known])
    words = "closed form" if closed else f"{budget.steps} steps, {budget.restarts} restarts"
    note = "batches of one, the worst that the sampler can draw, made anew with the run's settings; " + (
        "the attack picks among candidates and draws no picture" if closed else "the attack draws pictures"
    )
    how = Setting(ONE, settings.seed, settings.confidence, time.perf_counter() - started, words, note)
    # Optimisation also uses the anchors, which earlier releases of the picture went into.
    events = _one_step(scene.sgd) if closed else [*_one_step(scene.sgd), *_until(scene, sent)]
    finding = identification(how, ranks, prior_ranks, len(targets[0].candidates), Limit(events), control)
    details = dict(finding.details)
    if not closed:
        truths = torch.cat([t.candidates[t.number][None] for t in targets])
        rebuilt = torch.cat([_pictures(e) for e, _ in found])
        quality = reconstruction(Evidence(attack.name, 0.0, True, pictures=rebuilt), Truth(truths))
        details |= {f"{quality.metric}": quality.value, "constant colour PSNR": quality.baseline or 0.0}
    converged = float(np.mean([e.converged for e, _ in found]))
    finding = replace(finding, details=details | {"converged": converged})
    return Outcome((finding,), panel=_panel(scene, targets, found, closed))


def style_of_one(scene: Scene) -> Outcome:
    """The style of a batch's one picture, from the features that the update gives away."""
    scene.require_own_noise()
    if scene.images:
        raise AuditError("reads the features that a linear head gives away; this run trains the encoder too")
    started, sent, settings = time.perf_counter(), scene.first, scene.settings
    targets = _targets(scene, settings.targets)
    k = len(sent.styles.names)

    def right(target: _Target, defended: bool) -> bool:
        guess = _guessed_style(scene, sent, target, defended)
        return guess == int(target.works.styles[target.index])

    hits = np.array([right(target, True) for target in targets])
    control = hits if not (scene.noise or scene.clip) else np.array([right(t, False) for t in targets])
    truths = np.array([target.works.styles[target.index] for target in targets])
    # The best guess without looking: what is most common among the public pictures.
    commonest = int(np.bincount(scene.public.styles, minlength=k).argmax())
    baseline = max(float(np.mean(truths == commonest)), 1 / k)
    how = Setting(STYLE, settings.seed, settings.confidence, time.perf_counter() - started, "closed form")
    limit = Limit(_one_step(scene.sgd)).success(baseline)
    return Outcome((guessing(how, hits, baseline, limit, control, "style named rightly"),))


def batch_match(scene: Scene) -> Outcome:
    """Row-space match of the first recorded update of each artist."""
    scene.require_trained()
    if scene.images:
        raise AuditError("reads the space that a linear head's update spans; this run trains the encoder too")
    started, settings = time.perf_counter(), scene.settings
    sent = _sent_with_updates(scene)[0]

    def of(artist: str, defended: bool) -> tuple[np.ndarray, np.ndarray]:
        inside, outside = scene.works(artist, "train"), scene.works(artist, "test")
        candidates = torch.cat([inside.prepared, outside.prepared])
        update = _update(scene, sent, artist, defended)
        seen = scene.observation(
            sent, (update,), scene.training(len(inside), defended=defended), artist, None
        )
        scores = SpanMatch(candidates).run(seen, Budget(), settings.seed).scores
        assert scores is not None
        elsewhere = SpanMatch(scene.public.prepared).run(seen, Budget(), settings.seed).scores
        assert elsewhere is not None
        took = np.ones(1, bool)
        values = combined_rounds(scores.numpy()[None], elsewhere.numpy()[None], took).values
        return values, np.arange(len(candidates)) < len(inside)

    return _membership(scene, BATCH, of, Limit(_until(scene, sent), hops=2), started, "one round")


def rounds_alignment(scene: Scene) -> Outcome:
    """Gradient alignment with each artist's recorded updates."""
    scene.require_trained()
    started, all_sent = time.perf_counter(), _sent_with_updates(scene)

    def of(artist: str, defended: bool) -> tuple[np.ndarray, np.ndarray]:
        sent = all_sent if defended else all_sent[:1]
        updates = tuple(_update(scene, one, artist, defended) for one in sent)
        return _aligned(scene, sent, updates, artist, defended)

    limit = Limit(_until(scene, all_sent[-1]), hops=2)
    return _membership(scene, ROUNDS, of, limit, started, f"{len(all_sent)} rounds")


def mean_alignment(scene: Scene) -> Outcome:
    """Gradient alignment with the encoder's change in each round, which all artists made together."""
    scene.require_trained()
    started = time.perf_counter()
    pairs = _changes(scene)

    def of(artist: str, defended: bool) -> tuple[np.ndarray, np.ndarray]:
        if not defended:
            sent = _sent_with_updates(scene)[:1]
            return _aligned(
                scene, sent, (scene.update_of_all(sent[0], artist, defended=False),), artist, False
            )
        return _aligned(scene, [sent for sent, _ in pairs], tuple(u for _, u in pairs), artist, True)

    limit = Limit(_until(scene, pairs[-1][0]), hops=2)
    return _membership(scene, MEAN, of, limit, started, f"{len(pairs)} rounds")


def _membership(
    scene: Scene, card: AttackCard, of: Scored, limit: Limit, started: float, budget: str
) -> Outcome:
    settings = scene.settings
    values, truth, whose = [], [], []
    for artist in scene.artists:
        scores, inside = of(artist, True)
        values.append(scores)
        truth.append(inside)
        whose += [artist] * len(scores)
    # The control needs no more artists than it takes to see that the attack can win.
    plain = [of(artist, False) for artist in scene.artists[:4]]
    control = MembershipScores.of(card.name, np.concatenate([v for v, _ in plain]))
    how = Setting(card, settings.seed, settings.confidence, time.perf_counter() - started, budget)
    return membership(
        how,
        MembershipScores.of(card.name, np.concatenate(values)),
        np.concatenate(truth),
        np.array(whose),
        scene.blind_auc,
        limit,
        (control, np.concatenate([t for _, t in plain])),
        settings.fpr,
    )


def _aligned(
    scene: Scene,
    sent: Sequence[Instruction],
    updates: Sequence[dict[str, Tensor]],
    artist: str,
    defended: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Scores of an artist's training and held-out pictures over rounds.

    A round's update is a mean of gradients, so that candidates' gradients are traced in it; round by round,
    as the anchors of the loss move with the weights.
    """
    inside, outside, public = scene.works(artist, "train"), scene.works(artist, "test"), scene.public
    styles = np.concatenate([inside.styles, outside.styles])
    pictures = scene.seen(torch.cat([inside.prepared, outside.prepared]))
    elsewhere = scene.seen(public.prepared)
    training = scene.training(1, defended=defended)
    expected = scene.config.training.expected_pictures
    scores, rest = [], []
    for one, update in zip(sent, updates, strict=True):
        encoder = scene.encoder(one)
        _, targets = scene.objective(encoder, one, artist, styles)
        _, known = scene.objective(encoder, one, artist, public.styles)
        seen = scene.observation(one, (update,), training, artist, None)
        gradients = clipped_gradients(seen, pictures, targets).numpy()
        strangers = clipped_gradients(seen, elsewhere, known).numpy()
        # Nobody says which candidates trained; where they lie together, any of them shows.
        background = strangers - strangers.mean(axis=0) + gradients.mean(axis=0)
        flat = torch.cat([update[name].flatten() for name in seen.trainable]).double().numpy()
        pictures_drawn = expected * scene.sgd.sampling_rate * training.steps
        mean = -flat / (training.learning_rate * pictures_drawn)
        variance = training.noise_std**2 * training.steps / pictures_drawn
        scores.append(traced(gradients, mean, background[::2], noise_variance=variance))
        rest.append(traced(background[1::2], mean, background[::2], noise_variance=variance))
    took = np.ones(len(scores), bool)
    values = combined_rounds(np.stack(scores), np.stack(rest), took).values
    return values, np.arange(len(pictures)) < len(inside)


def _sent_with_updates(scene: Scene) -> list[Instruction]:
    """What was sent in the rounds with training that are read."""
    if not scene.rounds:
        raise AuditError(NO_RECORD)
    sent = [r.instruction for r in scene.rounds if r.instruction.round in scene.plan.schedule.updates]
    most = scene.settings.rounds
    if most and len(sent) > most:
        # Spread over the run: early and late updates differ.
        sent = [sent[i] for i in np.unique(np.linspace(0, len(sent) - 1, most).round().astype(int))]
    return sent


def _changes(scene: Scene) -> list[tuple[Instruction, dict[str, Tensor]]]:
    """Rounds that are read, with how the encoder changed in each."""
    sent = _sent_with_updates(scene)
    everything = [r.instruction for r in scene.rounds] + [scene.last]
    after = {a.round: b for a, b in itertools.pairwise(everything)}
    names = list(scene.encoder(sent[0]).trainable_arrays())
    changes = [
        (one, {n: torch.from_numpy(after[one.round].encoder[n] - one.encoder[n]) for n in names})
        for one in sent
    ]
    changes = [(one, change) for one, change in changes if any(t.any() for t in change.values())]
    if not changes:
        raise AuditError("the encoder did not change in any round that was read")
    return changes


def _update(scene: Scene, sent: Instruction, artist: str, defended: bool) -> dict[str, Tensor]:
    """An artist's update of a round: as it came, or made anew where a defence is assumed to be missing."""
    if not defended or {"noise", "clip", "encryption"} & set(scene.settings.without):
        return scene.update_of_all(sent, artist, defended=defended)
    recorded = next(r for r in scene.rounds if r.instruction.round == sent.round)
    reply = recorded.replies.get(artist)
    if reply is None or "update" not in reply.arrays:
        raise AuditError(f"the record of round {sent.round} holds no update of artist {artist!r}")
    return {name: torch.from_numpy(np.array(array)) for name, array in reply.arrays["update"].items()}


def _attack(scene: Scene, closed: bool) -> Attack:
    if closed:
        return AnalyticInversion()
    return adaptive_inversion() if scene.noise else strong_inversion()


def _attacked(
    scene: Scene,
    sent: Instruction,
    attack: Attack,
    target: _Target,
    budget: Budget,
    defended: bool,
) -> tuple[Evidence, Evidence]:
    """The attack on a target's update, and on a foreign one."""
    works, i = target.works, target.index
    artist = works.artist if works.artist in scene.gallery.artists else scene.gallery.artists[0]
    purpose = f"one {works.artist} {i} {defended}"
    update = scene.update_of_one(
        sent, artist, works.prepared[i], int(works.styles[i]), purpose, defended=defended
    )
    encoder = scene.encoder(sent)
    _, targets = scene.objective(encoder, sent, artist, works.styles[i : i + 1])
    seen = scene.observation(sent, (update,), scene.training(1, defended=defended), artist, targets)
    evidence = attack.run(seen, budget, scene.settings.seed)
    return evidence, prior_only(attack, seen, budget, scene.settings.seed)


def _targets(scene: Scene, count: int) -> list[_Target]:
    """Training pictures of the artists in turns, each among others of all artists."""
    pool = [scene.works(artist, which) for artist in scene.artists for which in ("train", "test")]
    return _among(scene, pool[::2], pool, count, "targets")


def _control_targets(scene: Scene, count: int) -> list[_Target]:
    """Public pictures, each among the same kind of candidates."""
    public = scene.public
    return _among(scene, [public], [public], min(count, len(public)), "control")


def _among(
    scene: Scene, owners: Sequence[Works], pool: Sequence[Works], count: int, purpose: str
) -> list[_Target]:
    rng, encoder_side = scene.rng(purpose), scene.seen
    prepared = torch.cat([encoder_side(works.prepared) for works in pool])
    pictures = np.concatenate([works.pictures for works in pool])
    starts = np.cumsum([0, *(len(works) for works in pool)])
    orders = [rng.permutation(len(works)) for works in owners]
    found: list[_Target] = []
    for turn in range(max(len(order) for order in orders)):
        for works, order in zip(owners, orders, strict=True):
            if len(found) == count or turn >= len(order):
                continue
            index = int(order[turn])
            own = int(starts[next(k for k, w in enumerate(pool) if w is works)]) + index
            distinct = (prepared != prepared[own]).flatten(1).any(1).numpy()
            others = rng.permutation(np.flatnonzero(distinct))[: scene.settings.candidates - 1]
            chosen = np.r_[own, others]
            found.append(
                _Target(works, index, prepared[chosen], _as_pictures(pictures[chosen]), 0)
            )  # fmt: skip
    if len(found) < 4:
        raise AuditError(f"only {len(found)} pictures to attack")
    return found


def _rank(evidence: Evidence, target: _Target) -> int:
    """Rank of the truth among the candidates, by the evidence."""
    if evidence.pictures is not None:
        return rank_by_distance(evidence.pictures[0], target.candidates, target.number, mean_square)
    return rank_of_target(_likeness(evidence, target), target.number)


def _likeness(evidence: Evidence, target: _Target) -> Tensor:
    """Cosine of each candidate with the features; their sign is not known, so its size counts."""
    assert evidence.features is not None
    unit = torch.nn.functional.normalize(target.candidates.double(), dim=1)
    return (unit @ torch.nn.functional.normalize(evidence.features[0].double(), dim=0)).abs()


def _guessed_style(scene: Scene, sent: Instruction, target: _Target, defended: bool) -> int:
    """The style whose prototype lies nearest to the features that the update gives away.

    Their sign follows from where the update pushes them: toward the artist's own card.
    """
    works, i = target.works, target.index
    encoder = scene.encoder(sent)
    purpose = f"style {works.artist} {i} {defended}"
    update = scene.update_of_one(
        sent, works.artist, works.prepared[i], int(works.styles[i]), purpose, defended=defended
    )
    seen = scene.observation(sent, (update,), scene.training(1, defended=defended), works.artist, None)
    features = AnalyticInversion().run(seen, Budget(), scene.settings.seed).features
    assert features is not None
    if works.artist in sent.card_artists:
        toward = encoder.place(sent.cards)[sent.card_artists.index(works.artist)]
        features = features * (1.0 if float(toward @ update["head.weight"] @ features[0]) >= 0 else -1.0)
    return int((torch.from_numpy(sent.styles.prototypes) @ features[0]).argmax())


def _pictures(evidence: Evidence) -> Tensor:
    assert evidence.pictures is not None
    return evidence.pictures[:1]


def _as_pictures(pictures: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))).float() / 255


def _panel(
    scene: Scene, targets: Sequence[_Target], found: Sequence[tuple[Evidence, Evidence]], closed: bool
) -> Panel:
    """The first six targets: what was there, what the attack shows, what one has without looking."""
    shown = list(zip(targets, found, strict=True))[:6]
    if closed:
        truths = torch.cat([t.pictures[t.number][None] for t, _ in shown])
        columns = {
            "picked by the attack": _picked([(t, e) for t, (e, _) in shown]),
            "picked without looking": _picked([(t, p) for t, (_, p) in shown]),
        }
    else:
        truths = torch.cat([t.candidates[t.number][None] for t, _ in shown])
        columns = {
            "attack": torch.cat([_pictures(e) for _, (e, _) in shown]),
            "without looking": torch.cat([_pictures(p) for _, (_, p) in shown]),
        }
    public = _as_pictures(scene.public.pictures) if closed else scene.seen(scene.public.prepared)
    columns["nearest public picture"] = torch.cat([nearest_public(t[None], public) for t in truths])
    what = "which candidate it picks" if closed else "what it rebuilds"
    title = f"{ONE.name}, batch of one: {what}"
    return Panel(truths, columns, title, tuple(t.works.artist for t, _ in shown), picked=closed)


def _picked(pairs: Sequence[tuple[_Target, Evidence]]) -> Tensor:
    """The candidate that each evidence is most like."""
    return torch.stack([target.pictures[_likeness(e, target).argmax()] for target, e in pairs])


def _one_step(plan: DpSgd) -> list[Event]:
    """What the update of a batch of one costs that picture: it was surely drawn."""
    noise = plan.noise_multiplier if np.isfinite(plan.clip_norm) and plan.clip_norm < 1e6 else 0.0
    return [SampledGaussian(noise, 1.0, plan.steps)]


def _until(scene: Scene, last: Instruction) -> list[Event]:
    """What everything up to a round costs a picture.

    An update holds more than its own noise covers: it was made at weights, and toward anchors, that earlier
    releases of the same picture went into.
    """
    schedule, plan = scene.plan.schedule, scene.plan
    if not (scene.noise and scene.clip):
        return [SampledGaussian(0.0)]
    if plan.shared is not None:
        event = plan.shared.event("artwork")
        return [SampledGaussian(0.0) if event is None else event] * _so_far(schedule.sums, last)
    events = [
        (plan.sgd.event("artwork"), schedule.updates),
        (plan.card.event("artwork"), schedule.cards),
        (plan.prototypes.event("artwork"), schedule.prototypes),
        (plan.metrics.event("artwork"), schedule.metrics),
    ]
    return [event for event, rounds in events if event is not None for _ in range(_so_far(rounds, last))]


def _so_far(rounds: frozenset[int], last: Instruction) -> int:
    return sum(number <= last.round for number in rounds)
