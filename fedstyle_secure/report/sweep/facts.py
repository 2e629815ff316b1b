"""What a sweep's report may say: its table and every run behind it, after all of them were checked."""

from __future__ import annotations

import math
import statistics
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

from fedstyle_secure.audit.settings import AuditSettings
from fedstyle_secure.config import Config
from fedstyle_secure.errors import AuditError, ConfigError, RunError
from fedstyle_secure.files import file_sha256, read_json
from fedstyle_secure.registry import words_named
from fedstyle_secure.report.page.say import Speaker
from fedstyle_secure.report.page.sources import escape
from fedstyle_secure.report.run.facts import Facts, read_facts
from fedstyle_secure.sweep.grid import SEED, Axis, Point
from fedstyle_secure.sweep.marks import GUARANTEE, Mark, marks_of
from fedstyle_secure.sweep.plots import CAPTIONS
from fedstyle_secure.sweep.runner import Sweep
from fedstyle_secure.sweep.table import Row, measured, settings_of
from fedstyle_secure.sweep.tuning import tuning_cost
from fedstyle_secure.words import Headline, Words

_AGREES = 1e-3
"""How far a composed epsilon may lie from the stated one: accountants of other versions differ."""

_TOOLS = ("fedstyle-secure", "jinja2", "typst", "pyarrow")

_PLACE = "place"
"""Key of a row's place in the table while rows are gathered; no column has that name."""


@dataclass(frozen=True)
class Combination:
    """One combination of settings; its runs differ in nothing but their seed.

    Attributes:
        places: Rows of the table, whatever became of their runs.
        done: Those whose run is finished; all figures are theirs.
        series, encryption: What else varies, and which kind of encryption, in words.
        level: Name of its guarantee in the grid; "" where the grid does not vary it.
        unit: Its unit of privacy.
    """

    places: tuple[int, ...]
    done: tuple[int, ...]
    series: str
    encryption: str
    level: str
    unit: str


@dataclass(frozen=True)
class Level:
    """One guarantee that the grid asks for, over all combinations that have it.

    Attributes:
        name: In the grid; "" where the grid does not vary it.
        places, done: As of a combination.
        epsilon: Largest of a finished run, in its unit; infinite: no guarantee.
    """

    name: str
    places: tuple[int, ...]
    done: tuple[int, ...]
    epsilon: float


@dataclass(frozen=True)
class SweepFacts(Speaker):
    """A checked sweep.

    Attributes:
        sweep: Its folder, table, and what `sweep.json` says.
        axes: What varies.
        base: Settings that all runs share, by `section.key`; those that vary are not the base's.
        asked: How each run was audited, as `grid.toml` has it; None: not at all.
        runs: The finished runs, checked as for reports of their own, by their row's place.
        own: Everything that is in no file of the sweep; it becomes part of `report.json`.
        files: What figures cite, by file name.
    """

    sweep: Sweep
    axes: tuple[Axis, ...]
    base: Mapping[str, Any]
    asked: Mapping[str, Any] | None
    runs: Mapping[int, Facts]
    own: Mapping[str, Any]
    files: Mapping[str, Any]

    @property
    def rows(self) -> tuple[Row, ...]:
        """One a run, in the grid's order."""
        return self.sweep.table.rows

    @property
    def done(self) -> tuple[int, ...]:
        """Places of finished runs."""
        return tuple(self.runs)

    @property
    def lost(self) -> tuple[int, ...]:
        """Places of runs that failed or were not finished."""
        return tuple(i for i in range(len(self.rows)) if i not in self.runs)

    @property
    def varied(self) -> tuple[Axis, ...]:
        """Axes that tell combinations apart."""
        return tuple(axis for axis in self.axes if axis.name != SEED and len(axis.points) > 1)

    @cached_property
    def marks(self) -> tuple[Mark, ...]:
        """The combinations as the plots have them, with rows that know their place."""
        return marks_of([{**row, _PLACE: i} for i, row in enumerate(self.rows)], self.axes)

    @cached_property
    def combinations(self) -> tuple[Combination, ...]:
        """In the grid's order."""
        found = []
        for mark in self.marks:
            places = tuple(row[_PLACE] for row in mark.rows)
            done = tuple(i for i in places if i in self.runs)
            unit = mark.rows[0]["privacy.unit"]
            found.append(Combination(places, done, mark.series, mark.encryption, mark.name, unit))
        return tuple(found)

    @cached_property
    def levels(self) -> tuple[Level, ...]:
        """Guarantees, the weakest first; those without a finished run last."""
        names = dict.fromkeys(one.level for one in self.combinations)
        found = [self._level(name) for name in names]
        return tuple(sorted(found, key=lambda level: (not level.done, -level.epsilon)))

    def _level(self, name: str) -> Level:
        ours = [one for one in self.combinations if one.level == name]
        places = tuple(sorted(i for one in ours for i in one.places))
        done = tuple(i for i in places if i in self.runs)
        return Level(name, places, done, max((self.epsilon(i) for i in done), default=0.0))

    def epsilon(self, place: int) -> float:
        """A run's epsilon in its unit; infinite: no guarantee."""
        value = self.rows[place][f"privacy.epsilon_{self.rows[place]['privacy.unit']}_max"]
        return math.inf if value is None else value

    @property
    def embedded(self) -> bool:
        """Whether every run's pictures are those of the embedded procedural gallery."""
        return all(run.config.gallery.source == "atelier" for run in self.runs.values())

    @property
    def words(self) -> Words:
        """What the runs' system calls its parts and figures."""
        return words_named(str(self.base["run.system"]))

    @cached_property
    def headline(self) -> Headline:
        """What the runs are judged by: the first of their system's headlines that any run has."""
        return next(
            (
                one
                for one in self.words.headlines
                if any(self.rows[i][f"utility.{one.key}"] is not None for i in self.done)
            ),
            self.words.headlines[-1],
        )

    @property
    def utility(self) -> str:
        """The column of that headline."""
        return f"utility.{self.headline.key}"

    @property
    def start(self) -> str:
        """The column with the same before any private training."""
        return f"utility.{self.headline.start}"

    @property
    def audits(self) -> tuple[int, ...]:
        """Places of finished runs, one for each way in which runs were audited."""
        found: dict[str, int] = {}
        for place, run in self.runs.items():
            if run.audit is not None:
                found.setdefault(run.audit["preset"], place)
        return tuple(found.values())

    def at(self, places: Iterable[int], column: str) -> str:
        """The source of a column's values in some rows."""
        return " ".join(f"results.csv#/{i}/{escape(column)}" for i in places)

    def known(self, places: Iterable[int], column: str) -> tuple[int, ...]:
        """Those of some rows that have a value in a column."""
        return tuple(i for i in places if self.rows[i].get(column) is not None)

    def pairs(self, axes: Sequence[Axis], one: Iterable[int], other: Iterable[int]) -> list[tuple[int, int]]:
        """Finished runs of two kinds that differ in nothing but some axes."""
        rest = [axis.name for axis in self.axes if axis not in axes]

        def key(place: int) -> tuple[str, ...]:
            return tuple(self.rows[place][f"axis.{name}"] for name in rest)

        partners = {key(place): place for place in other if place in self.runs}
        return [(i, partners[key(i)]) for i in one if i in self.runs and key(i) in partners]

    @property
    def guarantee_axes(self) -> tuple[Axis, ...]:
        """Axes that set the guarantee and nothing else."""
        return tuple(axis for axis in self.varied if frozenset(axis.keys) <= GUARANTEE)


def read_sweep(path: Path | str) -> SweepFacts:
    """Read and check a sweep's folder, and the folder of every finished run in it.

    Raises:
        AuditError: There is no finished sweep, or a file is missing, edited, of another run, or contradicts
            another; names it.
    """
    sweep = Sweep.open(path)
    folder = sweep.folder
    try:
        grid = tomllib.loads((folder / "grid.toml").read_text(encoding="utf-8"))
        axes = tuple(_axis(name, points) for name, points in grid["grid"].items())
        asked = None if grid["sweep"]["audit"] == "none" else grid["sweep"]["audit"]
        rows = sweep.table.rows
        runs = {i: _run(folder, row) for i, row in enumerate(rows) if row["state"] == "finished"}
        own = _own(sweep, grid, asked, runs)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise AuditError(f"{folder}: a file lacks what it should hold: {error}") from None
    own["spread"] = _spread(rows, axes)
    files: dict[str, Any] = {
        "results.csv": [dict(row) for row in rows],
        "columns.json": {column.name: column.meaning for column in sweep.table.columns},
        "sweep.json": sweep.about,
        "grid.toml": grid,
        "report.json": own,
    }
    # Without a finished cell nothing is drawn.
    if (captions := f"plots/{CAPTIONS}") in sweep.about["files"]:
        files[captions] = read_json(sweep.folder / captions, dict, AuditError)
    for i, facts in runs.items():
        home = f"{rows[i]['folder']}/run"
        files[f"{home}/manifest.json"] = facts.manifest
        if facts.audit is not None:
            files |= {f"{home}/audit/{name}": facts.files[name] for name in ("audit.json", "findings.json")}
    return SweepFacts(sweep, axes, grid["base"], asked, runs, own, files)


def _axis(name: str, points: Sequence[Mapping[str, Any]]) -> Axis:
    settings = [{key: value for key, value in point.items() if key != "name"} for point in points]
    return Axis(name, tuple(Point(p["name"], s) for p, s in zip(points, settings, strict=True)))


def _run(folder: Path, row: Row) -> Facts:
    """A finished run, checked, which says what its row says."""
    home = folder / row["folder"] / "run"
    try:
        facts = read_facts(home)
    except (RunError, ConfigError) as error:
        raise AuditError(f"{home}: {error}") from None
    settings: dict[str, Any] = dict(facts.config.to_flat())
    if facts.config.privacy.dp == "off" or facts.config.privacy.noise_multiplier != "auto":
        settings["privacy.target_epsilon"] = None
    if facts.audit is not None:
        settings |= settings_of(AuditSettings.model_validate(facts.audit["settings"]))
    stated = settings | measured(facts.summary, facts.audit or {}, facts.findings)
    for column, value in stated.items():
        if column in row and row[column] != value:
            raise AuditError(
                f"{folder / 'results.csv'}: cell {row['cell']}: {column} is {row[column]!r}, and the run's "
                f"own files say {value!r}; one of them was edited, or made by another version"
            )
    return facts


def _own(
    sweep: Sweep, grid: Mapping[str, Any], asked: Mapping[str, Any] | None, runs: Mapping[int, Facts]
) -> dict[str, Any]:
    about, folder = sweep.about, sweep.folder
    vouched = [name for name in about["files"] if name.startswith("cells/")]
    hashes = {"sweep.json": file_sha256(folder / "sweep.json")}
    hashes |= {name: digest for name, digest in about["files"].items() if name not in vouched}
    return {
        "sweep": (folder / ".fedstyle-sweep").read_text(encoding="utf-8"),
        "axes": list(grid["grid"]),
        "made_with": {name: metadata.version(name) for name in _TOOLS},
        "hashes": hashes,
        "checked": {"runs": len(runs), "tuning_cost": _composed_again(sweep)},
        "packages": _packages(runs.values()),
        "settings": {row["key"]: {"meaning": row["help"]} for row in _described(grid)},
        "preset": None if asked is None else _preset(asked),
        "chance": _chance(runs.values()),
        "attacked": _attacked(runs.values()),
    }


def _described(grid: Mapping[str, Any]) -> list[dict[str, Any]]:
    return Config.of_system(str(grid["base"]["run.system"])).describe()


def _composed_again(sweep: Sweep) -> bool:
    """Whether every ledger behind the tuning cost is still there; then it must be what they add up to."""
    stated = sweep.about["tuning_cost"]
    found = tuning_cost(sorted((sweep.folder / "cells").glob("*")), stated["delta"]).to_dict()
    if found["damaged"] or stated["damaged"]:
        return False
    if found["cells"] < stated["cells"]:
        return False
    for unit in ("epsilon_artwork", "epsilon_artist"):
        for key, value in found[unit].items():
            said = stated[unit][key]
            if (value is None) != (said is None) or (
                value is not None and not math.isclose(value, said, rel_tol=_AGREES)
            ):
                raise AuditError(
                    f"{sweep.folder / 'sweep.json'}: tuning_cost.{unit}.{key} is {said}, and the ledgers of "
                    f"all cells add up to {value}; one of them was edited"
                )
    return True


def _packages(runs: Iterable[Facts]) -> dict[str, list[str]]:
    """Every version of each package that some run was made with."""
    found: dict[str, list[str]] = {}
    for facts in runs:
        for name, version in {"Python": facts.manifest["python"], **facts.manifest["packages"]}.items():
            if version not in found.setdefault(name, []):
                found[name].append(version)
    return found


def _preset(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What the preset that the audit's settings began with says in this version."""
    return AuditSettings.from_preset(asked["preset"]).model_dump(mode="json", exclude={"processes"})


def _attacked(runs: Iterable[Facts]) -> list[list[int]]:
    """How many artists the audits attacked, and of how many; every such pair once."""
    pairs = {(len(facts.audit["artists"]), len(facts.artists)) for facts in runs if facts.audit is not None}
    return [list(pair) for pair in sorted(pairs)]


def auc_columns(rows: Sequence[Row]) -> list[str]:
    """Columns with the AUC of a single attack in the platform's view; its interval's columns are left out."""
    names = dict.fromkeys(key for row in rows for key in row)
    return [key for key in names if key.startswith("platform.auc.") and f"{key}_baseline" in names]


def _spread(rows: Sequence[Row], axes: Sequence[Axis]) -> dict[str, float]:
    """Of every AUC in the platform's view: the standard deviation of the seeds, pooled over combinations of
    settings that have more than one."""
    marks = marks_of(rows, axes)
    found = {}
    for column in auc_columns(rows):
        several = [values for mark in marks if len(values := mark.values(column)) > 1]
        if several:
            variance = sum((len(v) - 1) * statistics.variance(v) for v in several)
            found[column] = math.sqrt(variance / sum(len(v) - 1 for v in several))
    return found


def _chance(runs: Iterable[Facts]) -> dict[str, float]:
    """How many intervals there are, and how many of them chance alone puts wholly above the true figure."""
    intervals, above = 0, 0.0
    for facts in runs:
        seen = {
            (f.attack, f.quantity, f.target, f.value, f.low): f.confidence
            for f in facts.findings
            if f.low is not None and f.confidence is not None
        }
        intervals += len(seen)
        above += sum((1 - confidence) / 2 for confidence in seen.values())
    return {"intervals": intervals, "above": above}
