"""A federation over sites for real: processes, TLS, node keys, folders that are hidden from each other."""

import json

import numpy as np
import pytest
from PIL import Image

import fedstyle_secure
from fedstyle_secure.config import Config
from fedstyle_secure.files import read_arrays
from fedstyle_secure.galleries.atelier import Atelier
from fedstyle_secure.privacy.ledger import Ledger
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.sites.local import LocalSites

PUBLIC = ("public-impasto-1", "public-woodcut-1")
SETTINGS = (
    "gallery.source=folder", "gallery.size=32", f"gallery.public={json.dumps(PUBLIC)}",
    "gallery.artists=16", "gallery.pictures=60", "gallery.public_artists=16",
    "style.encoder=cnn", "style.dim=8", "style.pretrain_steps=3", "style.practice_artists=0",
    "styles.source=vocabulary", "run.rounds=2", "run.min_artists=3", "run.timeout=120",
    "training.expected_pictures=9", "privacy.noise_multiplier=4",
)  # fmt: skip


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
