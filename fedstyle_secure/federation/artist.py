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
from torch import nn

from fedstyle_secure.errors import (
    BudgetError,
    FederationError,
    GalleryError,
    PolicyDeclined,
    PrivacyError,
    SecureSumError,
    StrangerError,
    WithdrawnError,
)
from fedstyle_secure.federation.bundle import BundleError
from fedstyle_secure.federation.codes import Decline
from fedstyle_secure.federation.fixed import FixedPartMissing, FixedParts
from fedstyle_secure.federation.local_training import gradient_canaries, releases, seeded, share
from fedstyle_secure.federation.offers import Offer, Place, add_upload, announcement_record
from fedstyle_secure.federation.protocol import Instruction, reply_record, withdrawal_record
from fedstyle_secure.federation.releases import Layouts
from fedstyle_secure.federation.sums import epoch_of
from fedstyle_secure.files import PRIVATE, log_text, private_folder, write_text
from fedstyle_secure.galleries.base import Portfolio
from fedstyle_secure.galleries.canaries import coordinates
from fedstyle_secure.privacy.budget import budget_of
from fedstyle_secure.privacy.gate import Gate, Release, Sealed
from fedstyle_secure.privacy.ledger import Works
from fedstyle_secure.privacy.limits import Limits
from fedstyle_secure.privacy.noise import ByteSource
from fedstyle_secure.privacy.plan import Plan
from fedstyle_secure.secure_sum.artist_side import Member, Pins
from fedstyle_secure.secure_sum.codes import Code, Refusal
from fedstyle_secure.secure_sum.messages import Upload
from fedstyle_secure.studios import IDENTITY
from fedstyle_secure.system import AnySystem, State, require_parts
from fedstyle_secure.threads import one_thread


class Studio:
    """One artist: its pictures, its ledger and what it answers."""

    def __init__(
        self,
        home: Path,
        run: str,
        system: AnySystem,
        plan: Plan,
        artists: int,
        portfolio: Portfolio,
        opener: Callable[[], str],
        gradients: tuple[int, ...] = (),
        limits: Limits | None = None,
        works: Works | None = None,
    ) -> None:
        """Open the studio.

        Args:
            home: The artist's own folder: ledger, last releases, sampling key, log.
            run: Identity of the run.
            system: What is learned, under the run's settings.
            plan: Solved by the artist itself from those settings.
            artists: Length of the roster.
            portfolio: The artist's pictures; only the training ones are used.
            opener: Gives the opener's public identity key, as the artist knows it, when it is first needed.
            gradients: Gradient canaries that train with them, by their index in the run.
            limits: What the artist's own policy lets out beside; None: it has none.
            works: Which works these are, for the ledger; None: nobody decides of works one by one.
        """
        self.artist = portfolio.artist
        self._home = home
        self._run = run
        self._artists = artists
        self._system = system
        self._config = system.config
        self._plan = plan
        self._portfolio = portfolio
        self._opener = opener
        self._gradients = gradients
        self._gate = Gate(home, run, budget_of(self._config.privacy), limits, works)
        self._fixed = FixedParts(home, run)
        self._inputs: tuple[str, torch.Tensor] | None = None

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

    def state(self, instruction: Instruction) -> State:
        """The state that an instruction means.

        Raises:
            FixedPartMissing: Its fixed part was not sent, and is not kept.
        """
        return self._fixed.state(instruction)

    def layouts(self, state: State) -> Layouts:
        """What the run's rounds look like, by a state that was sent."""
        return Layouts(self._config, self._plan, self._system.forms(state), self._artists)

    def answer(self, state: State, *, offered: bool) -> Sealed:
        """What the plan has for this round, made and entered in the ledger.

        Args:
            state: As it was sent.
            offered: Whether a sum was offered. Without one, what leaves inside a sum only cannot leave: it is
                not made, and costs nothing.

        Raises:
            FederationError: The state does not fit the system, the plan or the settings.
            PrivacyError: Answering would break the guarantee.
        """
        if state.round not in range(self._plan.rounds):
            raise FederationError(f"round {state.round} is not in the plan's {self._plan.rounds}")
        self._system.admit(state, self._artists)
        model = self._system.model(state)
        require_parts(model, state)
        self._fixed.settle(state)
        request = hashlib.sha256(f"{self.artist}\n{state.digest}".encode()).hexdigest()
        return self._gate.send(request, state.round, lambda: self._leaving(state, model, offered))

    def seal(self, sealed: Sealed, state: State, offer: Offer) -> Upload:
        """Mask, encrypt and sign what the round sums, for an opener that the artist knows.

        Raises:
            SecureSumError: Something in the offer is not what the artist insists on; nothing is sealed.
            FederationError: The offer is of another round or run.
        """
        summed = self.layouts(state).summed(state.round)
        pin = self._opener()
        manifest = offer.signed.read(pin)
        place = (manifest.run, manifest.epoch, manifest.round)
        if summed is None or place != (
            self._run,
            epoch_of(self._config, self._plan, state.round),
            state.round,
        ):
            raise FederationError("the offer is not of this round")
        # All of one sum were asked the same, or a platform could ask all but one for nothing.
        if manifest.context != state.digest:
            raise FederationError("the offer is of another instruction")
        if manifest.settings != self._config.digest():
            raise Refusal(Code.SETTINGS)
        # Everything that protects the artist follows from its own settings: cohort, thresholds, noise, range.
        if manifest.terms != summed.terms:
            raise Refusal(Code.TERMS)
        if self.layouts(state).summed_kinds(state.round) - set(sealed.arrays):
            raise FederationError("the round was answered without its sum")
        values = summed.encode(sealed.arrays, self._rounding(state.round))
        return self._member(pin).seal(values, offer.signed, offer.announced(manifest), offer.public)

    def _leaving(self, state: State, model: nn.Module, offered: bool) -> list[Release]:
        inside = frozenset() if offered else self.layouts(state).summed_kinds(state.round)
        return [release for release in self._releases(state, model) if release.kind not in inside]

    def _rounding(self, number: int) -> ByteSource:
        """Bytes for rounding: secret where there is noise, which it is part of."""
        if self._config.privacy.dp == "on" and self._config.privacy.noise_multiplier != 0:
            return os.urandom
        return seeded(self._config.run.seed, self.artist, f"rounding\n{number}").bytes

    def _member(self, opener: str) -> Member:
        # What else it insists on is checked against its own terms, which are stricter than any pin.
        member = Member(self._home / "sum", self.artist, Pins(opener, 2, 0))
        if not (self._home / IDENTITY).exists():
            write_text(self._home / IDENTITY, member.public, mode=PRIVATE)
        return member

    def _releases(self, state: State, model: nn.Module) -> list[Release]:
        layouts = self.layouts(state)
        # Kept while the fixed part stays, which is all that it depends on besides the pictures.
        if self._inputs is None or self._inputs[0] != state.fixed_digest:
            self._inputs = (state.fixed_digest, self._system.inputs(model, self._portfolio))
        records = self._system.records(model, state, self.artist, self._inputs[1], self._portfolio)
        canaries = gradient_canaries(layouts, self._gradients)
        return releases(self._system, layouts, model, state, self.artist, records, canaries)


class CanaryStudio(Studio):
    """A canary artist: without pictures, to be looked for where the unit of privacy is the artist.

    Inside, its vector has the clip's whole length along one coordinate of its own; outside it is zeros.
    Either way it sends its share of noise, and its reply looks like any other: "zero-out" neighbours.
    """

    def __init__(
        self,
        home: Path,
        run: str,
        system: AnySystem,
        plan: Plan,
        artists: int,
        portfolio: Portfolio,
        opener: Callable[[], str],
        *,
        index: int,
        inside: bool,
    ) -> None:
        """Args: as for Studio. index: Which canary of the run. inside: What its coin says."""
        super().__init__(home, run, system, plan, artists, portfolio, opener)
        self._index = index
        self._inside = inside

    def _releases(self, state: State, model: nn.Module) -> list[Release]:
        layouts = self.layouts(state)
        if state.round not in self._plan.sums:
            return []
        mechanism = layouts.shared(state.round)
        vector = np.zeros(mechanism.noise.size)
        if self._inside:
            places = coordinates(self._config.run.seed, self._config.audit.canaries, len(vector))
            vector[places[self._index]] = mechanism.noise.clip_norm
        return share(layouts, state.round, vector)


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
                state = studio.state(Instruction.from_record(message.content))
                offer = Offer.from_record(message.content)
                sealed = studio.answer(state, offered=offer is not None)
                summed = studio.layouts(state).summed_kinds(state.round)
                reply = reply_record(studio.artist, sealed, summed)
                if offer is not None:
                    add_upload(reply, studio.seal(sealed, state, offer))
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
    code = decline_of(error)
    # A folder that cannot even be named must not turn into an exception with its name in it.
    with contextlib.suppress(Exception):
        _log(home_of(context))
    return Message(Error(code=code, reason=code.phrase), reply_to=message)


def decline_of(error: Exception) -> Decline | Code:
    """What may be told of an error: a number with a fixed phrase."""
    if isinstance(error, Refusal):
        return error.code
    if isinstance(error, FixedPartMissing):
        return Decline.FIXED_PART
    if isinstance(error, BundleError):
        return Decline.BUNDLE
    if isinstance(error, StrangerError):
        return Decline.STRANGER
    if isinstance(error, FederationError):
        return Decline.MALFORMED
    if isinstance(error, WithdrawnError):
        return Decline.WITHDRAWN
    if isinstance(error, BudgetError):
        return Decline.BUDGET
    if isinstance(error, PolicyDeclined):
        return Decline.POLICY
    if isinstance(error, PrivacyError | SecureSumError):
        return Decline.REFUSED
    if isinstance(error, GalleryError):
        return Decline.PORTFOLIO
    if isinstance(error, OSError | MemoryError):
        return Decline.MACHINE
    return Decline.INTERNAL


def _log(home: Path) -> None:
    log_text(private_folder(home) / "artist.log", traceback.format_exc() + "\n")
