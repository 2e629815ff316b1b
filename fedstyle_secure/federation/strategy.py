"""FedStyle's rounds as a Flower strategy."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from fedstyle_secure.config import Config
from fedstyle_secure.errors import FederationError
from fedstyle_secure.federation.codes import decline_text
from fedstyle_secure.federation.protocol import Instruction, Reply
from fedstyle_secure.federation.state import PlatformState
from fedstyle_secure.privacy.plan import Plan
from fedstyle_secure.privacy.shrinkage import signal_share
from fedstyle_secure.style.prototypes import refresh, unit

Realign = Callable[[PlatformState], PlatformState]
"""Moves the platform's state on the public set alone; post-processing, so it costs no privacy."""


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
        after_round: Callable[[PlatformState, dict[str, Any]], None],
    ) -> None:
        """Begin at `state`.

        Args:
            config: The settings.
            plan: What artists release in which round.
            state: Where to begin.
            trained: Names of the tensors that train privately.
            roster: Artists who may take part.
            realign: Public re-alignment, after each update.
            after_round: Called after each round with the new state and what happened.
        """
        self._config = config
        self._plan = plan
        self.state = state
        self._trained = sorted(trained)
        self._kept = 1.0
        self._roster = frozenset(roster)
        self._realign = realign
        self._after_round = after_round
        self._artist_of: dict[int, str] = {}
        self._node_of: dict[str, int] = {}
        self._sent = 0
        self._began = 0.0

    def summary(self) -> None:
        """Flower asks for a log of the settings; they are in the run's folder."""

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """The same instruction to every artist."""
        self._began = time.perf_counter()
        names, cards = self.state.card_matrix()
        instruction = Instruction(self.state.round, self.state.encoder, self.state.styles, names, cards)
        record = instruction.to_record()
        nodes = sorted(grid.get_node_ids())
        self._sent = len(nodes)
        timeout = self._config.run.timeout
        return [Message(record, node, "train", ttl=timeout, group_id=str(self.state.round)) for node in nodes]

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Check the replies and move the state by one round.

        Raises:
            FederationError: Fewer than `run.min_artists` replies can be used.
        """
        good: list[Reply] = []
        declined: list[str] = []
        for message in replies:
            if message.has_error():
                declined.append(decline_text(message.error.code))
                continue
            try:
                reply = Reply.from_record(message.content, self._shapes())
                self._check_identity(message.metadata.src_node_id, reply.artist)
                good.append(reply)
            except FederationError as error:
                declined.append(str(error))
        silent = self._sent - len(good) - len(declined)
        if silent:
            declined += ["no reply in time"] * silent
        if len(good) < self._config.run.min_artists:
            raise FederationError(
                f"round {self.state.round}: {len(good)} of {self._sent} artists answered, "
                f"run.min_artists = {self._config.run.min_artists}"
                + (f"; first reason: {declined[0]}, details in the artist's own log" if declined else "")
            )
        # Engines deliver in any order; the same order of summation gives the same bits.
        good.sort(key=lambda reply: reply.artist)
        before = self.state
        self.state = self._advance(good)
        self._after_round(self.state, self._report(before, good, declined))
        return None, None

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

    @property
    def remaining(self) -> int:
        """Rounds still to go."""
        return self._plan.schedule.rounds - self.state.round

    def _shapes(self) -> dict[str, dict[str, tuple[int, ...]]]:
        """What a reply of this round may hold."""
        schedule, number = self._plan.schedule, self.state.round
        styles, dim = self.state.styles.prototypes.shape
        shapes: dict[str, dict[str, tuple[int, ...]]] = {}
        if number in schedule.updates:
            shapes["update"] = {name: self.state.encoder[name].shape for name in self._trained}
        if number in schedule.cards:
            shapes["card"] = {"card": (dim,)}
        if number in schedule.prototypes:
            shapes["prototypes"] = {"sums": (styles * (dim + 1),)}
        return shapes

    def _advance(self, replies: list[Reply]) -> PlatformState:
        state = self.state
        cards = dict(state.cards)
        for reply in replies:
            if "card" in reply.arrays:
                cards[reply.artist] = unit(reply.arrays["card"]["card"])
        styles = state.styles
        sums = [reply.arrays["prototypes"]["sums"] for reply in replies if "prototypes" in reply.arrays]
        if sums:
            mechanism = self._plan.prototypes
            std = mechanism.noise_multiplier * mechanism.clip_norm if mechanism.noise_multiplier else 0.0
            styles = refresh(styles, np.stack(sums), std, self._config.styles.min_contributors)
        state = PlatformState(state.round + 1, state.encoder, styles, cards)
        updates = [reply.arrays["update"] for reply in replies if "update" in reply.arrays]
        if updates:
            mean = {n: np.mean([u[n] for u in updates], axis=0, dtype=np.float64) for n in self._trained}
            flat = np.concatenate([mean[name].ravel() for name in self._trained])
            self._kept = float(signal_share(flat, self._update_noise() / np.sqrt(len(updates))))
            moved = {n: (state.encoder[n] + self._kept * mean[n]).astype(np.float32) for n in self._trained}
            state = self._realign(replace(state, encoder=state.encoder | moved))
        return state

    def _update_noise(self) -> float:
        """Deviation of the noise in each value of one artist's update."""
        sgd = self._plan.sgd
        if sgd.noise_multiplier == 0:
            return 0.0
        step = self._config.training.learning_rate / sgd.expected_batch_size
        return step * sgd.noise_multiplier * sgd.clip_norm * math.sqrt(sgd.steps)

    def _report(self, before: PlatformState, replies: list[Reply], declined: list[str]) -> dict[str, Any]:
        moved = [self.state.encoder[name] - before.encoder[name] for name in self._trained]
        return {
            "round": before.round,
            "releases": sorted({kind for reply in replies for kind in reply.arrays}),
            "released_by": [reply.artist for reply in replies if reply.arrays],
            "asked": self._sent,
            "replies": len(replies),
            "declined": declined,
            "update_kept": self._kept if "update" in replies[0].arrays else None,
            "encoder_moved": float(np.sqrt(sum(np.square(m, dtype=np.float64).sum() for m in moved))),
            "seconds": time.perf_counter() - self._began,
        }
