"""Texts by others: nothing in them acts on what is around them, and none of them looks like another."""

from __future__ import annotations

import re
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedstyle_secure.visible import controls, visible

BIDI = {*"\u061c\u200e\u200f", *map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A))}
ALL = [chr(code) for code in range(sys.maxunicode + 1)]
ANY = st.text(st.characters(codec=None, categories=None, exclude_categories=()))


def read_back(text: str) -> str:
    return re.sub("\u27e8U\\+([0-9A-F]{4,6})\u27e9", lambda found: chr(int(found[1], 16)), text)


def test_what_is_hidden_is_what_unicode_calls_so() -> None:
    """Every character there is, held against the categories and the bidirectional classes of the standard."""
    for c in ALL:
        control = unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or c in BIDI
        assert controls(c) == (c if control else ""), ascii(c)
        hidden = control or unicodedata.category(c) == "Co"
        assert visible(c) == (f"\u27e8U+{ord(c):04X}\u27e9" if hidden else c), ascii(c)
    # The classes of Unicode Standard Annex 9 that change the direction of what follows are all among them.
    turns = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    assert {c for c in ALL if unicodedata.bidirectional(c) in turns} < BIDI
    # So are the classes that end a paragraph.
    assert all(controls(c) for c in ALL if unicodedata.bidirectional(c) == "B")


@pytest.mark.parametrize(
    "name",
    ["葛飾北斎", "🎨", "👩\u200d🎨", "שלום", "عالم", "می\u200cخواهم", "Zoë ⟨x⟩", "#*_$@", ""],  # noqa: RUF001
)
def test_names_of_any_script_stay_as_they_are(name: str) -> None:
    assert visible(name) == name
    assert controls(name) == ""


def test_code_points_are_named() -> None:
    assert visible("Ann\u202e") == "Ann⟨U+202E⟩"
    assert visible("a\nb\x1b[2J") == "a⟨U+000A⟩b⟨U+001B⟩[2J"
    assert visible("葛a\U0001f3a8", {ord("a")}) == "⟨U+845B⟩a⟨U+1F3A8⟩"


@given(ANY)
def test_different_texts_give_different_ones(text: str) -> None:
    """What is shown can be read back, even where a text imitates the notation."""
    ascii_only = frozenset(range(32, 127)) | {0x27E8, 0x27E9}
    for shown in (visible(text), visible(text, ascii_only)):
        assert read_back(shown) == text
        assert not controls(shown)
    assert set(map(ord, visible(text, ascii_only))) <= ascii_only


@given(st.lists(st.sampled_from(["\u27e8", "U+", "202E", "\u27e9", "\u202e", "U+27E8", "a"])).map("".join))
def test_an_imitated_code_point_is_told_from_a_real_one(text: str) -> None:
    assert read_back(visible(text)) == text
