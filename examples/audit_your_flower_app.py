"""What do the updates of your own Flower app give away? Keep them, say how clients train, attack them.

Usage: python examples/audit_your_flower_app.py
The lines with a mark are all that is added to an app: a wrapper around its strategy, and the audit.
"""

import numpy as np
import torch
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import FedAvg
from torch import nn

from attacks import LocalTraining, audit_update, captured, keep_updates  # <-
from fedstyle_secure.engines.local import LocalGrid

SIDE = 16


def build() -> nn.Module:
    torch.manual_seed(0)
    trunk = [nn.Conv2d(3, 12, 5, 2, 2), nn.GELU(), nn.Conv2d(12, 12, 5, 2, 2), nn.GELU(), nn.Flatten()]
    return nn.Sequential(*trunk, nn.Linear(12 * (SIDE // 4) ** 2, 5))


def portfolio(partition: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A client's only picture: waves of its own."""
    x = np.add.outer(np.sin(np.arange(SIDE) / (2 + partition)), np.cos(np.arange(SIDE) / 4)) / 4 + 0.5
    return torch.from_numpy(np.stack([x, x.T, 1 - x])[None]).float(), torch.tensor([partition % 5])


client_app = ClientApp()


@client_app.train()
def train(message: Message, context) -> Message:
    net, (x, y) = build(), portfolio(context.node_config["partition-id"])
    net.load_state_dict(message.content["arrays"].to_torch_state_dict())
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, weight_decay=1e-3)
    nn.functional.cross_entropy(net(x), y).backward()
    optimizer.step()
    reply = {"arrays": ArrayRecord(net.state_dict()), "metrics": MetricRecord({"num-examples": 1})}
    return Message(RecordDict(reply), reply_to=message)


strategy = FedAvg(fraction_evaluate=0.0, min_available_nodes=2)
strategy = keep_updates(strategy, "kept")  # <-
strategy.start(LocalGrid(client_app, 2, {}), ArrayRecord(build().state_dict()), num_rounds=1)

training = LocalTraining(learning_rate=0.05, weight_decay=1e-3)  # <-
for number, update in enumerate(captured("kept")):  # <-
    pictures, targets = portfolio(number)  # <-
    audit = audit_update(build(), update.before, update.after, training, pictures, targets)  # <-
    print(audit)  # <-
    audit.report(f"flower_audit/{update.round}-{number}")  # <-
