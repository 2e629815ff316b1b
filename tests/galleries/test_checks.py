from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fedstyle_secure.errors import GalleryError
from fedstyle_secure.galleries.base import Gallery, Portfolio
from fedstyle_secure.galleries.checks import SharedPicture, survey
from fedstyle_secure.galleries.folder import FolderGallery

ARTWORKS = Path(__file__).parents[3] / "shared" / "artworks"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for artist in ("anna", "bela", "carl"):
        (tmp_path / artist).mkdir()
        for i in range(8):
            pixels = rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / artist / f"{i}.png")
    return tmp_path


def gallery(root: Path, **options: object) -> FolderGallery:
    return FolderGallery(root, size=20, public=["carl"], **options)


def test_counts_and_roles(root: Path) -> None:
    found = survey(gallery(root))
    held_out = {artist: int(gallery(root).portfolio(artist).test.sum()) for artist in ("anna", "bela")}
    assert [(a.artist, a.public, a.train, a.test) for a in found.artists] == [
        ("anna", False, 8 - held_out["anna"], held_out["anna"]),
        ("bela", False, 8 - held_out["bela"], held_out["bela"]),
        ("carl", True, 8, 0),
    ]
    assert found.skipped == found.shared == ()
    assert found.artists[0].digest == gallery(root).portfolio("anna").digest()


def test_the_digest_follows_pictures_split_and_roles(root: Path) -> None:
    first = survey(gallery(root)).digest
    assert survey(gallery(root)).digest == first
    others = {survey(FolderGallery(root, size=20)).digest, survey(gallery(root, seed=1)).digest}
    (root / "anna/0.png").rename(root / "anna/9.png")
    others.add(survey(gallery(root)).digest)
    assert len(others | {first}) == 4


class Stub(Gallery):
    """One grey picture per artist; the portfolios do not depend on who is public."""

    def __init__(self, private: str, public: str) -> None:
        self.artists = tuple(private)
        self.public_artists = tuple(public)

    def portfolio(self, artist: str) -> Portfolio:
        pictures = np.full((1, 8, 8, 3), ord(artist), np.uint8)
        return Portfolio(artist, pictures, np.array([False]), ("0000",), (artist * 64,), ("",))


def test_the_digest_tells_who_is_public() -> None:
    one, other = survey(Stub("a", "b")), survey(Stub("ab", ""))
    assert [a.digest for a in one.artists] == [a.digest for a in other.artists]
    assert one.digest != other.digest


def test_shared_pictures_are_refused_or_listed(root: Path) -> None:
    shutil.copy(root / "anna/3.png", root / "bela/mine.png")
    Image.open(root / "bela/5.png").save(root / "carl/other.png", compress_level=1)
    with pytest.raises(GalleryError, match=r"'bela/mine.png' of artist 'bela' .*same bytes as 'anna/3.png'"):
        survey(gallery(root))
    found = survey(gallery(root, on_bad="skip"), on_bad="skip")
    assert found.shared == (
        SharedPicture("bela", "bela/mine.png", "anna", "anna/3.png", "bytes"),
        SharedPicture("carl", "carl/other.png", "bela", "bela/5.png", "pixels"),
    )
    # They stay where they are: an artist cannot know what the others have.
    assert [a.train + a.test for a in found.artists] == [8 + 0, 9, 9]


def test_everything_left_out_is_listed(root: Path) -> None:
    (root / "anna/2.png").write_bytes(b"broken")
    (root / "dora").mkdir()
    shutil.copy(root / "bela/1.png", root / "bela/copy.png")
    found = survey(gallery(root, on_bad="skip"), on_bad="skip")
    assert [(s.artist, s.name) for s in found.skipped] == [
        ("dora", ""),
        ("anna", "anna/2.png"),
        ("bela", "bela/copy.png"),
    ]


def test_a_portfolio_that_cannot_be_loaded_ends_the_survey(root: Path) -> None:
    for i in range(5):
        (root / f"anna/{i}.png").write_bytes(b"broken")
    with pytest.raises(GalleryError, match="'anna' has 3 training pictures before any is held out after 5"):
        survey(gallery(root, on_bad="skip"), on_bad="skip")


def test_to_dict_is_json(root: Path) -> None:
    shutil.copy(root / "anna/3.png", root / "bela/mine.png")
    (root / "anna/x.bin").write_bytes(b"")
    found = survey(gallery(root), on_bad="skip")
    read = json.loads(json.dumps(found.to_dict()))
    assert read["digest"] == found.digest
    assert read["artists"][0]["train"] == 6
    assert read["shared"][0]["also_name"] == "anna/3.png"
    assert read["skipped"][0]["name"] == "anna/x.bin"


@pytest.mark.skipif(not ARTWORKS.is_dir(), reason=f"the real artworks are not at {ARTWORKS}")
def test_real_artworks_have_no_doubles() -> None:
    found = survey(FolderGallery(ARTWORKS, public=("john_tenniel", "rembrandt", "sutton_palmer")))
    assert sum(a.train + a.test for a in found.artists) == 777
    assert sum(a.public for a in found.artists) == 3
