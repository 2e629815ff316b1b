"""What does your Opacus run give away at least? Canaries in it prove a lower bound beside its epsilon.

Usage: python examples/bound_your_opacus_run.py
The lines with a mark are all that is added to a training with Opacus.
"""

import warnings

import torch
from opacus import PrivacyEngine
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from attacks import AuditedEngine  # <-

warnings.simplefilter("ignore")  # Opacus and torch tell much.
torch.manual_seed(0)
x, y = torch.randn(400, 1, 12, 12), torch.arange(400) % 4
net = nn.Sequential(nn.Conv2d(1, 16, 5, 2), nn.ReLU(), nn.Flatten(), nn.Linear(256, 4))
engine = AuditedEngine(PrivacyEngine(), canaries=1000)  # <-
net, optimizer, loader = engine.make_private(
    module=net,
    optimizer=torch.optim.SGD(net.parameters(), lr=0.1),
    data_loader=DataLoader(TensorDataset(x, y), batch_size=100),
    noise_multiplier=0.7,
    max_grad_norm=1.0,
)
for _ in range(4):
    for inputs, targets in loader:
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(inputs), targets).backward()
        optimizer.step()

audit = engine.audit(delta=1e-5)  # <-
print(audit)  # <-
audit.report("opacus_audit")  # <-
