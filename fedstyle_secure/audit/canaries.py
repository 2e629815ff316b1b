"""The canaries of a finished run: how well they are told apart, and what that proves about epsilon.

The auditor reads what the platform recorded, scores every canary whether it is in or out, and only then looks
at the coins. A lower bound above the accountant's epsilon is an alarm: the noise is not what the ledger says.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from attacks.bounds import Bonferroni, Bound, Terms
from attacks.canaries import DiracCanaries
from attacks.membership.federated import alignment
from attacks.membership.tracing import traced
from attacks.one_run import one_run_epsilon
from attacks.roc import auc
from attacks.two_worlds import gaussian_epsilon
from fedstyle_secure.config import Config
from fedstyle_secure.errors import RunError
from fedstyle_secure.federation.local_training import trained_size
from fedstyle_secure.federation.record import RecordedRound, read_rounds
from fedstyle_secure.federation.releases import Layouts
from fedstyle_secure.files import read_json
from fedstyle_secure.galleries.base import Gallery, Portfolio
from fedstyle_secure.galleries.canaries import (
    Canaries,
    CanaryPictures,
    Kind,
    coordinates,
    roster,
)
from fedstyle_secure.galleries.opening import open_gallery
from fedstyle_secure.privacy.dp_sgd import picture_gradients
from fedstyle_secure.privacy.kinds import SUM, UPDATE
from fedstyle_secure.privacy.ledger import entry_from_dict
from fedstyle_secure.privacy.statement import Accountant
from fedstyle_secure.privacy.units import Unit
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.system import AnySystem, State, plan_of, split_arrays, system_bound
from fedstyle_secure.threads import one_thread

_STRATEGY = Bonferroni(25)


@dataclass(frozen=True, eq=False)
class CanaryAudit:
    """What the canaries of a run show.

    Attributes:
        kind: Of canary.
        unit: What one canary stands for.
        scores: float64 (m,), larger is more likely in.
        inside: bool (m,), the coins.
        released: Kinds of release that the scores stand on.
        accounted: Epsilon of those releases by the ledger, the largest over the artists concerned; infinite
            where there is no guarantee.
        delta: Of `accounted` and of the bounds.
        bounds: Lower bounds on epsilon; none where all coins fell alike.
        notes: What one must know to read them.
    """

    kind: Kind
    unit: Unit
    scores: np.ndarray
    inside: np.ndarray
    released: tuple[str, ...]
    accounted: float
    delta: float
    bounds: tuple[Bound, ...]
    notes: tuple[str, ...]

    @property
    def auc(self) -> float | None:
        """How often a canary that is in scores above one that is out; None where all coins fell alike."""
        if self.inside.all() or not self.inside.any():
            return None
        return auc(self.scores[self.inside], self.scores[~self.inside])

    @property
    def alarm(self) -> bool:
        """Whether a bound lies above what the ledger says: a bug, or as rare a coincidence as it states."""
        return any(bound.kind == "lower_bound" and bound.epsilon > self.accounted for bound in self.bounds)


@dataclass(frozen=True, eq=False)
class _Scored:
    """Scores by canary's index, of those that could be scored, and what they stand on."""

    scores: Mapping[int, float]
    released: tuple[str, ...]
    notes: tuple[str, ...] = ()


def audit_canaries(run: RunFolder | Path | str, confidence: float = 0.95) -> CanaryAudit:
    """Score a run's canaries and bound epsilon from below.

    Args:
        run: A finished run with `audit.canaries`, recorded with `audit.record`.
        confidence: Of each bound.

    Raises:
        RunError: The run is not finished, has no canaries, or what they could show in was not recorded.
    """
    folder = run if isinstance(run, RunFolder) else RunFolder(Path(run))
    folder.summary()
    config = folder.config()
    if config.audit.canaries == 0:
        raise RunError(f"{folder.path}: audit.canaries = 0, so there is nothing to look for")
    gallery = open_gallery(config.gallery)
    canaries = Canaries.load(folder.canaries_file, config, gallery)
    with one_thread():
        found = _scored(folder, config, gallery, canaries)
    indices = sorted(found.scores)
    scores = np.array([found.scores[i] for i in indices], np.float64)
    inside = np.array([canaries.each[i].inside for i in indices], bool)
    unit: Unit = config.privacy.unit
    notes = list(found.notes)
    if len(indices) < len(canaries.each):
        notes.append(f"{len(canaries.each) - len(indices)} canaries are of artists who sent nothing to score")
    if inside.all() or not inside.any():
        notes.append("all coins fell alike, which bounds nothing")
    owners = {canaries.each[i].artist for i in indices} & set(gallery.artists) or set(gallery.artists)
    accounted = _accounted(folder, config, owners, found.released, unit)
    bounds = _bounds(
        canaries.kind, scores, inside, Terms(config.privacy.delta, "add-remove", unit, confidence)
    )
    return CanaryAudit(
        canaries.kind,
        unit,
        scores,
        inside,
        found.released,
        accounted,
        config.privacy.delta,
        bounds,
        tuple(notes),
    )


def _bounds(kind: Kind, scores: np.ndarray, inside: np.ndarray, terms: Terms) -> tuple[Bound, ...]:
    if inside.all() or not inside.any():
        return ()
    members, others = scores[inside], scores[~inside]
    one_run = one_run_epsilon(members, others, terms, _STRATEGY, guesses="both")
    if kind not in ("gradient", "artist"):
        return (one_run,)
    return gaussian_epsilon(members, others, terms, _STRATEGY), one_run


def _accounted(
    run: RunFolder, config: Config, artists: set[str], released: Sequence[str], unit: Unit
) -> float:
    """The accountant's epsilon of the releases that were looked at, the largest over some artists."""
    exported = read_json(run.ledger_file, dict)
    accountant = Accountant(config.privacy.delta)
    worst = 0.0
    for artist in artists:
        if exported.get(artist) is None:
            return math.inf
        entries = [entry_from_dict(values) for values in exported[artist]]
        seen = [e for e in entries if e.run == run.identity and e.kind in released]
        worst = max(worst, accountant.spent(seen, unit))
    return worst


def _scored(run: RunFolder, config: Config, gallery: Gallery, canaries: Canaries) -> _Scored:
    rounds = read_rounds(run)
    artists, system = roster(config, gallery), system_bound(config)
    plan = plan_of(config, len(artists))
    layouts = Layouts(config, plan, system.forms(rounds[0].sent), len(artists))
    trained = tuple(split_arrays(system.model(rounds[0].sent))[1])
    look = _Look(run, system, layouts, gallery, canaries, rounds, artists, trained)
    if canaries.kind == "artist":
        return look.artists()
    if canaries.kind == "gradient":
        return look.gradients()
    return look.pictures()


@dataclass(frozen=True, eq=False)
class _Look:
    """A recorded run, read by an auditor. `trained` names tensors in the model's order, which canaries'
    coordinates count in; `prepared` keeps what a fixed part makes of the candidates, by its digest."""

    run: RunFolder
    system: AnySystem
    layouts: Layouts
    gallery: Gallery
    canaries: Canaries
    rounds: list[RecordedRound]
    roster: tuple[str, ...]
    trained: tuple[str, ...]
    prepared: dict[str, torch.Tensor] = field(default_factory=dict)

    def gradients(self) -> _Scored:
        """Noisy sums at each canary's coordinate."""
        config, number = self.layouts.config, len(self.canaries.each)
        size = trained_size(self.layouts)
        places = coordinates(config.run.seed, number, size)
        scores: dict[int, float] = {}
        everyone: dict[str, list[Mapping[str, np.ndarray]]]
        notes: tuple[str, ...] = ()
        if self._updates_in_clear:
            everyone = {artist: self._sent(artist, UPDATE) for artist in self._owners()}
        else:
            opened = [total[UPDATE] for total in self._opened().values() if UPDATE in total]
            everyone = {artist: list(opened) for artist in self.gallery.artists}
            notes = ("updates are summed under encryption, so canaries were looked for in the opened sums",)
        for artist, updates in everyone.items():
            mine = self.canaries.of(artist, inside_only=False)
            if updates and mine:
                dirac = DiracCanaries(places[list(mine)], config.privacy.clip_norm, size)
                sums = np.stack([self._gradient_sum(update) for update in updates])
                scores |= zip(mine, dirac.scores(sums).tolist(), strict=True)
        if config.training.local_steps > 1:
            notes += (
                f"an update is the sum of {config.training.local_steps} noisy gradient sums, scored together",
            )
        return self._some(scores, (UPDATE,), notes)

    def artists(self) -> _Scored:
        """Summed vectors at each canary artist's coordinate."""
        seed, number = self.layouts.config.run.seed, len(self.canaries.each)
        found = []
        for at, total in self._sums().items():
            mechanism = self.layouts.shared(at).noise
            places = coordinates(seed, number, mechanism.size)
            dirac = DiracCanaries(places, mechanism.clip_norm, mechanism.size)
            found.append(dirac.scores(mechanism.decode(total)[None]))
        scores = dict(enumerate(np.mean(found, axis=0).tolist())) if found else {}
        note = "neighbours are zero-out: an artist's vector counts or is zeros, its share of noise stays"
        return self._some(scores, (SUM,), (note,))

    def pictures(self) -> _Scored:
        """Whether a picture is one of those that an artist's updates, or what it publishes, were made of.

        The run's other canaries, under the same artist's name, are surely not, and say how pictures vary.
        """
        config, words = self.layouts.config, self.system.words
        pictures = CanaryPictures(config, self.gallery)
        candidates = np.stack([pictures[i] for i in range(len(self.canaries.each))])
        kind = UPDATE if self._updates_in_clear else self._named
        scores: dict[int, float] = {}
        for artist in self._owners():
            mine = list(self.canaries.of(artist, inside_only=False))
            usual = self.gallery.portfolio(artist).train_labels[0]
            labels = tuple(pictures.label(i, usual) for i in range(len(candidates)))
            total = np.zeros(len(mine))
            seen = 0
            for recorded in self.rounds:
                reply = recorded.replies.get(artist)
                if reply is None or kind not in reply.arrays:
                    continue
                rows, mean, noise = self._rows(
                    recorded.sent, artist, candidates, labels, kind, reply.arrays[kind]
                )
                total += _membership(rows, mine, mean, noise)
                seen += 1
            if seen:
                scores |= zip(mine, total.tolist(), strict=True)
        if self.layouts.plan.rounds_of(UPDATE):
            note = f"{words.of(kind)}s were looked at under recorded weights, so all releases are accounted"
            return self._some(scores, tuple(self.layouts.plan.kinds), (note,))
        note = f"nothing trains in this run, so {words.of(kind)}s were looked at"
        return self._some(scores, (kind,), (note,))

    @property
    def _named(self) -> str:
        """The kind that artists publish under their own names."""
        kinds = self.layouts.plan.kinds.values()
        return next((kind.name for kind in kinds if kind.leaves == "named" and kind.rounds), "")

    def _rows(
        self,
        sent: State,
        artist: str,
        candidates: np.ndarray,
        labels: tuple[str, ...],
        kind: str,
        release: Mapping[str, np.ndarray],
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """Each candidate's row of a release (n, p), the mean row of those in it (p,), and the variance of the
        noise on that mean, times the number of rows in it."""
        config, plan, system = self.layouts.config, self.layouts.plan, self.system
        model, portfolio = system.model(sent), _portfolio(artist, candidates, labels)
        if sent.fixed_digest not in self.prepared:
            self.prepared[sent.fixed_digest] = system.inputs(model, portfolio)
        records = system.records(model, sent, artist, self.prepared[sent.fixed_digest], portfolio)
        guess = config.training.expected_pictures
        if kind != UPDATE:
            rows = system.rows(plan.kinds[kind], model, sent, artist, records)
            assert rows is not None
            (released,) = release.values()
            return np.stack(list(rows)), released.ravel() / guess, plan.deviation(kind) ** 2 / guess
        sgd = plan.sgd
        model.train()
        loss = system.loss(model, sent)
        gradients = picture_gradients(model, loss, records.inputs, records.targets, sgd.clip_norm).numpy()
        members = guess * sgd.sampling_rate * sgd.steps
        variance = sgd.deviation**2 * sgd.steps / members
        return gradients, self._gradient_sum(release) / members, variance

    def _gradient_sum(self, update: Mapping[str, np.ndarray]) -> np.ndarray:
        """The noisy clipped gradient sum of an update, or of its several steps together, float64 (p,)."""
        flat = np.concatenate([np.ravel(update[name]) for name in self.trained]).astype(np.float64)
        rate = self.layouts.config.learning_rate
        return -flat * self.layouts.plan.sgd.expected_batch_size / rate

    @property
    def _updates_in_clear(self) -> bool:
        updates = self.layouts.plan.rounds_of(UPDATE)
        return bool(updates) and all(UPDATE in self.layouts.in_clear(number) for number in updates)

    def _owners(self) -> list[str]:
        """Artists with canaries, all of whom must have been recorded."""
        owners = [a for a in self.gallery.artists if self.canaries.of(a, inside_only=False)]
        record = self.layouts.config.audit.record
        missing = [artist for artist in owners if record != ("all",) and artist not in record]
        if missing:
            raise RunError(
                f"{self.run.path}: audit.record leaves out {missing[0]!r}, who has canaries; set it to all"
            )
        return owners

    def _sent(self, artist: str, kind: str) -> list[Mapping[str, np.ndarray]]:
        replies = [r.replies[artist] for r in self.rounds if artist in r.replies]
        return [reply.arrays[kind] for reply in replies if kind in reply.arrays]

    def _opened(self) -> dict[int, dict[str, dict[str, np.ndarray]]]:
        """Opened sums by round, kind and tensor."""
        found = {}
        for recorded in self.rounds:
            summed = self.layouts.summed(recorded.sent.round)
            if recorded.opened is not None and summed is not None:
                found[recorded.sent.round] = summed.decode(recorded.opened.total)
        return found

    def _sums(self) -> dict[int, np.ndarray]:
        """Unit artist: sums of integers by round, opened or added up from all shares in clear."""
        if self.layouts.config.secure_sum.enabled:
            return {number: total[SUM][SUM] for number, total in self._opened().items()}
        if self.layouts.config.audit.record != ("all",):
            raise RunError(
                f"{self.run.path}: without encryption a sum takes every share; set audit.record = all"
            )
        sums: dict[int, np.ndarray] = {}
        for recorded in self.rounds:
            shares = [r.arrays[SUM][SUM] for r in recorded.replies.values() if SUM in r.arrays]
            if shares:
                sums[recorded.sent.round] = np.stack(shares).sum(axis=0, dtype=np.int64)
        return sums

    def _some(self, scores: dict[int, float], released: tuple[str, ...], notes: tuple[str, ...]) -> _Scored:
        if not scores:
            raise RunError(f"{self.run.path}: nothing that its canaries could show in was recorded")
        return _Scored(scores, released, notes)


def _membership(rows: np.ndarray, mine: list[int], mean: np.ndarray, noise: float) -> np.ndarray:
    """Scores of some rows; the others are from elsewhere."""
    others = np.delete(rows, mine, axis=0)
    if len(others) >= 2:
        return traced(rows[mine], mean, others, noise_variance=noise)
    pushed = torch.from_numpy(-np.asarray(mean, np.float64))
    return alignment(torch.from_numpy(rows[mine].astype(np.float64)), pushed, "cosine").numpy()


def _portfolio(artist: str, pictures: np.ndarray, labels: tuple[str, ...]) -> Portfolio:
    """Candidates as an artist's training pictures."""
    names = tuple(map(str, range(len(pictures))))
    return Portfolio(artist, pictures, np.zeros(len(pictures), bool), names, names, labels)
