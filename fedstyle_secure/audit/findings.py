"""What an audit found: one row an attack under a view, with what it stands on, and its file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, Literal, Self, get_args

from fedstyle_secure.errors import AuditError
from fedstyle_secure.files import read_json, write_text

Verdict = Literal["leaks", "by design", "not broken by this attack", "inconclusive", "not run"]
"""What is said of an attack. `by design`: it succeeds at what something is published for, by artists who
agreed to that and have not withdrawn; without their consent the same figure is a leak."""

Level = Literal["L0", "L1", "L2", "L3", "L4", "L5"]

LEVELS: Mapping[Level, str] = {
    "L0": "participation of the artist",
    "L1": "membership of an artwork",
    "L2": "the artist is recognisable",
    "L3": "style attributes",
    "L4": "a recognisable artwork",
    "L5": "a near copy of an artwork",
}

Category = Literal[
    "membership inference",
    "attribute inference",
    "exfiltration",
    "regurgitation",
    "model inversion",
    "reconstruction",
]
"""The attacks that EDPB Opinion 28/2024, paragraph 55, names."""


Metric = Literal[
    "membership AUC",
    "participation AUC",
    "TPR at an FPR",
    "identification rate",
    "near copies",
    "style named rightly",
    "main style named rightly",
    "artist named rightly",
    "letters named rightly",
    "epsilon lower bound",
    "reconstruction PSNR",
]
"""What a figure measures. These names are compared; a number that belongs to one has a field of its own."""

MEMBERSHIP: Final = "membership AUC"
RATE: Final = "TPR at an FPR"
IDENTIFICATION: Final = "identification rate"
PROVEN: Final = "epsilon lower bound"
"""What canaries prove; planted records are the worst case, so it answers nothing about pictures."""

FORMAT = 2
"""Version of an audit's files. In 1 a rate stood inside the metric's name."""

NO_RECORD = "the run kept no record of its messages (audit.record)"
"""Why attacks on messages cannot be run on many a run."""


@dataclass(frozen=True)
class Finding:
    """One measurement, or the place where one is missing.

    Attributes:
        view: The adversary view's key.
        attack: The attack's name.
        target: An artist, or `all`.
        unit: What the attack is after: an artwork or an artist; a record of a model that is not ours.
        metric: What was measured.
        value: The figure; None where nothing was run.
        low: Lower end of the interval, or None.
        high: Upper end of the interval, or None.
        confidence: Of the interval, or None.
        n: How many trials the figure stands on.
        baseline: What one gets without looking: the larger of chance and the blind baseline; or None.
        bound: The most that the guarantee allows, on the metric's scale; None where there is no guarantee.
        verdict: See `judge` and `intended`.
        seconds: Wall time.
        seed: Of the attack.
        level: How much artwork this would leak.
        category: The class of attack.
        fpr: The false-positive rate of a `TPR at an FPR`, in (0, 1), as it was asked for; else None.
        reason: Why it was not run or is inconclusive, or what the verdict stands on, in one sentence.
        method: How the figure and its interval were made.
        control: The positive control's figure: the same attack where nothing is defended; or None.
        budget: What the attack could spend, in words.
        pictures: Files in the audit's folder: contact sheets.
        curve: File in the audit's folder with the ROC, or "".
        details: Further figures by name.
    """

    view: str
    attack: str
    target: str
    unit: Literal["artwork", "artist", "record"]
    metric: Metric
    value: float | None
    low: float | None
    high: float | None
    confidence: float | None
    n: int
    baseline: float | None
    bound: float | None
    verdict: Verdict
    seconds: float
    seed: int
    level: Level
    category: Category
    fpr: float | None = None
    reason: str = ""
    method: str = ""
    control: float | None = None
    budget: str = ""
    pictures: tuple[str, ...] = ()
    curve: str = ""
    details: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.verdict not in get_args(Verdict) or self.level not in LEVELS:
            raise AuditError(f"finding {self.attack!r}: verdict {self.verdict!r}, level {self.level!r}")
        if self.metric not in get_args(Metric):
            raise AuditError(
                f"finding {self.attack!r}: metric {self.metric!r} is none of {', '.join(get_args(Metric))}"
            )
        rate = isinstance(self.fpr, float) and 0 < self.fpr < 1
        if rate != (self.metric == RATE) or not (rate or self.fpr is None):
            raise AuditError(
                f"finding {self.attack!r}: fpr {self.fpr!r}: a {RATE} has one between 0 and 1, others none"
            )
        if self.verdict == "not run" and not self.reason:
            raise AuditError(f"finding {self.attack!r}: say why it was not run")
        if (self.verdict == "not run") != (self.value is None):
            raise AuditError(f"finding {self.attack!r}: a figure exactly where something was run")
        if self.value is not None and self.n < 1:
            raise AuditError(f"finding {self.attack!r}: a figure that stands on {self.n} trials")
        numbers = (
            self.value, self.low, self.high, self.baseline, self.bound, self.control, self.confidence,
            self.seconds,
        )  # fmt: skip
        if not all(math.isfinite(x) for x in (*numbers, *self.details.values()) if x is not None):
            raise AuditError(f"finding {self.attack!r}: a figure is not finite")

    @property
    def alarm(self) -> bool:
        """Whether the measurement lies above what the guarantee allows, beyond its interval.

        Then the defence or the attack has a bug.
        """
        return self.bound is not None and self.low is not None and self.low > self.bound

    @property
    def quantity(self) -> str:
        """What was measured, in words: the metric, with the rate that belongs to it."""
        return self.metric if self.fpr is None else f"{self.metric} of {self.fpr}"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read back what `to_dict` gave. Raises AuditError naming a key that is missing or unknown."""
        known = {f.name for f in fields(cls)}
        if strange := sorted(set(values) ^ known):
            raise AuditError(f"finding: key {strange[0]!r} is unknown or missing")
        return cls(**{**values, "pictures": tuple(values["pictures"])})

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def to_row(self) -> dict[str, Any]:
        """For tables: the same, and whether it is an alarm."""
        return self.to_dict() | {"alarm": self.alarm}


_NUMBERS = ("value", "low", "high", "confidence", "baseline", "bound", "seconds", "fpr", "control")
_OTHERS = {"n": "whole", "seed": "whole", "alarm": "yes or no", "pictures": "other", "details": "other"}
COLUMNS: Mapping[str, str] = {
    name: "number" if name in _NUMBERS else _OTHERS.get(name, "text")
    for name in (*(field.name for field in fields(Finding)), "alarm")
}
"""Of a table of findings: what each column's cells are, in words of `frames.frame`."""


def not_run(template: Finding, reason: str) -> Finding:
    """The same row without a figure."""
    return replace(
        template, value=None, low=None, high=None, confidence=None, n=0, baseline=None, bound=None,
        verdict="not run", seconds=0.0, reason=reason, control=None, pictures=(), curve="", details={},
    )  # fmt: skip


def judge(leaks: bool, control_won: bool, able: bool) -> Verdict:
    """The verdict on an attack that was run.

    Args:
        leaks: Whether its figure lies above what one gets without looking, its whole interval with it.
        control_won: Whether the attack wins where nothing is defended.
        able: Whether the best figure possible, with as many trials, would have been called a leak.

    Returns:
        `leaks`, whatever the control did; else `inconclusive` where the attack could not have shown a leak.
    """
    if leaks:
        return "leaks"
    return "not broken by this attack" if control_won and able else "inconclusive"


def intended(finding: Finding, purpose: str, withdrawn: Sequence[str]) -> Finding:
    """A finding of an attack that does what something is published for.

    Where it leaks, and no one whose publication it works on has withdrawn, it is `by design`; else it stays a
    leak, and says whose consent is missing.

    Args:
        finding: Of such an attack.
        purpose: What is published for what, in a sentence.
        withdrawn: Those of the attacked artists who have withdrawn, as far as anybody here can tell.
    """
    if finding.verdict not in ("leaks", "by design") or finding.alarm:
        return finding
    gone = f"no longer agreed to by {', '.join(withdrawn)}" if withdrawn else ""
    reason = "; ".join(dict.fromkeys(filter(None, (purpose, gone, finding.reason))))
    return replace(finding, verdict="leaks" if withdrawn else "by design", reason=reason)


def read_about(path: Path) -> dict[str, Any]:
    """What an `audit.json` says. Raises AuditError where it is missing, damaged, or of another format."""
    about = read_json(path, dict, AuditError)
    found = about.get("format")
    if found != FORMAT:
        raise AuditError(
            f"{path}: format {found!r} is not known, this reads {FORMAT}; `fedstyle audit --force` makes "
            "it anew"
        )
    return about


def attack_keys(about: Mapping[str, Any]) -> dict[str, str]:
    """Keys of an audit's attacks by their names, as its `audit.json` says; {} says nothing."""
    return {attack["name"]: attack["key"] for attack in about.get("attacks", ())}


def write_findings(path: Path, findings: Sequence[Finding]) -> None:
    """Write a JSON list."""
    text = json.dumps([finding.to_dict() for finding in findings], indent=1, allow_nan=False)
    write_text(path, text + "\n")


def read_findings(path: Path) -> list[Finding]:
    """Read a JSON list. Raises AuditError naming the file."""
    if not path.exists():
        raise AuditError(f"{path}: no findings; run `fedstyle audit` first")
    rows = read_json(path, list, AuditError)
    try:
        return [Finding.from_dict(row) for row in rows]
    except (ValueError, TypeError, AttributeError, ArithmeticError, AuditError) as error:
        raise AuditError(f"{path}: cannot be read: {error}") from None
