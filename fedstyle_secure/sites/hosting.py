"""A platform over sites: what stands around a run of which it sees no picture, no folder and no ledger."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from flwr.app import ConfigRecord, Message, RecordDict

from fedstyle_secure.config import Config
from fedstyle_secure.errors import ConfigError, FederationError, RunError
from fedstyle_secure.federation.platform import Look
from fedstyle_secure.federation.releases import Layouts
from fedstyle_secure.federation.results import History, write_manifest, write_results
from fedstyle_secure.galleries.base import Portfolio
from fedstyle_secure.galleries.canaries import CanaryNote
from fedstyle_secure.galleries.checks import require_artists, survey
from fedstyle_secure.galleries.opening import open_gallery
from fedstyle_secure.privacy.gate import told
from fedstyle_secure.privacy.ledger import Entry
from fedstyle_secure.privacy.plan import Plan
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.sites.homes import Home
from fedstyle_secure.sites.roster import Roster
from fedstyle_secure.sites.statements import Statement
from fedstyle_secure.system import AnySystem, Figures, State, Summed

_NO_CANARIES = CanaryNote(0, None, 0)


class Line(Protocol):
    """What a platform needs of its grid."""

    def speaks(self, node: int) -> str | None:
        """The artist that a node is enrolled for, "" for the opener."""

    def artist_nodes(self) -> list[int]:
        """Nodes of enrolled artists that are online."""

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """As of Flower's Grid."""


class Hosting:
    """A run over sites, as its platform knows it.

    Attributes:
        run: The run's folder.
        artists: Who may take part: whom the platform enrolled.
        opener: File with the opener's public key, as the platform enrolled it.
    """

    def __init__(self, home: Home, config: Config, run: RunFolder, roster: Roster, line: Line) -> None:
        """
        Args:
            home: The platform's.
            config: The settings, with where its public pictures lie.
            run: The run's folder.
            roster: Who takes part.
            line: Reaches the nodes.
        """
        self.run = run
        self.artists = roster.names
        self.opener: Path = home.known.key_file("opener")
        self._config = config
        self._roster = roster
        self._line = line
        self._gallery = open_gallery(config.gallery)

    def claim(self) -> None:
        """Nothing of an artist lies here."""

    def begin(self, system: AnySystem, plan: Plan) -> None:
        """Check what a platform can check, and write the manifest.

        Raises:
            ConfigError: A setting needs what only a simulation has, or does not go with the federation.
            RunError: The federation, or the public pictures, have changed since the run began.
        """
        config = self._config
        if config.audit.canaries:
            raise ConfigError(
                f"audit.canaries = {config.audit.canaries}: they are planted in simulations only; valid: 0"
            )
        if config.run.min_artists > len(self.artists):
            raise ConfigError(
                f"run.min_artists = {config.run.min_artists}, but {len(self.artists)} artists are enrolled"
            )
        require_artists("audit.record", config.audit.record, self.artists)
        system.check(self.artists)
        found = survey(self._gallery, config.gallery.on_bad)
        public = found.to_dict()
        # Nobody here knows how many works an artist has, nor which.
        nothing: dict[str, object] = {"public": False, "train": None, "test": None, "digest": ""}
        unseen = [nothing | {"artist": name} for name in self.artists]
        around = {
            "studios": {"identity": "", "place": "../studios"},
            "federation": {
                "roster": self._roster.digest,
                "artists": dict(self._roster.artists),
                "opener": self._roster.opener,
                "platform": self._roster.platform,
            },
            "gallery": public | {"artists": [*unseen, *public["artists"]]},
        }
        if self.run.manifest_file.exists():
            before = self.run.manifest()
            if before.get("federation", {}).get("roster") != self._roster.digest:
                raise RunError(f"{self.run.path}: other artists or keys are enrolled than when the run began")
            if before["gallery"]["digest"] != found.digest:
                raise RunError(f"{self.run.path}: the public pictures have changed since the run began")
        write_manifest(self.run, config, plan, _NO_CANARIES, around)

    def public(self) -> Sequence[Portfolio]:
        """The platform's own portfolios."""
        return [self._gallery.portfolio(artist) for artist in self._gallery.public_artists]

    def look(self, system: AnySystem) -> Look:
        """Nothing: what private training is worth on private pictures is nobody's to see here."""

        def nothing(before: State, now: State, sums: Mapping[str, Summed]) -> Figures:
            return {}

        return nothing

    def speaks(self, node: int) -> str | None:
        """The artist that a node is enrolled for, "" for the opener."""
        return self._line.speaks(node)

    def check_room(self, layouts: Layouts) -> None:
        """There are no canaries."""

    def end(self, system: AnySystem, layouts: Layouts, state: State) -> None:
        """Ask every artist for its statement, and write the results."""
        stated = self._statements()
        histories = {artist: self._history(artist, stated.get(artist), layouts) for artist in self.artists}
        write_results(self.run, system, layouts, histories, state, _NO_CANARIES, self._roster.opener or None)

    def _statements(self) -> dict[str, Statement]:
        record = RecordDict({"ask": ConfigRecord({"asks": "statement"})})
        timeout = self._config.run.timeout
        asked = [Message(record, node, "query.statement", ttl=timeout) for node in self._line.artist_nodes()]
        stated = {}
        for reply in self._line.send_and_receive(asked, timeout=timeout) if asked else ():
            if reply.has_error():
                continue
            try:
                found = Statement.from_record(reply.content, dict(self._roster.artists), self.run.identity)
            except FederationError:
                continue
            stated[found.artist] = found
        return stated

    def _history(self, artist: str, stated: Statement | None, layouts: Layouts) -> History:
        """What an artist states; without entries where it states nothing, less than the platform got, or what
        it was not asked for."""
        if stated is None:
            return History(None, withdrawn=False)
        seen = {line["round"] for line in self.run.metrics() if artist in line["released_by"]}
        whole = asked_for(stated.entries, layouts) and seen <= {entry.round for entry in stated.entries}
        return History(stated.entries if whole else None, stated.withdrawn)


def asked_for(entries: Sequence[Entry], layouts: Layouts) -> bool:
    """Whether an artist states nothing but what a run asks for, each once: else whoever states what no figure
    can be made of keeps the run from its end.

    Args:
        entries: As an artist states them; of any type and value.
        layouts: What the run's rounds look like.
    """
    places = [(entry.round, entry.kind) for entry in entries if _typed(entry)]
    plain = len(places) == len(entries) == len(set(places))
    return plain and all(_as_planned(entry, layouts) for entry in entries)


def _typed(entry: Entry) -> bool:
    texts = (entry.request, entry.kind, entry.at, entry.digest, entry.policy)
    return type(entry.round) is int and all(isinstance(text, str) for text in texts)


def _as_planned(entry: Entry, layouts: Layouts) -> bool:
    if entry.round not in range(layouts.plan.rounds):
        return False
    made = layouts.mechanisms(entry.round).get(entry.kind)
    if made is None:
        return False
    planned = told(made)
    planned["parameters"] = json.loads(json.dumps(planned["parameters"]))
    return all(getattr(entry, key) == value for key, value in planned.items())
