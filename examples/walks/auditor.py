"""An auditor who signs: verify a run under a pinned key, attack it, write a page, check the page.

Usage: python examples/walks/auditor.py
"""

import shutil

from steps import AUDIT, SMALL, Walk, settings

walk = Walk("auditor")
(walk.folder / "empty.toml").write_text("")
(walk.folder / "audit.toml").write_text(AUDIT)
walk.fedstyle("train", "empty.toml", *settings((*SMALL, "audit.record=all")), "--out", "runs/theirs")

# The key comes from the opener and by another way than the run.
opener = (walk.folder / "runs/studios/.opener/identity.pub").read_text().strip()
walk.fedstyle("verify", "runs/theirs", "--opener", opener)

# Somebody states a smaller epsilon than the ledger has: refused.
shutil.copytree(walk.folder / "runs", walk.folder / "edited")
summary = walk.folder / "edited/theirs/summary.json"
smaller = summary.read_text().replace('"epsilon_artwork_max": ', '"epsilon_artwork_max": 1.0, "was": ', 1)
summary.write_text(smaller)
walk.fedstyle("verify", "edited/theirs", "--opener", opener, code=8)

walk.fedstyle("audit", "runs/theirs", "audit.toml")
walk.fedstyle("report", "runs/theirs", "--opener", opener, "--date", "2026-01-01")
walk.fedstyle("verify", "runs/theirs/report/report.html")
walk.arrived("runs/theirs/report/report.pdf", "runs/theirs/report/findings.csv")
