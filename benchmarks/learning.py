"""What private training adds to its public start on real illustrators, paired over held-out pictures.

Usage: python benchmarks/learning.py FOLDER [FOLDER ...] [--draws 8] [--resplits 6]
Folders have a split.csv with both split columns; their artists are taken together. Every run is played in
memory (`federation.simulation`: the same releases and sums, unencrypted), with new noise in every draw, at
epsilon 8 over all releases. Prints a JSON line a setting and split: mean top-1, its gain over the start (the
whole budget on one card an artist), the standard error of the gain over pictures and over artists, and by
itself the one that the draws' noise makes: it moves all pictures together, which the first does not count.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor

from fedstyle_secure.config import Config
from fedstyle_secure.federation.simulation import play
from fedstyle_secure.galleries.base import Portfolio
from fedstyle_secure.galleries.opening import open_gallery
from fedstyle_secure.privacy.plan import solve
from fedstyle_secure.system import State, system_bound
from fedstyle_secure.systems.style.retrieval import own_ranks
from fedstyle_secure.systems.style.rivals.central import colour_histogram
from fedstyle_secure.systems.style.system import StyleSystem
from fedstyle_secure.threads import one_thread

PUBLIC = "john_tenniel, rembrandt, sutton_palmer"
SETTINGS: Mapping[str, Sequence[str]] = {
    "start": ("style.train=none", "style.scatter=off"),
    "private": (),
    "scatter alone": ("style.train=none", "style.scatter=on"),
    "head alone": ("style.scatter=off",),
    "start, no privacy": ("style.train=none", "privacy.dp=off", "secure_sum.enabled=false"),
    "no privacy": ("run.rounds=16", "privacy.dp=off", "secure_sum.enabled=false"),
}
"""Settings of the runs; those of FedStyle are the defaults."""


def main() -> None:
    """Play everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*")
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument("--resplits", type=int, default=6)
    asked = parser.parse_args()
    if not asked.folders:
        print(json.dumps({"benchmark": "learning", "skipped": "no folder of pictures was given"}))
        return
    with one_thread():
        for split, resplits in (("split", asked.resplits), ("split_by_book", 1)):
            for line in measured(asked.folders, split, resplits, asked.draws):
                print(json.dumps({"benchmark": "learning", "split": split} | line), flush=True)


def measured(folders: Sequence[str], column: str, resplits: int, draws: int) -> Iterator[dict[str, object]]:
    """A line a setting."""
    portfolios, public = artists_of(folders, column)
    config = Config().override(["run.rounds=4", "gallery.size=96"])
    system = StyleSystem(config)
    start = system.learn(public)
    model = system.model(start)
    every = {
        p.artist: system.inputs(model, replace(p, test=np.zeros(len(p.pictures), bool))) for p in portfolios
    }
    hits: dict[str, np.ndarray] = {}
    noise: dict[str, float] = {}
    parted = [resplit(portfolios, number) for number in range(resplits)]
    for name, settings in SETTINGS.items():
        own = config.override(settings)
        noisy = own.privacy.dp == "on"
        each = math.ceil(draws / resplits) if noisy else 1
        runs = [[played(own, p, public, every, start) for _ in range(each)] for p in parted]
        hits[name] = means([run for split in runs for run in split])
        noise[name] = error_of_draws(runs)
        told = {"setting": name, "draws": each * resplits, "resplits": resplits}
        told |= {"se_draws": round(math.hypot(noise[name], noise["start"]), 4)}
        yield told | gain(hits[name], hits["start"], portfolios)
    hits["histogram"] = means([histogram(part) for part in parted])
    yield {"setting": "colour histogram, no privacy", "resplits": resplits} | gain(
        hits["histogram"], hits["start"], portfolios
    )
    yield {"setting": "private, less the colour histogram"} | gain(
        hits["private"], hits["histogram"], portfolios
    )


def means(found: Sequence[np.ndarray]) -> np.ndarray:
    """Mean over all times that a picture was held out; NaN where it never was."""
    stacked = np.stack(found)
    times = np.isfinite(stacked).sum(axis=0)
    return np.where(times > 0, np.nansum(stacked, axis=0) / np.maximum(times, 1), np.nan)


def error_of_draws(runs: Sequence[Sequence[np.ndarray]]) -> float:
    """Standard error of mean top-1 that comes of the noise: of draws of the same split against each other.

    Args:
        runs: By split and draw, as of `played`; with one draw a split the error is 0: it is not seen.
    """
    rates = np.array([[np.nanmean(run) for run in split] for split in runs])
    return float(np.sqrt(rates.var(axis=1, ddof=1).mean() / rates.size)) if rates.shape[1] > 1 else 0.0


def artists_of(folders: Sequence[str], column: str) -> tuple[list[Portfolio], list[Portfolio]]:
    """Private and public portfolios of all folders."""
    private: list[Portfolio] = []
    public: list[Portfolio] = []
    for folder in folders:
        names = PUBLIC if not public else ""
        settings = [f"gallery.path={folder}", f"gallery.split_column={column}", "gallery.size=96"]
        settings += ["gallery.source=folder", f"gallery.public={names}"]
        gallery = open_gallery(Config().override(settings).gallery)
        public += [gallery.portfolio(name) for name in gallery.public_artists]
        private += [gallery.portfolio(name) for name in gallery.artists]
    return [p for p in private if p.test.any()], public


def resplit(portfolios: Sequence[Portfolio], number: int) -> list[Portfolio]:
    """The same pictures with as many others held out; number 0 is as they came."""
    rng = np.random.default_rng(number)
    return [replace(p, test=p.test if number == 0 else rng.permutation(p.test)) for p in portfolios]


def played(
    config: Config,
    portfolios: Sequence[Portfolio],
    public: Sequence[Portfolio],
    every: Mapping[str, Tensor],
    whole: State,
) -> np.ndarray:
    """Whether each picture's own artist was found first, float (pictures,); NaN for those that trained."""
    system = system_bound(config)
    start = whole if set(system.forms(whole)["update"].tensors) == {"head.core"} else None
    if start is None or not config.shares_noise:
        start = system.learn(public)
    inputs = {p.artist: every[p.artist][~p.test] for p in portfolios}
    plan = solve(config, system.kinds(), len(portfolios))
    state = play(system, plan, start, portfolios, inputs, public)
    encoder, names = StyleSystem(config).model(state), state.texts["cards"]
    cards = encoder.place(state.public["cards"]).numpy()
    found = []
    for p in portfolios:
        queries = encoder.embed(every[p.artist][:, 0])
        ranks = own_ranks(queries @ cards.T, np.full(len(queries), names.index(p.artist)))
        found.append(np.where(p.test, ranks == 1, np.nan))
    return np.concatenate(found)


def histogram(portfolios: list[Portfolio]) -> np.ndarray:
    """The same for logistic regression on colours."""
    hit = np.full(sum(len(p.pictures) for p in portfolios), np.nan)
    ranks = colour_histogram(portfolios)[0].ranks
    assert ranks is not None
    hit[np.concatenate([p.test for p in portfolios])] = ranks == 1
    return hit


def gain(hits: np.ndarray, start: np.ndarray, portfolios: Sequence[Portfolio]) -> dict[str, float]:
    """Mean top-1, and what it is above another's, with errors over pictures and over artists."""
    seen = np.isfinite(hits)
    more = (hits - start)[seen]
    owners = np.repeat(np.arange(len(portfolios)), [len(p.pictures) for p in portfolios])[seen]
    by_artist = np.array([more[owners == i].mean() for i in np.unique(owners)])
    error = float(more.std(ddof=1) / np.sqrt(len(more)))
    return {
        "top1": round(float(hits[seen].mean()), 4),
        "gain": round(float(more.mean()), 4),
        "se": round(error, 4),
        "se_artists": round(float(by_artist.std(ddof=1) / np.sqrt(len(by_artist))), 4),
        "z": round(float(more.mean()) / error, 1) if error else 0.0,
        "pictures": len(more),
        "artists": len(by_artist),
    }


if __name__ == "__main__":
    main()
