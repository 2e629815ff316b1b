"""From a list of artworks to a portfolio: read, decode, leave out doubles, hold some out for testing."""

from __future__ import annotations

import difflib
import hashlib
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np

from fedstyle_secure.consent import voices
from fedstyle_secure.consent.statement import FILE
from fedstyle_secure.consent.uses import Purpose, refusal
from fedstyle_secure.errors import GalleryError
from fedstyle_secure.galleries.base import Portfolio, Refused, Skipped
from fedstyle_secure.galleries.pictures import (
    MAX_PIXELS,
    MIN_SIDE,
    Fit,
    PictureError,
    centred_square,
    decode_picture,
)
from fedstyle_secure.names import Names, nfc

OnBad = Literal["refuse", "skip"]
SKIP_HINT = 'set gallery.on_bad = "skip" to leave it out'


@dataclass(frozen=True)
class Reading:
    """What a system makes of a picture file and its label.

    Attributes:
        fit: Makes the record of the decoded picture.
        min_side: Smallest width and height of the file's picture.
        check_label: Raises a PictureError for a label that no record can have, without the label, as it is
            private. None where labels are names, which whoever lists them checks, and shows.
    """

    fit: Fit = centred_square
    min_side: int = MIN_SIDE
    check_label: Callable[[str], None] | None = None


PICTURES = Reading()
"""Square pictures whose labels are names."""


@dataclass(frozen=True)
class PictureRules:
    """What a picture and a portfolio must satisfy, and how pictures are held out.

    Attributes:
        size: Height of the decoded pictures.
        on_bad: Whether a bad artwork is an error or is left out and listed.
        min_pictures: Fewest pictures of an artist that the gallery does not name as held out.
        test_fraction: Share held out where the gallery does not say what is, each picture by itself.
        seed: Which pictures that share is.
        max_pixels: Largest picture that is decoded.
        keep_fraction: Share of a portfolio that is used at all, the rest being left out without a word.
        reading: What is made of a file and its label.
        consent: The use that must be allowed of each artwork; None where nobody is asked.
    """

    size: int = 96
    on_bad: OnBad = "refuse"
    min_pictures: int = 4
    test_fraction: float = 0.25
    seed: int = 0
    max_pixels: int = MAX_PIXELS
    keep_fraction: float = 1.0
    reading: Reading = PICTURES
    consent: Purpose | None = None


@dataclass(frozen=True)
class Artwork:
    """An artwork before it is read.

    Attributes:
        name: Its name in the portfolio.
        read: Returns the bytes of the picture file, or raises PictureError.
        label: What its system knows it by, "" if unknown.
        test: Whether it is held out; None leaves that to `PictureRules`.
        allowed: Whether its use is allowed beside it; if not, only the picture itself can allow it.
    """

    name: str
    read: Callable[[], bytes]
    label: str = ""
    test: bool | None = None
    allowed: bool = False


def assemble_portfolio(
    artist: str,
    artworks: Sequence[Artwork],
    rules: PictureRules,
    skipped: Iterable[Skipped] = (),
    refused: Iterable[Refused] = (),
) -> Portfolio:
    """Read and decode `artworks`, in the given order, into a portfolio.

    A double (equal decoded pixels) counts as bad. What trains is a function of the set of artworks that any
    further artwork changes by itself at most. One whose use is refused changes nothing: it is no bad one.

    Args:
        artist: Whose portfolio.
        artworks: What to read.
        rules: Size, limits and what to do about bad artworks.
        skipped: Artworks that the gallery left out before reading.
        refused: Artworks that the gallery knows to be refused before reading.

    Raises:
        GalleryError: An artwork is bad and `rules.on_bad` is "refuse", fewer than `rules.min_pictures` are
            left, or none of them is to train on.
    """
    left_out, not_allowed = list(skipped), list(refused)
    kept: list[_Decoded] = []
    reading = rules.reading
    for artwork in artworks:
        try:
            data = allowed_bytes(artist, artwork, rules.consent, not_allowed)
            if data is None:
                continue
            digest = hashlib.sha256(data).hexdigest()
            if not chosen(digest, rules.keep_fraction, rules.seed, "keep"):
                continue
            if reading.check_label is not None:
                reading.check_label(artwork.label)
            picture = decode_picture(
                data,
                rules.size,
                max_pixels=rules.max_pixels,
                min_side=reading.min_side,
                fit=reading.fit,
            )
        except PictureError as error:
            left_out.append(_left_out(artist, artwork.name, error, rules))
            continue
        seeded = chosen(digest, rules.test_fraction, rules.seed, "test")
        kept.append(_Decoded(artwork, picture, digest, seeded if artwork.test is None else artwork.test))
    kept, doubles = _without_doubles(kept)
    left_out.extend(_left_out(artist, name, error, rules) for name, error in doubles)
    check_count(artist, [one.artwork.test for one in kept], rules.min_pictures, left_out, not_allowed)
    if all(one.test for one in kept):
        raise GalleryError(
            f"artist {artist!r}: each of its {len(kept)} pictures is held out, and none is left to train on; "
            "lower gallery.test_fraction, or say which are held out in a split.csv"
        )
    return Portfolio(
        artist=artist,
        pictures=np.stack([one.picture for one in kept]),
        test=np.array([one.test for one in kept]),
        names=tuple(one.artwork.name for one in kept),
        sha256=tuple(one.sha256 for one in kept),
        labels=tuple(one.artwork.label for one in kept),
        skipped=tuple(left_out),
        refused=tuple(not_allowed),
    )


def allowed_bytes(
    artist: str, artwork: Artwork, purpose: Purpose | None, not_allowed: list[Refused]
) -> bytes | None:
    """The artwork's bytes; None, after adding it to `not_allowed`, where its use is not allowed.

    Raises:
        PictureError: It cannot be read, and its use is allowed or nobody is asked.
    """
    if purpose is None:
        return artwork.read()
    try:
        data = artwork.read()
        found = voices.refused(data, purpose, artwork.allowed)
    except PictureError:
        if artwork.allowed:
            raise
        found = refusal(purpose, ())
    if found is None:
        return data
    not_allowed.append(Refused(artist, artwork.name, found.way, found.reason))
    return None


@dataclass(frozen=True)
class _Decoded:
    artwork: Artwork
    picture: np.ndarray
    sha256: str
    test: bool


def _left_out(artist: str, name: str, error: PictureError, rules: PictureRules) -> Skipped:
    if rules.on_bad == "refuse":
        raise GalleryError(
            f"artist {artist!r}: {name!r} {error}; mend or remove it, or {SKIP_HINT}"
        ) from error
    return Skipped(artist, name, str(error))


def _without_doubles(found: Sequence[_Decoded]) -> tuple[list[_Decoded], list[tuple[str, PictureError]]]:
    """The pictures once each, and those left out with the reason.

    Of equal ones a training picture stays, so that a double that is held out moves none. Where they differ in
    label none stays: whichever did, a further one could put another record in the place of one.
    """
    same: dict[bytes, list[_Decoded]] = {}
    for one in found:
        same.setdefault(hashlib.sha256(one.picture.tobytes()).digest(), []).append(one)
    reasons: dict[str, str] = {}
    for group in same.values():
        stays = next((one for one in group if not one.test), group[0])
        differ = len({one.artwork.label for one in group}) > 1
        for one in group:
            if differ:
                other = next(o for o in group if o.artwork.label != one.artwork.label)
                reasons[one.artwork.name] = (
                    f"is the same picture as {other.artwork.name!r} with another label"
                )
            elif one is not stays:
                reasons[one.artwork.name] = f"is the same picture as {stays.artwork.name!r}"
    left_out = [
        (name, PictureError(f"{reason}; valid: each artwork once")) for name, reason in reasons.items()
    ]
    return [one for one in found if one.artwork.name not in reasons], left_out


def chosen(sha256: str, fraction: float, seed: int, what: str) -> bool:
    """Whether an artwork is among a share of all artworks, decided by its content and the seed alone.

    Each has its own draw, so adding an artwork to a portfolio, or taking one away, moves no other; a small
    portfolio's share is as near to `fraction` as that many coins are.

    Args:
        sha256: Digest of the artwork's source bytes.
        fraction: The share, [0, 1].
        seed: Of the draw.
        what: For which purpose; each has draws of its own.
    """
    rank = hashlib.sha256(f"{what}:{seed}:{sha256}".encode()).digest()
    return int.from_bytes(rank[:8], "big") < fraction * 2**64


def private_artists(
    splits: Mapping[str, Sequence[bool | None]],
    rules: PictureRules,
    where: str,
    refused: Mapping[str, Sequence[Refused]] = MappingProxyType({}),
    needed: bool = True,
) -> tuple[tuple[str, ...], tuple[Skipped, ...]]:
    """Who takes part, sorted, and who is left out because of too few pictures.

    Args:
        splits: `Artwork.test` of every artwork of every artist who is not public, known without reading them.
        rules: Fewest pictures, and whether fewer are an error.
        where: The gallery, for the message.
        refused: By artist, artworks that are not among them as their use was not allowed.
        needed: Whether there must be one: a platform over sites has public artists alone.

    Raises:
        GalleryError: An artist has too few and `rules.on_bad` is "refuse", or nobody is left of those needed.
    """
    artists: list[str] = []
    left_out: list[Skipped] = []
    for name in sorted(splits):
        try:
            check_count(name, splits[name], rules.min_pictures, refused=refused.get(name, ()))
        except GalleryError as error:
            if rules.on_bad == "refuse":
                raise GalleryError(f"{error}; add pictures, or {SKIP_HINT}") from None
            left_out.append(Skipped(name, "", str(error)))
        else:
            artists.append(name)
    if not artists and (needed or left_out):
        raise GalleryError(
            f"{where} has no private artist left: {len(splits)} are not public, "
            f"{len(left_out)} of them have too few pictures; valid: 1 or more"
        )
    return tuple(artists), tuple(left_out)


def check_count(
    artist: str,
    split: Sequence[bool | None],
    min_pictures: int,
    left_out: Sequence[Skipped] = (),
    refused: Sequence[Refused] = (),
) -> None:
    """Raise a GalleryError where an artist has fewer than `min_pictures` that are not named as held out.

    Those whose side follows from their content count whole: whether an artist takes part is everybody's to
    see, and is known before a picture is read.

    Args:
        artist: Whose.
        split: `Artwork.test` of each artwork.
        min_pictures: Fewest.
        left_out: Artworks that were left out before, for the message.
        refused: Artworks whose use was not allowed, for the message.
    """
    count = sum(test is not True for test in split)
    if count < min_pictures:
        before = " before any is held out" if None in split else ""
        after = f" after {len(left_out)} were left out" if left_out else ""
        asked = ""
        if refused:
            after += f"{' and' if after else ' after'} the use of {len(refused)} was refused"
            first = refused[0]
            asked = f"; {first.name!r}: {first.reason}; a {FILE} in the folder says what may be used"
        raise GalleryError(
            f"artist {artist!r} has {count} training pictures{before}{after}; "
            f"valid: at least gallery.min_pictures = {min_pictures}{asked}"
        )


def public_artists(public: Sequence[str], known: Collection[str]) -> tuple[str, ...]:
    """Whose pictures the platform owns, sorted.

    Raises:
        ConfigError: A text can mean other names.
        GalleryError: A name is not known.
    """
    if isinstance(public, Names):
        public.refuse_unclear("gallery.public", known)
    names = {nfc(name) for name in public}
    for name in sorted(names - set(known)):
        raise unknown_artist(name, known, "public artist")
    return tuple(sorted(names))


def unknown_artist(name: str, known: Iterable[str], what: str = "artist") -> GalleryError:
    """The error for an artist who is not in a gallery, with the nearest name and some of the known ones."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ";"
    listed = ", ".join(map(repr, names[:8])) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    return GalleryError(f"{what} {name!r} is not in the gallery{hint} valid: {listed or 'nobody'}")


def is_inside(path: Path, folder: Path) -> bool:
    """Whether `path`, with every link followed, lies in `folder`."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))
