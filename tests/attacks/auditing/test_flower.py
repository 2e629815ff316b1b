"""What a Flower app sends and gets is kept as it was, by its clients and by its server."""

import random

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import FedAvg
from torch import nn

from attacks import AttackError, capture_mod, captured, keep_updates
from attacks.auditing import flower
from fedstyle_secure.engines.local import LocalGrid


def app(folder):
    made = ClientApp(mods=[capture_mod(folder)])

    @made.train()
    def train(message, context):
        net = nn.Linear(3, 2)
        net.load_state_dict(message.content["arrays"].to_torch_state_dict())
        with torch.no_grad():
            net.weight += context.node_config["partition-id"] + 1
        metrics = MetricRecord({"num-examples": 1})
        return Message(RecordDict({"arrays": ArrayRecord(net.state_dict()), "m": metrics}), reply_to=message)

    return made


def played(tmp_path, rounds=2):
    strategy = keep_updates(FedAvg(fraction_evaluate=0.0, min_available_nodes=2), tmp_path / "server")
    start = ArrayRecord(nn.Linear(3, 2).state_dict())
    result = strategy.start(LocalGrid(app(tmp_path / "client"), 2, {}), start, num_rounds=rounds)
    return start, result


def test_both_ends_keep_the_same_and_change_nothing(tmp_path):
    start, result = played(tmp_path)
    server, client = captured(tmp_path / "server"), captured(tmp_path / "client")
    assert [(one.round, one.node) for one in server] == [(one.round, one.node) for one in client]
    assert [one.round for one in server] == [1, 1, 2, 2]
    for one, other in zip(server, client, strict=True):
        assert all(torch.equal(one.before[name], other.before[name]) for name in one.before)
        assert all(torch.equal(one.after[name], other.after[name]) for name in one.after)
    assert torch.equal(server[0].before["weight"], start.to_torch_state_dict()["weight"])
    moved = {round(float((one.after["weight"] - one.before["weight"]).mean()), 4) for one in server}
    assert moved == {1.0, 2.0}
    # The mean of one and two, twice.
    last = result.arrays.to_torch_state_dict()["weight"] - start.to_torch_state_dict()["weight"]
    assert torch.allclose(last, torch.full((2, 3), 3.0), atol=1e-6)


def test_an_empty_folder_and_a_damaged_file_are_one_line(tmp_path):
    with pytest.raises(AttackError, match="no update was kept here"):
        captured(tmp_path)
    played(tmp_path, rounds=1)
    path = next((tmp_path / "server").glob("round-0001/sent-*"))
    path.write_bytes(b"cut")
    with pytest.raises(AttackError, match="no whole safetensors file"):
        captured(tmp_path / "server")


def passed(folder, sent, back, node=2, number=1, kind="train"):
    """A message and its reply through one client's mod."""
    LocalGrid(ClientApp(), 2, {})
    records = {**sent, **({} if number is None else {"config": ConfigRecord({"server-round": number})})}
    message = Message(RecordDict(records), 2, kind)
    reply = Message(back if isinstance(back, Error) else RecordDict(back), reply_to=message)
    context = Context(run_id=1, node_id=node, node_config={}, state=RecordDict(), run_config={})
    assert capture_mod(folder)(message, context, lambda *_: reply) is reply


def arrays(**named):
    return ArrayRecord({name: Array(np.asarray(value)) for name, value in named.items()})


JUNK = ArrayRecord({"w": Array("float32", (2,), "numpy.ndarray", b"junk")})


@pytest.mark.parametrize(
    "record",
    [
        JUNK,
        ArrayRecord({"w": Array("float32", (2,), "packed", b"")}),
        arrays(w=["text"]),
        arrays(w=np.ones(2, "c16")),
        arrays(w=np.ones(2, ">f4")),
        arrays(__metadata__=np.ones(2)),
    ],
    ids=["junk", "packed", "text", "complex", "big-endian", "reserved"],
)
def test_what_no_file_holds_stops_no_training_and_no_audit_of_others(tmp_path, caplog, record):
    good = {"arrays": arrays(w=np.ones(2, "f4"))}
    passed(tmp_path, good, {"arrays": record}, node=2)
    assert "reply-2.safetensors was not kept" in caplog.text
    passed(tmp_path, {"arrays": record}, good, node=3)
    assert "sent-3.safetensors was not kept" in caplog.text
    passed(tmp_path, good, good, node=4)
    assert [one.node for one in captured(tmp_path)] == ["4"]


def test_a_disk_that_keeps_nothing_stops_no_training(tmp_path, caplog):
    (tmp_path / "full").write_text("a file where a folder should be")
    _, result = played(tmp_path / "full")
    assert result.arrays is not None
    assert len(caplog.records) >= 8


def test_a_client_of_junk_does_not_end_the_servers_run(tmp_path, caplog):
    class Last:
        def configure_train(self, server_round):
            return [Message(RecordDict({"arrays": arrays(w=np.ones(2))}), 2, "train")]

        def aggregate_train(self, server_round, replies):
            return replies

    LocalGrid(ClientApp(), 2, {})
    strategy = keep_updates(Last(), tmp_path)
    (message,) = strategy.configure_train(1)
    reply = Message(RecordDict({"arrays": JUNK}), reply_to=message)
    assert strategy.aggregate_train(1, [reply]) == [reply]
    assert "was not kept" in caplog.text
    # Replies that come one by one are taken one by one.
    came = []
    lazy = strategy.aggregate_train(1, (came.append(1) or reply for _ in range(3)))
    assert not came
    assert next(iter(lazy)) is reply
    assert len(came) == 1


def test_an_earlier_runs_answer_is_no_answer_to_what_is_sent_now(tmp_path):
    def of(value):
        return {"arrays": arrays(w=np.full(2, value))}

    passed(tmp_path, of(0.0), of(1.0))
    passed(tmp_path, of(9.0), Error(code=1, reason="no power"))
    with pytest.raises(AttackError, match="no update was kept here"):
        captured(tmp_path)
    passed(tmp_path, {}, of(1.0))
    with pytest.raises(AttackError, match="no update was kept here"):
        captured(tmp_path)
    passed(tmp_path, of(2.0), of(3.0))
    (one,) = captured(tmp_path)
    assert (one.before["w"][0], one.after["w"][0]) == (2, 3)


def test_rounds_from_zero_are_all_kept_and_nodes_come_in_their_order(tmp_path):
    for number in (0, 1, 9999, 10000):
        for node in (10, 2, 11):
            kept = {"arrays": arrays(w=np.full(1, number))}
            passed(tmp_path, kept, kept, node=node, number=number)
    found = captured(tmp_path)
    assert [(one.round, one.node) for one in found] == [
        (number, node) for number in (0, 1, 9999, 10000) for node in ("2", "10", "11")
    ]
    assert all(one.before["w"][0] == one.round for one in found)


@pytest.mark.parametrize("number", ["../../up", [1, 2], -1, None])
def test_a_round_that_is_no_number_is_counted(tmp_path, number):
    kept = {"arrays": arrays(w=np.ones(1))}
    for _ in range(2):
        passed(tmp_path, kept, kept, node=-5, number=number)
    assert [(one.round, one.node) for one in captured(tmp_path)] == [(1, "-5"), (2, "-5")]
    assert {path.name for path in tmp_path.iterdir()} == {"round-0001", "round-0002"}


def test_the_record_of_flowers_usual_name_is_kept_wherever_it_stands(tmp_path):
    weights, control = arrays(w=np.ones(2)), arrays(w=np.zeros(2))
    passed(tmp_path, {"control": control, "arrays": weights}, {"arrays": weights, "control": control})
    (one,) = captured(tmp_path)
    assert one.before["w"].tolist() == one.after["w"].tolist() == [1, 1]


def test_only_training_is_kept_and_only_its_owner_may_read_it(tmp_path):
    kept = {"arrays": arrays(w=np.ones(2))}
    for kind in ("evaluate", "query"):
        passed(tmp_path, kept, kept, kind=kind)
    assert not list(tmp_path.iterdir())
    passed(tmp_path, kept, kept, kind="train.mine")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path.stat().st_mode & 0o777 for path in files] == [0o600, 0o600]


def test_a_training_that_is_kept_is_the_same_to_the_last_bit(tmp_path):
    # Flower's strategies draw clients from Python's own generator.
    chance = random.getstate(), torch.get_rng_state()

    def run(mods, keep):
        made = ClientApp(mods=mods)

        @made.train()
        def train(message, context):
            net = nn.Sequential(nn.Linear(3, 2), nn.Dropout())
            net.load_state_dict(message.content["arrays"].to_torch_state_dict())
            net(torch.randn(4, 3)).square().mean().backward()
            torch.optim.SGD(net.parameters(), 0.1).step()
            reply = {"arrays": ArrayRecord(net.state_dict()), "m": MetricRecord({"num-examples": 1})}
            return Message(RecordDict(reply), reply_to=message)

        random.setstate(chance[0])
        torch.set_rng_state(chance[1])
        strategy = keep(FedAvg(fraction_evaluate=0.0, min_available_nodes=2))
        start = ArrayRecord(nn.Sequential(nn.Linear(3, 2)).state_dict())
        result = strategy.start(LocalGrid(made, 3, {}), start, num_rounds=2)
        return result.arrays.object_id, torch.get_rng_state().tolist()

    plain = run([], lambda strategy: strategy)
    watched = run([capture_mod(tmp_path / "c")], lambda strategy: keep_updates(strategy, tmp_path / "s"))
    assert plain == watched
    assert len(captured(tmp_path / "c")) == len(captured(tmp_path / "s")) == 6


def test_what_was_kept_is_read_where_it_is_asked_for_and_its_damage_is_named_before(tmp_path, monkeypatch):
    """A hundred rounds of a large model do not fit into memory; cut files are found without reading them."""
    for number in range(20):
        kept = {"arrays": arrays(w=np.full(3, number))}
        passed(tmp_path, kept, kept, number=number)
    with monkeypatch.context() as patched:
        patched.setattr(flower, "load_file", lambda path: pytest.fail(f"{path} was read"))
        found = captured(tmp_path)
    assert [float(one.after["w"][-1]) for one in found] == list(range(20))
    cut = found[7].reply.read_bytes()[:-1]
    found[7].reply.write_bytes(cut)
    with pytest.raises(AttackError, match=r"reply-2\.safetensors: no whole safetensors file"):
        captured(tmp_path)
    with pytest.raises(AttackError, match=r"reply-2\.safetensors: no whole safetensors file"):
        _ = found[7].after
