"""A researcher with a curve: a grid of runs and audits, its table and its page; asked for again, it goes on.

Usage: python examples/walks/researcher.py
"""

from steps import AUDIT, SMALL, Walk

walk = Walk("researcher")
base = "\n".join(one.replace("=", " = ") for one in SMALL)
# A sweep has processes of its own.
few = "\n".join(line for line in AUDIT.splitlines() if not line.startswith("processes"))
audit = f"[sweep.audit]\n{few}\n"
grid = f'[sweep]\nprocesses = 1\n{audit}[base]\n{base}\n[grid]\nepsilons = [8, "none"]\n'
(walk.folder / "grid.toml").write_text(grid)
walk.fedstyle("sweep", "grid.toml", "--out", "runs/curve")
walk.fedstyle("sweep", "grid.toml", "--out", "runs/curve", "--resume")
walk.fedstyle("report", "runs/curve")
walk.arrived("runs/curve/results.csv", "runs/curve/results.parquet", "runs/curve/report/report.html")
