"""A node over sites: what it answers, to whom, and that it runs nothing but this package.

Three gates stand before an answer, and no run has a hand in any of them: the message is signed by the
platform that this node enrolled; the run's bundle holds settings and a roster, and no code; and an artist's
own policy lets the run through. Behind them are the same apps as in a simulation.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

import torch
from flwr.app import Context, Error, Message, RecordDict

from fedstyle_secure.config import FEWEST_PICTURES, Config, GallerySection
from fedstyle_secure.errors import (
    FederationError,
    GalleryError,
    PolicyDeclined,
    PrivacyError,
    StrangerError,
)
from fedstyle_secure.federation.artist import Studio, build_client_app, decline_of
from fedstyle_secure.federation.bundle import opened
from fedstyle_secure.federation.desk import Desk, add_desk
from fedstyle_secure.files import log_text, private_folder
from fedstyle_secure.galleries.opening import open_gallery
from fedstyle_secure.privacy.gate import now
from fedstyle_secure.privacy.ledger import Ledger
from fedstyle_secure.privacy.limits import Reason
from fedstyle_secure.privacy.plan import Plan
from fedstyle_secure.sites import heads
from fedstyle_secure.sites.consent_log import ConsentLog, works_of
from fedstyle_secure.sites.fleet import Fleet, Sent
from fedstyle_secure.sites.header import opened as header_of
from fedstyle_secure.sites.homes import Home, require_settled
from fedstyle_secure.sites.meeting import meet
from fedstyle_secure.sites.parcel import wrapped
from fedstyle_secure.sites.roster import FILE, Roster
from fedstyle_secure.sites.statements import Statement
from fedstyle_secure.system import plan_of, system_bound

log = logging.getLogger("fedstyle_secure")

_T = TypeVar("_T")


@dataclass(frozen=True)
class Task:
    """A run as its bundle describes it.

    Attributes:
        config: Its settings.
        settings: Their digest.
        roster: Who takes part.
    """

    config: Config
    settings: str
    roster: Roster


class _Last(Generic[_T]):
    """What was made last, and of what: one at a time, made anew where that is another thing now."""

    def __init__(self) -> None:
        self._made: list[tuple[object, _T]] = []

    def of(self, what: object, make: Callable[[], _T]) -> _T:
        """Args: what: Everything that it follows from. make: Makes it."""
        if not self._made or self._made[0][0] != what:
            self._made.clear()
            self._made.append((what, make()))
        return self._made[0][1]


class Node:
    """What the node of an artist, or of an opener, answers. One message at a time."""

    def __init__(
        self, home: Home, sent: Callable[[int], Sent], count: Callable[[str, int], None] | None = None
    ) -> None:
        """
        Args:
            home: The artist's or the opener's own folder; where it lies, no run says.
            sent: The bundle of one of Flower's runs, as it came.
            count: Called with each message's type, and 0 or the code of its decline.

        Raises:
            PrivacyError: The home knows no platform, or an artist's no opener.
        """
        self._home = home
        self._sent = sent
        self._count = count or (lambda kind, code: None)
        self._platform = home.known.require("platform").identity
        self._task: _Last[Task] = _Last()
        self._studio: _Last[Studio] = _Last()
        self._desk: _Last[Desk] = _Last()
        self._app = build_client_app(lambda context: self._studio_of(*self._asked), lambda context: home.path)
        if home.role == "opener":
            add_desk(self._app, lambda context: self._desk_of(*self._asked))
        else:
            home.known.require("opener")
            self._app.query("statement")(self._state)

    def answer(self, message: Message) -> Message:
        """The reply to a message: of the apps, or a number and a fixed phrase. It never raises."""
        reply = self._reply(message)
        if not reply.has_error():
            reply.content = wrapped(reply.content)
        self._count(message.metadata.message_type, reply.error.code if reply.has_error() else 0)
        return reply

    def _reply(self, message: Message) -> Message:
        try:
            header = header_of(message, self._platform)
            run_id = message.metadata.run_id
            task = self._task.of(run_id, lambda: self._described(run_id))
            if (header.settings, header.roster) != (task.settings, task.roster.digest):
                raise StrangerError("the message's header is of another run than its bundle")
            self._asked = header.run, task
            log.info("%s of run %s", message.metadata.message_type, header.run[:8])
            given = heads.taken(message.content)
            if self._home.role != "artist":
                return self._app(message, self._context(message))
            self._require_whole(given)
            reply = self._app(message, self._context(message))
            if not reply.has_error():
                heads.put(
                    reply.content, heads.sign(self._home.identity, self._home.name, self._ledger(), now())
                )
            return reply
        except Exception as error:
            code = decline_of(error)
            with contextlib.suppress(Exception):
                self._log()
            return Message(Error(code=code, reason=code.phrase), reply_to=message)

    def _ledger(self) -> Ledger:
        return Ledger(self._home.path / "ledger.jsonl")

    def _require_whole(self, given: bytes | None) -> None:
        """Refuse to answer with a ledger that knows less than the platform was shown of it: a backup that was
        put back would spend again what was spent."""
        if given is not None:
            kept = heads.SignedHead.from_bytes(given, self._home.identity.public)
            heads.require([kept], self._home.name, self._ledger())

    def _context(self, message: Message) -> Context:
        run_id, node = message.metadata.run_id, message.metadata.dst_node_id
        flat = dict(self._asked[1].config.to_flat())
        return Context(run_id=run_id, node_id=node, node_config={}, state=RecordDict(), run_config=flat)

    def _described(self, run_id: int) -> Task:
        """What the bundle of a run says, held to what this home knows."""
        sent = self._sent(run_id)
        bundle = opened(sent.bundle, sent.sha256, frozenset({FILE}))
        if sent.overridden:
            raise FederationError("settings of the run were changed beside its bundle")
        roster = Roster.read(bundle.files.get(FILE, b""), self._platform)
        name, home = bundle.settings.get("run.system"), self._home
        # Before the settings are read: a system is a package, and naming it imports it.
        if home.role == "artist" and name not in home.policy.allow.systems:
            raise PolicyDeclined(Reason.SYSTEM, f"allow.systems: the run is of the system {name!r:.40}")
        config = Config.from_flat(bundle.settings)
        return Task(config, config.digest(), roster)

    def _plan(self, task: Task) -> Plan:
        names = task.roster.names
        system_bound(task.config).check(names)
        return plan_of(task.config, len(names), kept=self._home.path / "plan.json")

    def _studio_of(self, run: str, task: Task) -> Studio:
        """The artist's studio of a run, by what its policy and its decisions say now.

        Raises:
            PolicyDeclined: The artist's policy forbids the run.
            FederationError: This artist is not in the run, or the opener is another one.
        """
        home = self._home
        if home.role != "artist":
            raise FederationError("this node is no artist")
        names, opener = dict(task.roster.artists), home.known.require("opener").identity
        if names.get(home.name) != home.identity.public:
            raise FederationError("this artist, with its key, is not in the run")
        if task.roster.opener != opener:
            raise FederationError("the run has another opener than the one that is known here")
        policy = home.policy
        decisions = ConsentLog(home.path / policy.consent.file)

        def opened_anew() -> Studio:
            require_settled(home)
            plan = self._plan(task)
            meeting = meet(policy, task.config, plan)
            for key in meeting.tightened:
                log.info("run %s: %s of the policy gives less than it asks for", run[:8], key)
            system = system_bound(meeting.config)
            gallery = open_gallery(_own_gallery(task.config, home))
            portfolio = decisions.of(gallery.portfolio(home.name), system.purpose)
            if portfolio.test.all():
                raise GalleryError(f"{home.path}: no work that trains may be used for {system.purpose}")
            works = works_of(home.path, decisions, portfolio)
            return Studio(
                home.path,
                run,
                system,
                plan,
                len(names),
                portfolio,
                lambda: opener,
                limits=meeting.limits,
                works=works,
            )

        return self._studio.of((run, task, policy, decisions.heads[-1]), opened_anew)

    def _desk_of(self, run: str, task: Task) -> Desk:
        """The opener's desk of a run.

        Raises:
            FederationError: An artist of the run is not enrolled here with its key.
        """
        home = self._home
        for name, key in task.roster.artists:
            card = home.known.card("artist", name)
            if card is None or card.identity != key:
                raise PrivacyError(f"artist {name!r} of the run is not enrolled here with that key")
        keys = {name: partial(str, key) for name, key in task.roster.artists}
        return self._desk.of((run, task), lambda: Desk(home.path, run, keys, task.config, self._plan(task)))

    def _state(self, message: Message, context: Context) -> Message:
        """Answer the query "statement"."""
        home, run = self._home, self._asked[0]
        statement = Statement.of(home.name, run, home.policy.digest(), self._ledger())
        return Message(statement.to_record(home.identity), reply_to=message)

    def _log(self) -> None:
        """Details of an error, for this home alone."""
        log_text(private_folder(self._home.path) / f"{self._home.role}.log", traceback.format_exc() + "\n")


def serve(
    home: Home,
    stop: threading.Event,
    online: threading.Event,
    count: Callable[[str, int], None] | None = None,
) -> None:
    """Run the node of a home until it is told to stop.

    Args:
        home: Of an artist or an opener.
        stop: Ends it.
        online: Set while it is online.
        count: As of `Node`.

    Raises:
        PrivacyError: The home is not enrolled, or its key cannot be read.
    """
    platform = home.known.require("platform")
    if home.role == "artist":
        require_settled(home)
        # The first optimiser of a process brings torch's compiler along, for seconds: not in a round.
        torch.optim.SGD([torch.zeros(1)])
    fleet = Fleet(platform.address, platform.ca, home.node_key)
    fleet.serve(Node(home, fleet.sent, count).answer, stop, online)


def _own_gallery(config: Config, home: Home) -> GallerySection:
    """How the artist's own pictures are read: of a run's settings, by their size alone.

    Whoever chose what is held out, or how few pictures are too few, would learn from a decline which pictures
    there are, and how many.

    Raises:
        GalleryError: They hold other artists than this one.
    """
    if config.gallery.source != "folder":
        raise GalleryError(f"gallery.source = {config.gallery.source!r}: over sites it is 'folder'")
    portfolio = home.policy.portfolio
    place = home.path / portfolio.path
    own = type(config.gallery)(
        source="folder",
        path=str(place),
        size=config.gallery.size,
        split_column=portfolio.split_column,
        min_pictures=FEWEST_PICTURES,
        on_bad="skip",
    )
    artists = open_gallery(own).artists
    if artists != (home.name,):
        raise GalleryError(f"{place}: holds the artists {artists}, not {home.name!r} alone")
    return own
