"""What more artists bring and cost: the gain of private training, and a run's time and memory.

Usage: python benchmarks/growth.py LINES [--plot FILE.png] [--part gain|cost]
Procedural artists. *Gain* is what `fedstyle rehearse` finds where the platform owns pictures of three schools
and practises on nothing: of second moments and steps together, over the whole budget on cards, at epsilon 8.
*Cost* is a whole run of configs/artists.toml, encrypted sum included, in a process of its own that is also
every artist: seconds, and the most memory that it took, with pictures and without. Appends a JSON line for
each point to the file LINES, and prints it; what is there already is not measured again. Then draws it all.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from fedstyle_secure import Config, train
from fedstyle_secure.systems.style import rehearsal
from fedstyle_secure.systems.style.settings import StyleConfig
from fedstyle_secure.threads import one_thread

GAIN = ((28, 45, 4), (56, 45, 4), (112, 45, 4), (1000, 12, 1), (1000, 45, 1))
"""Artists, training pictures of each, draws of noise."""

COST = (250, 500, 1000)
"""Artists, with 6 training pictures each, as that file says."""

CONFIG = Path(__file__).parents[1] / "configs" / "artists.toml"
PLAN = "scatter and head"


def main() -> None:
    """Measure what is not there yet, and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lines", type=Path, nargs="?")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--part", choices=("gain", "cost"))
    asked = parser.parse_args()
    if asked.lines is None:
        print(json.dumps({"benchmark": "growth", "skipped": "no file for lines was given"}))
        return
    known = read(asked.lines)
    for part, points in (("gain", GAIN), ("cost", [(artists, 6, 1) for artists in COST])):
        for artists, pictures, draws in points if asked.part in (None, part) else ():
            point = {"benchmark": "growth", "part": part, "artists": artists, "pictures": pictures}
            if any(point.items() <= line.items() for line in known):
                continue
            began = time.perf_counter()
            found = gain(artists, pictures, draws) if part == "gain" else cost(artists)
            known.append(point | found | {"wall_s": round(time.perf_counter() - began, 1)})
            print(json.dumps(known[-1]), flush=True)
            with asked.lines.open("a") as file:
                file.write(json.dumps(known[-1]) + "\n")
    if asked.plot is not None:
        draw(known, asked.plot)


def read(lines: Path) -> list[dict[str, Any]]:
    """The points of a file; none where there is no file."""
    return [json.loads(line) for line in lines.read_text().splitlines()] if lines.exists() else []


def settings(artists: int, pictures: int) -> StyleConfig:
    """Of a run of so many artists with so many training pictures each."""
    return StyleConfig().override(
        [
            *(f"gallery.artists={artists}", f"gallery.pictures={pictures * 4 // 3}"),
            *("gallery.public_artists=3", "style.practice_artists=0", "run.rounds=4"),
            f"training.expected_pictures={pictures}",
        ]
    )


def gain(artists: int, pictures: int, draws: int) -> dict[str, Any]:
    """Two plans of a rehearsal, of as many artists as were asked for."""
    rehearsal.MOST_ARTISTS = artists
    rehearsal.PLANS = {name: rehearsal.PLANS[name] for name in ("cards", PLAN)}
    with one_thread():
        found = rehearsal.rehearse(settings(artists, pictures), artists, draws).plans
    return {
        "draws": draws, "cards_top1": round(found[0].top1, 4), "top1": round(found[1].top1, 4),
        "gain": round(found[1].gain, 4), "se_artists": round(found[1].error, 4),
    }  # fmt: skip


def cost(artists: int) -> dict[str, Any]:
    """A run in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_cost, (artists,))


def _cost(artists: int) -> dict[str, Any]:
    config = Config.load(CONFIG, [f"gallery.artists={artists}"])
    with one_thread(), tempfile.TemporaryDirectory() as folder:
        train(config, Path(folder) / "run")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    # The artists have them, and whoever measures the run.
    pictures = 2 * artists * config.gallery.pictures * config.gallery.size**2 * 3 / 2**20
    return {
        "cpu_s": round(time.process_time(), 1), "peak_mb": round(memory, 1),
        "pictures_mb": round(pictures, 1), "rest_mb": round(memory - pictures, 1),
    }  # fmt: skip


def draw(points: list[dict[str, Any]], file: Path) -> None:
    """Gain, and memory and time, against the artists."""
    from matplotlib.figure import Figure

    drawn = Figure((8, 3.2), layout="constrained")
    left, right = drawn.subplots(1, 2)
    for pictures in sorted({p["pictures"] for p in points if p["part"] == "gain"}, reverse=True):
        own = sorted((p for p in points if (p["part"], p["pictures"]) == ("gain", pictures)), key=_artists)
        errors = [p["se_artists"] for p in own]
        left.errorbar(
            [p["artists"] for p in own], [p["gain"] for p in own], errors, marker="o", capsize=3,
            label=f"{pictures} training pictures each",
        )  # fmt: skip
    left.axhline(0, color="0.6", linewidth=0.8)
    left.set(xscale="log", xlabel="artists", ylabel="top-1 over cards alone", title="Gain at epsilon 8")
    counts = sorted({p["artists"] for p in points if p["part"] == "gain"})
    left.set_xticks(counts, [str(count) for count in counts])
    left.minorticks_off()
    left.legend(frameon=False, loc="center right")
    own = sorted((p for p in points if p["part"] == "cost"), key=_artists)
    for key, label in (("peak_mb", "all"), ("rest_mb", "but for everybody's pictures")):
        right.plot([p["artists"] for p in own], [p[key] for p in own], marker="o", label=label)
    right.set(xlabel="artists", ylabel="most memory, MB", ylim=(0, None), title="A run in one process")
    right.legend(frameon=False)
    drawn.savefig(file, dpi=150)


def _artists(point: dict[str, Any]) -> int:
    return int(point["artists"])


if __name__ == "__main__":
    main()
