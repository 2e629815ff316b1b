"""The forecast of what noise leaves, beside what it does leave."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fedstyle_secure.errors import PrivacyError
from fedstyle_secure.systems.style.forecast import announce, forecast, predicted_cosine
from fedstyle_secure.systems.style.prototypes import picture_rows, unit

DIM, STYLES = 16, 6


def artist_rows(rng, centres, spread, styles_each=1):
    """Mean rows of an artist with pictures in some styles, near those styles' centres."""
    own = rng.choice(STYLES, styles_each, replace=False)
    assigned = own[np.arange(12) % styles_each]
    taste = rng.normal(scale=spread, size=(STYLES, DIM))
    vectors = unit(centres[assigned] + taste[assigned] + rng.normal(scale=0.05, size=(12, DIM)))
    return picture_rows(vectors, assigned, STYLES).mean(axis=0)


@pytest.mark.parametrize(
    ("artists", "noise", "styles_each"), [(60, 0.5, 1), (60, 3.0, 1), (240, 3.0, 2), (20, 10.0, 1)]
)
def test_the_forecast_is_close_to_what_happens(artists, noise, styles_each):
    rng = np.random.default_rng(0)
    centres = unit(rng.normal(size=(STYLES, DIM)))
    public = [artist_rows(rng, centres, 0.1, styles_each) for _ in range(24)]
    told = forecast(artists, noise, public, STYLES)
    cosines = []
    for _ in range(20):
        exact = sum(artist_rows(rng, centres, 0.1, styles_each) for _ in range(artists))
        exact = exact.reshape(STYLES, -1)[:, :-1]
        noisy = exact + rng.normal(scale=noise, size=exact.shape)
        there = np.linalg.norm(exact, axis=1) > 0
        cosines.append((unit(exact) * unit(noisy)).sum(axis=1)[there].mean())
    # A formula of means: it may be off by some hundredths, never by the whole story.
    assert told == pytest.approx(np.mean(cosines), abs=0.12)


def test_more_noise_and_fewer_artists_make_it_worse():
    rng = np.random.default_rng(1)
    public = [artist_rows(rng, unit(rng.normal(size=(STYLES, DIM))), 0.1) for _ in range(8)]
    assert forecast(100, 1.0, public, STYLES) > forecast(100, 2.0, public, STYLES)
    assert forecast(100, 1.0, public, STYLES) > forecast(20, 1.0, public, STYLES)


@pytest.mark.parametrize(("cosine", "level"), [(0.49, "WARNING"), (0.51, "INFO")])
def test_below_a_half_it_is_a_warning(caplog, cosine, level):
    with caplog.at_level("INFO", logger="fedstyle_secure"):
        announce(cosine, 16)
    assert [record.levelname for record in caplog.records] == [level]
    assert f"{cosine:.2f}" in caplog.text


@pytest.mark.parametrize(
    ("artists", "dim", "expected"),
    [
        (16, 64, (0.02, 0.05, 0.10)),
        (100, 64, (0.08, 0.28, 0.47)),
        (1000, 64, (0.63, 0.94, 0.98)),
        (100, 16, (0.16, 0.50, 0.73)),
        (1000, 16, (0.85, 0.98, 1.00)),
    ],
)
def test_predicted_cosine_gives_the_table(artists, dim, expected):
    """At epsilon 1, 4 and 8 of one release, 64 styles, 4 of them an artist's."""
    for z, cosine in zip((4.05, 1.16, 0.64), expected, strict=True):
        assert predicted_cosine(artists, 64, 4, dim, z) == pytest.approx(cosine, abs=0.0051)


def test_predicted_cosine_agrees_with_a_simulation():
    """Artists whose vectors of a style have the stated cosine, their noisy sums beside the true ones."""
    artists, styles, per, dim, alignment, deviation = 200, 8, 2, 32, 0.7, 1.5
    rng = np.random.default_rng(3)
    centre = np.eye(dim)[0]
    cosines = []
    for _ in range(30):
        vectors = np.zeros((artists, styles, dim))
        for artist in range(artists):
            own = rng.normal(size=(per, dim))
            own[:, 0] = 0
            own /= np.linalg.norm(own, axis=1, keepdims=True)
            mixed = math.sqrt(alignment) * centre + math.sqrt(1 - alignment) * own
            vectors[artist, rng.choice(styles, per, replace=False)] = mixed / math.sqrt(per)
        true = vectors.sum(axis=0)
        noisy = true + rng.normal(0, deviation, true.shape)
        cosines += list((true * noisy).sum(1) / np.linalg.norm(true, axis=1) / np.linalg.norm(noisy, axis=1))
    # 240 cosines with a deviation of about 0.02; the formula takes the ratio of means for the mean of ratios.
    assert np.mean(cosines) == pytest.approx(predicted_cosine(artists, styles, per, dim, deviation), abs=0.01)


@given(
    artists=st.integers(1, 5000), noise=st.floats(0, 100), styles=st.integers(1, 100), dim=st.integers(1, 999)
)
def test_predicted_cosine_stays_in_range_and_falls_with_noise(artists, noise, styles, dim):
    value = predicted_cosine(artists, styles, 1, dim, noise)
    assume(noise < 99)
    assert 0 < predicted_cosine(artists, styles, 1, dim, noise + 1) < value <= 1


@pytest.mark.parametrize(
    "arguments",
    [(0, 8, 1, 4, 1.0), (5, 0, 1, 4, 1.0), (5, 8, 9, 4, 1.0), (5, 8, 1, 0, 1.0), (5, 8, 1, 4, math.nan)],
)
def test_impossible_predictions_are_refused(arguments):
    with pytest.raises(PrivacyError, match="no prediction"):
        predicted_cosine(*arguments)
