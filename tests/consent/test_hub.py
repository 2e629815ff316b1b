"""Data sets of the Hub: their images are asked, and their owner may state that all artists allow a use."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from fedstyle_secure.errors import GalleryError
from fedstyle_secure.galleries.hub import HubGallery

from .conftest import mining, picture, with_xmp

PURPOSE = "ai_generative_training"


def dataset(folder: Path, images: dict[str, list[bytes]]) -> str:
    datasets = pytest.importorskip("datasets", reason="the extra `hub` (flwr-datasets) is not installed")
    rows = [(artist, {"bytes": data, "path": None}) for artist, all_ in images.items() for data in all_]
    columns = {"artist": [artist for artist, _ in rows], "image": [image for _, image in rows]}
    folder.mkdir()
    made = datasets.Dataset.from_dict(columns).cast_column("image", datasets.Image())
    made.to_parquet(folder / "train.parquet")
    return str(folder)


@pytest.fixture
def offline(tmp_path_factory, monkeypatch) -> None:
    import datasets.config

    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache / "datasets")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


def test_stated_or_asked_a_picture_that_refuses_is_left_out(tmp_path, offline, signed):
    yes = [signed({f"cawg.{PURPOSE}": {"use": "allowed"}}, data=picture(seed=i)) for i in range(3)]
    no = with_xmp(mining("DMI-PROHIBITED"), seed=9)
    path = dataset(tmp_path / "set", {"anna": [*yes, no], "bela": [picture(seed=20 + i) for i in range(4)]})

    stated = HubGallery(path, size=20, min_pictures=2, consent=PURPOSE, stated=True)
    assert stated.artists == ("anna", "bela")
    found = stated.portfolio("anna")
    assert found.names == ("0000", "0001", "0002")
    assert [(one.name, one.way) for one in found.refused] == [("0003", "reservation")]
    assert stated.portfolio("bela").refused == ()

    asked = HubGallery(path, size=20, min_pictures=2, consent=PURPOSE, on_bad="skip")
    assert asked.artists == ("anna",)
    assert asked.portfolio("anna").names == found.names
    assert {(one.artist, one.way) for one in asked.refused} == {("bela", "unsaid")}
    with pytest.raises(GalleryError, match=r"'bela' has 0 .*the use of 4 was refused"):
        HubGallery(path, size=20, min_pictures=2, consent=PURPOSE)

    plain = HubGallery(path, size=20, min_pictures=2)
    assert plain.portfolio("anna").names == ("0000", "0001", "0002", "0003")
    assert Image.open(io.BytesIO(no)).size == (20, 20)
