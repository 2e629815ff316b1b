"""The default engine: Flower's apps in this process, without Ray and without a server."""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import Iterable, Mapping

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.constant import SUPERLINK_NODE_ID
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from fedstyle_secure.config import Scalar
from fedstyle_secure.federation.codes import Decline

_FIRST_NODE = SUPERLINK_NODE_ID + 1


class LocalGrid(Grid):
    """Hands each message to the ClientApp at once and keeps its reply until it is pulled.

    Messages are copied on the way in, as a network would, so that no artist sees or changes what
    another one got. One Context a node, for the life of the grid.
    """

    def __init__(self, client_app: ClientApp, nodes: int, run_config: Mapping[str, Scalar]) -> None:
        """Set up one node a partition, with partition ids from 0.

        Args:
            client_app: The app that every node runs.
            nodes: Number of nodes, >= 1.
            run_config: Flat run configuration, given to every node.
        """
        self._app = client_app
        self._run = Run.create_empty(run_id=1)
        # Flower's Message reads who is running from these; a process runs one grid at a time.
        TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = 1, 1, SUPERLINK_NODE_ID
        self._contexts = {
            node: Context(
                run_id=1,
                node_id=node,
                node_config={"partition-id": node - _FIRST_NODE, "num-partitions": nodes},
                state=RecordDict(),
                run_config=dict(run_config),
            )
            for node in range(_FIRST_NODE, _FIRST_NODE + nodes)
        }
        self._replies: dict[str, tuple[float, Message]] = {}
        self._ids = itertools.count(1)

    def set_run(self, run: Run) -> None:
        """Set the run's description."""
        self._run = run

    @property
    def run(self) -> Run:
        """The run's description."""
        return self._run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Create a message, as Flower's Grid does."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """The nodes' ids."""
        return list(self._contexts)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Run the ClientApp on each message; returns the messages' ids."""
        ids = []
        for message in messages:
            message_id = str(next(self._ids))
            message.metadata.__dict__["_message_id"] = message_id
            began = time.perf_counter()
            reply = self._handle(copy.deepcopy(message))
            self._replies[message_id] = time.perf_counter() - began, reply
            ids.append(message_id)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """The replies to these messages, each once."""
        return [self._replies.pop(i)[1] for i in message_ids if i in self._replies]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """The replies that came in time, each made when it is asked for, so that one is in memory.

        Nodes work one after the other here and side by side elsewhere, so each has all of `timeout` to
        itself. Nobody is interrupted; a reply that took longer is dropped.
        """
        for message in messages:
            (message_id,) = self.push_messages([message])
            seconds, reply = self._replies.pop(message_id)
            if timeout is None or seconds <= timeout:
                yield reply

    def _handle(self, message: Message) -> Message:
        context = self._contexts.get(message.metadata.dst_node_id)
        if context is None:
            return Message(Error(code=Decline.MALFORMED, reason="no such node"), reply_to=message)
        try:
            return self._app(message, context)
        except Exception:
            # An app is expected to catch its own errors; the text of one it did not catch stays here.
            return Message(Error(code=Decline.INTERNAL, reason=Decline.INTERNAL.phrase), reply_to=message)
