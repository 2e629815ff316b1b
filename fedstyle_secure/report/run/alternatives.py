"""Other settings of the same run, as a sweep measured them: what they leak and how well they serve."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import Any

from fedstyle_secure.audit.findings import PROVEN, Finding
from fedstyle_secure.config import Config
from fedstyle_secure.errors import AuditError
from fedstyle_secure.report.run.facts import Facts
from fedstyle_secure.report.sweep.facts import Combination, SweepFacts
from fedstyle_secure.sweep.grid import SEED

_APART = frozenset({"run.seed", "run.studios", "audit.record"})
"""Settings that may differ between a run and a sweep of it: chance, a place, and what the auditor keeps."""

_ALIKE = ("without", "colluders", "artists", "targets", "candidates", "rounds", "tried")
"""Settings of an audit without which two figures of one attack cannot be compared."""


def alternatives(facts: Facts, sweep: SweepFacts) -> dict[str, Any]:
    """What a sweep of a run's configuration measured, for `report.json`.

    Returns:
        `sweep`: its name; `sha256`: of its results; `here`: the run's headline; `rows`: the combinations
        other than the run's own, those first that leak least and serve best, each with `name`, `epsilon`,
        `utility` (mean over seeds), `seeds`, `leaks`, `ended` (attacks that leak in the run and not there),
        `stay`, and `better`: whether it leaks less, or serves better and leaks nothing.

    Raises:
        AuditError: The sweep is of another system or configuration, or was not audited as the run was; names
            the setting.
    """
    name, own = sweep.sweep.folder.resolve().name, leaking(facts)
    _require_same(facts, sweep, name)
    utility = facts.summary["utility"]
    told = facts.words.headline(utility)
    here = None if told is None else utility[told.key]
    column = None if told is None else f"utility.{told.key}"
    rows = [
        row
        for one in sweep.combinations
        if one.done and (row := _row(facts, sweep, one, own, here, column)) is not None
    ]
    rows.sort(key=lambda row: (len(row["leaks"]), -(row["utility"] or 0.0)))
    return {"sweep": name, "sha256": sweep.own["hashes"]["results.csv"], "here": here, "rows": rows}


def leaking(facts: Facts) -> dict[str, Finding]:
    """Attacks that leak, by design ones and what planted records prove left out, each with its worst finding
    over all artists, or of one."""
    found: dict[str, Finding] = {}
    for finding in facts.findings:
        if finding.verdict != "leaks" or finding.metric == PROVEN:
            continue
        old = found.get(finding.attack)
        if old is None or (finding.target == "all", finding.value or 0.0) > (
            old.target == "all",
            old.value or 0.0,
        ):
            found[finding.attack] = finding
    return found


def _row(
    facts: Facts,
    sweep: SweepFacts,
    one: Combination,
    own: Mapping[str, Finding],
    here: float | None,
    column: str | None,
) -> dict[str, Any] | None:
    runs = [sweep.runs[i] for i in one.done]
    if any(run.audit is None for run in runs):
        return None
    chance = {"run.seed"} | {key for axis in sweep.axes if axis.name == SEED for key in axis.keys}
    if all(_apart(facts.config, run.config) <= chance for run in runs):
        return None  # The run itself.
    there: dict[str, Finding] = {}
    for run in runs:
        there |= leaking(run)
    values = [sweep.rows[i][column] for i in one.done] if column else []
    known = [value for value in values if value is not None]
    utility = fmean(known) if known else None
    spent = [sweep.epsilon(i) for i in one.done]
    axes = [axis for axis in sweep.axes if axis.name != SEED]
    removed = [_ended(runs, attack) for attack in own if attack not in there]
    ended = [row for row in removed if row]
    more = utility is not None and here is not None and utility > here
    fewer = set(there) < set(own) and len(ended) == len(removed)
    return {
        "name": ", ".join(f"{axis.name} {sweep.rows[one.done[0]][f'axis.{axis.name}']}" for axis in axes),
        "epsilon": max(spent) if max(spent) < float("inf") else None,
        "utility": utility, "seeds": len(one.done), "leaks": sorted(there),
        "ended": ended, "stay": sorted(set(there) & set(own)),
        "better": fewer or (not own and not there and more),
    }  # fmt: skip


def _ended(runs: list[Facts], attack: str) -> dict[str, Any] | None:
    """An attack's largest figure over all artists in some runs; None where it did not run in one of them, as
    what nobody looked for has not ended."""
    found = []
    for run in runs:
        same = [f for f in run.findings if (f.attack, f.target) == (attack, "all") and f.fpr is None]
        ran = [f for f in same if f.verdict in ("not broken by this attack", "leaks", "by design")]
        if not ran:
            return None
        found.append(max(ran, key=lambda f: f.value or 0.0))
    top = max(found, key=lambda f: f.value or 0.0)
    return {"attack": attack, "there": top.value, "baseline": top.baseline}


def _require_same(facts: Facts, sweep: SweepFacts, name: str) -> None:
    """Refuse what would compare one thing with another."""
    if not sweep.runs:
        raise AuditError(f"sweep {name}: no cell of it is finished")
    varied = {key for axis in sweep.axes for key in axis.keys}
    for place, run in sweep.runs.items():
        cell = sweep.rows[place]["cell"]
        if run.config.run.system != facts.config.run.system:
            raise AuditError(
                f"sweep {name}: cell {cell} is of run.system = {run.config.run.system!r}, and this run of "
                f"{facts.config.run.system!r}; give a sweep of the same system"
            )
        others = sorted(_apart(facts.config, run.config) - varied - _APART)
        if others:
            key = others[0]
            mine, theirs = facts.config.to_flat()[key], run.config.to_flat()[key]
            raise AuditError(
                f"sweep {name}: cell {cell} has {key} = {theirs!r}, and this run {mine!r}; give a sweep "
                "whose base is this run's config.toml"
            )
        same_seed = run.config.run.seed == facts.config.run.seed
        digests = [one.manifest["gallery"]["digest"] for one in (run, facts)]
        if same_seed and digests[0] != digests[1] and "gallery.path" not in varied:
            raise AuditError(f"sweep {name}: cell {cell} was made of another gallery than this run")
        if run.audit is not None and facts.audit is not None:
            for key in _ALIKE:
                mine, theirs = facts.audit["settings"][key], run.audit["settings"][key]
                if mine != theirs and f"audit.{key}" not in varied:
                    raise AuditError(
                        f"sweep {name}: cell {cell} was audited with {key} = {theirs!r}, and this run with "
                        f"{mine!r}; audit both alike"
                    )


def _apart(one: Config, other: Config) -> set[str]:
    """Settings that differ."""
    mine, theirs = one.to_flat(), other.to_flat()
    return {key for key in mine.keys() | theirs.keys() if mine.get(key) != theirs.get(key)}
