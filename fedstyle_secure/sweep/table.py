"""A sweep's results as a table: one row a cell, every column with its unit and what it means."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fedstyle_secure.audit.findings import IDENTIFICATION, MEMBERSHIP, PROVEN, Finding, Verdict, attack_keys
from fedstyle_secure.audit.settings import AuditSettings
from fedstyle_secure.errors import AuditError
from fedstyle_secure.files import atomic, read_json, write_json
from fedstyle_secure.registry import words_named
from fedstyle_secure.spreadsheet import guarded
from fedstyle_secure.sweep.grid import AUDIT_KEYS, Grid

if TYPE_CHECKING:
    from fedstyle_secure.sweep.cells import CellFolder

Kind = Literal["text", "number", "whole", "yes or no"]
Row = Mapping[str, Any]

VIEWS = ("platform", "worst")
"""Columns of leakage begin with one of these: the platform's view, and the worst over all views."""

INVERSION = "Inversion of an update"
AUC, RATE = "membership_auc", "identification_rate"

_ALWAYS = (
    "run.seed", "secure_sum.enabled", "secure_sum.updates", "privacy.dp", "privacy.unit",
    "privacy.target_epsilon", "privacy.delta",
)  # fmt: skip
_WORST_FIRST: Sequence[Verdict] = (
    "leaks", "inconclusive", "by design", "not broken by this attack", "not run",
)  # fmt: skip

FAIRNESS: Mapping[str, tuple[Kind, str, str]] = {
    "smallest": (
        "number",
        "share",
        "Headline, mean over artists with the smallest portfolios, a quarter of all.",
    ),
    "largest": ("number", "share", "The same of the largest."),
    "gap_after": ("number", "share", "Largest less smallest portfolios; empty where sizes hardly differ."),
    "gap_before": ("number", "share", "The same before any private training."),
    "lowest": (
        "number",
        "share",
        "Headline of the artist for whom it is lowest; low by chance alone, of many.",
    ),
    "least_gain": ("number", "share", "By how much it moved where private training helped least."),
    "fell": ("whole", "artists", "Artists whose headline fell by private training."),
    "label_gap_after": (
        "number",
        "share",
        "Label with the highest mean over artists less that with the lowest.",
    ),
    "label_gap_before": ("number", "share", "The same before any private training."),
}
"""Columns that say whom a run serves, `fairness.` before their names: kind, unit, meaning."""

_TIME: Mapping[str, tuple[str, str]] = {
    "wall_s": ("s", "Wall time of the training."),
    "per_round_s": ("s", "Median wall time of a round."),
    "peak_rss_mb": ("MiB", "Peak memory of the cell's process up to the end of its training."),
}
_FIGURES: Mapping[str, str] = {
    "": "{}",
    "_low": "{} Lower end of its interval.",
    "_high": "{} Upper end of its interval.",
    "_baseline": "{} What is reached without looking: the larger of chance and the blind guess.",
    "_bound": "{} The most that the guarantee allows; empty without one.",
}


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        name: As in the files.
        kind: What its cells are; any of them may be empty.
        unit: Of measurement; "" where it has none.
        meaning: In a sentence.
    """

    name: str
    kind: Kind
    unit: str
    meaning: str


@dataclass(frozen=True)
class Table:
    """Columns and rows.

    Attributes:
        columns: In order.
        rows: A value for each column; None is empty.
    """

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    def write(self, folder: Path) -> tuple[Path, ...]:
        """Write `results.csv`, `results.parquet` and `columns.json`; an empty cell is an empty cell.

        In the CSV file, texts that a spreadsheet would take for a formula have an apostrophe in front.
        """
        import pyarrow as pa
        from pyarrow import csv, parquet

        types = {"text": pa.string(), "number": pa.float64(), "whole": pa.int64(), "yes or no": pa.bool_()}
        schema = pa.schema([pa.field(column.name, types[column.kind]) for column in self.columns])
        table = pa.Table.from_pylist([dict(row) for row in self.rows], schema=schema)
        safe = [{key: guarded(v) if isinstance(v, str) else v for key, v in row.items()} for row in self.rows]
        names = [guarded(column.name) for column in self.columns]
        shown = pa.Table.from_pylist(safe, schema=schema).rename_columns(names)
        files = tuple(folder / name for name in ("results.csv", "results.parquet", "columns.json"))
        writers = ((files[0], shown, csv.write_csv), (files[1], table, parquet.write_table))
        for file, content, write in writers:
            with atomic(file) as new:
                write(content, new)
        write_json(files[2], [asdict(column) for column in self.columns])
        return files

    @classmethod
    def read(cls, folder: Path) -> Table:
        """Read `results.parquet` and `columns.json`. Raises OSError, ValueError or AuditError where they are
        damaged."""
        from pyarrow import parquet

        columns = read_json(folder / "columns.json", list, AuditError)
        rows = parquet.read_table(folder / "results.parquet").to_pylist()
        return cls(tuple(Column(**column) for column in columns), tuple(rows))


def tabulate(grid: Grid, cells: Sequence[CellFolder], root: Path) -> Table:
    """One row a cell, unfinished and failed ones too.

    Args:
        grid: What was asked for.
        cells: Its cells, with their folders.
        root: The sweep's folder.

    Raises:
        AuditError: A finished cell's files are damaged, or were made with other settings.
        RunError: As that.
    """
    attacks: dict[str, str] = {}
    rows = []
    for folder in cells:
        row = _asked(grid, folder, root)
        if folder.finished:
            about, findings = folder.audit()
            names = attack_keys(about)
            attacks |= {f.attack: names[f.attack] for f in findings if f.metric == MEMBERSHIP}
            row |= measured(folder.summary(), about, findings)
        rows.append(row)
    columns = tuple(sorted(_columns(grid, attacks, rows), key=_first(grid)))
    return Table(columns, tuple({column.name: row.get(column.name) for column in columns} for row in rows))


def measured(
    summary: Mapping[str, Any], about: Mapping[str, Any], findings: Sequence[Finding]
) -> dict[str, Any]:
    """A finished cell's figures, by column: utility, cost and leakage.

    Args:
        summary: Its run's `summary.json`.
        about: Its `audit.json`; {} where it is not audited.
        findings: Of the audit.
    """
    row = _measured(summary) | _fairness(summary) | _leakage(findings, attack_keys(about))
    return row | {"time.audit_s": about.get("wall_s")}


def _asked(grid: Grid, folder: CellFolder, root: Path) -> dict[str, Any]:
    cell = folder.cell
    flat = cell.config.to_flat()
    row: dict[str, Any] = {
        "cell": folder.path.name,
        "folder": str(folder.path.relative_to(root)),
        "state": "finished" if folder.finished else "failed" if folder.error else "not finished",
        "error": folder.error or None,
    }
    row |= {f"axis.{axis}": point for axis, point in cell.points.items()}
    audit = settings_of(cell.audit)
    row |= {key: audit[key] if key in AUDIT_KEYS else flat[key] for key in _settings(grid)}
    if cell.config.privacy.dp == "off" or cell.config.privacy.noise_multiplier != "auto":
        row["privacy.target_epsilon"] = None
    return row


def settings_of(audit: AuditSettings | None) -> dict[str, Any]:
    """How a cell is audited, by the keys that an axis has; several values are one text. {} for no audit."""
    values = {} if audit is None else audit.model_dump(exclude={"processes"})
    return {
        f"audit.{key}": ", ".join(str(one) for one in value) if isinstance(value, tuple) else value
        for key, value in values.items()
    }


def _settings(grid: Grid) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*_ALWAYS, *grid.keys)))


def _measured(summary: Mapping[str, Any]) -> dict[str, Any]:
    figures = words_named(summary["system"]).figures
    return {
        f"{section}.{key}": summary[section].get(key)
        for section, keys in (
            ("utility", tuple(figure.key for figure in figures)),
            ("privacy", ("epsilon_artwork_max", "epsilon_artist_max")),
            ("time", tuple(_TIME)),
        )
        for key in keys
    }


def _fairness(summary: Mapping[str, Any]) -> dict[str, Any]:
    found = summary["utility"].get("fairness") or {}
    taken = {
        "smallest": (found.get("smallest") or {}).get("after"),
        "largest": (found.get("largest") or {}).get("after"),
        "lowest": (found.get("lowest") or {}).get("after"),
        "least_gain": (found.get("hardest_hit") or {}).get("gain"),
    }
    return {f"fairness.{key}": taken[key] if key in taken else found.get(key) for key in FAIRNESS}


def _leakage(findings: Sequence[Finding], keys: Mapping[str, str]) -> dict[str, Any]:
    if not findings:
        return {}
    # What several views hold is measured once, and stands in a row of each.
    alarms = {(f.attack, f.quantity, f.target, f.value) for f in findings if f.alarm}
    row: dict[str, Any] = {"alarms": len(alarms)}
    for view in VIEWS:
        seen = [f for f in findings if f.view == view or view == "worst"]
        heads = [f for f in seen if f.target == "all" and f.value is not None]
        rates = [f for f in heads if f.attack == INVERSION and f.metric == IDENTIFICATION]
        areas = [f for f in heads if f.metric == MEMBERSHIP]
        row |= _figures(f"{view}.{RATE}", rates, view)
        row |= _figures(f"{view}.{AUC}", areas, view)
        bounds = [f.bound for f in areas if f.bound is not None]
        row[f"{view}.{AUC}_bound"] = max(bounds) if bounds and len(bounds) == len(areas) else None
        row[f"{view}.{AUC}_attack"] = _worst(areas).attack if areas else None
        row[f"{view}.{AUC}_attacks"] = len({f.attack for f in areas}) if areas else None
        row[f"{view}.{RATE}_not_run"] = (
            None
            if rates
            else _why_not(f for f in seen if f.attack == INVERSION and f.metric == IDENTIFICATION)
        )
        row[f"{view}.{AUC}_not_run"] = None if areas else _why_not(f for f in seen if f.metric == MEMBERSHIP)
        for attack in dict.fromkeys(f.attack for f in areas):
            own = [f for f in areas if f.attack == attack]
            row |= _figures(f"{view}.auc.{keys[attack]}", own, view)
        row[f"{view}.verdict"] = _verdict(seen)
        row[f"{view}.verdict_artwork"] = _verdict(
            f for f in seen if f.unit == "artwork" and f.metric != PROVEN
        )
    return row


def _why_not(findings: Iterable[Finding]) -> str | None:
    """Why there is no figure, as the audit says."""
    reasons = dict.fromkeys(f.reason for f in findings if f.value is None and f.reason)
    return "; ".join(reasons) or None


def _figures(name: str, findings: Sequence[Finding], view: str) -> dict[str, Any]:
    if not findings:
        return {}
    worst = _worst(findings)
    figures = {
        "": worst.value, "_low": worst.low, "_high": worst.high, "_baseline": worst.baseline,
        "_bound": worst.bound,
    }  # fmt: skip
    where = {f"{name}_view": worst.view} if view == "worst" else {}
    return {f"{name}{ending}": value for ending, value in figures.items()} | where


def _verdict(findings: Iterable[Finding]) -> Verdict | None:
    verdicts = {finding.verdict for finding in findings}
    return next((verdict for verdict in _WORST_FIRST if verdict in verdicts), None)


def _worst(findings: Iterable[Finding]) -> Finding:
    """The largest figure; the first of equal ones."""
    return max(findings, key=lambda f: (f.value is not None, f.value))


def _columns(grid: Grid, attacks: Mapping[str, str], rows: Sequence[Row]) -> Iterable[Column]:
    yield Column("cell", "text", "", "The cell's name: its point on each axis, and a hash of its settings.")
    yield Column("folder", "text", "", "Its folder within the sweep's.")
    yield Column("state", "text", "", "finished, failed, or not finished.")
    yield Column("error", "text", "", "Why it failed.")
    for axis in grid.axes:
        yield Column(f"axis.{axis.name}", "text", "", f"Name of its point on the axis {axis.name!r}.")
    help_of = {row["key"]: row["help"] for row in type(grid.base).describe()}
    help_of |= {key: f"Of the audit: {_audit_help(key)}" for key in AUDIT_KEYS}
    for key in _settings(grid):
        noted = " Empty where noise does not follow from it." if key == "privacy.target_epsilon" else ""
        yield Column(key, _kind(row[key] for row in rows), "", f"Setting: {help_of[key]}{noted}")
    for figure in words_named(grid.base.run.system).figures:
        yield Column(f"utility.{figure.key}", figure.kind, figure.unit, figure.meaning)
    for name, (kind, unit, meaning) in FAIRNESS.items():
        yield Column(f"fairness.{name}", kind, unit, f"Experimenter's: {meaning[0].lower()}{meaning[1:]}")
    for of in ("artwork", "artist"):
        meaning = (
            f"Largest epsilon of any artist in this cell by itself, composed over all its releases at "
            f"privacy.delta, add or remove one {of}; empty: no guarantee."
            " It leaves out what the other cells of the sweep would cost."
        )
        yield Column(f"privacy.epsilon_{of}_max", "number", "epsilon", meaning)
    for key, (unit, meaning) in _TIME.items():
        yield Column(f"time.{key}", "number", unit, meaning)
    if grid.audit is not None:
        yield Column("time.audit_s", "number", "s", "Wall time of the audit.")
        yield from _leak_columns(attacks)


def _first(grid: Grid) -> Callable[[Column], int]:
    """Where a column stands: what people read first, and then everything else in its own order."""
    headline = words_named(grid.base.run.system).headlines[0]
    first = (
        "cell",
        *(f"axis.{axis.name}" for axis in grid.axes),
        "state",
        f"privacy.epsilon_{grid.base.privacy.unit}_max",
        f"utility.{headline.key}",
        f"utility.{headline.start}",
        *(f"platform.{AUC}{ending}" for ending in ("", "_low", "_high", "_bound")),
        f"platform.{RATE}",
        "worst.verdict_artwork",
        "time.wall_s",
    )
    place = {name: number for number, name in enumerate(first)}
    return lambda column: place.get(column.name, len(place))


def _audit_help(key: str) -> str:
    return AuditSettings.model_fields[key.partition(".")[2]].description or ""


def _leak_columns(attacks: Mapping[str, str]) -> Iterable[Column]:
    yield Column("alarms", "whole", "measurements", "How many lie above what the guarantee allows.")
    for view, whose in zip(
        VIEWS, ("in the platform's view.", "in the view where it is largest."), strict=True
    ):
        verdict = f"Worst verdict of all attacks{{}}, {_in(view)}.{{}}"
        meant = " Cards are published to be found by, so linking one to its artist is meant to succeed."
        yield Column(f"{view}.verdict", "text", "", verdict.format("", meant))
        single = verdict.format(" that are after a single artwork", " Planted records are left out.")
        yield Column(f"{view}.verdict_artwork", "text", "", single)
        rate = f"Pictures that {INVERSION!r} ranks first among candidates, {whose}"
        yield from _figure_columns(f"{view}.{RATE}", rate, view)
        yield Column(f"{view}.{RATE}_not_run", "text", "", "Why there is no such figure, as the audit says.")
        largest = (
            f"Largest AUC of all membership attacks, {whose} The largest of several lies above one half by "
            "chance alone; interval and baseline are that attack's own, the bound is the loosest of all."
        )
        yield from _figure_columns(f"{view}.{AUC}", largest, view)
        yield Column(f"{view}.{AUC}_attack", "text", "", "The attack that it belongs to.")
        many = "Over how many attacks it is the largest; more attacks reach more by chance alone."
        yield Column(f"{view}.{AUC}_attacks", "whole", "attacks", many)
        yield Column(f"{view}.{AUC}_not_run", "text", "", "Why there is no such figure, as the audit says.")
        for name, key in attacks.items():
            yield from _figure_columns(f"{view}.auc.{key}", f"AUC of {name!r}, {whose}", view)


def _in(view: str) -> str:
    return "in the platform's view" if view == "platform" else "over all views"


def _figure_columns(name: str, meaning: str, view: str) -> Iterable[Column]:
    for ending, words in _FIGURES.items():
        yield Column(f"{name}{ending}", "number", "share", words.format(meaning))
    if view == "worst":
        yield Column(f"{name}_view", "text", "", "The view that it belongs to.")


def _kind(values: Iterable[Any]) -> Kind:
    """What a setting's values are; texts and numbers together are text."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return "yes or no"
    if kinds == {int}:
        return "whole"
    return "number" if kinds and kinds <= {int, float} else "text"
