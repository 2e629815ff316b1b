"""From settings to galleries: each setting reaches its gallery, and what is missing is named."""

import numpy as np
import pytest
from PIL import Image

from fedstyle_secure.config import GallerySection
from fedstyle_secure.errors import ConfigError
from fedstyle_secure.galleries.assemble import chosen
from fedstyle_secure.galleries.opening import open_gallery


def test_atelier_settings(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    section = GallerySection(artists=3, public_artists=2, pictures=8, size=40, test_fraction=0.25, seed=5)
    gallery = open_gallery(section)
    assert (len(gallery.artists), len(gallery.public_artists)) == (3, 2)
    portfolio = gallery.portfolio(gallery.artists[0])
    assert portfolio.pictures.shape == (8, 40, 40, 3)
    assert int(portfolio.test.sum()) == 2
    other = open_gallery(section.model_copy(update={"seed": 6})).portfolio(gallery.artists[0])
    assert not np.array_equal(portfolio.pictures, other.pictures)
    assert list((tmp_path / "fedstyle" / "atelier").iterdir())


def test_folder_settings(tmp_path):
    for artist in ("ann", "bo"):
        (tmp_path / artist).mkdir()
        for i in range(6):
            pixels = np.random.default_rng([i, len(artist)]).integers(0, 256, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / artist / f"{i}.png")
    (tmp_path / "ann" / "broken.png").write_bytes(b"no picture")
    section = GallerySection(
        source="folder", path=str(tmp_path), size=32, public=("bo",), on_bad="skip", test_fraction=0.34
    )
    gallery = open_gallery(section)
    assert (gallery.artists, gallery.public_artists) == (("ann",), ("bo",))
    portfolio = gallery.portfolio("ann")
    assert portfolio.pictures.shape == (6, 32, 32, 3)
    assert portfolio.test.tolist() == [chosen(digest, 0.34, 0, "test") for digest in portfolio.sha256]
    assert [s.name for s in portfolio.skipped] == ["ann/broken.png"]


@pytest.mark.parametrize(("source", "key"), [("folder", "gallery.path"), ("hub", "gallery.dataset")])
def test_a_setting_that_a_gallery_needs_is_named(source, key):
    with pytest.raises(ConfigError, match=key):
        open_gallery(GallerySection(source=source))
