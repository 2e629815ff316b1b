"""What an audit found, as one object: it prints in three lines, and becomes a table or a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from attacks.auditing.files import write_audit
from attacks.auditing.findings import Check, Claim, Row, Subject, Verdict
from attacks.errors import AttackError
from attacks.plots import AttackScores

if TYPE_CHECKING:
    import pandas

_COLUMNS = ("attack", "metric", "fpr", "value", "low", "high", "baseline", "bound", "control", "n", "verdict")
_CAVEAT = "Not broken means by these attacks within their budget, and nothing more."


@dataclass(frozen=True, eq=False)
class Audit:
    """An audit's rows and checks.

    Attributes:
        subject: What was audited.
        rows: A figure each.
        checks: What must hold.
        claim: What was claimed, or None.
        about: Numbers and texts that the figures stand on: records, seed, versions, notes.
        curves: Scores of members and of non-members by attack.

    Example:
        >>> found = Audit("scores", (Row("mine", "membership AUC", "leaks", 0.9, 0.8, 0.95, n=60),))
        >>> print(found)
        leaks: mine: membership AUC 0.900 [0.800, 0.950]
        1 of 1 attacks leaks
        Not broken means by these attacks within their budget, and nothing more.
    """

    subject: Subject
    rows: tuple[Row, ...]
    checks: tuple[Check, ...] = ()
    claim: Claim | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    curves: Mapping[str, AttackScores] = field(default_factory=dict)

    @property
    def leaks(self) -> tuple[Row, ...]:
        """Rows with that verdict, the figure furthest above its baseline first."""
        found = [row for row in self.rows if row.verdict == "leaks"]
        return tuple(sorted(found, key=lambda row: (row.baseline or 0.0) - (row.value or 0.0)))

    @property
    def broken(self) -> tuple[Check, ...]:
        """Checks that do not hold."""
        return tuple(check for check in self.checks if check.holds is False)

    @property
    def alarms(self) -> tuple[Row, ...]:
        """Rows above what the claim allows."""
        return tuple(row for row in self.rows if row.alarm)

    @property
    def worst(self) -> Row | None:
        """The row that says most: above the claim, else leaking, else the first that was run."""
        headline = [row for row in self.rows if row.fpr is None and row.value is not None]
        leaking = [row for row in self.leaks if row.fpr is None]
        return next(iter((*self.alarms, *leaking, *self.leaks, *headline)), None)

    def row(self, attack: str, fpr: float | None = None) -> Row:
        """The row of an attack. Raises AttackError with the names that are there."""
        for row in self.rows:
            if row.attack == attack and row.fpr == fpr:
                return row
        known = ", ".join(dict.fromkeys(row.attack for row in self.rows))
        raise AttackError(f"this audit has no attack {attack!r} at FPR {fpr}; it has {known}")

    def __str__(self) -> str:
        """Three lines: what says most, how many attacks found what, and what follows from it."""
        worst = self.worst
        said = "ABOVE THE CLAIM" if worst is not None and worst.alarm else worst and worst.verdict
        first = "no attack was run" if worst is None else f"{said}: {str(worst).rpartition(': ')[0]}"
        return "\n".join((first, self._counts(), self._end()))

    __repr__ = __str__

    def _counts(self) -> str:
        attacks: dict[str, str] = {}
        order = get_args(Verdict)
        for row in self.rows:
            known = attacks.setdefault(row.attack, row.verdict)
            attacks[row.attack] = min(known, row.verdict, key=order.index)
        of = {verdict: [a for a, v in attacks.items() if v == verdict] for verdict in order}
        leaking = len(of["leaks"])
        parts = [f"{leaking} of {len(attacks)} attacks {'leaks' if leaking == 1 else 'leak'}"]
        for verdict, word in (("not broken by this attack", "not broken by"), *((v, v) for v in order[2:])):
            if of[verdict]:
                parts.append(f"{word}{'' if word.endswith('by') else ':'} {', '.join(of[verdict])}")
        return "; ".join(parts)

    def _end(self) -> str:
        broken = "; ".join(f"{check.name}: {check.says}" for check in self.broken)
        if broken:
            return f"DOES NOT HOLD: {broken}"
        held = [check.name for check in self.checks if check.holds]
        return (f"Holds: {', '.join(held)}. " if held else "") + _CAVEAT

    def to_pandas(self) -> pandas.DataFrame:
        """A row a figure, as a pandas frame. Raises AttackError where pandas is not installed."""
        try:
            import pandas
        except ImportError:
            raise AttackError("to_pandas needs pandas: pip install pandas; `rows` has the same") from None
        return pandas.DataFrame([asdict(row) for row in self.rows])

    def _repr_html_(self) -> str:
        """A table, as notebooks show it; texts are escaped."""
        head = "".join(f"<th>{name}</th>" for name in _COLUMNS)
        body = "".join(
            "<tr>" + "".join(f"<td>{_cell(getattr(row, name))}</td>" for name in _COLUMNS) + "</tr>"
            for row in self.rows
        )
        checks = "".join(f"<li>{escape(f'{c.name}: {_held(c)}: {c.says}')}</li>" for c in self.checks)
        said = "<br>".join(escape(line) for line in str(self).splitlines())
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        return f"<p>{said}</p>{table}" + (f"<ul>{checks}</ul>" if checks else "")

    def report(self, folder: Path | str) -> list[Path]:
        """Write the audit's files, and the pages that an installed reporter makes of them.

        See `attacks.auditing.files`. With fedstyle_secure installed these are the HTML, PDF, JSON and CSV of
        a run's report, and `fedstyle check FOLDER` judges the folder; without it a plain page.

        Args:
            folder: Made where it is not there; files of an earlier audit are replaced.

        Returns:
            What was written.
        """
        return write_audit(self, Path(folder))


def summed_up(audits: Sequence[Audit], subject: Subject) -> Audit:
    """Several audits of one thing as one; the last of two that name the same number or claim is taken."""
    return Audit(
        subject,
        tuple(row for audit in audits for row in audit.rows),
        tuple(check for audit in audits for check in audit.checks),
        next((audit.claim for audit in reversed(audits) if audit.claim is not None), None),
        {key: value for audit in audits for key, value in audit.about.items()},
        {name: scores for audit in audits for name, scores in audit.curves.items()},
    )


def _held(check: Check) -> str:
    return "not known" if check.holds is None else "holds" if check.holds else "does not hold"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else escape(str(value))
