"""What never changes in a run: an artist keeps it, and holds the platform to what the run began with."""

from __future__ import annotations

import os
from pathlib import Path

from fedstyle_secure.errors import FederationError, RunError
from fedstyle_secure.federation.protocol import Instruction
from fedstyle_secure.files import PRIVATE, private_folder, read_arrays, write_arrays, write_text
from fedstyle_secure.system import State

_KEPT = 4
"""Fixed parts that are kept, of the runs that were answered last; others are asked for again."""


class FixedPartMissing(FederationError):
    """The artist has not got the fixed part that the instruction names, and asks for it."""


class FixedParts:
    """An artist's fixed parts, on its own disk."""

    def __init__(self, home: Path, run: str) -> None:
        """Args: home: The artist's own folder. run: Identity of the run."""
        self._folder = home / "fixed"
        self._run = run
        self._last: State | None = None

    def state(self, instruction: Instruction) -> State:
        """The state that an instruction means.

        Raises:
            FixedPartMissing: Neither the instruction nor the artist has its fixed part.
        """
        if instruction.fixed is not None:
            return instruction.state(instruction.fixed)
        if self._last is not None and self._last.fixed_digest == instruction.fixed_digest:
            return instruction.state(self._last.fixed)
        try:
            state = instruction.state(read_arrays(self._file(instruction.fixed_digest))[0])
        except RunError:
            state = None
        if state is None or state.fixed_digest != instruction.fixed_digest:
            raise FixedPartMissing("the fixed part of the instruction was not sent")
        return state

    def settle(self, state: State) -> None:
        """Keep a state's fixed part, once the state was found to fit the settings.

        Raises:
            FederationError: It is another one than that of the run's first state.
        """
        pin = self._folder / self._run
        private_folder(self._folder)
        if not pin.exists():
            write_text(pin, state.fixed_digest, mode=PRIVATE)
        if pin.read_text(encoding="ascii") != state.fixed_digest:
            raise FederationError("the encoder's fixed part is not the one that the run began with")
        self._last = state
        path = self._file(state.fixed_digest)
        if path.exists():
            os.utime(path)
            return
        write_arrays(path, state.fixed, {}, mode=PRIVATE)
        kept = sorted(self._folder.glob("*.safetensors"), key=lambda file: file.stat().st_mtime_ns)
        for old in kept[:-_KEPT]:
            old.unlink()

    def _file(self, digest: str) -> Path:
        # A peer's text is never part of a path.
        name = digest if len(digest) == 64 and set(digest) <= set("0123456789abcdef") else "none"
        return self._folder / f"{name}.safetensors"
