"""A picture of a word as a crop, and what its text may be."""

import io
import string

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fedstyle_secure.galleries.pictures import PictureError, decode_picture
from fedstyle_secure.systems.text.crops import WORDS, check_text, line_of_text


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def decoded(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return decode_picture(file.getvalue(), 32, min_side=WORDS.min_side, fit=WORDS.fit)


def test_a_picture_of_a_crops_size_keeps_its_pixels():
    pixels = noise(32, 128)
    assert np.array_equal(decoded(pixels), pixels)


def test_a_short_word_keeps_its_proportions_and_is_padded_with_its_border():
    pixels = np.full((64, 80, 3), (200, 220, 240), np.uint8)
    pixels[16:48, 20:60] = (10, 20, 30)
    crop = decoded(pixels)
    assert crop.shape == (32, 128, 3)
    assert (crop[:, 40:] == (200, 220, 240)).all()
    # Half as large: what was dark is at 8 to 24 of 32 and at 10 to 30 of 40, but for the ringing of its edge.
    assert (np.abs(crop[10:22, 12:28].astype(int) - (10, 20, 30)) < 12).all()
    assert (np.abs(crop[:6, :40].astype(int) - (200, 220, 240)) < 12).all()


def test_a_long_word_is_squeezed_into_the_crop():
    pixels = np.zeros((32, 512, 3), np.uint8)
    pixels[:, 256:] = 250
    crop = decoded(pixels)
    assert crop.shape == (32, 128, 3)
    assert (crop[:, :60] < 8).all()
    assert (crop[:, 68:] > 242).all()


@given(st.integers(1, 400), st.integers(1, 2000))
def test_every_size_fits(height, width):
    crop = line_of_text(Image.new("RGB", (width, height), (9, 90, 200)), 32)
    assert crop.shape == (32, 128, 3)
    assert crop.dtype == np.uint8
    assert (crop == (9, 90, 200)).all()


def test_crops_may_be_smaller_than_artworks_but_not_nothing():
    assert decoded(noise(9, 20)).shape == (32, 128, 3)
    with pytest.raises(PictureError, match="too few"):
        decoded(noise(3, 20))


@given(st.text(alphabet=string.ascii_letters + string.digits + " -'.ßéع", min_size=1, max_size=32))
def test_words_of_any_script_are_texts(text):
    if text.strip():
        check_text(text)


@given(st.text(min_size=1, max_size=60))
def test_a_refused_text_is_not_in_the_message(text):
    secret = f"Zq{text}Xj\x07"
    with pytest.raises(PictureError) as error:
        check_text(secret)
    assert "Zq" not in str(error.value)
    assert "Xj" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no text"),
        (" \t", "no text"),
        ("x" * 33, "33 characters"),
        ("a\nb", "control"),
        ("a‮b", "control"),
    ],
)
def test_what_nobody_can_read_is_refused(text, said):
    with pytest.raises(PictureError, match=said):
        check_text(text)
