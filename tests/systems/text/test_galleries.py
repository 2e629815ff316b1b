"""From settings to galleries of words, and canaries among them."""

import io

import numpy as np
import pytest
from PIL import Image

from fedstyle_secure.config import AuditSection, Config, PrivacySection
from fedstyle_secure.errors import ConfigError, GalleryError
from fedstyle_secure.galleries.canaries import Canaries, Canary, CanaryPictures, PlantedGallery
from fedstyle_secure.galleries.opening import open_gallery
from fedstyle_secure.galleries.sheet import contact_sheet
from fedstyle_secure.systems.text.folders import WordFolder
from fedstyle_secure.systems.text.gallery_settings import TextGallerySection
from fedstyle_secure.systems.text.letterer import Letterer

FEW = TextGallerySection(artists=3, pictures=8, public_artists=2, seed=4)


class Words(Config):
    gallery: TextGallerySection = FEW


def config_of(kind, canaries=6, **privacy):
    audit = AuditSection(canaries=canaries, canary_kind=kind)
    return Words(audit=audit, privacy=PrivacySection(**privacy))


def planted(config, inside):
    gallery = open_gallery(config.gallery)
    drawn = Canaries.draw(config, gallery)
    coins = Canaries(drawn.kind, tuple(Canary(c.artist, i in inside) for i, c in enumerate(drawn.each)))
    return gallery, PlantedGallery(config, gallery, coins)


def test_the_atelier_of_words_is_the_letterer(tmp_path, monkeypatch):
    monkeypatch.setenv("FEDSTYLE_CACHE", str(tmp_path))
    found = open_gallery(FEW)
    expected = Letterer(3, 8, 2, seed=4)
    assert (found.artists, found.public_artists) == (expected.artists, expected.public_artists)
    assert found.portfolio("letterer-2").digest() == expected.portfolio("letterer-2").digest()
    assert len(list((tmp_path / "letterer").iterdir())) == 1


def test_settings_are_those_of_crops():
    section = TextGallerySection()
    assert (section.size, section.shape) == (32, (32, 128))
    assert (section.artists, section.pictures, section.public_artists) == (8, 500, 4)
    with pytest.raises(ValueError, match="less than or equal to 32"):
        TextGallerySection(size=64)
    # A setting of another kind of gallery is refused by the defaults of words.
    with pytest.raises(
        ValueError, match=r"gallery\.pictures = 60 is a setting of gallery\.source = 'atelier'"
    ):
        TextGallerySection(source="hub", dataset="d", pictures=60)
    TextGallerySection(source="hub", dataset="d", pictures=500)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"source": "folder"}, r"gallery\.path is empty"),
        ({"source": "hub"}, r"gallery\.dataset is empty"),
        ({"source": "hub", "dataset": "d", "label_column": ""}, r"gallery\.label_column is empty"),
    ],
)
def test_what_a_kind_of_gallery_needs_is_asked_for(settings, said):
    with pytest.raises(ConfigError, match=said):
        open_gallery(TextGallerySection(**settings))


def test_a_portfolio_that_was_written_out_reads_the_same_again(tmp_path):
    letterer = Letterer(2, 8, 0, seed=4)
    for artist in letterer.artists:
        portfolio = letterer.portfolio(artist)
        (tmp_path / artist).mkdir()
        for name, picture in zip(portfolio.names, portfolio.pictures, strict=True):
            Image.fromarray(picture).save(tmp_path / artist / f"{name}.png")
        rows = "".join(f"{n}.png,{w}\n" for n, w in zip(portfolio.names, portfolio.labels, strict=True))
        (tmp_path / artist / "labels.csv").write_text("path,text\n" + rows)
    found = open_gallery(TextGallerySection(source="folder", path=str(tmp_path), test_fraction=0.5, seed=4))
    assert isinstance(found, WordFolder)
    for artist in letterer.artists:
        again, before = found.portfolio(artist), letterer.portfolio(artist)
        assert np.array_equal(again.pictures, before.pictures)
        assert again.labels == before.labels


def test_strangers_bring_their_own_words():
    config = config_of("foreign")
    gallery, with_canaries = planted(config, {0, 3, 1})
    pictures = CanaryPictures(config, gallery)
    for artist, inside in zip(gallery.artists, ([0, 3], [1], []), strict=True):
        before, after = gallery.portfolio(artist), with_canaries.portfolio(artist)
        assert after.canaries == len(inside)
        n = len(before.labels)
        assert np.array_equal(after.pictures[:n], before.pictures)
        assert after.labels[:n] == before.labels
        assert after.labels[n:] == tuple(pictures.label(i, "usual") for i in inside)
        for found, index in zip(after.pictures[n:], inside, strict=True):
            assert np.array_equal(found, pictures[index])
    words = [pictures.label(i, "usual") for i in range(6)]
    assert len({*words, "usual"}) == 7
    private = {word for artist in gallery.artists for word in gallery.portfolio(artist).labels}
    assert not set(words) & private


def test_a_mislabelled_crop_is_a_public_one_under_the_artists_word():
    config = config_of("mislabelled")
    gallery, with_canaries = planted(config, {2})
    artist = gallery.artists[2]
    before, after = gallery.portfolio(artist), with_canaries.portfolio(artist)
    assert after.labels == (*before.labels, before.train_labels[0])
    public = {p.tobytes() for a in gallery.public_artists for p in gallery.portfolio(a).pictures}
    assert after.pictures[-1].tobytes() in public


def test_a_canary_artist_has_no_crops_of_the_right_shape():
    config = config_of("artist", canaries=2, unit="artist")
    gallery, with_canaries = planted(config, {0})
    (first, _) = with_canaries.artists[len(gallery.artists) :]
    assert with_canaries.portfolio(first).pictures.shape == (0, 32, 128, 3)


def test_a_contact_sheet_shows_whole_words():
    portfolio = open_gallery(FEW).portfolio("letterer-1")
    sheet = np.asarray(contact_sheet([portfolio], columns=2, cell=32))
    window = np.lib.stride_tricks.sliding_window_view(sheet, (32, 128, 3))[24, :, 0]
    shown = {w.tobytes() for w in window}
    assert len(shown & {p.tobytes() for p in portfolio.pictures}) == 2


def test_a_data_set_of_the_hub_gives_crops_and_hides_its_words(tmp_path, monkeypatch):
    pytest.importorskip("flwr_datasets", reason="the extra `hub` (flwr-datasets) is not installed")
    import datasets
    import datasets.config

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)

    def file(seed):
        stream = io.BytesIO()
        noise = np.random.default_rng(seed).integers(0, 256, (16, 40, 3), np.uint8)
        Image.fromarray(noise).save(stream, "PNG")
        return {"bytes": stream.getvalue(), "path": None}

    words = ["Quorvex", "jilpat", "ZENDOK", "Ombra\u202e", "42nd", None]
    columns = {"image": [file(i) for i in range(12)], "artist": ["ana", "bo"] * 6}
    columns["text"] = [word for word in words for _ in range(2)]
    rows = datasets.Dataset.from_dict(columns).cast_column("image", datasets.Image())
    (tmp_path / "set").mkdir()
    rows.to_parquet(tmp_path / "set" / "train.parquet")
    settings = {"source": "hub", "dataset": str(tmp_path / "set")}
    with pytest.raises(GalleryError, match=r"'ana': '0003' has control characters in its text") as error:
        open_gallery(TextGallerySection(**settings)).portfolio("ana")
    assert "Ombra" not in str(error.value)
    portfolio = open_gallery(TextGallerySection(**settings, on_bad="skip")).portfolio("bo")
    assert portfolio.labels == ("Quorvex", "jilpat", "ZENDOK", "42nd")
    assert portfolio.pictures.shape == (4, 32, 128, 3)
    assert [(s.name, "no text" in s.reason) for s in portfolio.skipped] == [("0003", False), ("0005", True)]
