"""Names of artists and styles: every script is valid, and nothing that prints as another name or line."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fedstyle_secure.errors import GalleryError
from fedstyle_secure.galleries.folder import FolderGallery
from fedstyle_secure.galleries.names import check_name

GOOD = (
    "葛飾北斎",
    "🎨",
    "👩\u200d🎨",
    "می\u200cخواهم",  # noqa: RUF001
    "שלום",
    "=cmd|' /C calc'!A0",
    "<script>",
    "#*_$@",
    "x" * 300,
)
BAD = {
    "Ann\u202e": "U+202E (RIGHT-TO-LEFT OVERRIDE)",
    "a\nb": "U+000A (a control character)",
    "\u2066Ann": "U+2066 (LEFT-TO-RIGHT ISOLATE)",
    "שלום\u200f!": "U+200F (RIGHT-TO-LEFT MARK)",
    "An\x1b[31mn": "U+001B (a control character)",
    "An\x00n": "U+0000 (a control character)",
    "An\u2028n": "U+2028 (LINE SEPARATOR)",
}


def picture(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def listed(root: Path, styles: Mapping[str, str]) -> Path:
    """A gallery with a table: five pictures of each artist, all of one style."""
    with (root / "split.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "artist", "split", "style"))
        for number, (artist, style) in enumerate(styles.items()):
            for k in range(5):
                (root / f"{number}-{k}.png").write_bytes(picture(10 * number + k))
                writer.writerow((f"{number}-{k}.png", artist, "train", style))
    return root


def message(error: pytest.ExceptionInfo[GalleryError]) -> str:
    """The one line, which itself holds nothing that it warns of."""
    text = str(error.value)
    assert text.isprintable()
    assert "valid: any text without control characters" in text
    return text


@pytest.mark.parametrize("name", GOOD)
def test_any_script_is_valid(name: str) -> None:
    check_name(name, "artist")


def test_a_table_may_name_artists_and_styles_in_any_script(tmp_path: Path) -> None:
    gallery = FolderGallery(listed(tmp_path, {name: name for name in GOOD}), size=16)
    assert set(gallery.artists) == set(GOOD)
    assert all(set(gallery.portfolio(name).styles) == {name} for name in GOOD)


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("on_bad", ["refuse", "skip"])
def test_a_table_with_another_name_is_refused_with_its_line(tmp_path: Path, name: str, on_bad: str) -> None:
    listed(tmp_path, {"Bela": "", name: ""})
    with pytest.raises(GalleryError) as error:
        FolderGallery(tmp_path, size=16, on_bad=on_bad)
    text = message(error)
    # A line break in a cell makes the file longer than its rows.
    assert text.startswith(
        f"split.csv line {8 if chr(10) in name else 7}: artist {name!r} holds {BAD[name]}; "
    )


@pytest.mark.parametrize("name", BAD)
def test_a_table_with_another_style_is_refused(tmp_path: Path, name: str) -> None:
    listed(tmp_path, {"Bela": name})
    with pytest.raises(GalleryError) as error:
        FolderGallery(tmp_path, size=16)
    assert f": style {name!r} holds {BAD[name]}; " in message(error)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names of files")
@pytest.mark.parametrize("name", [name for name in BAD if "\x00" not in name])
def test_a_folder_with_another_name_is_refused(tmp_path: Path, name: str) -> None:
    for artist in ("Bela", "葛飾北斎", name):
        (tmp_path / artist).mkdir()
        for k in range(6):
            (tmp_path / artist / f"{k}.png").write_bytes(picture(k))
    with pytest.raises(GalleryError) as error:
        FolderGallery(tmp_path, size=16)
    assert message(error).startswith(f"artist's folder {name!r} holds {BAD[name]}; ")
