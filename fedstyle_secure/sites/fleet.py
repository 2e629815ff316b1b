"""A node's line to a SuperLink: messages in, answers out, for as long as it takes.

It speaks Flower's Fleet API by Flower's own client. `flower-supernode` starts a process for every message and
unpacks the bundle that came with it: here one process answers all, and no bundle is ever run. A line that
breaks is taken up again, and so is one whose node the SuperLink still takes for online.
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from flwr.app import Array, Message
from flwr.app.message import remove_content_from_message
from flwr.common.constant import HEARTBEAT_MIN_INTERVAL
from flwr.common.serde import fab_from_proto, message_to_proto, run_from_proto
from flwr.proto.fab_pb2 import GetFabRequest
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    DeactivateNodeRequest,
    PullMessagesRequest,
    PushMessagesRequest,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.node_pb2 import Node
from flwr.proto.run_pb2 import GetRunRequest
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_body,
    get_object_head_values_from_object_content,
    get_object_tree,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_protobuf_utils import (
    make_confirm_message_received_fn_protobuf,
    make_pull_object_fn_protobuf,
    make_push_object_fn_protobuf,
)
from flwr.supercore.inflatable.inflatable_utils import (
    ObjectPullError,
    ObjectPushError,
    inflate_object_from_contents,
    pull_objects,
    push_objects,
)
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supercore.task_identity import TaskIdentity
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from fedstyle_secure.errors import PrivacyError

log = logging.getLogger("fedstyle_secure")

_POLL_S = (0.3, 1.5)
"""Between two looks for a message: soon after one, and when none came for a while. A look costs the SuperLink
some 10 ms."""

_LONGEST_WAIT_S = 10.0
"""Between two tries to reach a SuperLink; one that takes the node for online lets go after two beats."""

_LARGEST = 2**32
"""Bytes of a message, packed and unpacked, whoever sent it: more than any public state has."""

_BEAT_S = HEARTBEAT_MIN_INTERVAL / 3

Answer = Callable[[Message], Message]


@dataclass(frozen=True)
class Sent:
    """What a run's messages belong to.

    Attributes:
        bundle: Bytes of its bundle.
        sha256: Of the bundle that the SuperLink says the run has.
        overridden: Whether settings of the bundle were changed when the run was started.
    """

    bundle: bytes
    sha256: str
    overridden: bool


class Fleet:
    """The line of one node. `serve` holds it until it is told to stop."""

    def __init__(self, address: str, ca: str, key: Path) -> None:
        """
        Args:
            address: HOST:PORT of the SuperLink.
            ca: The certificate that its connection must go back to, PEM.
            key: The node's private key, an OpenSSH file.

        Raises:
            PrivacyError: The key cannot be read.
        """
        try:
            private = load_ssh_private_key(key.read_bytes(), None)
        except (OSError, ValueError) as error:
            raise PrivacyError(f"{key}: is no node key: {error}") from None
        if not isinstance(private, ec.EllipticCurvePrivateKey):
            raise PrivacyError(f"{key}: is no node key: not of an elliptic curve")
        public = private.public_key()
        self._public = public_key_to_bytes(public)
        self._client = FleetHttpClient.from_server_address(
            address,
            False,
            ca.encode(),
            interceptors=[
                RuntimeVersionHttpInterceptor(component_name="SuperNode"),
                NodeAuthHttpInterceptor(private, public),
            ],
        )
        self._node: Node | None = None
        self._said = ""

    def sent(self, run_id: int) -> Sent:
        """The bundle of a run that a message came from."""
        run = run_from_proto(self._client.GetRun(GetRunRequest(node=self._node, run_id=run_id)).run)
        asked = GetFabRequest(node=self._node, hash_str=run.fab_hash, run_id=run_id)
        fab = fab_from_proto(self._client.GetFab(asked).fab)
        return Sent(fab.content, run.fab_hash, bool(run.override_config))

    def serve(self, answer: Answer, stop: threading.Event, online: threading.Event) -> None:
        """Answer messages, one after the other, until `stop` is set.

        Args:
            answer: Answers a message; it never raises.
            stop: Ends it, after the message in hand.
            online: Set while the SuperLink takes the node for online.
        """
        waited, idle = 0.0, _POLL_S[0]
        while not stop.is_set():
            try:
                if self._node is None:
                    self._activate()
                    online.set()
                    threading.Thread(target=self._beat, args=(self._node, stop), daemon=True).start()
                if self._one(answer):
                    idle = _POLL_S[0]
                else:
                    stop.wait(idle)
                    idle = min(_POLL_S[1], 1.5 * idle)
                waited, self._said = 0.0, ""
            except (httpx.HTTPError, OSError, ObjectPullError, ObjectPushError) as error:
                if _gone(error):
                    # The run ended meanwhile, or this message is no more: there will be others.
                    continue
                self._tell(f"no line to the SuperLink ({_said(error)}); trying again")
                if isinstance(error, httpx.HTTPStatusError):
                    # It may have forgotten the node, or not let go of it yet: either way, begin anew.
                    self._node = None
                    online.clear()
                waited = min(_LONGEST_WAIT_S, 2 * waited or 1.0)
                stop.wait(waited)
            except Exception as error:
                # Whoever reaches the SuperLink may send what is no message: it ends no node.
                self._tell(f"what came is no message ({type(error).__name__}); there will be others")
                stop.wait(_POLL_S[1])
        self._leave()
        online.clear()

    def _activate(self) -> None:
        request = ActivateNodeRequest(public_key=self._public, heartbeat_interval=HEARTBEAT_MIN_INTERVAL)
        self._node = Node(node_id=self._client.ActivateNode(request).node_id)
        TaskIdentity.node_id = self._node.node_id
        log.info("online as node %s", self._node.node_id)

    def _beat(self, node: Node, stop: threading.Event) -> None:
        """Tell the SuperLink every few seconds that the node lives, until it has another line."""
        request = SendNodeHeartbeatRequest(node=node, heartbeat_interval=HEARTBEAT_MIN_INTERVAL)
        while not stop.wait(_BEAT_S) and self._node is node:
            try:
                self._client.SendNodeHeartbeat(request)
            except (httpx.HTTPError, OSError):
                continue

    def _one(self, answer: Answer) -> bool:
        """Answer a message, if there is one."""
        node = self._node
        assert node is not None
        response = self._client.PullMessages(PullMessagesRequest(node=node))
        if not response.messages_list:
            return False
        run_id = response.messages_list[0].metadata.run_id
        tree = response.message_object_trees[0]
        confirm = make_confirm_message_received_fn_protobuf(self._client.ConfirmMessageReceived, node, run_id)
        objects = pull_objects(
            [one.object_id for one in iterate_object_tree(tree)],
            _counted(make_pull_object_fn_protobuf(self._client.PullObject, node, run_id)),
        )
        confirm(tree.object_id)
        _require_room(objects)
        message = inflate_object_from_contents(tree.object_id, objects)
        if not isinstance(message, Message):
            raise TypeError("what was sent is no message")
        message.metadata.__dict__["_message_id"] = tree.object_id
        TaskIdentity.run_id = TaskIdentity.task_id = run_id
        began = time.monotonic()
        reply = answer(message)
        self._push(node, reply, time.monotonic() - began)
        return True

    def _push(self, node: Node, reply: Message, seconds: float) -> None:
        reply.metadata.__dict__["_message_id"] = reply.object_id
        run_id = reply.metadata.run_id
        with no_object_id_recompute():
            response = self._client.PushMessages(
                PushMessagesRequest(
                    node=node,
                    messages_list=[message_to_proto(remove_content_from_message(reply))],
                    message_object_trees=[get_object_tree(reply)],
                    clientapp_runtime_list=[seconds],
                )
            )
            push_objects(
                get_all_nested_objects(reply),
                make_push_object_fn_protobuf(self._client.PushObject, node, run_id, response.session_id),
                object_ids_to_push=set(response.objects_to_push),
            )

    def _leave(self) -> None:
        if self._node is not None:
            with contextlib.suppress(httpx.HTTPError, OSError):
                self._client.DeactivateNode(DeactivateNodeRequest(node_id=self._node.node_id))
        self._client.close()

    def _tell(self, said: str) -> None:
        """Say once what is wrong."""
        if said != self._said:
            log.warning(said)
            self._said = said


def _counted(pull: Callable[[str], bytes]) -> Callable[[str], bytes]:
    """The same, until more was pulled than a message may have."""
    sizes: list[int] = []

    def counted(object_id: str) -> bytes:
        data = pull(object_id)
        sizes.append(len(data))
        if sum(sizes) > _LARGEST:
            raise ValueError("the message is too large")
        return data

    return counted


def _require_room(objects: Mapping[str, bytes]) -> None:
    """Raise ValueError where arrays would be larger than a message may be: each names its chunks, and may
    name one a million times."""
    size = 0
    for data in objects.values():
        kind, children, _ = get_object_head_values_from_object_content(data)
        if kind == Array.__qualname__:
            chunks = json.loads(get_object_body(data, Array))["arraychunk_ids"]
            size += sum(len(objects[children[i]]) for i in chunks)
    if size > _LARGEST:
        raise ValueError("the message's arrays are too large")


def _said(error: Exception) -> str:
    if isinstance(error, httpx.HTTPStatusError):
        return (
            f"refused with {error.response.status_code}: the SuperLink does not know this node's key, "
            "still takes the node for online, or has another time"
        )
    return f"{type(error).__name__}: {error}"


def _gone(error: Exception) -> bool:
    """Whether an error is about one message, and not about the line."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code == httpx.codes.FORBIDDEN
    return isinstance(error, ObjectPullError | ObjectPushError)
