"""A gallery on disk: one folder per artist, or a `split.csv` that says which file is whose."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Literal

from fedstyle_secure.errors import GalleryError
from fedstyle_secure.galleries.assemble import (
    SKIP_HINT,
    Artwork,
    OnBad,
    PictureRules,
    assemble_portfolio,
    check_count,
    held_out_count,
    is_inside,
    private_artists,
    unknown_artist,
)
from fedstyle_secure.galleries.base import Gallery, Portfolio, Skipped
from fedstyle_secure.galleries.names import check_name
from fedstyle_secure.galleries.pictures import MAX_PIXELS, SUFFIXES, read_picture_bytes

SPLIT_FILE = "split.csv"
_COMPANIONS = frozenset(
    {".txt", ".md", ".rst", ".json", ".csv", ".tsv", ".xml", ".yaml", ".yml", ".toml", ".html", ".ini", ".db"}
)
_NOT_A_PICTURE = f"is not a picture type; valid: {', '.join(sorted(SUFFIXES))}"

_Split = Literal["train", "test", "unused", "seeded"]
_SPLIT_VALUES: Mapping[str, _Split] = {"train": "train", "test": "test", "": "unused"}


@dataclass(frozen=True)
class _Listed:
    """A file of an artist, not read yet. `problem` says why it cannot be, "" if it may."""

    name: str
    split: _Split
    style: str = ""
    problem: str = ""


_Listing = Mapping[str, Sequence[_Listed]]


class FolderGallery(Gallery):
    """Artworks in a folder.

    Without `split.csv`, every folder in `path` is an artist; pictures may lie in folders below it, and which
    are held out follows from their content and `seed`. With `split.csv` (columns `path`, `artist`, the split
    column with `train`, `test` or nothing, optionally `style`) the table decides alone and other files are
    ignored.

    The files are listed at once and decoded one portfolio at a time. A link or a path that leads out of the
    gallery, or out of the artist's folder where there is no table, is always refused.

    Attributes:
        artists: Private artists, sorted: those with a picture in the split who are not public.
        public_artists: Public artists, sorted. All their pictures are for training, whatever the split says.
        skipped: Artists left out under `on_bad="skip"` (with an empty name), and pictures that lie beside the
            artists' folders.

    Args:
        path: The gallery's folder.
        size: Side of the decoded pictures.
        public: Artists whose pictures the platform owns.
        split_column: Column of `split.csv` that holds the split.
        on_bad: "refuse" raises at the first bad artwork; "skip" leaves it out and lists it.
        min_pictures: Fewest training pictures of an artist.
        test_fraction: Share of each portfolio held out, where there is no `split.csv`.
        seed: Which pictures that share is.
        max_pixels: Largest picture that is decoded.

    Raises:
        GalleryError: The folder or `split.csv` cannot be used, a path leads out, a name holds control
            characters, a public artist is unknown, an artist has too few pictures, or no private artist is
            left.
    """

    def __init__(
        self,
        path: Path,
        size: int = 96,
        public: Sequence[str] = (),
        split_column: str = "split",
        on_bad: OnBad = "refuse",
        min_pictures: int = 4,
        test_fraction: float = 0.25,
        seed: int = 0,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        self._path = Path(path)
        self._rules = PictureRules(size, on_bad, min_pictures, test_fraction, seed, max_pixels)
        if not self._path.is_dir():
            what = "is not a folder" if self._path.exists() else "does not exist"
            raise GalleryError(f"gallery.path {str(path)!r} {what}; valid: a folder with a folder per artist")
        stray: list[Skipped] = []
        if os.path.lexists(self._path / SPLIT_FILE):
            self._listing: _Listing = _list_table(self._path, split_column, on_bad)
        else:
            self._listing, stray = _list_folders(self._path)
        for name in public:
            if name not in self._listing:
                raise unknown_artist(name, self._listing, "public artist")
        self.public_artists = tuple(sorted(set(public)))
        for name in self.public_artists:
            check_count(name, self._count_train(name), min_pictures)
        # An artist without a row in this split takes no part, unlike one whose folder is empty.
        counts = {
            name: self._count_train(name)
            for name, files in self._listing.items()
            if name not in self.public_artists and not (files and all(f.split == "unused" for f in files))
        }
        self.artists, thin = private_artists(counts, self._rules, f"gallery {str(path)!r}")
        self.skipped = (*stray, *thin)

    def portfolio(self, artist: str) -> Portfolio:
        """Read and decode one artist's pictures, sorted by name; nobody else's files are opened.

        Names are POSIX paths relative to the gallery, digests are of the files' bytes.

        Raises:
            GalleryError: The artist is unknown, a picture is bad and `on_bad` is "refuse", or too few are
                left.
        """
        if artist not in self.artists and artist not in self.public_artists:
            raise unknown_artist(artist, (*self.artists, *self.public_artists))
        used = self._used(artist)
        skipped = [Skipped(artist, listed.name, listed.problem) for listed in used if listed.problem]
        return assemble_portfolio(artist, self._artworks(artist), self._rules, skipped)

    def _used(self, artist: str) -> list[_Listed]:
        """The artist's files that count: all of a public artist's, otherwise those in the split."""
        public = artist in self.public_artists
        return [listed for listed in self._listing[artist] if public or listed.split != "unused"]

    def _artworks(self, artist: str) -> list[Artwork]:
        public = artist in self.public_artists
        return [
            Artwork(
                listed.name,
                partial(read_picture_bytes, self._path / listed.name, self._rules.max_pixels),
                listed.style,
                False if public else None if listed.split == "seeded" else listed.split == "test",
            )
            for listed in self._used(artist)
            if not listed.problem
        ]

    def _count_train(self, artist: str) -> int:
        tests = [artwork.test for artwork in self._artworks(artist)]
        undecided = tests.count(None)
        return tests.count(False) + undecided - held_out_count(undecided, self._rules.test_fraction)


def _list_folders(root: Path) -> tuple[_Listing, list[Skipped]]:
    """Files by artist, where each folder is an artist, and pictures that lie beside the folders."""
    entries = _entries(root, root)
    folders = [entry.name for entry in entries if entry.is_dir()]
    if not folders:
        found = f"{len(entries)} files but no folder" if entries else "nothing"
        raise GalleryError(
            f"gallery {str(root)!r} holds {found}; valid: a folder of pictures per artist, or a {SPLIT_FILE}"
        )
    for artist in folders:
        check_name(artist, "artist's folder")
    stray = [
        Skipped("", entry.name, "is not in an artist's folder")
        for entry in entries
        if not entry.is_dir() and PurePosixPath(entry.name).suffix.lower() in SUFFIXES
    ]
    return {artist: _list_folder(root, artist) for artist in folders}, stray


def _list_folder(root: Path, artist: str) -> list[_Listed]:
    listed = []
    for name in sorted(_files_below(root, root / artist, root / artist)):
        suffix = PurePosixPath(name).suffix.lower()
        if suffix not in _COMPANIONS:
            listed.append(_Listed(name, "seeded", problem="" if suffix in SUFFIXES else _NOT_A_PICTURE))
    return listed


def _files_below(root: Path, artist_folder: Path, folder: Path) -> Iterator[str]:
    for entry in _entries(root, folder):
        if entry.is_dir():
            yield from _files_below(root, artist_folder, Path(entry.path))
            continue
        name = Path(entry.path).relative_to(root).as_posix()
        if entry.is_symlink() and not is_inside(Path(entry.path), artist_folder):
            raise GalleryError(f"{name!r} is a link out of its artist's folder; valid: the file itself")
        yield name


def _entries(root: Path, folder: Path) -> list[os.DirEntry[str]]:
    """What a folder holds, sorted, without hidden entries.

    Links to folders are refused: they may loop or lead out.
    """
    try:
        with os.scandir(folder) as scan:
            shown = [entry for entry in scan if not entry.name.startswith(".")]
    except OSError as error:
        raise GalleryError(f"folder {str(folder)!r} cannot be listed ({error.strerror})") from error
    for entry in shown:
        name = Path(entry.path).relative_to(root).as_posix()
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise GalleryError(f"{name!r} is not a UTF-8 name; rename it") from error
        if entry.is_symlink() and entry.is_dir():
            raise GalleryError(f"{name!r} is a link to a folder; valid: the folder itself")
    return sorted(shown, key=lambda entry: entry.name)


def _list_table(root: Path, split_column: str, on_bad: OnBad) -> _Listing:
    """Files by artist, as `split.csv` says.

    Raises:
        GalleryError: The table or one of its rows is not valid, or a file does not exist and `on_bad` is
            "refuse".
    """
    listing: dict[str, list[_Listed]] = {}
    line_of: dict[str, int] = {}
    for line, row in _rows(root / SPLIT_FILE, ("path", "artist", split_column)):
        where = f"{SPLIT_FILE} line {line}"
        artist, value = row["artist"].strip(), row[split_column].strip()
        if not artist:
            raise GalleryError(f"{where}: no artist; valid: a name")
        check_name(artist, f"{where}: artist")
        if value not in _SPLIT_VALUES:
            raise GalleryError(f"{where}: {split_column} is {value!r}; valid: train, test or nothing")
        name = _checked_path(root, row["path"], where)
        if name in line_of:
            raise GalleryError(f"{where}: {name!r} is on line {line_of[name]} already; valid: each path once")
        line_of[name] = line
        problem = "" if os.path.exists(root / name) else f"does not exist ({where})"
        if problem and on_bad == "refuse":
            raise GalleryError(f"{where}: {name!r} does not exist; mend the row, or {SKIP_HINT}")
        style = (row.get("style") or "").strip()
        check_name(style, f"{where}: style")
        listing.setdefault(artist, []).append(_Listed(name, _SPLIT_VALUES[value], style, problem))
    if not listing:
        raise GalleryError(f"{SPLIT_FILE} lists no picture; valid: a row for each")
    return {artist: sorted(files, key=lambda listed: listed.name) for artist, files in listing.items()}


def _rows(table: Path, needed: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows of a CSV file with a header, each with its line number."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            columns = [column.strip() for column in reader.fieldnames or ()]
            reader.fieldnames = columns
            missing = [column for column in needed if column not in columns]
            if missing:
                raise GalleryError(
                    f"{table.name} has no column {', '.join(map(repr, missing))}; "
                    f"columns present: {', '.join(map(repr, columns)) or 'none'}"
                )
            if len(set(columns)) != len(columns):
                raise GalleryError(f"{table.name} names a column twice: {', '.join(map(repr, columns))}")
            for row in reader:
                if None in row or None in row.values():
                    raise GalleryError(
                        f"{table.name} line {reader.line_num}: wrong number of values; valid: {len(columns)}"
                    )
                yield reader.line_num, row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise GalleryError(f"{table.name} cannot be read ({error}); valid: UTF-8 text with commas") from error


def _checked_path(root: Path, value: str, where: str) -> str:
    """A path from the table, normalised; it must stay in the gallery, links followed."""
    path = PurePosixPath(value)
    if path.is_absolute() or not path.parts or ".." in path.parts or "\\" in value or "\0" in value:
        raise GalleryError(f"{where}: path is {value!r}; valid: inside the gallery, with / and without ..")
    if not is_inside(root / path, root):
        raise GalleryError(f"{where}: {value!r} is a link out of the gallery; valid: the file itself")
    return path.as_posix()
