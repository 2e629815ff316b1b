"""Who was in the training of your own CNN? Your net, your `fit`, one call; writes the folder own_audit.

Usage: python examples/audit_your_model.py
The lines with a mark are all that is added to your own training.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from attacks import audit_model  # <-


def pictures(n: int, seed: int) -> TensorDataset:
    """Noise that is a little brighter for later classes: little to learn, much to know by heart."""
    draws, y = torch.Generator().manual_seed(seed), torch.arange(n) % 4
    return TensorDataset(0.8 * torch.randn(n, 1, 12, 12, generator=draws) + 0.15 * y[:, None, None, None], y)


def fit(data: TensorDataset, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    convolutions = [nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU()]
    net = nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(288, 4))
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(15):
        for x, y in DataLoader(data, 32, shuffle=True):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()
    return net


members, others = pictures(200, 1), pictures(200, 2)
net = fit(members, 0)

audit = audit_model(net, members, others, fit=fit, shadows=16)  # <-
print(audit)  # <-
audit.report("own_audit")  # <-
