"""What the experimenter lays out for attacks: pictures, recorded messages, and the victim's own code.

Truth and observation meet here, and nowhere in `attacks`. An attack gets what the `observe` functions make,
and the truth goes to the evaluators.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from attacks.membership.participation import blind_baseline
from attacks.observation import LocalTraining, Normalisation, Observation
from fedstyle_secure.audit.blind import Blind
from fedstyle_secure.audit.limits import NO_GUARANTEE, planned, require_planned
from fedstyle_secure.audit.settings import AuditSettings
from fedstyle_secure.audit.views import present_defences
from fedstyle_secure.config import Config
from fedstyle_secure.errors import AuditError
from fedstyle_secure.federation.artist import training_loss
from fedstyle_secure.federation.protocol import Instruction
from fedstyle_secure.federation.record import RecordedRound, read_rounds
from fedstyle_secure.files import read_arrays, read_json
from fedstyle_secure.galleries.base import Gallery, Portfolio
from fedstyle_secure.galleries.canaries import Canaries, PlantedGallery, canary_kind, coordinates
from fedstyle_secure.galleries.checks import survey
from fedstyle_secure.galleries.opening import open_gallery
from fedstyle_secure.privacy.dp_sgd import DPTrainer, GradientCanaries, picture_gradients
from fedstyle_secure.privacy.events import Event
from fedstyle_secure.privacy.mechanisms import DpSgd
from fedstyle_secure.privacy.noise import ByteSource
from fedstyle_secure.privacy.plan import Plan, solve
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.style.encoder import StyleEncoder
from fedstyle_secure.style.encoders import encoder_from_arrays, prepare_views
from fedstyle_secure.style.losses import PrototypeContrast
from fedstyle_secure.style.prototypes import ROW_NORM, Styles, picture_rows
from fedstyle_secure.style.texture import texture_features

CENTRED = Normalisation((0.5,) * 3, (0.5,) * 3)
Which = Literal["train", "test"]

_SHUFFLES = 199
_FEWEST = 19
_MOST_BLIND = 1500
"""Pictures that the blind guess is made from; its cost grows with their square."""


@dataclass(frozen=True, eq=False)
class Works:
    """Prepared pictures of one artist.

    Attributes:
        artist: Whose.
        pictures: uint8 (n, s, s, 3).
        labels: n style labels, "" where none is known.
        prepared: Each picture as it is, ready for training, float32 (n, ...).
        released: What cards and prototypes are sums of, float32 (n, r).
        styles: Style of each by the first instruction's prototypes, int64 (n,).
    """

    artist: str
    pictures: np.ndarray
    labels: tuple[str, ...]
    prepared: Tensor
    released: np.ndarray
    styles: np.ndarray

    def __len__(self) -> int:
        return len(self.pictures)


class Scene:
    """One run, opened for an audit."""

    def __init__(self, run: RunFolder, settings: AuditSettings) -> None:
        """
        Args:
            run: A finished run.
            settings: Of the audit.

        Raises:
            RunError: The run is not finished, or a file of it is damaged.
            GalleryError: A portfolio cannot be read.
            AuditError: The gallery is not the one that the run was made of: another picture, name, label or
                split.
        """
        run.summary()
        self.run, self.settings = run, settings
        self.config: Config = run.config()
        self.gallery: Gallery = open_gallery(self.config.gallery)
        self._refuse_other_gallery()
        self.plan: Plan = solve(self.config, ROW_NORM, self.roster_length)
        present = present_defences(self.config, self.plan)
        self.noise = "noise" in present and "noise" not in settings.without
        self.clip = "clip" in present and "clip" not in settings.without
        self.rounds: tuple[RecordedRound, ...] = ()
        if self.config.audit.record != ("none",):
            self.rounds = tuple(read_rounds(run))
        self._works: dict[tuple[str, Which], Works] = {}
        self._public: Works | None = None
        self._views: dict[Works, Tensor] = {}
        self._ledgers_checked = False

    def _refuse_other_gallery(self) -> None:
        """Other pictures are no members, and an attack that misses them would show nothing."""
        # Its digests are of files; that they decode to the same pictures follows from the same version.
        found = survey(self.gallery, "skip").digest
        began = self.run.manifest()["gallery"]["digest"]
        if found != began:
            where = self.config.gallery.path or self.config.gallery.dataset or self.config.gallery.source
            raise AuditError(
                f"gallery {where!r} has the digest {found}, and {self.run.path} was made of one with the "
                f"digest {began}: its pictures, names, labels or split have changed since, or they lie "
                "elsewhere: name them with --gallery"
            )

    @property
    def roster_length(self) -> int:
        """Artists who take part, canary artists included."""
        canaries = self.config.audit.canaries if self.config.privacy.unit == "artist" else 0
        return len(self.gallery.artists) + canaries

    @cached_property
    def artists(self) -> tuple[str, ...]:
        """The artists that are attacked: those that the run recorded, at most `settings.artists`."""
        there = self.gallery.artists
        if self.rounds and self.config.audit.record != ("all",):
            there = tuple(artist for artist in there if artist in self.config.audit.record)
        return there[: self.settings.artists or None]

    def rng(self, purpose: str) -> np.random.Generator:
        """Draws of the audit itself: targets, candidates. The same for the same seed and purpose."""
        return np.random.default_rng([self.settings.seed, *purpose.encode()])

    def bytes(self, purpose: str) -> ByteSource:
        """Bytes for the noise of releases that are made anew: seeded, as nobody is protected by them."""
        return self.rng(purpose).bytes

    # The encoder and what it was sent with.

    @cached_property
    def first(self) -> Instruction:
        """What artists were sent in the first round with training, else what the run ended with."""
        for recorded in self.rounds:
            if recorded.instruction.round in self.plan.schedule.updates:
                return recorded.instruction
        return self.last

    @cached_property
    def last(self) -> Instruction:
        """The product: final encoder, prototypes and cards, in the form of an instruction."""
        arrays, _ = read_arrays(self.run.encoder_file)
        with np.load(self.run.prototypes_file, allow_pickle=False) as stored:
            styles = Styles(
                tuple(str(name) for name in stored["styles"]),
                stored["prototypes"].astype(np.float32),
                self.config.styles.source == "labels",
            )
            cards, artists = stored["cards"].astype(np.float32), tuple(str(a) for a in stored["artists"])
        if not len(cards):
            cards = np.zeros((0, styles.prototypes.shape[1]), np.float32)
        return Instruction(self.plan.schedule.rounds, arrays, styles, artists, cards)

    def encoder(self, instruction: Instruction) -> StyleEncoder:
        """The encoder of an instruction."""
        return encoder_from_arrays(self.config.style, instruction.encoder)

    # Pictures.

    def works(self, artist: str, which: Which) -> Works:
        """An artist's pictures, prepared by the encoder's fixed part, without canaries."""
        if (artist, which) not in self._works:
            portfolio = self.gallery.portfolio(artist)
            chosen = ~portfolio.test if which == "train" else portfolio.test
            self._works[artist, which] = self._prepare(artist, portfolio, chosen)
        return self._works[artist, which]

    def members(self, artist: str) -> np.ndarray:
        """Which of an artist's pictures trained, bool (n,): the training pictures, then the held-out ones."""
        inside, outside = len(self.works(artist, "train")), len(self.works(artist, "test"))
        return np.arange(inside + outside) < inside

    @property
    def public(self) -> Works:
        """The platform's own pictures."""
        if self._public is None:
            parts = [self.gallery.portfolio(name) for name in self.gallery.public_artists]
            pictures = np.concatenate([part.pictures for part in parts])
            labels = tuple(label for part in parts for label in part.styles)
            self._public = self._prepared("(public)", pictures, labels)
        return self._public

    def _prepare(self, artist: str, portfolio: Portfolio, chosen: np.ndarray) -> Works:
        labels = tuple(s for s, wanted in zip(portfolio.styles, chosen, strict=True) if wanted)
        return self._prepared(artist, portfolio.pictures[chosen], labels)

    def _prepared(self, artist: str, pictures: np.ndarray, labels: tuple[str, ...]) -> Works:
        encoder = self.encoder(self.first)
        prepared = encoder.prepare(pictures)
        released = encoder.released(prepared)
        styles = self.first.styles.assign(released, labels)
        return Works(artist, pictures, labels, prepared, released, styles)

    def views(self, works: Works) -> Tensor:
        """What training sees of each picture, float32 (n, views, ...).

        Whoever has a picture and the run's settings can make its views: no secret goes into them.
        """
        if works not in self._views:
            self._views[works] = self._views_of(works.pictures)
        return self._views[works]

    def _views_of(self, pictures: np.ndarray) -> Tensor:
        seed = str(self.config.run.seed)
        return prepare_views(self.encoder(self.first), pictures, self.config.style.views, seed)

    def styles(self, works: Works, instruction: Instruction) -> np.ndarray:
        """Style of each picture by an instruction's encoder and prototypes, int64 (n,)."""
        released = self.encoder(instruction).released(works.prepared)
        return instruction.styles.assign(released, works.labels)

    # What the victim's own code would send.

    def objective(
        self, encoder: StyleEncoder, instruction: Instruction, artist: str, styles: np.ndarray
    ) -> tuple[PrototypeContrast, Tensor]:
        """The loss and the targets of an artist's pictures."""
        return training_loss(self.config.style, encoder, instruction, artist, styles)

    @property
    def sgd(self) -> DpSgd:
        """The run's DP-SGD of one round, less what the audit assumes to be missing."""
        plan = self.plan.sgd
        noise = plan.noise_multiplier if self.noise else 0.0
        if self.clip or not np.isfinite(plan.clip_norm):
            return replace(plan, noise_multiplier=noise)
        # Noise of the same size on gradients of any length: the bound goes, the noise stays.
        return replace(plan, clip_norm=1e6, noise_multiplier=noise * plan.clip_norm / 1e6)

    def update_of_one(
        self,
        instruction: Instruction,
        artist: str,
        views: Tensor,
        style: int,
        purpose: str,
        *,
        defended: bool = True,
    ) -> dict[str, Tensor]:
        """The update of a round whose every drawn batch holds one picture, by the artist's own trainer.

        The worst case of a round, whether or not the run's sampler would draw it.

        Args:
            instruction: What the artist was sent.
            artist: Whose.
            views: What training sees of the picture (views, ...).
            style: Its style.
            purpose: Names the draw of the noise.
            defended: With the run's clip and noise, or without either.
        """
        encoder = self.encoder(instruction)
        loss, targets = self.objective(encoder, instruction, artist, np.array([style]))
        plan = replace(self.sgd if defended else _undefended(self.sgd), sampling_rate=1.0)
        return self._trained(encoder, loss, plan, views[None], targets, purpose)

    def update_of_all(self, instruction: Instruction, artist: str, *, defended: bool) -> dict[str, Tensor]:
        """The update of a round that the artist's own trainer makes of all its pictures.

        Args:
            instruction: What the artist was sent.
            artist: Whose.
            defended: With the run's clip, noise and sampling, or without any.
        """
        works, encoder = self.works(artist, "train"), self.encoder(instruction)
        styles = self.styles(works, instruction)
        loss, targets = self.objective(encoder, instruction, artist, styles)
        plan = self.sgd if defended else replace(_undefended(self.sgd), sampling_rate=1.0)
        purpose = f"all {artist} {instruction.round}"
        return self._trained(encoder, loss, plan, self.views(works), targets, purpose)

    def _trained(
        self,
        encoder: StyleEncoder,
        loss: PrototypeContrast,
        plan: DpSgd,
        views: Tensor,
        targets: Tensor,
        purpose: str,
    ) -> dict[str, Tensor]:
        before, rate = encoder.trainable_arrays(), self.config.training.learning_rate
        trainer = DPTrainer(encoder, loss, plan, rate, self.bytes(f"noise {purpose}"))
        trainer.fit(views, targets, self.rng(f"batches {purpose}"))
        return _differences(encoder, before)

    def gradients(
        self, instruction: Instruction, artist: str, works: Works, *, defended: bool = True
    ) -> np.ndarray:
        """What each picture would add to an artist's update, by the victim's own code, float32 (n, p).

        A picture's gradient is the mean over its views, clipped as the artist clips.

        Args:
            instruction: What the artist was sent.
            artist: Whose update.
            works: Candidates, of this artist or another.
            defended: With the run's clip, or without.
        """
        encoder = self.encoder(instruction)
        loss, targets = self.objective(encoder, instruction, artist, self.styles(works, instruction))
        clip = self.sgd.clip_norm if defended else float("inf")
        encoder.train()
        return picture_gradients(encoder, loss, self.views(works), targets, clip).numpy()

    def remade(self, instruction: Instruction, artist: str) -> dict[str, Tensor]:
        """A recorded update made again from the truth, as the artist trained: with canaries, without noise.

        Exact where the run had no noise, as its batches follow from its seed. With noise nobody knows who was
        drawn, and this is what a round gives on average at the weights that were sent.
        """
        plan, config = self.plan.sgd, self.config
        portfolio, gradients = self.gallery.portfolio(artist), GradientCanaries((), 1.0)
        encoder = self.encoder(instruction)
        views = self.views(self.works(artist, "train"))
        kind = canary_kind(config)
        if kind is not None:
            canaries = Canaries.load(self.run.canaries_file, config, self.gallery)
            portfolio = PlantedGallery(config, self.gallery, canaries).portfolio(artist)
            if portfolio.canaries:
                views = self._views_of(portfolio.train_pictures)
            if kind == "gradient":
                inside = list(canaries.of(artist, inside_only=True))
                size = sum(array.size for array in encoder.trainable_arrays().values())
                places = coordinates(config.run.seed, config.audit.canaries, size)[inside].tolist()
                gradients = GradientCanaries(tuple(places), config.privacy.clip_norm)
        assigned = instruction.styles.assign(encoder.released(views[:, 0]), portfolio.train_styles)
        loss, targets = self.objective(encoder, instruction, artist, assigned)
        if plan.noise_multiplier:
            plan = replace(
                plan,
                noise_multiplier=0.0,
                sampling_rate=1.0,
                expected_batch_size=plan.expected_batch_size / plan.sampling_rate,
            )
        # As `Studio` draws its batches where there is no noise.
        text = f"{config.run.seed}\n{artist}\nbatches\n{instruction.round}"
        drawn = np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest(), "little"))
        before = encoder.trainable_arrays()
        DPTrainer(encoder, loss, plan, config.training.learning_rate).fit(views, targets, drawn, gradients)
        return _differences(encoder, before)

    def training(self, batch: int, *, defended: bool = True) -> LocalTraining:
        """What is known of a round's training with `batch` pictures in a step."""
        plan = self.sgd if defended else _undefended(self.sgd)
        clip = plan.clip_norm if np.isfinite(plan.clip_norm) else None
        # Our trainer divides by the expected number of pictures: a sum and a smaller step say the same.
        return LocalTraining(
            learning_rate=self.config.training.learning_rate / plan.expected_batch_size,
            steps=plan.steps,
            batch_size=batch,
            epochs=plan.steps,
            reduction="sum",
            clip_norm=clip,
            noise_std=plan.deviation,
            mode="eval",
            views=self.config.style.views,
        )

    def observation(
        self,
        instruction: Instruction,
        updates: tuple[dict[str, Tensor], ...],
        training: LocalTraining,
        artist: str,
        targets: Tensor | None,
    ) -> Observation:
        """What an adversary holds of one artist's updates."""
        encoder = self.encoder(instruction)
        loss, _ = self.objective(encoder, instruction, artist, np.zeros(1, np.int64))
        return Observation(
            model=encoder,
            weights={name: torch.from_numpy(array) for name, array in instruction.encoder.items()},
            picture_shape=tuple(self.public.prepared.shape[1:]),
            updates=updates,
            training=training,
            loss=loss,
            normalisation=CENTRED if self.images else None,
            targets=targets,
            public_pictures=self.seen(self.public.prepared),
        )

    @cached_property
    def images(self) -> bool:
        """Whether what trains sees pictures, and not features."""
        return self.public.prepared.ndim == 4

    def seen(self, prepared: Tensor) -> Tensor:
        """What training sees as attacks take it: pictures in [0, 1], features as they are."""
        return ((prepared + 1) / 2).clamp(0, 1) if self.images else prepared

    def rows(self, works: Works) -> np.ndarray:
        """Each picture's row of the prototype sum, (n, k * (d + 1))."""
        return picture_rows(works.released, works.styles, len(self.first.styles.names))

    @cached_property
    def blind(self) -> Blind:
        """What a guess about membership reaches that looks at no model: at colours and textures alone.

        Where a split puts pictures of one book into training and of another into the test, this is large, and
        an attack has shown something about the model only beyond it.
        """
        features, truth = {}, {}
        for artist in self.artists:
            both = [self.works(artist, which) for which in ("train", "test")]
            features[artist] = np.concatenate([texture_features(works.pictures) for works in both])
            truth[artist] = self.members(artist)
        stacked, members = np.concatenate(list(features.values())), np.concatenate(list(truth.values()))
        chosen = self.rng("blind").permutation(len(stacked))[:_MOST_BLIND]
        rng = self.rng("shuffles")
        pooled = blind_baseline(stacked[chosen], members[chosen], rng, shuffles=_SHUFFLES)
        own = {
            artist: blind_baseline(features[artist], truth[artist], rng, shuffles=_FEWEST).auc
            for artist in self.artists
            if min(truth[artist].sum(), (~truth[artist]).sum()) >= 2
        }
        return Blind(pooled.auc, pooled.p_value, own)

    def public_spread(self, released: np.ndarray) -> tuple[np.ndarray, float]:
        """How pictures differ within an artist, seen on public ones.

        Args:
            released: Of the public pictures (m, r), under some encoder.

        Returns:
            Each less its artist's mean, (m, r), and the median length of the means.
        """
        parts = np.split(released, np.cumsum(self._public_sizes)[:-1])
        means = [part.mean(axis=0) for part in parts]
        within = np.concatenate([part - mean for part, mean in zip(parts, means, strict=True)])
        return within, float(np.median(np.linalg.norm(means, axis=1)))

    @cached_property
    def _public_sizes(self) -> list[int]:
        return [len(self.gallery.portfolio(name).pictures) for name in self.gallery.public_artists]

    def require_own_noise(self) -> None:
        """Raises AuditError where nothing trains, or an update has a share of noise only."""
        self.require_trained()
        if self.plan.shared is not None:
            raise AuditError(
                "with the unit artist an update leaves with a share of noise, and no attack here reads shares"
            )

    def require_trained(self) -> None:
        """Raises AuditError where nothing trains privately."""
        if not self.plan.schedule.updates:
            raise AuditError("nothing trains privately in this run")

    def require_trained_as_assumed(self) -> None:
        """Raises AuditError where the trained weights, or what else the run went on with, would be others."""
        missing = [what for what in ("noise", "clip") if what in self.settings.without]
        if missing:
            raise AuditError(f"without {' and '.join(missing)}: needs the run trained anew without it")

    def costs(
        self, kinds: Collection[str] | None = None, last: int | None = None, *, summed: bool = False
    ) -> list[Event]:
        """What an artist's releases cost an artwork, less what the audit assumes to be missing.

        Args:
            kinds: Kinds of release that count; None: all.
            last: The last round that counts; None: all.
            summed: Whether what is read holds every artist's share, so that it has the noise of all of them
                whoever could read a share.

        Returns:
            An event a release; a single one without noise where no guarantee is left.

        Raises:
            AuditError: An artist's ledger holds more of this run than the plan has.
        """
        self._check_ledgers()
        without = set(self.settings.without)
        shared = self.plan.shared is not None
        # A share by itself has next to no noise: all that covers it is that nobody sees it alone.
        unsealed = shared and not summed and without & {"encryption", "masks", "min_cohort", "opener_checks"}
        unclipped = "clip" in without and (shared or kinds is None or "update" in kinds)
        if not self.noise or unsealed or unclipped:
            return [NO_GUARANTEE]
        return planned(self.plan, kinds, last)

    def _check_ledgers(self) -> None:
        if not self._ledgers_checked:
            ledgers = read_json(self.run.ledger_file, dict, AuditError)
            require_planned(ledgers, self.run.identity, self.plan, self.config.privacy.delta)
            self._ledgers_checked = True


def _differences(encoder: StyleEncoder, before: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    now = encoder.trainable_arrays()
    return {name: torch.from_numpy(array - before[name]) for name, array in now.items()}


def _undefended(plan: DpSgd) -> DpSgd:
    return replace(plan, clip_norm=float("inf"), noise_multiplier=0.0)
