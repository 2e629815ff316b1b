"""The platform's line: strangers are not there, a node speaks for whom it was enrolled, ledgers go on."""

import threading

import httpx
import pytest
from flwr.app import Message, RecordDict
from flwr.proto.node_pb2 import NodeInfo
from flwr.supercore.task_identity import TaskIdentity

from fedstyle_secure.config import RunSection
from fedstyle_secure.federation.offers import Place, announcement_record
from fedstyle_secure.federation.summing import Counter
from fedstyle_secure.privacy.ledger import Ledger
from fedstyle_secure.secure_sum.identity import Identity
from fedstyle_secure.sites import heads
from fedstyle_secure.sites.grid import LinkLost, SiteGrid
from fedstyle_secure.sites.heads import Keeper
from fedstyle_secure.sites.parcel import body, unpack, wrapped


@pytest.fixture(autouse=True)
def task(monkeypatch):
    """Flower's messages ask who is running."""
    for name in ("_run_id", "_task_id", "_node_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)


NAMES = {1: "ann", 2: "bo", 3: "cy", 9: ""}
RUN = "ab" * 16


class Grid(SiteGrid):
    """Without a SuperLink: nodes, and what each of them answers."""

    def __init__(self, tmp_path, keys=None):
        super().__init__(
            "localhost:1", b"", "token",
            identity=Identity.load(tmp_path / "platform" / "identity.key"),
            bound=lambda: (RUN, "0" * 64, "0" * 64),
            enrolled={f"key of {name}".encode(): name for name in NAMES.values()},
            keys=dict.fromkeys(filter(None, NAMES.values()), "") | (keys or {}),
            keeper=Keeper(tmp_path / "heads"), stop=threading.Event(),
        )  # fmt: skip
        self.answers = {}

    def get_nodes(self):
        known = [NodeInfo(node_id=n, public_key=f"key of {name}".encode()) for n, name in NAMES.items()]
        return [*known, NodeInfo(node_id=66, public_key=b"key of a stranger")]

    def push_messages(self, messages):
        self.pushed = list(messages)
        return [str(i) for i in range(len(self.pushed))]

    def pull_messages(self, ids):
        replies = []
        for i in sorted(ids):
            message = self.pushed[int(i)]
            message.metadata.__dict__["_message_id"] = i
            message.metadata.__dict__["_src_node_id"] = 1
            content = wrapped(self.answers[message.metadata.dst_node_id](message))
            reply = Message(content, reply_to=message)
            reply.metadata.__dict__["_src_node_id"] = message.metadata.dst_node_id
            replies.append(reply)
        return replies


def test_who_is_registered_and_not_enrolled_is_not_there(tmp_path):
    """Whoever reaches Flower's control path registers nodes."""
    grid = Grid(tmp_path)
    assert sorted(grid.get_node_ids()) == [1, 2, 3, 9]
    assert grid.artist_nodes() == [1, 2, 3]
    assert [grid.speaks(n) for n in (1, 9, 66)] == ["ann", "", None]


class Sums:
    """What `Counter` needs of a grid: node 3 is cy's, and announces itself as ann."""

    def send_and_receive(self, messages, *, timeout):
        for message in messages:
            node = message.metadata.dst_node_id
            message.metadata.__dict__["_message_id"] = str(node)
            says = {1: "ann", 2: "bo", 3: "ann"}[node]
            reply = Message(announcement_record(says, bytes(96)), reply_to=message)
            reply.metadata.__dict__["_src_node_id"] = node
            yield reply


@pytest.mark.parametrize(("speaks", "ready"), [(NAMES.get, {"ann": 1, "bo": 2}), (lambda n: None, {"bo": 2})])
def test_an_impostor_stops_nobodys_sum_where_nodes_are_enrolled(tmp_path, speaks, ready):
    """Both nodes of a name were left out: one registered impostor kept an artist, and so the sum, away."""
    counter = Counter.__new__(Counter)
    counter._grid, counter._speaks, counter._waits = Sums(), speaks, RunSection()
    counter._roster = frozenset(["ann", "bo", "cy"])
    found = counter._announced(Place(RUN, 0, 0, 1), [1, 2, 3], 1)
    assert {artist: node for artist, (node, _) in found.items()} == ready


def test_a_reply_behind_which_the_ledger_went_back_does_not_count(tmp_path):
    identity = Identity.load(tmp_path / "ann" / "identity.key")
    grid = Grid(tmp_path, keys={"ann": identity.public})
    long, empty = Ledger(tmp_path / "long.jsonl"), Ledger(tmp_path / "empty.jsonl")
    long.withdraw("2026-01-01T00:00:00+00:00")

    def answers(ledger):
        def answer(message):
            record = RecordDict({})
            heads.put(record, heads.sign(identity, "ann", ledger, "2026-01-01T00:00:00+00:00"))
            return record

        return answer

    def ask():
        return len(grid.send_and_receive([Message(RecordDict({}), 1, "train", ttl=60)], timeout=1))

    grid.answers[1] = answers(long)
    assert ask() == 1
    # The artist is shown the head that it signed, and one that goes back is not heard.
    assert heads.taken(unpack(body(grid.pushed[0].content))) is None
    grid.answers[1] = answers(empty)
    assert ask() == 0
    shown = heads.taken(unpack(body(grid.pushed[0].content)))
    assert heads.SignedHead.from_bytes(shown, identity.public).head.lines == 1
    grid.answers[1] = lambda message: RecordDict({})
    assert ask() == 0


def test_who_is_told_to_stop_waits_for_no_superlink(tmp_path):
    """It waited a minute and a half for one that was gone, whatever it was told."""
    grid = Grid(tmp_path)
    asked = []

    def gone():
        asked.append(grid._stop.set())
        raise httpx.ConnectError("refused")

    grid.get_nodes = gone
    with pytest.raises(LinkLost, match="told to stop"):
        grid.get_node_ids()
    assert len(asked) == 1
