"""What the name of an artist or a style may hold."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import TypeVar

from fedstyle_secure.errors import GalleryError
from fedstyle_secure.galleries.assemble import SKIP_HINT, OnBad
from fedstyle_secure.galleries.base import Skipped
from fedstyle_secure.names import WORDS, nfc
from fedstyle_secure.visible import controls, visible

T = TypeVar("T")


def check_name(name: str, what: str) -> None:
    """Refuse control characters and controls of writing direction.

    With one of them a name prints as another name, or as a line of its own. Any script is valid, with the
    joiners (U+200C, U+200D) that some need; right-to-left names are, without marks or overrides.

    Args:
        name: Of an artist or a style.
        what: Whose name it is and where, for the message.

    Raises:
        GalleryError: There is one; names the code point.
    """
    found = controls(name)
    if found:
        called = unicodedata.name(found[0], "a control character")
        raise GalleryError(
            f"{what} {name!r} holds U+{ord(found[0]):04X} ({called}); "
            "valid: any text without control characters and controls of writing direction"
        )


def check_artist(name: str, what: str) -> None:
    """Refuse what `check_name` refuses, a blank, and the words that settings have instead of names.

    Raises:
        GalleryError: As `check_name`, and for those.
    """
    check_name(name, what)
    if not name.strip():
        raise GalleryError(f"{what} {name!r} is blank; valid: a name")
    if name in WORDS:
        raise GalleryError(f"{what} {name!r} is a word of the settings, and no name; rename it")


def by_name(found: Mapping[str, T], what: str, on_bad: OnBad) -> tuple[dict[str, T], list[Skipped]]:
    """What was found by artists' names, under the names in the one coding that names are compared in.

    Args:
        found: By name, as it is written there.
        what: Whose names they are and where, for messages.
        on_bad: Whether a bad name is an error or is left out and listed.

    Raises:
        GalleryError: A name is bad and `on_bad` is "refuse", or two are the same in another coding, where
            nobody can say who is meant.
    """
    named: dict[str, T] = {}
    left_out: list[Skipped] = []
    written: dict[str, str] = {}
    for raw, value in found.items():
        name = nfc(raw)
        if name in written:
            raise GalleryError(
                f"{what} {name!r} is there in two codings, {written[name]!a} and {raw!a}; rename one"
            )
        written[name] = raw
        try:
            check_artist(name, what)
        except GalleryError as error:
            if on_bad == "refuse":
                raise GalleryError(f"{error}; or {SKIP_HINT}") from None
            left_out.append(Skipped(visible(name), "", str(error)))
        else:
            named[name] = value
    return named, left_out
