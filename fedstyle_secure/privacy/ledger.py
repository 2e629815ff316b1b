"""What one artist has given away, over all runs: an append-only file that the artist owns.

A release is written here, and reached the disk, before it leaves. Whether the platform ever used it
does not matter: it is spent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fedstyle_secure.chains import Chain
from fedstyle_secure.privacy.events import Event, event_from_dict, event_to_dict
from fedstyle_secure.privacy.units import Unit


@dataclass(frozen=True)
class Entry:
    """One release.

    Attributes:
        run: The run that it was made for.
        request: What it answered; equal requests get the same release again at no cost.
        round: The round that it answered.
        kind: Of the release: a name of the system's, `update` or `sum`.
        at: When, UTC, ISO 8601 to the second.
        mechanism: The mechanism's name.
        parameters: Its parameters; infinity as the text "inf".
        sensitivity: L2 bound per added or removed unit before noise; None where nothing was clipped.
        artwork_cost: What it cost for the unit artwork; None: no guarantee.
        artist_cost: What it cost for the unit artist; None: no guarantee.
        digest: SHA-256 of what was released.
        policy: Digest of the artist's own policy that it left under; "": it had none.
    """

    run: str
    request: str
    round: int
    kind: str
    at: str
    mechanism: str
    parameters: Mapping[str, Any]
    sensitivity: float | None
    artwork_cost: Event | None
    artist_cost: Event | None
    digest: str
    policy: str = ""

    def cost(self, unit: Unit) -> Event | None:
        """What it cost for a unit; None: no guarantee."""
        return self.artwork_cost if unit == "artwork" else self.artist_cost

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        costs = {"artwork_cost": self.artwork_cost, "artist_cost": self.artist_cost}
        return asdict(self) | {
            name: None if event is None else event_to_dict(event) for name, event in costs.items()
        }


@dataclass(frozen=True)
class Withdrawal:
    """The artist took back its consent: nothing is released after this entry.

    Attributes:
        at: When, UTC, ISO 8601 to the second.
    """

    at: str


@dataclass(frozen=True)
class Works:
    """What an artist's releases of a round are of: no release, and nothing of it leaves.

    Attributes:
        portfolio: Digest of the portfolio that takes part.
        consent_lines: Length of the artist's consent log that it follows from.
        consent_hash: Head of that log.
        at: When, UTC, ISO 8601 to the second.
        run: The run that asked.
        round: Its round.
    """

    portfolio: str
    consent_lines: int
    consent_hash: str
    at: str = ""
    run: str = ""
    round: int = 0


Line = tuple[Entry, ...] | Withdrawal | Works
"""The releases of one request, a withdrawal, or which works take part."""


class Ledger:
    """The append-only file (`chains`): a request is in the ledger as a whole or not at all."""

    def __init__(self, path: Path) -> None:
        """Read a ledger; where neither it nor its length is there, it is empty. Reading changes nothing.

        Args:
            path: The ledger. Its length is kept in a file of the same name that ends in `.head`.

        Raises:
            PrivacyError: A line was edited, removed or reordered, or the last ones are missing; names it.
        """
        self.path = path
        self._chain: Chain[Line] = Chain(path, _parse)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Every release so far, oldest first."""
        return tuple(e for line in self._chain.lines if isinstance(line, tuple) for e in line)

    @property
    def withdrawal(self) -> Withdrawal | None:
        """The withdrawal, if the artist has withdrawn."""
        return next((line for line in self._chain.lines if isinstance(line, Withdrawal)), None)

    @property
    def works(self) -> Works | None:
        """Which works take part, as it was last written down."""
        return next((line for line in reversed(self._chain.lines) if isinstance(line, Works)), None)

    @property
    def heads(self) -> tuple[str, ...]:
        """Hashes that stand for its first 0, 1, 2, ... lines: the last one for the whole ledger."""
        return self._chain.heads

    def append(self, entries: Sequence[Entry]) -> None:
        """Write the releases of one request and return only once they are on the disk.

        The caller keeps other writers out. If writing fails, the ledger is as it was before.
        """
        self._chain.write(tuple(entries), {"entries": [entry.to_dict() for entry in entries]})

    def withdraw(self, at: str) -> Withdrawal:
        """Write that the artist has withdrawn, and give it back; doing so twice changes nothing."""
        found = self.withdrawal
        if found is None:
            found = Withdrawal(at)
            self._chain.write(found, {"withdrawal": {"at": at}})
        return found

    def note(self, works: Works) -> None:
        """Write which works a round's releases are of, once a round, also where they are those of the last
        one: others learn how many lines there are, and not when a portfolio changes."""
        asked = {(line.run, line.round) for line in self._chain.lines if isinstance(line, Works)}
        if (works.run, works.round) not in asked:
            self._chain.write(works, {"works": asdict(works)})


def costs(entries: Iterable[Entry], unit: Unit) -> tuple[Event, ...] | None:
    """What releases cost a unit together; None where one of them gives it no guarantee.

    Example:
        >>> costs([], "artwork")
        ()
    """
    events = [entry.cost(unit) for entry in entries]
    known = tuple(event for event in events if event is not None)
    return known if len(known) == len(events) else None


def _parse(record: Mapping[str, Any]) -> Line:
    if set(record) == {"works"}:
        return Works(**record["works"])
    if set(record) == {"withdrawal"}:
        return Withdrawal(**record["withdrawal"])
    if set(record) != {"entries"}:
        raise KeyError("entries")
    return tuple(entry_from_dict(values) for values in record["entries"])


def entry_from_dict(values: Mapping[str, Any]) -> Entry:
    """The release of `Entry.to_dict`.

    Raises:
        KeyError, TypeError, PrivacyError: It is none.
    """
    events = {
        unit: None if values[unit] is None else event_from_dict(values[unit])
        for unit in ("artwork_cost", "artist_cost")
    }
    return Entry(**(dict(values) | events))
