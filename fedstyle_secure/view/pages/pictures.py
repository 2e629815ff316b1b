"""Contact sheets of an audit, where its report would show them, and curves that it drew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fedstyle_secure.audit.findings import Finding
from fedstyle_secure.report.page.html import MEDIA
from fedstyle_secure.report.page.pieces import Sign
from fedstyle_secure.report.page.words import worst
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.view.pages.run import Audited


@dataclass(frozen=True)
class Sheet:
    """A contact sheet.

    Attributes:
        name: Of the file.
        attack: That drew it.
        views: Names of the views that have it.
        sign: Worst verdict of the findings that name it.
        place: Of the first of those findings.
    """

    name: str
    attack: str
    views: Sequence[str]
    sign: Sign
    place: int


@dataclass(frozen=True)
class PicturesPage:
    """Contact sheets.

    Attributes:
        sheets: To be shown.
        kept_back: Why none is, or "".
    """

    sheets: Sequence[Sheet]
    kept_back: str


def pictures_page(audited: Audited, withdrawn: Mapping[str, str] | None) -> PicturesPage:
    """What may be shown.

    Args:
        audited: The audit.
        withdrawn: When each artist withdrew, "" for who has not, as their own ledgers say; an artist of whom
            nobody can tell is missing. None: the artists' studios are not at hand.
    """
    if reason := kept_back(audited, withdrawn):
        return PicturesPage((), reason)
    names = dict.fromkeys(name for finding in audited.findings for name in finding.pictures)
    return PicturesPage([_sheet(audited, name) for name in names], "")


def kept_back(audited: Audited, withdrawn: Mapping[str, str] | None) -> str:
    """Why pictures are not shown, or "". Whoever cannot be asked counts as one who has withdrawn."""
    if not audited.about["show_pictures"]:
        return "The auditor's setting (show_pictures) does not allow pictures, so none is shown."
    attacked = audited.about["artists"]
    if withdrawn is None:
        return (
            "The artists' own ledgers do not lie in this folder, so nobody here can tell whether one of them "
            "has withdrawn; no picture is shown."
        )
    gone = [artist for artist in attacked if withdrawn.get(artist, "not known")]
    if gone:
        return (
            "Pictures are kept back, as artists whose works they may show have withdrawn, or have no ledger "
            f"that says otherwise: {', '.join(gone)}."
        )
    return ""


def file_of(run: RunFolder, audited: Audited, name: str, withdrawn: Mapping[str, str] | None) -> Path | None:
    """The file of a picture that may be shown; None where there is none of that name, or it may not.

    Curves show no artwork. Whatever is shown is named by a finding, and vouched for by `audit.json`.
    """
    drawn = {finding.curve for finding in audited.findings if finding.curve}
    sheets = {picture for finding in audited.findings for picture in finding.pictures}
    if name not in drawn and (name not in sheets or kept_back(audited, withdrawn)):
        return None
    path = run.audit_folder / name
    plain = path.name == name and path.suffix.lower() in MEDIA and name in audited.about["files"]
    return path if plain and path.is_file() else None


def _sheet(audited: Audited, name: str) -> Sheet:
    named: list[tuple[int, Finding]] = [
        (i, finding) for i, finding in enumerate(audited.findings) if name in finding.pictures
    ]
    views = [audited.views.get(view, view) for view in dict.fromkeys(f.view for _, f in named)]
    place, first = named[0]
    return Sheet(name, first.attack, views, worst(f for _, f in named), place)
