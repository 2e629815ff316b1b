"""A survey of a whole gallery: counts, what was left out, and pictures that two artists share."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any, Literal

from fedstyle_secure.consent.uses import Purpose
from fedstyle_secure.errors import ConfigError, GalleryError
from fedstyle_secure.galleries.assemble import OnBad
from fedstyle_secure.galleries.base import Gallery, Refused, Skipped
from fedstyle_secure.hints import did_you_mean
from fedstyle_secure.names import WORDS, Names

_OF_CONSENT = ("refused", "purpose")


@dataclass(frozen=True)
class ArtistSurvey:
    """One artist's counts. `digest` is the portfolio's; `public` artists cost no privacy."""

    artist: str
    public: bool
    train: int
    test: int
    digest: str


@dataclass(frozen=True)
class SharedPicture:
    """A picture that a second artist has too, by equal file bytes or by equal decoded pixels.

    An artist cannot see the others' pictures, so it stays in both portfolios.
    """

    artist: str
    name: str
    also_artist: str
    also_name: str
    equal: Literal["bytes", "pixels"]


@dataclass(frozen=True)
class GallerySurvey:
    """What a gallery holds.

    Attributes:
        artists: One entry per artist, the private ones first, each group in the gallery's order.
        skipped: Artworks and artists left out.
        refused: Artworks whose use was not allowed.
        purpose: The use that was asked for; None where nobody was asked.
        shared: Pictures that more than one artist has, each paired with its first appearance.
        digest: SHA-256 over the portfolios' digests and who is public.
    """

    artists: tuple[ArtistSurvey, ...]
    skipped: tuple[Skipped, ...]
    shared: tuple[SharedPicture, ...]
    digest: str
    refused: tuple[Refused, ...] = ()
    purpose: Purpose | None = None

    def to_dict(self) -> dict[str, Any]:
        """The same as lists, dictionaries, strings and numbers; nothing of consent where nobody was asked."""
        told = asdict(self)
        return told if self.purpose is not None else {k: told[k] for k in told if k not in _OF_CONSENT}


def survey(gallery: Gallery, on_bad: OnBad = "refuse") -> GallerySurvey:
    """Load every portfolio once and count.

    It sees all artists' pictures, so it is for simulations and for the gallery's owner, not for the platform.

    Args:
        gallery: What to look through.
        on_bad: Whether a picture that two artists share is an error or is listed.

    Raises:
        GalleryError: A portfolio cannot be loaded, or a picture is shared and `on_bad` is "refuse".
    """
    artists: list[ArtistSurvey] = []
    skipped: list[Skipped] = list(gallery.skipped)
    refused: list[Refused] = list(gallery.refused)
    shared: list[SharedPicture] = []
    first_by_bytes: dict[str, tuple[str, str]] = {}
    first_by_pixels: dict[bytes, tuple[str, str]] = {}
    whole = hashlib.sha256()
    for artist in (*gallery.artists, *gallery.public_artists):
        portfolio = gallery.portfolio(artist)
        for name, source, picture in zip(portfolio.names, portfolio.sha256, portfolio.pictures, strict=True):
            mine = (artist, name)
            by_pixels = first_by_pixels.setdefault(hashlib.sha256(picture.tobytes()).digest(), mine)
            by_bytes = first_by_bytes.setdefault(source, mine)
            if by_bytes[0] != artist:
                shared.append(SharedPicture(*mine, *by_bytes, "bytes"))
            elif by_pixels[0] != artist:
                shared.append(SharedPicture(*mine, *by_pixels, "pixels"))
        if shared and on_bad == "refuse":
            pair = shared[0]
            raise GalleryError(
                f"{pair.name!r} of artist {pair.artist!r} has the same {pair.equal} as {pair.also_name!r} of "
                f'{pair.also_artist!r}; remove one, or set gallery.on_bad = "skip" to keep and list both'
            )
        public = artist in gallery.public_artists
        n_test = int(portfolio.test.sum())
        entry = ArtistSurvey(artist, public, len(portfolio.test) - n_test, n_test, portfolio.digest())
        artists.append(entry)
        skipped.extend(portfolio.skipped)
        refused.extend(portfolio.refused)
        whole.update(f"{entry.digest}:{public}\n".encode())
    return GallerySurvey(
        tuple(artists), tuple(skipped), tuple(shared), whole.hexdigest(), tuple(refused), gallery.purpose
    )


def require_artists(key: str, names: tuple[str, ...], artists: tuple[str, ...]) -> None:
    """Check that names of a setting are all artists, and could mean no other ones.

    Raises:
        ConfigError: Names the setting, and the name.
    """
    if isinstance(names, Names):
        names.refuse_unclear(key, artists)
    strangers = sorted(set(names) - set(WORDS) - set(artists))
    if strangers:
        raise ConfigError(
            f"{key}: {strangers[0]!r} is no artist of the run{did_you_mean(strangers[0], artists)}"
        )
