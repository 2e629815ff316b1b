"""The page: one HTML file that needs nothing else and asks nobody."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from fedstyle_secure.errors import AuditError
from fedstyle_secure.report.page import selfhash
from fedstyle_secure.report.page.pieces import Document
from fedstyle_secure.report.page.words import SHORT, SIGNS
from fedstyle_secure.visible import visible

MEDIA = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".svg": "image/svg+xml"}
"""Pictures that a page takes in. In an image element an SVG runs no script and loads nothing."""


def to_html(document: Document) -> tuple[str, str]:
    """Write a document as HTML.

    Returns:
        The page, and its hash.

    Raises:
        AuditError: A picture cannot be read, or is of another kind; names it.
    """
    page = (
        environment("fedstyle_secure.report.page")
        .get_template("report.html.j2")
        .render(
            document=document,
            date_line=selfhash.date_line(document.date),
            hash_line=selfhash.hash_line(selfhash.UNKNOWN),
        )
    )
    return selfhash.signed(page)


def environment(*packages: str) -> Environment:
    """Templates out of `templates` in packages, the first that has one of a name.

    Whatever they fill in is escaped and made `visible`; `pieces.html.j2` draws the pieces of a line.
    """
    found = Environment(
        loader=ChoiceLoader([PackageLoader(package) for package in packages]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_filled_in,
    )
    found.filters |= {"kind": lambda piece: type(piece).__name__, "data_uri": data_uri}
    found.globals |= {"signs": SIGNS, "short": SHORT}
    return found


def _filled_in(value: Any) -> Any:
    """What the template fills in, wherever it stands, made `visible`. Markup was made of such texts."""
    return visible(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def data_uri(path: Path) -> str:
    """A picture file as a URI that holds it. Raises AuditError naming a file of another kind."""
    if path.suffix.lower() not in MEDIA:
        raise AuditError(f"{path}: is no picture that a report takes in: {', '.join(MEDIA)}")
    return f"data:{MEDIA[path.suffix.lower()]};base64,{base64.b64encode(path.read_bytes()).decode()}"
