"""The commands that look at a finished run: attack it, report on it, hold it against a policy."""

from __future__ import annotations

import itertools
import math
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedstyle_secure.errors import AuditError, ConfigError, PolicyError, pasted, resumable
from fedstyle_secure.privacy.figures import epsilon_told
from fedstyle_secure.shipped import file_of
from fedstyle_secure.terminal import (
    AsJson,
    OpenerKey,
    StudiosPath,
    heartbeat,
    print_json,
    require_folder,
    say,
    short,
    table,
)
from fedstyle_secure.visible import visible

if TYPE_CHECKING:
    from fedstyle_secure.audit.findings import Finding
    from fedstyle_secure.audit.reach import Reach
    from fedstyle_secure.audit.runner import Audit, Estimate
    from fedstyle_secure.audit.settings import AuditSettings
    from fedstyle_secure.policy.points import Point
    from fedstyle_secure.report.held import Check
    from fedstyle_secure.runs import RunFolder

app = typer.Typer()

_SHORT = {
    "leaks": "leaks",
    "by design": "by design",
    "not broken by this attack": "not broken",
    "inconclusive": "inconclusive",
    "not run": "not run",
}


class FigureFor(StrEnum):
    """What a sweep's figures are for."""

    screen = "screen"
    paper = "paper"


RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="The run's folder.", show_default=False)]


@app.command()
def audit(
    run: RunPath,
    config: Annotated[
        Path | None,
        typer.Argument(
            help="TOML file, or a preset's name: audit_quick, audit_standard, audit_deep.",
            show_default="preset",
        ),
    ] = None,
    preset: Annotated[str, typer.Option(help="quick, standard or deep, where no file is given.")] = "quick",
    gallery: Annotated[
        Path | None,
        typer.Option(help="The folder of the artists' pictures.", show_default="where the run says"),
    ] = None,
    studios: StudiosPath = None,
    force: Annotated[bool, typer.Option("--force", help="Audit again where an audit is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Attack a finished run as each adversary could, and write what was found."""
    require_folder(run)
    from fedstyle_secure.audit.settings import AuditSettings
    from fedstyle_secure.runs import RunFolder

    settings = AuditSettings.load(file_of(config, "audit")) if config else AuditSettings.from_preset(preset)
    places = (("--gallery", gallery), ("--studios", studios))
    how = ((config,) if config else ("--preset", preset), *(pair for pair in places if pair[1]))
    found = run_audit(
        RunFolder(run, gallery and gallery.resolve(), studios and studios.resolve()),
        settings,
        force=force,
        quiet=as_json,
        again=pasted("fedstyle", "audit", run, *itertools.chain.from_iterable(how)),
    )
    if as_json:
        print_json([finding.to_dict() for finding in found.findings])
    else:
        show_audit(found)


@app.command()
def attacks(
    config: Annotated[
        Path | None,
        typer.Argument(help="TOML file of a run, or a preset's name.", show_default="no run"),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("-s", "--set", metavar="SECTION.KEY=VALUE", help="Override a setting; repeat."),
    ] = None,
    system: Annotated[str | None, typer.Option(help="Only attacks on this system.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the attacks of an audit: on what, from which paper, what each needs, its key in a policy."""
    from fedstyle_secure.audit.settings import PRESETS

    if config is not None and system is not None:
        raise ConfigError("--system is a run's own, which the configuration names: leave one of them out")
    rows = _attack_rows(system) if config is None else _attack_rows_of(config, settings or [])
    if as_json:
        print_json([row | {"presets": list(PRESETS)} for row in rows])
        return
    for row in rows:
        say(f"{row['key']}  {row['name']}  [{', '.join(row['systems'])}]")
        say(f"    {row['explains']}")
        say(f"    from: {row['source'] or 'this project'}; figure: {row['metric']}")
        record = "; the run must keep its messages (-s audit.record=all)" if row["recorded"] else ""
        say(f"    needs: {' or '.join(row['needs'])}{record}")
        if row["absent"]:
            say(f"    never run: {row['absent']}")
        elif "views" in row:
            held = ", ".join(row["views"])
            say(f"    in this run: {held}" if held else f"    in this run: nobody, as {row['why_not']}")
    say(
        f"Every preset of an audit ({', '.join(PRESETS)}) runs every attack that a view allows; presets "
        "differ in what attacks may spend. A policy names an attack by its key."
    )


def _attack_rows(system: str | None) -> list[dict[str, Any]]:
    """The attacks on one system or on all, each once."""
    from fedstyle_secure.audit.catalogue import catalogue, catalogues, told
    from fedstyle_secure.registry import system_named, systems

    found: dict[tuple[str, bool], dict[str, Any]] = {}
    every = catalogues() if system is None else {system: catalogue(system_named(system))}
    if system is None and (absent := [name for name in systems() if name not in every]):
        say(f"Without those on {', '.join(absent)}: `--system NAME` says what it lacks here", err=True)
    for name, known in ((name, known) for name, all_ in every.items() for known in all_):
        # A system may do what the house has no way to, under the same key.
        row = found.setdefault((known.card.key, known.run is None), told(known) | {"systems": []})
        row["systems"].append(name)
    return list(found.values())


def _attack_rows_of(config: Path, settings: list[str]) -> list[dict[str, Any]]:
    """The attacks on a run of these settings, with the views that each works on."""
    from fedstyle_secure.audit.catalogue import catalogue, told
    from fedstyle_secure.audit.views import views_of
    from fedstyle_secure.config import Config
    from fedstyle_secure.galleries.canaries import roster
    from fedstyle_secure.galleries.opening import open_gallery
    from fedstyle_secure.system import plan_of, system_bound

    loaded = Config.load(file_of(config, "run"), settings)
    artists = len(roster(loaded, open_gallery(loaded.gallery)))
    system = system_bound(loaded)
    views = views_of(loaded, plan_of(loaded, artists), system.words, artists, colluders=1)
    return [told(known, views) | {"systems": [loaded.run.system]} for known in catalogue(system)]


@app.command()
def report(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="RUN|SWEEP|AUDIT",
            help="A folder of a run, a sweep or an audit by `attacks`.",
            show_default=False,
        ),
    ],
    formats: Annotated[
        str,
        typer.Option(
            "--format", help="Of html, pdf, json and csv, joined by commas; of a run also sbom and crate."
        ),
    ] = "html,pdf,json,csv",
    out: Annotated[Path | None, typer.Option(help="Folder.", show_default="report/ in that folder")] = None,
    date: Annotated[
        str | None, typer.Option(help="Day that the report bears, YYYY-MM-DD.", show_default="today")
    ] = None,
    policy: Annotated[
        Path | None,
        typer.Option(help="TOML file that the first page holds it against.", show_default="nobody set one"),
    ] = None,
    sweep: Annotated[
        Path | None,
        typer.Option(help="A sweep of the same settings: measured alternatives.", show_default="none"),
    ] = None,
    opener: OpenerKey = None,
    studios: StudiosPath = None,
    as_json: AsJson = False,
) -> None:
    """Write one page on a run, sweep or own audit that an auditor can check and sign, as HTML and PDF."""
    policy = None if policy is None else file_of(policy, "policy")
    require_folder(path)
    from fedstyle_secure.policy.own import hold
    from fedstyle_secure.report.formats import report

    held = None if policy is None else hold(path, policy, opener, studios)
    names = tuple(name.strip() for name in formats.split(","))
    written = report(path, names, out, date, opener, studios, held, sweep)
    if as_json:
        print_json({"written": [str(path) for path in written]})
        return
    for path in written:
        say(f"{short(path.absolute())}")


@app.command()
def track(
    run: RunPath,
    to: Annotated[str, typer.Option("--to", help="mlflow, tensorboard or wandb.", show_default=False)],
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            metavar="FOLDER|URI",
            help="A folder, or a tracking server of MLflow.",
            show_default="mlruns, tensorboard or wandb",
        ),
    ] = None,
    studios: StudiosPath = None,
    as_json: AsJson = False,
) -> None:
    """Write a finished run's figures, findings and report into a tracker; W&B stays offline."""
    require_folder(run)
    from fedstyle_secure.tracking.track import track as write

    *files, place = write(run, to, at, studios)
    if as_json:
        print_json({"files": files, "place": place})
        return
    say(f"{', '.join(files)}")
    say(f"and the figures of every round lie in {place}")


@app.command()
def check(
    run: RunPath,
    policy: Annotated[Path, typer.Option(help="TOML file; the preset `policy` is one.", show_default=False)],
    junit: Annotated[Path | None, typer.Option(help="Write the checks as JUnit XML.")] = None,
    sarif: Annotated[Path | None, typer.Option(help="Write the checks as SARIF.")] = None,
    each: Annotated[
        bool, typer.Option("--each", help="Every view, figure and artist by itself, in the files too.")
    ] = False,
    opener: OpenerKey = None,
    studios: StudiosPath = None,
    as_json: AsJson = False,
) -> None:
    """Hold a run and its audit, or an own audit, against a policy; exit code 9 where it is not met."""
    policy = file_of(policy, "policy")
    require_folder(run)
    import json

    from fedstyle_secure.policy.formats import to_junit, to_sarif
    from fedstyle_secure.policy.own import all_checks
    from fedstyle_secure.policy.points import points

    done = all_checks(run, policy, opener, studios)
    told: list[Check | Point] = [*done] if each else [*points(done)]
    if junit is not None:
        junit.write_bytes(to_junit(told))
    if sarif is not None:
        sarif.write_text(json.dumps(to_sarif(told), indent=2), encoding="utf-8")
    failed = [one for one in told if one.problem]
    if as_json:
        print_json([{"line": c.line, "key": c.key, "subject": c.subject, "problem": c.problem} for c in done])
    else:
        for one in failed:
            say(str(one))
        met = sum(not one.problem for one in done)
        say(
            f"{met} of {len(done)} checks met"
            + ("" if each else f", in {len(told)} points (`--each` tells them one by one)")
        )
    if failed:
        bad = sum(bool(one.problem) for one in done)
        raise PolicyError(f"{policy}: {bad} of {len(done)} checks are not met, in {len(failed)} lines")


@app.command()
def sweep(
    grid: Annotated[
        Path,
        typer.Argument(help="TOML file with a grid, or a preset's name: tradeoff ...", show_default=False),
    ],
    out: Annotated[
        Path | None, typer.Option(help="The sweep's folder.", show_default="runs/NAME OF THE GRID")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on; finished cells are kept.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Delete a sweep that is there.")] = False,
    figure: Annotated[
        FigureFor, typer.Option(help="paper: also PDFs that fit a column of a paper.")
    ] = FigureFor.screen,
    as_json: AsJson = False,
) -> None:
    """Train and audit every cell of a grid; write tables and plots of privacy against utility."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from fedstyle_secure.sweep.runner import sweep as run_sweep

    grid = file_of(grid, "sweep")
    folder = out or Path("runs") / grid.stem
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True, quiet=as_json)
    pulse = heartbeat(console)
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("cells", total=None)

        def on_cell(name: str, error: str, done: int, of: int, left: float) -> None:
            note = "cells" if math.isnan(left) else f"cells, about {left / 60:.0f} min left"
            progress.update(task, description=note, completed=done, total=of)
            pulse.beat(f"{done} of {of} {note}", last=done == of)
            if error:
                progress.console.print(visible(f"{name} failed: {error}"), markup=False)

        try:
            found = run_sweep(
                grid, folder, resume=resume, force=force, paper=figure is FigureFor.paper, on_cell=on_cell,
            )  # fmt: skip
        except KeyboardInterrupt:
            progress.stop()
            how = pasted("fedstyle", "sweep", grid, "--out", folder, "--resume")
            print(f"fedstyle: interrupted; this goes on with it:\n  {how}", file=sys.stderr)
            raise SystemExit(130) from None
    if as_json:
        print_json({**found.about, "folder": str(found.folder), "rows": list(found.table.rows)})
    else:
        cost = found.about["tuning_cost"]
        together = cost["epsilon_artwork"]
        say(f"{len(found.table.rows)} cells, {len(found.failed)} failed")
        say(f"results.csv, results.parquet and plots lie in {short(found.folder.absolute())}")
        say(
            f"{cost['note']} All cells together, per artwork: {_epsilon(together['all_cells'])}; the "
            f"{together['cells_with_a_guarantee']} with a guarantee: {_epsilon(together['those_cells'])}."
        )
    if found.failed:
        raise AuditError(f"{len(found.failed)} cells failed; --resume tries them again")


def _epsilon(value: float | None) -> str:
    return ("" if value is None else "epsilon ") + epsilon_told(value)


def run_audit(run: RunFolder, settings: AuditSettings, *, force: bool, quiet: bool, again: str) -> Audit:
    """Audit with a progress bar that says what time is left; `again` goes on where it is interrupted."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

    from fedstyle_secure.audit.runner import audit

    columns = (
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[left]}"),
    )  # fmt: skip
    console = Console(stderr=True, quiet=quiet)
    pulse = heartbeat(console)
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("opening the run", total=None, left="")

        def on_start(estimate: Estimate) -> None:
            could = reach_of(run, settings)
            for line in (str(estimate), *(could.lines() if could else ())):
                console.print(visible(line), markup=False, highlight=False)

        def on_job(name: str, done: int, of: int, left: float) -> None:
            remaining = f"about {left:.0f} s left" if left else ""
            progress.update(task, description=name, completed=done, total=of, left=remaining)
            after = f", {remaining}" if remaining else ""
            pulse.beat(f"{done} of {of} attacks, {name} done{after}", last=done == of)

        try:
            with resumable(run.audit_folder, f"this goes on with what was done: `{again}`"):
                return audit(run, settings, force=force, on_job=on_job, on_start=on_start)
        except KeyboardInterrupt:
            progress.stop()
            print(f"fedstyle: interrupted; this goes on with what was done:\n  {again}", file=sys.stderr)
            raise SystemExit(130) from None


def reach_of(run: RunFolder, settings: AuditSettings | None = None) -> Reach | None:
    """What an audit of a finished run could tell; None where its artists' works were not counted."""
    from fedstyle_secure.audit.reach import reach
    from fedstyle_secure.audit.settings import AuditSettings
    from fedstyle_secure.registry import system_named

    rows = [row for row in run.manifest()["gallery"]["artists"] if not row["public"]]
    works = [(row["train"], row["test"]) for row in rows]
    dear = system_named(run.summary()["system"]).dear
    return reach(works, settings or AuditSettings(), dear=dear)


def show_audit(found: Audit) -> None:
    """What leaks under which view, the alarms first."""
    for row in found.alarms:
        say(
            f"ALARM: {row.view}: {row.attack}: {row.quantity} {row.value:.3g}, at least {row.low:.3g}, and "
            f"the guarantee allows {row.bound:.3g}: a bug in the defence or in the attack"
        )
    if found.about["settings"]["without"]:
        say(
            f"WHAT IF: this audit assumes that the run lacks {', '.join(found.about['settings']['without'])}."
        )
    headlines = {view["key"]: _headlines(found, view["key"]) for view in found.about["views"]}
    rows = [(view["name"], *_counts(headlines[view["key"]])) for view in found.about["views"]]
    table("Attacks by what an adversary holds", ("view", *_SHORT.values()), rows)
    told: dict[tuple[str, str], list[str]] = {}
    for view in found.about["views"]:
        for row in headlines[view["key"]]:
            if row.verdict in ("leaks", "by design"):
                word = "Leaks" if row.verdict == "leaks" else "By design"
                told.setdefault((word, _said(row)), []).append(view["name"].lower())
    for (word, said), names in sorted(told.items(), reverse=True):
        say(f"{word} {said}: {', '.join(names)}")
    for line in (_hardest_hit(found), _proven(found), _unrecorded(found)):
        if line:
            say(line)
    say('"Not broken" means by these attacks within their budget, and nothing more.')
    say(f"The findings lie in {short(found.folder.absolute())}")


def _headlines(found: Audit, view: str) -> list[Finding]:
    """The first row of each attack."""
    rows: dict[str, Finding] = {}
    for finding in found.findings:
        if finding.view == view:
            rows.setdefault(finding.attack, finding)
    return list(rows.values())


def _counts(rows: list[Finding]) -> tuple[str, ...]:
    return tuple(str(sum(row.verdict == verdict for row in rows)) for verdict in _SHORT)


def _said(row: Finding) -> str:
    from fedstyle_secure.audit.findings import LEVELS

    return f"{LEVELS[row.level]}: {row.attack}, {_figure(row)}"


def _figure(row: Finding) -> str:
    high = row.value if row.high is None else row.high
    return f"{row.quantity} {row.value:.2f} [{row.low:.2f}, {high:.2f}]"


def _hardest_hit(found: Audit) -> str:
    """The single artist with the largest figure, which a mean over artists can hide."""
    single = [row for row in found.findings if row.target != "all" and row.value is not None]
    if not single:
        return ""
    top = max(single, key=lambda row: (row.value or 0.0) - (row.baseline or 0.0))
    return f"Largest figure of a single artist: {top.target}: {top.attack}, {_figure(top)}, {top.verdict}"


def _proven(found: Audit) -> str:
    from fedstyle_secure.audit.findings import PROVEN

    rows = [row for row in found.findings if row.metric == PROVEN and row.value is not None]
    if not rows:
        return ""
    top = max(rows, key=lambda row: row.value or 0.0)
    allowed = epsilon_told(top.bound)
    proved = math.floor(100 * (top.value or 0.0)) / 100
    return f"Planted records prove at least epsilon {proved:.2f}, where the ledger states {allowed}"


def _unrecorded(found: Audit) -> str:
    from fedstyle_secure.audit.findings import NO_RECORD

    if any(NO_RECORD in row.reason for row in found.findings):
        return f"Attacks on messages were not run: {NO_RECORD}; train with -s audit.record=all"
    return ""
