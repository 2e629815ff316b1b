"""A run in short: its figures, its guarantee, and what its audit found in each view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from fedstyle_secure.audit.findings import Finding, Verdict, read_about, read_findings
from fedstyle_secure.files import read_json
from fedstyle_secure.registry import words_named
from fedstyle_secure.runs import RunFolder

VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


@dataclass(frozen=True)
class Told:
    """A fact with its words.

    Attributes:
        key: In `summary.json`, or "".
        told: What it is.
        value: Printed.
        note: What belongs to it, or "".
    """

    key: str
    told: str
    value: Any
    note: str = ""


@dataclass(frozen=True)
class ViewRow:
    """What an audit found in one view.

    Attributes:
        key: Of the view.
        name: Of the view.
        who: Who that is.
        counts: Attacks by verdict, each counted by its first row, in the order of `VERDICTS`.
    """

    key: str
    name: str
    who: str
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Audited:
    """A run's audit.

    Attributes:
        about: `audit.json`.
        findings: `findings.json`, in its order.
    """

    about: Mapping[str, Any]
    findings: tuple[Finding, ...]

    @property
    def views(self) -> Mapping[str, str]:
        """Names of views by their keys."""
        return {view["key"]: view["name"] for view in self.about["views"]}


@dataclass(frozen=True)
class RunPage:
    """One run.

    Attributes:
        state: In words.
        facts: What it is.
        figures: Of utility.
        guarantee: Epsilon by unit with what belongs to it.
        views: A row a view; empty without an audit.
        alarms: Findings above their bound, with their places.
        canaries: How many were planted.
        assumed: Defences that the audit assumed to be missing.
    """

    state: str
    facts: Sequence[Told]
    figures: Sequence[Told] = ()
    guarantee: Sequence[Told] = ()
    views: Sequence[ViewRow] = ()
    alarms: Sequence[tuple[int, Finding]] = ()
    canaries: int = 0
    assumed: Sequence[str] = ()


def audit_of(run: RunFolder) -> Audited | None:
    """A run's audit; None where there is none. Raises AuditError where it is damaged."""
    if not (run.audit_folder / "audit.json").is_file():
        return None
    about = read_about(run.audit_folder / "audit.json")
    return Audited(about, tuple(read_findings(run.audit_folder / "findings.json")))


def run_page(run: RunFolder) -> RunPage:
    """What a run's files say of it."""
    flat = run.config().to_flat()
    facts = [
        Told("", key, flat[key])
        for key in (
            "run.system", "run.rounds", "run.seed", "gallery.source", "privacy.dp", "privacy.unit",
            "privacy.noise", "secure_sum.enabled",
        )
    ]  # fmt: skip
    if not run.finished:
        return RunPage(run.state, facts)
    summary, audited = run.summary(), audit_of(run)
    utility, words = summary["utility"], words_named(summary["system"])
    figures = [
        Told(f"utility.{one.key}", one.told, utility[one.key])
        for one in words.figures
        if utility.get(one.key) is not None
    ]
    privacy = summary["privacy"]
    how = f"add or remove one, at delta {privacy['delta']:g}"
    guarantee = [
        Told("privacy.epsilon_artwork_max", "per artwork", privacy["epsilon_artwork_max"], how),
        Told("privacy.epsilon_artist_max", "per artist", privacy["epsilon_artist_max"], how),
    ]
    planted = read_json(run.manifest_file, dict).get("audit", {}).get("canaries", {}).get("number", 0)
    if audited is None:
        return RunPage(run.state, facts, figures, guarantee, canaries=planted)
    return RunPage(
        state=run.state,
        facts=facts,
        figures=figures,
        guarantee=guarantee,
        views=[_view(view, audited.findings) for view in audited.about["views"]],
        alarms=[(i, finding) for i, finding in enumerate(audited.findings) if finding.alarm],
        canaries=planted,
        assumed=audited.about["settings"]["without"],
    )


def _view(view: Mapping[str, Any], findings: Sequence[Finding]) -> ViewRow:
    first: dict[str, Finding] = {}
    for finding in findings:
        if finding.view == view["key"]:
            first.setdefault(finding.attack, finding)
    counts = tuple(sum(one.verdict == verdict for one in first.values()) for verdict in VERDICTS)
    return ViewRow(view["key"], view["name"], view["who"], counts)
