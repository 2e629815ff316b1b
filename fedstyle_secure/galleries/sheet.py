"""A contact sheet: what each artist's portfolio looks like, a row an artist."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fedstyle_secure.errors import GalleryError
from fedstyle_secure.galleries.base import Portfolio

_MARGIN = 24
_GAP = 6
_INK = (40, 40, 40)
_QUIET = (150, 150, 150)
_WIDEST_LABEL = 260
_TALLEST = 60_000


def _choose(portfolio: Portfolio, columns: int, seed: int) -> list[int]:
    """Indices of at most `columns` pictures, in order, chosen by the seed and the artist's name."""
    n = len(portfolio.pictures)
    if n <= columns:
        return list(range(n))
    name = int.from_bytes(hashlib.sha256(portfolio.artist.encode()).digest()[:8], "big")
    rng = np.random.default_rng(np.random.SeedSequence([seed, name]))
    return sorted(rng.choice(n, columns, replace=False).tolist())


def _fit(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """The text, cut in the middle with an ellipsis if it is wider than `width` pixels."""
    if font.getlength(text) <= width:
        return text
    for kept in range(len(text) - 1, 1, -1):
        short = text[: (kept + 1) // 2] + "…" + text[len(text) - kept // 2 :]
        if font.getlength(short) <= width:
            return short
    return "…"


def contact_sheet(
    portfolios: Sequence[Portfolio], columns: int = 12, seed: int = 0, cell: int = 96
) -> Image.Image:
    """Draw pictures of each artist on white, a row an artist, its name at the left.

    Held-out pictures have a small dot beneath them.

    Args:
        portfolios: At least one, each with at least one picture.
        columns: Most pictures a row, at least 1.
        seed: Chooses the pictures of portfolios larger than `columns`, independently for each artist.
        cell: Height of a picture on the sheet in pixels, at least 16.

    Returns:
        An RGB image; its height grows with the number of artists.

    Raises:
        GalleryError: Nothing to show, or a number out of range.
    """
    if not portfolios:
        raise GalleryError("a contact sheet needs at least one portfolio")
    if columns < 1:
        raise GalleryError(f"columns must be at least 1, not {columns}")
    if cell < 16:
        raise GalleryError(f"cell must be at least 16 pixels, not {cell}")
    row = cell + _GAP + 6
    height = 2 * _MARGIN + row * len(portfolios) - _GAP
    if height > _TALLEST:
        most = (_TALLEST - 2 * _MARGIN + _GAP) // row
        raise GalleryError(
            f"{len(portfolios)} artists do not fit on one sheet with cell = {cell}; at most {most} do"
        )
    font = ImageFont.load_default(size=max(11, min(16, cell // 6)))
    small = ImageFont.load_default(size=max(9, min(12, cell // 8)))
    labels = [_fit(p.artist, font, _WIDEST_LABEL) for p in portfolios]
    notes = [f"{len(p.pictures)} pictures, {int(p.test.sum())} held out" for p in portfolios]
    wide = [font.getlength(t) for t in labels] + [small.getlength(t) for t in notes]
    left = _MARGIN + int(max(wide)) + 18
    shown = [_choose(p, columns, seed) for p in portfolios]
    wides = [cell * p.pictures.shape[2] // p.pictures.shape[1] for p in portfolios]
    width = left + max(len(s) * (w + _GAP) for s, w in zip(shown, wides, strict=True)) - _GAP + _MARGIN
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    for k, (portfolio, chosen) in enumerate(zip(portfolios, shown, strict=True)):
        top = _MARGIN + k * row
        middle = top + cell // 2
        draw.text((_MARGIN, middle - 1), labels[k], fill=_INK, font=font, anchor="ls")
        draw.text((_MARGIN, middle + 5), notes[k], fill=_QUIET, font=small, anchor="lt")
        for column, index in enumerate(chosen):
            x = left + column * (wides[k] + _GAP)
            picture = Image.fromarray(portfolio.pictures[index])
            # Whole multiples keep hard pixels hard; anything else is resampled smoothly.
            whole = cell % picture.height == 0
            how = Image.Resampling.NEAREST if whole else Image.Resampling.LANCZOS
            sheet.paste(picture.resize((wides[k], cell), how), (x, top))
            if portfolio.test[index]:
                centre = x + wides[k] // 2
                draw.ellipse((centre - 1, top + cell + 3, centre + 1, top + cell + 5), fill=_QUIET)
    return sheet
