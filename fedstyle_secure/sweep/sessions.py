"""How long a sweep took in all, over every go at it: one that was killed counts up to its last cell."""

from __future__ import annotations

import datetime
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fedstyle_secure.errors import AuditError
from fedstyle_secure.files import read_json, write_json


class Sessions:
    """The goes at a sweep, kept in a file; entering begins one, and leaving ends it.

    Goes of another version of the program made other cells, so they are kept and not counted.
    """

    def __init__(self, path: Path, code: str) -> None:
        """Read the file, if it is there.

        Args:
            path: `sessions.json`.
            code: Hash of the program's sources.

        Raises:
            AuditError: It is damaged; names it.
        """
        self._path, self._code = path, code
        kept = read_json(path, list, AuditError) if path.exists() else []
        try:
            self._all = [{key: one[key] for key in ("began", "wall_s", "code")} for one in kept]
            self.wall_s = round(sum(one["wall_s"] for one in self._ours), 1)
        except (KeyError, TypeError) as error:
            raise AuditError(f"{path}: cannot be read: {error}") from None

    def __enter__(self) -> Self:
        self._started = time.perf_counter()
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self._all.append({"began": now, "wall_s": 0.0, "code": self._code})
        self.note()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.note()

    @property
    def _ours(self) -> list[dict[str, Any]]:
        return [one for one in self._all if one["code"] == self._code]

    @property
    def began(self) -> str:
        """When the first go began, UTC, ISO 8601 to the second."""
        return str(self._ours[0]["began"])

    @property
    def number(self) -> int:
        """How many goes there were, this one among them."""
        return len(self._ours)

    def note(self) -> None:
        """Write how long this go has taken so far; all of them together are `wall_s`, in seconds."""
        self._all[-1]["wall_s"] = round(time.perf_counter() - self._started, 3)
        write_json(self._path, self._all)
        self.wall_s = round(sum(one["wall_s"] for one in self._ours), 1)
