"""What may have influenced a model and a picture: bounds in words, nearest works, artists left out."""

import json
import math
import re

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import fedstyle_secure
from fedstyle_secure.cli import app
from fedstyle_secure.errors import ConfigError, GalleryError
from fedstyle_secure.galleries.base import Portfolio
from fedstyle_secure.galleries.opening import open_gallery
from fedstyle_secure.systems.art.influence import _near, bound, left_out, nearest

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def plain(settings, tmp_path_factory):
    """A run without privacy."""
    config = settings(privacy={"dp": "off", "noise_multiplier": "auto"}, run={"rounds": 1})
    return fedstyle_secure.train(config, tmp_path_factory.mktemp("plain") / "runs" / "run").folder


def test_the_bound_is_the_ledgers(art_run, plain):
    epsilon = art_run.summary()["privacy"]["epsilon_artwork_max"]
    said, times = numbers(bound(art_run))
    assert epsilon <= said < epsilon + 0.01
    assert math.exp(epsilon) <= times < math.exp(epsilon) + 0.01
    assert "No guarantee" in bound(plain)


def numbers(told):
    found = re.search(r"epsilon of ([\d,.]+) says.* at most ([\d,.]+) times", told)
    return tuple(float(number.replace(",", "")) for number in found.groups())


@pytest.mark.parametrize("epsilon", [0.0, 0.004, 0.3, 6.583, 10.0, 60.0, 710.0, 5000.0])
def test_the_bound_is_never_less_than_the_ledgers(art_run, monkeypatch, epsilon):
    """Rounded to whole numbers an epsilon of 0.3 would read as no influence at all; 710 is beyond floats."""
    summary = art_run.summary()
    summary["privacy"]["epsilon_artwork_max"] = epsilon
    monkeypatch.setattr(type(art_run), "summary", lambda run: summary)
    told = bound(art_run)
    if epsilon <= 10:
        said, times = numbers(told)
        assert epsilon <= said < epsilon + 0.01 + 1e-9
        assert math.exp(epsilon) <= times < math.exp(epsilon) + 0.01 + 1e-9
    else:
        power = int(re.search(r"10\^(\d+) times", told)[1])
        assert power - 1 < epsilon / math.log(10) <= power


def test_a_run_with_noise_and_no_figure_is_not_called_one_without_noise(art_run, monkeypatch):
    """Such as the unit artist without encrypted sums, where everybody's own share is seen."""
    summary = art_run.summary()
    summary["privacy"]["epsilon_artwork_max"] = None
    monkeypatch.setattr(type(art_run), "summary", lambda run: summary)
    told = bound(art_run)
    assert "No guarantee" in told
    assert "without noise" not in told


def works(number, held=()):
    pictures = np.random.default_rng(number).integers(0, 256, (number, 32, 32, 3), dtype=np.uint8)
    names = tuple(f"work-{i}" for i in range(number))
    test = np.isin(np.arange(number), held)
    return Portfolio("me", pictures, test, names, ("",) * number, ("",) * number)


@pytest.mark.parametrize("held", [(), (2,)])
def test_every_work_that_trained_is_looked_through(held):
    """A small portfolio often has no work held out: none of its works is set apart for that."""
    portfolio = works(6, held)
    for place in np.flatnonzero(~portfolio.test):
        found = _near(portfolio.pictures[place], [portfolio])
        assert (found[0].name, found[0].distance, found[0].as_near) == (portfolio.names[place], 0.0, 0.0)


def test_few_works_or_none_are_no_error():
    (found,) = _near(works(1).pictures[0], [works(1)])
    assert (found.distance, found.as_near) == (0.0, None)
    assert _near(works(1).pictures[0], []) == []


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
