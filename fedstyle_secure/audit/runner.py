"""Runs an audit: jobs in processes, what is done kept on disk, and a folder at the end that can be signed."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attacks.errors import AttackError
from attacks.pool import in_processes
from fedstyle_secure.audit.catalogue import Known, catalogue
from fedstyle_secure.audit.curves import Curve, CurveFile, curve_file
from fedstyle_secure.audit.exposed_works import exposed_file, histogram_file
from fedstyle_secure.audit.exposure import write_exposed
from fedstyle_secure.audit.findings import (
    COLUMNS,
    FORMAT,
    Finding,
    intended,
    read_about,
    read_findings,
    write_findings,
)
from fedstyle_secure.audit.integrity import check_finished
from fedstyle_secure.audit.measures import Outcome
from fedstyle_secure.audit.scene import Scene
from fedstyle_secure.audit.settings import AuditSettings
from fedstyle_secure.audit.views import Item, View, views_of
from fedstyle_secure.errors import AuditError, RunError
from fedstyle_secure.files import file_sha256, read_json, write_text
from fedstyle_secure.frames import frame
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.system import AnySystem
from fedstyle_secure.threads import one_thread, one_thread_for_good
from fedstyle_secure.version import __version__

if TYPE_CHECKING:
    import pandas

_PACKAGES = ("torch", "opacus", "flwr", "tenseal", "numpy", "scipy", "dp-accounting")

_ROUNDS_AN_ATTACK = 2
"""On the demo, a run of drawing and one of eight artists attacks took 2, 1.5 and 6.5 rounds each."""

OnJob = Callable[[str, int, int, float], None]
"""Called with the attack that is done, jobs done, jobs in all, and seconds left as estimated."""


@dataclass(frozen=True)
class Audit:
    """A finished audit.

    Attributes:
        folder: Where it lies.
        findings: All rows.
        about: What `audit.json` says.
    """

    folder: Path
    findings: tuple[Finding, ...]
    about: Mapping[str, Any]

    @property
    def alarms(self) -> tuple[Finding, ...]:
        """Rows above what the guarantee allows."""
        return tuple(finding for finding in self.findings if finding.alarm)

    def to_pandas(self) -> pandas.DataFrame:
        """A row a finding, as in a report's `findings.csv`. Raises ConfigError where pandas is missing."""
        return frame((finding.to_row() for finding in self.findings), COLUMNS)

    @classmethod
    def open(cls, run: RunFolder) -> Audit:
        """Read a finished audit.

        Raises:
            AuditError: There is none, or its files cannot be read.
        """
        folder = run.audit_folder
        about = read_about(folder / "audit.json")
        return cls(folder, tuple(read_findings(folder / "findings.json")), about)


def audit(
    run: RunFolder | Path | str,
    settings: AuditSettings | None = None,
    *,
    force: bool = False,
    on_job: OnJob | None = None,
    on_start: Callable[[Estimate], None] | None = None,
) -> Audit:
    """Attack a finished run under every adversary view, and write `audit/` into its folder.

    An audit that was interrupted goes on: what was done with the same settings on the same files is kept.

    Args:
        run: A finished run.
        settings: Of the audit; the preset `quick` where none are given.
        force: Audit again where an audit is there.
        on_job: Told of progress.
        on_start: Told, once the run has been checked, what is to be done.

    Raises:
        RunError: The run is not finished, or an audit is there.
        AuditError: A file of the run is missing or edited, or the settings do not fit the run.
    """
    folder = run if isinstance(run, RunFolder) else RunFolder(Path(run))
    settings = settings or AuditSettings()
    home = folder.audit_folder
    there = (home / "audit.json").exists()
    if there and not force:
        raise RunError(f"{home}: holds an audit; `--force` makes it anew")
    inputs = check_finished(folder, studios=folder.studios).sums
    if there:
        shutil.rmtree(home)
    began, started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), time.perf_counter()
    scene_facts = _Facts.of(folder, settings)
    jobs = list(_jobs(scene_facts))
    key = _key(settings, inputs)
    if on_start is not None:
        on_start(Estimate.of(folder, settings, len(jobs)))
    done = _run_jobs(folder, settings, jobs, home / "jobs", key, on_job)
    system = scene_facts.system
    findings = [row for view in scene_facts.views for row in _rows(system, view, done, settings.seed)]
    write_findings(home / "findings.json", findings)
    shutil.rmtree(home / "jobs")
    about = {
        "format": FORMAT,
        "run": folder.identity,
        "preset": settings.label,
        "seed": settings.seed,
        "settings": settings.model_dump(mode="json"),
        "began": began,
        "wall_s": round(time.perf_counter() - started, 1),
        "versions": {"fedstyle-secure": __version__}
        | {name: metadata.version(name) for name in _PACKAGES},
        "show_pictures": settings.show_pictures,
        "artists": list(scene_facts.artists),
        "views": [view.to_dict() for view in scene_facts.views],
        "attacks": [
            {
                "key": k.card.key, "name": k.card.name, "explains": k.card.explains,
                "category": k.card.category, "level": k.card.level, "purpose": k.purpose,
                "cites": [cited.to_dict() for cited in k.card.cites],
            }
            for k in catalogue(system)
        ],
        "inputs": dict(inputs),
        "files": {p.name: file_sha256(p) for p in sorted(home.iterdir()) if p.is_file()},
    }  # fmt: skip
    write_text(home / "audit.json", json.dumps(about, indent=1) + "\n")
    return Audit.open(folder)


@dataclass(frozen=True)
class Estimate:
    """What an audit is about to do, and how long that may take.

    Attributes:
        attacks: To be run, each on one thing that views hold.
        round_s: Seconds of a round of the run, the median of those after the first.
        processes: At a time.
    """

    attacks: int
    round_s: float
    processes: int

    @classmethod
    def of(cls, run: RunFolder, settings: AuditSettings, attacks: int) -> Estimate:
        """From a finished run's metrics."""
        seconds = [line["seconds"] for line in run.metrics()]
        return cls(attacks, statistics.median(seconds[1:] or seconds or [0.0]), _workers(settings, attacks))

    @property
    def seconds(self) -> float:
        """Wall time, roughly."""
        return self.attacks * _ROUNDS_AN_ATTACK * self.round_s / max(1, self.processes)

    def __str__(self) -> str:
        return (
            f"{self.attacks} attacks, {self.processes} at a time: about {self.seconds:.0f} s, if an attack "
            f"takes as long as {_ROUNDS_AN_ATTACK} of this run's rounds ({self.round_s:.1f} s each). That is "
            "a guess, for some settings several times off; it is replaced as attacks are done."
        )


@dataclass(frozen=True)
class _Facts:
    system: AnySystem
    views: tuple[View, ...]
    artists: tuple[str, ...]

    @classmethod
    def of(cls, run: RunFolder, settings: AuditSettings) -> _Facts:
        scene = Scene(run, settings)
        views = views_of(
            scene.config,
            scene.plan,
            scene.system.words,
            scene.roster_length,
            settings.colluders,
            settings.without,
        )
        return cls(scene.system, tuple(views), scene.artists)


@dataclass(frozen=True)
class _Job:
    """One attack on one thing that views hold; several views may share it."""

    attack: str
    item: Item

    @property
    def name(self) -> str:
        return f"{self.attack}-{self.item}"


def _jobs(facts: _Facts) -> list[_Job]:
    wanted: dict[_Job, None] = {}
    for known in catalogue(facts.system):
        for view in facts.views:
            item = known.item(view)
            if item is not None and known.run is not None:
                wanted[_Job(known.card.key, item)] = None
    return list(wanted)


def _rows(system: AnySystem, view: View, done: Mapping[str, Sequence[Finding]], seed: int) -> list[Finding]:
    """A view's rows, those of what was not run too."""
    found: list[Finding] = []
    for known in catalogue(system):
        item = known.item(view)
        if item is None:
            found.append(known.card.blank(seed, known.refusal(view)))
        elif known.run is None:
            found.append(known.card.blank(seed, known.absent))
        else:
            found += done[_Job(known.card.key, item).name]
    return [replace(finding, view=view.key) for finding in found]


def _run_jobs(
    run: RunFolder, settings: AuditSettings, jobs: Sequence[_Job], kept: Path, key: str, on_job: OnJob | None
) -> dict[str, list[Finding]]:
    kept.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[Finding]] = {}
    for job in jobs:
        path = kept / f"{job.name}.json"
        if path.exists() and (done := read_json(path, dict, AuditError)).get("key") == key:
            found[job.name] = [Finding.from_dict(row) for row in done["findings"]]
    _clear(kept.parent, found)
    left = [job for job in jobs if job.name not in found]
    started, before = time.perf_counter(), len(found)
    for job, rows in _done(run, settings, left):
        write_text(kept / f"{job.name}.json", json.dumps({"key": key, "findings": rows}))
        found[job.name] = [Finding.from_dict(row) for row in rows]
        if on_job is not None:
            spent, fresh = time.perf_counter() - started, len(found) - before
            on_job(job.attack, len(found), len(jobs), spent / fresh * (len(jobs) - len(found)))
    return found


def _clear(home: Path, found: Mapping[str, Sequence[Finding]]) -> None:
    """Take away what an interrupted audit left and no kept job names: no picture outlives its setting."""
    named = {name for rows in found.values() for row in rows for name in (*row.pictures, row.curve) if name}
    stems = {Path(name).stem for name in named}
    curves = {row.curve for rows in found.values() for row in rows if row.curve}
    stems |= {Path(name(curve)).stem for curve in curves for name in (exposed_file, histogram_file)}
    for path in home.iterdir():
        if path.is_file() and path.stem not in stems:
            path.unlink()
    for path in (home / "jobs").iterdir():
        if path.stem not in found:
            path.unlink()


def _done(
    run: RunFolder, settings: AuditSettings, jobs: Sequence[_Job]
) -> Iterator[tuple[_Job, list[dict[str, Any]]]]:
    """Jobs as they are done, here or in processes of their own."""
    workers = _workers(settings, len(jobs))
    if workers == 0:
        return
    if workers == 1:
        with one_thread():
            scene = Scene(run, settings)
            for job in jobs:
                yield job, _attack(scene, job.attack, job.item)
        return
    text = settings.model_dump_json()
    with closing(
        in_processes(
            _run_job,
            lambda job: (run, text, job.attack, job.item.value),
            jobs,
            workers,
            begin=one_thread_for_good,
        )
    ) as ended:
        for done in ended:
            if done.killed:
                raise AuditError(
                    f"the process that ran {done.task.attack!r} was ended {done.killed}, perhaps for lack of "
                    "memory; what was done is kept, so run it again, with fewer processes"
                )
            yield done.task, done.value


def _workers(settings: AuditSettings, jobs: int) -> int:
    return min(settings.processes or os.cpu_count() or 1, jobs)


@lru_cache(maxsize=1)
def _scene(run: RunFolder, settings: str) -> Scene:
    """One scene a process: preparing pictures takes longer than most attacks."""
    return Scene(run, AuditSettings.model_validate_json(settings))


def _run_job(run: RunFolder, settings: str, attack: str, item: str) -> list[dict[str, Any]]:
    """In a process of its own."""
    return _attack(_scene(run, settings), attack, Item(item))


def _attack(scene: Scene, attack: str, item: Item) -> list[dict[str, Any]]:
    """Run an attack, write its pictures, give its rows back."""
    known: Known = next(k for k in catalogue(scene.system) if k.card.key == attack)
    assert known.run is not None
    try:
        outcome = known.run(scene, item)
    except (AuditError, AttackError) as error:
        return [known.card.blank(scene.settings.seed, str(error)).to_dict()]
    home = scene.run.audit_folder
    rows = list(outcome.findings)
    if known.purpose:
        gone = [artist for artist in scene.artists if artist in scene.withdrawn]
        rows = [intended(row, known.purpose, gone) for row in rows]
    if outcome.roc is not None:
        curve = _draw_curve(home / f"roc_{attack}_{item}", known, outcome, scene.settings.confidence)
        rows = [replace(row, curve=curve) for row in rows]
        if outcome.scored is not None:
            write_exposed(scene, curve, outcome.scored, outcome.roc[0])
    if outcome.panel is not None and scene.settings.show_pictures and not scene.withdrawn:
        from attacks.sheet import contact_sheet

        panel, name = outcome.panel, f"pictures_{attack}.png"
        sheet = contact_sheet(panel.truths, panel.columns, panel.title, panel.labels, picked=panel.picked)
        sheet.save(home / name)
        rows = [replace(row, pictures=(name,)) for row in rows]
    return [row.to_dict() for row in rows]


def _draw_curve(path: Path, known: Known, outcome: Outcome, confidence: float) -> str:
    """Draw a curve, and keep the figures behind it beside it."""
    from attacks.plots import Limits, roc_figure, write_figure

    assert outcome.roc is not None
    assert outcome.scored is not None
    limit: Any
    scores, limit = outcome.roc
    pair = None if limit is None else limit.pair()
    limits = None if pair is None else Limits(pair[0], pair[1], limit.curve)
    undefended = outcome.scored.undefended
    figure = roc_figure({known.card.name: scores}, limits, confidence=confidence, undefended=undefended)
    png, _ = write_figure(figure, path)
    run, control = (Curve.of(some, confidence) for some in (scores, undefended))
    kept = CurveFile(confidence, run, _allowed(limits, run.fpr), _allowed(limits, run.fpr_high), control)
    kept.write(path.with_name(curve_file(png.name)))
    return png.name


def _allowed(limits: Any, fpr: Sequence[float]) -> tuple[float, ...] | None:
    """The largest TPR that the guarantee allows at some FPRs; None where none follows."""
    import numpy as np

    from attacks.tradeoff import dp_limit

    if limits is None:
        return None
    there = np.array(fpr)
    highest = dp_limit(there, limits.epsilon, limits.delta)
    exact = highest if limits.exact is None else limits.exact(there)
    return tuple(map(float, np.minimum(highest, exact)))


def _key(settings: AuditSettings, inputs: Mapping[str, str]) -> str:
    """What a kept job depends on."""
    text = json.dumps([__version__, FORMAT, settings.model_dump(mode="json"), dict(inputs)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
