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

from fedstyle_secure.config import Config
from fedstyle_secure.errors import ConfigError, GalleryError
from fedstyle_secure.galleries.folder import FolderGallery
from fedstyle_secure.galleries.names import check_name
from fedstyle_secure.galleries.opening import open_gallery
from fedstyle_secure.studios import studio_home

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
    assert all(set(gallery.portfolio(name).labels) == {name} for name in GOOD)


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


def folders(root: Path, *names: str) -> Path:
    """Five pictures in a folder of each name."""
    for number, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for k in range(5):
            (root / name / f"{k}.png").write_bytes(picture(10 * number + k))
    return root


@pytest.mark.parametrize("name", ["all", "none", " "])
def test_the_words_of_the_settings_are_no_artists(tmp_path: Path, name: str) -> None:
    """An artist called `all` would consent for everybody."""
    folders(tmp_path, "Bela", name)
    with pytest.raises(GalleryError, match=f"artist's folder '{name}' is (a word of the settings|blank)"):
        FolderGallery(tmp_path, size=16)
    gallery = FolderGallery(tmp_path, size=16, on_bad="skip")
    assert gallery.artists == ("Bela",)
    assert [(s.artist, s.name) for s in gallery.skipped] == [(name, "")]
    if name.strip():
        listed(tmp_path, {name: ""})
        with pytest.raises(GalleryError, match=f"line 2: artist '{name}' is a word of the settings"):
            FolderGallery(tmp_path, size=16, on_bad="skip")


def test_names_are_compared_in_one_coding(tmp_path: Path) -> None:
    """Before, an artist whose folder is in NFD was not found by a name in NFC."""
    nfc, nfd = "caf\u00e9", "cafe\u0301"
    gallery = FolderGallery(folders(tmp_path, nfd, "Bela"), size=16)
    assert gallery.artists == ("Bela", nfc)
    assert gallery.portfolio(nfc).names[0] == f"{nfd}/0.png"
    assert gallery.portfolio(nfd).artist == nfc
    assert FolderGallery(tmp_path, size=16, public=[nfd]).public_artists == (nfc,)
    for written in (nfc, nfd):
        section = Config().override(
            ["gallery.source=folder", f"gallery.path={tmp_path}", f"gallery.public={written}"]
        )
        opened = open_gallery(section.gallery)
        assert (opened.artists, opened.public_artists) == (("Bela",), (nfc,))


@pytest.mark.parametrize("on_bad", ["refuse", "skip"])
def test_both_codings_of_one_name_are_refused(tmp_path: Path, on_bad: str) -> None:
    """They print alike, and nobody can say who of the two is meant."""
    nfc, nfd = "caf\u00e9", "cafe\u0301"
    listed(tmp_path, {nfc: "", nfd: ""})
    with pytest.raises(GalleryError, match="line 7: artist 'café' is there in two codings") as error:
        FolderGallery(tmp_path, size=16, on_bad=on_bad)
    assert r"'caf\xe9' and 'cafe\u0301'" in str(error.value)
    (tmp_path / "split.csv").unlink()
    folders(tmp_path, nfc, nfd)
    if len(list(tmp_path.glob("caf*"))) < 2:
        pytest.skip("this file system knows one coding")
    with pytest.raises(GalleryError, match="artist's folder 'café' is there in two codings"):
        FolderGallery(tmp_path, size=16, on_bad=on_bad)


def test_a_table_finds_files_and_columns_in_another_coding(tmp_path: Path) -> None:
    nfc, nfd = "caf\u00e9", "cafe\u0301"
    folders(tmp_path, nfd)
    rows = "".join(f"{nfc}/{k}.png,ann,train,{nfd}\n" for k in range(5))
    (tmp_path / "split.csv").write_text(f"path,artist,{nfd},style\n{rows}", encoding="utf-8")
    ann = FolderGallery(tmp_path, size=16, split_column=nfc).portfolio("ann")
    assert ann.names == tuple(f"{nfd}/{k}.png" for k in range(5))
    assert set(ann.labels) == {nfc}
    again = rows + f"{nfd}/3.png,ann,train,\n"
    (tmp_path / "split.csv").write_text(f"path,artist,split,style\n{again}", encoding="utf-8")
    with pytest.raises(GalleryError, match=r"line 7: .* is on line 5 already"):
        FolderGallery(tmp_path, size=16)


def test_artists_whose_names_differ_in_case_spaces_or_commas_are_others(tmp_path: Path) -> None:
    names = (
        "Abbey",
        "Abbey, Edwin",
        "Edwin",
        "ann",
        "Ann",
        " ann",
        'an"n',
        "O'Keeffe, Georgia",
        "[x]",
        "All",
    )
    root = folders(tmp_path / "art", *names)
    if len(list(root.iterdir())) < len(names):
        pytest.skip("this file system does not tell case")
    homes = set()
    for name in names:
        section = Config.from_dict(
            {"gallery": {"source": "folder", "path": str(root), "public": [name], "size": 32}}
        ).gallery
        gallery = open_gallery(section)
        assert gallery.public_artists == (name,)
        assert set(gallery.artists) == set(names) - {name}
        homes.add(studio_home(tmp_path, section, name).name)
    assert len(homes) == len(names)


def test_public_artists_in_a_text_that_could_mean_others_are_refused(tmp_path: Path) -> None:
    """Before, two private artists became public."""
    folders(tmp_path, "Abbey, Edwin", "Abbey", "Edwin", "zed")
    text = Config().override(
        ["gallery.source=folder", f"gallery.path={tmp_path}", "gallery.public=Abbey, Edwin"]
    )
    with pytest.raises(ConfigError, match=r"gallery\.public = 'Abbey, Edwin' is not clear"):
        open_gallery(text.gallery)
    one = text.override(['gallery.public=["Abbey, Edwin"]'])
    assert open_gallery(one.gallery).public_artists == ("Abbey, Edwin",)
    two = text.override(['gallery.public=["Abbey", "Edwin"]'])
    assert open_gallery(two.gallery).public_artists == ("Abbey", "Edwin")
