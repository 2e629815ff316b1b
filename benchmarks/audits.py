"""What leaks of the illustrators' pictures without protection and with all of it: runs audited alike.

Usage: python benchmarks/audits.py FOLDER [PRESET]
FOLDER has a split.csv; PRESET is quick (the default), standard or deep. Prints a JSON line an attack and view
that holds something; views that hold the same share the line of the first.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from fedstyle_secure import Config, train
from fedstyle_secure.audit.runner import audit
from fedstyle_secure.audit.settings import AuditSettings

CONFIG = Path(__file__).parents[1] / "configs" / "illustrators.toml"
RUNS = {
    "plain": ["privacy.dp=off", "secure_sum.enabled=false"],
    "dp_he": [],
    "dp_he, epsilon 1": ["privacy.target_epsilon=1"],
}


def main() -> None:
    """Train, audit and print."""
    if len(sys.argv) < 2:
        print(json.dumps({"benchmark": "audits", "skipped": "no folder of pictures was given"}))
        return
    settings = AuditSettings.from_preset(sys.argv[2] if len(sys.argv) > 2 else "quick")
    for name, changed in RUNS.items():
        with tempfile.TemporaryDirectory() as folder:
            config = Config.load(CONFIG, [f"gallery.path={sys.argv[1]}", "audit.record=all", *changed])
            found = audit(train(config, Path(folder) / "run").folder, settings)
        seen = set()
        for row in found.findings:
            key = (row.attack, row.metric, row.target, row.value)
            if row.value is None or key in seen:
                continue
            seen.add(key)
            print(
                json.dumps(
                    {
                        "benchmark": "audits", "run": name, "view": row.view, "attack": row.attack,
                        "metric": row.metric, "target": row.target, "value": row.value, "low": row.low,
                        "high": row.high, "n": row.n, "baseline": row.baseline, "bound": row.bound,
                        "control": row.control, "verdict": row.verdict, "alarm": row.alarm,
                    }
                ),
                flush=True,
            )  # fmt: skip
        print(json.dumps({"benchmark": "audits", "run": name, "audit_s": found.about["wall_s"]}), flush=True)


if __name__ == "__main__":
    main()
