"""The rounds of a run as a Flower strategy: whom to ask, who answered, and which attempt at a sum counts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from fedstyle_secure.errors import FederationError, SecureSumError
from fedstyle_secure.federation.codes import Decline, decline_text
from fedstyle_secure.federation.offers import read_upload
from fedstyle_secure.federation.protocol import Reply, instruction_record
from fedstyle_secure.federation.record import Recorder
from fedstyle_secure.federation.releases import Layouts
from fedstyle_secure.federation.summing import Attempt, Counter, NotOpened, Opened
from fedstyle_secure.federation.sums import RoundSum, epoch_of
from fedstyle_secure.federation.taking import take
from fedstyle_secure.galleries.base import Portfolio
from fedstyle_secure.system import AnySystem, Figures, State, Summed

AfterRound = Callable[[State, State, Mapping[str, Summed], Figures], None]
"""Takes the states before and after a round, what was summed in it by kind, and what happened."""

OpenedFile = tuple[Callable[[int], Opened | None], Callable[[int, Opened], None]]
"""Loads the opened sum of a round, if there is one, and saves one."""

_ATTEMPTS = 3
"""Attempts at a sum before the round goes on without it."""


class Rounds(Strategy):
    """The rounds of any system as a Flower strategy: who answered, what was summed, and the next state.

    What a sum makes of the state is the system's (`System.take`, by way of `taking.take`).
    """

    def __init__(
        self,
        system: AnySystem,
        layouts: Layouts,
        state: State,
        public: Sequence[Portfolio],
        roster: Sequence[str],
        after_round: AfterRound,
        counter_of: Callable[[Grid], Counter] | None,
        opened: OpenedFile,
        recorder: Recorder | None,
        speaks: Callable[[int], str | None],
    ) -> None:
        """Begin at `state`.

        Args:
            system: What is learned.
            layouts: What artists release in which round.
            state: Where to begin.
            public: The platform's own pictures.
            roster: Artists who may take part.
            after_round: Called after each round.
            counter_of: Makes the platform's side of encrypted sums; None where nothing is summed so.
            opened: Keeps an opened sum until its round is over, as nothing is opened twice.
            recorder: Keeps what comes in for an auditor; None: nothing is kept.
            speaks: Whom a node is known to speak for; None: nobody knows, and its first word counts.
        """
        self.state = state
        self._system = system
        self._config = layouts.config
        self._plan = layouts.plan
        self._layouts = layouts
        self._public = public
        self._roster = frozenset(roster)
        self._after_round = after_round
        self._counter_of = counter_of
        self._counter: Counter | None = None
        self._load_opened, self._save_opened = opened
        self._recorder = recorder
        self._speaks = speaks
        self._attempt: Attempt | None = None
        self._sum_report: Figures = {}
        self._uploaded: set[str] = set()
        self._artist_of: dict[int, str] = {}
        self._node_of: dict[str, int] = {}
        self._have_fixed: set[int] = set()
        self._sent = 0
        self._began = 0.0

    def summary(self) -> None:
        """Flower asks for a log of the settings; they are in the run's folder."""

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """The same instruction to every artist, with an offer where the round sums under encryption."""
        self._began = time.perf_counter()
        if self._counter is None and self._counter_of is not None:
            self._counter = self._counter_of(grid)
        self._grid = grid
        nodes = self._counter.artist_nodes if self._counter else sorted(grid.get_node_ids())
        self._sent = len(nodes)
        self._sum_report = {}
        self._uploaded = set()
        if self._recorder is not None:
            self._recorder.begin()
        self._attempt = self._first_attempt(nodes)
        return self._messages(nodes, self._attempt)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Check the replies and move the state by one round.

        Raises:
            FederationError: Fewer than `run.min_artists` replies can be used, a sum that the round cannot do
                without was not opened, or what was released leads to a state that no artist would answer.
        """
        good, declined = self._read(replies, self._attempt)
        silent = self._sent - len(good) - len(declined)
        if silent:
            declined += ["no reply in time"] * silent
        gone = [reply.artist for reply in good if reply.withdrawn]
        declined += [decline_text(Decline.WITHDRAWN)] * len(gone)
        needed, key = self._needed()
        if len(good) - len(gone) < needed:
            raise FederationError(
                f"round {self.state.round}: {len(good) - len(gone)} of {self._sent} artists answered, "
                f"{key} = {needed}"
                + (f"; first reason: {declined[0]}, details in the artist's own log" if declined else "")
            )
        # Engines deliver in any order; the same order of summation gives the same bits.
        good.sort(key=lambda reply: reply.artist)
        before = self.state
        opened = self._opened()
        if self._recorder is not None:
            self._recorder.keep(self.state, good, opened)
        taken = take(self._system, self._layouts, self.state, good, opened, self._public)
        self._require_sound(taken.state, good if opened is None else [])
        self.state = taken.state
        report = self._report(before, good, declined, opened) | taken.figures
        self._after_round(before, self.state, taken.sums, report)
        return None, None

    def _require_sound(self, state: State, in_clear: Sequence[Reply]) -> None:
        """Hold a state to what artists hold it to, before the round stands: a release may be any number.

        Args:
            state: Where the round leads.
            in_clear: Replies that can be blamed; none where a sum may have led there.
        """
        try:
            self._system.admit(state, len(self._roster))
        except FederationError as error:
            loudest = max(in_clear, key=_largest, default=None)
            whose = f"; the largest value is artist {loudest.artist!r}'s" if loudest else ""
            raise FederationError(
                f"round {self.state.round}: what was released leads where no artist answers: {error}{whose}"
            ) from None

    def _messages(self, nodes: Iterable[int], attempt: Attempt | None) -> list[Message]:
        # What never changes goes once to whoever has not answered yet, as far as this process knows.
        records = {fixed: instruction_record(self.state, fixed=fixed) for fixed in (False, True)}
        if attempt is not None:
            for record in records.values():
                attempt.offer.add_to(record)
        timeout, group = self._config.run.timeout, str(self.state.round)
        return [
            Message(records[node not in self._have_fixed], node, "train", ttl=timeout, group_id=group)
            for node in nodes
        ]

    def _read(self, messages: Iterable[Message], attempt: Attempt | None) -> tuple[list[Reply], list[str]]:
        """Replies that can be used, with their uploads in the attempt, and why others cannot."""
        good: list[Reply] = []
        declined: list[str] = []
        shapes = self._layouts.in_clear(self.state.round)
        for message in messages:
            node = message.metadata.src_node_id
            if message.has_error():
                declined.append(decline_text(message.error.code))
                if message.error.code == Decline.FIXED_PART:
                    self._have_fixed.discard(node)
                continue
            try:
                reply = Reply.from_record(message.content, shapes, self._layouts.integers)
                self._check_identity(node, reply.artist)
                self._have_fixed.add(node)
                upload = read_upload(message.content, reply.artist)
                if attempt is not None and upload is not None:
                    attempt.add(upload)
                    self._uploaded.add(upload.artist)
                    if self._recorder is not None:
                        self._recorder.upload(upload)
                good.append(reply)
            except (FederationError, SecureSumError) as error:
                declined.append(str(error))
        return good, declined

    def _first_attempt(self, nodes: Sequence[int]) -> Attempt | None:
        """The attempt that this round's artists are asked for; None where there is nothing to sum, or where a
        run that was killed had its sum opened already."""
        wanted = self._wanted()
        if wanted is None or self._counter is None or self._load_opened(self.state.round) is not None:
            return None
        try:
            return self._new_attempt(wanted, nodes)
        except FederationError as error:
            self._without_sum(error)
            return None

    def _new_attempt(self, wanted: RoundSum, nodes: Iterable[int]) -> Attempt:
        assert self._counter is not None
        epoch = epoch_of(self._config, self._plan, self.state.round)
        return self._counter.attempt(wanted, epoch, self.state.round, self.state.digest, nodes)

    def _opened(self) -> Opened | None:
        """The round's sum, opened; after a dropout by another attempt with those who are left."""
        wanted = self._wanted()
        found = self._load_opened(self.state.round)
        if wanted is None or found is not None or self._attempt is None or self._counter is None:
            return found
        attempt, attempts = self._attempt, 1
        try:
            while attempt.missing:
                if attempts == _ATTEMPTS:
                    raise FederationError(f"{len(attempt.missing)} artists dropped out of attempt {attempts}")
                left = [self._node_of[artist] for artist in attempt.cohort if artist not in attempt.missing]
                attempt, attempts = self._new_attempt(wanted, left), attempts + 1
                timeout = self._config.run.timeout
                self._read(
                    self._grid.send_and_receive(self._messages(left, attempt), timeout=timeout), attempt
                )
            opened = self._counter.open(attempt, wanted)
        except FederationError as error:
            self._without_sum(error)
            return None
        self._save_opened(self.state.round, opened)
        self._sum_report = {
            "artists": opened.artists,
            "attempts": attempts,
            "values": wanted.terms.values,
            "upload_bytes": wanted.terms.layout.upload_bytes,
            "add_s": attempt.seconds,
        }
        return opened

    def _without_sum(self, error: FederationError) -> None:
        """Go on without the sum where the round can, and say why."""
        if self._plan.shared is not None and not isinstance(error, NotOpened):
            raise error
        self._sum_report = {"artists": 0, "why": str(error)}

    def _wanted(self) -> RoundSum | None:
        """What this round sums under encryption."""
        return self._layouts.summed(self.state.round)

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Nobody is asked: a metric on private pictures would be another release."""
        return []

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Nothing to aggregate."""
        return None

    def _check_identity(self, node: int, artist: str) -> None:
        """One node speaks for one artist of the roster, and one artist through one node, while this runs."""
        if artist not in self._roster:
            raise FederationError("a reply names an artist who is not on the roster")
        if self._speaks(node) not in (None, artist):
            raise FederationError(f"artist {artist!r}: the node is enrolled as {self._speaks(node)!r}")
        if self._artist_of.setdefault(node, artist) != artist:
            raise FederationError(f"artist {artist!r}: the node spoke for {self._artist_of[node]!r} before")
        if self._node_of.setdefault(artist, node) != node:
            raise FederationError(f"artist {artist!r}: another node speaks for this artist")

    def _needed(self) -> tuple[int, str]:
        """Replies that this round needs, and the setting that says so.

        A sum of too few shares has too little noise, so it is not even added up.
        """
        asked = self._config.run.min_artists
        if self._plan.shared is None or self.state.round not in self._plan.sums:
            return asked, "run.min_artists"
        return max((asked, "run.min_artists"), (self._plan.shared.cohort, "privacy.min_cohort"))

    def end(self) -> None:
        """Tell the opener, if there is one, that the run is over."""
        if self._counter is not None:
            self._counter.end()

    @property
    def remaining(self) -> int:
        """Rounds still to go."""
        return self._plan.rounds - self.state.round

    def _report(
        self, before: State, replies: list[Reply], declined: list[str], opened: Opened | None
    ) -> Figures:
        moved = [self.state.trained[name] - array for name, array in before.trained.items()]
        summed = self._layouts.summed_kinds(before.round) if opened is not None else frozenset()
        return {
            "round": before.round,
            "releases": sorted({kind for reply in replies for kind in reply.arrays} | summed),
            "released_by": [r.artist for r in replies if r.arrays or r.artist in self._uploaded],
            "asked": self._sent,
            "replies": len(replies),
            "declined": declined,
            "update_kept": None,
            "found_share": None,
            "sum": self._sum_report or None,
            "encoder_moved": float(np.sqrt(sum(np.square(m, dtype=np.float64).sum() for m in moved))),
            "seconds": time.perf_counter() - self._began,
        }


def _largest(reply: Reply) -> float:
    arrays = (array for group in reply.arrays.values() for array in group.values())
    return max((float(np.abs(array).max(initial=0)) for array in arrays), default=0.0)
