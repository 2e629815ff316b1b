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
from attacks.intervals import clopper_pearson
from attacks.inversion.analytic import AnalyticInversion, SpanMatch
from attacks.inversion.optimisation import adaptive_inversion, strong_inversion
from attacks.membership.federated import combined_rounds
from attacks.membership.tracing import traced
from attacks.metrics import mean_square
from attacks.results import Attack, Budget, Evidence, Truth
from fedstyle_secure.audit.findings import IDENTIFICATION, MEMBERSHIP, NO_RECORD
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

ONE = AttackCard(
    "update_one", "Inversion of an update",
    "Works back from the update of a step whose batch happened to hold one picture to that picture. Such "
    "updates are made anew with the run's own weights, clip and noise, as a run draws few.",
    "reconstruction", "L4", "artwork", IDENTIFICATION,
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
    "membership inference", "L1", "artwork", MEMBERSHIP,
)  # fmt: skip
ROUNDS = AttackCard(
    "update_rounds", "Gradient alignment over rounds",
    "Compares each round's update with the gradient that a candidate picture would have given.",
    "membership inference", "L1", "artwork", MEMBERSHIP,
)  # fmt: skip
MEAN = AttackCard(
    "mean_rounds", "Gradient alignment with the encoder's changes",
    "The same with nothing but the encoder before and after each round.",
    "membership inference", "L1", "artwork", MEMBERSHIP,
)  # fmt: skip


Scored = tuple[np.ndarray, np.ndarray]
"""Scores of an artist's pictures, and which of them trained."""

_SAME = 0.05
"""Share of an update that another machine's order of summation may change."""

_SIGMAS = 6.0


@dataclass(frozen=True, eq=False)
class _Target:
    """One picture that is attacked, with what it is sought among.

    Attributes:
        works: What it is one of.
        index: Which.
        candidates: What it is sought among: every view of features (c, views, d), or pictures (c, 3, h, w).
        pictures: The candidates to look at, (c, 3, h, w) in [0, 1].
        number: Which candidate it is.
    """

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
    _require_one_remade(scene, sent)
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
        known = _control_targets(scene, count if closed else min(count, 4))
        control = np.array([_rank(_attacked(scene, sent, attack, t, budget, False)[0], t) for t in known])
    words = "closed form" if closed else f"{budget.steps} steps, {budget.restarts} restarts"
    shows = "picks among candidates and draws no picture" if closed else "draws pictures"
    note = f"{_batches_of_one(scene)}; the attack {shows}"
    how = Setting(ONE, settings.seed, settings.confidence, time.perf_counter() - started, words, note)
    limit = Limit(_one_release(scene, sent))
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


def style_of_one(scene: Scene) -> Outcome:
    """The style of a batch's one picture, from the features that the update gives away."""
    scene.require_own_noise()
    if scene.images:
        raise AuditError("reads the features that a linear head gives away; this run trains the encoder too")
    started, sent, settings = time.perf_counter(), scene.first, scene.settings
    _require_one_remade(scene, sent)
    targets = _targets(scene, settings.targets)
    k = len(sent.styles.names)

    truths = np.array([target.works.styles[target.index] for target in targets])

    def right(defended: bool) -> np.ndarray:
        hits: np.ndarray = np.array([_guessed_style(scene, sent, t, t, defended) for t in targets]) == truths
        return hits

    hits = right(True)
    control = right(False) if scene.noise or scene.clip else hits
    # Without looking: the style that is most common in public, or the same attack on other people's updates.
    commonest = float(np.mean(truths == np.bincount(scene.public.styles, minlength=k).argmax()))
    blind = _guessed_blindly(scene, sent, targets) == truths
    baseline = max(commonest, 1 / k)
    if np.mean(blind) > baseline:
        # Its share is an estimate, too, and must not be too low.
        baseline = clopper_pearson(int(blind.sum()), len(blind), settings.confidence)[1]
    seconds, note = time.perf_counter() - started, _batches_of_one(scene)
    how = Setting(STYLE, settings.seed, settings.confidence, seconds, "closed form", note)
    limit = Limit(_one_release(scene, sent)).success(baseline)
    finding = guessing(how, hits, baseline, limit, control)
    details = {"commonest style": commonest, "prior only": float(np.mean(blind))}
    return Outcome((replace(finding, details={**finding.details, **details}),))


def batch_match(scene: Scene) -> Outcome:
    """Row-space match of the first recorded update of each artist."""
    scene.require_trained()
    if scene.images:
        raise AuditError("reads the space that a linear head's update spans; this run trains the encoder too")
    started, settings = time.perf_counter(), scene.settings
    read = _Read.of(scene, _sent_with_updates(scene), most=1)

    def of(artist: str, defended: bool) -> Scored:
        inside, outside = scene.works(artist, "train"), scene.works(artist, "test")
        candidates = torch.cat([scene.views(inside), scene.views(outside)])
        sent = read.rounds[artist][0]
        update = read.update(sent, artist) if defended else scene.update_of_all(sent, artist, defended=False)
        training = scene.training(len(inside), defended=defended)
        seen = scene.observation(sent, (update,), training, artist, None)

        def match(views: Tensor) -> np.ndarray:
            # A picture is in the span as far as its views are.
            found = SpanMatch(views.flatten(0, 1)).run(seen, Budget(), settings.seed).scores
            assert found is not None
            shares: np.ndarray = found.numpy().reshape(views.shape[:2]).mean(axis=1)
            return shares

        took = np.ones(1, bool)
        values = combined_rounds(match(candidates)[None], match(scene.views(scene.public))[None], took).values
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
    took = _took_part(scene)
    rounds = {a: [(s, u) for s, u in pairs if a in took[s.round]] for a in scene.artists}
    artists = tuple(artist for artist, held in rounds.items() if held)
    note = _read_note({a: [s for s, _ in held] for a, held in rounds.items()}, len(pairs))
    note += f"; {_require_mean_remade(scene, *pairs[0])}"
    # Means over everybody, as in the run.
    plain = {
        sent.round: _mean(
            [scene.update_of_all(sent, artist, defended=False) for artist in sorted(took[sent.round])]
        )
        for sent, _ in pairs
    }

    def of(artist: str, defended: bool) -> Scored:
        changes = [change if defended else plain[sent.round] for sent, change in rounds[artist]]
        return _aligned(scene, [sent for sent, _ in rounds[artist]], changes, artist, defended)

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
    sent: Sequence[Instruction],
    updates: Sequence[dict[str, Tensor]],
    artist: str,
    defended: bool,
) -> Scored:
    """Scores of an artist's training and held-out pictures over rounds.

    A round's update is a mean of gradients, so that candidates' gradients are traced in it; round by round,
    as the anchors of the loss move with the weights.
    """
    inside, outside = scene.works(artist, "train"), scene.works(artist, "test")
    training = scene.training(1, defended=defended)
    rate = scene.sgd.sampling_rate if defended else 1.0
    pictures_drawn = scene.config.training.expected_pictures * rate * training.steps
    variance = training.noise_std**2 * training.steps / pictures_drawn
    scores, rest = [], []
    for one, update in zip(sent, updates, strict=True):
        gradients = np.concatenate(
            [scene.gradients(one, artist, works, defended=defended) for works in (inside, outside)]
        )
        strangers = scene.gradients(one, artist, scene.public, defended=defended)
        # Nobody says which candidates trained; where they lie together, any of them shows.
        background = strangers - strangers.mean(axis=0) + gradients.mean(axis=0)
        mean = -_flat(scene, update) / (training.learning_rate * pictures_drawn)
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
    rounds: Mapping[str, Sequence[Instruction]]
    note: str

    @classmethod
    def of(cls, scene: Scene, sent: Sequence[Instruction], most: int | None = None) -> Self:
        """The rounds in which each artist answered, at most `most` of them.

        Raises:
            AuditError: Nobody's update was recorded, or one cannot be remade.
        """
        answered = {a: [one for one in sent if _answered(scene, one, a)][:most] for a in scene.artists}
        rounds = {artist: held for artist, held in answered.items() if held}
        if not rounds:
            raise AuditError("the record holds no update of the artists and rounds that are read")
        notes = [_read_note(answered, len(sent) if most is None else min(most, len(sent)))]
        notes += sorted({_require_remade(scene, one, a) for a in rounds for one in rounds[a]})
        return cls(scene, rounds, "; ".join(notes))

    @property
    def artists(self) -> tuple[str, ...]:
        return tuple(self.rounds)

    @property
    def last(self) -> Instruction:
        """The latest instruction that is read for anybody."""
        return max((one for sent in self.rounds.values() for one in sent), key=lambda one: one.round)

    def update(self, sent: Instruction, artist: str) -> dict[str, Tensor]:
        """An artist's update: as it came, or made anew where a defence is assumed to be missing."""
        found = _recorded(self.scene, sent, artist)
        return self.scene.update_of_all(sent, artist, defended=True) if found is None else found


def _recorded(scene: Scene, sent: Instruction, artist: str) -> dict[str, Tensor] | None:
    """An artist's update as it came; None where it is not what would come without what is assumed missing."""
    if {"noise", "clip"} & set(scene.settings.without):
        return None
    here = (
        r.replies[artist].arrays
        for r in scene.rounds
        if r.instruction.round == sent.round and artist in r.replies
    )
    arrays = next(here, {}).get("update")
    return None if arrays is None else {name: torch.from_numpy(np.array(a)) for name, a in arrays.items()}


def _answered(scene: Scene, sent: Instruction, artist: str) -> bool:
    """Whether there is an update of an artist to read, or one that can stand in for it."""
    if _recorded(scene, sent, artist) is not None:
        return True
    missing = {"noise", "clip", "encryption"} & set(scene.settings.without)
    return bool(missing) and artist in _took_part(scene)[sent.round]


def _took_part(scene: Scene) -> dict[int, frozenset[str]]:
    """By round: whose update it holds, by the run's metrics, without canary artists."""
    real = frozenset(scene.gallery.artists)
    return {line["round"]: real & frozenset(line["released_by"]) for line in scene.run.metrics()}


def _read_note(rounds: Mapping[str, Sequence[Instruction]], most: int) -> str:
    updates, artists = sum(map(len, rounds.values())), sum(bool(held) for held in rounds.values())
    text = f"read {updates} updates of {artists} of {len(rounds)} artists"
    missing = most * len(rounds) - updates
    return text + (f", and {missing} did not come" if missing else "")


def _require_remade(scene: Scene, sent: Instruction, artist: str) -> str:
    """Check that a recorded update is what the artist's pictures give, as far as noise lets anybody see.

    An attack on an update that the auditor misunderstands finds nothing, and would be taken for a defence.

    Returns:
        How far it is.

    Raises:
        AuditError: It is not.
    """
    update = _recorded(scene, sent, artist)
    if update is None:
        return "updates were made anew, as they would come without what is assumed to be missing"
    made, pictures = _flat(scene, scene.remade(sent, artist)), len(scene.works(artist, "train"))
    fits = _Fit.of(scene, _flat(scene, update), made, pictures, 1, _rounding(scene, sent))
    if not fits.good:
        raise AuditError(
            f"the update of artist {artist!r} in round {sent.round} is not what its pictures give when its "
            f"training is done again ({fits.reason}), so that an attack on it would show nothing"
        )
    return "remade from the truth, each as exactly as its noise allows" if fits.noisy else "remade exactly"


def _require_one_remade(scene: Scene, sent: Instruction) -> None:
    """The same for one update of a round, where one was recorded: updates made anew are like it."""
    artist = next((a for a in scene.artists if _recorded(scene, sent, a) is not None), None)
    if artist is not None:
        _require_remade(scene, sent, artist)


def _require_mean_remade(scene: Scene, sent: Instruction, change: Mapping[str, Tensor]) -> str:
    """The same for the encoder's change in a round."""
    if scene.plan.shared is not None or scene.config.training.realign_steps:
        return "not remade: more than artists' updates moved the encoder"
    line = next(line for line in scene.run.metrics() if line["round"] == sent.round)
    took, kept = sorted(_took_part(scene)[sent.round]), line["update_kept"]
    made = _flat(scene, _mean([scene.remade(sent, artist) for artist in took]))
    pictures = sum(len(scene.works(artist, "train")) for artist in took)
    rounding = _rounding(scene, sent) / kept
    fits = _Fit.of(scene, _flat(scene, change) / kept, made, pictures, len(took), rounding)
    if not fits.good:
        raise AuditError(
            f"the encoder's change in round {sent.round} is not what artists' pictures give when their "
            f"training is done again ({fits.reason}), so that an attack on it would show nothing"
        )
    return "the first change was remade from the truth" + (
        " as exactly as its noise allows" if fits.noisy else ""
    )


@dataclass(frozen=True)
class _Fit:
    """How well what was recorded fits what was remade.

    Attributes:
        good: Whether it does.
        noisy: Whether noise hides part of it.
        reason: In figures.
    """

    good: bool
    noisy: bool
    reason: str

    @classmethod
    def of(
        cls, scene: Scene, found: np.ndarray, made: np.ndarray, pictures: int, artists: int, rounding: float
    ) -> Self:
        """Compare a mean of updates.

        Without noise they differ by rounding only. With noise, the difference must have the noise's length,
        and what is found must reach as far along what was made, each within six deviations: of the noise, of
        the sampling, and of how far gradients can turn over several steps. False alarms: under 1e-8 each.

        Args:
            scene: The run.
            found: Recorded (p,).
            made: Remade (p,), without noise.
            pictures: That went into it.
            artists: How many updates it is the mean of.
            rounding: Length that is lost to rounding.
        """
        plan = scene.plan.sgd
        length = float(np.linalg.norm(made))
        apart = float(np.linalg.norm(found - made))
        if plan.noise_multiplier == 0:
            share = apart / max(length, 1e-30)
            return cls(
                apart <= _SAME * length + rounding, False, f"{share:.0%} of its length is something else"
            )
        rate = scene.config.training.learning_rate
        one = rate / plan.expected_batch_size * plan.clip_norm / artists
        noise = plan.update_deviation(rate) / math.sqrt(artists)
        q, pictures = plan.sampling_rate, pictures + scene.config.audit.canaries
        sampled = one * math.sqrt(plan.steps * q * (1 - q) * pictures)
        turned = 2 * one * q * pictures * (plan.steps - 1) + rounding
        spread = _SIGMAS * math.sqrt(2 / len(made))
        low = noise * math.sqrt(len(made) * max(0.0, 1 - spread)) - _SIGMAS * sampled - turned
        high = noise * math.sqrt(len(made) * (1 + spread)) + _SIGMAS * sampled + turned
        along = float(found @ made) / max(length, 1e-30)
        reach = _SIGMAS * math.hypot(noise, sampled) + turned
        good = low <= apart <= high and abs(along - length) <= reach
        reason = (
            f"they lie {apart:.3g} apart, where noise allows {max(low, 0.0):.3g} to {high:.3g}, and it "
            f"reaches {along:.3g} along what was made, which should be {length:.3g} up to {reach:.3g}"
        )
        return cls(good, True, reason)


def _rounding(scene: Scene, sent: Instruction) -> float:
    """Length that a difference of an encoder's float32 weights loses to rounding, at most."""
    weights = _flat(scene, {name: torch.from_numpy(a) for name, a in sent.encoder.items()})
    return float(2 * np.finfo(np.float32).eps * np.linalg.norm(weights))


def _flat(scene: Scene, update: Mapping[str, Tensor]) -> np.ndarray:
    """Trained tensors in the model's order, float64 (p,)."""
    names = scene.encoder(scene.first).trainable_arrays()
    return torch.cat([update[name].flatten() for name in names]).double().numpy()


def _mean(updates: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([u[name] for u in updates]).mean(dim=0) for name in updates[0]}


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
    update = _update_of(scene, sent, artist, target, purpose, defended)
    encoder = scene.encoder(sent)
    _, targets = scene.objective(encoder, sent, artist, works.styles[i : i + 1])
    training = scene.training(1, defended=defended)
    if scene.noise and not defended and attack.name == adaptive_inversion().name:
        # It weighs pictures by the noise, so that it must be told some: a hundredth of what it sees.
        size = float(_flat(scene, update).std()) / (training.learning_rate * math.sqrt(training.steps))
        training = replace(training, noise_std=size / 100)
    seen = scene.observation(sent, (update,), training, artist, targets)
    evidence = attack.run(seen, budget, scene.settings.seed)
    return evidence, prior_only(attack, seen, budget, scene.settings.seed)


def _update_of(
    scene: Scene, sent: Instruction, artist: str, target: _Target, purpose: str, defended: bool
) -> dict[str, Tensor]:
    """What an artist would send if its batch held nothing but the target."""
    views, style = scene.views(target.works)[target.index], int(target.works.styles[target.index])
    return scene.update_of_one(sent, artist, views, style, purpose, defended=defended)


def _batches_of_one(scene: Scene) -> str:
    """What the attacked updates are beside those that the run's sampler draws."""
    plan = scene.plan.sgd
    sizes = np.array([len(scene.works(artist, "train")) for artist in scene.artists])
    share = float(np.max(sizes * plan.sampling_rate * (1 - plan.sampling_rate) ** (sizes - 1)))
    often = f"draws in {share:.2g} of an artist's steps at most" if share else "never draws"
    return f"batches of one, made anew: a worst case, which this run's sampler {often}"


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
    rng = scene.rng(purpose)
    prepared = torch.cat([scene.seen(works.prepared) for works in pool])
    sought = prepared if scene.images else torch.cat([scene.views(works) for works in pool])
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
            found.append(_Target(works, index, sought[chosen], _as_pictures(pictures[chosen]), 0))
    if len(found) < 4:
        raise AuditError(f"only {len(found)} pictures to attack")
    return found


def _rank(evidence: Evidence, target: _Target) -> int:
    """Rank of the truth among the candidates, by the evidence."""
    if evidence.pictures is not None:
        return rank_by_distance(evidence.pictures[0], target.candidates, target.number, mean_square)
    return rank_of_target(_likeness(evidence, target), target.number)


def _likeness(evidence: Evidence, target: _Target) -> Tensor:
    """How far the features lie in the span of each candidate's views: with one view, their cosine's size, as
    the sign is not known."""
    assert evidence.features is not None
    span = torch.linalg.qr(target.candidates.double().transpose(1, 2))[0]
    features = torch.nn.functional.normalize(evidence.features[0].double(), dim=0)
    likeness: Tensor = (span.transpose(1, 2) @ features).norm(dim=1)
    return likeness


def _guessed_style(scene: Scene, sent: Instruction, target: _Target, shown: _Target, defended: bool) -> int:
    """The style whose prototype lies nearest to the features that an update of the artist gives away.

    Their sign follows from where the update pushes them: toward the artist's own card.

    Args:
        scene: The run.
        sent: What the artist was sent.
        target: Whose artist answers.
        shown: What the update is made of: the target, or another picture for a guess without looking.
        defended: With the run's clip and noise, or without either.
    """
    artist, encoder = target.works.artist, scene.encoder(sent)
    purpose = f"style {artist} {target.index} {defended} {shown is target}"
    update = _update_of(scene, sent, artist, shown, purpose, defended)
    seen = scene.observation(sent, (update,), scene.training(1, defended=defended), artist, None)
    features = AnalyticInversion().run(seen, Budget(), scene.settings.seed).features
    assert features is not None
    if artist in sent.card_artists:
        toward = encoder.place(sent.cards)[sent.card_artists.index(artist)]
        features = features * (1.0 if float(toward @ update["head.weight"] @ features[0]) >= 0 else -1.0)
    return int((torch.from_numpy(sent.styles.prototypes) @ features[0]).argmax())


def _guessed_blindly(scene: Scene, sent: Instruction, targets: Sequence[_Target]) -> np.ndarray:
    """Styles of targets, int64 (n,), by the same attack on what public pictures would have sent instead.

    It still sees cards, so that it shows what the attack makes of them alone.
    """
    others = itertools.cycle(_control_targets(scene, len(targets)))
    return np.array([_guessed_style(scene, sent, t, next(others), True) for t in targets])


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


def _one_release(scene: Scene, sent: Instruction) -> list[Event]:
    """What the update of a batch of one costs that picture, which was surely drawn, with what it was made at.

    An update holds more than its own noise covers: it was made at weights, and toward anchors, that earlier
    releases of the same picture went into.
    """
    plan, before = scene.sgd, scene.costs(last=sent.round - 1)
    if any(event.noiseless for event in before):
        return before
    return [SampledGaussian(plan.noise_multiplier, 1.0, plan.steps), *before]
