"""A sweep's grid: which settings vary, over which values, and what each cell is then."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import tomli_w
from pydantic import ValidationError

from fedstyle_secure.audit.settings import PRESETS, AuditSettings
from fedstyle_secure.config import Config
from fedstyle_secure.errors import ConfigError
from fedstyle_secure.hints import did_you_mean
from fedstyle_secure.shipped import presets
from fedstyle_secure.sweep.code import code_digest
from fedstyle_secure.version import __version__

SEED, EPSILON, AUDIT = "seed", "epsilon", "audit"
"""Names of the axes that `seeds`, `epsilons` and `audits` make."""

AUDIT_KEYS = tuple(f"audit.{name}" for name in AuditSettings.model_fields if name != "processes")
"""Settings of an audit as an axis names them; none of them is a setting of a run."""

SEEDED = {"gallery.seed": "pictures", "run.seed": "run", "audit.seed": "audit"}
"""What a seed of the axis can be the seed of."""

_BUDGET = tuple(dict.fromkeys(key for preset in PRESETS.values() for key in preset))
"""What presets of an audit differ in."""

NO_DP = "no DP"

_OWN = ("run.folder", "run.studios")
"""Set by the sweep: each cell has a folder and studios of its own."""

_SECTIONS = ("sweep", "base", "grid")
_KEYS = ("name", "base", "audit", "processes")
_MOST = 10_000


@dataclass(frozen=True)
class Point:
    """One value of an axis.

    Attributes:
        name: For tables and plots.
        settings: What it sets, by `section.key`: of the run, and `AUDIT_KEYS` of its audit.
    """

    name: str
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Axis:
    """What varies together.

    Attributes:
        name: A setting, `seed`, `epsilon`, or a name of the grid's own.
        points: At least one.
    """

    name: str
    points: tuple[Point, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """Every setting that some point sets, in order of appearance."""
        return tuple(dict.fromkeys(key for point in self.points for key in point.settings))


@dataclass(frozen=True)
class Cell:
    """One run of a sweep.

    Attributes:
        points: Name of the point on each axis.
        config: Its settings; where it lies and where its studios lie is not among them.
        audit: How it is audited; None where it is not.
    """

    points: Mapping[str, str]
    config: Config
    audit: AuditSettings | None

    @property
    def name(self) -> str:
        """Readable, safe as a folder's name, and different for different settings: it ends in a part of the
        hash of all of them and of this program's sources."""
        words = "_".join(f"{axis}-{point}" for axis, point in self.points.items()) or "only"
        return f"{re.sub(r'[^A-Za-z0-9._-]+', '-', words)[:80].lstrip('.-')}_{self.digest[:12]}"

    @property
    def digest(self) -> str:
        """SHA-256 of everything that the cell's results depend on, noise apart."""
        audit = self.audit.model_dump(mode="json", exclude={"processes"}) if self.audit else None
        text = json.dumps([__version__, code_digest(), self.config.to_flat(), audit], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Grid:
    """A sweep as it is asked for.

    Attributes:
        name: For titles.
        base: Settings that all cells share.
        axes: What varies; cells are all combinations of their points.
        audit: How each cell is audited, one process a cell, axes of the audit apart; None: not at all.
        processes: Cells at a time; 0: as many as cores.
    """

    name: str
    base: Config
    axes: tuple[Axis, ...]
    audit: AuditSettings | None = None
    processes: int = 0

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a TOML file.

        Raises:
            ConfigError: It is missing or no TOML, or as `from_dict`.
        """
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        except FileNotFoundError:
            raise ConfigError(f"{path}: no such grid file") from None
        except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: cannot be read as TOML: {error}") from None
        return cls.from_dict(values, path)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], path: Path) -> Self:
        """Build from the sections `sweep`, `base` and `grid`, and check every cell.

        Args:
            values: As TOML gives them.
            path: Where they come from: for errors, for the default name, and `sweep.base` is relative to it.

        Raises:
            ConfigError: A key is unknown, a list is empty or has a value twice, or a cell is refused by its
                settings; names the key.
        """
        origin = str(path)
        for section, inside in values.items():
            if section not in _SECTIONS:
                raise ConfigError(f"{origin}: unknown section {section!r}{did_you_mean(section, _SECTIONS)}")
            if not isinstance(inside, Mapping):
                raise ConfigError(f"{origin}: {section!r} is a section; set a key inside it")
        sweep = values.get("sweep", {})
        for key in sweep:
            if key not in _KEYS:
                raise ConfigError(f"{origin}: unknown setting 'sweep.{key}'{did_you_mean(key, _KEYS)}")
        base, fixed = _base(sweep.get("base"), values.get("base", {}), path)
        inside, asked = values.get("grid", {}), sweep.get("audit", "none")
        if asked == "none" and any(_sets_audit(key, points) for key, points in _flat(inside).items()):
            asked = "quick"
        audit = _audit(asked, origin)
        fixed |= {f"audit.{key}" for key in asked} if isinstance(asked, Mapping) else set()
        axes = _axes(inside, base, audit, frozenset(fixed), origin)
        grid = cls(
            _checked(sweep.get("name", path.stem), str, "sweep.name", "text", origin),
            base,
            axes,
            audit,
            _checked(sweep.get("processes", 0), int, "sweep.processes", "a whole number >= 0", origin),
        )
        if grid.processes < 0 or not grid.name.strip():
            key = "sweep.processes" if grid.processes < 0 else "sweep.name"
            raise ConfigError(
                f"{origin}: {key} is not allowed; allowed: a number >= 0, a name that is not empty"
            )
        grid.cells()
        return grid

    @property
    def keys(self) -> tuple[str, ...]:
        """Every setting that varies."""
        return tuple(dict.fromkeys(key for axis in self.axes for key in axis.keys))

    def cells(self) -> tuple[Cell, ...]:
        """All combinations, the first axis slowest.

        Raises:
            ConfigError: One is refused by its settings, or two are the same.
        """
        number = math.prod(len(axis.points) for axis in self.axes)
        if number > _MOST:
            raise ConfigError(f"{self.name}: the grid has {number} cells; {_MOST} is the most")
        found: dict[str, Cell] = {}
        for points in itertools.product(*(axis.points for axis in self.axes)):
            names = {axis.name: point.name for axis, point in zip(self.axes, points, strict=True)}
            said = ", ".join(f"{axis} = {name}" for axis, name in names.items())
            cell = Cell(names, self._config(points, said), self._audit(points))
            if (other := found.setdefault(cell.digest, cell)) is not cell:
                once = ", ".join(f"{axis} = {name}" for axis, name in other.points.items())
                raise ConfigError(f"{self.name}: the cells {once} and {said} have the same settings")
        return tuple(found.values())

    def _config(self, points: Sequence[Point], said: str) -> Config:
        flat = dict(self.base.to_flat())
        for point in points:
            flat |= _of_run(point.settings)
        flat |= dict.fromkeys(_OWN, "")
        if self.audit is not None:
            flat["audit.record"] = "all"
        config = Config.from_flat(flat, f"{self.name}, cell {said}" if said else self.name)
        if (
            config.privacy.dp == "on"
            and config.privacy.noise_multiplier != "auto"
            and "privacy.target_epsilon" in self.keys
        ):
            raise ConfigError(
                f"{self.name}: privacy.noise_multiplier = {config.privacy.noise_multiplier:g} fixes the "
                "noise, so privacy.target_epsilon, which the grid varies, would do nothing; set it to 'auto'"
            )
        return config

    def _audit(self, points: Sequence[Point]) -> AuditSettings | None:
        if self.audit is None:
            return None
        changes = {key: value for point in points for key, value in _of_audit(point.settings).items()}
        return AuditSettings.model_validate(self.audit.model_dump() | changes)

    @property
    def seeds(self) -> str:
        """What a seed of the axis is the seed of, and why not of everything, in sentences."""
        axis = next((axis for axis in self.axes if axis.name == SEED), None)
        if axis is None:
            return "The grid has no axis of seeds."
        said = f"A seed of the grid is that of {seeded(self.axes)}."
        others = {key for other in self.axes if other is not axis for key in other.keys}
        if "gallery.seed" not in axis.keys:
            procedural = self.base.gallery.source == "atelier" and "gallery.source" not in others
            why = (
                "as an axis of the grid sets gallery.seed"
                if "gallery.seed" in others
                else "as the gallery's seed was set apart from them"
                if procedural
                else "as the gallery is not a procedural one"
            )
            said += f" Pictures do not follow from it, {why}."
        if self.audit is not None and "audit.seed" not in axis.keys:
            said += " The audit's seed was set apart from it."
        return said

    def to_toml(self) -> str:
        """TOML text that `load` reads back to the same cells."""
        audit = "none" if self.audit is None else self.audit.model_dump(mode="json", exclude={"processes"})
        return tomli_w.dumps(
            {
                "sweep": {"name": self.name, "audit": audit, "processes": self.processes},
                "base": {key: value for key, value in self.base.to_flat().items() if key not in _OWN},
                "grid": {
                    axis.name: [{"name": point.name, **plain(point.settings)} for point in axis.points]
                    for axis in self.axes
                },
            }
        )


def seeded(axes: Iterable[Axis]) -> str:
    """What a seed of the axis is the seed of, in words: `pictures, run and audit`; "" without seeds."""
    keys = {key for axis in axes if axis.name == SEED for key in axis.keys}
    words = [word for key, word in SEEDED.items() if key in keys]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """As TOML and JSON have them: no tuples."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in settings.items()}


def _of_run(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key not in AUDIT_KEYS}


def _of_audit(settings: Mapping[str, Any]) -> dict[str, Any]:
    """By the names that an audit's settings have themselves."""
    return {key.partition(".")[2]: value for key, value in settings.items() if key in AUDIT_KEYS}


def _base(file: object, inside: Mapping[str, Any], path: Path) -> tuple[Config, set[str]]:
    """The settings that cells share, and which of them were set by name."""
    if file is not None and not isinstance(file, str):
        raise ConfigError(
            f"{path}: sweep.base = {file!r} is not allowed; allowed: path of a configuration, or a preset"
        )
    place = None if file is None else path.parent / file
    if place is not None and not place.is_file():
        place = presets("run").get(str(file), place)
    config = Config() if place is None else Config.load(place)
    added = _flat(inside)
    _refuse_own(added, "base", str(path))
    named = set() if place is None else set(_flat(tomllib.loads(place.read_text("utf-8-sig"))))
    return Config.from_flat(config.to_flat() | added, f"{path}: base"), named | set(added)


def _flat(table: Mapping[str, Any]) -> dict[str, Any]:
    """Sections and dotted keys alike, as dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= (
            {f"{key}.{name}": v for name, v in value.items()} if isinstance(value, Mapping) else {key: value}
        )
    return flat


def _refuse_own(keys: Iterable[str], where: str, origin: str) -> None:
    for key in keys:
        if key in _OWN:
            raise ConfigError(f"{origin}: {where}: {key} is the sweep's own: each cell has its own folder")
        if key == "audit.processes":
            raise ConfigError(f"{origin}: {where}: {key} is the sweep's own: set sweep.processes")


def _axes(
    table: Mapping[str, Any], base: Config, audit: AuditSettings | None, fixed: frozenset[str], origin: str
) -> tuple[Axis, ...]:
    """The grid's axes in order.

    Args:
        table: The section `grid`.
        base: What cells share.
        audit: How they are audited.
        fixed: Settings of run and audit that were set by name: no shorthand changes them.
        origin: For errors.
    """
    flat = _flat(table)
    for key, values in flat.items():
        where = f"{origin}: grid.{key}"
        if not isinstance(values, list):
            raise ConfigError(f"{where} = {values!r} is not allowed; allowed: a list of values")
        if not values:
            raise ConfigError(f"{where} is empty; give at least one value")
    found = {
        key: _axis(key, values, fixed, f"{origin}: grid.{key}")
        for key, values in flat.items()
        if key != "seeds"
    }
    if "seeds" in flat:
        varied = {key for axis in found.values() for key in axis.keys}
        procedural = base.gallery.source == "atelier" and "gallery.source" not in varied
        found["seeds"] = _seeds(flat["seeds"], procedural, audit is not None, fixed | varied)
    by: dict[str, str] = {}
    for key in flat:
        axis = found[key]
        _check_points(axis, key, base, audit, origin)
        for name in axis.keys:
            if name in by:
                raise ConfigError(f"{origin}: {name} is set by grid.{by[name]} and by grid.{key}")
            by[name] = key
    return tuple(found[key] for key in flat)


def _check_points(axis: Axis, key: str, base: Config, audit: AuditSettings | None, origin: str) -> None:
    where = f"{origin}: grid.{key}"
    resolved: dict[str, object] = {}
    for point in axis.points:
        _refuse_own(point.settings, f"grid.{key}", origin)
        if "audit.record" in point.settings:
            raise ConfigError(f"{where}: audit.record is the sweep's own: all artists of audited cells")
        # Unknown keys and values that are not allowed are refused here, by name.
        settled = Config.from_flat({**base.to_flat(), **_of_run(point.settings)}, where)
        changes = _of_audit(point.settings)
        audited = audit and _changed_audit(audit, changes, where, "audit.")
        same = (settled, audited)
        if point.name in resolved or same in resolved.values():
            raise ConfigError(f"{where} has {point.name!r} twice, or twice the same settings")
        resolved[point.name] = same


def _axis(key: str, values: Sequence[Any], fixed: frozenset[str], where: str) -> Axis:
    if key == "epsilons":
        return Axis(EPSILON, tuple(_epsilon(value, where) for value in values))
    if key == "audits":
        key, name = "audit.preset", AUDIT
    else:
        name = key
    if all(isinstance(value, Mapping) for value in values):
        return Axis(name, tuple(_named(value, fixed, where) for value in values))
    if "." not in key:
        known = ["seeds", "epsilons", "audits", *(row["key"] for row in Config.describe()), *AUDIT_KEYS]
        raise ConfigError(f"{where} is no setting{did_you_mean(key, known)}")
    return Axis(name, tuple(Point(_said(v), _with_preset({key: v}, fixed, where)) for v in values))


def _seeds(values: Sequence[Any], procedural: bool, audited: bool, taken: Iterable[str]) -> Axis:
    """Replicates of the whole experiment: pictures where a program draws them, training, and audit.

    Cells of one seed have the same pictures whatever else differs, so they can be compared in pairs.
    """
    keys = ["run.seed"]
    if procedural and "gallery.seed" not in taken:
        keys.append("gallery.seed")
    if audited and "audit.seed" not in taken:
        keys.append("audit.seed")
    return Axis(SEED, tuple(Point(_said(seed), dict.fromkeys(keys, seed)) for seed in values))


def _with_preset(settings: Mapping[str, Any], fixed: frozenset[str], where: str) -> dict[str, Any]:
    """A preset of the audit with all that it stands for, but for what the sweep or the point sets itself."""
    name = settings.get("audit.preset")
    if name is None:
        return dict(settings)
    try:
        preset = AuditSettings.from_preset(str(name))
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    budget = {f"audit.{key}": getattr(preset, key) for key in _BUDGET if f"audit.{key}" not in fixed}
    return budget | dict(settings)


def _epsilon(value: object, where: str) -> Point:
    if value == "none":
        return Point(NO_DP, {"privacy.dp": "off"})
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"{where}: {value!r} is not allowed; allowed: a number, or 'none' for no DP")
    return Point(_said(value), {"privacy.dp": "on", "privacy.target_epsilon": float(value)})


def _named(value: Mapping[str, Any], fixed: frozenset[str], where: str) -> Point:
    name = value.get("name")
    if not isinstance(name, str) or not name.strip():
        raise ConfigError(
            f"{where}: every point needs a name, such as {{ name = 'no DP', 'privacy.dp' = 'off' }}"
        )
    settings = _flat({key: inside for key, inside in value.items() if key != "name"})
    return Point(name, _with_preset(settings, fixed, where))


def _said(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ", ".join(_said(one) for one in value) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _sets_audit(key: str, points: object) -> bool:
    """Whether an axis changes how cells are audited."""
    if key == "audits" or key in AUDIT_KEYS:
        return True
    named = [point for point in points if isinstance(point, Mapping)] if isinstance(points, list) else []
    return any(set(_flat(point)) & set(AUDIT_KEYS) for point in named)


def _audit(asked: object, origin: str) -> AuditSettings | None:
    if asked == "none":
        return None
    if isinstance(asked, str):
        asked = {"preset": asked}
    if not isinstance(asked, Mapping):
        raise ConfigError(f"{origin}: sweep.audit = {asked!r} is not allowed; allowed: a preset or 'none'")
    changes = {key: value for key, value in asked.items() if key != "preset"}
    for key in changes:
        if key not in AuditSettings.model_fields:
            near = did_you_mean(key, AuditSettings.model_fields)
            raise ConfigError(f"{origin}: unknown setting 'sweep.audit.{key}'{near}")
    if "processes" in changes:
        raise ConfigError(f"{origin}: sweep.audit.processes is the sweep's own: set sweep.processes")
    try:
        start = AuditSettings.from_preset(str(asked.get("preset", "quick")))
    except ConfigError as error:
        raise ConfigError(f"{origin}: sweep.audit: {error}") from None
    return _changed_audit(start, changes | {"processes": 1}, origin, "sweep.audit.")


def _changed_audit(start: AuditSettings, changes: Mapping[str, Any], origin: str, what: str) -> AuditSettings:
    try:
        return AuditSettings.model_validate(start.model_dump() | dict(changes))
    except ValidationError as error:
        problem = error.errors()[0]
        key = f"{what}{problem['loc'][0]}"
        raise ConfigError(
            f"{origin}: {key} = {problem['input']!r} is not allowed: {problem['msg']}"
        ) from None


def _checked(value: Any, kind: type, key: str, allowed: str, origin: str) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ConfigError(f"{origin}: {key} = {value!r} is not allowed; allowed: {allowed}")
    return value
