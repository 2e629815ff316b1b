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
from fedstyle_secure.federation.artist import training_loss
from fedstyle_secure.federation.record import RecordedRound, read_rounds
from fedstyle_secure.federation.releases import Layouts
from fedstyle_secure.files import read_json
from fedstyle_secure.galleries.base import Gallery
from fedstyle_secure.galleries.canaries import (
    Canaries,
    CanaryPictures,
    Kind,
    coordinates,
    roster,
)
from fedstyle_secure.galleries.opening import open_gallery
from fedstyle_secure.privacy.dp_sgd import picture_gradients
from fedstyle_secure.privacy.ledger import entry_from_dict
from fedstyle_secure.privacy.picture_loss import PictureLoss
from fedstyle_secure.privacy.plan import solve
from fedstyle_secure.privacy.statement import Accountant
from fedstyle_secure.privacy.units import Unit
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.style.encoder import StyleEncoder
from fedstyle_secure.style.encoders import encoder_from_arrays, prepare_views
from fedstyle_secure.style.prototypes import ROW_NORM
from fedstyle_secure.threads import one_thread

_STRATEGY = Bonferroni(25)
_EVERYTHING = ("update", "card", "prototypes", "metrics")


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
    artists = roster(config, gallery)
    first = rounds[0].instruction
    encoder = encoder_from_arrays(config.style, first.encoder)
    # In the encoder's order, which canaries' coordinates count in.
    trained = {name: array.shape for name, array in encoder.trainable_arrays().items()}
    styles, dim = first.styles.prototypes.shape
    layouts = Layouts(config, solve(config, ROW_NORM, len(artists)), trained, styles, dim, len(artists))
    look = _Look(run, layouts, gallery, canaries, rounds, artists)
    if canaries.kind == "artist":
        return look.artists()
    if canaries.kind == "gradient":
        return look.gradients()
    return look.pictures()


@dataclass(frozen=True, eq=False)
class _Look:
    """A recorded run, read by an auditor. `prepared` keeps the candidates as an encoder's fixed part sees
    them, by its digest."""

    run: RunFolder
    layouts: Layouts
    gallery: Gallery
    canaries: Canaries
    rounds: list[RecordedRound]
    roster: tuple[str, ...]
    prepared: dict[str, torch.Tensor] = field(default_factory=dict)

    def gradients(self) -> _Scored:
        """Noisy sums at each canary's coordinate."""
        config, number = self.layouts.config, len(self.canaries.each)
        size = sum(math.prod(shape) for shape in self.layouts.trained.values())
        places = coordinates(config.run.seed, number, size)
        scores: dict[int, float] = {}
        everyone: dict[str, list[Mapping[str, np.ndarray]]]
        notes: tuple[str, ...] = ()
        if self._updates_in_clear:
            everyone = {artist: self._sent(artist, "update") for artist in self._owners()}
        else:
            opened = [total["update"] for total in self._opened().values() if "update" in total]
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
        return self._some(scores, ("update",), notes)

    def artists(self) -> _Scored:
        """Summed vectors at each canary artist's coordinate."""
        seed, number = self.layouts.config.run.seed, len(self.canaries.each)
        found = []
        for at, total in self._sums().items():
            mechanism = self.layouts.plan.shared_for(self.layouts.vector(at).size).noise
            places = coordinates(seed, number, mechanism.size)
            dirac = DiracCanaries(places, mechanism.clip_norm, mechanism.size)
            found.append(dirac.scores(mechanism.decode(total)[None]))
        scores = dict(enumerate(np.mean(found, axis=0).tolist())) if found else {}
        note = "neighbours are zero-out: an artist's vector counts or is zeros, its share of noise stays"
        return self._some(scores, ("sum",), (note,))

    def pictures(self) -> _Scored:
        """Whether a picture is one of those that an artist's updates, or its cards, were made of.

        The run's other canaries, under the same artist's name, are surely not, and say how pictures vary.
        """
        config = self.layouts.config
        pictures = CanaryPictures(config, self.gallery)
        candidates = np.stack([pictures[i] for i in range(len(self.canaries.each))])
        kind = "update" if self._updates_in_clear else "card"
        scores: dict[int, float] = {}
        for artist in self._owners():
            mine = list(self.canaries.of(artist, inside_only=False))
            label = self.gallery.portfolio(artist).train_styles[0]
            total = np.zeros(len(mine))
            seen = 0
            for recorded in self.rounds:
                reply = recorded.replies.get(artist)
                if reply is None or kind not in reply.arrays:
                    continue
                rows, mean, noise = self._rows(recorded, artist, candidates, label, reply.arrays[kind])
                total += _membership(rows, mine, mean, noise)
                seen += 1
            if seen:
                scores |= zip(mine, total.tolist(), strict=True)
        if config.training.local_steps:
            note = f"{kind}s were looked at under recorded weights, so all releases are accounted"
            return self._some(scores, _EVERYTHING, (note,))
        return self._some(scores, ("card",), ("nothing trains in this run, so cards were looked at",))

    def _rows(
        self,
        recorded: RecordedRound,
        artist: str,
        candidates: np.ndarray,
        label: str,
        release: Mapping[str, np.ndarray],
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """Each candidate's row of a release (n, p), the mean row of those in it (p,), and the variance of the
        noise on that mean, times the number of rows in it."""
        config, instruction = self.layouts.config, recorded.instruction
        encoder = encoder_from_arrays(config.style, instruction.encoder)
        key = encoder.fixed_digest()
        if key not in self.prepared:
            seed = str(config.run.seed)
            self.prepared[key] = prepare_views(encoder, candidates, config.style.views, seed)
        inputs = self.prepared[key]
        vectors = encoder.released(inputs[:, 0])
        guess = config.training.expected_pictures
        if "card" in release:
            return vectors, release["card"] / guess, self.layouts.plan.card.deviation**2 / guess
        sgd = self.layouts.plan.sgd
        assigned = instruction.styles.assign(vectors, (label,) * len(candidates))
        loss, targets = training_loss(config.style, encoder, instruction, artist, assigned)
        rows = _gradients(encoder, loss, inputs, targets, sgd.clip_norm)
        members = guess * sgd.sampling_rate * sgd.steps
        variance = sgd.deviation**2 * sgd.steps / members
        return rows, self._gradient_sum(release) / members, variance

    def _gradient_sum(self, update: Mapping[str, np.ndarray]) -> np.ndarray:
        """The noisy clipped gradient sum of an update, or of its several steps together, float64 (p,)."""
        flat = np.concatenate([np.ravel(update[name]) for name in self.layouts.trained]).astype(np.float64)
        rate = self.layouts.config.training.learning_rate
        return -flat * self.layouts.plan.sgd.expected_batch_size / rate

    @property
    def _updates_in_clear(self) -> bool:
        updates = self.layouts.plan.schedule.updates
        return bool(updates) and all("update" in self.layouts.in_clear(number) for number in updates)

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
            summed = self.layouts.summed(recorded.instruction.round)
            if recorded.opened is not None and summed is not None:
                found[recorded.instruction.round] = summed.decode(recorded.opened.total)
        return found

    def _sums(self) -> dict[int, np.ndarray]:
        """Unit artist: sums of integers by round, opened or added up from all shares in clear."""
        if self.layouts.config.secure_sum.enabled:
            return {number: total["sum"]["sum"] for number, total in self._opened().items()}
        if self.layouts.config.audit.record != ("all",):
            raise RunError(
                f"{self.run.path}: without encryption a sum takes every share; set audit.record = all"
            )
        sums: dict[int, np.ndarray] = {}
        for recorded in self.rounds:
            shares = [r.arrays["sum"]["sum"] for r in recorded.replies.values() if "sum" in r.arrays]
            if shares:
                sums[recorded.instruction.round] = np.stack(shares).sum(axis=0, dtype=np.int64)
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


def _gradients(
    encoder: StyleEncoder, loss: PictureLoss, inputs: torch.Tensor, targets: torch.Tensor, clip_norm: float
) -> np.ndarray:
    encoder.train()
    return picture_gradients(encoder, loss, inputs, targets, clip_norm).numpy()
