"""What a page is made of: pieces of a line, blocks of pieces, sections of blocks.

HTML, PDF and JSON are written from the same document, so that they cannot say different things. Prose holds
no digits: a figure is a `Figure`, made from the place where it was read, and names it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

from fedstyle_secure.audit.findings import Finding, Verdict
from fedstyle_secure.visible import visible

Sign = Verdict | Literal["alarm", "met", "not met", "no policy"]
"""A verdict, that a finding lies above its bound, or what came of a policy."""


@dataclass(frozen=True)
class Figure:
    """A number or a text that stands in a file of the run.

    Attributes:
        text: As it is printed.
        source: `file#pointer` (RFC 6901, percent-encoded), several separated by spaces; `*` is every element.
        rule: How the values there became this one; see `sources.RULES`.
        value: The value in full, for machines; "" where the text is it.
        number: Whether it is a number.
    """

    text: str
    source: str
    rule: str = "value"
    value: str = ""
    number: bool = True


@dataclass(frozen=True)
class Ref:
    """Digits that no file of the run holds: a law's paragraph, a standard's or a format's name, an ordinal.

    Attributes:
        text: As it is printed.
        kind: Which of these.
    """

    text: str
    kind: Literal["legal", "name", "ordinal"] = "legal"


@dataclass(frozen=True)
class Term:
    """A word of the field, linked to its place in the glossary (`words.GLOSSARY`)."""

    text: str
    key: str


@dataclass(frozen=True)
class Strong:
    """Words that carry the line."""

    text: str


@dataclass(frozen=True)
class Muted:
    """Words that step back."""

    text: str


@dataclass(frozen=True)
class Code:
    """A command, or a part of one."""

    text: str


@dataclass(frozen=True)
class Blank:
    """A field that only a person can fill, left visibly empty. `label` says what belongs there."""

    label: str


@dataclass(frozen=True)
class Badge:
    """A verdict, in words and with a sign, or an alarm."""

    verdict: Sign


@dataclass(frozen=True)
class Range:
    """A measurement drawn on a scale from 0 to 1; whoever cannot see it finds the same figures beside it.

    Attributes:
        low, value, high: The figure and its interval.
        baseline: What one gets without looking, or None.
        bound: The most that the guarantee allows, or None.
        bad: Whether it leaks.
        undefended: The same attack's figure where nothing is defended, or None.
        large: Whether it is drawn large, as the figure of a page.
    """

    low: float
    value: float
    high: float
    baseline: float | None
    bound: float | None
    bad: bool
    undefended: float | None = None
    large: bool = False

    @classmethod
    def of(cls, finding: Finding) -> Self | None:
        """A finding as a picture; None where it does not lie between none and all."""
        low, value, high = finding.low, finding.value, finding.high
        if value is None or low is None or high is None or min(low, value) < 0 or max(high, value) > 1:
            return None
        inside = [x if x is not None and 0 <= x <= 1 else None for x in (finding.baseline, finding.bound)]
        return cls(low, value, high, inside[0], inside[1], finding.alarm or finding.verdict == "leaks")


@dataclass(frozen=True)
class Mark:
    """A mark of a `Range`, drawn by itself before the words that say what it stands for."""

    of: Literal["undefended", "measured", "bound", "baseline"]


@dataclass(frozen=True)
class Break:
    """A new line within a cell."""


Piece = str | Figure | Ref | Term | Strong | Muted | Code | Blank | Badge | Range | Mark | Break
Line = Sequence[Piece]


@dataclass(frozen=True)
class Para:
    """A paragraph."""

    line: Line
    kind: Literal["plain", "lead", "note", "alarm"] = "plain"


@dataclass(frozen=True)
class Bullets:
    """A list."""

    items: Sequence[Line]


@dataclass(frozen=True)
class Answers:
    """Questions, each with its verdict, if there is one, and its answer in a line."""

    rows: Sequence[tuple[str, Badge | None, Line]]


@dataclass(frozen=True)
class Definitions:
    """Words and what they mean; keys are targets of links, or ""."""

    rows: Sequence[tuple[str, Line, Line]]


@dataclass(frozen=True)
class Table:
    """A table whose first column names its rows.

    Attributes:
        key: Unique on the page.
        caption: What it shows.
        head: Column names.
        rows: Cells; the first of each is the row's name.
        numeric: Columns of numbers.
        wide: Columns of prose, which take what is left of the line.
    """

    key: str
    caption: Line
    head: Sequence[Line]
    rows: Sequence[Sequence[Line]]
    numeric: frozenset[int] = frozenset()
    wide: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Picture:
    """A picture file, shown as it is.

    Attributes:
        path: The file, PNG, JPEG or SVG.
        alt: What it shows, for whoever cannot see it. No digits.
        caption: Below it.
        wide: Whether it has to be scrolled sideways on a narrow screen, as nothing could be read in it else.
    """

    path: Path
    alt: str
    caption: Line
    wide: bool = False


@dataclass(frozen=True)
class Entry:
    """A numbered entry of the checklist.

    Attributes:
        number: From 1.
        title: What is asked.
        asked_by: Who asks it.
        blocks: What there is to say.
    """

    number: int
    title: str
    asked_by: str
    blocks: Sequence[Block]


Block = Para | Bullets | Answers | Definitions | Table | Picture | Entry


@dataclass(frozen=True)
class Section:
    """A section with its heading; `level` 2 is a chapter, 3 a part of one. Those of the annex follow all
    others, a level deeper, below a heading of their own."""

    key: str
    title: str
    blocks: Sequence[Block]
    level: Literal[2, 3] = 2
    annex: bool = False


@dataclass(frozen=True)
class Document:
    """The page.

    Attributes:
        title: What it is.
        subtitle: The run.
        date: When it was made, ISO 8601; the one thing that differs between two builds.
        alarms: What must be seen before anything else.
        sections: In order.
    """

    title: str
    subtitle: Line
    date: str
    alarms: Sequence[Block]
    sections: Sequence[Section] = field(default_factory=tuple)


def joined(line: Line) -> list[Piece]:
    """A line with neighbouring texts as one, however it was put together."""
    pieces: list[Piece] = []
    for piece in line:
        if isinstance(piece, str) and pieces and isinstance(pieces[-1], str):
            pieces[-1] += piece
        else:
            pieces.append(piece)
    return pieces


def plain(line: Line) -> str:
    """A line as plain text, what cannot be seen made `visible`; a blank field is a row of underscores."""
    texts = []
    for piece in line:
        if isinstance(piece, Blank):
            texts.append(f"[{piece.label}: ____________]")
        elif isinstance(piece, Badge):
            texts.append(piece.verdict)
        elif isinstance(piece, Break):
            texts.append("; ")
        elif not isinstance(piece, Range | Mark):
            texts.append(piece if isinstance(piece, str) else piece.text)
    return visible("".join(texts)).replace("\N{NO-BREAK SPACE}", " ")
