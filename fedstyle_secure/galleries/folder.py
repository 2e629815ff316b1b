"""A gallery on disk: one folder per artist, or a `split.csv` that says which file is whose."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Literal

from fedstyle_secure.consent import voices
from fedstyle_secure.consent.uses import Purpose, Said, refusal
from fedstyle_secure.consent.voices import Home
from fedstyle_secure.errors import GalleryError
from fedstyle_secure.galleries.assemble import (
    SKIP_HINT,
    Artwork,
    OnBad,
    PictureRules,
    assemble_portfolio,
    check_count,
    is_inside,
    private_artists,
    public_artists,
    unknown_artist,
)
from fedstyle_secure.galleries.base import Gallery, Portfolio, Refused, Skipped
from fedstyle_secure.galleries.beside import NOTES, OTHER_PICTURES, begins_like_a_picture, system_folder
from fedstyle_secure.galleries.names import by_name, check_artist, check_name
from fedstyle_secure.galleries.pictures import MAX_PIXELS, SUFFIXES, PictureError, read_picture_bytes
from fedstyle_secure.names import nfc
from fedstyle_secure.visible import visible

SPLIT_FILE = "split.csv"
_NOT_A_PICTURE = f"is not a picture type; valid: {', '.join(sorted(SUFFIXES))}"

Split = Literal["train", "test", "unused", "seeded"]
SPLIT_VALUES: Mapping[str, Split] = {"train": "train", "test": "test", "": "unused"}
"""What a table's split column may say."""


@dataclass(frozen=True)
class Listed:
    """A file of an artist, not read yet.

    Attributes:
        name: Its name in the portfolio.
        path: Relative to the gallery.
        split: What the table says, or that its content does.
        label: What its system knows it by.
        problem: Why it cannot be read, "" if it may.
        unsure: Whether its name does not say that it is a picture, so that its first bytes must.
        allowed: Whether a file beside it allows its use, where that is asked for.
    """

    name: str
    path: str
    split: Split
    label: str = ""
    problem: str = ""
    unsure: bool = False
    allowed: bool = False

    def held_out(self, public: bool) -> bool | None:
        """`Artwork.test`: nothing of a public artist is held out."""
        return False if public else None if self.split == "seeded" else self.split == "test"


@dataclass(frozen=True)
class Folder:
    """What an artist has.

    Attributes:
        files: Those that may be artworks.
        left_out: What was left out, with the reason.
        home: The folder whose files say what these may be used for, below the gallery's; "" for itself.
    """

    files: Sequence[Listed]
    left_out: Sequence[Skipped] = ()
    home: str = ""


def ask_files(
    root: Path, listing: Mapping[str, Folder], purpose: Purpose
) -> dict[str, tuple[Folder, list[Refused]]]:
    """By artist: what is left where the files beside the artworks have been asked, and what was refused.

    Args:
        root: The gallery's folder.
        listing: What each artist has.
        purpose: For which use.

    Raises:
        GalleryError: Such a file is not valid.
    """
    said = files_say(root, listing, purpose)
    asked: dict[str, tuple[Folder, list[Refused]]] = {}
    for artist, folder in listing.items():
        left, refused = [], []
        for listed in folder.files:
            found = refusal(purpose, said[listed.path])
            if found is None or found.way == "unsaid":
                left.append(replace(listed, allowed=found is None))
            else:
                refused.append(Refused(artist, listed.name, found.way, found.reason))
        asked[artist] = (replace(folder, files=left), refused)
    return asked


def files_say(root: Path, listing: Mapping[str, Folder], purpose: Purpose) -> dict[str, list[Said]]:
    """By path: what the files beside the artworks say of them. Args and raises as `ask_files`."""
    homes: dict[str, list[str]] = {}
    for folder in listing.values():
        homes.setdefault(folder.home, []).extend(listed.path for listed in folder.files)
    said: dict[str, list[Said]] = {}
    for home, paths in homes.items():
        said |= Home(root, home).says(paths, purpose)
    return said


class ListedGallery(Gallery):
    """A folder whose files have been listed, and are decoded one portfolio at a time.

    Attributes:
        artists: Private artists, sorted: those with a picture in the split who are not public.
        public_artists: Public artists, sorted. All their pictures are for training, whatever the split says.
        skipped: Artists left out under `on_bad="skip"` (with an empty name), and what `stray` says.
    """

    def __init__(
        self,
        path: Path,
        listing: Mapping[str, Folder],
        stray: Sequence[Skipped],
        public: Sequence[str],
        rules: PictureRules,
    ) -> None:
        """
        Args:
            path: The gallery's folder.
            listing: What each artist has.
            stray: What lies beside the artists' own.
            public: Artists whose pictures the platform owns.
            rules: What pictures and portfolios must satisfy.

        Raises:
            GalleryError: A public artist is unknown, an artist has too few pictures, or no private artist is
                left.
        """
        self.purpose = rules.consent
        asked = {} if rules.consent is None else ask_files(path, listing, rules.consent)
        refused = {artist: found for artist, (_, found) in asked.items()}
        listing = {**listing, **{artist: left for artist, (left, _) in asked.items()}}
        self._path, self._listing, self._rules, self._refused = path, listing, rules, refused
        self.public_artists = public_artists(public, listing)
        for name in listing if rules.consent is not None else ():
            self._ask_pictures(name)
        for name in self.public_artists:
            check_count(name, self._split(name), rules.min_pictures, refused=refused.get(name, ()))
        # An artist without a row in this split takes no part, unlike one whose folder is empty.
        splits = {
            name: self._split(name)
            for name, folder in listing.items()
            if name not in self.public_artists
            and not (folder.files and all(listed.split == "unused" for listed in folder.files))
        }
        self.artists, thin = private_artists(
            splits, rules, f"gallery {str(path)!r}", refused, needed=not self.public_artists
        )
        self.skipped = (*stray, *thin)
        here = {*self.artists, *self.public_artists}
        self.refused = tuple(one for name, found in refused.items() if name not in here for one in found)

    def portfolio(self, artist: str) -> Portfolio:
        """Read and decode one artist's pictures, in the listing's order; nobody else's files are opened.

        Digests are of the files' bytes.

        Raises:
            GalleryError: The artist is unknown, a picture is bad and `on_bad` is "refuse", or too few are
                left.
        """
        artist = nfc(artist)
        if artist not in self.artists and artist not in self.public_artists:
            raise unknown_artist(artist, (*self.artists, *self.public_artists))
        skipped = list(self._listing[artist].left_out)
        artworks = []
        for listed in self._used(artist):
            if listed.unsure and not is_picture(self._path / listed.path):
                skipped.append(Skipped(artist, listed.name, "is no picture"))
                continue
            read = partial(_read, self._path / listed.path, listed.problem, self._rules.max_pixels)
            held_out = listed.held_out(artist in self.public_artists)
            artworks.append(Artwork(listed.name, read, listed.label, held_out, listed.allowed))
        return assemble_portfolio(artist, artworks, self._rules, skipped, self._refused.get(artist, ()))

    def _ask_pictures(self, artist: str) -> None:
        """Where too few are allowed by files, find out at once which of the others allow it themselves: who
        takes part must not hang on pictures that nobody may use."""
        files, purpose = self._listing[artist].files, self._rules.consent
        known = [one for one in self._used(artist) if one.allowed and not one.problem]
        if purpose is None or len(known) >= self._rules.min_pictures:
            return
        left = []
        for listed in files:
            if listed.allowed or (listed.unsure and not is_picture(self._path / listed.path)):
                left.append(listed)
                continue
            try:
                data = _read(self._path / listed.path, listed.problem, self._rules.max_pixels)
                found = voices.refused(data, purpose, listed.allowed)
            except PictureError:
                found = refusal(purpose, ())
            if found is None:
                left.append(listed)
            else:
                self._refused[artist].append(Refused(artist, listed.name, found.way, found.reason))
        self._listing[artist] = replace(self._listing[artist], files=left)

    def _used(self, artist: str) -> list[Listed]:
        """The artist's files that count: all of a public artist's, otherwise those in the split."""
        public = artist in self.public_artists
        return [listed for listed in self._listing[artist].files if public or listed.split != "unused"]

    def _split(self, artist: str) -> list[bool | None]:
        """`Artwork.test` of the artist's files that count and are not known to be bad."""
        public = artist in self.public_artists
        return [listed.held_out(public) for listed in self._used(artist) if not listed.problem]


class FolderGallery(ListedGallery):
    """Artworks in a folder; their names are POSIX paths in it, in whose order they come.

    Without `split.csv`, every folder in `path` is an artist; pictures may lie in folders below it, and which
    are held out follows from their content and `seed`. With `split.csv` (columns `path`, `artist`, the split
    column with `train`, `test` or nothing, optionally `style`) the table decides alone and other files are
    ignored.

    Folders that a system or a thumbnailer made hold no artworks and are listed; a picture of a type that is
    not read is a bad artwork, and any other file that is no note about pictures is listed.

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
        consent: The use that must be allowed of each picture, by the `consent.toml` of its artist's folder
            (beside `split.csv`, where there is one) or by the picture, and refused by nobody; else it is left
            out as if it were not there. None: nobody is asked.

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
        consent: Purpose | None = None,
    ) -> None:
        root = gallery_folder(path)
        listing, stray = list_gallery(root, split_column, on_bad)
        rules = PictureRules(size, on_bad, min_pictures, test_fraction, seed, max_pixels, consent=consent)
        super().__init__(root, listing, stray, public, rules)


def list_gallery(
    root: Path, split_column: str = "split", on_bad: OnBad = "skip"
) -> tuple[Mapping[str, Folder], list[Skipped]]:
    """Files by artist, as `split.csv` or the folders say, and what lies beside the artists' folders.

    Args:
        root: The gallery's folder.
        split_column: Column of the table that holds the split.
        on_bad: What a bad name does, or a row without a file.

    Raises:
        GalleryError: As `FolderGallery`.
    """
    if os.path.lexists(root / SPLIT_FILE):
        return _list_table(root, split_column, on_bad), []
    if split_column != "split":
        raise GalleryError(
            f"gallery.split_column is {split_column!r}, but {str(root)!r} holds no {SPLIT_FILE}"
        )
    return list_folders(root, on_bad, _list_folder, SPLIT_FILE)


def list_artist(root: Path) -> Folder:
    """The files of one artist whose folder it is. Raises GalleryError as `FolderGallery`."""
    return _list_folder(root, "", "", "skip")


def gallery_folder(path: Path) -> Path:
    """The path, if it is a folder.

    Raises:
        GalleryError: It is none.
    """
    if not Path(path).is_dir():
        what = "is not a folder" if Path(path).exists() else "does not exist"
        where = "" if Path(path).is_absolute() else f" (looked at {str(Path(path).absolute())!r})"
        raise GalleryError(
            f"gallery.path {str(path)!r} {what}{where}; valid: a folder with a folder per artist"
        )
    return Path(path)


def _read(path: Path, problem: str, max_pixels: int) -> bytes:
    """The bytes of a picture file. Raises PictureError where it is known to be bad, or cannot be read."""
    if problem:
        raise PictureError(problem)
    return read_picture_bytes(path, max_pixels)


def is_picture(path: Path) -> bool:
    """Whether a file's first bytes are those of a picture; not where it cannot be read or is no file."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return begins_like_a_picture(file.read(16))
    except OSError:
        return False


def list_folders(
    root: Path, on_bad: OnBad, list_one: Callable[[Path, str, str, OnBad], Folder], table: str
) -> tuple[dict[str, Folder], list[Skipped]]:
    """Files by artist, where each folder is an artist, and what lies beside the artists' folders.

    Args:
        root: The gallery's folder.
        on_bad: What a bad name does.
        list_one: Lists a folder, given `root`, the artist, the folder's name and `on_bad`.
        table: What could lie there instead, for messages.
    """
    entries, left_out = _entries(root, "", on_bad)
    found = {name: name for name, entry in entries.items() if entry.is_dir()}
    if not found:
        holds = f"{len(entries)} files but no folder" if entries else "nothing"
        raise GalleryError(
            f"gallery {str(root)!r} holds {holds}; valid: a folder of pictures per artist, or a {table}"
        )
    folders, misnamed = by_name(found, "artist's folder", on_bad)
    stray = [
        ("", name, "is not in an artist's folder")
        for name, entry in entries.items()
        if not entry.is_dir() and PurePosixPath(name).suffix.lower() in SUFFIXES | OTHER_PICTURES
    ]
    beside = [Skipped(*one) for one in stray] + [Skipped("", *one) for one in left_out] + misnamed
    return {artist: list_one(root, artist, folder, on_bad) for artist, folder in folders.items()}, beside


def _list_folder(root: Path, artist: str, folder: str, on_bad: OnBad) -> Folder:
    names, left_out = _files_below(root, folder, folder, on_bad)
    listed = []
    for name in sorted(names):
        suffix = PurePosixPath(name).suffix.lower()
        if suffix in NOTES:
            continue
        known = suffix in SUFFIXES
        unsure = not known and suffix not in OTHER_PICTURES
        listed.append(Listed(name, name, "seeded", problem="" if known else _NOT_A_PICTURE, unsure=unsure))
    return Folder(listed, [Skipped(artist, *one) for one in left_out], home=folder)


def _files_below(
    root: Path, artist_folder: str, folder: str, on_bad: OnBad
) -> tuple[list[str], list[tuple[str, str]]]:
    """Names of the files below a folder of an artist, and what was left out with the reason."""
    names: list[str] = []
    entries, left_out = _entries(root, folder, on_bad)
    for name, entry in entries.items():
        if entry.is_dir():
            below, more = _files_below(root, artist_folder, name, on_bad)
            names += below
            left_out += more
            continue
        if entry.is_symlink() and not is_inside(Path(entry.path), root / artist_folder):
            raise GalleryError(f"{name!r} is a link out of its artist's folder; valid: the file itself")
        names.append(name)
    return names, left_out


def _entries(
    root: Path, folder: str, on_bad: OnBad
) -> tuple[dict[str, os.DirEntry[str]], list[tuple[str, str]]]:
    """What a folder holds, by name in the gallery and sorted, without hidden entries, and what of it was left
    out with the reason.

    Links to folders are refused: they may loop or lead out.
    """
    try:
        with os.scandir(root / folder) as scan:
            found = sorted((e for e in scan if not e.name.startswith(".")), key=lambda entry: entry.name)
    except OSError as error:
        raise GalleryError(f"folder {str(root / folder)!r} cannot be listed ({error.strerror})") from error
    shown: dict[str, os.DirEntry[str]] = {}
    left_out: list[tuple[str, str]] = []
    for entry in found:
        name = f"{folder}/{entry.name}" if folder else entry.name
        if entry.is_symlink() and entry.is_dir():
            raise GalleryError(f"{name!r} is a link to a folder; valid: the folder itself")
        if not _is_utf8(name):
            if on_bad == "refuse":
                raise GalleryError(f"{name!r} is not a UTF-8 name; rename it, or {SKIP_HINT}")
            left_out.append((visible(name), "is not a UTF-8 name"))
        elif entry.is_dir() and (what := system_folder(entry.name)):
            left_out.append((name, f"is {what}, no artwork of anybody's; rename it if it is"))
        else:
            shown[name] = entry
    return shown, left_out


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _list_table(root: Path, split_column: str, on_bad: OnBad) -> dict[str, Folder]:
    """Files by artist, as `split.csv` says.

    Raises:
        GalleryError: The table or one of its rows is not valid, or a file does not exist and `on_bad` is
            "refuse".
    """
    listing: dict[str, list[Listed]] = {}
    line_of: dict[str, int] = {}
    written: dict[str, str] = {}
    for line, row in table_rows(root / SPLIT_FILE, ("path", "artist", nfc(split_column))):
        where = f"{SPLIT_FILE} line {line}"
        raw, value = row["artist"].strip(), row[nfc(split_column)].strip()
        if not raw:
            raise GalleryError(f"{where}: no artist; valid: a name")
        artist = nfc(raw)
        check_artist(artist, f"{where}: artist")
        if written.setdefault(artist, raw) != raw:
            raise GalleryError(
                f"{where}: artist {artist!r} is there in two codings, {written[artist]!a} and {raw!a}; "
                "valid: one"
            )
        if value not in SPLIT_VALUES:
            raise GalleryError(f"{where}: {split_column} is {value!r}; valid: train, test or nothing")
        name = _checked_path(root, row["path"], where)
        if name in line_of:
            raise GalleryError(f"{where}: {name!r} is on line {line_of[name]} already; valid: each path once")
        line_of[name] = line
        problem = "" if os.path.exists(root / name) else f"does not exist ({where})"
        if problem and on_bad == "refuse":
            raise GalleryError(f"{where}: {name!r} does not exist; mend the row, or {SKIP_HINT}")
        style = nfc((row.get("style") or "").strip())
        check_name(style, f"{where}: style")
        listing.setdefault(artist, []).append(Listed(name, name, SPLIT_VALUES[value], style, problem))
    if not listing:
        raise GalleryError(f"{SPLIT_FILE} lists no picture; valid: a row for each")
    return {artist: Folder(sorted(files, key=lambda one: one.name)) for artist, files in listing.items()}


def table_rows(
    table: Path, needed: Sequence[str], *, private: bool = False
) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows of a CSV file with a header, each with its line number.

    Args:
        table: The file.
        needed: Columns that it must have.
        private: Whether what stands in it is nothing for messages (without a header, the first line is a
            row), and each line is judged by itself: one with another number of values is an empty row.

    Raises:
        GalleryError: It cannot be read, a column is missing or twice, or a line has another number of values.
    """
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            columns = [nfc(column.strip()) for column in reader.fieldnames or ()]
            reader.fieldnames = columns
            missing = [column for column in needed if column not in columns]
            shown = ", ".join(map(repr, columns))
            if missing:
                present = (
                    f"valid: a first line with {', '.join(needed)}"
                    if private
                    else (f"columns present: {shown or 'none'}")
                )
                raise GalleryError(f"{table.name} has no column {', '.join(map(repr, missing))}; {present}")
            if len(set(columns)) != len(columns):
                raise GalleryError(f"{table.name} names a column twice" + ("" if private else f": {shown}"))
            for row in reader:
                odd = None in row or None in row.values()
                if odd and not private:
                    raise GalleryError(
                        f"{table.name} line {reader.line_num}: wrong number of values; valid: {len(columns)}"
                    )
                yield reader.line_num, {} if odd else row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise GalleryError(f"{table.name} cannot be read ({error}); valid: UTF-8 text with commas") from error


def _checked_path(root: Path, value: str, where: str) -> str:
    """A path from the table, normalised; it must stay in the gallery, links followed."""
    path = PurePosixPath(value)
    if path.is_absolute() or not path.parts or ".." in path.parts or "\\" in value or "\0" in value:
        raise GalleryError(f"{where}: path is {value!r}; valid: inside the gallery, with / and without ..")
    path = in_its_coding(root, path)
    if not is_inside(root / path, root):
        raise GalleryError(f"{where}: {value!r} is a link out of the gallery; valid: the file itself")
    return path.as_posix()


def in_its_coding(root: Path, path: PurePosixPath) -> PurePosixPath:
    """A path as the file system writes it, where that differs in the coding of a name alone."""
    if path.as_posix().isascii() or os.path.lexists(root / path):
        return path
    found = PurePosixPath()
    for part in path.parts:
        folder = root / found
        there = os.listdir(folder) if folder.is_dir() and is_inside(folder, root) else []
        same = sorted(name for name in there if nfc(name) == nfc(part))
        found /= part if part in same or not same else same[0]
    return found
