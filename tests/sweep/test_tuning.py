"""What all cells cost together: closed forms, honest about cells without a guarantee, and fail closed."""

import json
import math
from dataclasses import replace

import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from fedstyle_secure.config import Config
from fedstyle_secure.privacy.events import SampledGaussian
from fedstyle_secure.privacy.ledger import Entry, Ledger
from fedstyle_secure.runs import RunFolder
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


def begun(root, name, source="atelier", seed=0):
    """A run as it begins."""
    run = RunFolder(root / name / "run")
    gallery = {"gallery.source": source, "gallery.seed": seed}
    run.begin(Config.from_flat(Config().to_flat() | gallery), resume=False, force=False)
    return run


def export(run, **artists):
    """The run's own copy of the ledgers."""
    values = {
        artist: None if noises is None else [entry(SampledGaussian(noise)).to_dict() for noise in noises]
        for artist, noises in artists.items()
    }
    run.ledger_file.write_text(json.dumps(values))
    run.summary_file.write_text("{}")


def test_a_cell_is_sound_only_if_every_release_of_every_artist_has_noise(tmp_path):
    one_bare = cell(tmp_path, "a", ann=[2.0], bob=[0.0])
    late_bare = cell(tmp_path, "b", ann=[2.0, 2.0, 0.0], bob=[2.0])
    sound = cell(tmp_path, "c", ann=[2.0, 3.0, 4.0])
    found = tuning_cost([one_bare, late_bare, sound], DELTA)
    assert (found.cells, found.guaranteed["artwork"]) == (3, 1)
    assert found.epsilon["artwork"] is None
    # All three releases of that cell count.
    mu = math.sqrt(1 / 4 + 1 / 9 + 1 / 16)
    assert exact(mu) <= found.epsilon_guaranteed["artwork"] <= 1.02 * exact(mu)


def test_a_cell_whose_studios_are_gone_costs_what_its_run_states(tmp_path):
    """Deleting the studios must not make choosing free of cost."""
    whole = [cell(tmp_path, "a", ann=[2.0, 3.0]), cell(tmp_path, "b", ann=[4.0])]
    export(begun(tmp_path, "a", "folder"), ann=[2.0, 3.0])
    before = tuning_cost(whole, DELTA)
    for path in sorted((tmp_path / "a" / "studios").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    after = tuning_cost(whole, DELTA)
    assert (after.cells, after.epsilon["artwork"]) == (2, before.epsilon["artwork"])
    assert after.epsilon["artwork"] > exact(math.sqrt(1 / 4 + 1 / 9))


def test_ledgers_that_contradict_the_run_leave_no_figure(tmp_path):
    folder = cell(tmp_path, "a", ann=[2.0])
    run = begun(tmp_path, "a", "folder")
    export(run, ann=[9.0])
    assert "ledger.json: 'ann': is not what" in tuning_cost([folder], DELTA).damaged
    export(run, ann=[2.0, 2.0])
    assert "is not what" in tuning_cost([folder], DELTA).damaged, "the artist's own lacks a release"
    # Own ledgers may have grown, and then cost more.
    export(run, ann=[])
    assert tuning_cost([folder], DELTA).epsilon["artwork"] >= exact(1 / 2)
    run.ledger_file.unlink()
    assert "ledger.json: is missing, and the run is finished" in tuning_cost([folder], DELTA).damaged
    export(run, ann=[2.0])
    run.ledger_file.write_text('{"ann": [{}]}')
    assert "ledger.json: cannot be read" in tuning_cost([folder], DELTA).damaged
    other = begun(tmp_path, "b")
    cell(tmp_path, "b", ann=[2.0])
    export(other, ann=[2.0])
    found = tuning_cost([tmp_path / "b"], DELTA)
    assert "studios/ann: is a second ledger of 'ann'" in found.damaged, "a studio is named after the seed too"


@pytest.mark.parametrize("stated", [{}, {"ann": None}])
def test_a_release_without_any_ledger_leaves_no_figure(tmp_path, stated):
    run = begun(tmp_path, "a")
    run.append_metrics({"round": 0, "released_by": ["ann"]})
    if stated:
        export(run, **stated)
    found = tuning_cost([tmp_path / "a"], DELTA)
    assert "'ann' released something, and no ledger says what it cost" in found.damaged


def test_an_artist_is_the_same_whatever_seed_drew_its_pictures(tmp_path):
    cells = [cell(tmp_path, f"c{seed}", **{f"ann {seed}": [2.0]}) for seed in (0, 1)]
    for seed in (0, 1):
        begun(tmp_path, f"c{seed}", seed=seed)
    found = tuning_cost(cells, DELTA)
    assert exact(math.sqrt(1 / 2)) <= found.epsilon["artwork"] <= 1.02 * exact(math.sqrt(1 / 2))
    # The run's copy has the artist's name, the studio that with the seed.
    export(RunFolder(tmp_path / "c0" / "run"), ann=[2.0])
    assert tuning_cost(cells, DELTA).epsilon == found.epsilon


def test_only_pictures_that_a_program_drew_cost_nobody_anything(tmp_path):
    cells = [cell(tmp_path, name, ann=[2.0]) for name in ("a", "b")]
    begun(tmp_path, "a")
    begun(tmp_path, "b")
    drawn = tuning_cost(cells, DELTA)
    assert drawn.procedural
    assert "Cells are simulations" in drawn.note
    (tmp_path / "b" / "run" / "config.toml").unlink()
    RunFolder(tmp_path / "b" / "run").path.joinpath(".fedstyle-run").unlink()
    begun(tmp_path, "b", "folder")
    real = tuning_cost(cells, DELTA)
    assert not real.procedural
    assert "simulations" not in real.note
    assert "in truth the same artists were in all cells" in real.note
    for cost in (drawn, real):
        assert (
            "What --force deleted, or was tried in another folder, is not counted." in cost.to_dict()["note"]
        )
