"""The same document as a PDF: tagged, numbered pages, the same bytes for the same document.

What no font here can draw is written as its code point, as a PDF that is accessible (PDF/UA-1, ISO 14289-1,
7.21) holds no character without a shape; the HTML page has the characters themselves.
"""

from __future__ import annotations

import json
import shutil
import unicodedata
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fedstyle_secure.errors import AuditError
from fedstyle_secure.report.page.html import MEDIA
from fedstyle_secure.report.page.pieces import Document, Picture, joined
from fedstyle_secure.report.page.words import SHORT, SIGNS
from fedstyle_secure.visible import visible

_JOINERS = frozenset("\u200c\u200d")
"""Invisible, but Persian and many Indian names cannot be spelt without them."""


def to_pdf(document: Document, page_hash: str) -> bytes:
    """Typeset a document.

    Texts reach the typesetter as data, so that nothing in them is taken for its markup. Fonts are the
    typesetter's own and one of matplotlib's, never the machine's, and no package is loaded.

    Args:
        document: What to typeset.
        page_hash: The self-hash of the HTML page made of the same document.

    Raises:
        AuditError: A picture cannot be read.
    """
    import typst

    with TemporaryDirectory() as place:
        folder = Path(place)
        template = resources.files("fedstyle_secure.report.page").joinpath("templates/report.typ")
        (folder / "report.typ").write_text(template.read_text(encoding="utf-8"), encoding="utf-8")
        data = to_data(document, folder) | {
            "page_hash": page_hash,
            "signs": dict(SIGNS),
            "short": dict(SHORT),
        }
        drawable = _add_font(folder)
        (folder / "data.json").write_text(json.dumps(_drawn(data, drawable)), encoding="utf-8")
        made = datetime.fromisoformat(document.date).replace(tzinfo=UTC)
        try:
            return typst.compile(
                str(folder / "report.typ"),
                root=str(folder),
                font_paths=[str(folder)],
                ignore_system_fonts=True,
                timestamp=made,
                pdf_standards="ua-1",
            )
        except RuntimeError as error:
            raise AuditError(f"the PDF cannot be typeset: {error}") from None


def to_data(value: Any, folder: Path | None = None) -> Any:
    """A document as JSON values: texts as they are, every other piece a dictionary with its `kind`, lines as
    lists without two texts in a row.

    Args:
        value: A document or a part of one.
        folder: Where pictures are copied to; None leaves their names only.
    """
    if is_dataclass(value):
        data = {f.name: to_data(getattr(value, f.name), folder) for f in fields(value)}
        if isinstance(value, Picture):
            data["path"] = value.path.name if folder is None else _copied(value.path, folder)
        return {"kind": type(value).__name__} | ({"style": data.pop("kind")} if "kind" in data else {}) | data
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, list | tuple):
        return [to_data(item, folder) for item in joined(value)]
    return value


def _add_font(folder: Path) -> frozenset[int]:
    """Put the font for what the typesetter's own cannot draw into a folder.

    Returns:
        The code points that are set: those that this font draws, so that no text needs a third one, without
        invisible ones other than joiners, as texts that differ in those alone would look the same.
    """
    from matplotlib import get_data_path
    from matplotlib.ft2font import FT2Font

    font = Path(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    shutil.copyfile(font, folder / font.name)
    return frozenset(
        code
        for code in FT2Font(str(font)).get_charmap()
        if chr(code) in _JOINERS or unicodedata.category(chr(code)) != "Cf"
    )


def _drawn(value: Any, drawable: frozenset[int]) -> Any:
    """JSON values whose every text can be drawn."""
    if isinstance(value, str):
        return visible(value, drawable)
    if isinstance(value, list):
        return [_drawn(item, drawable) for item in value]
    if isinstance(value, dict):
        return {key: _drawn(item, drawable) for key, item in value.items()}
    return value


def _copied(path: Path, folder: Path) -> str:
    if path.suffix.lower() not in MEDIA:
        raise AuditError(f"{path}: is no picture that a report takes in: {', '.join(MEDIA)}")
    name = f"picture-{len(list(folder.glob('picture-*')))}{path.suffix.lower()}"
    shutil.copyfile(path, folder / name)
    return name
