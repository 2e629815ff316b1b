"""The in-process grid: Flower's contract, copies instead of shared records, no leak in errors."""

import pytest
from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid

from fedstyle_secure.engines.local import LocalGrid
from fedstyle_secure.federation.codes import Decline


def echo_app():
    app = ClientApp()

    @app.train()
    def train(message, context):
        seen = int(context.state.config_records["seen"]["n"]) if "seen" in context.state else 0
        context.state["seen"] = ConfigRecord({"n": seen + 1})
        message.content.array_records.clear()
        content = {"who": ConfigRecord({"partition": context.node_config["partition-id"], "seen": seen})}
        return Message(RecordDict(content), reply_to=message)

    return app


def test_the_grid_has_all_of_flowers_abstract_methods():
    assert not LocalGrid.__abstractmethods__
    assert isinstance(LocalGrid(echo_app(), 1, {}), Grid)


def test_each_node_answers_once_with_its_own_state_and_its_own_copy():
    grid = LocalGrid(echo_app(), 3, {"run.seed": 1})
    shared = RecordDict({"arrays": ArrayRecord({})})
    for turn in range(2):
        messages = [Message(shared, node, "train") for node in grid.get_node_ids()]
        replies = list(grid.send_and_receive(messages))
        who = [reply.content["who"] for reply in replies]
        assert [w["partition"] for w in who] == [0, 1, 2]
        assert [w["seen"] for w in who] == [turn] * 3
        assert "arrays" in shared, "an app changed the record that all nodes were sent"


def test_a_reply_is_made_when_it_is_asked_for():
    """A thousand uploads were in memory at once."""
    made = []
    app = ClientApp()

    @app.train()
    def train(message, context):
        made.append(context.node_config["partition-id"])
        return Message(RecordDict(), reply_to=message)

    grid = LocalGrid(app, 3, {})
    replies = iter(grid.send_and_receive([Message(RecordDict(), n, "train") for n in grid.get_node_ids()]))
    assert made == []
    next(replies)
    assert made == [0]
    assert len(list(replies)) == 2


def test_replies_are_pulled_once_and_belong_to_their_message():
    grid = LocalGrid(echo_app(), 2, {})
    nodes = list(grid.get_node_ids())
    first, second = grid.push_messages([Message(RecordDict(), node, "train") for node in nodes])
    (reply,) = grid.pull_messages([second])
    assert reply.metadata.reply_to_message_id == second
    assert reply.metadata.src_node_id == nodes[1]
    assert list(grid.pull_messages([second])) == []
    assert len(list(grid.pull_messages([first]))) == 1


def test_the_text_of_an_apps_exception_does_not_come_back():
    app = ClientApp()

    @app.train()
    def train(message, context):
        raise OSError("portfolio/secret-sketch.png")

    grid = LocalGrid(app, 1, {})
    (reply,) = grid.send_and_receive([Message(RecordDict(), next(iter(grid.get_node_ids())), "train")])
    assert reply.error.code == Decline.INTERNAL
    assert reply.error.reason == Decline.INTERNAL.phrase
    assert "secret" not in repr(reply.error)


def test_a_reply_that_takes_longer_than_the_timeout_does_not_count(monkeypatch):
    """`run.timeout` was ignored."""
    clock = iter([0.0, 1.0, 0.0, 3.0, 0.0, 2.0])
    monkeypatch.setattr("fedstyle_secure.engines.local.time.perf_counter", lambda: next(clock))
    grid = LocalGrid(echo_app(), 3, {})
    messages = [Message(RecordDict(), node, "train") for node in grid.get_node_ids()]
    replies = grid.send_and_receive(messages, timeout=2.0)
    assert [reply.content["who"]["partition"] for reply in replies] == [0, 2]
    assert list(grid.pull_messages([m.metadata.message_id for m in messages])) == []


def test_an_unknown_node_is_an_error_and_not_a_crash():
    (reply,) = LocalGrid(echo_app(), 1, {}).send_and_receive([Message(RecordDict(), 999, "train")])
    assert reply.has_error()


@pytest.mark.parametrize("code", list(Decline))
def test_every_code_has_a_phrase_of_its_own(code):
    assert code.phrase
    assert code > 100
