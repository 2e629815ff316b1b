"""Sentences tied to their sources: text reads as text, and every figure in it cites where it was read.

    {value:rate}                      the figure at `at`/value, printed as rates are
    {works:whole sum}                 the figure at a source given as `works`, by a rule
    {summary.json#/privacy/delta}     the figure at a source of its own
    {epsilon:epsilon|no guarantee}    words for where the file says null; without them it is "none"
    {whom}                            a piece or a line given as `whom`, as it is
    [blind](baseline)                 a word of the glossary
    **No audit was run**              words that carry the line
    `fedstyle audit RUN`              a command
    < of {fpr}>                       left out where a figure in it is null or "", or what was given empty

What has a format, or was not given, is a figure. A line break is a `Break`. Texts that come out of files are
given, never written into the text, so that nothing in them is notation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from fedstyle_secure.report.page.pieces import Break, Code, Line, Piece, Strong, Term
from fedstyle_secure.report.page.sources import RULES, STYLES, Sources
from fedstyle_secure.report.page.words import GLOSSARY, SWEEP_WORDS

Given = Piece | Line
"""What a sentence takes in as it is; with a format, a source in words."""

_OPTIONAL = re.compile("<([^<>]*)>")
_NOTATION = re.compile(
    r"\{(?P<name>[^{}:|]+)(?P<how>:[^{}|]*)?(?P<none>\|[^{}]*)?\}"
    r"|\[(?P<words>[^][{}]+)\]\((?P<term>[a-z]+)\)|\*\*(?P<strong>[^*]+)\*\*|`(?P<code>[^`]+)`|(?P<line>\n)"
)


class Speaker:
    """Whoever holds files, and says sentences from them."""

    files: Mapping[str, Any]

    @cached_property
    def sources(self) -> Sources:
        """Where figures come from."""
        return Sources(self.files)

    def say(self, text: str, /, at: str = "", **given: Given) -> list[Piece]:
        """A text in this module's notation as a line.

        Args:
            text: The text.
            at: Pointer below which fields lie that were not given.
            given: Pieces, lines and sources by their names in the text.

        Raises:
            ValueError: The notation is broken, or a field is no source, a format or a word none; names it.
            AuditError: A file holds nothing at a source; names it.
        """
        return _said(self.sources, text, at, given)

    def row(self, text: str, /, at: str = "", **given: Given) -> list[Line]:
        """Cells of a table, separated by " | ". Args and raises as `say`."""
        return self.cells(text, at=at, **given)[0]

    def cells(self, *texts: str, at: str = "", **given: Given) -> list[list[Line]]:
        """Several such rows."""
        return [[_said(self.sources, cell, at, given) for cell in text.split(" | ")] for text in texts]


def listed(items: Iterable[Given], between: Piece = ", ", last: Piece | None = None) -> list[Piece]:
    """Pieces or lines one after the other, with something between them, and between the last two."""
    lines = [_line(item) for item in items]
    joined: list[Piece] = []
    for number, line in enumerate(lines):
        sign = between if last is None or number < len(lines) - 1 else last
        joined += [sign, *line] if number else line
    return joined


def _line(given: Given) -> list[Piece]:
    if isinstance(given, str):
        return [given] if given else []
    return list(given) if isinstance(given, Sequence) else [given]


def _said(sources: Sources, text: str, at: str, given: Mapping[str, Given]) -> list[Piece]:
    line: list[Piece] = []
    for number, part in enumerate(_OPTIONAL.split(text)):
        said, known = _part(sources, part, at, given)
        line += said if known or number % 2 == 0 else []
    return line


def _part(sources: Sources, text: str, at: str, given: Mapping[str, Given]) -> tuple[list[Piece], bool]:
    """A text without optional parts, and whether all that it names is there."""
    line: list[Piece] = []
    known, end = True, 0
    for found in _NOTATION.finditer(text):
        line += _plain(text[end : found.start()])
        end = found.end()
        name, how, none = found["name"], found["how"], found["none"]
        if name is None:
            line.append(_marked(found))
        elif name in given and how is None and none is None:
            line += _line(given[name])
            known &= bool(_line(given[name]))
        else:
            source, (style, rule) = _source(name, at, given), _format(name, how)
            missing = none is None and sources.value(source, rule) in (None, "")
            known &= not missing
            if style == "text" and rule == "value" and not missing:
                line.append(sources.text(source))
            else:
                line.append(sources.figure(source, style, rule, none="none" if none is None else none[1:]))
    return line + _plain(text[end:]), known


def _plain(text: str) -> list[Piece]:
    if stray := re.search("[{}<>]", text):
        raise ValueError(f"{text!r}: a {stray[0]!r} that belongs to no field")
    return [text] if text else []


def _marked(found: re.Match[str]) -> Piece:
    if found["code"] is not None:
        return Code(found["code"])
    if found["term"] is None:
        return Break() if found["strong"] is None else Strong(found["strong"])
    if found["term"] not in {**GLOSSARY, **SWEEP_WORDS}:
        raise ValueError(f"[{found['words']}]({found['term']}): the glossary has no such word")
    return Term(found["words"], found["term"])


def _source(name: str, at: str, given: Mapping[str, Given]) -> str:
    source = given.get(name, name if "#" in name else f"{at}/{name}" if at else None)
    if not isinstance(source, str):
        raise ValueError(f"{{{name}}}: is no source; give one, or `at`, below which it lies")
    return source


def _format(name: str, how: str | None) -> tuple[str, str]:
    """Style and rule of a field."""
    style, _, rule = (how or ":short")[1:].partition(" ")
    if style not in STYLES:
        raise ValueError(f"{{{name}}}: {style!r} is no style; allowed: {', '.join(STYLES)}")
    if rule and rule not in RULES:
        raise ValueError(f"{{{name}}}: {rule!r} is no rule; allowed: {', '.join(RULES)}")
    return style, rule or "value"
