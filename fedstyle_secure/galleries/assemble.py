"""From a list of artworks to a portfolio: read, decode, leave out doubles, hold some out for testing."""

from __future__ import annotations

import difflib
import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from fedstyle_secure.errors import GalleryError
from fedstyle_secure.galleries.base import Portfolio, Skipped
from fedstyle_secure.galleries.pictures import MAX_PIXELS, PictureError, decode_picture

OnBad = Literal["refuse", "skip"]
SKIP_HINT = 'set gallery.on_bad = "skip" to leave it out'


@dataclass(frozen=True)
class PictureRules:
    """What a picture and a portfolio must satisfy, and how pictures are held out.

    Attributes:
        size: Side of the decoded pictures.
        on_bad: Whether a bad artwork is an error or is left out and listed.
        min_pictures: Fewest training pictures of an artist.
        test_fraction: Share of a portfolio held out where the gallery does not name the split itself.
        seed: Which pictures that share is.
        max_pixels: Largest picture that is decoded.
    """

    size: int = 96
    on_bad: OnBad = "refuse"
    min_pictures: int = 4
    test_fraction: float = 0.25
    seed: int = 0
    max_pixels: int = MAX_PIXELS


@dataclass(frozen=True)
class Artwork:
    """An artwork before it is read.

    Attributes:
        name: Its name in the portfolio.
        read: Returns the bytes of the picture file, or raises PictureError.
        style: Its label, "" if unknown.
        test: Whether it is held out; None leaves that to `PictureRules`.
    """

    name: str
    read: Callable[[], bytes]
    style: str = ""
    test: bool | None = None


def assemble_portfolio(
    artist: str, artworks: Sequence[Artwork], rules: PictureRules, skipped: Iterable[Skipped] = ()
) -> Portfolio:
    """Read and decode `artworks`, in the given order, into a portfolio.

    A double (equal bytes or equal decoded pixels) of an earlier artwork counts as bad.

    Args:
        artist: Whose portfolio.
        artworks: What to read.
        rules: Size, limits and what to do about bad artworks.
        skipped: Artworks that the gallery left out before reading.

    Raises:
        GalleryError: An artwork is bad and `rules.on_bad` is "refuse", or fewer than `rules.min_pictures`
            training pictures are left.
    """
    left_out = list(skipped)
    kept: list[Artwork] = []
    pictures: list[np.ndarray] = []
    digests: list[str] = []
    first_with: dict[bytes, str] = {}
    for artwork in artworks:
        try:
            data = artwork.read()
            source = hashlib.sha256(data)
            picture = decode_picture(data, rules.size, max_pixels=rules.max_pixels)
            keys = (source.digest(), hashlib.sha256(picture.tobytes()).digest())
            doubled = next((first_with[key] for key in keys if key in first_with), None)
            if doubled is not None:
                raise PictureError(f"is the same picture as {doubled!r}; valid: each artwork once")
        except PictureError as error:
            if rules.on_bad == "refuse":
                raise GalleryError(
                    f"artist {artist!r}: {artwork.name!r} {error}; mend or remove it, or {SKIP_HINT}"
                ) from error
            left_out.append(Skipped(artist, artwork.name, str(error)))
            continue
        first_with.update(dict.fromkeys(keys, artwork.name))
        kept.append(artwork)
        pictures.append(picture)
        digests.append(source.hexdigest())
    seeded = held_out(digests, rules.test_fraction, rules.seed)
    flags = [auto if work.test is None else work.test for work, auto in zip(kept, seeded, strict=True)]
    test = np.array(flags, dtype=bool)
    check_count(artist, int((~test).sum()), rules.min_pictures, left_out)
    return Portfolio(
        artist=artist,
        pictures=np.stack(pictures) if pictures else np.zeros((0, rules.size, rules.size, 3), np.uint8),
        test=test,
        names=tuple(artwork.name for artwork in kept),
        sha256=tuple(digests),
        styles=tuple(artwork.style for artwork in kept),
        skipped=tuple(left_out),
    )


def held_out_count(n: int, fraction: float) -> int:
    """How many of `n` artworks are held out: the nearest number, but never all, and at least one of two."""
    if fraction <= 0 or n < 2:
        return 0
    return min(max(1, int(n * fraction + 0.5)), n - 1)


def held_out(sha256s: Sequence[str], fraction: float, seed: int) -> np.ndarray:
    """Which artworks are held out, decided by their content and the seed, not by their names or order.

    Returns:
        bool, shape (n,), with `held_out_count(n, fraction)` true.
    """
    ranks = [hashlib.sha256(f"{seed}:{digest}".encode()).digest() for digest in sha256s]
    order = sorted(range(len(ranks)), key=ranks.__getitem__)
    flags = np.zeros(len(ranks), dtype=bool)
    flags[order[: held_out_count(len(ranks), fraction)]] = True
    return flags


def private_artists(
    train_counts: Mapping[str, int], rules: PictureRules, where: str
) -> tuple[tuple[str, ...], tuple[Skipped, ...]]:
    """Who takes part, sorted, and who is left out because of too few pictures.

    Args:
        train_counts: Training pictures of every artist who is not public, counted without reading them.
        rules: Fewest pictures, and whether fewer are an error.
        where: The gallery, for the message.

    Raises:
        GalleryError: An artist has too few and `rules.on_bad` is "refuse", or nobody is left.
    """
    artists: list[str] = []
    left_out: list[Skipped] = []
    for name in sorted(train_counts):
        try:
            check_count(name, train_counts[name], rules.min_pictures)
        except GalleryError as error:
            if rules.on_bad == "refuse":
                raise GalleryError(f"{error}; add pictures, or {SKIP_HINT}") from None
            left_out.append(Skipped(name, "", str(error)))
        else:
            artists.append(name)
    if not artists:
        raise GalleryError(
            f"{where} has no private artist left: {len(train_counts)} are not public, "
            f"{len(left_out)} of them have too few pictures; valid: 1 or more"
        )
    return tuple(artists), tuple(left_out)


def check_count(artist: str, n_train: int, min_pictures: int, left_out: Sequence[Skipped] = ()) -> None:
    """Raise a GalleryError where an artist has fewer than `min_pictures` training pictures."""
    if n_train < min_pictures:
        after = f" after {len(left_out)} were left out" if left_out else ""
        raise GalleryError(
            f"artist {artist!r} has {n_train} training pictures{after}; "
            f"valid: at least gallery.min_pictures = {min_pictures}"
        )


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
