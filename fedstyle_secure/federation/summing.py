"""The platform's side of an encrypted sum: who takes part, which manifest, who answered, what was opened.

It holds no key and sees no value: uploads are checked, added and passed on, and what comes back is the sum.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid

from fedstyle_secure.config import RunSection
from fedstyle_secure.errors import FederationError, SecureSumError
from fedstyle_secure.federation.codes import decline_text
from fedstyle_secure.federation.offers import (
    Offer,
    Place,
    closing_request,
    manifest_request,
    open_request,
    read_announcement,
    read_closing,
    read_manifest,
    read_opening,
)
from fedstyle_secure.federation.sums import RoundSum
from fedstyle_secure.files import append
from fedstyle_secure.secure_sum.aggregator import Aggregator
from fedstyle_secure.secure_sum.artist_side import announces
from fedstyle_secure.secure_sum.messages import Upload

_ANNOUNCING_ROUNDS = 3
"""Times that announcements are gathered anew without those who announced something false."""

_RECOMPUTED_BYTES = 2**30
"""Up to so many bytes of uploads go to the opener with the sum, to be added up again."""


@dataclass(frozen=True)
class Opened:
    """An opened sum.

    Attributes:
        total: int64 (values,).
        kept: bool (groups,), those that enough artists contribute to; empty where there are none.
        artists: In the sum.
    """

    total: np.ndarray
    kept: np.ndarray
    artists: int


class NotOpened(FederationError):
    """The opener refuses a sum. Exit code 6."""


class Attempt:
    """One attempt at one sum: the manifest is signed, uploads come in."""

    def __init__(self, place: Place, offer: Offer, opener: str) -> None:
        """
        Args:
            place: Which attempt.
            offer: What the artists get.
            opener: The opener's public identity key.
        """
        self.place = place
        self.offer = offer
        self.cohort = offer.signed.read(opener).artists
        layout = offer.signed.read(opener).layout
        keep = layout.upload_bytes * len(self.cohort) <= _RECOMPUTED_BYTES
        self._aggregator = Aggregator(offer.signed, opener, offer.public, keep)
        self._seconds = 0.0

    def add(self, upload: Upload) -> None:
        """Check an upload and add it. Raises SecureSumError naming the artist."""
        began = time.perf_counter()
        try:
            self._aggregator.add(upload)
        finally:
            self._seconds += time.perf_counter() - began

    @property
    def missing(self) -> tuple[str, ...]:
        """Artists of the cohort whose upload is not in."""
        return self._aggregator.missing

    @property
    def seconds(self) -> float:
        """Spent on checking and adding."""
        return self._seconds

    def request(self) -> RecordDict:
        """What to ask the opener."""
        return open_request(self._aggregator.request())


class Counter:
    """Where the platform asks: finds the opener's node, gathers announcements, has sums opened."""

    def __init__(
        self,
        grid: Grid,
        run: str,
        roster: Iterable[str],
        pin: Path,
        transcript: Path,
        waits: RunSection,
        speaks: Callable[[int], str | None],
    ) -> None:
        """
        Args:
            grid: Reaches all nodes.
            run: Identity of the run.
            roster: Artists who may take part.
            pin: File with the opener's public identity key, got from the opener itself.
            transcript: Where the opener's signed lines are kept.
            waits: How long to wait for announcements, and for the opener.
            speaks: Whom a node is known to speak for, "" for the opener; None: nobody knows.
        """
        self._grid = grid
        self._speaks = speaks
        self._run = run
        self._roster = frozenset(roster)
        self._transcript = transcript
        self._waits = waits
        self._opener_node = self._find_opener()
        self.opener = pin.read_text(encoding="utf-8")
        self._last_attempt = 0

    @property
    def artist_nodes(self) -> list[int]:
        """All nodes but the opener's."""
        return sorted(set(self._grid.get_node_ids()) - {self._opener_node})

    def attempt(
        self, wanted: RoundSum, epoch: int, number: int, context: str, nodes: Iterable[int]
    ) -> Attempt:
        """Gather announcements and have a manifest signed for those who announced.

        Who announces under a name that is not its own, or something that its key did not sign, is left out,
        and the others are asked anew.

        Args:
            wanted: What is summed.
            epoch: Another one wherever another vector is summed than before.
            number: The round.
            context: Digest of the instruction that the artists get.
            nodes: Artists' nodes to ask.

        Raises:
            FederationError: Too few announced.
            NotOpened: The opener refuses; says its code.
        """
        asked = set(nodes)
        for _ in range(_ANNOUNCING_ROUNDS):
            # Later than every attempt before, also after a restart.
            self._last_attempt = max(self._last_attempt + 1, int(time.time() * 1000))
            place = Place(self._run, epoch, number, self._last_attempt)
            announced = self._announced(place, asked, wanted.terms.smallest_cohort)
            cohort = tuple(sorted(announced))
            request = manifest_request(place, cohort, wanted.terms, context)
            signed, public = read_manifest(self._ask_opener(request, "query.manifest", f"round {number}"))
            try:
                manifest = signed.read(self.opener)
                if manifest.artists != cohort:
                    raise NotOpened(f"round {number}: the opener's manifest names another cohort")
                false = {n for a, (n, data) in announced.items() if not announces(manifest, a, data)}
                if not false:
                    said = {artist: data for artist, (_, data) in announced.items()}
                    return Attempt(place, Offer.of(signed, manifest, public, said), self.opener)
            except SecureSumError as error:
                raise NotOpened(f"round {number}: the opener's manifest: {error}") from None
            asked -= false
        raise FederationError(f"round {number}: {_ANNOUNCING_ROUNDS} times somebody announced what is false")

    def _announced(self, place: Place, nodes: Iterable[int], least: int) -> dict[str, tuple[int, bytes]]:
        """By artist of the roster: its node and what it announced, where one node only speaks for it."""
        found: dict[str, list[tuple[int, bytes]]] = {}
        errors = []
        for reply in self._ask(place.to_record(), nodes, "query.announce", self._waits.announce_timeout):
            if reply.has_error():
                errors.append(decline_text(reply.error.code))
                continue
            with suppress(FederationError):
                artist, data = read_announcement(reply.content)
                if artist in self._roster and self._speaks(reply.metadata.src_node_id) in (None, artist):
                    found.setdefault(artist, []).append((reply.metadata.src_node_id, data))
        alone = {artist: given[0] for artist, given in found.items() if len(given) == 1}
        if len(alone) < least:
            raise FederationError(
                f"round {place.round}: {len(alone)} artists are ready for the sum, it needs {least}"
                + (f"; first reason: {errors[0]}" if errors else "")
            )
        return alone

    def end(self) -> None:
        """Tell the opener that the run is over."""
        self._ask(RecordDict({"hello": ConfigRecord({"asks": "end"})}), [self._opener_node], "query.end")

    def open(self, attempt: Attempt, wanted: RoundSum) -> Opened:
        """Have a whole sum opened, and keep the opener's line.

        Raises:
            NotOpened: The opener refuses; says its code.
        """
        answer = self._ask_opener(attempt.request(), "query.open", f"round {attempt.place.round}")
        total, kept, line = read_opening(answer, wanted.terms)
        self._keep(line)
        return Opened(total, kept, len(attempt.cohort))

    def close(self, files: Mapping[str, str]) -> None:
        """Have the opener sign what the run's files hold at its end, and keep its line.

        Args:
            files: SHA-256 of each by name.

        Raises:
            NotOpened: The opener refuses; says its code.
        """
        line = read_closing(self._ask_opener(closing_request(self._run, files), "query.close", "the end"))
        # A run that was killed after this, and goes on, gets the same line again.
        if not (self._transcript.exists() and self._transcript.read_bytes().endswith(line)):
            self._keep(line)

    def _keep(self, line: bytes) -> None:
        append(self._transcript, line)

    def _find_opener(self) -> int:
        nodes = sorted(self._grid.get_node_ids())
        record = RecordDict({"hello": ConfigRecord({"asks": "opener"})})
        replies = self._ask(record, nodes, "query.hello")
        found = [
            reply.metadata.src_node_id
            for reply in replies
            if not reply.has_error()
            and _role(reply.content) == "opener"
            and not self._speaks(reply.metadata.src_node_id)
        ]
        if not found and len(replies) < len(nodes):
            raise FederationError(
                f"no opener among the {len(replies)} of {len(nodes)} nodes that answered in time; "
                f"run.open_timeout = {self._waits.open_timeout:g}"
            )
        if len(found) != 1:
            raise FederationError(
                f"{len(found)} of {len(nodes)} nodes are an opener; secure_sum.enabled needs one node more "
                "than there are artists"
            )
        return found[0]

    def _ask(
        self, record: RecordDict, nodes: Iterable[int], kind: str, timeout: float | None = None
    ) -> list[Message]:
        timeout = timeout or self._waits.open_timeout
        messages = [Message(record, node, kind, ttl=timeout) for node in nodes]
        return list(self._grid.send_and_receive(messages, timeout=timeout))

    def _ask_opener(self, record: RecordDict, kind: str, when: str) -> RecordDict:
        replies = self._ask(record, [self._opener_node], kind)
        if not replies:
            raise NotOpened(f"{when}: the opener did not answer in time")
        if replies[0].has_error():
            raise NotOpened(f"{when}: the opener refuses: {decline_text(replies[0].error.code)}")
        return replies[0].content


def _role(record: RecordDict) -> object:
    said = record.config_records.get("hello")
    return None if said is None else said.get("role")
