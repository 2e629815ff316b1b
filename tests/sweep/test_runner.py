"""Whole sweeps: a killed one goes on without repeating a cell, and ends as if it had not been killed."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fedstyle_secure.accounts import accounts
from fedstyle_secure.errors import AuditError, ConfigError, RunError
from fedstyle_secure.privacy.accounting import epsilon
from fedstyle_secure.privacy.events import event_from_dict
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.sweep.cells import CODE, CellFolder
from fedstyle_secure.sweep.code import code_digest
from fedstyle_secure.sweep.grid import Grid
from fedstyle_secure.sweep.runner import Sweep, _left_over, _same_pictures, sweep
from fedstyle_secure.sweep.work import run_cell

pytestmark = pytest.mark.long

TINY = {
    "gallery.artists": 4, "gallery.public_artists": 3, "gallery.pictures": 12, "gallery.size": 32,
    "style.dim": 16, "style.practice_artists": 0, "styles.count": 3, "run.rounds": 3,
    "training.expected_pictures": 9, "secure_sum.enabled": False,
}  # fmt: skip
# Without noise the same seed gives the same run, so that whole tables can be compared.
PLAIN = {"seeds": [0, 1]}
TIMES = ("time.wall_s", "time.per_round_s", "time.peak_rss_mb", "time.audit_s")

_SWEEP = """
import sys
from fedstyle_secure.sweep.runner import sweep
if __name__ == "__main__":
    sweep(sys.argv[1], sys.argv[2])
"""


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
        yield


def grid_file(path, grid, sweep_section=None, **base):
    path.write_text(
        Grid.from_dict(
            {"sweep": {"processes": 2, **(sweep_section or {})}, "base": TINY | base, "grid": grid}, path
        ).to_toml()
    )
    return path


@pytest.fixture(scope="module")
def killed(tmp_path_factory, cache):
    """A sweep of two cells, one at a time, killed with SIGKILL when half of it is done."""
    folder = tmp_path_factory.mktemp("killed")
    grid = grid_file(folder / "grid.toml", PLAIN, {"processes": 1}, **{"privacy.dp": "off"})
    script = folder / "run_sweep.py"
    script.write_text(_SWEEP)
    out = folder / "out"
    process = subprocess.Popen([sys.executable, str(script), str(grid), str(out)])
    deadline = time.monotonic() + 120
    while len(list(out.glob("cells/*/run/metrics.jsonl"))) < 2:
        assert process.poll() is None
        assert time.monotonic() < deadline
    # The parent alone: its workers find out by themselves.
    process.kill()
    process.wait()
    return grid, out


def _identity(path):
    return {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in path.rglob("*") if p.is_file()}


def test_a_killed_sweep_goes_on_without_repeating_a_cell_and_ends_the_same(killed, tmp_path):
    grid, out = killed
    done = [path.parent for path in out.glob("cells/*/run/summary.json")]
    begun = {path: path.read_text() for path in out.glob("cells/*/run/.fedstyle-run")}
    assert (len(done), len(begun)) == (1, 2)
    with pytest.raises(AuditError, match="not finished"):
        Sweep.open(out)
    with pytest.raises(RunError, match="`--resume` goes on with it"):
        sweep(grid, out)
    before = {run: _identity(run) for run in done}
    # The killed go counts up to its last cell; as if it had been long ago:
    sessions = json.loads((out / "sessions.json").read_text())
    assert len(sessions) == 1
    assert sessions[0]["wall_s"] > 0
    sessions[0] |= {"began": "2026-01-01T00:00:00+00:00", "wall_s": 5000.0}
    (out / "sessions.json").write_text(json.dumps(sessions))
    told = []
    resumed = sweep(grid, out, resume=True, on_cell=lambda *values: told.append(values))
    assert {run: _identity(run) for run in done} == before
    # The cell that had begun went on as the same run.
    assert {path: path.read_text() for path in begun} == begun
    assert [values[2:4] for values in told] == [(1, 2), (2, 2)]
    assert told[-1][4] == 0
    assert resumed.about["wall_s"] > 5000
    assert (resumed.about["began"], resumed.about["sessions"]) == (sessions[0]["began"], 2)
    assert resumed.about["code"] == code_digest()

    _run_here(grid, tmp_path / "whole")
    whole = sweep(grid, tmp_path / "whole", resume=True)
    assert not whole.failed
    assert whole.table.columns == resumed.table.columns
    for one, other in zip(resumed.table.rows, whole.table.rows, strict=True):
        assert {k: v for k, v in one.items() if k not in TIMES} == {
            k: v for k, v in other.items() if k not in TIMES
        }
    assert {row["utility.artist_top1"] for row in whole.table.rows} != {None}
    assert [row["run.seed"] for row in whole.table.rows] == [0, 1]

    # Resuming a finished one runs nothing, and says the same.
    cells = _identity(out / "cells")
    again = sweep(grid, out, resume=True, on_cell=lambda *values: told.append(values))
    assert told[-1][2:4] == (2, 2)
    assert _identity(out / "cells") == cells
    assert again.table == resumed.table
    assert again.about["files"] == resumed.about["files"]


def test_a_sweep_of_private_cells_says_what_all_of_them_would_cost(tmp_path):
    """A cell that fails does not stop the others, and each cell's ledger begins anew."""
    points = [
        {"name": "two", "privacy.target_epsilon": 2.0},
        # Four replies can never be five.
        {"name": "fails", "run.min_artists": 5},
        {"name": "three", "privacy.target_epsilon": 3.0},
    ]
    grid = grid_file(tmp_path / "grid.toml", {"how": points})
    _run_here(grid, tmp_path / "out", ("two", "three"))
    found = sweep(grid, tmp_path / "out", resume=True)
    rows = {row["axis.how"]: row for row in found.table.rows}
    assert list(found.failed) == [rows["fails"]["cell"]]
    assert rows["fails"]["state"] == "failed"
    assert "5" in rows["fails"]["error"]
    assert rows["fails"]["utility.artist_top1"] is None
    exported = []
    for name, target in (("two", 2.0), ("three", 3.0)):
        run = RunFolder(tmp_path / "out" / rows[name]["folder"] / "run")
        assert 0.99 * target < rows[name]["privacy.epsilon_artwork_max"] <= target
        assert {round(account.spent["artwork"], 6) for account in accounts(run)} == {
            round(rows[name]["privacy.epsilon_artwork_max"], 6)
        }
        exported.append(json.loads(run.ledger_file.read_text()))
    together = max(
        epsilon([event_from_dict(e["artwork_cost"]) for one in exported for e in one[artist]], 1e-5)
        for artist in exported[0]
    )
    cost = found.about["tuning_cost"]
    assert cost["epsilon_artwork"]["all_cells"] == pytest.approx(together)
    assert cost["cells"] == 2
    assert together > 3.2
    assert {path.name for path in (tmp_path / "out" / "plots").iterdir()} == {
        "captions.json", "utility_epsilon.png", "utility_epsilon.svg",
    }  # fmt: skip
    assert Sweep.open(tmp_path / "out").table == found.table


def test_an_audited_cell_has_its_leakage_in_the_table(tmp_path):
    audit = {
        "artists": 4, "targets": 8, "candidates": 20, "rounds": 1, "confidence": 0.95, "fpr": [0.3],
        "show_pictures": False,
    }  # fmt: skip
    path = grid_file(tmp_path / "grid.toml", {"seeds": [0]}, {"audit": audit}, **{"privacy.dp": "off"})
    out = tmp_path / "out"
    _run_here(path, out)
    told = []
    found = sweep(path, out, resume=True, on_cell=lambda *values: told.append(values))
    assert len(told) == 1
    (row,) = found.table.rows
    # Nothing is defended: the platform rebuilds pictures, and knows who is in.
    assert row["platform.identification_rate"] == 1.0
    assert row["platform.identification_rate_low"] > row["platform.identification_rate_baseline"]
    assert row["platform.identification_rate_bound"] is None
    assert row["platform.membership_auc_low"] > 0.5
    assert row["platform.membership_auc"] >= row["platform.auc.update_rounds"]
    assert row["worst.membership_auc"] >= row["platform.membership_auc"]
    assert (row["platform.verdict_artwork"], row["alarms"]) == ("leaks", 0)
    assert row["privacy.epsilon_artwork_max"] is None
    cost = found.about["tuning_cost"]["epsilon_artwork"]
    assert cost == {"all_cells": None, "cells_with_a_guarantee": 0, "those_cells": None}
    names = {path.name for path in (out / "plots").iterdir() if path.suffix == ".png"}
    assert names == {"utility_epsilon.png", "leakage_epsilon.png", "utility_leakage.png"}


def _run_here(grid, out, names=None):
    """Run cells in this process, which has loaded everything; a sweep goes on with them as with its own."""
    (out / "cells").mkdir(parents=True)
    (out / ".fedstyle-sweep").write_text("")
    for cell in Grid.load(grid).cells():
        folder = CellFolder(out / "cells" / cell.name, cell)
        if names is None or cell.points["how"] in names:
            folder.path.mkdir()
            home, settings, audit = folder.work
            run_cell(Path(home), settings, audit)
            assert folder.finished


def test_an_edited_or_foreign_sweep_is_refused(tmp_path, grid_of):
    empty = grid_of({"seeds": [0]})
    with pytest.raises(RunError, match="no sweep here to go on with"):
        sweep(empty, tmp_path / "out", resume=True)
    with pytest.raises(ConfigError, match="choose one"):
        sweep(empty, tmp_path / "out", resume=True, force=True)
    with pytest.raises(AuditError, match="no sweep here"):
        Sweep.open(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("keep me")
    with pytest.raises(RunError, match="holds no sweep"):
        sweep(empty, tmp_path / "mine", force=True)
    assert (tmp_path / "mine" / "letter.txt").read_text() == "keep me"


def test_cells_of_another_version_or_grid_are_named_and_not_used(tmp_path, grid_of):
    ours = [CellFolder(tmp_path / "cells" / cell.name, cell) for cell in grid_of({"seeds": [0]}).cells()]
    assert _left_over(tmp_path, ours) == {}
    ours[0].begin(code_digest())
    assert _left_over(tmp_path, ours) == {}
    for name, code in (("a", "0" * 64), ("b", "1" * 64), ("c", None), ("d", code_digest())):
        (tmp_path / "cells" / name).mkdir(parents=True)
        if code:
            (tmp_path / "cells" / name / CODE).write_text(code + "\n")
    assert _left_over(tmp_path, ours) == {
        "another_version": "3 cells of another version of the program are left in cells/; they are not used, "
        "but for the tuning cost",
        "another_grid": "1 cell of another grid is left in cells/; it is not used, but for the tuning cost",
    }


def test_a_cell_with_other_pictures_than_its_seeds_others_is_named(tmp_path, grid_of):
    grid = grid_of({"epsilons": [1, 2, "none"], "seeds": [0, 1]}, base={"gallery.artists": 4})
    cells = [CellFolder(tmp_path / cell.name, cell) for cell in grid.cells()]
    for cell in cells:
        cell.run.path.mkdir(parents=True)
        digest = f"pictures of seed {cell.cell.config.gallery.seed}"
        cell.run.manifest_file.write_text(json.dumps({"gallery": {"digest": digest}}))
    _same_pictures(cells)
    odd = cells[4]
    odd.run.manifest_file.write_text(json.dumps({"gallery": {"digest": "others"}}))
    with pytest.raises(AuditError, match=f"{odd.path.name}/run/manifest.json: the cell's pictures are not"):
        _same_pictures(cells)
    odd.run.manifest_file.write_text("{}")
    with pytest.raises(AuditError, match=r"manifest\.json: has no hash of the gallery"):
        _same_pictures(cells)
