"""Does `run.plan = "auto"` ever choose a plan that loses?

Usage: python benchmarks/plans.py [FOLDER ...] [--draws 4]
For each gallery the plan that a rehearsal chooses, and what it gains over the whole budget on cards for that
gallery's own artists: procedural ones, and the illustrators of the first FOLDER, of the first two and so on
(as for `learning.py`), on random splits and on other books. Prints a JSON line each: plan, gain foretold and
found, the latter's errors over pictures and over artists, and whether it lost more than one of the former.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from typing import Any

from growth import settings
from learning import PUBLIC, artists_of, gain
from rivals import hit

from fedstyle_secure.galleries.base import Portfolio
from fedstyle_secure.galleries.opening import open_gallery
from fedstyle_secure.systems.style.rehearsal import PLANS, rehearse
from fedstyle_secure.systems.style.rivals.product import Product
from fedstyle_secure.systems.style.settings import StyleConfig
from fedstyle_secure.threads import one_thread

ARTISTS = ((14, 12), (28, 12), (112, 12), (28, 45))
"""Procedural ones, and training pictures of each."""

Opened = tuple[str, StyleConfig, list[Portfolio], list[Portfolio]]


def main() -> None:
    """Rehearse, play and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*")
    parser.add_argument("--draws", type=int, default=4)
    asked = parser.parse_args()
    with one_thread():
        for name, config, private, public in galleries(asked.folders):
            line = held_against(config, private, public, asked.draws)
            print(json.dumps({"benchmark": "plans", "gallery": name} | line), flush=True)


def galleries(folders: Sequence[str]) -> Iterator[Opened]:
    """Name, settings, private and public portfolios of each."""
    for artists, pictures in ARTISTS:
        config = settings(artists, pictures)
        gallery = open_gallery(config.gallery)
        private = [gallery.portfolio(name) for name in gallery.artists]
        public = [gallery.portfolio(name) for name in gallery.public_artists]
        yield f"{artists} procedural, {pictures} training pictures each", config, private, public
    for number in range(1, len(folders) + 1):
        for column in ("split", "split_by_book"):
            private, public = artists_of(folders[:number], column)
            told = ["gallery.source=folder", f"gallery.path={folders[0]}", f"gallery.public={PUBLIC}"]
            config = StyleConfig().override(["run.rounds=4", "gallery.size=96", *told])
            yield f"{len(private)} illustrators, {column}", config, private, public


def held_against(
    config: StyleConfig, private: Sequence[Portfolio], public: Sequence[Portfolio], draws: int
) -> dict[str, Any]:
    """What was chosen, and what it turned out to be worth."""
    chosen = rehearse(config, len(private)).chosen
    line = {"plan": chosen.plan, "foretold": round(chosen.gain, 4)}
    if chosen.plan == "cards":
        return line | {"gain": 0.0, "loses": False}
    found = []
    for plan in ("cards", chosen.plan):
        product = Product(config.override(PLANS[plan]), private, public)
        found.append(hit([product.found(draw) for draw in range(draws)], private))
    told = gain(found[1], found[0], private)
    return line | {"draws": draws} | told | {"loses": told["gain"] < -told["se"]}


if __name__ == "__main__":
    main()
