"""What the artists of a run have given away: their ledgers, with figures."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedstyle_secure.errors import PrivacyError, RunError
from fedstyle_secure.files import read_json
from fedstyle_secure.galleries.opening import open_gallery
from fedstyle_secure.names import nfc
from fedstyle_secure.privacy.budget import budget_of
from fedstyle_secure.privacy.gate import withdraw as write_withdrawal
from fedstyle_secure.privacy.ledger import Entry, Ledger, entry_from_dict
from fedstyle_secure.privacy.statement import Accountant, Line, unguarded
from fedstyle_secure.privacy.units import Unit
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.spreadsheet import guarded
from fedstyle_secure.studios import found_studios, known_studios, studio_home


@dataclass(frozen=True)
class Account:
    """One artist's ledger.

    Attributes:
        artist: Whose.
        unit: Unit of privacy of the figures in `lines`, the run's.
        delta: At which delta.
        lines: Releases over all runs, oldest first.
        spent: Lifetime epsilon by unit; infinite: no guarantee, and `why_none` says why.
        left: What is left of the run's budget, in its unit; infinite: there is none.
        withdrawn: When the artist withdrew, or "".
        live: Whether this is the artist's ledger as it is now, not the run's copy of it.
        lifetime: Whether all runs are in it; over sites an artist states its releases of one.
    """

    artist: str
    unit: Unit
    delta: float
    lines: tuple[Line, ...]
    spent: dict[Unit, float]
    left: float
    withdrawn: str
    live: bool
    lifetime: bool

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Releases over all runs, oldest first."""
        return tuple(entry for line in self.lines for entry in line.entries)

    def why_none(self, unit: Unit) -> str:
        """Why there is no guarantee for a unit; "" where there is one."""
        return unguarded(self.entries, unit)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; infinity is null."""
        return {
            "artist": self.artist,
            "unit": self.unit,
            "delta": self.delta,
            "epsilon_artwork": _finite(self.spent["artwork"]),
            "epsilon_artist": _finite(self.spent["artist"]),
            "budget_left": _finite(self.left),
            "withdrawn": self.withdrawn or None,
            "live": self.live,
            "lifetime": self.lifetime,
            "no_guarantee": {unit: why for unit in self.spent if (why := self.why_none(unit))},
            "releases": [
                entry.to_dict()
                | {
                    "epsilon_rdp": _finite(line.rdp),
                    "epsilon_grid": _finite(line.grid),
                    "epsilon_total": _finite(line.total),
                }
                for line in self.lines
                for entry in line.entries
            ],
        }


@dataclass(frozen=True)
class Withdrawn:
    """A withdrawal that is written.

    Attributes:
        artist: Whose.
        at: When, UTC, ISO 8601 to the second; a second withdrawal finds the first one's time.
        ledger: The file that it was written into.
    """

    artist: str
    at: str
    ledger: Path


def accounts(
    run: RunFolder, artist: str | None = None, *, each: bool = False, studios: Path | None = None
) -> list[Account]:
    """The ledgers of a run's artists, over all runs that they took part in.

    Args:
        run: The run; it need not be finished.
        artist: Only this one.
        each: A line a release, not one for equal releases in a row.
        studios: Where the artists' own ledgers lie; None: where the run says, if they are there.

    Raises:
        RunError: There is no such run or artist, or these are not the run's studios.
        PrivacyError: A ledger is damaged or shortened; names the file and the line.
    """
    return accounts_in(run, found_studios(run, studios), artist, each=each)


def accounts_in(
    run: RunFolder, root: Path | None, artist: str | None = None, *, each: bool = False
) -> list[Account]:
    """The same from studios that are at hand: nothing looks for others.

    Args:
        run: The run; it need not be finished.
        root: The run's studios; None: the ledgers as a finished run left them.
        artist: Only this one.
        each: A line a release, not one for equal releases in a row.

    Raises:
        RunError, PrivacyError: As `accounts`.
    """
    config, kept = run.config(), _kept(run)
    accountant, budget = Accountant(config.privacy.delta), budget_of(config.privacy)
    found, over_sites = [], run.manifest_file.exists() and "federation" in run.manifest()
    for name in _chosen(run, _names(run), artist):
        home = studio_home(root, config.gallery, name) if root is not None else None
        entries, withdrawn, live = _read(home, name, kept.get(name))
        spent: dict[Unit, float] = {
            "artwork": accountant.spent(entries, "artwork"),
            "artist": accountant.spent(entries, "artist"),
        }
        lines = tuple(accountant.lines(entries, budget.unit, each=each))
        left = budget.left(spent[budget.unit])
        found.append(
            Account(name, budget.unit, budget.delta, lines, spent, left, withdrawn, live, not over_sites)
        )
    return found


def released(run: RunFolder, artist: str) -> tuple[Entry, ...]:
    """What an artist had released when a finished run ended, for other runs too; nothing of one whose ledger
    could not be read then."""
    return tuple(entry_from_dict(values) for values in _kept(run).get(artist) or ())


def write_csv(path: Path, found: Iterable[Account]) -> None:
    """Write every release with its figures, a row a release; an empty cell is no guarantee, or not known."""
    rows = [
        {
            "artist": guarded(account["artist"]),
            "withdrawn": account["withdrawn"],
            "delta": account["delta"],
        }
        | {key: _cell(value) for key, value in release.items()}
        for account in (a.to_dict() for a in found)
        for release in account["releases"]
    ]
    names = list(rows[0]) if rows else ["artist"]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)


def _cell(value: Any) -> Any:
    if isinstance(value, dict):
        return json.dumps(value)
    return guarded(value) if isinstance(value, str) else value


def withdraw(run: RunFolder, artist: str, studios: Path | None = None) -> Withdrawn:
    """Withdraw an artist of a run, for this run and every other one on its portfolio.

    Nothing in the run's folder changes: whoever serves it asks the artist's ledger.

    Args:
        run: The run.
        artist: Who withdraws.
        studios: Where the artists' own ledgers lie; None: where the run says.

    Raises:
        RunError: There is no such run or artist, or its studios are not there.
        PrivacyError: The ledger is damaged.
    """
    config = run.config()
    (artist,) = _chosen(run, _names(run), artist)
    home = studio_home(known_studios(run, studios), config.gallery, artist)
    if not home.is_dir():
        raise RunError(f"{home}: no such studio; it was there when the run was made, and holds the ledger")
    return Withdrawn(artist, write_withdrawal(home).at, home / "ledger.jsonl")


def _names(run: RunFolder) -> tuple[str, ...]:
    """A run's artists; one that has a manifest knows them without its pictures."""
    if run.finished:
        return tuple(_kept(run))
    if run.manifest_file.exists():
        rows = run.manifest()["gallery"]["artists"]
        return tuple(row["artist"] for row in rows if not row["public"])
    return open_gallery(run.config().gallery).artists


def _kept(run: RunFolder) -> dict[str, Any]:
    """The ledgers as a finished run left them, by artist; {} for a run that is not finished."""
    return read_json(run.ledger_file, dict) if run.finished else {}


def _chosen(run: RunFolder, names: tuple[str, ...], artist: str | None) -> tuple[str, ...]:
    if artist is None:
        return names
    found = tuple(name for name in names if nfc(name) == nfc(artist))
    if not found:
        raise RunError(f"{run.path}: {artist!r} is no artist of this run; it has {', '.join(names[:20])}")
    return found


def _read(
    home: Path | None, artist: str, kept: list[dict[str, Any]] | None
) -> tuple[tuple[Entry, ...], str, bool]:
    if home is None:
        return tuple(entry_from_dict(values) for values in kept or []), "", False
    ledger = Ledger(home / "ledger.jsonl")
    known = {(entry.run, entry.round, entry.kind) for entry in ledger.entries}
    lost = [e for e in kept or [] if (e["run"], e["round"], e["kind"]) not in known]
    if known and lost:
        raise PrivacyError(
            f"artist {artist!r}: its ledger lacks round {lost[0]['round']} of run {lost[0]['run'][:8]}, in "
            "which it released something; another ledger was put in its place"
        )
    if ledger.entries or ledger.withdrawal or not kept:
        return ledger.entries, ledger.withdrawal.at if ledger.withdrawal else "", True
    return tuple(entry_from_dict(values) for values in kept), "", False


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
