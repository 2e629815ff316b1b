"""The product's line is what a run of it says."""

from __future__ import annotations

import logging

import pytest

import fedstyle_secure
from fedstyle_secure.galleries.opening import open_gallery
from fedstyle_secure.systems.style.rivals.product import fedstyle


def test_the_products_ranks_are_those_of_its_run(tiny, tmp_path):
    config = tiny.override(["privacy.dp=off", "secure_sum.enabled=false"])
    gallery = open_gallery(config.gallery)
    level = logging.getLogger("fedstyle_secure").level
    found = fedstyle(config, [gallery.portfolio(name) for name in gallery.artists], draw=1)
    run = fedstyle_secure.train(config.override(["run.seed=1"]), tmp_path / "run")
    assert (found.ranks == 1).mean() == pytest.approx(run.summary["utility"]["artist_top1"])
    assert (1 / found.ranks).mean() == pytest.approx(run.summary["utility"]["artist_map"])
    assert found.leaks == pytest.approx(1), "a card without noise is the mean"
    assert logging.getLogger("fedstyle_secure").level == level
