"""Canaries: coins, names, pictures, and what is refused."""

import json
import stat

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fedstyle_secure
from fedstyle_secure.errors import ConfigError, RunError
from fedstyle_secure.galleries.base import Gallery
from fedstyle_secure.galleries.canaries import (
    Canaries,
    Canary,
    CanaryNote,
    CanaryPictures,
    PlantedGallery,
    canary_kind,
    coordinates,
    roster,
)


def opened(config):
    return fedstyle_secure.open_gallery(config.gallery)


def with_coins(config, gallery, inside):
    drawn = Canaries.draw(config, gallery)
    return Canaries(drawn.kind, tuple(Canary(c.artist, i in inside) for i, c in enumerate(drawn.each)))


def test_coins_are_the_sources_bits_and_artists_take_turns(tiny):
    config = tiny.override(["audit.canaries=10"])
    gallery = opened(config)
    canaries = Canaries.draw(config, gallery, lambda n: bytes([0b10110000, 0b01000000])[:n])
    assert [c.inside for c in canaries.each] == [
        True,
        False,
        True,
        True,
        False,
        False,
        False,
        False,
        False,
        True,
    ]
    assert [c.artist for c in canaries.each] == [gallery.artists[i % 4] for i in range(10)]
    assert canaries.of(gallery.artists[0], inside_only=False) == (0, 4, 8)
    assert canaries.of(gallery.artists[0], inside_only=True) == (0,)
    assert CanaryNote.of(config, 4).to_dict() == {"number": 10, "kind": "gradient", "most_per_artist": 3}


def test_coins_come_from_the_operating_system_and_are_fair(tiny):
    config = tiny.override(["audit.canaries=40000", "run.seed=3"])
    first, second = ([c.inside for c in Canaries.draw(config, opened(config)).each] for _ in range(2))
    # Two draws of one seed differ, and 80,000 coins are even within 6 deviations: false alarm 2e-9.
    assert first != second
    assert abs(np.mean([first, second]) - 0.5) < 6 * 0.5 / np.sqrt(80_000)


def test_kept_coins_come_back_and_only_their_owner_reads_them(tiny, tmp_path):
    config = tiny.override(["audit.canaries=9"])
    canaries = Canaries.draw(config, opened(config))
    path = tmp_path / "canaries.json"
    canaries.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Canaries.load(path, config, opened(config)) == canaries


@pytest.mark.parametrize(
    "damage",
    [
        lambda v: v["canaries"].pop(),
        lambda v: v["canaries"][0].update(inside=1),
        lambda v: v["canaries"][0].update(artist="nobody"),
        lambda v: v.update(kind="foreign"),
        lambda v: v.update(version=2),
        lambda v: v.pop("kind"),
    ],
)
def test_other_coins_than_the_settings_say_are_refused_by_file(tiny, tmp_path, damage):
    config = tiny.override(["audit.canaries=9"])
    path = tmp_path / "canaries.json"
    Canaries.draw(config, opened(config)).save(path)
    values = json.loads(path.read_text())
    damage(values)
    path.write_text(json.dumps(values))
    with pytest.raises(RunError, match=r"canaries\.json"):
        Canaries.load(path, config, opened(config))


class Named(Gallery):
    def __init__(self, *artists, public=()):
        self.artists, self.public_artists = artists, public

    def portfolio(self, artist):
        raise AssertionError("no picture is needed for names")


@pytest.mark.parametrize(
    "gallery",
    [
        Named("ann", "bo"),
        Named("canary-1", "bo"),
        Named("ann", "canary-canary-7", public=("canary-2",)),
    ],
)
def test_canary_artists_are_appended_under_names_of_their_own(tiny, gallery):
    config = tiny.override(["audit.canaries=3", "privacy.unit=artist"])
    names = roster(config, gallery)
    assert names[:2] == gallery.artists
    assert len(set(names) | set(gallery.public_artists)) == 5 + len(gallery.public_artists)
    assert Canaries.draw(config, gallery).of(names[3], inside_only=False) == (1,)
    assert roster(config.override(["audit.canaries=0"]), gallery) == gallery.artists
    assert roster(config.override(["privacy.unit=artwork"]), gallery) == gallery.artists


@pytest.mark.parametrize("kind", ["foreign", "mislabelled"])
def test_canaries_that_are_in_are_training_pictures_and_nothing_else_changes(tiny, kind):
    config = tiny.override(["audit.canaries=10", f"audit.canary_kind={kind}"])
    gallery = opened(config)
    planted = PlantedGallery(config, gallery, with_coins(config, gallery, {0, 8, 1}))
    pictures = CanaryPictures(config, gallery)
    for place, artist in enumerate(gallery.artists):
        before, after = gallery.portfolio(artist), planted.portfolio(artist)
        inside = [[0, 8], [1], [], []][place]
        assert after.canaries == len(inside)
        assert np.array_equal(after.test_pictures, before.test_pictures)
        assert np.array_equal(after.train_pictures[: len(before.train_pictures)], before.train_pictures)
        for found, index in zip(after.train_pictures[len(before.train_pictures) :], inside, strict=True):
            assert np.array_equal(found, pictures[index])
        assert len(set(after.names)) == len(after.names)
        # Under the artist's own style, whoever painted them.
        assert set(after.train_labels) == set(before.train_labels)
    public = gallery.public_artists[0]
    assert planted.portfolio(public).digest() == gallery.portfolio(public).digest()


@pytest.mark.parametrize("kind", ["foreign", "mislabelled"])
def test_canary_pictures_are_all_different_and_no_private_artists(tiny, kind):
    config = tiny.override(["audit.canaries=20", f"audit.canary_kind={kind}"])
    gallery = opened(config)
    pictures = CanaryPictures(config, gallery)
    found = {pictures[i].tobytes() for i in range(20)}
    assert len(found) == 20

    def bytes_of(artists):
        return {p.tobytes() for artist in artists for p in gallery.portfolio(artist).pictures}

    assert not found & bytes_of(gallery.artists)
    assert (
        found <= bytes_of(gallery.public_artists)
        if kind == "mislabelled"
        else not (found & bytes_of(gallery.public_artists))
    )


def test_more_mislabelled_canaries_than_public_pictures_are_refused(tiny):
    config = tiny.override(["audit.canaries=37", "audit.canary_kind=mislabelled"])
    with pytest.raises(ConfigError, match=r"audit\.canaries = 37, .* the gallery has 36"):
        CanaryPictures(config, opened(config))[0]


@given(st.integers(0, 2**31), st.integers(1, 300), st.integers(0, 200))
def test_coordinates_are_different_within_range_and_the_same_again(seed, dimension, count):
    if count > dimension:
        with pytest.raises(ConfigError, match=rf"audit\.canaries = {count}, but there are {dimension}"):
            coordinates(seed, count, dimension)
        return
    found = coordinates(seed, count, dimension)
    assert len(set(found.tolist())) == count
    assert all(0 <= c < dimension for c in found)
    assert np.array_equal(found, coordinates(seed, count, dimension))
    # The first ones do not depend on how many there are.
    assert np.array_equal(found[: count // 2], coordinates(seed, count // 2, dimension))


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (["audit.canary_kind=artist"], r"audit\.canary_kind = 'artist' .* privacy\.unit = 'artwork'"),
        (
            ["audit.canary_kind=gradient", "privacy.unit=artist"],
            r"audit\.canary_kind = 'gradient' .* privacy\.unit = 'artist'",
        ),
        (["audit.canary_kind=foreign", "privacy.unit=artist"], r"'foreign' .* privacy\.unit = 'artist'"),
        (["training.local_steps=0"], r"'gradient' needs training\.local_steps > 0"),
        (["audit.canary_kind=foreign", "gallery.size=512"], r"'foreign' .* gallery\.size is 512"),
    ],
)
def test_a_kind_that_nothing_would_show_is_refused_by_its_keys(tiny, settings, text):
    config = tiny.override(["audit.canaries=3", *settings])
    with pytest.raises(ConfigError, match=text):
        canary_kind(config)
    # Without canaries the kind says nothing.
    assert canary_kind(config.override(["audit.canaries=0"])) is None


def test_the_kind_follows_the_unit(tiny):
    config = tiny.override(["audit.canaries=3"])
    assert canary_kind(config) == "gradient"
    assert canary_kind(config.override(["privacy.unit=artist"])) == "artist"
