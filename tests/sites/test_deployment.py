"""A federation over sites for real: processes, TLS, node keys, folders that are hidden from each other."""

import json
import os
import re
import signal
import subprocess
import time
from contextlib import suppress

import numpy as np
import psutil
import pytest
from PIL import Image

import fedstyle_secure
from fedstyle_secure.config import Config
from fedstyle_secure.files import read_arrays
from fedstyle_secure.galleries.atelier import Atelier
from fedstyle_secure.privacy.ledger import Ledger
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.sites.homes import settle
from fedstyle_secure.sites.local import LocalSites, end

PUBLIC = ("public-impasto-1", "public-woodcut-1")
SETTINGS = (
    "gallery.source=folder", "gallery.size=32", f"gallery.public={json.dumps(PUBLIC)}",
    "gallery.artists=16", "gallery.pictures=60", "gallery.public_artists=16",
    "style.encoder=cnn", "style.dim=8", "style.pretrain_steps=3", "style.practice_artists=0",
    "styles.source=vocabulary", "run.rounds=2", "run.min_artists=3", "run.timeout=120",
    "training.expected_pictures=9", "privacy.noise_multiplier=16",
)  # fmt: skip

OF_TWO = ("run.min_artists=2", "styles.min_contributors=2", "privacy.min_cohort=2")
"""What a run needs that goes on without one of three artists."""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Galleries of one artist each, one of the public artists, and one of everybody, in folders."""
    root = tmp_path_factory.mktemp("pictures")
    source = Atelier(artists=3, pictures=12, public=2, size=32, seed=0, test_fraction=0.25)
    for artist in (*source.artists, *source.public_artists):
        for part in ("everybody", "public" if artist in PUBLIC else artist):
            folder = root / part / artist
            folder.mkdir(parents=True)
            for i, picture in enumerate(source.portfolio(artist).pictures):
                Image.fromarray(picture).save(folder / f"{i:03d}.png")
    assert source.public_artists == PUBLIC
    return root, source.artists


@pytest.fixture
def sites(pictures, tmp_path):
    """Three artists, an opener and a platform, each with a site of its own; nothing runs yet."""
    root, artists = pictures
    with LocalSites(tmp_path / "sites", {name: root / name for name in artists}, root / "public") as made:
        yield made


def policies(sites, **changes):
    for home in sites.artists.values():
        path = home.path / "policy.toml"
        path.write_text(home.policy.changed(changes).to_toml())
        settle(home)


def run(sites, tmp_path, *settings, out="run"):
    """Start a run on the platform's site; what it wrote, once it is over."""
    config = Config().override([*SETTINGS, *settings])
    path = sites.platform.path.parent / "run.toml"
    path.write_text(config.to_toml())
    folder = sites.platform.path / "runs" / out
    process = sites.spawn(
        sites.platform, "platform", "run", more=(str(path), "--out", str(folder), "--wait", "60")
    )
    return process, RunFolder(folder)


def finished(sites, process, folder):
    assert process.wait(timeout=170) == 0, sites.log(sites.platform).read_text()[-3000:]
    return folder.summary()


def test_from_homes_to_the_same_weights_as_on_one_machine(sites, pictures, tmp_path):
    """Bound: 1e-5 in every weight, without noise. Encrypted sums, a roster, a policy and TLS are in it."""
    policies(sites, **{"privacy.dp": "optional"})
    sites.start()
    off = ("privacy.dp=off", "privacy.noise_multiplier=auto")
    process, folder = run(sites, tmp_path, *off)
    summary = finished(sites, process, folder)
    here = Config().override([*SETTINGS, *off, f"gallery.path={pictures[0] / 'everybody'}"])
    local = fedstyle_secure.train(here, tmp_path / "local").folder
    over_sites, on_one = read_arrays(folder.product_file)[0], read_arrays(local.product_file)[0]
    assert set(over_sites) == set(on_one)
    for name, array in on_one.items():
        np.testing.assert_allclose(over_sites[name], array, atol=1e-5, err_msg=name)
    assert summary["secure_sum"]["openings"] == local.summary()["secure_sum"]["openings"] > 0
    # What artists state is what they released, and their ledgers stay with them.
    stated = json.loads(folder.ledger_file.read_text())
    for name, home in sites.artists.items():
        entries = Ledger(home.path / "ledger.jsonl").entries
        assert [e["digest"] for e in stated[name]] == [e.digest for e in entries]
    assert not list(sites.platform.path.rglob("*ledger.jsonl"))


@pytest.fixture(scope="module")
def live(pictures, tmp_path_factory):
    root, artists = pictures
    where = tmp_path_factory.mktemp("live") / "sites"
    with LocalSites(where, {name: root / name for name in artists}, root / "public") as made:
        # Many runs in one day for one artist's life, and rounds of two, as somebody is always missing.
        many = {"privacy.max_epsilon_lifetime": 100.0, "privacy.max_releases_a_day": 10_000}
        policies(made, **many, **{"sum.min_cohort": 2, "sum.min_contributors": 2})
        made.start()
        yield made


def metrics(folder):
    return folder.metrics() if folder.begun else []


def ended_within(process, seconds):
    """Wait for the end of a process so long, and no longer."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=seconds)


def await_rounds(process, folder, number, seconds=120):
    end_at = time.monotonic() + seconds
    while len(metrics(folder)) < number:
        assert process.poll() is None, "the run ended too early"
        assert time.monotonic() < end_at, f"no {number} rounds in {seconds} s"
        ended_within(process, 0.1)


def charged_once(live, folder):
    """Every release of the run is in its artist's ledger once, and the platform has no more than that."""
    for home in live.artists.values():
        entries = [e for e in Ledger(home.path / "ledger.jsonl").entries if e.run == folder.identity]
        places = [(e.round, e.kind) for e in entries]
        assert len(places) == len(set(places))
        released = {line["round"] for line in metrics(folder) if home.name in line["released_by"]}
        assert released <= {e.round for e in entries}


@pytest.mark.deploy
@pytest.mark.xdist_group("a node")
def test_a_run_outlives_a_node_and_its_platform(live, tmp_path):
    """A killed node never came back: the SuperLink took it for online, and it ended itself with 305. Bounds:
    back within 90 seconds; the same command goes on with a killed platform's run, and nothing is paid twice.

    Noise is for whole artists, so that sums of another cohort than before may be opened in the same epoch.
    """
    victim = next(iter(live.artists.values()))
    asked = ("run.rounds=40", "privacy.unit=artist", *OF_TWO)
    process, folder = run(live, tmp_path, *asked, out="node")
    await_rounds(process, folder, 2)
    end(live.process(victim), signal.SIGKILL)
    killed = time.monotonic()
    live.spawn(victim, "node")
    seen = len(metrics(folder))
    while not any(victim.name in line["released_by"] for line in metrics(folder)[seen + 1 :]):
        assert time.monotonic() - killed < 90, live.log(victim).read_text()[-2000:]
        assert process.poll() is None, live.log(live.platform).read_text()[-2000:]
        ended_within(process, 0.2)
    print(json.dumps({"what": "node back", "seconds": round(time.monotonic() - killed, 1)}))
    end(process, signal.SIGKILL)
    process.wait()
    seen = len(metrics(folder))
    process, folder = run(live, tmp_path, *asked, out="node")
    await_rounds(process, folder, seen + 2)
    process.terminate()
    assert process.wait(timeout=60) == 6
    assert "the same command goes on" in live.log(live.platform).read_text()
    in_order(folder)
    charged_once(live, folder)


@pytest.mark.deploy
@pytest.mark.xdist_group("all else")
def test_a_run_outlives_its_opener_and_its_superlink_and_the_platform_learns_nothing_else(live, tmp_path):
    """All artists were charged for prototypes that never left, where the opener was dead. The run goes on by
    itself within 120 seconds of the SuperLink's death, and comes to its end.

    No file, path, picture name or exception text is in any byte on the platform's disk, Flower's store of all
    messages included; and none of the opener's keys, there or in the memory of the platform's processes. One
    artist's policy leads nowhere: what it says of that stays at home.
    """
    victim = next(iter(live.artists.values()))
    (victim.path / "policy.toml").write_text(
        victim.policy.changed({"portfolio.path": "/no/such/secret-place"}).to_toml()
    )
    settle(victim)
    asked = ("run.rounds=8", "run.seed=3", "run.open_timeout=10", *OF_TWO)
    process, folder = run(live, tmp_path, *asked, out="opener")
    await_rounds(process, folder, 2)
    secrets = [(live.opener.path / name).read_bytes().strip() for name in ("identity.key", "passphrase")]
    secrets += [bytes.fromhex(secret.decode()) for secret in secrets]
    (link,) = links(live)
    for pid in (process.pid, link, psutil.Process(link).ppid()):
        assert not [one for one in secrets if one in _memory(pid)]

    end(live.process(live.opener), signal.SIGKILL)
    seen = len(metrics(folder))
    await_rounds(process, folder, seen + 2)
    without = [line for line in metrics(folder)[seen:] if not line["sum"]["artists"]]
    assert without, "every sum was opened by an opener that is dead"
    said = re.compile("the opener (did not answer in time|refuses: code 5)")
    asked_nothing = [line["round"] for line in without if said.search(line["sum"]["why"])]
    for home in live.artists.values():
        entries = Ledger(home.path / "ledger.jsonl").entries
        mine = {e.round for e in entries if e.run == folder.identity}
        # The first may have been killed after uploads came; of those after it nothing was offered.
        assert not mine & set(asked_nothing[1:])
    live.spawn(live.opener, "node")

    (link,) = links(live)
    seen = len(metrics(folder))
    os.kill(link, signal.SIGKILL)
    killed = time.monotonic()
    await_rounds(process, folder, seen + 1)
    print(json.dumps({"what": "run goes on", "seconds": round(time.monotonic() - killed, 1)}))
    finished(live, process, folder)
    in_order(folder)
    charged_once(live, folder)
    words = [
        b"secret-place",
        b"GalleryError",
        b"Traceback",
        b"artist-0/",
        b"artist-1/",
        b"000.png",
        b"policy.toml",
    ]
    for file in live.platform.path.parent.rglob("*"):
        if file.is_file() and "pictures" not in file.parts:
            data = file.read_bytes()
            found = [word for word in (*words, *secrets) if word in data]
            assert not found, f"{file}: {found}"
    assert b"secret-place" in (victim.path / "artist.log").read_bytes()


def in_order(folder):
    """No round is left out or told twice, whoever died meanwhile."""
    assert [line["round"] for line in metrics(folder)] == list(range(len(metrics(folder))))


def links(live):
    """The SuperLink's processes."""
    return [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and _is_link(pid, live)]


def _is_link(pid, live):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            line = file.read()
    except OSError:
        return False
    return b"flower-superlink" in line and str(live.platform.path).encode() in line


def _memory(pid):
    """Everything that a process has written to its memory."""
    data = []
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            place, rights = line.split()[:2]
            if "w" not in rights or "[v" in line:
                continue
            begin, stop = (int(part, 16) for part in place.split("-"))
            try:
                memory.seek(begin)
                data.append(memory.read(stop - begin))
            except (OSError, ValueError, OverflowError):
                continue
    return b"".join(data)
