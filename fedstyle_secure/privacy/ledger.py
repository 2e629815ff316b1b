"""What one artist has given away: an append-only file that the artist owns.

A release is written here, and reached the disk, before it leaves. Whether the platform ever used it
does not matter: it is spent.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
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
    """The append-only file. A line holds the entries of one request, bound to the line before by its hash,
    so that a request is in the ledger as a whole or not at all."""

    def __init__(self, path: Path) -> None:
        """Read a ledger; a file that is not there is an empty one. Reading changes nothing.

        Raises:
            PrivacyError: A line was edited, removed or reordered; names the line.
        """
        self.path = path
        self._entries: list[Entry] = []
        self._head = _GENESIS
        self._size = 0
        if path.exists():
            self._read()

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Every release so far, oldest first."""
        return tuple(self._entries)

    def append(self, entries: Sequence[Entry]) -> None:
        """Write the entries of one request and return only once they are on the disk.

        The caller keeps other writers out. If writing fails, the file is as it was before.
        """
        body = json.dumps([asdict(entry) for entry in entries], sort_keys=True)
        head = _chain(self._head, body)
        record = json.dumps({"entries": json.loads(body), "hash": head}, sort_keys=True)
        line = f"{record}\n".encode()
        # Unbuffered, so that nothing is written later that failed to be written now.
        with self.path.open("ab", buffering=0) as file:
            try:
                # A torn last line was never sent: sending waits for the whole line.
                file.truncate(self._size)
                if file.write(line) != len(line):
                    raise OSError(f"{self.path.name}: the disk took only a part of an entry")
                os.fsync(file.fileno())
            except OSError:
                file.truncate(self._size)
                raise
        sync_folder(self.path.parent)
        self._entries += entries
        self._head = head
        self._size += len(line)

    def _read(self) -> None:
        data = self.path.read_bytes()
        self._size = data.rfind(b"\n") + 1
        lines = data[: self._size].decode("utf-8", errors="replace").split("\n")[:-1]
        for number, line in enumerate(lines, start=1):
            try:
                record = json.loads(line)
                body = json.dumps(record["entries"], sort_keys=True)
                entries = [_entry(values) for values in record["entries"]]
            except (ValueError, KeyError, TypeError, PrivacyError):
                raise PrivacyError(f"{self.path.name}: line {number} is damaged") from None
            self._head = _chain(self._head, body)
            if record.get("hash") != self._head:
                raise PrivacyError(
                    f"{self.path.name}: line {number} was edited, or a line before it was removed"
                )
            self._entries += entries


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
