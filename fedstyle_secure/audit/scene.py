"""What the experimenter lays out for attacks: pictures, recorded messages, and the victim's own code.

Truth and observation meet here, and nowhere in `attacks`. An attack gets what the `observe` functions make,
and the truth goes to the evaluators.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from attacks.membership.participation import blind_baseline
from attacks.observation import LocalTraining, Loss, Normalisation, Observation
from fedstyle_secure.audit.blind import Blind
from fedstyle_secure.audit.limits import NO_GUARANTEE, planned, require_planned
from fedstyle_secure.audit.settings import AuditSettings
from fedstyle_secure.audit.views import present_defences
from fedstyle_secure.config import Config
from fedstyle_secure.errors import AuditError
from fedstyle_secure.federation.local_training import averaged, gradient_canaries, seeded, train
from fedstyle_secure.federation.record import RecordedRound, read_rounds
from fedstyle_secure.federation.releases import Layouts
from fedstyle_secure.files import read_json
from fedstyle_secure.galleries.base import Gallery, Portfolio
from fedstyle_secure.galleries.canaries import Canaries, PlantedGallery, canary_kind
from fedstyle_secure.galleries.checks import survey
from fedstyle_secure.galleries.opening import open_gallery
from fedstyle_secure.privacy.dp_sgd import picture_gradients
from fedstyle_secure.privacy.events import Event
from fedstyle_secure.privacy.kinds import UPDATE
from fedstyle_secure.privacy.mechanisms import DpSgd
from fedstyle_secure.privacy.noise import ByteSource
from fedstyle_secure.privacy.plan import Plan
from fedstyle_secure.registry import load
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.studios import withdrawals
from fedstyle_secure.system import AnySystem, Records, State, plan_of, split_arrays, system_bound, tensors

CENTRED = Normalisation((0.5,) * 3, (0.5,) * 3)
Which = Literal["train", "test"]

_SHUFFLES = 199
_FEWEST = 19
_FEWEST_TRIED = 4
_MOST_BLIND = 1500
"""Pictures that the blind guess is made from; its cost grows with their square."""


@dataclass(frozen=True, eq=False)
class Works:
    """Pictures of one artist, as training would see them.

    Attributes:
        artist: Whose.
        portfolio: With these pictures as its training pictures.
        inputs: What training sees of each, float32 (n, views, ...). Whoever has a picture and the run's
            settings can make its views: no secret goes into them.
    """

    artist: str
    portfolio: Portfolio
    inputs: Tensor

    @property
    def pictures(self) -> np.ndarray:
        """uint8 (n, s, s, 3)."""
        return self.portfolio.pictures

    @property
    def prepared(self) -> Tensor:
        """Each picture as it is, ready for training, float32 (n, ...)."""
        return self.inputs[:, 0]

    def only(self, index: int) -> Works:
        """One of the pictures by itself."""
        return self.some(np.arange(len(self)) == index)

    def some(self, chosen: np.ndarray) -> Works:
        """Those of the pictures that are chosen, bool (n,)."""
        few = merged(self.artist, [self.portfolio], [chosen])
        return Works(self.artist, few, self.inputs[torch.from_numpy(chosen)])

    def __len__(self) -> int:
        return len(self.inputs)


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
        self.system: AnySystem = system_bound(self.config)
        self.plan: Plan = plan_of(self.config, self.roster_length)
        present = present_defences(self.config, self.plan)
        self.noise = "noise" in present and "noise" not in settings.without
        self.clip = "clip" in present and "clip" not in settings.without
        self.rounds: tuple[RecordedRound, ...] = ()
        if self.config.audit.record != ("none",):
            self.rounds = tuple(read_rounds(run))
        self._works: dict[tuple[str, Which], Works] = {}
        self._tried: dict[tuple[str, Which], Works] = {}
        self._strangers: dict[tuple[int, bool, bytes], np.ndarray] = {}
        self._public: Works | None = None
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

    @cached_property
    def withdrawn(self) -> tuple[str, ...]:
        """Who has withdrawn by now, as far as their own ledgers are here: nothing of theirs is shown, and so
        no sheet at all, as pictures are sought among everybody's."""
        told = withdrawals(self.run, self.gallery.artists, self.run.studios) or {}
        return tuple(artist for artist, at in told.items() if at)

    def rng(self, purpose: str) -> np.random.Generator:
        """Draws of the audit itself: targets, candidates. The same for the same seed and purpose."""
        return np.random.default_rng([self.settings.seed, *purpose.encode()])

    def bytes(self, purpose: str) -> ByteSource:
        """Bytes for the noise of releases that are made anew: seeded, as nobody is protected by them."""
        return self.rng(purpose).bytes

    # The encoder and what it was sent with.

    @cached_property
    def first(self) -> State:
        """What artists were sent in the first round with training, else what the run ended with."""
        for recorded in self.rounds:
            if recorded.sent.round in self.plan.rounds_of(UPDATE):
                return recorded.sent
        return self.last

    @cached_property
    def last(self) -> State:
        """The product: the last state."""
        return State.load(self.run.product_file)

    def model(self, state: State) -> nn.Module:
        """The model of a state."""
        return self.system.model(state)

    @cached_property
    def trained(self) -> tuple[str, ...]:
        """Names of the trained tensors in the model's order, which gradients and canaries count in."""
        return tuple(split_arrays(self.model(self.first))[1])

    @cached_property
    def layouts(self) -> Layouts:
        """What the run's rounds look like."""
        return Layouts(self.config, self.plan, self.system.forms(self.first), self.roster_length)

    # Pictures.

    def works(self, artist: str, which: Which) -> Works:
        """An artist's pictures, prepared by the fixed part, without canaries."""
        if (artist, which) not in self._works:
            portfolio = self.gallery.portfolio(artist)
            chosen = ~portfolio.test if which == "train" else portfolio.test
            self._works[artist, which] = self._prepared(artist, [portfolio], [chosen])
        return self._works[artist, which]

    def tried(self, artist: str, which: Which) -> Works:
        """Those of an artist's pictures that are asked about: all, or few where each takes long."""
        if (artist, which) not in self._tried:
            most = max(_FEWEST_TRIED, self._most_tried // (2 * len(self.artists)))
            self._tried[artist, which] = self._few(self.works(artist, which), most, f"tried {artist} {which}")
        return self._tried[artist, which]

    def _few(self, works: Works, most: int, purpose: str) -> Works:
        if not self._most_tried or len(works) <= most:
            return works
        order = self.rng(purpose).permutation(len(works))
        return works.some(np.isin(np.arange(len(works)), order[:most]))

    @property
    def _most_tried(self) -> int:
        """0: there is no limit."""
        return self.settings.tried if self.system.dear else 0

    def members(self, artist: str) -> np.ndarray:
        """Which of the tried pictures trained, bool (n,): the training pictures, then the held-out ones."""
        inside, outside = len(self.tried(artist, "train")), len(self.tried(artist, "test"))
        return np.arange(inside + outside) < inside

    @cached_property
    def some_public(self) -> Works:
        """Those of the platform's own pictures that candidates are held against: all, or few where each takes
        long."""
        return self._few(self.public, max(_FEWEST_TRIED, self._most_tried // 4), "strangers")

    @property
    def public(self) -> Works:
        """The platform's own pictures."""
        if self._public is None:
            parts = [self.gallery.portfolio(name) for name in self.gallery.public_artists]
            everything = [np.ones(len(part.pictures), bool) for part in parts]
            self._public = self._prepared("(public)", parts, everything)
        return self._public

    def _prepared(self, artist: str, parts: Sequence[Portfolio], chosen: Sequence[np.ndarray]) -> Works:
        portfolio = merged(artist, parts, chosen)
        return Works(artist, portfolio, self.system.inputs(self.model(self.first), portfolio))

    def records(self, state: State, works: Works, artist: str = "") -> Records:
        """An artist's records of some pictures in a round.

        Args:
            state: What the artist was sent.
            works: The pictures.
            artist: Whose records they are taken for; their own artist's where empty.
        """
        model = self.model(state)
        return self.system.records(model, state, artist or works.artist, works.inputs, works.portfolio)

    # What the victim's own code would send.

    @property
    def sgd(self) -> DpSgd:
        """The run's DP-SGD of one round by one artist, less what the audit assumes to be missing; where noise
        is shared, with the share that an artist adds."""
        plan = self.plan.sgd
        if plan.shared is not None:
            plan = replace(plan, noise_multiplier=plan.deviation / plan.clip_norm, shared=None)
        noise = plan.noise_multiplier if self.noise else 0.0
        if self.clip or not np.isfinite(plan.clip_norm):
            return replace(plan, noise_multiplier=noise)
        # Noise of the same size on gradients of any length: the bound goes, the noise stays.
        return replace(plan, clip_norm=1e6, noise_multiplier=noise * plan.clip_norm / 1e6)

    def update_of_one(
        self, state: State, artist: str, works: Works, index: int, purpose: str, *, defended: bool = True
    ) -> dict[str, Tensor]:
        """The update of a round whose every drawn batch holds one picture, by the artist's own trainer.

        The worst case of a round, whether or not the run's sampler would draw it.

        Args:
            state: What the artist was sent.
            artist: Whose.
            works: What the picture is one of.
            index: Which.
            purpose: Names the draw of the noise.
            defended: With the run's clip and noise, or without either.
        """
        plan = replace(self.sgd if defended else _undefended(self.sgd), sampling_rate=1.0)
        return self._trained(state, self.records(state, works.only(index), artist), plan, purpose)

    def update_of_all(self, state: State, artist: str, *, defended: bool) -> dict[str, Tensor]:
        """The update of a round that the artist's own trainer makes of all its pictures.

        Args:
            state: What the artist was sent.
            artist: Whose.
            defended: With the run's clip, noise and sampling, or without any.
        """
        plan = self.sgd if defended else replace(_undefended(self.sgd), sampling_rate=1.0)
        records = self.records(state, self.works(artist, "train"))
        return self._trained(state, records, plan, f"all {artist} {state.round}")

    def _trained(self, state: State, records: Records, plan: DpSgd, purpose: str) -> dict[str, Tensor]:
        rng, read = self.rng(f"batches {purpose}"), self.bytes(f"noise {purpose}")
        return tensors(train(self.system, self.model(state), state, records, plan, rng, read=read))

    def strangers(self, state: State, artist: str, *, defended: bool = True) -> np.ndarray:
        """`gradients` of public pictures; where few are tried they are kept, as they take long and most
        artists would make the same."""
        if not self._most_tried:
            return self.gradients(state, artist, self.some_public, defended=defended)
        targets = self.records(state, self.some_public, artist).targets
        key = (state.round, defended, targets.numpy().tobytes())
        if key not in self._strangers:
            self._strangers[key] = self.gradients(state, artist, self.some_public, defended=defended)
        return self._strangers[key]

    def gradients(
        self,
        state: State,
        artist: str,
        works: Works,
        *,
        defended: bool = True,
        model: nn.Module | None = None,
    ) -> np.ndarray:
        """What each picture would add to an artist's update, by the victim's own code, float32 (n, p).

        A picture's gradient is the mean over its views, clipped as the artist clips.

        Args:
            state: What the artist was sent.
            artist: Whose update.
            works: Candidates, of this artist or another.
            defended: With the run's clip, or without.
            model: With other weights than the state's; None: with those.
        """
        records = self.records(state, works, artist)
        model = self.model(state) if model is None else model
        clip = self.sgd.clip_norm if defended else float("inf")
        model.train()
        loss = self.system.loss(model, state)
        return picture_gradients(model, loss, records.inputs, records.targets, clip).numpy()

    def remade(self, state: State, artist: str) -> dict[str, Tensor]:
        """A recorded update made again from the truth, as the artist trained: with canaries, without noise.

        Exact where the run had no noise, as its batches follow from its seed. With noise nobody knows who was
        drawn, and this is what a round gives on average at the weights that were sent.
        """
        portfolio = self.gallery.portfolio(artist)
        inside: tuple[int, ...] = ()
        kind = canary_kind(self.config)
        if kind is not None:
            canaries = Canaries.load(self.run.canaries_file, self.config, self.gallery)
            portfolio = PlantedGallery(self.config, self.gallery, canaries).portfolio(artist)
            inside = canaries.of(artist, inside_only=True) if kind == "gradient" else ()
        model = self.model(state)
        inputs = self.works(artist, "train").inputs
        if portfolio.canaries:
            inputs = self.system.inputs(model, portfolio)
        records = self.system.records(model, state, artist, inputs, portfolio)
        drawn = seeded(self.config.run.seed, artist, f"batches\n{state.round}")
        planted = gradient_canaries(self.layouts, inside)
        return tensors(train(self.system, model, state, records, averaged(self.plan.sgd), drawn, planted))

    def training(self, batch: int, *, defended: bool = True) -> LocalTraining:
        """What is known of a round's training with `batch` pictures in a step."""
        plan = self.sgd if defended else _undefended(self.sgd)
        clip = plan.clip_norm if np.isfinite(plan.clip_norm) else None
        # Our trainer divides by the expected number of pictures: a sum and a smaller step say the same.
        return LocalTraining(
            learning_rate=self.config.learning_rate / plan.expected_batch_size,
            steps=plan.steps,
            batch_size=batch,
            epochs=plan.steps,
            reduction="sum",
            clip_norm=clip,
            noise_std=plan.deviation,
            mode="eval",
            views=self.public.inputs.shape[1],
        )

    def observation(
        self,
        state: State,
        updates: tuple[dict[str, Tensor], ...],
        training: LocalTraining,
        targets: Tensor | None,
    ) -> Observation:
        """What an adversary holds of one artist's updates."""
        model = self.model(state)
        return Observation(
            model=model,
            weights={name: tensor.clone() for name, tensor in model.state_dict().items()},
            picture_shape=tuple(self.public.prepared.shape[1:]),
            updates=updates,
            training=training,
            loss=self.smooth_loss(model, state),
            normalisation=self.normalisation,
            targets=targets,
            public_pictures=self.seen(self.public.prepared),
        )

    def smooth_loss(self, model: nn.Module, state: State) -> Loss:
        """The artists' loss as attacks need it: with a second derivative, and under `vmap`."""
        if self.system.smooth_loss:
            found: Loss = load(self.system.smooth_loss)
            return found
        return self.system.loss(model, state)

    @cached_property
    def normalisation(self) -> Normalisation | None:
        """From pictures in [0, 1] to what training sees; None where it sees features."""
        channels = self.public.prepared.shape[1]
        return Normalisation((0.5,) * channels, (0.5,) * channels) if self.images else None

    @cached_property
    def images(self) -> bool:
        """Whether what trains sees pictures, and neither features nor more than a picture."""
        return self.system.plain and self.public.prepared.ndim == 4

    @cached_property
    def sees_features(self) -> bool:
        """Whether a linear layer trains that sees what training sees: then it comes back in closed form."""
        if self.images or not self.system.plain:
            return False
        width, model = self.public.prepared.shape[-1], self.model(self.first)
        return any(
            isinstance(layer, nn.Linear) and layer.weight.requires_grad and layer.in_features == width
            for layer in model.modules()
        )

    def seen(self, prepared: Tensor) -> Tensor:
        """What training sees as attacks take it: pictures in [0, 1], features as they are."""
        return ((prepared + 1) / 2).clamp(0, 1) if self.images else prepared

    @cached_property
    def blind(self) -> Blind:
        """What a guess about membership reaches that looks at no model: at colours and textures alone.

        Where a split puts pictures of one book into training and of another into the test, this is large, and
        an attack has shown something about the model only beyond it.
        """
        features, truth = {}, {}
        for artist in self.artists:
            both = [self.tried(artist, which) for which in ("train", "test")]
            features[artist] = self.system.blind_features(np.concatenate([works.pictures for works in both]))
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

    @cached_property
    def public_sizes(self) -> list[int]:
        """Pictures of each public artist."""
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
        if not self.plan.rounds_of(UPDATE):
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
        wanted = self.plan.kinds if kinds is None else kinds
        shared = self.plan.shared is not None or any(self.plan.kinds[kind].shared for kind in wanted)
        # A share by itself has next to no noise: all that covers it is that nobody sees it alone.
        unsealed = shared and not summed and without & {"encryption", "masks", "min_cohort", "opener_checks"}
        unclipped = "clip" in without and (shared or kinds is None or UPDATE in kinds)
        if not self.noise or unsealed or unclipped:
            return [NO_GUARANTEE]
        return planned(self.plan, kinds, last)

    def _check_ledgers(self) -> None:
        if not self._ledgers_checked:
            ledgers = read_json(self.run.ledger_file, dict, AuditError)
            require_planned(ledgers, self.run.identity, self.plan, self.config.privacy.delta)
            self._ledgers_checked = True


def merged(artist: str, parts: Sequence[Portfolio], chosen: Sequence[np.ndarray]) -> Portfolio:
    """Some pictures of portfolios as the training pictures of one.

    Args:
        artist: Its name.
        parts: Portfolios.
        chosen: bool (n,) for each.
    """

    def named(column: str) -> tuple[str, ...]:
        pairs = (zip(getattr(p, column), c, strict=True) for p, c in zip(parts, chosen, strict=True))
        return tuple(value for pair in pairs for value, wanted in pair if wanted)

    pictures = np.concatenate([p.pictures[c] for p, c in zip(parts, chosen, strict=True)])
    test = np.zeros(len(pictures), bool)
    return Portfolio(artist, pictures, test, named("names"), named("sha256"), named("labels"))


def _undefended(plan: DpSgd) -> DpSgd:
    return replace(plan, clip_norm=float("inf"), noise_multiplier=0.0)
