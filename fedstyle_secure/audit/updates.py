"""Attacks on updates: what one artist's answer, or the encoder before and after, says of pictures."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from attacks.baselines import nearest_public, prior_only
from attacks.evaluation import reconstruction
from attacks.identification import rank_by_distance, rank_of_target
from attacks.inversion.analytic import AnalyticInversion, SpanMatch
from attacks.inversion.optimisation import adaptive_inversion
from attacks.inversion.race import strong_inversion
from attacks.membership.federated import combined_rounds
from attacks.membership.tracing import traced
from attacks.metrics import mean_square
from attacks.references import Cited
from attacks.results import Attack, Budget, Evidence, Truth
from fedstyle_secure.audit.findings import IDENTIFICATION, MEMBERSHIP, NO_RECORD
from fedstyle_secure.audit.limits import Limit
from fedstyle_secure.audit.measures import (
    AttackCard,
    Outcome,
    Panel,
    Setting,
    identification,
    membership,
)
from fedstyle_secure.audit.replay import (
    flat,
    mean_update,
    recorded_update,
    require_mean_remade,
    require_one_remade,
    require_remade,
    took_part,
)
from fedstyle_secure.audit.scene import Scene
from fedstyle_secure.audit.targets import (
    Target,
    as_pictures,
    batches_of_one,
    control_targets,
    cost_of_one,
    targets_of,
)
from fedstyle_secure.errors import AuditError
from fedstyle_secure.privacy.dp_sgd import picture_gradients
from fedstyle_secure.privacy.kinds import UPDATE
from fedstyle_secure.server_optimizer import mean_told
from fedstyle_secure.system import State, tensors

ONE = AttackCard(
    "update_one", "Inversion of an update",
    "Works back from the update of a step whose batch happened to hold one picture to that picture. Such "
    "updates are made anew with the run's own weights, clip and noise, as a run draws few.",
    "reconstruction", "L4", "artwork", IDENTIFICATION,
    (
        Cited("phong2017", "a linear layer's input from the update of its weight and bias"),
        Cited("geiping2020", "the same; by descent, gradients compared by their cosine", "prop. 3.1, eq. 4"),
    ),
)  # fmt: skip
BATCH = AttackCard(
    "update_batch", "Row-space match of an update",
    "Looks for pictures whose features lie in the space that an update's rows span.",
    "membership inference", "L1", "artwork", MEMBERSHIP,
    (Cited("geiping2020", "an update's rows lie in the span of what the layer saw", "prop. 3.1"),),
)  # fmt: skip
_ALIGNMENT = (
    Cited("nasr2019", "an update that points where a record pushes shows that it trained"),
    Cited("zari2021", "passively, from the updates of all rounds"),
)
ROUNDS = AttackCard(
    "update_rounds", "Gradient alignment over rounds",
    "Compares each round's update with the gradient that a candidate picture would have given.",
    "membership inference", "L1", "artwork", MEMBERSHIP, _ALIGNMENT,
)  # fmt: skip
MEAN = AttackCard(
    "mean_rounds", "Gradient alignment with the model's changes",
    "Compares what each round changed of the model with the gradient that a candidate picture would have "
    "given.",
    "membership inference", "L1", "artwork", MEMBERSHIP, _ALIGNMENT,
)  # fmt: skip


Scored = tuple[np.ndarray, np.ndarray]
"""Scores of an artist's pictures, and which of them trained."""


def update_of_one(scene: Scene) -> Outcome:
    """Inversion of the update of a batch of one, and identification among candidates.

    Features come back in closed form where a linear layer that sees them trains. Where less of it does, the
    candidate is picked whose gradient lies nearest; where the encoder does, pictures come by optimisation.
    With noise the attack knows clip and noise.
    """
    scene.require_own_noise()
    if not scene.system.plain:
        raise AuditError(
            "what trains sees more than the picture, so an input that is found is no picture, and what is "
            "beside it hangs on the picture: who lacks one lacks the other"
        )
    started, sent, settings = time.perf_counter(), scene.first, scene.settings
    require_one_remade(scene, sent)
    closed = not scene.images
    count = settings.targets if closed else settings.pictures
    budget = Budget(1) if closed else Budget(settings.steps, settings.restarts)
    targets = targets_of(scene, count)
    attack = _attack(scene, closed)
    found = [_attacked(scene, sent, attack, target, budget, True) for target in targets]
    ranks = np.array([_rank(e, t) for (e, _), t in zip(found, targets, strict=True)])
    prior_ranks = np.array([_rank(p, t) for (_, p), t in zip(found, targets, strict=True)])
    # An undefended run is its own control; pictures of the public set stand in where it is defended.
    control = ranks
    if scene.noise or scene.clip:
        known = control_targets(scene, count if closed else min(count, 4))
        control = np.array([_rank(_attacked(scene, sent, attack, t, budget, False)[0], t) for t in known])
    words = "closed form" if closed else f"{budget.steps} steps, {budget.restarts} restarts"
    shows = "picks among candidates and draws no picture" if closed else "draws pictures"
    note = f"{batches_of_one(scene)}; the attack {shows}"
    how = Setting(ONE, settings.seed, settings.confidence, time.perf_counter() - started, words, note)
    limit = Limit(cost_of_one(scene, sent))
    finding = identification(how, ranks, prior_ranks, len(targets[0].candidates), limit, control)
    details = dict(finding.details)
    if not closed:
        truths = torch.cat([t.candidates[t.number][None] for t in targets])
        rebuilt = torch.cat([_pictures(e) for e, _ in found])
        quality = reconstruction(Evidence(attack.name, 0.0, True, pictures=rebuilt), Truth(truths))
        details |= {f"{quality.metric}": quality.value, "constant colour PSNR": quality.baseline or 0.0}
    converged = float(np.mean([e.converged for e, _ in found]))
    finding = replace(finding, details=details | {"converged": converged})
    return Outcome((finding,), panel=_panel(scene, targets, found, closed))


def batch_match(scene: Scene) -> Outcome:
    """Row-space match of the first recorded update of each artist."""
    scene.require_trained()
    if not scene.sees_features:
        raise AuditError("reads the space that the update of a whole linear head spans; another part trains")
    started, settings = time.perf_counter(), scene.settings
    read = _Read.of(scene, _sent_with_updates(scene), most=1)

    def of(artist: str, defended: bool) -> Scored:
        inside, outside = scene.tried(artist, "train"), scene.tried(artist, "test")
        candidates = torch.cat([inside.inputs, outside.inputs])
        sent = read.rounds[artist][0]
        update = read.update(sent, artist) if defended else scene.update_of_all(sent, artist, defended=False)
        training = scene.training(len(inside), defended=defended)
        seen = scene.observation(sent, (update,), training, None)

        def match(views: Tensor) -> np.ndarray:
            # A picture is in the span as far as its views are.
            found = SpanMatch(views.flatten(0, 1)).run(seen, Budget(), settings.seed).scores
            assert found is not None
            shares: np.ndarray = found.numpy().reshape(views.shape[:2]).mean(axis=1)
            return shares

        took = np.ones(1, bool)
        values = combined_rounds(match(candidates)[None], match(scene.public.inputs)[None], took).values
        return values, scene.members(artist)

    limit = Limit(scene.costs(last=read.last.round), hops=2)
    return _membership(scene, BATCH, of, read.artists, limit, started, "one round", read.note)


def rounds_alignment(scene: Scene) -> Outcome:
    """Gradient alignment with each artist's recorded updates, of the rounds in which it answered."""
    scene.require_trained()
    started, all_sent = time.perf_counter(), _sent_with_updates(scene)
    read = _Read.of(scene, all_sent)

    def of(artist: str, defended: bool) -> Scored:
        if defended:
            sent = read.rounds[artist]
            return _aligned(scene, sent, [read.update(one, artist) for one in sent], artist, True)
        sent = read.rounds[artist][:1]
        return _aligned(scene, sent, [scene.update_of_all(sent[0], artist, defended=False)], artist, False)

    limit = Limit(scene.costs(last=read.last.round), hops=2)
    return _membership(scene, ROUNDS, of, read.artists, limit, started, f"{len(all_sent)} rounds", read.note)


def mean_alignment(scene: Scene) -> Outcome:
    """Gradient alignment with the encoder's change in each round, which all artists made together."""
    scene.require_trained()
    started = time.perf_counter()
    if missing := {"noise", "clip"} & set(scene.settings.without):
        raise AuditError(
            f"needs the run trained anew without {' and '.join(sorted(missing))}: recorded encoders hold it"
        )
    pairs = _changes(scene)
    took = took_part(scene)
    rounds = {a: [(s, u) for s, u in pairs if a in took[s.round]] for a in scene.artists}
    artists = tuple(artist for artist, held in rounds.items() if held)
    note = _read_note({a: [s for s, _ in held] for a, held in rounds.items()}, len(pairs))
    note += f"; {require_mean_remade(scene, *pairs[0])}"
    # Means over everybody, as in the run; one round shows whether the attack can win where each takes long.
    plain = {
        sent.round: mean_update(
            [scene.update_of_all(sent, artist, defended=False) for artist in sorted(took[sent.round])]
        )
        for sent, _ in (pairs[:1] if scene.system.dear else pairs)
    }

    def of(artist: str, defended: bool) -> Scored:
        read = [(sent, u) for sent, u in rounds[artist] if defended or sent.round in plain]
        if not read:
            raise AuditError(f"artist {artist!r} was not in the round that shows whether the attack can win")
        changes = [change if defended else plain[sent.round] for sent, change in read]
        return _aligned(scene, [sent for sent, _ in read], changes, artist, defended)

    limit = Limit(scene.costs(last=pairs[-1][0].round, summed=True), hops=2)
    return _membership(scene, MEAN, of, artists, limit, started, f"{len(pairs)} rounds", note)


def _membership(
    scene: Scene,
    card: AttackCard,
    of: Callable[[str, bool], Scored],
    artists: Sequence[str],
    limit: Limit,
    started: float,
    budget: str,
    note: str,
) -> Outcome:
    settings = scene.settings
    values, truth, whose = [], [], []
    for artist in artists:
        scores, inside = of(artist, True)
        values.append(scores)
        truth.append(inside)
        whose += [artist] * len(scores)
    # The control needs no more artists than it takes to see that the attack can win.
    plain = [of(artist, False) for artist in artists[:4]]
    control = card.scores([v for v, _ in plain])
    how = Setting(card, settings.seed, settings.confidence, time.perf_counter() - started, budget, note)
    return membership(
        how,
        card.scores(values),
        np.concatenate(truth),
        np.array(whose),
        scene.blind,
        limit,
        (control, np.concatenate([t for _, t in plain])),
        settings.fpr,
    )


def _aligned(
    scene: Scene,
    sent: Sequence[State],
    updates: Sequence[dict[str, Tensor]],
    artist: str,
    defended: bool,
) -> Scored:
    """Scores of an artist's training and held-out pictures over rounds.

    A round's update is a mean of gradients, so that candidates' gradients are traced in it; round by round,
    as the anchors of the loss move with the weights.
    """
    inside, outside = scene.tried(artist, "train"), scene.tried(artist, "test")
    training = scene.training(1, defended=defended)
    rate = scene.sgd.sampling_rate if defended else 1.0
    pictures_drawn = scene.config.training.expected_pictures * rate * training.steps
    variance = training.noise_std**2 * training.steps / pictures_drawn
    scores, rest = [], []
    for one, update in zip(sent, updates, strict=True):
        gradients = np.concatenate(
            [scene.gradients(one, artist, works, defended=defended) for works in (inside, outside)]
        )
        strangers = scene.strangers(one, artist, defended=defended)
        # Nobody says which candidates trained; where they lie together, any of them shows.
        background = strangers - strangers.mean(axis=0) + gradients.mean(axis=0)
        mean = -flat(scene, update) / (training.learning_rate * pictures_drawn)
        scores.append(traced(gradients, mean, background[::2], noise_variance=variance))
        rest.append(traced(background[1::2], mean, background[::2], noise_variance=variance))
    values = combined_rounds(np.stack(scores), np.stack(rest), np.ones(len(scores), bool)).values
    return values, scene.members(artist)


@dataclass(frozen=True, eq=False)
class _Read:
    """What of the record is read.

    Attributes:
        scene: The run.
        rounds: What was sent in each round whose update is read, by artist; no artist without one.
        note: How much that is, and how far the updates could be remade from the truth.
    """

    scene: Scene
    rounds: Mapping[str, Sequence[State]]
    note: str

    @classmethod
    def of(cls, scene: Scene, sent: Sequence[State], most: int | None = None) -> Self:
        """The rounds in which each artist answered, at most `most` of them.

        Raises:
            AuditError: Nobody's update was recorded, or one cannot be remade.
        """
        answered = {a: [one for one in sent if _answered(scene, one, a)][:most] for a in scene.artists}
        rounds = {artist: held for artist, held in answered.items() if held}
        if not rounds:
            raise AuditError("the record holds no update of the artists and rounds that are read")
        notes = [_read_note(answered, len(sent) if most is None else min(most, len(sent)))]
        notes += sorted({require_remade(scene, one, a) for a in rounds for one in rounds[a]})
        return cls(scene, rounds, "; ".join(notes))

    @property
    def artists(self) -> tuple[str, ...]:
        return tuple(self.rounds)

    @property
    def last(self) -> State:
        """The latest instruction that is read for anybody."""
        return max((one for sent in self.rounds.values() for one in sent), key=lambda one: one.round)

    def update(self, sent: State, artist: str) -> dict[str, Tensor]:
        """An artist's update: as it came, or made anew where a defence is assumed to be missing."""
        found = recorded_update(self.scene, sent, artist)
        return self.scene.update_of_all(sent, artist, defended=True) if found is None else found


def _answered(scene: Scene, sent: State, artist: str) -> bool:
    """Whether there is an update of an artist to read, or one that can stand in for it."""
    if recorded_update(scene, sent, artist) is not None:
        return True
    missing = {"noise", "clip", "encryption"} & set(scene.settings.without)
    return bool(missing) and artist in took_part(scene)[sent.round]


def _read_note(rounds: Mapping[str, Sequence[State]], most: int) -> str:
    updates, artists = sum(map(len, rounds.values())), sum(bool(held) for held in rounds.values())
    text = f"read {updates} updates of {artists} of {len(rounds)} artists"
    missing = most * len(rounds) - updates
    return text + (f", and {missing} did not come" if missing else "")


def _sent_with_updates(scene: Scene) -> list[State]:
    """What was sent in the rounds with training that are read."""
    if not scene.rounds:
        raise AuditError(NO_RECORD)
    sent = [r.sent for r in scene.rounds if r.sent.round in scene.plan.rounds_of(UPDATE)]
    most = scene.settings.rounds
    if most and len(sent) > most:
        # Spread over the run: early and late updates differ.
        sent = [sent[i] for i in np.unique(np.linspace(0, len(sent) - 1, most).round().astype(int))]
    return sent


def _changes(scene: Scene) -> list[tuple[State, dict[str, Tensor]]]:
    """Rounds that are read, with how the encoder changed in each."""
    sent = _sent_with_updates(scene)
    everything = [r.sent for r in scene.rounds] + [scene.last]
    after = {a.round: b for a, b in itertools.pairwise(everything)}
    changes = [(one, _told(scene, one, after[one.round])) for one in sent]
    changes = [(one, change) for one, change in changes if any(t.any() for t in change.values())]
    if not changes:
        raise AuditError("the encoder did not change in any round that was read")
    return changes


def _told(scene: Scene, before: State, after: State) -> dict[str, Tensor]:
    """The mean update that a round's change of the encoder was made of: as the platform's optimiser wrote it
    down, else the change at that mean's length: noisy ones are shortened, and beside a short one nothing but
    what all pictures have in common would be seen."""
    if (told := mean_told(before, after)) is not None:
        return tensors(told)
    kept = {line["round"]: line["update_kept"] for line in scene.run.metrics()}[before.round] or 1.0
    return {n: torch.from_numpy((after.trained[n] - array) / kept) for n, array in before.trained.items()}


def _attack(scene: Scene, closed: bool) -> Attack:
    if closed:
        return AnalyticInversion()
    return adaptive_inversion() if scene.noise else strong_inversion()


def _attacked(
    scene: Scene,
    sent: State,
    attack: Attack,
    target: Target,
    budget: Budget,
    defended: bool,
) -> tuple[Evidence, Evidence]:
    """The attack on a target's update, and on a foreign one, or on none."""
    works, i = target.works, target.index
    artist = works.artist if works.artist in scene.gallery.artists else scene.gallery.artists[0]
    purpose = f"one {works.artist} {i} {defended}"
    update = scene.update_of_one(sent, artist, works, i, purpose, defended=defended)
    targets = scene.records(sent, works.only(i), artist).targets
    if not (scene.images or scene.sees_features):
        none = {name: torch.zeros_like(tensor) for name, tensor in update.items()}
        evidence, blind = (_nearest(scene, sent, target, targets, u, defended) for u in (update, none))
        return evidence, blind
    training = scene.training(1, defended=defended)
    if scene.noise and not defended and attack.name == adaptive_inversion().name:
        # It weighs pictures by the noise, so that it must be told some: a hundredth of what it sees.
        size = float(flat(scene, update).std()) / (training.learning_rate * math.sqrt(training.steps))
        training = replace(training, noise_std=size / 100)
    seen = scene.observation(sent, (update,), training, targets)
    evidence = attack.run(seen, budget, scene.settings.seed)
    return evidence, prior_only(attack, seen, budget, scene.settings.seed)


def _nearest(
    scene: Scene,
    sent: State,
    target: Target,
    targets: Tensor,
    update: Mapping[str, Tensor],
    defended: bool,
) -> Evidence:
    """The candidate whose gradient lies nearest to an update: what nobody can beat who knows all candidates,
    as the noise is Gaussian."""
    sgd = scene.sgd if defended else replace(scene.sgd, clip_norm=math.inf, noise_multiplier=0.0)
    model = scene.model(sent)
    model.train()
    wanted = targets[:1].expand(len(target.candidates), *targets.shape[1:]).contiguous()
    loss = scene.system.loss(model, sent)
    gradients = picture_gradients(model, loss, target.candidates, wanted, sgd.clip_norm).numpy()
    seen = -flat(scene, update) * sgd.expected_batch_size / (scene.config.learning_rate * sgd.steps)
    apart = np.linalg.norm(gradients - seen, axis=1)
    picked = target.candidates[int(apart.argmin())]
    return Evidence("nearest gradient", float(apart.min()), True, features=picked[:1])


def _rank(evidence: Evidence, target: Target) -> int:
    """Rank of the truth among the candidates, by the evidence."""
    if evidence.pictures is not None:
        return rank_by_distance(evidence.pictures[0], target.candidates, target.number, mean_square)
    return rank_of_target(_likeness(evidence, target), target.number)


def _likeness(evidence: Evidence, target: Target) -> Tensor:
    """How far the features lie in the span of each candidate's views: with one view, their cosine's size, as
    the sign is not known."""
    assert evidence.features is not None
    span = torch.linalg.qr(target.candidates.double().transpose(1, 2))[0]
    features = torch.nn.functional.normalize(evidence.features[0].double(), dim=0)
    likeness: Tensor = (span.transpose(1, 2) @ features).norm(dim=1)
    return likeness


def _pictures(evidence: Evidence) -> Tensor:
    assert evidence.pictures is not None
    return evidence.pictures[:1]


def _panel(
    scene: Scene, targets: Sequence[Target], found: Sequence[tuple[Evidence, Evidence]], closed: bool
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
    public = as_pictures(scene.public.pictures) if closed else scene.seen(scene.public.prepared)
    columns["nearest public picture"] = torch.cat([nearest_public(t[None], public) for t in truths])
    what = "which candidate it picks" if closed else "what it rebuilds"
    title = f"{ONE.name}, batch of one: {what}"
    return Panel(truths, columns, title, tuple(t.works.artist for t, _ in shown), picked=closed)


def _picked(pairs: Sequence[tuple[Target, Evidence]]) -> Tensor:
    """The candidate that each evidence is most like."""
    return torch.stack([target.pictures[_likeness(e, target).argmax()] for target, e in pairs])
