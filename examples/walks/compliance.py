"""A compliance officer: hold a run against a policy, read what was given away, take text for an assessment.

Usage: python examples/walks/compliance.py
"""

import json

from steps import AUDIT, SMALL, Walk, settings

POLICY = """
[evidence]
own_ledgers = true
signed = true
[epsilon]
artwork = 8.0
[consent]
allow_withdrawn = false
"""
EVIDENCE = '[attacks]\nrequired = ["card_membership"]\nmax_tpr = { fpr = 0.1, value = 0.5 }\n'

walk = Walk("compliance")
(walk.folder / "empty.toml").write_text("")
(walk.folder / "audit.toml").write_text(AUDIT)
(walk.folder / "policy.toml").write_text(POLICY)
(walk.folder / "strict.toml").write_text(POLICY + EVIDENCE)
walk.fedstyle("train", "empty.toml", *settings((*SMALL, "audit.record=all")), "--out", "runs/theirs")
walk.fedstyle("audit", "runs/theirs", "audit.toml")

# Met; and with so few pictures a limit on leaks is not, as too few trials are no evidence.
walk.fedstyle("check", "runs/theirs", "--policy", "policy.toml", "--junit", "checks.xml")
walk.fedstyle("check", "runs/theirs", "--policy", "strict.toml", "--sarif", "checks.sarif", code=9)
artists = json.loads(walk.fedstyle("ledger", "runs/theirs", "--json"))
walk.fedstyle("report", "runs/theirs", "--policy", "policy.toml")

# Who withdraws is found no more, and the same policy notices.
walk.fedstyle("withdraw", "runs/theirs", "impasto-1")
walk.fedstyle("check", "runs/theirs", "--policy", "policy.toml", code=9)
walk.arrived("runs/theirs/report/dpia.md", "checks.xml", "checks.sarif")
