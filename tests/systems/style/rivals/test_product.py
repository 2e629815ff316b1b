"""The product's line is what a run of it says."""

from __future__ import annotations

import numpy as np
import pytest

import fedstyle_secure
from fedstyle_secure.galleries.opening import open_gallery
from fedstyle_secure.systems.style.rivals import product as module
from fedstyle_secure.systems.style.rivals.product import Product


def opened(config):
    gallery = open_gallery(config.gallery)
    private = [gallery.portfolio(name) for name in gallery.artists]
    return private, [gallery.portfolio(name) for name in gallery.public_artists]


@pytest.mark.parametrize("encrypted", ["true", "false"])
def test_the_products_ranks_are_those_of_its_run(tiny, tmp_path, encrypted):
    config = tiny.override(["privacy.dp=off", f"secure_sum.enabled={encrypted}"])
    found = Product(config, *opened(config)).found(draw=1)
    run = fedstyle_secure.train(config.override(["run.seed=1"]), tmp_path / "run")
    assert (found.ranks == 1).mean() == pytest.approx(run.summary["utility"]["artist_top1"])
    assert (1 / found.ranks).mean() == pytest.approx(run.summary["utility"]["artist_map"])
    assert found.leaks == pytest.approx(1), "a card without noise is the mean"


@pytest.mark.long
def test_pictures_are_prepared_once_and_noise_is_new(tiny, monkeypatch):
    settings = ["privacy.noise_multiplier=auto", "style.encoder=texture", "style.views=1"]
    config = tiny.override(settings)
    prepared = []
    made = module.StyleSystem.inputs

    def counted(self, model, portfolio):
        prepared.append(portfolio.artist)
        return made(self, model, portfolio)

    monkeypatch.setattr(module.StyleSystem, "inputs", counted)
    private, public = opened(config)
    product = Product(config, private, public)
    one, other = product.found(0), product.found(1)
    assert prepared == [p.artist for p in private]
    assert one.leaks != other.leaks
    assert max(one.leaks, other.leaks) < 1


@pytest.mark.long
def test_a_plan_left_to_a_rehearsal_is_chosen_once(tiny, monkeypatch):
    asked = []

    def rehearsed(config, artists, tell):
        asked.append(artists)
        return ("style.train=none", "style.scatter=off")

    monkeypatch.setattr(module, "rehearsed", rehearsed)
    config = tiny.override(["privacy.noise_multiplier=auto", "run.plan=auto"])
    private, public = opened(config)
    product = Product(config, private, public)
    found = [product.found(draw) for draw in range(2)]
    assert asked == [len(private)]
    assert all(np.all(one.ranks >= 1) for one in found)
