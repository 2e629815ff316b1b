"""What never changes in a run: an artist keeps it, and holds the platform to what the run began with."""

from __future__ import annotations

from pathlib import Path

from fedstyle_secure.errors import FederationError, RunError
from fedstyle_secure.federation.protocol import Instruction
from fedstyle_secure.files import (
    PRIVATE,
    arrays_digest,
    create,
    private_folder,
    read_arrays,
    write_arrays,
)
from fedstyle_secure.system import State

_KEPT = 4
"""Runs whose fixed parts are kept, those that began last; others' are asked for again."""


class FixedPartMissing(FederationError):
    """The artist has not got the fixed part that the instruction names, and asks for it."""


class FixedParts:
    """The fixed part of one run on an artist's own disk alone, as a process may run a thousand artists.

    Another run's is never used: whether an artist has that would tell whether it took part there. That it
    began many runs since shows in its asking again.
    """

    def __init__(self, home: Path, run: str) -> None:
        """Args: home: The artist's own folder. run: Identity of the run."""
        self._folder = home / "fixed"
        self._pin = self._folder / run
        self._file = self._folder / f"{run}.safetensors"
        self._settled = False

    def state(self, instruction: Instruction) -> State:
        """The state that an instruction means.

        Raises:
            FixedPartMissing: Neither the instruction nor the artist has its fixed part.
        """
        if instruction.fixed is not None:
            return instruction.state(instruction.fixed)
        try:
            state = instruction.state(read_arrays(self._file)[0])
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
        private_folder(self._folder)
        create(self._pin, state.fixed_digest.encode())
        if self._pin.read_text(encoding="ascii") != state.fixed_digest:
            raise FederationError("the fixed part is not the one that the run began with")
        if not self._settled and not self._kept(state):
            write_arrays(self._file, state.fixed, {}, mode=PRIVATE)
            kept = sorted(self._folder.glob("*.safetensors"), key=lambda file: file.stat().st_mtime_ns)
            for old in kept[:-_KEPT]:
                old.unlink()
        self._settled = True

    def _kept(self, state: State) -> bool:
        try:
            return arrays_digest(read_arrays(self._file)[0]) == state.fixed_digest
        except RunError:
            return False
