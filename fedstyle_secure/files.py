"""Files as this program writes them: whole or not at all, on the disk when it says so, and for whom it says.

A partial file has a name that nobody can guess, is opened exclusively and follows no link. What is renamed
or made is synced together with its folder, or a power cut could take back what others already rest on.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from fedstyle_secure.errors import FedStyleError, PrivacyError, RunError

if TYPE_CHECKING:
    import numpy as np

_T = TypeVar("_T")

PRIVATE = 0o600
"""Mode of a file that only its owner may read or write: ledgers, keys, and what artists keep."""

_LOG, _LOG_ENTRY = 2**24, 2**16
"""Bytes of a log, and of what is written into it at once."""

_SOURCES = (".py", ".j2", ".css", ".typ")

_PLAIN = os.O_CLOEXEC | os.O_NOFOLLOW


@contextmanager
def atomic(path: Path, *, synced: bool = True, mode: int | None = None) -> Iterator[IO[bytes]]:
    """A file to write that takes the place of `path` when the block ends; a reader finds the old or the new.

    Args:
        path: Where. A link there is replaced, not followed.
        synced: Return only once the file and its name are on the disk; False for what only saves time.
        mode: Its permissions, whatever the process' mask; None: as the mask has them.

    Raises:
        OSError: It cannot be written; `path` is as it was.
    """
    with _partial(path, synced, mode, os.replace) as file:
        yield file


def write_bytes(path: Path, data: bytes, *, synced: bool = True, mode: int | None = None) -> None:
    """Write a file whole or not at all; see `atomic`."""
    with atomic(path, synced=synced, mode=mode) as file:
        file.write(data)


def write_text(path: Path, text: str, *, synced: bool = True, mode: int | None = None) -> None:
    """Write a file in UTF-8 whole or not at all; see `atomic`."""
    write_bytes(path, text.encode(), synced=synced, mode=mode)


def write_json(path: Path, value: Any) -> None:
    """Write JSON whole or not at all; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def write_arrays(
    path: Path,
    arrays: Mapping[str, np.ndarray],
    metadata: Mapping[str, str],
    *,
    synced: bool = True,
    mode: int | None = None,
) -> None:
    """Write a safetensors file whole or not at all; see `atomic`."""
    import numpy as np
    from safetensors.numpy import save

    # In memory, as the library opens a path by itself and tells a full disk from nothing else. It writes what
    # it cannot read where there are neither arrays nor metadata, but for None.
    data = save({name: np.ascontiguousarray(a) for name, a in arrays.items()}, dict(metadata) or None)
    write_bytes(path, data, synced=synced, mode=mode)


def create(path: Path, data: bytes) -> bool:
    """Write a new file, `PRIVATE`, whole and on the disk; False if there is one already, which then stays."""
    try:
        with _partial(path, True, PRIVATE, _link) as file:
            file.write(data)
    except FileExistsError:
        return False
    return True


def append(
    path: Path, data: bytes, *, size: int | None = None, synced: bool = True, mode: int | None = None
) -> None:
    """Add to the end of a file, which is made if it is not there.

    Args:
        path: Where; a link is refused.
        data: What is added. If that fails, the file is as it was.
        size: Bytes of the file that count: what lies behind them is cut off first. None: all.
        synced: Return only once the bytes are on the disk.
        mode: See `atomic`; also for a file that is there already.

    Raises:
        OSError: Not all of it could be written.
    """
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | _PLAIN, 0o666 if mode is None else mode)
    with os.fdopen(handle, "wb", buffering=0) as file:
        _set_mode(handle, mode)
        start = os.fstat(handle).st_size if size is None else size
        try:
            file.truncate(start)
            if file.write(data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            if synced:
                os.fsync(handle)
        except OSError as error:
            file.truncate(start)
            error.filename = error.filename or str(path)
            raise
    if synced:
        sync_folder(path.parent)


def log_text(path: Path, text: str) -> None:
    """Add to the end of a private log, which stays bounded: whoever may cause errors must not fill a disk.

    Args:
        path: Where, in a private folder. What was written before the last `_LOG` bytes lies in a file of the
            same name that ends in `.1`, and what was before that is gone.
        text: A long one is cut.
    """
    with suppress(FileNotFoundError):
        if path.stat().st_size > _LOG:
            path.replace(path.with_name(f"{path.name}.1"))
    append(path, text.encode(errors="replace")[:_LOG_ENTRY], synced=False, mode=PRIVATE)


def erase(path: Path) -> None:
    """Overwrite and remove a file; nothing if it is not there.

    Overwriting reaches the blocks of a plain disk. Journals, copy-on-write file systems and flash
    translation may keep old blocks, which is why the opener's key is encrypted as well.
    """
    try:
        handle = os.open(path, os.O_WRONLY | _PLAIN)
    except FileNotFoundError:
        return
    with os.fdopen(handle, "wb", buffering=0) as file:
        file.write(secrets.token_bytes(os.fstat(handle).st_size))
        os.fsync(handle)
    path.unlink()
    sync_folder(path.parent)


def private_folder(path: Path) -> Path:
    """Make a folder that only its owner can enter, or make one that is there so.

    Raises:
        PrivacyError: It is there, and a link, another user's, or open to writing by others, so that nothing
            in it can be trusted.
    """
    for missing in reversed([folder for folder in (path, *path.parents) if not folder.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)
        missing.chmod(0o700)
        sync_folder(missing.parent)
    there = path.lstat()
    if not stat.S_ISDIR(there.st_mode):
        raise PrivacyError(f"{path}: must be a folder of its own, and no link to one")
    if there.st_uid != os.geteuid():
        raise PrivacyError(f"{path}: belongs to another user, who could exchange what lies in it")
    mode = stat.S_IMODE(there.st_mode)
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PrivacyError(f"{path}: others can write to this folder; run chmod 700 on it")
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        path.chmod(0o700)
    return path


def read_secret(path: Path) -> bytes:
    """Read a key that nobody else may read.

    Raises:
        PrivacyError: Others can read or write it.
        FileNotFoundError: It is not there.
    """
    require_secret(path, "key")
    return path.read_bytes()


def require_secret(path: Path, what: str) -> None:
    """Check that nobody else may read a file.

    Args:
        path: The file.
        what: It is, for the message.

    Raises:
        PrivacyError: Others can read or write it.
        FileNotFoundError: It is not there.
    """
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise PrivacyError(f"{path}: others can read this {what}; run chmod 600 on it, or make a new one")


@contextmanager
def locked(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """Keep other processes, and other blocks of this one, out of a folder that is there.

    Args:
        folder: Its file `.lock` is made, and stays.
        wait: Wait for whoever is in.

    Raises:
        BlockingIOError: Somebody is in, and `wait` is off.
    """
    handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | _PLAIN, PRIVATE)
    try:
        _set_mode(handle, PRIVATE)
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(handle)


@contextmanager
def alone(folder: Path, why: str) -> Iterator[None]:
    """Keep others out of a folder, as `locked`, or say why not to go in.

    Raises:
        RunError: Somebody is in.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(folder, wait=False))
        except BlockingIOError:
            raise RunError(f"{folder}: {why}") from None
        yield


def held(folder: Path) -> bool:
    """Whether somebody is in a folder that `locked` guards, without writing anything there."""
    try:
        handle = os.open(folder / ".lock", os.O_RDONLY | _PLAIN)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def sync_folder(folder: Path) -> None:
    """Make a rename, or a file that is new or gone, in `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_json(path: Path, kind: type[_T], failure: type[FedStyleError] = RunError) -> _T:
    """What a JSON file holds.

    Args:
        path: The file, in UTF-8.
        kind: Type of the outermost value: dict or list.
        failure: The error that is raised.

    Raises:
        FedStyleError: `failure`: the file is missing, damaged, has a key twice or holds something else; names
            it.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_each_once)
    except (OSError, ValueError, RecursionError) as error:
        raise failure(f"{path}: cannot be read: {error}") from None
    if not isinstance(value, kind):
        raise failure(f"{path}: cannot be read: holds a {type(value).__name__}, not a {kind.__name__}")
    return value


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys are all different: of two equal ones, readers disagree which counts."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"has the key {next(n for n in names if names.count(n) > 1)!r} twice")
    return found


def read_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays and metadata of a safetensors file.

    Raises:
        RunError: The file is missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (OSError, SafetensorError, TypeError, AttributeError) as error:
        # The last two where a type is one that numpy lacks, such as bfloat16 or 8-bit floats.
        raise RunError(f"{path}: cannot be read: {error}") from None


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sources_digest(packages: Iterable[Path]) -> str:
    """Hex SHA-256 of all sources and templates in some packages' folders: names and contents, each with its
    length before it.

    Args:
        packages: Folders, or single files; their own names count, where they lie does not.
    """
    whole = hashlib.sha256()
    for package in packages:
        inside = [package] if package.is_file() else package.rglob("*")
        files = [path for path in inside if path.suffix in _SOURCES and path.is_file()]
        for name, path in sorted((path.relative_to(package.parent).as_posix(), path) for path in files):
            for part in (name.encode(), path.read_bytes()):
                whole.update(len(part).to_bytes(8, "big") + part)
    return whole.hexdigest()


def arrays_digest(arrays: Mapping[str, np.ndarray], text: str = "") -> str:
    """Hex SHA-256 of named arrays, whatever their order: names, types, shapes and every bit.

    Args:
        arrays: By name.
        text: What belongs to them; a self-delimiting text, such as JSON, so that it cannot run into a name.
    """
    import numpy as np

    h = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        h.update(repr((name, array.dtype.str, array.shape)).encode())
        h.update(array.tobytes())
    return h.hexdigest()


@contextmanager
def _partial(
    path: Path, synced: bool, mode: int | None, place: Callable[[Path, Path], None]
) -> Iterator[IO[bytes]]:
    """A new file, put to `path` by `place(partial, path)` when it is whole, and removed if it does not."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}.partial")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _PLAIN
    handle = os.open(partial, flags, 0o666 if mode is None else mode)
    try:
        with os.fdopen(handle, "wb") as file:
            _set_mode(handle, mode)
            yield file
            file.flush()
            if synced:
                os.fsync(handle)
        place(partial, path)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and error.filename is None:
            # A full disk says so of a descriptor only.
            error.filename = str(path)
        raise
    if synced:
        sync_folder(path.parent)


def _link(partial: Path, path: Path) -> None:
    os.link(partial, path)
    partial.unlink()


def _set_mode(handle: int, mode: int | None) -> None:
    if mode is not None and stat.S_IMODE(os.fstat(handle).st_mode) != mode:
        os.fchmod(handle, mode)
