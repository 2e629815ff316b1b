"""Texts by others in a CSV file: none of them is a formula to the spreadsheet that opens it."""

from __future__ import annotations

import unicodedata

_STARTS = "=+-@\N{MINUS SIGN}"


def guarded(text: str) -> str:
    """The text with an apostrophe in front where a spreadsheet could take it for a formula.

    Spreadsheets skip blanks and line breaks before the sign that begins a formula, and in some languages read
    full-width signs as plain ones (OWASP, "CSV Injection"). Only the beginning of the text is looked at.
    """
    begin = next((c for c in text if unicodedata.category(c)[0] not in "CZ"), "")
    # Compatibility forms: full-width, small, superscript and subscript signs.
    sign = unicodedata.normalize("NFKC", begin)[:1]
    formula = text.startswith(("\t", "\r", "\n")) or (sign and sign in _STARTS)
    return f"'{text}" if formula else text
