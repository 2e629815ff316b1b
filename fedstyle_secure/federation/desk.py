"""The opener's node: what it answers, and what it insists on before its key is touched.

It is a ClientApp on a node of its own. The platform reaches it by messages only. It reads the artists' public
identity keys where the artists left them, which stands for a channel that the platform has no part in.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path

from flwr.app import ConfigRecord, Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp

from fedstyle_secure.config import Config
from fedstyle_secure.errors import FederationError, PrivacyError, SecureSumError
from fedstyle_secure.federation.codes import Decline
from fedstyle_secure.federation.offers import (
    closing_record,
    manifest_record,
    opening_record,
    read_closing_request,
    read_manifest_request,
    read_open_request,
)
from fedstyle_secure.federation.sums import epoch_of, sums_something
from fedstyle_secure.files import PRIVATE, create, private_folder, read_secret, write_text
from fedstyle_secure.privacy.plan import Plan
from fedstyle_secure.secure_sum.codes import Code, Refusal
from fedstyle_secure.secure_sum.manifest import Terms
from fedstyle_secure.secure_sum.opener import Opener
from fedstyle_secure.studios import IDENTITY
from fedstyle_secure.threads import one_thread

PASSPHRASE_VARIABLE = "FEDSTYLE_OPENER_PASSPHRASE"
"""Unlocks the opener's keys on disk. Without it a key file beside them does: enough for a simulation."""


class Desk:
    """The opener of the artists of one run."""

    def __init__(
        self, home: Path, run: str, keys: Mapping[str, Callable[[], str]], config: Config, plan: Plan
    ) -> None:
        """
        Args:
            home: The opener's own folder.
            run: Identity of the run.
            keys: By artist: gives its public identity key, as the opener knows it; "" while it does not,
                as one that is not there yet may come.
            config: The run's settings.
            plan: Solved by the opener itself from those settings.
        """
        self._opener = Opener(home, _passphrase(home))
        write_text(home / IDENTITY, self._opener.public, mode=PRIVATE)
        self._run = run
        self._keys = keys
        self._config = config
        self._plan = plan

    @property
    def public(self) -> str:
        """Its public identity key."""
        return self._opener.public

    def hello(self, record: RecordDict) -> RecordDict:
        """Say that this is the opener, so that its key is there for others to pin."""
        return RecordDict({"hello": ConfigRecord({"role": "opener"})})

    def manifest(self, record: RecordDict) -> RecordDict:
        """Sign a manifest for a cohort.

        Raises:
            FederationError: The request is malformed.
            SecureSumError: It is refused.
        """
        place, cohort, terms, context = read_manifest_request(record)
        self._check(terms)
        planned = sums_something(self._config, self._plan, place.round)
        if place.run != self._run or not planned or place.round not in range(self._plan.rounds):
            raise Refusal(Code.EPOCH)
        if place.epoch != epoch_of(self._config, self._plan, place.round):
            raise Refusal(Code.EPOCH)
        self._end(before=place.epoch)
        for artist in cohort:
            known = self._keys[artist]() if artist in self._keys else ""
            if known:
                self._opener.enrol(artist, known)
        self._opener.begin(place.run, place.epoch, terms)
        return manifest_record(
            *self._opener.manifest(
                place.run, place.epoch, place.round, place.attempt, cohort, context, self._config.digest()
            )
        )

    def open(self, record: RecordDict) -> RecordDict:
        """Open the sum of a whole cohort.

        Raises:
            FederationError: The request is malformed.
            SecureSumError: It is refused.
        """
        opening = self._opener.open(read_open_request(record))
        return opening_record(opening.total, opening.kept, opening.line)

    def close(self, record: RecordDict) -> RecordDict:
        """Sign what the run's files hold at its end.

        Raises:
            FederationError: The request is malformed.
            SecureSumError: It is refused.
        """
        run, files = read_closing_request(record)
        if run != self._run:
            raise Refusal(Code.EPOCH)
        return closing_record(self._opener.close(run, self._config.digest(), files))

    def end(self, record: RecordDict) -> RecordDict:
        """The run is over: erase every key of it that is left."""
        self._end(before=self._plan.rounds)
        return RecordDict({"hello": ConfigRecord({"role": "opener"})})

    def _end(self, before: int) -> None:
        """End the run's earlier epochs, also those whose last sum was never opened."""
        for epoch in range(before):
            self._opener.end(self._run, epoch)

    def _check(self, terms: Terms) -> None:
        """Refuse terms that are weaker than the settings, whatever the platform asks for."""
        summed = [kind for kind in self._plan.kinds.values() if kind.leaves == "summed" and kind.rounds]
        least, by_artist = max((kind.least for kind in summed), default=2), self._plan.shared
        cohorts = [kind.shared.cohort for kind in summed if kind.shared is not None]
        noisy = bool(cohorts)
        if by_artist is not None:
            cohorts, noisy = [by_artist.cohort], by_artist.noise.noise_multiplier > 0
        cohort = max([2, *cohorts, *([] if by_artist else [least])])
        weak = terms.k_min < cohort or terms.n_max > len(self._keys)
        weak |= terms.groups is not None and terms.groups.threshold < least
        if cohorts:
            # A share is no noise to speak of: what counts is how many are sure to be there.
            weak |= terms.noise is None and noisy
            weak |= terms.noise is not None and terms.noise.n_min < max(cohorts)
        else:
            weak |= terms.groups is None and all(kind.count for kind in summed)
        if weak:
            raise Refusal(Code.TERMS)


def add_desk(app: ClientApp, desk: Callable[[Context], Desk]) -> None:
    """Give a ClientApp the opener's answers.

    Args:
        app: The app.
        desk: The desk of a node; raises FederationError where the node is no opener.
    """

    def answer(message: Message, context: Context, act: Callable[[Desk, RecordDict], RecordDict]) -> Message:
        try:
            with one_thread():
                return Message(act(desk(context), message.content), reply_to=message)
        except Exception as error:
            code = refusal_code(error)
            return Message(Error(code=code, reason=code.phrase), reply_to=message)

    @app.query("hello")
    def hello(message: Message, context: Context) -> Message:
        return answer(message, context, Desk.hello)

    @app.query("manifest")
    def manifest(message: Message, context: Context) -> Message:
        return answer(message, context, Desk.manifest)

    @app.query("end")
    def end(message: Message, context: Context) -> Message:
        return answer(message, context, Desk.end)

    @app.query("close")
    def close(message: Message, context: Context) -> Message:
        return answer(message, context, Desk.close)

    @app.query("open")
    def open_sum(message: Message, context: Context) -> Message:
        return answer(message, context, Desk.open)


def refusal_code(error: Exception) -> Code | Decline:
    """What may be told of an error around a sum: a number with a fixed phrase."""
    if isinstance(error, Refusal):
        return error.code
    if isinstance(error, FederationError):
        return Decline.MALFORMED
    if isinstance(error, PrivacyError | SecureSumError):
        return Decline.REFUSED
    if isinstance(error, OSError | MemoryError):
        return Decline.MACHINE
    return Decline.INTERNAL


def _passphrase(home: Path) -> bytes:
    given = os.environ.get(PASSPHRASE_VARIABLE)
    if given:
        return given.encode()
    path = home / "passphrase"
    private_folder(home)
    create(path, secrets.token_hex(32).encode())
    return read_secret(path)
