"""FedStyle's rounds as a Flower strategy."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from fedstyle_secure.config import Config
from fedstyle_secure.errors import FederationError, SecureSumError
from fedstyle_secure.federation.codes import Decline, decline_text
from fedstyle_secure.federation.offers import read_upload
from fedstyle_secure.federation.protocol import Instruction, Reply
from fedstyle_secure.federation.record import Recorder
from fedstyle_secure.federation.releases import Layouts
from fedstyle_secure.federation.state import PlatformState
from fedstyle_secure.federation.summing import Attempt, Counter, NotOpened, Opened
from fedstyle_secure.federation.sums import RoundSum, epoch_of
from fedstyle_secure.privacy.mechanisms import ArtistSum
from fedstyle_secure.privacy.plan import Plan
from fedstyle_secure.privacy.shrinkage import signal_share
from fedstyle_secure.style.prototypes import contributes, refresh, unit, weight_stands_out

Realign = Callable[[PlatformState], PlatformState]
"""Moves the platform's state on the public set alone; post-processing, so it costs no privacy."""

AfterRound = Callable[[PlatformState, PlatformState, np.ndarray | None, dict[str, Any]], None]
"""Takes the states before and after a round, the decoded style sums (k * (d + 1),) of a round that has them
where the unit is the artist, and what happened."""

OpenedFile = tuple[Callable[[int], Opened | None], Callable[[int, Opened], None]]
"""Loads the opened sum of a round, if there is one, and saves one."""

_ATTEMPTS = 3
"""Attempts at a sum before the round goes on without it."""


@dataclass(frozen=True)
class Summed:
    """What artists released of one kind, added up.

    Attributes:
        arrays: By tensor: float64, or int64 for `sum` and `metrics`.
        artists: In the sum.
        enough: bool (styles,), styles with enough contributors; of prototypes only.
    """

    arrays: dict[str, np.ndarray]
    artists: int
    enough: np.ndarray


class FedStyle(Strategy):
    """FedStyle's rounds as a Flower strategy: average the updates, keep the cards, refresh the prototypes.

    All artists weigh the same: a weight by portfolio size would be another release. The averaged update
    is taken only as far as it stands out of the noise that the plan says is in it.
    """

    def __init__(
        self,
        config: Config,
        plan: Plan,
        state: PlatformState,
        trained: Sequence[str],
        roster: Sequence[str],
        realign: Realign,
        after_round: AfterRound,
        counter_of: Callable[[Grid], Counter] | None,
        opened: OpenedFile,
        recorder: Recorder | None,
    ) -> None:
        """Begin at `state`.

        Args:
            config: The settings.
            plan: What artists release in which round.
            state: Where to begin.
            trained: Names of the tensors that train privately.
            roster: Artists who may take part.
            realign: Public re-alignment, after each update.
            after_round: Called after each round.
            counter_of: Makes the platform's side of encrypted sums; None where nothing is summed so.
            opened: Keeps an opened sum until its round is over, as nothing is opened twice.
            recorder: Keeps what comes in for an auditor; None: nothing is kept.
        """
        self._config = config
        self._plan = plan
        self.state = state
        self._trained = sorted(trained)
        self._kept: float | None = None
        self._found: float | None = None
        self._style_sums: np.ndarray | None = None
        self._roster = frozenset(roster)
        self._realign = realign
        self._after_round = after_round
        self._counter_of = counter_of
        self._counter: Counter | None = None
        self._load_opened, self._save_opened = opened
        self._recorder = recorder
        styles, dim = state.styles.prototypes.shape
        shapes = {name: state.encoder[name].shape for name in self._trained}
        self._layouts = Layouts(config, plan, shapes, styles, dim, len(self._roster))
        self._attempt: Attempt | None = None
        self._sum_report: dict[str, Any] = {}
        self._uploaded: set[str] = set()
        self._opened_kinds: set[str] = set()
        self._artist_of: dict[int, str] = {}
        self._node_of: dict[str, int] = {}
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
        self._uploaded, self._opened_kinds = set(), set()
        if self._recorder is not None:
            self._recorder.begin()
        self._attempt = self._first_attempt(nodes)
        return self._messages(nodes, self._attempt)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Check the replies and move the state by one round.

        Raises:
            FederationError: Fewer than `run.min_artists` replies can be used, or a sum that the round cannot
                do without was not opened.
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
        self._kept = self._found = self._style_sums = None
        opened = self._opened()
        if self._recorder is not None:
            self._recorder.keep(self._instruction(), good, opened)
        self.state = self._advance(good, opened)
        self._after_round(before, self.state, self._style_sums, self._report(before, good, declined))
        return None, None

    def _messages(self, nodes: Iterable[int], attempt: Attempt | None) -> list[Message]:
        record = self._instruction().to_record()
        if attempt is not None:
            attempt.offer.add_to(record)
        timeout = self._config.run.timeout
        return [Message(record, node, "train", ttl=timeout, group_id=str(self.state.round)) for node in nodes]

    def _instruction(self) -> Instruction:
        names, cards = self.state.card_matrix()
        return Instruction(self.state.round, self.state.encoder, self.state.styles, names, cards)

    def _read(self, messages: Iterable[Message], attempt: Attempt | None) -> tuple[list[Reply], list[str]]:
        """Replies that can be used, with their uploads in the attempt, and why others cannot."""
        good: list[Reply] = []
        declined: list[str] = []
        shapes = self._layouts.in_clear(self.state.round)
        for message in messages:
            if message.has_error():
                declined.append(decline_text(message.error.code))
                continue
            try:
                reply = Reply.from_record(message.content, shapes)
                self._check_identity(message.metadata.src_node_id, reply.artist)
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
        context = self._instruction().digest()
        return self._counter.attempt(wanted, epoch, self.state.round, context, nodes)

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
        if self._artist_of.setdefault(node, artist) != artist:
            raise FederationError(f"artist {artist!r}: the node spoke for {self._artist_of[node]!r} before")
        if self._node_of.setdefault(artist, node) != node:
            raise FederationError(f"artist {artist!r}: another node speaks for this artist")

    def _needed(self) -> tuple[int, str]:
        """Replies that this round needs, and the setting that says so.

        A sum of too few shares has too little noise, so it is not even added up.
        """
        asked = self._config.run.min_artists
        if self._plan.shared is None or self.state.round not in self._plan.schedule.sums:
            return asked, "run.min_artists"
        return max((asked, "run.min_artists"), (self._plan.shared.cohort, "privacy.min_cohort"))

    def end(self) -> None:
        """Tell the opener, if there is one, that the run is over."""
        if self._counter is not None:
            self._counter.end()

    @property
    def remaining(self) -> int:
        """Rounds still to go."""
        return self._plan.schedule.rounds - self.state.round

    def _mechanism(self) -> ArtistSum:
        return self._plan.shared_for(self._layouts.vector(self.state.round).size)

    def _advance(self, replies: list[Reply], opened: Opened | None) -> PlatformState:
        cards = dict(self.state.cards)
        for reply in replies:
            if "card" in reply.arrays:
                cards[reply.artist] = unit(reply.arrays["card"]["card"])
            if reply.withdrawn:
                cards.pop(reply.artist, None)
        state = replace(self.state, cards=cards)
        sums = self._sums(replies, opened)
        if "sum" in sums:
            state = self._take_sum(state, sums["sum"])
        if "prototypes" in sums:
            state = self._take_prototypes(state, sums["prototypes"])
        if "update" in sums:
            update = sums["update"]
            noise = self._plan.sgd.update_deviation(self._config.training.learning_rate) * np.sqrt(
                update.artists
            )
            state = self._take_update(state, update.arrays, update.artists, noise)
        if "metrics" in sums:
            pictures, found = sums["metrics"].arrays["counts"]
            self._found = float(np.clip(found / max(pictures, 1), 0, 1))
        return replace(state, round=self.state.round + 1)

    def _sums(self, replies: list[Reply], opened: Opened | None) -> dict[str, Summed]:
        """By kind, what artists released in all: added up here, or opened."""
        found: dict[str, Summed] = {}
        styles = len(self.state.styles.names)
        for kind in self._layouts.released(self.state.round):
            given = [reply.arrays[kind] for reply in replies if kind in reply.arrays]
            if given and kind != "card":
                wide = np.int64 if kind in ("sum", "metrics") else np.float64
                arrays = {n: np.stack([g[n] for g in given]).sum(axis=0, dtype=wide) for n in given[0]}
                found[kind] = Summed(arrays, len(given), np.ones(styles, bool))
        if "prototypes" in found:
            sums = [r.arrays["prototypes"]["sums"] for r in replies if "prototypes" in r.arrays]
            crowd = np.sum([contributes(s, styles, self._plan.prototypes.deviation) for s in sums], axis=0)
            enough = crowd >= self._config.styles.min_contributors
            found["prototypes"] = replace(found["prototypes"], enough=enough)
        wanted = self._wanted()
        if opened is not None and wanted is not None:
            for kind, arrays in wanted.decode(opened.total).items():
                enough = opened.kept if opened.kept.size else np.ones(styles, bool)
                found[kind] = Summed(arrays, opened.artists, enough)
                self._opened_kinds.add(kind)
        return found

    def _take_sum(self, state: PlatformState, summed: Summed) -> PlatformState:
        """Unit artist: the sum of all shares, and nothing of one share alone."""
        layout, noise = self._layouts.vector(self.state.round), self._mechanism().noise
        std = noise.deviation(summed.artists)
        update, rows = layout.split(noise.decode(summed.arrays["sum"]))
        update_scale, row_scale = layout.scales()
        if layout.row:
            styles = state.styles
            self._style_sums = rows
            least = self._config.styles.min_contributors
            kept = weight_stands_out(rows, len(styles.names), std * row_scale, least)
            state = replace(state, styles=refresh(styles, rows, std * row_scale, kept))
        if layout.update:
            state = self._take_update(state, update, summed.artists, std * update_scale)
        return state

    def _take_prototypes(self, state: PlatformState, summed: Summed) -> PlatformState:
        noise = self._plan.prototypes.deviation * math.sqrt(summed.artists)
        total = summed.arrays["sums"]
        return replace(state, styles=refresh(state.styles, total, noise, summed.enough))

    def _take_update(
        self, state: PlatformState, total: dict[str, np.ndarray], count: int, noise_std: float
    ) -> PlatformState:
        """Move the encoder by the mean of `count` updates, as far as their sum stands out of its noise."""
        flat = np.concatenate([total[name].ravel() for name in self._trained])
        self._kept = float(signal_share(flat, noise_std))
        moved = {
            n: (state.encoder[n] + self._kept * total[n] / count).astype(np.float32) for n in self._trained
        }
        return self._realign(replace(state, encoder=state.encoder | moved))

    def _report(self, before: PlatformState, replies: list[Reply], declined: list[str]) -> dict[str, Any]:
        moved = [self.state.encoder[name] - before.encoder[name] for name in self._trained]
        return {
            "round": before.round,
            "releases": sorted({kind for reply in replies for kind in reply.arrays} | self._opened_kinds),
            "released_by": [r.artist for r in replies if r.arrays or r.artist in self._uploaded],
            "asked": self._sent,
            "replies": len(replies),
            "declined": declined,
            "update_kept": self._kept,
            "found_share": self._found,
            "sum": self._sum_report or None,
            "encoder_moved": float(np.sqrt(sum(np.square(m, dtype=np.float64).sum() for m in moved))),
            "seconds": time.perf_counter() - self._began,
        }
