"""The platform's line to its nodes, by way of its SuperLink: every message gets a signed header, and every
node is known by its key."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TypeVar

import httpx
from flwr.app import Message, RecordDict
from flwr.common.serde import run_from_proto
from flwr.proto.runtime_pb2 import PullTaskInputRequest, PushTaskOutputRequest, SendTaskHeartbeatRequest
from flwr.supercore.interceptors import RuntimeTokenHttpInterceptor, RuntimeVersionHttpInterceptor
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.grid.http_grid import HttpGrid

from fedstyle_secure.errors import FederationError, PrivacyError
from fedstyle_secure.secure_sum.identity import Identity
from fedstyle_secure.sites import heads
from fedstyle_secure.sites.header import sealed
from fedstyle_secure.sites.heads import Keeper
from fedstyle_secure.sites.parcel import body, unpack

log = logging.getLogger("fedstyle_secure")

_T = TypeVar("_T")
_POLL_S = 0.4
_BEAT_S = 5.0
_PATIENCE_S = 90.0
"""How long a SuperLink may be gone before a call gives up."""
_TOLD = "told to stop"


class LinkLost(FederationError):
    """The SuperLink ended the run, or is gone. Exit code 6."""


class SiteGrid(HttpGrid):
    """Flower's grid over HTTP, for one task that was acquired."""

    def __init__(
        self,
        address: str,
        ca: bytes,
        token: str,
        *,
        identity: Identity,
        bound: Callable[[], tuple[str, str, str]],
        enrolled: Mapping[bytes, str],
        keys: Mapping[str, str],
        keeper: Keeper,
        stop: threading.Event,
    ) -> None:
        """
        Args:
            address: HOST:PORT of the SuperLink.
            ca: PEM that its certificate goes back to.
            token: Of the task.
            identity: The platform's.
            bound: Gives run, settings and roster for the header of a message that is sent now.
            enrolled: By public node key: the artist that it is enrolled for, "" for the opener.
            keys: Public identity keys of the artists, by name.
            keeper: Keeps the heads of their ledgers.
            stop: Ends the waiting for replies.
        """
        super().__init__(address, False, ca, token=token)
        self._identity = identity
        self._bound = bound
        self._enrolled = enrolled
        self._keys = keys
        self._keeper = keeper
        self._stop = stop
        self._names: dict[int, str] = {}
        self._ended = threading.Event()

    def _connect(self) -> None:
        # Without Flower's retries: they end the process where the SuperLink refuses.
        self._client = RuntimeHttpClient.from_server_address(
            self._addr,
            False,
            self._cert,
            interceptors=[
                RuntimeVersionHttpInterceptor(component_name="flwr-serverapp"),
                RuntimeTokenHttpInterceptor(token=self._token),
            ],
        )

    def take(self) -> int:
        """Take the task on. Returns: Flower's id of the run."""
        given = self._patiently(lambda: self._runtime_client.PullTaskInput(PullTaskInputRequest()))
        self.set_run(run_from_proto(given.run))
        TaskIdentity.task_id, TaskIdentity.run_id = given.task_id, given.run.run_id
        TaskIdentity.node_id = given.context.node_id
        threading.Thread(target=self._beat, daemon=True).start()
        run_id: int = given.run.run_id
        return run_id

    def give_back(self, status: str, details: str) -> None:
        """Say how the task ended."""
        self._ended.set()
        request = PushTaskOutputRequest(sub_status=status, details=details)
        try:
            self._runtime_client.PushTaskOutput(request)
        except (httpx.HTTPError, OSError) as error:
            log.warning("the SuperLink was not told that the run is %s: %s", status, type(error).__name__)

    def speaks(self, node: int) -> str | None:
        """The artist that a node is enrolled for, "" for the opener; None for a stranger."""
        if node not in self._names:
            self.get_node_ids()
        return self._names.get(node)

    def artist_nodes(self) -> list[int]:
        """Nodes of enrolled artists that are online."""
        return sorted(node for node in self.get_node_ids() if self._names[node])

    def get_node_ids(self) -> Sequence[int]:
        """Nodes that are online and enrolled; strangers are not there."""
        found = []
        for node in self._patiently(self.get_nodes):
            name = self._enrolled.get(node.public_key)
            if name is not None:
                self._names[node.node_id] = name
                found.append(node.node_id)
        return found

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """The replies that came in time."""
        run, settings, roster = self._bound()
        signed = [
            sealed(self._with_head(message), self._identity, run, settings, roster) for message in messages
        ]
        waiting = {i for i in self._patiently(lambda: self.push_messages(signed)) if i}
        end = time.monotonic() + (float("inf") if timeout is None else timeout)
        replies: list[Message] = []
        while waiting and time.monotonic() < end:
            come = self._patiently(partial(self.pull_messages, waiting))
            waiting -= {message.metadata.reply_to_message_id for message in come}
            replies += [reply for reply in come if self._goes_on(reply)]
            if waiting and self._stop.wait(_POLL_S):
                raise LinkLost(_TOLD)
        return replies

    def _with_head(self, message: Message) -> Message:
        """With the newest head of the artist's ledger that was seen here."""
        name = self.speaks(message.metadata.dst_node_id)
        kept = self._keeper.kept(name, self._keys[name]) if name else None
        if kept is None:
            return message
        told, content = message.metadata, RecordDict({**message.content})
        heads.put(content, kept)
        return Message(content, told.dst_node_id, told.message_type, ttl=told.ttl, group_id=told.group_id)

    def _goes_on(self, reply: Message) -> bool:
        """Put a reply's content in its place, and say whether the ledger behind it goes on from where it was;
        what it is now is kept."""
        if reply.has_error():
            return True
        name = self.speaks(reply.metadata.src_node_id)
        try:
            reply.content = unpack(body(reply.content))
            given = heads.taken(reply.content)
            if not name:
                return True
            self._keeper.keep(given or b"", name, self._keys[name])
        except (FederationError, PrivacyError) as error:
            log.warning("a reply does not count: %s", error)
            return False
        return True

    def _patiently(self, call: Callable[[], _T]) -> _T:
        """A call, again while the SuperLink cannot be reached.

        Raises:
            LinkLost: It stays away, or does not go on with the run.
        """
        end = time.monotonic() + _PATIENCE_S
        while True:
            try:
                return call()
            except httpx.HTTPStatusError as error:
                if error.response.status_code not in (502, 503, 504):
                    raise LinkLost(
                        f"the SuperLink does not go on with the run ({error.response.status_code})"
                    ) from None
            except (httpx.HTTPError, OSError) as error:
                if time.monotonic() > end:
                    raise LinkLost(f"the SuperLink is gone ({type(error).__name__})") from None
            if self._stop.wait(1):
                raise LinkLost(_TOLD)

    def _beat(self) -> None:
        while not self._ended.wait(_BEAT_S):
            try:
                self._runtime_client.SendTaskHeartbeat(SendTaskHeartbeatRequest())
            except (httpx.HTTPError, OSError):
                continue
