"""What a run over sites costs beside the same one in one process.

Usage: python benchmarks/sites.py
Four artists of 12 pictures of 32 px, an opener and a platform, each a process of its own with TLS and a node
key; two rounds, and those before. JSON lines: seconds and CPU seconds from the command to the finished run,
once all are online; seconds of an update round; the same of the local engine; CPU of a start.
"""

import json
import os
import tempfile
import time
from pathlib import Path

import psutil
from PIL import Image

from fedstyle_secure import train
from fedstyle_secure.config import Config
from fedstyle_secure.galleries.atelier import Atelier
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.sites.homes import settle
from fedstyle_secure.sites.local import LocalSites

ARTISTS, PUBLIC = 4, ("public-impasto-1", "public-woodcut-1")
SETTINGS = (
    "gallery.source=folder", "gallery.size=32", f"gallery.public={json.dumps(PUBLIC)}",
    "gallery.artists=16", "gallery.pictures=60", "gallery.public_artists=16",
    "style.encoder=cnn", "style.dim=8", "style.pretrain_steps=3", "style.practice_artists=0",
    "styles.source=vocabulary", "run.rounds=2", "training.expected_pictures=9", "privacy.noise_multiplier=16",
    # One sum, of prototypes: 24 messages, as in the first trials over Flower's own nodes.
    "secure_sum.updates=false", "style.rank=0", "style.scatter=off",
)  # fmt: skip


def own(processes: list[psutil.Process]) -> float:
    """CPU seconds of some processes."""
    return sum(sum(one.cpu_times()[:2]) for one in processes)


def started(process: psutil.Process) -> list[psutil.Process]:
    """Everything that a process started and that is still there."""
    return list(process.children(recursive=True))


def by_part(platform: psutil.Process, nodes: list[psutil.Process]) -> dict[str, float]:
    """CPU seconds until now: of the process that plays the runs, its SuperLink, opener and artists."""
    nodes = [one for node in nodes for one in (node, *started(node))]
    return {"platform": own([platform]), "SuperLink": own(started(platform)), "nodes": own(nodes)}


def main() -> None:
    """Measure once."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        source = Atelier(artists=ARTISTS, pictures=12, public=2, size=32, seed=0, test_fraction=0.25)
        for artist in (*source.artists, *source.public_artists):
            for part in ("everybody", "public" if artist in PUBLIC else artist):
                folder = root / part / artist
                folder.mkdir(parents=True)
                for i, picture in enumerate(source.portfolio(artist).pictures):
                    Image.fromarray(picture).save(folder / f"{i:03d}.png")
        config = Config().override(SETTINGS)
        began, used = time.perf_counter(), time.process_time()
        local = train(config.at(str(root / "everybody")), root / "local").folder
        said = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - used}
        print(json.dumps({"what": "local", **said, "round": rounds(local)}), flush=True)
        galleries = {name: root / name for name in source.artists}
        with LocalSites(root / "sites", galleries, root / "public") as sites:
            for home in sites.artists.values():
                allowed = home.policy.changed({"sum.required": ["prototypes"]})
                (home.path / "policy.toml").write_text(allowed.to_toml())
                settle(home)
            sites.start()
            homes = (sites.platform, sites.opener, *sites.artists.values())
            platform, *nodes = [psutil.Process(sites.process(home).pid) for home in homes]
            before = by_part(platform, nodes)
            starts = {"platform": before["platform"], "node": own(nodes[1:2])}
            path = sites.platform.path.parent / "run.toml"
            path.write_text(config.to_toml())
            out = sites.platform.path / "runs" / "run"
            children, began = os.times(), time.perf_counter()
            process = sites.spawn(sites.platform, "platform", "run", more=(str(path), "--out", str(out)))
            assert process.wait() == 0, sites.log(sites.platform).read_text()
            seconds, ended = time.perf_counter() - began, os.times()
            used = {part: now - before[part] for part, now in by_part(platform, nodes).items()}
            used["command"] = sum(ended[2:4]) - sum(children[2:4])
        said = {
            "seconds": seconds,
            "cpu": sum(used.values()),
            "cpu by part": used,
            "cpu of a start": starts,
        }
        print(json.dumps({"what": "over sites", **said, "round": rounds(RunFolder(out))}), flush=True)


def rounds(folder: RunFolder) -> float:
    """Seconds of an update round: the median of all but the opening one."""
    seconds = sorted(line["seconds"] for line in folder.metrics()[1:])
    return seconds[len(seconds) // 2]


if __name__ == "__main__":
    main()
