"""Word crops on disk: both tables, in artists' folders and at the top, and rows that are odd."""

import os
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fedstyle_secure.errors import GalleryError
from fedstyle_secure.systems.text.folders import WordFolder
from fedstyle_secure.systems.text.tables import read_table

WORDS = ("Quorvex", "jilpat", "ZENDOK", "Ombra", "42nd", "hy-fen")


def draw(path, seed, height=20, width=50):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)).save(path)


@pytest.fixture
def crops(tmp_path):
    """Two artists' pictures, with the word in each file's name."""
    for a, artist in enumerate(("ana", "bo")):
        for i, word in enumerate(WORDS):
            draw(tmp_path / artist / f"{i}_{word}_7.png", 10 * a + i)
    return tmp_path


def own_tables(crops, *, name="labels.csv", head="path,text\n", line="{path},{word}\n"):
    for artist in ("ana", "bo"):
        rows = "".join(line.format(path=f"{i}_{w}_7.png", word=w) for i, w in enumerate(WORDS))
        (crops / artist / name).write_text(head + rows)
    return crops


def tell_nothing(*texts):
    """No word of a portfolio is in any of the texts."""
    assert not [w for w in WORDS if any(w in str(text) for text in texts)]


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"head": "﻿text,path\r\n", "line": "{word},{path}\r\n"},
        {"name": "gt.txt", "head": "", "line": "{path}\t{word}\n"},
        {"name": "gt.txt", "head": "", "line": "{path} {word}\n"},
        {"name": "gt.txt", "head": "﻿", "line": '{path}, "{word}"\r\n'},
    ],
)
def test_every_form_of_table_in_artists_folders_is_read(crops, form):
    gallery = WordFolder(own_tables(crops, **form))
    assert gallery.artists == ("ana", "bo")
    portfolio = gallery.portfolio("bo")
    assert portfolio.labels == WORDS
    assert portfolio.pictures.shape == (6, 32, 128, 3)
    first = 2 if form.get("head", "x").strip("﻿") else 1
    table = form.get("name", "labels.csv")
    assert portfolio.names == tuple(f"{table} row {first + i}" for i in range(6))
    tell_nothing(portfolio.names)
    # Which row has which picture.
    shown = np.asarray(Image.open(crops / "bo" / "3_Ombra_7.png").resize((80, 32), Image.Resampling.LANCZOS))
    assert np.array_equal(portfolio.pictures[3][:, :80], shown)


@pytest.mark.parametrize(
    ("name", "head", "line"),
    [("labels.csv", "artist,path,text\n", "{a},{p},{w}\n"), ("gt.txt", "", "{p}\t{w}\n")],
)
def test_one_table_at_the_top_says_whose_each_is(crops, name, head, line):
    rows = [line.format(a=a, p=f"{a}/{i}_{w}_7.png", w=w) for a in ("bo", "ana") for i, w in enumerate(WORDS)]
    (crops / name).write_text(head + "".join(rows))
    # What lies in artists' folders does not count then.
    (crops / "ana" / "labels.csv").write_text("nonsense")
    gallery = WordFolder(crops, public=("bo",))
    assert (gallery.artists, gallery.public_artists) == (("ana",), ("bo",))
    assert gallery.portfolio("ana").labels == WORDS
    assert gallery.portfolio("ana").names[0] == f"{name} row {7 + len(head.splitlines())}"
    assert not gallery.portfolio("bo").test.any()


def test_the_table_says_what_is_held_out(crops):
    lines = [f"{i}_{w}_7.png,{w},{s}" for i, (w, s) in enumerate(zip(WORDS, "aabab ", strict=True))]
    said = "\n".join(lines).replace(",a", ",train").replace(",b", ",test").replace(", ", ",")
    for artist in ("ana", "bo"):
        (crops / artist / "labels.csv").write_text(f"path,text,split\n{said}\n")
    portfolio = WordFolder(crops, min_pictures=3).portfolio("ana")
    assert portfolio.test.tolist() == [False, False, True, False, True]
    assert portfolio.labels == WORDS[:5]
    with pytest.raises(GalleryError, match=r"'ana' has 3 training pictures"):
        WordFolder(crops, min_pictures=4)
    with pytest.raises(GalleryError, match=r"labels\.csv has no column 'fold'"):
        WordFolder(crops, split_column="fold", min_pictures=3)


def odd_rows(crops):
    """By what a message says: a row that cannot be used."""
    draw(crops.parent / "Outside_secret.png", 99)
    os.symlink(crops.parent / "Outside_secret.png", crops / "ana" / "link_Zendok.png")
    (crops / "ana" / "Broken_jilpat.png").write_bytes(b"\x89PNG\r\n\x1a\nrest")
    (crops / "ana" / "Text_jilpat.png").write_text("jilpat")
    return {
        "has no text": "1_jilpat_7.png,  ",
        "control characters": "1_jilpat_7.png,jil\u202epat",
        "a text of 42 characters": "1_jilpat_7.png," + "jilpat" * 7,
        "does not exist": "Gone_jilpat.png,jilpat",
        "no path inside": "../bo/1_jilpat_7.png,jilpat",
        "link out of the folder": "link_Zendok.png,ZENDOK",
        "damaged": "Broken_jilpat.png,jilpat",
        "not a supported type": "Text_jilpat.png,jilpat",
        "has the picture of 'labels.csv row 2'": "0_Quorvex_7.png,Quorvex",
        "number of values": "1_jilpat_7.png,jilpat,jilpat",
    }


def test_odd_rows_are_refused_or_skipped_by_place_and_without_their_text(crops):
    own_tables(crops)
    table = crops / "ana" / "labels.csv"
    good = table.read_text()
    for said, row in odd_rows(crops).items():
        table.write_text(good.replace("1_jilpat_7.png,jilpat", row))
        with pytest.raises(GalleryError) as error:
            WordFolder(crops).portfolio("ana")
        assert "'ana'" in str(error.value)
        assert "labels.csv row 3" in str(error.value)
        assert said in str(error.value)
        tell_nothing(error.value)
        portfolio = WordFolder(crops, on_bad="skip").portfolio("ana")
        assert portfolio.labels == (WORDS[0], *WORDS[2:])
        (skipped,) = portfolio.skipped
        assert skipped.name == "labels.csv row 3"
        assert said in skipped.reason
        tell_nothing(skipped)


def test_rows_of_a_table_at_the_top_that_are_nobodys_are_told_by_place(crops):
    rows = [f"ana/{i}_{w}_7.png,{w},ana" for i, w in enumerate(WORDS)]
    (crops / "labels.csv").write_text("\n".join(["path,text,artist", "bo/3_Ombra_7.png,Ombra,", *rows]))
    with pytest.raises(GalleryError, match=r"'labels\.csv row 2' has no artist"):
        WordFolder(crops)
    gallery = WordFolder(crops, on_bad="skip")
    assert gallery.artists == ("ana",)
    assert [(s.artist, s.name) for s in gallery.skipped] == [("", "labels.csv row 2")]
    tell_nothing(gallery.skipped)


def test_a_double_with_another_text_is_told_by_places(crops):
    own_tables(crops)
    draw(crops / "ana" / "1_jilpat_7.png", 0)
    with pytest.raises(GalleryError, match=r"row 2' is the same picture as 'labels\.csv row 3'") as error:
        WordFolder(crops).portfolio("ana")
    tell_nothing(error.value)


def test_tables_that_cannot_be_used_tell_nothing_of_what_is_in_them(crops):
    own_tables(crops)
    table = crops / "ana" / "labels.csv"
    for said, content in {
        "no column 'path', 'text'; valid: a first line": b"1_jilpat_7.png,jilpat\n0_Quorvex_7.png,Quorvex\n",
        "names a column twice": b"path,text,jilpat,jilpat\n",
        "cannot be read": b'path,text\n1.png,"jilpat\n',
        "can't decode": b"path,text\n1.png,jilpat\xff\n",
    }.items():
        table.write_bytes(content)
        with pytest.raises(GalleryError) as error:
            WordFolder(crops, on_bad="skip")
        assert "'ana'" in str(error.value)
        assert said in str(error.value)
        tell_nothing(error.value)


def test_folders_without_a_table_or_with_two_are_told(crops):
    own_tables(crops)
    (crops / "ana" / "labels.csv").unlink()
    with pytest.raises(GalleryError, match=r"'ana': has no labels\.csv or gt\.txt"):
        WordFolder(crops)
    gallery = WordFolder(crops, on_bad="skip")
    assert gallery.artists == ("bo",)
    assert [s.artist for s in gallery.skipped] == ["ana"]
    (crops / "bo" / "gt.txt").write_text("")
    with pytest.raises(GalleryError, match=r"'bo': both labels\.csv and gt\.txt"):
        WordFolder(crops, on_bad="skip")


def test_a_table_that_is_a_link_out_of_the_folder_is_refused(crops):
    own_tables(crops)
    (crops / "ana" / "labels.csv").unlink()
    os.symlink(crops / "bo" / "labels.csv", crops / "ana" / "labels.csv")
    with pytest.raises(GalleryError, match=r"'ana': labels\.csv is a link out of its folder"):
        WordFolder(crops, on_bad="skip")


@pytest.mark.parametrize(
    ("line", "path", "text"),
    [
        ("word_1.png\tHello", "word_1.png", "Hello"),
        ("a b.png\tHello, you", "a b.png", "Hello, you"),
        ('word_1.png, "Hello, you"', "word_1.png", "Hello, you"),
        ('word_1.png, "\\"Hi\\""', "word_1.png", '"Hi"'),
        ('word_1.png,"', "word_1.png", '"'),
        ("word_1.png Hello, you", "word_1.png", "Hello, you"),
        ('word_1.png\t"', "word_1.png", '"'),
        ("word_1.png", "word_1.png", ""),
        ("word_1.png,", "word_1.png", ""),
    ],
)
def test_lines_of_the_fields_table(tmp_path, line, path, text):
    (tmp_path / "gt.txt").write_text(f"\n{line}\n\n")
    (row,) = read_table(tmp_path / "gt.txt", "split", artists=False)
    assert (row.place, row.path, row.text) == ("gt.txt row 2", path, text)


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters=",\ufeff"), min_size=1),
            st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1),
        ),
        max_size=5,
    ),
    st.sampled_from("\t, "),
)
def test_what_was_written_with_any_separator_is_read(tmp_path_factory, rows, separator):
    table = tmp_path_factory.mktemp("t") / "gt.txt"
    table.write_text("".join(f"{path}{separator}x{text}\n" for path, text in rows), encoding="utf-8")
    found = [(row.path, row.text) for row in read_table(table, "split", artists=False)]
    assert found == [(path, unicodedata.normalize("NFC", f"x{text}")) for path, text in rows]


@given(st.binary(max_size=300), st.sampled_from(["labels.csv", "gt.txt"]))
def test_any_bytes_are_refused_in_one_line(tmp_path_factory, data, name):
    folder = tmp_path_factory.mktemp("t")
    (folder / name).write_bytes(b"path,text,artist\n" * (name == "labels.csv") + data)
    # There is no picture, so whatever is read nobody is left.
    with pytest.raises(GalleryError) as error:
        WordFolder(folder, on_bad="skip")
    assert "\n" not in str(error.value)
