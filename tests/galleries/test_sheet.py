"""Contact sheets: what is where, whatever the number and names of artists."""

from __future__ import annotations

import numpy as np
import pytest

from fedstyle_secure.errors import GalleryError
from fedstyle_secure.galleries.base import Portfolio
from fedstyle_secure.galleries.sheet import contact_sheet


def portfolio(artist: str, n: int, size: int = 32, held_out: int = 0) -> Portfolio:
    """Picture k is of one colour, (k, 200, 40)."""
    pictures = np.empty((n, size, size, 3), dtype=np.uint8)
    pictures[:] = np.array([0, 200, 40])
    pictures[..., 0] = np.arange(n)[:, None, None]
    test = np.arange(n) < held_out
    return Portfolio(artist, pictures, test, tuple(map(str, range(n))), ("",) * n, ("",) * n)


def painted(sheet: np.ndarray) -> np.ndarray:
    """Where pictures are on a sheet: bool (height, width). Labels are grey, so their blue is never lower."""
    return (sheet[..., 1] == 200) & (sheet[..., 2] == 40)


def shown(sheet: np.ndarray) -> list[list[int]]:
    """The red values of the pictures on a sheet, by rows."""
    picture = painted(sheet)
    rows = []
    inside = picture.any(axis=1)
    starts = np.flatnonzero(inside & ~np.roll(inside, 1))
    for top in starts:
        line = picture[top]
        left = np.flatnonzero(line & ~np.roll(line, 1))
        rows.append([int(sheet[top, x, 0]) for x in left])
    return rows


def test_a_row_an_artist_with_different_pictures_in_order() -> None:
    sheet = np.asarray(contact_sheet([portfolio("a", 30), portfolio("b", 3)], columns=5, cell=32))
    first, second = shown(sheet)
    assert len(first) == 5
    assert first == sorted(set(first))
    assert second == [0, 1, 2]


def test_the_choice_depends_on_seed_and_artist_alone() -> None:
    def row(name: str, seed: int, others: int = 0) -> list[int]:
        many = [portfolio(f"other{k}", 40) for k in range(others)] + [portfolio(name, 40)]
        return shown(np.asarray(contact_sheet(many, columns=6, seed=seed, cell=32)))[-1]

    assert row("a", 0) == row("a", 0, others=3)
    assert row("a", 0) != row("a", 1)
    assert row("a", 0) != row("b", 0)


def test_margins_are_white_and_labels_are_left_of_the_pictures() -> None:
    sheet = np.asarray(contact_sheet([portfolio("someone", 4)], cell=64))
    for edge in (sheet[:20], sheet[-20:], sheet[:, :20], sheet[:, -20:]):
        assert (edge == 255).all()
    first = int(np.flatnonzero(painted(sheet).any(axis=0))[0])
    assert (sheet[:, :first] < 100).any()
    assert (sheet[:, first - 10 : first] == 255).all()


def test_held_out_pictures_are_marked_beneath() -> None:
    plain = np.asarray(contact_sheet([portfolio("a", 4)], cell=32))
    marked = np.asarray(contact_sheet([portfolio("a", 4, held_out=2)], cell=32))
    picture = painted(plain)
    bottom = int(np.flatnonzero(picture.any(axis=1))[-1]) + 1
    line = picture[bottom - 1]
    left = np.flatnonzero(line & ~np.roll(line, 1))
    assert (plain[bottom:] == 255).all()
    dots = (marked[bottom:] < 255).any(axis=(0, 2))
    under = [bool(dots[x : x + 32].any()) for x in left]
    assert under == [True, True, False, False]


def test_long_names_and_many_artists() -> None:
    long = contact_sheet([portfolio("x" * 300, 2), portfolio("y", 2)], cell=32)
    short = contact_sheet([portfolio("x" * 30, 2), portfolio("y", 2)], cell=32)
    assert long.width <= 24 + 260 + 18 + 2 * 38 + 24
    assert short.width < long.width
    many = contact_sheet([portfolio(f"artist {k}", 2) for k in range(300)], cell=32)
    assert many.height > 300 * 32
    assert len(shown(np.asarray(many))) == 300


def test_other_sizes_are_resampled_to_the_cell() -> None:
    sheet = contact_sheet([portfolio("a", 1, size=50), portfolio("b", 1, size=120)], cell=64)
    rows, columns = np.nonzero(painted(np.asarray(sheet)))
    assert len(np.unique(columns)) == 64
    assert len(np.unique(rows)) == 128


@pytest.mark.parametrize(("change", "message"), [({"columns": 0}, "columns"), ({"cell": 3}, "cell")])
def test_bad_numbers(change: dict[str, int], message: str) -> None:
    with pytest.raises(GalleryError, match=message):
        contact_sheet([portfolio("a", 2)], **change)


def test_nothing_to_show_and_too_much() -> None:
    with pytest.raises(GalleryError, match="at least one"):
        contact_sheet([])
    with pytest.raises(GalleryError, match="at most"):
        contact_sheet([portfolio("a", 1)] * 2000, cell=96)
