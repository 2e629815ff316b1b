"""Text recognition: what learning together is worth, what hashing costs, and what privacy costs.

    python benchmarks/text.py plain 0 1 2      start, federated whole and hashed, alone, central: seeds
    python benchmarks/text.py private 0 1 2    epsilon 8 a word, by ratio of hashing
    python benchmarks/text.py artists 0        epsilon 8 a word, 64 artists of 100 words each

A seed is that of the gallery and of the run, so that every seed has other artists. A JSON line a run; the
last line has paired differences over seeds, in points of word accuracy, with their standard errors.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

import fedstyle_secure
from fedstyle_secure.config import Config

CONFIGS = Path(__file__).parents[1] / "configs"
CELLS = {
    "plain": ("text.toml", {"whole": ["hashing.ratio=1"], "hashed 1/8": ["text.compare_epochs=0"]}),
    "private": (
        "text_dp.toml",
        {
            "whole": ["hashing.ratio=1", "text.compare_epochs=0"],
            "hashed 1/16": ["text.compare_epochs=0"],
        },
    ),
    "artists": (
        "text_dp.toml",
        {
            f"{n} artists": [
                f"gallery.artists={n}", "gallery.pictures=120", "training.expected_pictures=100",
                "text.compare_epochs=4",
            ]
            for n in (64,)
        },
    ),
}  # fmt: skip


def one(config: str, settings: list[str], seed: int) -> dict:
    own = [f"gallery.seed={seed}", f"run.seed={seed}", *settings]
    with tempfile.TemporaryDirectory() as folder:
        loaded = Config.load(CONFIGS / config, [*own, f"run.studios={folder}/studios"])
        summary = fedstyle_secure.train(loaded, f"{folder}/run").summary
    keys = ("epsilon_artwork_max",)
    return {
        **{k: v for k, v in summary["utility"].items() if v is not None},
        **{k: summary["privacy"][k] for k in keys},
        **{k: summary["secure_sum"][k] for k in ("upload_bytes", "run_bytes", "exact")},
        "wall_s": round(summary["time"]["wall_s"]),
    }


def main() -> None:
    torch.set_num_threads(1)
    what, seeds = sys.argv[1], [int(seed) for seed in sys.argv[2:]] or [0]
    config, cells = CELLS[what]
    found: dict[str, list[dict]] = {name: [] for name in cells}
    for seed in seeds:
        for name, settings in cells.items():
            found[name].append(one(config, settings, seed))
            print(json.dumps({"what": what, "cell": name, "seed": seed, **found[name][-1]}), flush=True)

    def told(differences: list[float]) -> list[float | None]:
        points = 100 * np.array(differences)
        error = float(points.std(ddof=1) / np.sqrt(len(points))) if len(points) > 1 else None
        return [round(float(points.mean()), 2), None if error is None else round(error, 2)]

    first, *rest = cells
    last = {
        f"{name} - start": told([r["word_accuracy"] - r["baseline_word_accuracy"] for r in found[name]])
        for name in cells
    }
    for name in rest if what != "artists" else ():
        pairs = zip(found[name], found[first], strict=True)
        last[f"{name} - {first}"] = told([a["word_accuracy"] - b["word_accuracy"] for a, b in pairs])
    print(json.dumps({"what": what, "points": last}), flush=True)


if __name__ == "__main__":
    main()
