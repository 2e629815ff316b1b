"""The opener's memory: an append-only file that is on the disk before what it says is done."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from fedstyle_secure.errors import SecureSumError
from fedstyle_secure.files import PRIVATE, append
from fedstyle_secure.secure_sum.encoding import canonical, fields, parse

_START = "0" * 64
_MAX_LINE = 2**24


class Journal:
    """Records, one a line, each bound to the line before by its hash. The caller keeps other writers out.

    That the last whole lines were removed while no process ran is not found: whoever can write here can
    read the key too.
    """

    def __init__(self, path: Path) -> None:
        """Nothing is read before `refresh`.

        Args:
            path: Made with 0600 if it is not there.
        """
        self._path = path
        self._size = 0
        self._lines = 0
        self._head = _START

    def refresh(self) -> list[dict[str, object]]:
        """The records that were added since the last time, by whatever process.

        Raises:
            SecureSumError: A line was edited, removed or reordered; names it. Nothing is opened then.
        """
        if not self._path.exists():
            if self._lines:
                raise SecureSumError(f"{self._path.name} is gone; without it a round could be opened twice")
            return []
        with self._path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            if file.tell() < self._size:
                raise SecureSumError(f"{self._path.name} was cut; without it a round could be opened twice")
            file.seek(self._size)
            data = file.read()
        records = []
        # A torn last line was never acted upon: acting waits for the whole line.
        for line in data[: data.rfind(b"\n") + 1].split(b"\n")[:-1]:
            number = self._lines + 1
            try:
                value = fields(parse(line, _MAX_LINE), ("record", "hash"))
                record = value["record"]
                head = _chain(self._head, record)
                if not isinstance(record, dict) or value["hash"] != head:
                    raise ValueError("does not follow")
            except ValueError:
                raise SecureSumError(f"{self._path.name}: line {number} is damaged or was edited") from None
            records.append(record)
            self._lines, self._head, self._size = number, head, self._size + len(line) + 1
        return records

    def append(self, record: dict[str, object]) -> None:
        """Write a record and return once it is on the disk. Call `refresh` before, under the same lock."""
        head = _chain(self._head, record)
        line = canonical({"record": record, "hash": head}) + b"\n"
        append(self._path, line, size=self._size, mode=PRIVATE)
        self._lines, self._head, self._size = self._lines + 1, head, self._size + len(line)


def _chain(head: str, record: object) -> str:
    return hashlib.sha256(head.encode() + canonical(record)).hexdigest()
