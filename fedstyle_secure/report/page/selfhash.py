"""A page that says its own hash: SHA-256 over all of it, with marks in place of its date and its hash."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from fedstyle_secure.errors import AuditError

_DATE = re.compile(r'^<p id="report-date">Made on <time>(\d{4}-\d\d-\d\d)</time></p>$', re.MULTILINE)
_HASH = re.compile(
    r'^<p id="report-hash">SHA-256 of this page without its date and this line: '
    r"<code>([0-9a-f]{64})</code></p>$",
    re.MULTILINE,
)
UNKNOWN = "0" * 64
"""What stands in the hash line while the hash is not known."""


def date_line(date: str) -> str:
    """The line that holds the date."""
    return f'<p id="report-date">Made on <time>{date}</time></p>'


def hash_line(digest: str) -> str:
    """The line that holds the hash."""
    return (
        f'<p id="report-hash">SHA-256 of this page without its date and this line: <code>{digest}</code></p>'
    )


def self_hash(page: str) -> str:
    """The hash that belongs into a page.

    Raises:
        AuditError: The page has not exactly one date line and one hash line of the exact form, so something
            could hide in them.
    """
    blanked = page
    for name, pattern in (("date", _DATE), ("hash", _HASH)):
        # A mark each, or the two could change places with each other or with an empty line.
        blanked, found = pattern.subn(f"<!-- {name} -->", blanked)
        if found != 1 or page.count(f'id="report-{name}"') != 1:
            raise AuditError(f"the page has not exactly one {name} line as this program writes it")
    return hashlib.sha256(blanked.encode()).hexdigest()


def signed(page: str) -> tuple[str, str]:
    """A page with `UNKNOWN` in its hash line, with the hash in its place; and the hash."""
    digest = self_hash(page)
    return page.replace(hash_line(UNKNOWN), hash_line(digest)), digest


def verify_page(path: Path) -> str:
    """Check that a page is as it was written.

    Returns:
        Its hash, to be compared with one that was kept elsewhere.

    Raises:
        AuditError: It is no report, or was changed.
    """
    try:
        page = path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise AuditError(f"{path}: cannot be read: {error}") from None
    try:
        digest = self_hash(page)
    except AuditError as error:
        raise AuditError(f"{path}: {error}") from None
    if hash_line(digest) not in page:
        raise AuditError(f"{path}: was changed after it was written: its hash is {digest}")
    return digest
