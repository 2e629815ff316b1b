"""Files that speak for the works in a folder, read as they lie there: no link, no pipe, one spelling."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from fedstyle_secure.errors import GalleryError
from fedstyle_secure.names import nfc

MOST_BYTES = 2**20
"""Of such a file."""

_MOST_SHOWN = 80


def brief(value: object) -> str:
    """What somebody wrote, for a message of one line."""
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def find(folder: Path, name: str) -> str | None:
    """The entry of a folder that goes by a name, in any case and coding; None where there is none,
    and where there is no such folder.

    Raises:
        GalleryError: There are two, or the folder cannot be listed.
    """
    try:
        entries = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise GalleryError(f"folder {str(folder)!r} cannot be listed ({error.strerror})") from None
    # Some editors write .txt after every name, and some systems do not show it.
    spellings = (name, f"{name}.txt")
    found = sorted(entry for entry in entries if nfc(entry).casefold().strip() in spellings)
    if len(found) > 1:
        raise GalleryError(f"{str(folder / found[0])!r} and {found[1]!r} are both there; valid: {name} alone")
    return found[0] if found else None


def read(folder: Path, name: str) -> bytes | None:
    """What a file that speaks for a folder holds; None where there is none.

    Args:
        folder: A folder.
        name: The file's name, in lower case.

    Raises:
        GalleryError: It is a link, no regular file, has more than `MOST_BYTES`, is written in another case,
            or cannot be read; names it.
    """
    there = find(folder, name)
    if there is None:
        return None
    path = folder / there
    if there != name:
        raise GalleryError(f"{str(path)!r} is not called {name}, as it must be to be read; rename it")
    try:
        # Opening a pipe would wait for somebody to write.
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        link = path.is_symlink()
        what = "is a link; valid: the file itself" if link else f"cannot be read ({error.strerror})"
        raise GalleryError(f"{str(path)!r} {what}") from None
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise GalleryError(f"{str(path)!r} is not a regular file; valid: a file of text")
        with os.fdopen(handle, "rb", closefd=False) as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise GalleryError(f"{str(path)!r} cannot be read ({error.strerror})") from None
    finally:
        os.close(handle)
    if len(data) > MOST_BYTES:
        raise GalleryError(f"{str(path)!r} has too many bytes; valid: at most {MOST_BYTES}")
    return data
