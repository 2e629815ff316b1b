"""What leaks of the illustrators' pictures without protection and with all of it: runs audited alike.

Usage: python benchmarks/audits.py FOLDER [PRESET [SEEDS]]
FOLDER has a split.csv; PRESET is quick (the default), standard or deep; SEEDS is how many runs of each kind
are made (1), as noise is drawn anew in each. Prints a JSON line an attack and view that holds something;
views that hold the same share the line of the first. Then a line a kind of run and attack: the figure's
smallest, mean and largest over its runs, and in how many of them it leaks.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from own_noise import OWN_NOISE

from fedstyle_secure import Config, train
from fedstyle_secure.audit.runner import audit
from fedstyle_secure.audit.settings import AuditSettings

CONFIG = Path(__file__).parents[1] / "configs" / "illustrators.toml"
RUNS = {"plain": ["privacy.dp=off", "secure_sum.enabled=false"]} | {
    f"dp_he, epsilon {epsilon}": [f"privacy.target_epsilon={epsilon}", *OWN_NOISE] for epsilon in (8, 4, 2, 1)
}


def main() -> None:
    """Train, audit and print."""
    if len(sys.argv) < 2:
        print(json.dumps({"benchmark": "audits", "skipped": "no folder of pictures was given"}))
        return
    settings = AuditSettings.from_preset(sys.argv[2] if len(sys.argv) > 2 else "quick")
    seeds = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    for name, changed in RUNS.items():
        lines: list[dict[str, Any]] = []
        for seed in range(seeds):
            for line in measured(name, [*changed, f"run.seed={seed}"], settings, sys.argv[1]):
                print(json.dumps(line), flush=True)
                lines.append(line)
        for line in summarised(name, lines):
            print(json.dumps(line), flush=True)


def measured(
    name: str, changed: list[str], settings: AuditSettings, pictures: str
) -> Iterator[dict[str, Any]]:
    """Train and audit once: a line a finding, and one of the run's utility."""
    with tempfile.TemporaryDirectory() as folder:
        config = Config.load(CONFIG, [f"gallery.path={pictures}", "audit.record=all", *changed])
        run = train(config, Path(folder) / "run")
        found = audit(run.folder, settings)
        top1 = run.folder.summary()["utility"]["artist_top1"]
    head = {"benchmark": "audits", "run": name, "seed": config.run.seed}
    seen = set()
    for row in found.findings:
        key = (row.attack, row.quantity, row.target, row.value)
        if row.value is None or key in seen:
            continue
        seen.add(key)
        yield head | {
            "view": row.view, "attack": row.attack, "metric": row.quantity, "target": row.target,
            "value": row.value, "low": row.low, "high": row.high, "n": row.n, "baseline": row.baseline,
            "bound": row.bound, "control": row.control, "verdict": row.verdict, "alarm": row.alarm,
        }  # fmt: skip
    yield head | {"metric": "artist_top1", "target": "all", "value": top1, "audit_s": found.about["wall_s"]}


def summarised(name: str, lines: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """A line an attack's headline over all runs of a kind."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for line in lines:
        if line["target"] == "all":
            key = (line.get("view", ""), line.get("attack", ""), line["metric"])
            groups.setdefault(key, []).append(line)
    for (view, attack, metric), same in groups.items():
        values = [line["value"] for line in same]
        yield {
            "benchmark": "audits", "run": name, "over": len(same), "view": view, "attack": attack,
            "metric": metric, "least": min(values), "mean": statistics.fmean(values), "most": max(values),
            "leaks": sum(line.get("verdict") == "leaks" for line in same),
        }  # fmt: skip


if __name__ == "__main__":
    main()
