"""Texts by others made safe to print: what would forge a line or turn one around is named, not done.

An artist calls itself what it likes. A right-to-left override turns around the figures after its name, and a
line break forges a line of its own (Unicode Standard Annex 9, section 2; Unicode Technical Report
36, section 2.5). Names in right-to-left scripts hold neither, and stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Container

_CONTROL = "\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff"
"""Categories Cc, Zl, Zp and Cs: control characters, separators of lines, lone surrogates."""

_BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
"""All characters with the property Bidi_Control."""

_PRIVATE = "\ue000-\uf8ff\U000f0000-\U000ffffd\U00100000-\U0010fffd"
"""Category Co: nobody can say what they look like."""

_CONTROLS = re.compile(f"[{_CONTROL}{_BIDI}]")
# An opening bracket of the notation itself is written out, so that different texts stay different.
_HIDDEN = re.compile(f"[{_CONTROL}{_BIDI}{_PRIVATE}]|\u27e8(?=U\\+)")


def visible(text: str, drawable: Container[int] | None = None) -> str:
    """A text with `⟨U+202E⟩` for whatever acts on what is around it, or cannot be seen.

    Those are control characters, line and paragraph separators, lone surrogates, private use characters and
    controls of writing direction. Different texts give different texts.

    Args:
        text: Any text.
        drawable: Code points that can be drawn, among them those of `⟨U+0123456789ABCDEF⟩`; all others are
            written so too. None is all.
    """
    shown = _HIDDEN.sub(_code_point, text)
    if drawable is None:
        return shown
    return "".join(c if ord(c) in drawable else f"\u27e8U+{ord(c):04X}\u27e9" for c in shown)


def controls(text: str) -> str:
    """What of a text no name needs: control characters, separators of lines, lone surrogates, and controls of
    writing direction, each as often as it occurs. Joiners (U+200C, U+200D) and private use are none."""
    return "".join(_CONTROLS.findall(text))


def _code_point(found: re.Match[str]) -> str:
    return f"\u27e8U+{ord(found[0]):04X}\u27e9"
