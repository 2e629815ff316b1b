"""What all cells cost together: closed forms, honest about cells without a guarantee, and fail closed."""

import math
from dataclasses import replace

from scipy.optimize import brentq
from scipy.stats import norm

from fedstyle_secure.privacy.events import SampledGaussian
from fedstyle_secure.privacy.ledger import Entry, Ledger
from fedstyle_secure.sweep.tuning import tuning_cost

DELTA = 1e-5


def entry(event, run="r"):
    return Entry(run, "q", 0, "card", "2026-01-01T00:00:00", "gaussian", {}, 1.0, event, None, "d")


def cell(root, name, **artists):
    """A cell whose artists released Gaussians of these noise multipliers."""
    for artist, noises in artists.items():
        home = root / name / "studios" / artist
        home.mkdir(parents=True)
        ledger = Ledger(home / "ledger.jsonl")
        for noise in noises:
            ledger.append([entry(SampledGaussian(noise))])
    return root / name


def exact(mu):
    """Epsilon of the Gaussian mechanism with this mean shift (Balle and Wang 2018, theorem 8)."""

    def delta(epsilon):
        a, b = mu / 2 - epsilon / mu, -mu / 2 - epsilon / mu
        return norm.cdf(a) - math.exp(epsilon) * norm.cdf(b) - DELTA

    return brentq(delta, 0, 100)


def test_cells_compose_over_one_artist_and_not_over_different_ones(tmp_path):
    cells = [cell(tmp_path, "a", ann=[4.0], bob=[3.0]), cell(tmp_path, "b", ann=[3.0, 6.0])]
    found = tuning_cost(cells, DELTA)
    ann, bob = math.sqrt(1 / 16 + 1 / 9 + 1 / 36), 1 / 3
    # Within the accountant's numerical error, and never below the truth.
    assert exact(ann) <= found.epsilon["artwork"] <= 1.02 * exact(ann)
    assert exact(bob) < exact(ann) < exact(ann + bob)
    assert (found.cells, found.guaranteed["artwork"]) == (2, 2)
    assert found.epsilon_guaranteed["artwork"] == found.epsilon["artwork"]
    # Nothing is promised to whole portfolios.
    assert found.epsilon["artist"] is None
    assert (found.guaranteed["artist"], found.epsilon_guaranteed["artist"]) == (0, None)


def test_one_cell_without_noise_leaves_no_guarantee_for_all(tmp_path):
    cells = [cell(tmp_path, "a", ann=[2.0]), cell(tmp_path, "b", ann=[0.0]), cell(tmp_path, "c", ann=[2.0])]
    found = tuning_cost(cells, DELTA)
    assert found.epsilon["artwork"] is None
    assert found.guaranteed["artwork"] == 2
    mu = math.sqrt(2) / 2
    assert exact(mu) <= found.epsilon_guaranteed["artwork"] <= 1.02 * exact(mu)
    told = found.to_dict()
    assert told["epsilon_artwork"] == {
        "all_cells": None,
        "cells_with_a_guarantee": 2,
        "those_cells": found.epsilon_guaranteed["artwork"],
    }
    assert "not the epsilon of one" in told["note"]


def test_a_cell_that_has_released_nothing_counts_for_nothing(tmp_path):
    (tmp_path / "empty" / "studios").mkdir(parents=True)
    found = tuning_cost([cell(tmp_path, "a", ann=[2.0]), tmp_path / "empty", tmp_path / "none"], DELTA)
    assert found.cells == 1


def test_a_damaged_ledger_leaves_no_figure_at_all(tmp_path):
    cells = [cell(tmp_path, "a", ann=[2.0]), cell(tmp_path, "b", ann=[2.0])]
    path = cells[1] / "studios" / "ann" / "ledger.jsonl"
    path.write_text(path.read_text().replace("2.0", "9.0"))
    found = tuning_cost(cells, DELTA)
    assert "ann/ledger.jsonl: line 1 was edited" in found.damaged
    assert found.epsilon == found.epsilon_guaranteed == {"artwork": None, "artist": None}
    assert replace(found, damaged="").to_dict()["damaged"] is None
