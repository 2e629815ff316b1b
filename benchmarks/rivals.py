"""FedStyle beside its rivals on real illustrators, paired over held-out pictures and over re-splits.

Usage: python benchmarks/rivals.py FOLDER [FOLDER ...] [--draws 8] [--resplits 2]
Folders as for `learning.py`, which also says how pictures are split anew. Rivals are tuned once a setting and
split, on public and procedural artists, and played on each re-split; by book there is one. FedStyle is not
tuned: its settings are the defaults with 4 rounds at epsilon 8, and with 16 without privacy. Prints a JSON
line a method: mean top-1, what FedStyle's is above it, and the error of that over pictures and over artists.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from unittest.mock import patch

import numpy as np
from learning import SETTINGS, artists_of, gain, histogram, means, resplit

from fedstyle_secure.config import Config
from fedstyle_secure.galleries.base import Portfolio
from fedstyle_secure.systems.style.rivals.catalogue import HISTOGRAM, PRODUCT
from fedstyle_secure.systems.style.rivals.compare import judge, tune
from fedstyle_secure.systems.style.rivals.task import Found
from fedstyle_secure.systems.style.texture_encoder import TextureEncoder
from fedstyle_secure.threads import one_thread

Measure = Callable[[TextureEncoder, np.ndarray], np.ndarray]


def main() -> None:
    """Tune, play and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*")
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument("--resplits", type=int, default=2)
    asked = parser.parse_args()
    if not asked.folders:
        print(json.dumps({"benchmark": "rivals", "skipped": "no folder of pictures was given"}))
        return
    with one_thread(), patch.object(TextureEncoder, "measure", remembered(TextureEncoder.measure)):
        for privacy, settings in (("epsilon 8", "private"), ("no privacy", "no privacy")):
            config = Config().override(["run.rounds=4", "gallery.size=96", *SETTINGS[settings]])
            for split, resplits in (("split", asked.resplits), ("split_by_book", 1)):
                head = {"benchmark": "rivals", "privacy": privacy, "split": split}
                for line in measured(config, asked.folders, split, resplits, asked.draws):
                    print(json.dumps(head | line), flush=True)


def measured(
    config: Config, folders: Sequence[str], column: str, resplits: int, draws: int
) -> Iterator[dict[str, object]]:
    """A line a method."""
    portfolios, public = artists_of(folders, column)
    choices = tune(config, public, len(portfolios), on_step)
    hits: dict[str, list[np.ndarray]] = {}
    for number in range(resplits):
        parted = resplit(portfolios, number)
        # Without privacy the product hangs on its seed alone, and hardly.
        runs = draws if config.privacy.dp == "on" else 1
        for name, found in judge(choices, parted, runs, on_step).items():
            if found[0].ranks is not None:
                hits.setdefault(name, []).append(hit(found, parted))
        hits.setdefault(HISTOGRAM, []).append(histogram(parted))
    product = means(hits[PRODUCT])
    for name, each in hits.items():
        own = means(each)
        line = {"method": name, "top1": round(float(np.nanmean(own)), 4)}
        line |= {f"fedstyle_{key}": value for key, value in gain(product, own, portfolios).items()}
        chosen = choices.rivals[name][1] if name in choices.rivals else {}
        yield line | {"resplits": resplits, "chosen": chosen}


def hit(found: Sequence[Found], portfolios: Sequence[Portfolio]) -> np.ndarray:
    """Share of draws in which each picture's artist came first, (pictures,); NaN for those that trained."""
    share = np.full(sum(len(p.pictures) for p in portfolios), np.nan)
    share[np.concatenate([p.test for p in portfolios])] = np.mean([one.ranks == 1 for one in found], axis=0)
    return share


def remembered(measure: Measure) -> Measure:
    """The same, but a picture that was seen before is not measured again."""
    known: dict[bytes, np.ndarray] = {}

    def measured(encoder: TextureEncoder, pictures: np.ndarray) -> np.ndarray:
        rows = []
        for one in pictures:
            key = hashlib.sha256(one.tobytes()).digest()
            if key not in known:
                known[key] = measure(encoder, one[None])[0]
            rows.append(known[key])
        return np.stack(rows)

    return measured


def on_step(text: str) -> None:
    """Minutes pass without a line."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
