"""Texts by others are no formulas, whatever stands before the sign that would begin one."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedstyle_secure.spreadsheet import guarded


@pytest.mark.parametrize("sign", [*"=+-@", *"＝＋－＠", *"﹢﹣﹦﹫", *"⁺₊⁼₌", "−"])  # noqa: RUF001
@pytest.mark.parametrize(
    "before", ["", " ", "\n", "\r\n", "\t", "\x00", "\ufeff", "\u00a0", "\u3000", "\u202e"]
)
def test_formulas_are_guarded(sign: str, before: str) -> None:
    assert guarded(f"{before}{sign}cmd|' /C calc'!A0") == f"'{before}{sign}cmd|' /C calc'!A0"


@pytest.mark.parametrize(
    "text", ["", " ", "葛飾北斎", "🎨", "a=b", "a\n=b", "<script>", "#*_$@", "1-2", "'=1", "שלום", "(-1)"]
)
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert guarded(text) == text


def test_every_character_that_is_compatible_with_a_sign_is_taken_for_it() -> None:
    alike = [c for c in map(chr, range(sys.maxunicode + 1)) if unicodedata.normalize("NFKC", c) in {*"=+-@"}]
    assert len(alike) >= 4 + 4 + 4 + 4
    assert all(guarded(f"\n{c}1").startswith("'") for c in alike)


@given(st.text())
def test_only_an_apostrophe_is_added(text: str) -> None:
    assert guarded(text) in (text, f"'{text}")
    assert guarded(guarded(text)) == guarded(text)
