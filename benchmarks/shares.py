"""Utility against epsilon for splits of the budget over the kinds of release, with spread over seeds; each
artist adds all of its own noise.

    python benchmarks/shares.py [FOLDER]

FOLDER: a gallery as configs/illustrators.toml wants it; without it the embedded gallery. One JSON
line a split and epsilon: mean and deviation of the top-1 over three seeds, and what of the updates was kept.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from statistics import mean, stdev

os.environ.setdefault("OMP_NUM_THREADS", "1")

from own_noise import OWN_NOISE

from fedstyle_secure import Config, train

CONFIGS = Path(__file__).resolve().parent.parent / "configs"

SPLITS = {
    "a quarter for training": (0.25, 0.65, 0.1),
    "cards first": (0.1, 0.8, 0.1),
    "even": (1 / 3, 1 / 3, 1 / 3),
    "training first": (0.7, 0.2, 0.1),
    "prototypes first": (0.2, 0.2, 0.6),
    "no training": (None, 0.9, 0.1),
}
"""Shares of DP-SGD, cards and prototypes; None: no private training, so that its share goes to the others."""

EPSILONS = (1.0, 2.0, 4.0, 8.0)
SEEDS = (0, 1, 2)


def base(argv: list[str]) -> Config:
    """The gallery to measure on."""
    if len(argv) > 1:
        config = Config.load(
            CONFIGS / "illustrators.toml", [f"gallery.path={argv[1]}", "prototypes.releases=1"]
        )
        return config.override([*OWN_NOISE, "run.rounds=8"])
    return Config().override([*OWN_NOISE, "run.rounds=8"])


def main() -> None:
    """Run the grid and print it."""
    config = base(sys.argv)
    for epsilon in EPSILONS:
        for name, (sgd, cards, prototypes) in SPLITS.items():
            settings = [f"share.cards={cards}", f"share.prototypes={prototypes}"]
            settings += ["training.local_steps=0"] if sgd is None else [f"share.sgd={sgd}"]
            top1, kept = [], []
            for seed in SEEDS:
                with tempfile.TemporaryDirectory() as folder:
                    chosen = config.override(
                        [*settings, f"privacy.target_epsilon={epsilon}", f"run.seed={seed}"]
                    )
                    run = train(chosen, Path(folder) / "run")
                    top1.append(run.summary["utility"]["artist_top1"])
                    kept += [line["update_kept"] or 0.0 for line in run.folder.metrics()]
            print(
                json.dumps(
                    {
                        "epsilon": epsilon,
                        "split": name,
                        "sgd": sgd or 0.0,
                        "cards": cards,
                        "prototypes": prototypes,
                        "top1_mean": round(mean(top1), 4),
                        "top1_sd": round(stdev(top1), 4),
                        "update_kept_max": round(max(kept), 3),
                        "seeds": len(SEEDS),
                    }
                ),
                flush=True,
            )


if __name__ == "__main__":
    main()
