"""The second system over sites: what a system is, no part of the sites knows."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

import fedstyle_secure
from fedstyle_secure.config import Config
from fedstyle_secure.files import read_arrays
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.sites.homes import settle
from fedstyle_secure.sites.local import LocalSites
from fedstyle_secure.systems.text.letterer import Letterer


def written(folder, portfolio):
    """A portfolio of crops as a folder with its table."""
    place = folder / portfolio.artist
    place.mkdir(parents=True)
    with (place / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "text"])
        for i, (picture, text) in enumerate(zip(portfolio.pictures, portfolio.labels, strict=True)):
            Image.fromarray(picture).save(place / f"{i:03d}.png")
            rows.writerow([f"{i:03d}.png", text])


@pytest.mark.deploy
@pytest.mark.xdist_group("all else")
def test_text_recognition_over_sites_comes_to_the_weights_of_one_machine(tmp_path):
    source = Letterer(artists=3, pictures=12, public=1, seed=0, test_fraction=0.25)
    artists, (public,) = source.artists, source.public_artists
    for name in (*artists, public):
        written(tmp_path / "everybody", source.portfolio(name))
        written(tmp_path / ("public" if name == public else name), source.portfolio(name))
    settings = [
        "gallery.source=folder", f"gallery.public={json.dumps([public])}", "run.rounds=2",
        "run.min_artists=3", "run.timeout=120",
        "text.practice_epochs=0", "text.public_epochs=1", "text.compare_epochs=0",
        "training.expected_pictures=9", "privacy.dp=off",
    ]  # fmt: skip
    config = Config.from_dict({"run": {"system": "text"}}).override(settings)
    portfolios = {name: tmp_path / name for name in artists}
    with LocalSites(tmp_path / "sites", portfolios, tmp_path / "public") as sites:
        for home in sites.artists.values():
            changed = home.policy.changed(
                {"privacy.dp": "optional", "allow.systems": ["text"], "sum.min_cohort": 2}
            )
            (home.path / "policy.toml").write_text(changed.to_toml())
            settle(home)
        sites.start()
        path = sites.platform.path.parent / "run.toml"
        path.write_text(config.to_toml())
        # Outside the home: the command plays it itself.
        folder = sites.platform.path.parent / "text"
        process = sites.spawn(
            sites.platform, "platform", "run", more=(str(path), "--out", str(folder), "--wait", "60")
        )
        assert process.wait(timeout=400) == 0, sites.log(sites.platform).read_text()[-3000:]
        over_sites = read_arrays(RunFolder(folder).product_file)[0]
        disk = b"".join(
            f.read_bytes() for f in (*sites.platform.path.rglob("*"), *folder.rglob("*")) if f.is_file()
        )
    local = fedstyle_secure.train(
        config.override([f"gallery.path={tmp_path / 'everybody'}"]), tmp_path / "local"
    ).folder
    on_one = read_arrays(local.product_file)[0]
    assert set(over_sites) == set(on_one)
    for name, array in on_one.items():
        np.testing.assert_allclose(over_sites[name], array, atol=1e-5, err_msg=name)
    words = {text for name in artists for text in source.portfolio(name).labels if len(text) > 7}
    assert words
    assert not [word for word in words if word.encode() in disk]
