"""All that is said of works: by the files in the folder that is theirs, and by each picture itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fedstyle_secure.consent import beside, reservation, statement
from fedstyle_secure.consent.credentials import credentials_say
from fedstyle_secure.consent.reservation import read_reservation
from fedstyle_secure.consent.statement import read_statement
from fedstyle_secure.consent.uses import Purpose, Said, refusal
from fedstyle_secure.consent.xmp import xmp_says
from fedstyle_secure.errors import GalleryError


@dataclass(frozen=True)
class Home:
    """A folder whose files speak for the works in it and below.

    Attributes:
        root: The gallery's folder.
        folder: Below it, with `/`; "" for itself.
    """

    root: Path
    folder: str = ""

    @property
    def path(self) -> Path:
        """Where it lies."""
        return self.root / self.folder

    def says(self, works: Sequence[str], purpose: Purpose) -> dict[str, list[Said]]:
        """What `consent.toml` and `tdmrep.json` of this folder say of each work, in that order.

        Args:
            works: Paths of all works that lie in it, from the gallery's folder, with `/`.
            purpose: Which use.

        Raises:
            GalleryError: A file is not valid, or lies in another folder, where it would not be read.
        """
        self._refuse_strays(works)
        inner = {PurePosixPath(work).relative_to(self.folder).as_posix(): work for work in works}
        said: dict[str, list[Said]] = {work: [] for work in works}
        stated, reserved = read_statement(self.path), read_reservation(self.path)
        for found in (
            {} if stated is None else stated.of(inner, purpose),
            {} if reserved is None else reserved.of(inner),
        ):
            for name, voice in found.items():
                if voice is not None:
                    said[inner[name]].append(voice)
        return said

    def _refuse_strays(self, works: Iterable[str]) -> None:
        """Refuse a file that somebody wrote in a folder above or below, where it would say nothing."""
        own = PurePosixPath(self.folder)
        folders = {parent for work in works for parent in PurePosixPath(work).parents} | set(own.parents)
        for folder in sorted(folders - {own}):
            for name in (statement.FILE, reservation.FILE):
                there = beside.find(self.root / folder, name)
                if there is not None:
                    raise GalleryError(
                        f"{(folder / there).as_posix()!r} lies where it is not read; valid: "
                        f"{(own / name).as_posix()!r}"
                    )


def refused(data: bytes, purpose: Purpose, allowed: bool) -> Said | None:
    """Who refuses the use of a picture; None where it is allowed.

    Args:
        data: The picture file's bytes.
        purpose: Which use.
        allowed: Whether it is allowed beside the picture, so that the picture itself need not.
    """
    stated = [Said("consent.toml", "allowed", "is allowed beside it")] if allowed else []
    return refusal(purpose, [*stated, *picture_says(data, purpose)])


def picture_says(data: bytes, purpose: Purpose) -> list[Said]:
    """What a picture file says of a use: its content credentials, then its XMP.

    Args:
        data: The file's bytes.
        purpose: Which use.
    """
    return [*credentials_say(data, purpose), *xmp_says(data, purpose)]
