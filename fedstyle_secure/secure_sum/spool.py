"""Bodies of one size, one after the other, of which one is in memory at a time."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from io import BytesIO
from typing import IO, Self, overload


class Spool(Sequence[bytes]):
    """Bodies of one size in a temporary file without a name, which goes when the spool goes."""

    def __init__(self, size: int, opened: Callable[[], IO[bytes]] = tempfile.TemporaryFile) -> None:
        """
        Args:
            size: Bytes of each body.
            opened: Opens the file that they are kept in.
        """
        self._size = size
        self._count = 0
        kept = ExitStack()
        self._file = kept.enter_context(opened())
        weakref.finalize(self, kept.close)

    @classmethod
    def over(cls, joined: bytes, size: int) -> Self:
        """Bodies that lie in memory, one behind the other, without a second copy of them.

        Example:
            >>> list(Spool.over(b"abcdef", 3))
            [b'abc', b'def']
        """
        # Of bytes that nobody writes to, BytesIO makes no copy.
        spool = cls(size, partial(BytesIO, joined))
        spool._count = len(joined) // size
        return spool

    def append(self, body: bytes) -> None:
        """Keep a body."""
        if len(body) != self._size:
            raise ValueError(f"{len(body)} bytes, not {self._size}")
        self._file.seek(self._size * self._count)
        self._file.write(body)
        self._count += 1

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._count))]
        if not 0 <= index < self._count:
            raise IndexError(index)
        self._file.seek(self._size * index)
        return self._file.read(self._size)


def joined(bodies: Sequence[bytes]) -> bytes:
    """Bodies one behind the other, without a second copy of all.

    Example:
        >>> joined([b"abc", b"def"])
        b'abcdef'
    """
    whole = BytesIO()
    whole.writelines(bodies)
    return whole.getvalue()
