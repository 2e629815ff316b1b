"""Utility on real illustrators, with and without privacy, over both splits and three seeds.

Usage: python benchmarks/illustrators.py FOLDER, where FOLDER has a split.csv with both split columns.
Prints a JSON line a run, then one a setting with the mean and the spread over seeds.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from pathlib import Path

import fedstyle_secure

CONFIG = Path(__file__).parents[1] / "configs" / "illustrators.toml"
SEEDS = (0, 1, 2)


def main() -> None:
    """Run every combination."""
    if len(sys.argv) != 2:
        print(json.dumps({"benchmark": "illustrators", "skipped": "no folder of pictures was given"}))
        return
    for split in ("split", "split_by_book"):
        for dp in ("off", "on"):
            found = []
            for seed in SEEDS:
                settings = [
                    f"gallery.path={sys.argv[1]}",
                    f"gallery.split_column={split}",
                    f"privacy.dp={dp}",
                    f"run.seed={seed}",
                ]
                with tempfile.TemporaryDirectory() as folder:
                    config = fedstyle_secure.Config.load(CONFIG, settings)
                    summary = fedstyle_secure.train(config, f"{folder}/run").summary
                line = {"benchmark": "illustrators", "split": split, "dp": dp, "seed": seed}
                line |= {
                    key: summary["utility"][key] for key in ("artist_top1", "baseline_top1", "artist_map")
                }
                line |= {"epsilon_artwork_max": summary["privacy"]["epsilon_artwork_max"]}
                line |= {"wall_s": round(summary["time"]["wall_s"], 1)}
                print(json.dumps(line), flush=True)
                found.append(line)
            means = {
                key: round(statistics.mean(line[key] for line in found), 3)
                for key in ("artist_top1", "baseline_top1", "artist_map")
            }
            spread = statistics.stdev(line["artist_top1"] for line in found)
            line = {"benchmark": "illustrators", "split": split, "dp": dp, "seeds": len(SEEDS)}
            print(json.dumps(line | means | {"artist_top1_sd": round(spread, 3)}), flush=True)


if __name__ == "__main__":
    main()
