"""Trained models on disk, one file a job, and the processes that make those that are not there yet.

A file is named after everything that its content depends on and appears whole or not at all, so that a call
that was killed goes on where it stopped and ends with the same models.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from attacks.errors import AttackError
from attacks.pool import in_processes
from attacks.ranges import whole

State = dict[str, Tensor]

Progress = Callable[[int, int], None]
"""Called with models done and models in all."""


@dataclass(frozen=True)
class Job:
    """One file to make.

    Attributes:
        path: Where it lies once it is made.
        models: How many models it holds, >= 1.
        arguments: Gives what the work is called with: plain values, NumPy arrays and importable functions.
            Called only when a process is free, so that few jobs' data are held at once.
    """

    path: Path
    models: int
    arguments: Callable[[], tuple[Any, ...]]


def made(work: Callable[..., State], jobs: Sequence[Job], processes: int, progress: Progress) -> list[State]:
    """Read the jobs' files, after making those that are missing.

    Each job runs on one torch thread, so that its result does not depend on `processes`.

    Args:
        work: Maps a job's arguments to the tensors of its file. Importable.
        jobs: What is wanted.
        processes: >= 1; 1 works in this process.
        progress: Told of the models read first, if any, and then of each job.

    Returns:
        The content of each job's file, in order.

    Raises:
        AttackError: A file is damaged, or a process ended early. Errors of `work` are passed on.
    """
    whole("processes", processes, 1)
    found = {job.path: _read(job.path) for job in jobs if job.path.exists()}
    missing = [job for job in jobs if job.path not in found]
    done, of = sum(job.models for job in jobs if job.path in found), sum(job.models for job in jobs)
    if done:
        progress(done, of)
    finished = _here if processes == 1 or len(missing) < 2 else partial(_in_processes, processes=processes)
    with closing(finished(work, missing)) as ready:
        for job in ready:
            found[job.path] = _read(job.path)
            done += job.models
            progress(done, of)
    return [found[job.path] for job in jobs]


def cores() -> int:
    """How many processes can work at once: the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def path_of(cache: Path | str, name: str, depends_on: Mapping[str, Any]) -> Path:
    """The file of a job, named after what its content depends on.

    Args:
        cache: Folder.
        name: For people, first in the file's name.
        depends_on: Everything, as JSON can hold it; the version of torch is added.
    """
    described = json.dumps({"torch": torch.__version__, **depends_on}, sort_keys=True)
    return Path(cache) / f"{name}-{hashlib.sha256(described.encode()).hexdigest()[:32]}.safetensors"


def digest(*arrays: np.ndarray) -> str:
    """SHA-256 of types, shapes and values."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.dtype}{array.shape}".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def initial_digest(model: nn.Module) -> str:
    """SHA-256 of an untrained model: its layers as they print, its parameters and buffers."""
    tensors = [tensor.detach().numpy() for _, tensor in sorted(model.state_dict().items())]
    return hashlib.sha256(f"{model}{digest(*tensors)}".encode()).hexdigest()


def importable_name(what: str, given: object) -> str:
    """Tells an importable function, or a `functools.partial` of one, from every other.

    Args:
        what: What it is, for the refusal.
        given: A function or class at the top of a module; or a partial of one with plain values, arrays,
            tensors and such functions as its arguments.

    Returns:
        Module and name, with the partial's arguments, arrays as their digests.

    Raises:
        AttackError: Other processes could not import it, or an argument's value cannot be told.
    """
    if isinstance(given, partial):
        arguments = [*given.args, *(part for pair in sorted(given.keywords.items()) for part in pair)]
        inner = ", ".join(_argument_name(what, argument) for argument in arguments)
        return f"{importable_name(what, given.func)}({inner})"
    module, name = getattr(given, "__module__", None), getattr(given, "__qualname__", None)
    found: object = sys.modules.get(module) if module else None
    for part in (name or "").split("."):
        found = getattr(found, part, None)
    if found is None or found is not given:
        raise AttackError(
            f"{what} must be a function at the top of a module, which other processes can import, or a "
            f"functools.partial of one, not {given!r}"
        )
    return f"{module}.{name}"


def _argument_name(what: str, argument: object) -> str:
    if isinstance(argument, Tensor):
        argument = argument.detach().numpy()
    if isinstance(argument, np.ndarray):
        return digest(argument)
    if argument is None or isinstance(argument, str | int | float):
        return repr(argument)
    if isinstance(argument, tuple):
        return f"({', '.join(_argument_name(what, part) for part in argument)})"
    return importable_name(f"an argument of {what}", argument)


def _here(work: Callable[..., State], jobs: Sequence[Job]) -> Generator[Job, None, None]:
    for job in jobs:
        _make(work, job.path, *job.arguments())
        yield job


def _in_processes(
    work: Callable[..., State], jobs: Sequence[Job], processes: int
) -> Generator[Job, None, None]:
    """Jobs as they finish. Those that run when the caller stops are finished and kept."""
    with closing(
        in_processes(_make, lambda job: (work, job.path, *job.arguments()), jobs, processes, finish=True)
    ) as ended:
        for done in ended:
            if done.killed:
                raise AttackError(
                    f"a process that trained shadow models ended early ({done.killed}): out of memory, "
                    'killed, or in a script without if __name__ == "__main__"; models that were done are kept'
                )
            yield done.task


def _make(work: Callable[..., State], path: Path, *arguments: Any) -> None:
    with _one_thread():
        state = work(*arguments)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial_file = path.with_suffix(f".{os.getpid()}.partial")
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, partial_file)
    os.replace(partial_file, path)


def _read(path: Path) -> State:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise AttackError(f"{path}: damaged shadow models, delete the file ({error})") from None


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
