"""The letterer: what a crop depends on, what is on it, and what its words are made of."""

import string

import numpy as np
import pytest

from fedstyle_secure.errors import ConfigError, GalleryError
from fedstyle_secure.galleries.assemble import chosen
from fedstyle_secure.systems.text.letterer import Letterer
from fedstyle_secure.systems.text.letterer.faces import PRIVATE_FONTS, PUBLIC_FONTS, printed
from fedstyle_secure.systems.text.letterer.glyphs import CHARACTERS, OTHER_FORMS, strokes
from fedstyle_secure.systems.text.letterer.hands import draw_hand
from fedstyle_secure.systems.text.letterer.writing import write


@pytest.fixture(scope="module")
def letterer():
    return Letterer(artists=4, pictures=30, public=3, seed=5)


def some_hands():
    rng = np.random.default_rng(0)
    return [draw_hand(rng, index, public) for index in range(4) for public in (False, True)]


def test_a_crop_depends_on_seed_artist_and_number_alone(letterer):
    few = Letterer(artists=2, pictures=6, public=1, seed=5)
    # In another order, and with fewer of everything.
    for artist in reversed((*few.artists, *few.public_artists)):
        ours, others = few.portfolio(artist), letterer.portfolio(artist)
        assert np.array_equal(ours.pictures, others.pictures[:6])
        assert ours.labels == others.labels[:6]
        assert np.array_equal(ours.test, others.test[:6])
    other = Letterer(artists=2, pictures=6, public=1, seed=6).portfolio("letterer-1")
    assert not set(other.sha256) & set(letterer.portfolio("letterer-1").sha256)


def test_crops_are_all_different_and_of_the_right_shape(letterer):
    portfolios = [letterer.portfolio(artist) for artist in (*letterer.artists, *letterer.public_artists)]
    digests = {digest for portfolio in portfolios for digest in portfolio.sha256}
    assert len(digests) == 7 * 30
    for portfolio in portfolios:
        assert portfolio.pictures.shape == (30, 32, 128, 3)
        assert portfolio.names[7] == "0007"


def test_labels_are_short_words_of_letters_and_digits(letterer):
    labels = [word for artist in letterer.artists for word in letterer.portfolio(artist).labels]
    assert set("".join(labels)) <= set(string.ascii_letters + string.digits)
    assert {len(word) for word in labels} <= set(range(2, 9))
    assert len(set(labels)) > 80
    many = Letterer(artists=1, pictures=1500, public=0)._words(0, False)
    # Nothing is left out that a reader should know; every artist has words of its own that come again.
    assert len(set("".join(many).lower())) >= 34
    assert 500 < len(set(many)) < 1400


def test_artists_have_hands_and_words_of_their_own(letterer):
    hands = [letterer.portfolio(artist) for artist in letterer.artists]
    for i, one in enumerate(hands):
        for other in hands[:i]:
            assert len(set(one.labels) & set(other.labels)) < 5
            assert not np.array_equal(np.median(one.pictures, axis=(0, 1, 2)), np.median(other.pictures))


def test_the_same_words_are_in_a_portfolio_whatever_draws_them():
    """Words need no picture library, so they are the same on every machine."""
    words = Letterer(artists=1, pictures=8, public=0, seed=0).portfolio("letterer-1").labels
    assert words == ("Pl6", "FLOU", "RESTVIAD", "Yiad", "GEK", "SKYG", "festdrad", "hoos")


def test_ink_covers_a_sane_share_and_stays_off_the_edge():
    rng = np.random.default_rng(1)
    for hand in some_hands():
        for word in ("Hamburg", "QUARTZES", "jig", "1", "WWWWWWWW", "iiii", "2024"):
            ink = write(hand, word, rng)
            assert ink.shape == (32, 128)
            assert ink.min() >= 0
            assert ink.max() > 0.9
            assert 0.005 < ink.mean() < 0.5
            # No letter is cut off at the left or the right.
            assert ink[:, 0].max() == 0
            assert ink[:, -1].max() == 0


def test_longer_words_are_wider_and_none_is_empty():
    def width(hand, word):
        return int(np.flatnonzero(write(hand, word, np.random.default_rng(2)).any(axis=0))[-1])

    for hand in some_hands():
        assert width(hand, "no") < width(hand, "noon") < width(hand, "noonnoo")


def test_every_character_of_every_face_differs_from_the_others():
    assert set(CHARACTERS) == set(string.ascii_letters + string.digits)
    for font in (*PUBLIC_FONTS, *PRIVATE_FONTS):
        shapes = {np.concatenate(printed(font, c).parts).tobytes() for c in CHARACTERS}
        assert len(shapes) == 62, font
        assert all(0.1 < printed(font, c).width < 1.3 for c in CHARACTERS), font
    for other in (False, True):
        # A small letter may have its capital's shape, such as o; its size tells them apart.
        for some in (string.ascii_lowercase, string.ascii_uppercase + string.digits):
            assert len({np.concatenate(strokes(c, other, 2.0)).tobytes() for c in some}) == len(some)
    assert all(
        not np.array_equal(np.concatenate(strokes(c, True, 2.0)), np.concatenate(strokes(c, False, 2.0)))
        for c in OTHER_FORMS
    )


def test_counters_of_fonts_are_holes():
    for font in (*PUBLIC_FONTS, *PRIVATE_FONTS):
        holes = {c: sum(printed(font, c).holes) for c in "oB8li"}
        assert holes == {"o": 1, "B": 2, "8": 2, "l": 0, "i": 0}, font


def test_private_fonts_are_not_the_platforms():
    assert not set(PUBLIC_FONTS) & set(PRIVATE_FONTS)
    rng = np.random.default_rng(0)
    public = {draw_hand(rng, index, True).font for index in range(12)}
    private = {draw_hand(rng, index, False).font for index in range(12)}
    assert public == {*PUBLIC_FONTS, ""}
    assert private <= {*PRIVATE_FONTS, ""}
    assert len(private) > 2


def test_what_is_held_out_follows_from_a_crops_content(letterer):
    portfolio = letterer.portfolio("letterer-2")
    assert portfolio.test.tolist() == [chosen(d, 0.25, 5, "test") for d in portfolio.sha256]
    assert 0 < portfolio.test.sum() < 30
    assert not Letterer(1, 5, 0, test_fraction=0).portfolio("letterer-1").test.any()


def test_a_cache_gives_back_what_was_written(tmp_path):
    first = Letterer(1, 4, 0, seed=3, cache=tmp_path).portfolio("letterer-1")
    (file,) = tmp_path.iterdir()
    written = file.stat().st_mtime_ns
    again = Letterer(1, 4, 0, seed=3, cache=tmp_path).portfolio("letterer-1")
    assert file.stat().st_mtime_ns == written
    assert again.digest() == first.digest()
    assert first.digest() == Letterer(1, 4, 0, seed=3).portfolio("letterer-1").digest()
    Letterer(1, 5, 0, seed=3, cache=tmp_path).portfolio("letterer-1")
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"artists": 0}, "artists of the letterer must be from 1"),
        ({"pictures": 1}, "pictures of the letterer"),
        ({"public": -1}, "public of the letterer"),
        ({"seed": 2**63}, "seed of the letterer"),
        ({"test_fraction": 1.0}, "test_fraction of the letterer"),
    ],
)
def test_what_is_out_of_range_is_refused(change, said):
    with pytest.raises(ConfigError, match=said):
        Letterer(**change)


def test_strangers_and_portfolios_without_training_crops_are_refused(letterer):
    with pytest.raises(GalleryError, match=r"'leterer-1' .* did you mean 'letterer-1'"):
        letterer.portfolio("leterer-1")
    with pytest.raises(GalleryError, match=r"each of its 2 crops is held out"):
        Letterer(1, 2, 0, test_fraction=0.999999).portfolio("letterer-1")
