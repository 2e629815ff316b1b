"""What is said of every work in a folder, way by way: for an artist who wants to see it before a run does."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fedstyle_secure.consent import beside, reservation, statement
from fedstyle_secure.consent.uses import Purpose, Said, refusal
from fedstyle_secure.consent.voices import picture_says
from fedstyle_secure.errors import GalleryError
from fedstyle_secure.galleries.folder import (
    SPLIT_FILE,
    Folder,
    files_say,
    gallery_folder,
    is_picture,
    list_artist,
    list_gallery,
)
from fedstyle_secure.galleries.pictures import SUFFIXES, PictureError, read_picture_bytes


@dataclass(frozen=True)
class Reviewed:
    """One work.

    Attributes:
        artist: Whose; "" where the folder is one artist's.
        name: Its path in the folder.
        said: What all ways say of the purpose, in the order in which they are asked.
        refused: The voice that decides against it; None where its use is allowed.
    """

    artist: str
    name: str
    said: tuple[Said, ...]
    refused: Said | None


def review(folder: Path, purpose: Purpose) -> list[Reviewed]:
    """What is said of each work in an artist's folder, or in a gallery with a folder an artist or a table.

    A folder with pictures, a `consent.toml` or a `tdmrep.json` of its own, and without `split.csv`, is an
    artist's.

    Args:
        folder: The folder.
        purpose: Which use.

    Raises:
        GalleryError: The folder, or a file that speaks for works in it, cannot be used.
    """
    root = gallery_folder(folder)
    listing: Mapping[str, Folder] = {"": list_artist(root)} if _is_an_artists(root) else list_gallery(root)[0]
    beside_them = files_say(root, listing, purpose)
    reviewed = []
    for artist, has in listing.items():
        for listed in has.files:
            if listed.unsure and not is_picture(root / listed.path):
                continue
            said = (*beside_them[listed.path], *_picture_says(root / listed.path, purpose))
            reviewed.append(Reviewed(artist, listed.name, said, refusal(purpose, said)))
    if not reviewed:
        raise GalleryError(f"{str(folder)!r} holds no pictures; valid: an artist's folder, or a gallery")
    return reviewed


def _is_an_artists(root: Path) -> bool:
    if os.path.lexists(root / SPLIT_FILE):
        return False
    speaks = any(beside.find(root, name) for name in (statement.FILE, reservation.FILE))
    return speaks or any(PurePosixPath(name).suffix.lower() in SUFFIXES for name in os.listdir(root))


def _picture_says(path: Path, purpose: Purpose) -> list[Said]:
    """Nothing where the file cannot be read: what becomes of it is a gallery's to say."""
    try:
        return picture_says(read_picture_bytes(path), purpose)
    except PictureError:
        return []
