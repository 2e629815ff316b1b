"""An engineer with a model of their own: audit it in one call, write its page, hold it against a policy.

Usage: python examples/walks/engineer.py
"""

from pathlib import Path

from steps import Walk

SCRIPT = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from attacks import audit_model


def records(n, seed):
    draws = torch.Generator().manual_seed(seed)
    return TensorDataset(torch.randn(n, 16, generator=draws), torch.randint(0, 3, (n,), generator=draws))


def fit(data, seed):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(16, 48), nn.ReLU(), nn.Linear(48, 3))
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(20):
        for x, y in DataLoader(data, 32, shuffle=True):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()
    return net


members, others = records(120, 1), records(120, 2)
audit = audit_model(fit(members, 0), members, others, fit=fit, shadows=8)
print(audit)
audit.report("own_audit")
"""

walk = Walk("engineer")
Path(walk.folder, "audit_mine.py").write_text(SCRIPT)
Path(walk.folder, "policy.toml").write_text("[attacks]\nmax_tpr = { fpr = 0.1, value = 0.3 }\n")
said = walk.run(walk.program[0], "audit_mine.py", called="python audit_mine.py")
if not said.startswith("leaks"):
    raise SystemExit(f"a net that knows its records by heart was not found out:\n{said}")
walk.fedstyle("report", "own_audit")
walk.fedstyle("check", "own_audit", "--policy", "policy.toml", code=9)
walk.arrived("own_audit/findings.json", "own_audit/report/report.html")
