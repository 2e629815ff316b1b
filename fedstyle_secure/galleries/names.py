"""What the name of an artist or a style may hold."""

from __future__ import annotations

import unicodedata

from fedstyle_secure.errors import GalleryError
from fedstyle_secure.visible import controls


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
