"""What one artist has given away, over all runs: an append-only file that the artist owns.

A release is written here, and reached the disk, before it leaves. Whether the platform ever used it
does not matter: it is spent.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fedstyle_secure.errors import PrivacyError
from fedstyle_secure.files import PRIVATE, append, write_text
from fedstyle_secure.privacy.events import Event, event_from_dict, event_to_dict
from fedstyle_secure.privacy.units import Unit

_GENESIS = "0" * 64


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


class Ledger:
    """The append-only file, and beside it a small file that says how long it is.

    A line holds the releases of one request, or a withdrawal, and is bound to the line before by its hash:
    a request is in the ledger as a whole or not at all, and a changed line is found. The file beside it,
    written after each line, is how removed last lines are found.
    """

    def __init__(self, path: Path) -> None:
        """Read a ledger; where neither file is there, it is an empty one. Reading changes nothing.

        Args:
            path: The ledger. Its length is kept in a file of the same name that ends in `.head`.

        Raises:
            PrivacyError: A line was edited, removed or reordered, or the last ones are missing; names it.
        """
        self.path = path
        self._lines: list[tuple[Entry, ...] | Withdrawal] = []
        self._heads = [_GENESIS]
        self._size = 0
        # The length first: whoever writes meanwhile adds lines before it says that they are there.
        kept = self._kept_length()
        if path.exists():
            self._read()
        self._check_length(kept or self._kept_length())

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Every release so far, oldest first."""
        return tuple(e for line in self._lines if not isinstance(line, Withdrawal) for e in line)

    @property
    def withdrawal(self) -> Withdrawal | None:
        """The withdrawal, if the artist has withdrawn."""
        return next((line for line in self._lines if isinstance(line, Withdrawal)), None)

    def append(self, entries: Sequence[Entry]) -> None:
        """Write the releases of one request and return only once they are on the disk.

        The caller keeps other writers out. If writing fails, the ledger is as it was before.
        """
        self._write(tuple(entries), {"entries": [entry.to_dict() for entry in entries]})

    def withdraw(self, at: str) -> Withdrawal:
        """Write that the artist has withdrawn, and give it back; doing so twice changes nothing."""
        found = self.withdrawal
        if found is None:
            found = Withdrawal(at)
            self._write(found, {"withdrawal": {"at": at}})
        return found

    def _write(self, line: tuple[Entry, ...] | Withdrawal, body: dict[str, Any]) -> None:
        if not self._lines:
            # Before the first line, so that a ledger without this file is always a damaged one.
            self._write_length()
        head = _chain(self._heads[-1], body)
        record = json.dumps(body | {"hash": head}, sort_keys=True, allow_nan=False)
        data = f"{record}\n".encode()
        # A torn last line was never sent: sending waits for the whole line.
        append(self.path, data, size=self._size, mode=PRIVATE)
        self._lines.append(line)
        self._heads.append(head)
        self._size += len(data)
        # Killed before this, the ledger is one line longer than the file says, which harms nobody.
        self._write_length()

    def _write_length(self) -> None:
        kept = {"lines": len(self._lines), "hash": self._heads[-1]}
        write_text(self._head_file, json.dumps(kept), mode=PRIVATE)

    @property
    def _head_file(self) -> Path:
        return self.path.with_suffix(".head")

    def _read(self) -> None:
        data = self.path.read_bytes()
        self._size = data.rfind(b"\n") + 1
        lines = data[: self._size].decode("utf-8", errors="replace").split("\n")[:-1]
        for number, text in enumerate(lines, start=1):
            try:
                record = json.loads(text)
                stated = record.pop("hash")
                line = _parse(record)
            except (ValueError, KeyError, TypeError, AttributeError, PrivacyError):
                raise PrivacyError(f"{self._name}: line {number} is damaged") from None
            self._heads.append(_chain(self._heads[-1], record))
            if stated != self._heads[-1]:
                raise PrivacyError(f"{self._name}: line {number} was edited, or a line before it was removed")
            self._lines.append(line)

    def _kept_length(self) -> bytes | None:
        try:
            return self._head_file.read_bytes()
        except FileNotFoundError:
            return None

    def _check_length(self, length: bytes | None) -> None:
        """Raise PrivacyError where lines are gone that were there once."""
        if length is None:
            if self._lines:
                raise PrivacyError(
                    f"{self._name}: {self._head_file.name}, which says how long it is, is gone"
                )
            return
        try:
            kept = json.loads(length)
            lines, stated = int(kept["lines"]), str(kept["hash"])
        except (ValueError, KeyError, TypeError):
            raise PrivacyError(f"{self._name}: {self._head_file.name} is damaged") from None
        if lines > len(self._lines):
            raise PrivacyError(
                f"{self._name}: line {len(self._lines) + 1} and what came after it are gone; "
                f"it had {lines} lines"
            )
        if lines < 0 or self._heads[lines] != stated:
            raise PrivacyError(f"{self._name}: {self._head_file.name} belongs to another ledger")

    @property
    def _name(self) -> str:
        return f"{self.path.parent.name}/{self.path.name}"


def costs(entries: Iterable[Entry], unit: Unit) -> tuple[Event, ...] | None:
    """What releases cost a unit together; None where one of them gives it no guarantee.

    Example:
        >>> costs([], "artwork")
        ()
    """
    events = [entry.cost(unit) for entry in entries]
    known = tuple(event for event in events if event is not None)
    return known if len(known) == len(events) else None


def _chain(head: str, body: Mapping[str, Any]) -> str:
    return hashlib.sha256((head + json.dumps(body, sort_keys=True)).encode()).hexdigest()


def _parse(record: Mapping[str, Any]) -> tuple[Entry, ...] | Withdrawal:
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
