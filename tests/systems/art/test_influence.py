"""What may have influenced a model and a picture: bounds in words, nearest works, artists left out."""

import json
import math

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import fedstyle_secure
from fedstyle_secure.cli import app
from fedstyle_secure.errors import ConfigError, GalleryError
from fedstyle_secure.galleries.opening import open_gallery
from fedstyle_secure.systems.art.influence import bound, left_out, nearest


@pytest.fixture(scope="module")
def plain(settings, tmp_path_factory):
    """A run without privacy."""
    config = settings(privacy={"dp": "off", "noise_multiplier": "auto"}, run={"rounds": 1})
    return fedstyle_secure.train(config, tmp_path_factory.mktemp("plain") / "runs" / "run").folder


def test_the_bound_is_the_ledgers(art_run, plain):
    epsilon = art_run.summary()["privacy"]["epsilon_artwork_max"]
    told = bound(art_run)
    assert f"epsilon of {epsilon:.2f}" in told
    assert f"{math.exp(epsilon):,.0f} times" in told
    assert "No guarantee" in bound(plain)


def test_a_copy_lies_nearest_to_its_work_and_nothing_of_others_is_named(plain, tmp_path):
    gallery = open_gallery(plain.config().gallery)
    own = gallery.portfolio("neon-1")
    place = int(np.flatnonzero(~own.test)[2])
    Image.fromarray(own.pictures[place]).save(tmp_path / "copy.png")
    found = nearest(plain, tmp_path / "copy.png", "neon-1")
    mine = [near for near in found if near.artist == "neon-1"]
    assert (mine[0].name, mine[0].distance, mine[0].as_near) == (own.names[place], 0.0, 0.0)
    assert {near.artist for near in found} <= {"neon-1", *gallery.public_artists}
    assert "neon-1" not in {near.artist for near in nearest(plain, tmp_path / "copy.png")}
    # A work that nothing trained on is as near as held-out works are, itself among them.
    Image.fromarray(own.test_pictures[0]).save(tmp_path / "held-out.png")
    held = [n for n in nearest(plain, tmp_path / "held-out.png", "neon-1") if n.artist == "neon-1"]
    assert held[0].as_near > 0


def test_who_is_left_out_is_missed_and_without_noise_nothing_else_changes(plain):
    (moved,) = left_out(plain, ["neon-1"])
    assert moved.again == 0
    assert moved.without > 0
    assert moved.training > 0


def test_what_cannot_be_asked_is_one_line(plain, tmp_path):
    (tmp_path / "none.png").write_bytes(b"none")
    with pytest.raises(ConfigError, match=r"none\.png"):
        nearest(plain, tmp_path / "none.png")
    with pytest.raises(ConfigError, match=r"missing\.png"):
        nearest(plain, tmp_path / "missing.png")
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(tmp_path / "black.png")
    for call in (lambda: nearest(plain, tmp_path / "black.png", "me"), lambda: left_out(plain, ["me"])):
        with pytest.raises(GalleryError, match="'me' is no artist of the run; valid: "):
            call()
    shown = CliRunner().invoke(
        app, ["influence", str(plain.path), "--picture", str(tmp_path / "black.png"), "--json"]
    )
    told = json.loads(shown.stdout)
    assert "No guarantee" in told["bound"]
    assert len(told["nearest"]) == 3
