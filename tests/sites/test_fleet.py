"""A node's line: whatever comes over it, there will be other messages."""

import json
import resource
import threading
from types import SimpleNamespace

import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.app.message.arraychunk import ArrayChunk
from flwr.proto.fleet_pb2 import PullMessagesResponse
from flwr.proto.message_pb2 import Message as Sent
from flwr.proto.message_pb2 import ObjectTree
from flwr.supercore.inflatable.inflatable_object import get_object_id

from fedstyle_secure.sites.fleet import Fleet
from fedstyle_secure.sites.homes import init_artist, init_platform


class Link:
    """A SuperLink with these objects, the last of which is said to be a message."""

    def __init__(self, stop, *objects):
        self._objects = {get_object_id(data): data for data in objects}
        self._stop, self._left = stop, 2

    def ActivateNode(self, request):
        return SimpleNamespace(node_id=1)

    def DeactivateNode(self, request):
        pass

    def SendNodeHeartbeat(self, request):
        pass

    def ConfirmMessageReceived(self, request):
        pass

    def close(self):
        pass

    def PullMessages(self, request):
        self._left -= 1
        if not self._left:
            self._stop.set()
            return PullMessagesResponse()
        *below, last = self._objects
        tree = ObjectTree(object_id=last, children=[ObjectTree(object_id=one) for one in below])
        return PullMessagesResponse(messages_list=[Sent()], message_object_trees=[tree])

    def PullObject(self, request):
        data = self._objects[request.object_id]
        return SimpleNamespace(object_found=True, object_available=True, object_content=data)


def deflated(kind, body, children=()):
    return f"{kind} {','.join(children)} {len(body)}".encode() + b"\0" + body


RECORD = RecordDict({"x": ConfigRecord({"y": 1})})


def repeated(times):
    """A message with an array that names its one chunk so many times."""
    chunk = ArrayChunk(bytes(2**20)).deflate()
    told = {"dtype": "float32", "shape": [1], "stype": "numpy.ndarray", "arraychunk_ids": [0] * times}
    return [chunk, deflated("Array", json.dumps(told).encode(), [get_object_id(chunk)])]


@pytest.mark.parametrize(
    "objects",
    [
        [RECORD["x"].deflate(), RECORD.deflate()],
        [deflated("ConfigRecord", b"\xff\xff")],
        [deflated("Array", b"[" * 100_000)],
        [deflated("Array", b"{}")],
        [deflated("Message", b"")],
        [b"nothing"],
        repeated(2**13),
    ],
)
def test_what_is_no_message_ends_no_node(tmp_path, objects):
    """Whoever reached the SuperLink ended every node by one object that was none."""
    platform = init_platform(tmp_path / "platform", "localhost", 8443, tmp_path)
    artist = init_artist(tmp_path / "ann", "ann", tmp_path)
    fleet, stop = Fleet("localhost:8443", platform.card.ca, artist.node_key), threading.Event()
    fleet._client = Link(stop, *objects)
    answered: list[Message] = []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    fleet.serve(answered.append, stop, threading.Event())
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20, "took a GiB"
    assert stop.is_set()
    assert not answered
