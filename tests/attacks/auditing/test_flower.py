"""What a Flower app sends and gets is kept as it was, by its clients and by its server."""

import pytest
import torch
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import FedAvg
from torch import nn

from attacks import AttackError, capture_mod, captured, keep_updates
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
