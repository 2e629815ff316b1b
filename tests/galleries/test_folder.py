from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fedstyle_secure.errors import GalleryError
from fedstyle_secure.galleries.assemble import chosen
from fedstyle_secure.galleries.checks import survey
from fedstyle_secure.galleries.folder import FolderGallery

ARTWORKS = Path(__file__).parents[3] / "shared" / "artworks"
needs_artworks = pytest.mark.skipif(not ARTWORKS.is_dir(), reason=f"the real artworks are not at {ARTWORKS}")
PUBLIC = ("john_tenniel", "rembrandt", "sutton_palmer")


def paint(path: Path, seed: int, side: int = 20) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, {".jpg": "JPEG"}.get(path.suffix, "PNG"))


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Three artists, `anna`, `bela` and `carl`, with eight pictures each and no table."""
    for a, artist in enumerate(("carl", "anna", "bela")):
        for i in range(8):
            paint(tmp_path / artist / f"{i}.png", 100 * a + i)
    return tmp_path


@pytest.fixture
def table(folders: Path) -> Callable[..., Path]:
    """Writes `split.csv`: the given lines, or a whole table with every fourth picture held out."""

    def write(*lines: str, encoding: str = "utf-8", end: str = "\n") -> Path:
        if not lines:
            lines = ("path,artist,split,by_book,style", *rows_of("anna"), *rows_of("bela"), *rows_of("carl"))
        (folders / "split.csv").write_bytes("".join(line + end for line in lines).encode(encoding))
        return folders

    return write


def rows_of(artist: str, n: int = 8) -> list[str]:
    style = {"anna": "etching", "bela": ""}.get(artist, "pastel")
    by_book = ("", "") if artist == "carl" else ("test", "train")
    return [
        f"{artist}/{i}.png,{artist},{'test' if i % 4 == 3 else 'train'},{by_book[i > 2]},{style}"
        for i in range(n)
    ]


def refused(path: Path, *parts: str, **options: object) -> str:
    """The message with which the gallery is refused, or its first portfolio that is."""
    with pytest.raises(GalleryError) as caught:
        for_all(FolderGallery(path, size=20, **options))
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    for part in parts:
        assert part in message
    return message


def for_all(gallery: FolderGallery) -> dict[str, tuple[str, ...]]:
    return {a: gallery.portfolio(a).names for a in (*gallery.artists, *gallery.public_artists)}


# --- One folder per artist ---


def test_folders_are_artists(folders: Path) -> None:
    gallery = FolderGallery(folders, size=20, public=["carl"])
    assert gallery.artists == ("anna", "bela")
    assert gallery.public_artists == ("carl",)
    assert gallery.skipped == ()
    anna = gallery.portfolio("anna")
    assert anna.names == tuple(f"anna/{i}.png" for i in range(8))
    assert anna.pictures.shape == (8, 20, 20, 3)
    assert np.array_equal(anna.pictures[3], np.asarray(Image.open(folders / "anna/3.png")))
    assert anna.sha256[3] == hashlib.sha256((folders / "anna/3.png").read_bytes()).hexdigest()
    assert anna.labels == ("",) * 8
    assert anna.test.tolist() == [chosen(digest, 0.25, 0, "test") for digest in anna.sha256]
    assert anna.skipped == ()


def test_public_pictures_are_all_for_training(folders: Path) -> None:
    carl = FolderGallery(folders, size=20, public=["carl"]).portfolio("carl")
    assert len(carl.train_pictures) == 8


def test_a_portfolio_opens_no_other_artists_files(folders: Path) -> None:
    gallery = FolderGallery(folders, size=20)
    shutil.rmtree(folders / "bela")
    (folders / "carl/0.png").write_bytes(b"broken")
    assert len(gallery.portfolio("anna").names) == 8


def test_the_split_follows_content_and_seed_and_not_names(folders: Path) -> None:
    def held(seed: int) -> set[str]:
        anna = FolderGallery(folders, size=20, seed=seed).portfolio("anna")
        return {digest for digest, test in zip(anna.sha256, anna.test, strict=True) if test}

    before = held(0)
    assert len({frozenset(held(seed)) for seed in range(8)}) > 1
    for i in range(8):
        (folders / f"anna/{i}.png").rename(folders / f"anna/{chr(122 - i)}.png")
    assert held(0) == before


def test_a_share_is_drawn_for_each_picture_by_itself() -> None:
    """Over 20000 pictures the share is right within five standard errors (false alarms: 6e-7); purposes and
    seeds have draws of their own."""
    digests = [hashlib.sha256(i.to_bytes(4)).hexdigest() for i in range(20_000)]
    for fraction in (0.0, 0.1, 0.25, 0.5, 0.99, 1.0):
        drawn = np.array([chosen(digest, fraction, 0, "test") for digest in digests])
        assert abs(drawn.mean() - fraction) <= 5 * (fraction * (1 - fraction) / len(digests)) ** 0.5
    half = [[chosen(digest, 0.5, *draw) for digest in digests] for draw in ((0, "a"), (0, "b"), (1, "a"))]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert abs(np.corrcoef(half[one], half[other])[0, 1]) < 5 / len(digests) ** 0.5


def sides(root: Path, artist: str, **options: object) -> dict[str, bool]:
    portfolio = FolderGallery(root, size=20, on_bad="skip", **options).portfolio(artist)
    return dict(zip(portfolio.sha256, portfolio.test.tolist(), strict=True))


def trained_on(root: Path, artist: str, **options: object) -> Counter[tuple[bytes, str]]:
    portfolio = FolderGallery(root, size=20, on_bad="skip", **options).portfolio(artist)
    train = [p.tobytes() for p in portfolio.train_pictures]
    return Counter(zip(train, portfolio.train_labels, strict=True))


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5])
def test_a_picture_more_or_less_moves_no_other(tmp_path: Path, fraction: float) -> None:
    """Portfolios of 4 to 40 pictures, one added at a time, names in any order; before, 2 of 10 additions
    moved another picture."""
    order = np.random.default_rng(0).permutation(40)
    for i in range(12):
        paint(tmp_path / "anna" / f"{order[i]:02d}.png", i)
    before = None
    for i in range(12, 40):
        now = sides(tmp_path, "anna", test_fraction=fraction)
        if before is not None:
            assert len(now) == len(before) + 1
            assert before.items() <= now.items()
        before = now
        paint(tmp_path / "anna" / f"{order[i]:02d}.png", i)


def test_a_double_changes_one_training_record_at_most(tmp_path: Path) -> None:
    """Whatever bytes, name, style and side a copy has, the multiset that trains gains or loses one."""
    rng = np.random.default_rng(1)
    rows: list[tuple[str, str, str]] = []

    def record() -> Counter[tuple[bytes, str]]:
        with (tmp_path / "split.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("path", "artist", "split", "style"), *rows])
        return trained_on(tmp_path, "anna", min_pictures=0)

    for i in range(6):  # Never doubled, so that something always trains.
        paint(tmp_path / f"own-{i}.png", 100 + i)
        rows.append((f"own-{i}.png", "anna" if i < 5 else "other", "train"))
    rows = [(path, artist, split, "x") for path, artist, split in rows]
    before, moved = record(), 0
    for step in range(40):
        name = f"{rng.integers(10**6):06d}.png"
        pixels = np.random.default_rng(int(rng.integers(4))).integers(0, 256, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / name, compress_level=int(rng.integers(1, 9)))
        rows.append(
            (name, "anna", str(rng.choice(["train", "test"])), str(rng.choice(["x", "y"], p=[0.9, 0.1])))
        )
        now = record()
        assert ((now - before) + (before - now)).total() <= 1, step
        moved += now != before
        before = now
    assert moved > 4


def test_a_copy_in_other_bytes_moves_no_training_picture(folders: Path) -> None:
    before = trained_on(folders, "anna")
    for i in range(8):
        Image.open(folders / f"anna/{i}.png").save(folders / f"anna/-{i}.png", compress_level=1)
    now = trained_on(folders, "anna")
    # Where the copy's own draw is training and the picture's was not, the copy trains.
    assert before <= now
    assert now.total() <= 8
    assert max(now.values()) == 1


def test_a_portfolio_without_a_test_picture_trains_and_one_without_a_training_picture_is_refused(
    folders: Path,
) -> None:
    assert not any(sides(folders, "anna", test_fraction=1e-9).values())
    refused(
        folders, "'anna'", "8 pictures is held out", "lower gallery.test_fraction", test_fraction=1 - 1e-9
    )
    refused(folders, "'anna'", "none is left to train on", on_bad="skip", test_fraction=1 - 1e-9)


def test_who_takes_part_does_not_depend_on_the_hashes(folders: Path) -> None:
    """The roster is the same for every seed, though seeds differ in how many pictures they hold out."""
    train = set()
    for seed in range(12):
        gallery = FolderGallery(folders, size=20, seed=seed, min_pictures=8)
        assert gallery.artists == ("anna", "bela", "carl")
        train.add(len(gallery.portfolio("anna").train_pictures))
    assert len(train) > 2


def test_nested_folders_hidden_files_and_companions(folders: Path) -> None:
    paint(folders / "anna/sketches/early/s.JPG", 1)
    paint(folders / "anna/.hidden.png", 2)
    paint(folders / ".trash/x.png", 3)
    for name in ("README.md", "anna/notes.txt", "anna/meta.JSON"):
        (folders / name).write_text("words")
    gallery = FolderGallery(folders, size=20)
    assert gallery.artists == ("anna", "bela", "carl")
    anna = gallery.portfolio("anna")
    assert anna.names == (*(f"anna/{i}.png" for i in range(8)), "anna/sketches/early/s.JPG")
    assert anna.skipped == ()


@pytest.mark.parametrize("name", ["a.gif", "a.HEIC", "a.psd", "a.cr2", "sub/a.avif", "a.svg"])
def test_a_picture_of_another_type_is_a_bad_artwork(folders: Path, name: str) -> None:
    """Before, it was left out even where bad artworks are refused."""
    (folders / "anna/sub").mkdir()
    (folders / "anna" / name).write_bytes(b"?")
    refused(folders, f"'anna/{name}' is not a picture type; valid: .apng", 'gallery.on_bad = "skip"')
    anna = FolderGallery(folders, size=20, on_bad="skip").portfolio("anna")
    assert len(anna.names) == 8
    assert [(s.artist, s.name) for s in anna.skipped] == [("anna", f"anna/{name}")]
    assert "not a picture type" in anna.skipped[0].reason


@pytest.mark.parametrize("name", ["plate", "plate.download", "plate.thm", "0.png.bak"])
def test_a_picture_without_the_ending_of_one_is_told_by_its_content(folders: Path, name: str) -> None:
    for i, kind in enumerate(("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP")):
        Image.new("RGB", (20, 20), (i, i, i)).save(folders / "anna" / name, kind)
        refused(folders, f"'anna/{name}' is not a picture type")


@pytest.mark.parametrize("on_bad", ["refuse", "skip"])
def test_other_files_and_what_lies_beside_the_artists_are_listed(folders: Path, on_bad: str) -> None:
    (folders / "anna/process.mp4").write_bytes(b"\0\0\0\x18ftypisom????????")
    (folders / "anna/LICENSE").write_text("Public domain.")
    (folders / "anna/Icon\r").write_bytes(b"")
    paint(folders / "loose.png", 5)
    (folders / "loose.gif").write_bytes(b"GIF89a")
    gallery = FolderGallery(folders, size=20, on_bad=on_bad)
    anna = gallery.portfolio("anna")
    assert len(anna.names) == 8
    assert {(s.artist, s.name, s.reason) for s in anna.skipped} == {
        ("anna", f"anna/{name}", "is no picture") for name in ("LICENSE", "process.mp4", "Icon\r")
    }
    assert [(s.artist, s.name) for s in gallery.skipped] == [("", "loose.gif"), ("", "loose.png")]


@pytest.mark.parametrize("on_bad", ["refuse", "skip"])
@pytest.mark.parametrize(
    "system",
    ["@eaDir/0.png", "@eadir", "sub/@__thumb", "#recycle", "Thumbs", "thumbnails/large", "$RECYCLE.BIN",
     "__MACOSX", "lost+found", "System Volume Information"],
)  # fmt: skip
def test_folders_of_the_system_and_of_thumbnails_hold_no_artworks(
    folders: Path, system: str, on_bad: str
) -> None:
    """Synology puts a smaller copy of each picture beside it; before, 6 works became 12."""
    for i in range(8):
        picture = Image.open(folders / f"anna/{i}.png").resize((18, 18))
        place = folders / "anna" / system / f"SYNOPHOTO_THUMB_{i}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        picture.save(place)
    gallery = FolderGallery(folders, size=20, on_bad=on_bad)
    anna = gallery.portfolio("anna")
    assert anna.names == tuple(f"anna/{i}.png" for i in range(8))
    (left_out,) = anna.skipped
    assert (left_out.artist, left_out.name) == (
        "anna",
        "anna/" + system.removesuffix("/0.png").removesuffix("/large"),
    )
    assert "rename it if it is" in left_out.reason
    assert left_out in survey(gallery, on_bad).skipped


@pytest.mark.parametrize("on_bad", ["refuse", "skip"])
def test_a_system_folder_beside_the_artists_is_named_for_what_it_is(folders: Path, on_bad: str) -> None:
    for i in range(8):
        paint(folders / "__MACOSX/anna" / f"._{i}.png", i)
        paint(folders / "@eaDir" / f"{i}.png", i)
    gallery = FolderGallery(folders, size=20, on_bad=on_bad)
    assert gallery.artists == ("anna", "bela", "carl")
    assert [(s.artist, s.name) for s in gallery.skipped] == [("", "@eaDir"), ("", "__MACOSX")]
    assert "macOS adds to archives" in gallery.skipped[1].reason


def test_portfolios_repeat_exactly(folders: Path) -> None:
    one, two = (FolderGallery(folders, size=16, seed=3).portfolio("bela") for _ in range(2))
    assert one.digest() == two.digest()
    assert np.array_equal(one.pictures, two.pictures)


# --- Galleries that cannot be used ---


def test_missing_path_file_and_empty_folder(tmp_path: Path) -> None:
    refused(tmp_path / "none", "none", "does not exist")
    (tmp_path / "file").write_text("")
    refused(tmp_path / "file", "file", "is not a folder")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "empty", "holds nothing", "split.csv")
    paint(tmp_path / "flat/a.png", 1)
    refused(tmp_path / "flat", "flat", "1 files but no folder", "split.csv")


def test_unknown_artists_get_the_nearest_name(folders: Path) -> None:
    refused(folders, "public artist 'ana'", "did you mean 'anna'", "'bela'", public=["ana"])
    gallery = FolderGallery(folders, size=20)
    with pytest.raises(GalleryError, match="did you mean 'carl'"):
        gallery.portfolio("karl")
    with pytest.raises(GalleryError, match=r"artist 'xyz' .*valid: 'anna', 'bela', 'carl'"):
        gallery.portfolio("xyz")


def test_no_private_artist_left(folders: Path) -> None:
    gallery = FolderGallery(folders, size=20, public=["anna", "bela", "carl"])
    assert (gallery.artists, len(gallery.public_artists)) == ((), 3), "a platform over sites has no others"
    refused(folders, "no private artist left", "3 of them have too few", on_bad="skip", min_pictures=9)


def test_too_few_pictures(folders: Path) -> None:
    for i in range(4, 8):
        (folders / f"bela/{i}.png").unlink()
    (folders / "bela/3.png").unlink()
    refused(folders, "'bela'", "has 3 training pictures before any is held out", "gallery.min_pictures = 4")
    gallery = FolderGallery(folders, size=20, on_bad="skip")
    assert gallery.artists == ("anna", "carl")
    assert [(s.artist, s.name) for s in gallery.skipped] == [("bela", "")]
    assert "has 3 training pictures" in gallery.skipped[0].reason
    with pytest.raises(GalleryError, match="'bela'"):
        gallery.portfolio("bela")
    assert FolderGallery(folders, size=20, min_pictures=3).artists == ("anna", "bela", "carl")
    assert FolderGallery(folders, size=20, public=["bela"], min_pictures=3).public_artists == ("bela",)


def test_an_artist_without_pictures_is_noticed(folders: Path) -> None:
    (folders / "dora").mkdir()
    refused(folders, "'dora'", "has 0 training pictures")


@pytest.mark.parametrize("on_bad", ["refuse", "skip"])
def test_a_public_artist_with_too_few_pictures_is_never_dropped(folders: Path, on_bad: str) -> None:
    refused(folders, "'anna'", "has 8 training pictures", public=["anna"], min_pictures=9, on_bad=on_bad)


# --- Bad pictures ---


def broken(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def test_a_broken_picture(folders: Path) -> None:
    broken(folders / "anna/2.png")
    refused(folders, "'anna/2.png'", "damaged or cut short", 'gallery.on_bad = "skip"')
    anna = FolderGallery(folders, size=20, on_bad="skip").portfolio("anna")
    assert anna.names == tuple(f"anna/{i}.png" for i in range(8) if i != 2)
    assert [(s.artist, s.name) for s in anna.skipped] == [("anna", "anna/2.png")]
    assert "damaged" in anna.skipped[0].reason


def test_tiny_huge_mistyped_and_unreadable_pictures_name_the_file(folders: Path) -> None:
    paint(folders / "anna/2.png", 2, side=12)
    refused(folders, "'anna/2.png'", "12 x 12", "at least 16")
    paint(folders / "anna/2.png", 2, side=50)
    refused(folders, "'anna/2.png'", "50 x 50", "at most 2000", max_pixels=2000)
    (folders / "anna/2.png").write_bytes(b"not a picture")
    refused(folders, "'anna/2.png'", "valid: JPEG")
    (folders / "anna/2.png").unlink()
    os.mkfifo(folders / "anna/2.png")
    refused(folders, "'anna/2.png'", "not a regular file")


def test_a_file_that_vanishes_after_the_listing_is_named(folders: Path) -> None:
    gallery = FolderGallery(folders, size=20)
    (folders / "anna/2.png").unlink()
    with pytest.raises(GalleryError, match=r"'anna/2.png' cannot be read \(No such file"):
        gallery.portfolio("anna")


def test_too_few_left_after_decoding_is_an_error_even_when_skipping(folders: Path) -> None:
    for i in range(5):
        broken(folders / f"anna/{i}.png")
    gallery = FolderGallery(folders, size=20, on_bad="skip")
    assert "anna" in gallery.artists
    with pytest.raises(
        GalleryError, match=r"3 training pictures before any is held out after 5 were left out"
    ):
        gallery.portfolio("anna")


def test_equal_bytes_and_equal_pixels_are_doubles(folders: Path) -> None:
    shutil.copy(folders / "anna/1.png", folders / "anna/copy.png")
    refused(folders, "'anna/copy.png'", "'anna/1.png'", "same picture")
    Image.open(folders / "anna/5.png").save(folders / "anna/saved.png", compress_level=1)
    assert (folders / "anna/saved.png").read_bytes() != (folders / "anna/5.png").read_bytes()
    anna = FolderGallery(folders, size=20, on_bad="skip", test_fraction=0.01).portfolio("anna")
    assert anna.names == tuple(f"anna/{i}.png" for i in range(8))
    assert [s.name for s in anna.skipped] == ["anna/copy.png", "anna/saved.png"]
    assert "'anna/5.png'" in anna.skipped[1].reason


def test_equal_pictures_in_different_styles_are_all_left_out(table: Callable[..., Path]) -> None:
    rows = [f"anna/{i}.png,anna,train,x" for i in range(7)]
    root = table("path,artist,split,style", *rows, "anna/copy.png,anna,train,y")
    shutil.copy(root / "anna/1.png", root / "anna/copy.png")
    refused(root, "'anna/1.png'", "'anna/copy.png' with another label")
    anna = FolderGallery(root, size=20, on_bad="skip").portfolio("anna")
    assert anna.names == tuple(f"anna/{i}.png" for i in range(7) if i != 1)
    assert [s.name for s in anna.skipped] == ["anna/1.png", "anna/copy.png"]


def test_a_split_column_without_a_table_is_refused(folders: Path) -> None:
    refused(folders, "gallery.split_column is 'by_book'", "no split.csv", split_column="by_book")


def test_names_that_would_break_a_line_or_are_not_utf8(folders: Path) -> None:
    (folders / "anna/new\nline.png").write_bytes(b"")
    refused(folders, r"anna/new\nline.png", "empty file")
    (folders / "anna/new\nline.png").unlink()
    try:
        (folders / os.fsdecode(b"anna/\xff.png")).write_bytes(b"")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    refused(folders, r"anna/\udcff.png", "not a UTF-8 name", 'gallery.on_bad = "skip"')
    paint(folders / os.fsdecode(b"\xe9va/0.png"), 9)
    paint(folders / os.fsdecode(b"anna/\xe9/0.png"), 9)
    gallery = FolderGallery(folders, size=20, on_bad="skip")
    assert gallery.artists == ("anna", "bela", "carl")
    assert [s.name for s in gallery.skipped] == ["⟨U+DCE9⟩va"]
    anna = gallery.portfolio("anna")
    assert len(anna.names) == 8
    assert [s.name for s in anna.skipped] == ["anna/⟨U+DCE9⟩", "anna/⟨U+DCFF⟩.png"]
    json.dumps(survey(gallery, "skip").to_dict(), ensure_ascii=False).encode()


# --- Ways out of the gallery ---


@pytest.mark.parametrize("on_bad", ["refuse", "skip"])
def test_links_out_are_always_refused(
    folders: Path, tmp_path_factory: pytest.TempPathFactory, on_bad: str
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    paint(outside / "x.png", 7)
    link = folders / "anna/link.png"
    link.symlink_to(outside / "x.png")
    refused(folders, "'anna/link.png'", "link out of", on_bad=on_bad)
    link.unlink()
    # Another artist's picture is outside as well.
    link.symlink_to(folders / "bela/1.png")
    refused(folders, "'anna/link.png'", "link out of", on_bad=on_bad)
    link.unlink()
    link.symlink_to(outside)
    refused(folders, "'anna/link.png'", "link to a folder", on_bad=on_bad)
    link.unlink()
    (folders / "dora").symlink_to(outside)
    refused(folders, "'dora'", "link to a folder", on_bad=on_bad)


def test_a_link_inside_the_artists_folder_is_a_double(folders: Path) -> None:
    (folders / "anna/again.png").symlink_to("1.png")
    anna = FolderGallery(folders, size=20, on_bad="skip").portfolio("anna")
    assert [s.name for s in anna.skipped] == ["anna/again.png"]


def test_the_gallery_itself_may_be_a_link(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    link = tmp_path_factory.mktemp("links") / "gallery"
    link.symlink_to(folders)
    assert (
        FolderGallery(link, size=20).portfolio("anna").digest()
        == FolderGallery(folders).portfolio("anna").digest()
    )


@pytest.mark.parametrize("on_bad", ["refuse", "skip"])
@pytest.mark.parametrize(
    "path", ["../x.png", "anna/../../x.png", "anna/../anna/1.png", "/etc/passwd", "..\\x.png", "", "a\0b"]
)
def test_paths_out_of_the_table_are_always_refused(
    table: Callable[..., Path], path: str, on_bad: str
) -> None:
    root = table("path,artist,split", *(r.rsplit(",", 2)[0] for r in rows_of("anna")), f"{path},anna,train")
    refused(root, "split.csv line 10", repr(path), on_bad=on_bad)


@pytest.mark.parametrize("on_bad", ["refuse", "skip"])
def test_links_out_of_the_table_are_always_refused(
    table: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory, on_bad: str
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    paint(outside / "x.png", 7)
    root = table("path,artist,split", "anna/link.png,anna,train")
    (root / "anna/link.png").symlink_to(outside / "x.png")
    refused(root, "line 2", "'anna/link.png'", "link out of the gallery", on_bad=on_bad)
    root = table("path,artist,split", "dora/x.png,dora,train")
    (root / "dora").symlink_to(outside)
    refused(root, "line 2", "'dora/x.png'", "link out of the gallery", on_bad=on_bad)


# --- split.csv ---


def test_the_table_decides(table: Callable[..., Path]) -> None:
    root = table()
    paint(root / "anna/unlisted.png", 5)
    paint(root / "dora/0.png", 5)
    gallery = FolderGallery(root, size=20)
    assert gallery.artists == ("anna", "bela", "carl")
    anna = gallery.portfolio("anna")
    assert anna.names == tuple(f"anna/{i}.png" for i in range(8))
    assert anna.test.tolist() == [False, False, False, True] * 2
    assert anna.labels == ("etching",) * 8
    assert gallery.portfolio("bela").labels == ("",) * 8
    assert gallery.portfolio("carl").train_labels == ("pastel",) * 6


def test_another_split_column_drops_artists_without_a_value(table: Callable[..., Path]) -> None:
    gallery = FolderGallery(table(), size=20, split_column="by_book")
    assert gallery.artists == ("anna", "bela")
    assert gallery.portfolio("anna").test.tolist() == [True] * 3 + [False] * 5
    with pytest.raises(GalleryError, match="'carl'"):
        gallery.portfolio("carl")


def test_public_artists_use_every_row_whatever_the_split(table: Callable[..., Path]) -> None:
    gallery = FolderGallery(table(), size=20, split_column="by_book", public=["carl", "anna"])
    assert gallery.artists == ("bela",)
    assert gallery.public_artists == ("anna", "carl")
    assert len(gallery.portfolio("carl").train_pictures) == 8
    assert len(gallery.portfolio("anna").train_pictures) == 8


def test_rows_without_a_value_are_not_part_of_the_split(table: Callable[..., Path]) -> None:
    rows = [f"anna/{i}.png,anna,{' ' if i < 2 else 'train'}" for i in range(8)]
    anna = FolderGallery(table("path,artist,split", *rows), size=20).portfolio("anna")
    assert anna.names == tuple(f"anna/{i}.png" for i in range(2, 8))


def test_the_order_of_rows_does_not_matter(table: Callable[..., Path]) -> None:
    head = "path,artist,split,by_book,style"
    first = FolderGallery(table(head, *rows_of("anna")), size=20).portfolio("anna")
    turned = FolderGallery(table(head, *rows_of("anna")[::-1]), size=20).portfolio("anna")
    assert turned.names == first.names
    assert turned.digest() == first.digest()


def test_an_absolute_path_is_refused_even_inside_the_gallery(
    table: Callable[..., Path], folders: Path
) -> None:
    refused(
        table("path,artist,split", f"{folders}/anna/1.png,anna,train"), "line 2", "valid: inside the gallery"
    )


def test_files_may_lie_anywhere_in_the_gallery(table: Callable[..., Path]) -> None:
    rows = [f"./bela//{i}.png,Zoë,train" for i in range(8)]
    gallery = FolderGallery(table("path,artist,split", *rows), size=20)
    assert gallery.artists == ("Zoë",)
    assert gallery.portfolio("Zoë").names[0] == "bela/0.png"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_byte_order_marks_and_line_ends(table: Callable[..., Path], encoding: str, end: str) -> None:
    rows = [f'"{r}"'.replace(",", '","') for r in rows_of("anna")]
    root = table(" path,artist , split,by_book,style", *rows, "", encoding=encoding, end=end)
    anna = FolderGallery(root, size=20).portfolio("anna")
    assert len(anna.names) == 8
    assert anna.labels == ("etching",) * 8


def test_tables_that_cannot_be_read(table: Callable[..., Path]) -> None:
    refused(table("file;artist;split"), "no column 'path', 'artist', 'split'", "present: 'file;artist;split'")
    refused(table("path,artist"), "split.csv has no column 'split'", "present: 'path', 'artist'")
    refused(table(), "no column 'by_moon'", "'by_book'", split_column="by_moon")
    refused(table("path,artist,split,split", "a,b,train,test"), "split.csv names a column twice")
    refused(table("path,artist,split"), "split.csv lists no picture")
    refused(table("", end=""), "split.csv has no column", "present: none")
    refused(table("path,artist,split", "anna/1.png,anna"), "split.csv line 2", "valid: 3")
    refused(table("path,artist,split", "anna/1.png,anna,train,x"), "split.csv line 2", "valid: 3")
    refused(table("path,artist,split", '"anna/1.png,anna,train'), "split.csv cannot be read")
    refused(
        table("path,artist,split", "é,anna,train", encoding="latin-1"), "split.csv cannot be read", "UTF-8"
    )


def test_a_table_that_is_a_folder(folders: Path) -> None:
    (folders / "split.csv").mkdir()
    refused(folders, "split.csv cannot be read")


def test_bad_rows_name_their_line(table: Callable[..., Path]) -> None:
    head = ("path,artist,split", "anna/1.png,anna,train")
    refused(table(*head, "anna/2.png,anna,valid"), "line 3: split is 'valid'; valid: train, test or nothing")
    refused(table(*head, "anna/2.png,anna,unused"), "line 3: split is 'unused'")
    refused(table(*head, "anna/2.png, ,train"), "line 3: no artist")
    refused(
        table(*head, "bela/0.png,bela,test", "./anna/1.png,bela,test"), "line 4", "'anna/1.png' is on line 2"
    )


def test_a_line_number_counts_lines_and_not_rows(table: Callable[..., Path]) -> None:
    root = table("path,artist,split,note", 'anna/1.png,anna,train,"two', 'lines"', "", "anna/2.png,anna,?,x")
    refused(root, "line 5: split is '?'")


@pytest.mark.parametrize("on_bad", ["refuse", "skip"])
def test_a_path_listed_twice_is_always_refused(table: Callable[..., Path], on_bad: str) -> None:
    root = table("path,artist,split", "anna/1.png,anna,train", "anna/1.png,bela,train")
    refused(root, "line 3", "line 2", on_bad=on_bad)


def test_a_listed_file_that_does_not_exist(table: Callable[..., Path]) -> None:
    root = table()
    (root / "anna/5.png").unlink()
    refused(root, "split.csv line 7: 'anna/5.png' does not exist", 'gallery.on_bad = "skip"')
    anna = FolderGallery(root, size=20, on_bad="skip").portfolio("anna")
    assert len(anna.names) == 7
    assert [(s.name, s.reason) for s in anna.skipped] == [("anna/5.png", "does not exist (split.csv line 7)")]


def test_too_few_training_rows(table: Callable[..., Path]) -> None:
    rows = [f"anna/{i}.png,anna,{'train' if i < 3 else 'test'}" for i in range(8)]
    refused(table("path,artist,split", *rows), "'anna' has 3 training pictures", "gallery.min_pictures = 4")


@given(st.text(max_size=30), st.sampled_from(["refuse", "skip"]))
def test_no_text_in_the_path_column_gets_out(text: str, on_bad: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "gallery"
        root.mkdir()
        with (root / "split.csv").open("w", encoding="utf-8", errors="replace", newline="") as file:
            csv.writer(file).writerows([("path", "artist", "split"), (f"../{text}", "a", "train")])
        refused(root, "split.csv line", "valid: inside the gallery", on_bad=on_bad)


# --- The real artworks ---


@needs_artworks
def test_real_artworks_random_split() -> None:
    gallery = FolderGallery(ARTWORKS, public=PUBLIC)
    assert len(gallery.artists) == 10
    assert gallery.public_artists == PUBLIC
    portfolios = [gallery.portfolio(a) for a in (*gallery.artists, *gallery.public_artists)]
    assert sum(len(p.names) for p in portfolios) == 777
    assert [p.test.sum() for p in portfolios] == [14] + [15] * 9 + [0] * 3
    assert all(p.pictures.shape[1:] == (96, 96, 3) and not p.skipped for p in portfolios)


@needs_artworks
def test_real_artworks_split_by_book() -> None:
    gallery = FolderGallery(ARTWORKS, public=PUBLIC, split_column="split_by_book")
    assert len(gallery.artists) == 9
    assert "peter_paul_rubens" not in gallery.artists
    walter = gallery.portfolio("walter_crane")
    assert {n.split("/")[1].split("_")[0] for n, t in zip(walter.names, walter.test, strict=True) if t} == {
        "25418"
    }
    assert len(gallery.portfolio("rembrandt").train_pictures) == 60


@needs_artworks
def test_real_artworks_without_a_table(tmp_path: Path) -> None:
    for artist in ("rembrandt", "walter_crane"):
        shutil.copytree(ARTWORKS / artist, tmp_path / artist)
    gallery = FolderGallery(tmp_path)
    assert gallery.portfolio("walter_crane").test.sum() == 18
