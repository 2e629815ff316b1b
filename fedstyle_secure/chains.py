"""Append-only files whose lines are bound to each other: a changed line is found, and so are missing ones.

A line is a JSON object and is bound to the line before by its hash. Beside the file lies a small one that
says how long it is, written after each line: that is how removed last lines are found. Whoever can write both
can put an older pair in their place; only a head that others keep tells.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from fedstyle_secure.errors import PrivacyError
from fedstyle_secure.files import PRIVATE, append, write_text

_GENESIS = "0" * 64

LineT = TypeVar("LineT")


class Chain(Generic[LineT]):
    """One such file.

    Attributes:
        path: Where it lies.
        lines: What its lines say, oldest first.
    """

    def __init__(self, path: Path, parse: Callable[[Mapping[str, Any]], LineT]) -> None:
        """Read a file; where neither it nor its length is there, it is an empty one. Reading changes nothing.

        Args:
            path: The file. Its length is kept in a file of the same name that ends in `.head`.
            parse: What a line says, from its object. Where that is nothing, it raises ValueError, KeyError,
                TypeError or PrivacyError.

        Raises:
            PrivacyError: A line was edited, removed or reordered, or the last ones are missing; names it.
        """
        self.path = path
        self.lines: list[LineT] = []
        self._heads = [_GENESIS]
        self._size = 0
        # The length first: whoever writes meanwhile adds lines before it says that they are there.
        kept = self._kept_length()
        if path.exists():
            self._read(parse)
        self._check_length(kept or self._kept_length())

    @property
    def heads(self) -> tuple[str, ...]:
        """Hashes that stand for the first 0, 1, 2, ... lines, 64 hexadecimal digits each."""
        return tuple(self._heads)

    def write(self, line: LineT, body: dict[str, Any]) -> None:
        """Add a line and return only once it is on the disk.

        The caller keeps other writers out. If writing fails, the file is as it was before.

        Args:
            line: What `parse` makes of the body.
            body: A JSON object without the key `hash`.
        """
        if not self.lines:
            # Before the first line, so that a file without its length is always a damaged one.
            self._write_length()
        head = _chain(self._heads[-1], body)
        record = json.dumps(body | {"hash": head}, sort_keys=True, allow_nan=False)
        data = f"{record}\n".encode()
        # A torn last line never counted: whatever follows from a line waits for the whole of it.
        append(self.path, data, size=self._size, mode=PRIVATE)
        self.lines.append(line)
        self._heads.append(head)
        self._size += len(data)
        # Killed before this, the file is one line longer than its length says, which harms nobody.
        self._write_length()

    def _write_length(self) -> None:
        kept = {"lines": len(self.lines), "hash": self._heads[-1]}
        write_text(self._head_file, json.dumps(kept), mode=PRIVATE)

    @property
    def _head_file(self) -> Path:
        return self.path.with_suffix(".head")

    def _read(self, parse: Callable[[Mapping[str, Any]], LineT]) -> None:
        data = self.path.read_bytes()
        self._size = data.rfind(b"\n") + 1
        lines = data[: self._size].decode("utf-8", errors="replace").split("\n")[:-1]
        for number, text in enumerate(lines, start=1):
            try:
                record = json.loads(text)
                stated = record.pop("hash")
                line = parse(record)
            except (ValueError, KeyError, TypeError, AttributeError, PrivacyError):
                raise PrivacyError(f"{self._name}: line {number} is damaged") from None
            self._heads.append(_chain(self._heads[-1], record))
            if stated != self._heads[-1]:
                raise PrivacyError(f"{self._name}: line {number} was edited, or a line before it was removed")
            self.lines.append(line)

    def _kept_length(self) -> bytes | None:
        try:
            return self._head_file.read_bytes()
        except FileNotFoundError:
            return None

    def _check_length(self, length: bytes | None) -> None:
        """Raise PrivacyError where lines are gone that were there once."""
        if length is None:
            if self.lines:
                raise PrivacyError(
                    f"{self._name}: {self._head_file.name}, which says how long it is, is gone"
                )
            return
        try:
            kept = json.loads(length)
            lines, stated = int(kept["lines"]), str(kept["hash"])
        except (ValueError, KeyError, TypeError):
            raise PrivacyError(f"{self._name}: {self._head_file.name} is damaged") from None
        if lines > len(self.lines):
            raise PrivacyError(
                f"{self._name}: line {len(self.lines) + 1} and what came after it are gone; "
                f"it had {lines} lines"
            )
        if lines < 0 or self._heads[lines] != stated:
            raise PrivacyError(f"{self._name}: {self._head_file.name} belongs to another file")

    @property
    def _name(self) -> str:
        return f"{self.path.parent.name}/{self.path.name}"


def _chain(head: str, body: Mapping[str, Any]) -> str:
    return hashlib.sha256((head + json.dumps(body, sort_keys=True)).encode()).hexdigest()
