"""The artist's side: a studio that trains on its own portfolio, and the ClientApp around it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from flwr.app import Context, Error, Message
from flwr.clientapp import ClientApp

from fedstyle_secure.config import Config, StyleSection
from fedstyle_secure.errors import (
    BudgetError,
    FederationError,
    GalleryError,
    PrivacyError,
    SecureSumError,
    WithdrawnError,
)
from fedstyle_secure.federation.codes import Decline
from fedstyle_secure.federation.offers import Offer, Place, add_upload, announcement_record
from fedstyle_secure.federation.protocol import Instruction, reply_record, withdrawal_record
from fedstyle_secure.federation.releases import Layouts
from fedstyle_secure.federation.sums import RoundSum, epoch_of
from fedstyle_secure.files import PRIVATE, append, private_folder, write_text
from fedstyle_secure.galleries.base import Portfolio
from fedstyle_secure.galleries.canaries import coordinates
from fedstyle_secure.privacy.budget import budget_of
from fedstyle_secure.privacy.dp_sgd import DPTrainer, GradientCanaries
from fedstyle_secure.privacy.gate import Gate, Release, Sealed
from fedstyle_secure.privacy.plan import Plan
from fedstyle_secure.secure_sum.artist_side import Member, Pins
from fedstyle_secure.secure_sum.codes import Code, Refusal
from fedstyle_secure.secure_sum.messages import Upload
from fedstyle_secure.studios import IDENTITY, OPENER
from fedstyle_secure.style.alone import one_at_a_time
from fedstyle_secure.style.encoder import StyleEncoder
from fedstyle_secure.style.encoders import encoder_from_arrays, prepare_views
from fedstyle_secure.style.losses import PrototypeContrast
from fedstyle_secure.style.prototypes import MOST_STYLES, PictureRows
from fedstyle_secure.threads import one_thread

_LONGEST = 1.001
"""Prototypes and cards are unit vectors, but for rounding."""


class Studio:
    """One artist: its pictures, its ledger and what it answers."""

    def __init__(
        self,
        home: Path,
        run: str,
        config: Config,
        plan: Plan,
        artists: int,
        portfolio: Portfolio,
        gradients: tuple[int, ...] = (),
    ) -> None:
        """Open the studio.

        Args:
            home: The artist's own folder: ledger, last releases, sampling key, log.
            run: Identity of the run.
            config: The run's settings.
            plan: Solved by the artist itself from those settings.
            artists: Length of the roster.
            portfolio: The artist's pictures; only the training ones are used.
            gradients: Gradient canaries that train with them, by their index in the run.
        """
        self.artist = portfolio.artist
        self._home = home
        self._run = run
        self._artists = artists
        self._config = config
        self._plan = plan
        self._pictures = portfolio.train_pictures
        self._labels = portfolio.train_styles
        self._canaries = portfolio.canaries
        self._gradients = gradients
        self._gate = Gate(home, run, budget_of(config.privacy))
        self._prepared: tuple[str, torch.Tensor] | None = None

    def announce(self, place: Place) -> bytes:
        """The artist's signed ephemeral key for an attempt at a sum.

        Raises:
            SecureSumError: The attempt, or a later one, was answered before.
            FederationError: It is another run's.
        """
        if place.run != self._run:
            raise FederationError("the attempt is of another run")
        self._gate.require_consent()
        return self._member("").announce(place.run, place.epoch, place.round, place.attempt)

    def seal(self, sealed: Sealed, instruction: Instruction, offer: Offer) -> Upload:
        """Mask, encrypt and sign what the round sums, for an opener that the artist knows.

        Raises:
            SecureSumError: Something in the offer is not what the artist insists on; nothing is sealed.
            FederationError: The offer is of another round or run.
        """
        summed = self._summed(instruction)
        pin = (self._home.parent / OPENER / IDENTITY).read_text(encoding="utf-8")
        manifest = offer.signed.read(pin)
        place = (manifest.run, manifest.epoch, manifest.round)
        epoch = epoch_of(self._config, self._plan, instruction.round)
        if summed is None or place != (self._run, epoch, instruction.round):
            raise FederationError("the offer is not of this round")
        # All of one sum were asked the same, or a platform could ask all but one for nothing.
        if manifest.context != instruction.digest():
            raise FederationError("the offer is of another instruction")
        if manifest.settings != self._config.digest():
            raise Refusal(Code.SETTINGS)
        # Everything that protects the artist follows from its own settings: cohort, thresholds, noise, range.
        if manifest.terms != summed.terms:
            raise Refusal(Code.TERMS)
        read = os.urandom if self._noisy() else self._rng(f"rounding\n{instruction.round}").bytes
        values = summed.encode(sealed.arrays, read)
        return self._member(pin).seal(values, offer.signed, offer.announced(manifest), offer.public)

    def summed_kinds(self, instruction: Instruction) -> frozenset[str]:
        """Kinds of release that leave inside a sum only."""
        summed = self._summed(instruction)
        return frozenset(part.kind for part in summed.parts) if summed else frozenset()

    def _summed(self, instruction: Instruction) -> RoundSum | None:
        return self._layouts(instruction).summed(instruction.round)

    def _layouts(self, instruction: Instruction) -> Layouts:
        encoder = encoder_from_arrays(self._config.style, instruction.encoder)
        trained = {name: array.shape for name, array in encoder.trainable_arrays().items()}
        styles, dim = instruction.styles.prototypes.shape
        return Layouts(self._config, self._plan, trained, styles, dim, self._artists)

    def _member(self, opener: str) -> Member:
        # What else it insists on is checked against its own terms, which are stricter than any pin.
        member = Member(self._home / "sum", self.artist, Pins(opener, 2, 0))
        if not (self._home / IDENTITY).exists():
            write_text(self._home / IDENTITY, member.public, mode=PRIVATE)
        return member

    def _noisy(self) -> bool:
        return self._config.privacy.dp == "on" and self._config.privacy.noise_multiplier != 0

    def answer(self, instruction: Instruction) -> Sealed:
        """What the plan has for this round, made and entered in the ledger.

        Raises:
            FederationError: The instruction does not fit the encoder, the plan or the settings.
            PrivacyError: Answering would break the guarantee.
        """
        schedule = self._plan.schedule
        if instruction.round not in range(schedule.rounds):
            raise FederationError(f"round {instruction.round} is not in the plan's {schedule.rounds}")
        if instruction.styles.by_label != (self._config.styles.source == "labels"):
            raise FederationError("the instruction's styles are not of the kind that the settings say")
        if not instruction.styles.by_label and len(instruction.styles.names) != self._config.styles.count:
            raise FederationError("the instruction has another number of styles than the settings say")
        request = hashlib.sha256(f"{self.artist}\n{instruction.digest()}".encode()).hexdigest()
        for what, names, most in (
            ("styles", instruction.styles.names, MOST_STYLES),
            ("cards", instruction.card_artists, self._artists),
        ):
            # What a platform may choose is bounded by what everybody knows, or it could choose sizes at which
            # an artist's machine fails beyond some number of pictures.
            if len(names) > most or len(set(names)) < len(names):
                raise FederationError(
                    f"the instruction has {len(names)} {what}: valid are {most} at most, each once"
                )
        for name, rows in (("prototypes", instruction.styles.prototypes), ("cards", instruction.cards)):
            if not (np.square(rows.astype(np.float64)).sum(axis=1) <= _LONGEST**2).all():
                raise FederationError(f"instruction: tensor {name!r} must have rows of length at most 1")
        encoder = encoder_from_arrays(self._config.style, instruction.encoder)
        self._require_fixed(encoder.fixed_digest())
        if instruction.styles.prototypes.shape[1] != encoder.width:
            raise FederationError("the instruction's prototypes are not as wide as what the encoder gives")
        return self._gate.send(request, instruction.round, lambda: self._releases(instruction, encoder))

    def _require_fixed(self, digest: str) -> None:
        """What never trains stays as it was in the first instruction of a run that this artist answered.

        Raises:
            FederationError: It is another one.
        """
        kept = self._home / "fixed" / self._run
        if not kept.exists():
            private_folder(kept.parent)
            write_text(kept, digest, mode=PRIVATE)
        if kept.read_text(encoding="ascii") != digest:
            raise FederationError("the encoder's fixed part is not the one that the run began with")

    def _releases(self, instruction: Instruction, encoder: StyleEncoder) -> list[Release]:
        inputs = self._inputs(encoder)
        vectors = encoder.released(inputs[:, 0])
        assigned = instruction.styles.assign(vectors, self._labels)
        rows = PictureRows(vectors, assigned, len(instruction.styles.names))
        update = {}
        if instruction.round in self._plan.schedule.updates:
            update = self._train(encoder, inputs, assigned, instruction)
        if self._plan.shared is not None:
            return self._shared_sum(instruction, update, rows)
        return self._own_releases(instruction, encoder, inputs, vectors, rows, update)

    def _own_releases(
        self,
        instruction: Instruction,
        encoder: StyleEncoder,
        inputs: torch.Tensor,
        vectors: np.ndarray,
        rows: PictureRows,
        update: dict[str, np.ndarray],
    ) -> list[Release]:
        """Unit artwork: each release has all of its noise."""
        schedule, plan, releases = self._plan.schedule, self._plan, []
        if instruction.round in schedule.cards and self._publishes_card():
            releases.append(Release("card", {"card": plan.card.apply(vectors)}, plan.card))
        if instruction.round in schedule.prototypes:
            releases.append(Release("prototypes", {"sums": plan.prototypes.apply(rows)}, plan.prototypes))
        if update:
            releases.append(Release("update", update, plan.sgd))
        if instruction.round in schedule.metrics and self.artist in instruction.card_artists:
            flags = self._found(instruction, encoder, inputs)
            releases.append(Release("metrics", {"counts": plan.metrics.apply(flags)}, plan.metrics))
        return releases

    def _shared_sum(
        self, instruction: Instruction, update: dict[str, np.ndarray], rows: PictureRows
    ) -> list[Release]:
        """Unit artist: one vector for everything, with this artist's share of the sum's noise."""
        if instruction.round not in self._plan.schedule.sums:
            return []
        layout = self._layouts(instruction).vector(instruction.round)
        return self._share(layout.join(update, rows))

    def _share(self, vector: np.ndarray) -> list[Release]:
        mechanism = self._plan.shared_for(len(vector))
        return [Release("sum", {"sum": mechanism.noise.share(vector)}, mechanism)]

    def _found(self, instruction: Instruction, encoder: StyleEncoder, inputs: torch.Tensor) -> np.ndarray:
        """bool (n, 2), a row a training picture that is no canary: there, and its artist's card nearest."""
        pictures = inputs[: len(inputs) - self._canaries, 0]
        cards = encoder.place(instruction.cards)
        embedded = torch.from_numpy(encoder.embed(pictures))
        nearest = one_at_a_time(lambda one: (one @ cards.T).argmax(dim=1), embedded).numpy()
        found = nearest == instruction.card_artists.index(self.artist)
        return np.stack([np.ones_like(found), found], axis=1)

    def _train(
        self, encoder: StyleEncoder, inputs: torch.Tensor, assigned: np.ndarray, instruction: Instruction
    ) -> dict[str, np.ndarray]:
        before = encoder.trainable_arrays()
        loss, targets = training_loss(self._config.style, encoder, instruction, self.artist, assigned)
        trainer = DPTrainer(encoder, loss, self._plan.sgd, self._config.training.learning_rate)
        size = sum(array.size for array in before.values())
        trainer.fit(inputs, targets, self._batch_rng(instruction.round), self._gradient_canaries(size))
        return {name: after - before[name] for name, after in encoder.trainable_arrays().items()}

    def _gradient_canaries(self, size: int) -> GradientCanaries:
        if not self._gradients:
            return GradientCanaries((), self._config.privacy.clip_norm)
        places = coordinates(self._config.run.seed, self._config.audit.canaries, size)
        return GradientCanaries(tuple(places[list(self._gradients)].tolist()), self._config.privacy.clip_norm)

    def _publishes_card(self) -> bool:
        consent = self._config.cards.consent
        return consent == ("all",) or self.artist in consent

    def _inputs(self, encoder: StyleEncoder) -> torch.Tensor:
        """The prepared pictures and their views, kept while the encoder's fixed part stays the same."""
        key = encoder.fixed_digest()
        if self._prepared is None or self._prepared[0] != key:
            views = prepare_views(
                encoder, self._pictures, self._config.style.views, str(self._config.run.seed)
            )
            self._prepared = (key, views)
        return self._prepared[1]

    def _batch_rng(self, number: int) -> np.random.Generator:
        """Draws the Poisson batches of a round.

        Amplification by sampling holds only while nobody knows who was drawn, and the ledger composes draws
        as independent; so with noise on they come from OS entropy, anew for each answer, which the gate
        keeps. Without noise they follow from the seed.
        """
        if self._plan.sgd.noise_multiplier > 0:
            return np.random.default_rng(int.from_bytes(os.urandom(32), "little"))
        return self._rng(f"batches\n{number}")

    def _rng(self, purpose: str) -> np.random.Generator:
        text = f"{self._config.run.seed}\n{self.artist}\n{purpose}"
        return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest(), "little"))


def training_loss(
    style: StyleSection, encoder: StyleEncoder, instruction: Instruction, artist: str, assigned: np.ndarray
) -> tuple[PrototypeContrast, torch.Tensor]:
    """What an artist trains on: contrast against prototypes and cards. An artist with a card trains toward
    it, one without toward its pictures' prototypes.

    Args:
        style: The encoder's settings.
        encoder: Trains; cards are placed under its current weights.
        instruction: Prototypes and cards.
        artist: Whose pictures they are.
        assigned: int64 (n,), style of each picture.

    Returns:
        The loss, and its targets, int64 (n, 2).
    """
    styles = instruction.styles
    anchors = np.concatenate([styles.prototypes, instruction.cards])
    targets = np.stack([assigned, np.full_like(assigned, -1)], axis=1)
    if artist in instruction.card_artists:
        targets[:, 1] = assigned
        targets[:, 0] = len(styles.names) + instruction.card_artists.index(artist)
    loss = PrototypeContrast(lambda: encoder.place(anchors), style.temperature, style.alignment)
    return loss, torch.from_numpy(targets)


class CanaryStudio(Studio):
    """A canary artist: without pictures, to be looked for where the unit of privacy is the artist.

    Inside, its vector has the clip's whole length along one coordinate of its own; outside it is zeros.
    Either way it sends its share of noise, and its reply looks like any other: "zero-out" neighbours.
    """

    def __init__(
        self,
        home: Path,
        run: str,
        config: Config,
        plan: Plan,
        artists: int,
        portfolio: Portfolio,
        *,
        index: int,
        inside: bool,
    ) -> None:
        """Args: as for Studio. index: Which canary of the run. inside: What its coin says."""
        super().__init__(home, run, config, plan, artists, portfolio)
        self._index = index
        self._inside = inside

    def _releases(self, instruction: Instruction, encoder: StyleEncoder) -> list[Release]:
        if instruction.round not in self._plan.schedule.sums:
            return []
        size = self._layouts(instruction).vector(instruction.round).size
        vector = np.zeros(size)
        if self._inside:
            places = coordinates(self._config.run.seed, self._config.audit.canaries, size)
            vector[places[self._index]] = self._plan.shared_for(size).noise.clip_norm
        return self._share(vector)


def build_client_app(studio_of: Callable[[Context], Studio], home_of: Callable[[Context], Path]) -> ClientApp:
    """The ClientApp around studios.

    Args:
        studio_of: Opens the studio of a node.
        home_of: The artist's own folder, where details of errors go.
    """
    app = ClientApp()

    @app.query("announce")
    def announce(message: Message, context: Context) -> Message:
        try:
            studio = studio_of(context)
            data = studio.announce(Place.from_record(message.content))
            return Message(announcement_record(studio.artist, data), reply_to=message)
        except Exception as error:
            return _decline(error, home_of, message, context)

    @app.train()
    def train(message: Message, context: Context) -> Message:
        try:
            with one_thread():
                studio = studio_of(context)
                instruction = Instruction.from_record(message.content)
                offer = Offer.from_record(message.content)
                sealed = studio.answer(instruction)
                reply = reply_record(studio.artist, sealed, studio.summed_kinds(instruction))
                if offer is not None:
                    add_upload(reply, studio.seal(sealed, instruction, offer))
            return Message(reply, reply_to=message)
        except WithdrawnError:
            return Message(withdrawal_record(studio.artist), reply_to=message)
        except Exception as error:
            return _decline(error, home_of, message, context)

    return app


def _decline(
    error: Exception, home_of: Callable[[Context], Path], message: Message, context: Context
) -> Message:
    """A number and a fixed phrase; the rest goes to the artist's own log."""
    code = _code(error)
    # A folder that cannot even be named must not turn into an exception with its name in it.
    with contextlib.suppress(Exception):
        _log(home_of(context))
    return Message(Error(code=code, reason=code.phrase), reply_to=message)


def _code(error: Exception) -> Decline | Code:
    if isinstance(error, Refusal):
        return error.code
    if isinstance(error, FederationError):
        return Decline.MALFORMED
    if isinstance(error, WithdrawnError):
        return Decline.WITHDRAWN
    if isinstance(error, BudgetError):
        return Decline.BUDGET
    if isinstance(error, PrivacyError | SecureSumError):
        return Decline.REFUSED
    if isinstance(error, GalleryError):
        return Decline.PORTFOLIO
    if isinstance(error, OSError | MemoryError):
        return Decline.MACHINE
    return Decline.INTERNAL


def _log(home: Path) -> None:
    text = traceback.format_exc() + "\n"
    append(private_folder(home) / "artist.log", text.encode(), synced=False, mode=PRIVATE)
