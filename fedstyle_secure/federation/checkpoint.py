"""What a killed run goes on from: the state after the last whole round, and a sum that was opened."""

from __future__ import annotations

from fedstyle_secure.federation.summing import Opened
from fedstyle_secure.files import read_arrays, write_arrays
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.system import State


def save_state(run: RunFolder, state: State) -> None:
    """Write the checkpoint; what never changes is written once."""
    if not run.fixed_file.exists():
        write_arrays(run.fixed_file, state.fixed, {})
    state.save(run.checkpoint_file, fixed=False)


def load_state(run: RunFolder) -> State:
    """Read the checkpoint. Raises RunError if it is missing or damaged."""
    return State.load(run.checkpoint_file, read_arrays(run.fixed_file)[0])


def save_opened(run: RunFolder, number: int, opened: Opened) -> None:
    """Keep an opened sum of a round until the round is over: the opener opens nothing twice."""
    arrays = {"total": opened.total, "kept": opened.kept}
    write_arrays(run.opened_file, arrays, {"round": str(number), "artists": str(opened.artists)})


def load_opened(run: RunFolder, number: int) -> Opened | None:
    """The opened sum of a round, if it was opened. Raises RunError if the file is damaged."""
    if not run.opened_file.exists():
        return None
    arrays, metadata = read_arrays(run.opened_file)
    if int(metadata["round"]) != number:
        return None
    return Opened(arrays["total"], arrays["kept"], int(metadata["artists"]))
