"""What one artist has given away: an append-only file that the artist owns.

A release is written here, and reached the disk, before it leaves. Whether the platform ever used it
does not matter: it is spent.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from fedstyle_secure.errors import PrivacyError
from fedstyle_secure.privacy.mechanisms import Event

_GENESIS = "0" * 64


@dataclass(frozen=True)
class Entry:
    """One release.

    Attributes:
        request: What it answered; equal requests get the same release again at no cost.
        round: The round that it answered.
        kind: `update`, `card` or `prototypes`.
        events: What it cost.
        sensitivity: L2 bound per added or removed artwork before noise; None where nothing was clipped.
        digest: SHA-256 of the released bytes.
    """

    request: str
    round: int
    kind: str
    events: tuple[Event, ...]
    sensitivity: float | None
    digest: str


class Ledger:
    """The append-only file, a JSON object a line, each bound to the one before by its hash."""

    def __init__(self, path: Path) -> None:
        """Open or begin a ledger.

        Raises:
            PrivacyError: A line was edited, removed or reordered; names the line.
        """
        self.path = path
        self._entries: list[Entry] = []
        self._head = _GENESIS
        if path.exists():
            self._read()

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Every release so far, oldest first."""
        return tuple(self._entries)

    def events(self) -> tuple[Event, ...]:
        """Every event of every release."""
        return tuple(event for entry in self._entries for event in entry.events)

    def append(self, entries: Iterable[Entry]) -> None:
        """Write entries and return only once they are on the disk."""
        lines = []
        head = self._head
        added = list(entries)
        for entry in added:
            body = json.dumps(asdict(entry), sort_keys=True)
            head = _chain(head, body)
            lines.append(json.dumps({"entry": json.loads(body), "hash": head}, sort_keys=True) + "\n")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write("".join(lines))
            file.flush()
            os.fsync(file.fileno())
        sync_folder(self.path.parent)
        self._entries += added
        self._head = head

    def _read(self) -> None:
        text = self.path.read_bytes()
        whole = text[: text.rfind(b"\n") + 1]
        if len(whole) < len(text):
            # The process died while writing, so that release never left: sending waits for the write.
            with self.path.open("r+b") as file:
                file.truncate(len(whole))
        for number, line in enumerate(whole.decode("utf-8", errors="replace").splitlines(), start=1):
            try:
                record = json.loads(line)
                body = json.dumps(record["entry"], sort_keys=True)
                entry = _entry(record["entry"])
            except (ValueError, KeyError, TypeError, PrivacyError):
                raise PrivacyError(f"{self.path.name}: entry {number} is damaged") from None
            self._head = _chain(self._head, body)
            if record.get("hash") != self._head:
                raise PrivacyError(
                    f"{self.path.name}: entry {number} was edited, or an entry before it was removed"
                )
            self._entries.append(entry)


def _chain(head: str, body: str) -> str:
    return hashlib.sha256((head + body).encode()).hexdigest()


def _entry(values: dict) -> Entry:
    return Entry(
        request=str(values["request"]),
        round=int(values["round"]),
        kind=str(values["kind"]),
        events=tuple(Event(**event) for event in values["events"]),
        sensitivity=None if values["sensitivity"] is None else float(values["sensitivity"]),
        digest=str(values["digest"]),
    )


def sync_folder(folder: Path) -> None:
    """Make a rename or a new file in `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
