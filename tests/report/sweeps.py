"""Small sweeps: real runs of a second, audits made by hand, tables and plots by the sweep's own code."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fedstyle_secure.audit.findings import Finding, not_run
from fedstyle_secure.config import Config
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.sweep import runner
from fedstyle_secure.sweep.cells import CellFolder
from fedstyle_secure.sweep.grid import Cell, Grid
from fedstyle_secure.sweep.work import ERROR, Work, run_cell


def load(name: str) -> ModuleType:
    """A file by its name from this folder; tests are no package."""
    path = Path(__file__).parent / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"sweeps_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_REPORT = load("conftest")
_SETTINGS = [setting for setting in load("../conftest").TINY if not setting.startswith("privacy.")]
_FLAT = Config().override([*_SETTINGS, "run.rounds=1"]).to_flat()

TINY = {key: _FLAT[key] for key in (setting.partition("=")[0] for setting in _SETTINGS)}
ENCRYPTION = [
    {"name": "on", "secure_sum.enabled": True, "secure_sum.updates": True},
    {"name": "off", "secure_sum.enabled": False, "secure_sum.updates": False},
]
FAILS = "HE scheme: <b>no memory</b> & no end"

Findings = Callable[[Cell], Sequence[Finding]]


def findings(cell: Cell) -> list[Finding]:
    """What an audit might find: everything where nothing is defended, little where there is noise."""
    make, seed = _REPORT.finding, cell.config.run.seed
    sealed = cell.config.secure_sum.enabled and cell.config.secure_sum.updates
    plain = cell.config.privacy.dp == "off"
    bound = None if plain else 0.9471
    area = make(value=0.51 + 0.01 * seed, low=0.41, high=0.62, bound=bound)
    inversion = make(
        attack="Inversion of an update", metric="identification rate", value=0.05, low=0.0061, high=0.1689,
        n=20, baseline=0.05, bound=bound, level="L4", category="reconstruction",
    )  # fmt: skip
    if plain:
        area = replace(area, value=0.93 + 0.001 * seed, low=0.88, high=0.97, verdict="leaks")
        inversion = replace(inversion, value=1.0, low=0.8316, high=1.0, verdict="leaks")
    found = [area, replace(area, view="buyer", value=0.5, low=0.4, high=0.6, verdict="inconclusive")]
    found += [not_run(inversion, "updates are sealed")] if sealed else [inversion]
    found += [replace(inversion, view="malicious_platform")]
    card = make(
        view="buyer", attack="Linking a style card", unit="artist", metric="artist named rightly", value=1.0,
        low=0.6637, high=1.0, n=9, baseline=0.25, bound=None, verdict="leaks", level="L2",
        category="exfiltration", reason="a style card is published so that its artist is found",
    )  # fmt: skip
    style = make(
        attack="Main style from a sum", unit="artist", metric="main style named rightly", bound=None,
        level="L3", category="attribute inference",
    )  # fmt: skip
    return [*found, card, not_run(style, "prototype sums are sealed")]


def build(
    out: Path,
    grid: dict[str, Any],
    *,
    name: str = "small",
    audit: dict[str, Any] | str = "quick",
    fails: Callable[[Cell], bool] = lambda cell: False,
    found: Findings = findings,
    force: bool = False,
) -> Path:
    """A finished sweep, made in this process: nothing is spawned.

    Args:
        out: Its folder.
        grid: As in a grid file; cells that are there already are kept.
        name: Of the sweep.
        audit: As in a grid file.
        fails: Which cells fail.
        found: What the audit of each finds.
        force: Delete what is there.
    """
    whole = Grid.from_dict(
        {"sweep": {"name": name, "audit": audit}, "base": TINY, "grid": grid}, out / "grid.toml"
    )
    cells = {str(CellFolder(out / "cells" / c.name, c).path): c for c in whole.cells()}

    def run_cells(work: Sequence[Work], processes: int) -> Iterator[int]:
        for i, (home, settings, asked) in enumerate(work):
            Path(home).mkdir(parents=True, exist_ok=True)
            (Path(home) / ERROR).unlink(missing_ok=True)
            if fails(cells[home]):
                (Path(home) / ERROR).write_text(FAILS)
            else:
                run_cell(Path(home), settings, "")
                if asked:
                    audit_by_hand(RunFolder(Path(home) / "run"), cells[home], found(cells[home]))
            yield i

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "run_cells", run_cells)
        runner.sweep(whole, out, resume=runner.is_sweep(out) and not force, force=force)
    return out


def audit_by_hand(run: RunFolder, cell: Cell, found: Sequence[Finding]) -> None:
    """An audit's folder as `fedstyle audit` would leave it with a cell's settings."""
    assert cell.audit is not None
    shutil.rmtree(run.audit_folder, ignore_errors=True)
    settings = cell.audit.model_dump(mode="json")
    _REPORT.audit(run, list(found), preset=cell.audit.label, settings=settings, show_pictures=False)


@pytest.fixture(scope="session")
def swept(tmp_path_factory) -> Path:
    """Two guarantees, encryption on and off, two seeds; tests work on copies."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
        grid = {"epsilons": [4, "none"], "encryption": ENCRYPTION, "seeds": [0, 1]}
        return build(tmp_path_factory.mktemp("sweeps") / "small", grid)


@pytest.fixture
def swept_copy(swept, tmp_path) -> Path:
    """The same, to be written to."""
    return Path(shutil.copytree(swept, tmp_path / "small"))
