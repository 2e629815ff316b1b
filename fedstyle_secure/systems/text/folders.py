"""Word crops on disk: a folder an artist with a table of texts, or one table that says whose each crop is."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

from fedstyle_secure.errors import GalleryError
from fedstyle_secure.galleries.assemble import SKIP_HINT, OnBad, PictureRules, is_inside
from fedstyle_secure.galleries.base import Skipped
from fedstyle_secure.galleries.folder import (
    Folder,
    Listed,
    ListedGallery,
    gallery_folder,
    in_its_coding,
    list_folders,
)
from fedstyle_secure.galleries.names import by_name
from fedstyle_secure.galleries.pictures import PictureError
from fedstyle_secure.systems.text.crops import HEIGHT, WORDS, check_text
from fedstyle_secure.systems.text.tables import LABELS, TRUTH, Row, read_table, table_in

_TABLES = f"{LABELS} or {TRUTH}"


class WordFolder(ListedGallery):
    """Word crops in a folder, labelled by their texts.

    Where `labels.csv` or `gt.txt` lies in `path` itself, it says whose each picture is; else every folder in
    `path` is an artist and holds one of them, with paths from there. Artworks are called by their rows
    (`labels.csv row 17`), as many data sets have the word in the file's name. Pictures are fitted into crops
    by `crops.line_of_text`.

    All tables are read at once, as they say how much each artist has; pictures one portfolio at a time. A row
    is bad where its picture is missing, outside the folder, named before or unreadable, or its text is none.

    Attributes:
        artists: Private artists, sorted: those with a row in the split who are not public.
        public_artists: Public artists, sorted. All their crops are for training, whatever the split says.
        skipped: Artists left out under `on_bad="skip"` (with an empty name), and what is nobody's.
    """

    def __init__(
        self,
        path: Path,
        public: Sequence[str] = (),
        split_column: str = "split",
        on_bad: OnBad = "refuse",
        min_pictures: int = 4,
        test_fraction: float = 0.25,
        seed: int = 0,
    ) -> None:
        """List the artists.

        Args:
            path: The gallery's folder.
            public: Artists whose crops the platform owns.
            split_column: Column of `labels.csv` that says train or test; only `split` may be missing.
            on_bad: "refuse" raises at the first bad row; "skip" leaves it out and lists it.
            min_pictures: Fewest training crops of an artist.
            test_fraction: Share of each portfolio held out where no table says, each by its own content.
            seed: Which crops that share is.

        Raises:
            GalleryError: The folder or a table cannot be used, a row is bad and `on_bad` is "refuse", a
                public artist is unknown, an artist has too few crops, or no private artist is left.
        """
        root = gallery_folder(path)
        table = table_in(root)
        if table is None:
            listing, stray = list_folders(root, on_bad, partial(_one_folder, split_column), _TABLES)
        else:
            listing, stray = _one_table(root, table, split_column, on_bad)
        rules = PictureRules(HEIGHT, on_bad, min_pictures, test_fraction, seed, reading=WORDS)
        super().__init__(root, listing, stray, public, rules)


def _one_folder(split_column: str, root: Path, artist: str, folder: str, on_bad: OnBad) -> Folder:
    try:
        table = table_in(root / folder)
        if table is not None:
            rows = read_table(table, split_column, artists=False)
            return Folder([file for _, file in listed(root, folder, rows, on_bad)])
        if on_bad == "refuse":
            raise GalleryError(f"has no {_TABLES} in its folder; write one, or {SKIP_HINT}")
    except GalleryError as error:
        raise GalleryError(f"artist {artist!r}: {error}") from None
    return Folder((), [Skipped(artist, "", f"has no {_TABLES} in its folder")])


def _one_table(
    root: Path, table: Path, split_column: str, on_bad: OnBad
) -> tuple[dict[str, Folder], list[Skipped]]:
    """Files by artist, and rows that are nobody's."""
    files: dict[str, list[Listed]] = {}
    stray = []
    for artist, file in listed(root, "", _owned(read_table(table, split_column, artists=True)), on_bad):
        if artist:
            files.setdefault(artist, []).append(file)
        else:
            stray.append(Skipped("", file.name, file.problem))
    if not files:
        raise GalleryError(f"{table.name} lists no picture; valid: a row for each")
    named, misnamed = by_name(files, f"{table.name}: artist", on_bad)
    return {artist: Folder(found) for artist, found in named.items()}, stray + misnamed


def _owned(rows: Iterable[Row]) -> Iterable[Row]:
    for row in rows:
        missing = not row.artist and not row.problem
        yield replace(row, problem="has no artist; valid: a name") if missing else row


def listed(root: Path, folder: str, rows: Iterable[Row], on_bad: OnBad) -> Iterable[tuple[str, Listed]]:
    """Each row's artist, as written, and file.

    Args:
        root: The gallery's folder.
        folder: Below it, where paths begin and which none leaves.
        rows: Of one table.
        on_bad: What a bad row does.

    Raises:
        GalleryError: A row is bad and `on_bad` is "refuse"; names its place and nothing out of it.
    """
    places: dict[str, str] = {}
    for row in rows:
        path = ""
        try:
            if row.problem:
                raise PictureError(row.problem)
            path = _path(root / folder, row.path)
            check_text(row.text)
            if (first := places.setdefault(path, row.place)) != row.place:
                raise PictureError(f"has the picture of {first!r}; valid: each picture once")
        except PictureError as error:
            if on_bad == "refuse":
                raise GalleryError(f"{row.place!r} {error}; mend or remove it, or {SKIP_HINT}") from None
            yield row.artist, Listed(row.place, "", row.split, problem=str(error))
        else:
            yield row.artist, Listed(row.place, os.path.join(folder, path), row.split, row.text)


def _path(folder: Path, written: str) -> str:
    """Where a picture lies in a folder, which it must not leave, links followed."""
    path = PurePosixPath(written)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\\" in written or "\0" in written:
        raise PictureError("has no path inside the folder; valid: one with / and without ..")
    path = in_its_coding(folder, path)
    if not is_inside(folder / path, folder):
        raise PictureError("has a path that is a link out of the folder; valid: the file itself")
    if not os.path.exists(folder / path):
        raise PictureError("has a picture that does not exist")
    return path.as_posix()
